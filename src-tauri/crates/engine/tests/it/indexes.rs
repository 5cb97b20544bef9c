//! Indexes that break while they are in use.

use std::io::Write as _;

use docent_domain::DocumentStatus;
use docent_engine::{Code, SearchRequest};
use docent_inference::fake::FakeEmbedder;
use docent_inference::{EmbedKind, Embedder as _};

use crate::Test;
use crate::support::{Bench, run};

pub const TESTS: &[Test] = &[(
    "a_damaged_index_is_mended_in_use",
    a_damaged_index_is_mended_in_use,
)];

fn a_damaged_index_is_mended_in_use() {
    run(async {
        let bench = Bench::open().await;
        let text = "Rijeka je grad na moru.";
        let file = bench.write("rijeka.txt", text);
        bench.write("split.txt", "Split je također na moru.");
        bench.add(&[&bench.files()]).await;
        assert_eq!(bench.search("grad na moru").await.len(), 2);

        let embedded = FakeEmbedder::new()
            .embed(EmbedKind::Passage, vec![format!("rijeka\n{text}")])
            .await
            .unwrap();
        let vector: Vec<u8> = embedded[0]
            .dense
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let workspace = bench.scope.workspace().to_string();
        let index = bench.data().join("indexes").join(workspace);
        let path = index.join("vectors/data.mdb");
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len() - vector.len())
            .filter(|&at| bytes[at..].starts_with(&vector))
            .collect();
        assert!(!places.is_empty(), "control: the vector is in the file");
        for at in places {
            bytes[at] ^= 0x40;
        }
        let mut data = std::fs::File::options().write(true).open(&path).unwrap();
        data.write_all(&bytes).unwrap();

        let request = SearchRequest {
            text: "grad na moru".into(),
            k: 10,
            expand: false,
            language: None,
        };
        let refused = bench.engine.search(&bench.scope, request).await;
        let error = refused.expect_err("control: the damage is found");
        assert_eq!(error.code(), Code::Overloaded, "{error}");
        assert_eq!(
            bench.search("grad na moru").await.len(),
            2,
            "the words are whole, and the vectors are on their way"
        );
        bench.idle().await;
        let document = bench.document(&file).await;
        assert_eq!(document.status, DocumentStatus::Ready);
        bench.assert_healthy().await;
        assert!(
            std::fs::read_dir(&index).unwrap().any(|entry| {
                let name = entry.unwrap().file_name();
                name.to_string_lossy().starts_with("quarantine-vectors-")
            }),
            "what was damaged is kept for a look"
        );
        bench.engine.shutdown().await;
    });
}
