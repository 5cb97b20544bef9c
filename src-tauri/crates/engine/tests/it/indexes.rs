//! Indexes that break while they are in use.

use std::io::Write as _;
use std::path::Path;

use docent_domain::{ChunkKey, DocumentStatus, Language, Timestamp};
use docent_engine::{Code, ModelSource, SearchRequest};
use docent_index::{VectorEntry, VectorSpec, WorkspaceIndex};
use docent_inference::fake::FakeEmbedder;
use docent_inference::{EmbedKind, Embedder as _};

use docent_store::Store;
use roaring::RoaringBitmap;

use crate::Test;
use crate::support::{Bench, in_one_segment, noted_removals, run, write_more};

pub const TESTS: &[Test] = &[
    (
        "a_damaged_index_is_mended_in_use",
        a_damaged_index_is_mended_in_use,
    ),
    (
        "an_index_is_checked_without_its_embedder",
        an_index_is_checked_without_its_embedder,
    ),
    (
        "words_that_a_crash_left_unwiped_are_wiped",
        words_that_a_crash_left_unwiped_are_wiped,
    ),
    (
        "equal_content_is_embedded_once",
        equal_content_is_embedded_once,
    ),
    (
        "equal_content_that_comes_at_once_is_embedded_once",
        equal_content_that_comes_at_once_is_embedded_once,
    ),
    (
        "vectors_that_nobody_recorded_are_taken_over",
        vectors_that_nobody_recorded_are_taken_over,
    ),
];

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
            legs: docent_engine::Legs::Hybrid,
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

/// The index of the bench's workspace, while no engine has it.
fn opened(data: &Path, bench_workspace: &str) -> WorkspaceIndex {
    let embedder = FakeEmbedder::new();
    let spec = VectorSpec {
        fingerprint: embedder.fingerprint().to_owned(),
        dimensions: embedder.dimensions(),
    };
    let folder = data.join("indexes").join(bench_workspace);
    WorkspaceIndex::open(&folder, spec).unwrap().0
}

fn an_index_is_checked_without_its_embedder() {
    run(async {
        let mut bench = Bench::open().await;
        bench.write("a.txt", "Prva.");
        bench.write("b.txt", "Druga.");
        bench.add(&[&bench.files()]).await;
        bench.models = ModelSource::Installed;
        let bench = bench.restart(|_| {}).await;
        let report = bench.engine.doctor(false).await.unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.chunks, 2);
        assert_eq!(report.unchecked.len(), 1);
        assert!(
            report.unchecked[0].contains("fake-"),
            "{:?}",
            report.unchecked
        );

        let workspace = bench.scope.workspace().to_string();
        let bench = bench
            .restart(|data| {
                let index = opened(data, &workspace);
                let first = index.word_keys().unwrap().min().unwrap();
                index.remove(&RoaringBitmap::from_iter([first])).unwrap();
            })
            .await;
        // It was made to agree with the rows when it was opened, as with the embedder.
        let report = bench.engine.doctor(false).await.unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.unchecked.len(), 1);
        let bench = bench
            .restart(|data| {
                let index = opened(data, &workspace);
                assert_eq!(index.word_keys().unwrap().len(), 2, "made again");
                assert_eq!(index.vector_keys().unwrap().len(), 1, "waits for it");
            })
            .await;
        bench.engine.shutdown().await;
    });
}

fn words_that_a_crash_left_unwiped_are_wiped() {
    run(async {
        let bench = Bench::open().await;
        write_more(&bench);
        bench.add(&[&bench.files()]).await;
        let bench = in_one_segment(bench).await;
        let workspace = bench.scope.workspace().to_string();
        let bench = bench
            .restart(|data| {
                let index = opened(data, &workspace);
                let first = index.word_keys().unwrap().min().unwrap();
                index.remove(&RoaringBitmap::from_iter([first])).unwrap();
                drop(index);
                assert_eq!(noted_removals(data).len(), 1, "control");
                let aside = data.join("indexes").join(&workspace);
                std::fs::create_dir(aside.join("quarantine-words-1")).unwrap();
            })
            .await;
        // It opens the index.
        bench.search("rečenica").await;
        let bench = bench
            .restart(|data| {
                assert_eq!(noted_removals(data).len(), 0);
                let aside = data.join("indexes").join(&workspace);
                assert!(!aside.join("quarantine-words-1").exists());
            })
            .await;
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn equal_content_is_embedded_once() {
    run(async {
        let bench = Bench::open().await;
        let text = "# Rijeka\n\nGrad na moru.\n\n# Split\n\nTakođer na moru.\n";
        let first = bench.write("prvi.md", text);
        bench.add(&[&first]).await;
        // Of another name, so that its vectors would be others if they were made anew.
        let second = bench.write("drugi.md", text);
        bench.add(&[&second]).await;
        let third = bench.write("treći.md", "# Rijeka\n\nGrad na moru.\n");
        bench.add(&[&third]).await;
        let keys_of = async |path: &Path| {
            let id = bench.document(path).await.id;
            let chunks = bench
                .engine
                .document_chunks(&bench.scope, id)
                .await
                .unwrap();
            let keys: RoaringBitmap = chunks.iter().map(|chunk| chunk.key.0).collect();
            keys
        };
        let keys = [
            keys_of(&first).await,
            keys_of(&second).await,
            keys_of(&third).await,
        ];
        bench.assert_healthy().await;
        let workspace = bench.scope.workspace().to_string();
        let bench = bench
            .restart(|data| {
                let index = opened(data, &workspace);
                let [first, second, third] = keys.map(|keys| -> Vec<Vec<f32>> {
                    let stored = index.stored_vectors(&keys).unwrap();
                    stored.into_iter().map(|vector| vector.dense).collect()
                });
                assert!(!first.is_empty());
                assert_eq!(first, second);
                assert!(
                    !third.iter().any(|vector| first.contains(vector)),
                    "control: the name is part of what is embedded"
                );
            })
            .await;
        bench.engine.shutdown().await;
    });
}

fn equal_content_that_comes_at_once_is_embedded_once() {
    run(async {
        let bench = Bench::open().await;
        for copy in 0..40 {
            bench.write(&format!("{copy}.txt"), "Grad na moru.");
        }
        bench.add(&[&bench.files()]).await;
        let documents = bench.documents().await;
        assert_eq!(documents.len(), 40);
        assert!(
            documents
                .iter()
                .all(|document| document.embedded_count == 1)
        );
        assert_eq!(bench.engine.embedded(), 1);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn vectors_that_nobody_recorded_are_taken_over() {
    run(async {
        let bench = Bench::open().await;
        let file = bench.write("a.txt", "Prva.");
        bench.add(&[&file]).await;
        let (scope, workspace) = (bench.scope, bench.scope.workspace().to_string());
        // One that no embedding of this text gives tells whether it is still the same.
        let mark = |index: &WorkspaceIndex, key: ChunkKey| {
            let mut dense = vec![0.0; index.vector_spec().dimensions];
            dense[0] = 0.6;
            dense[1] = -0.8;
            let entry = VectorEntry {
                key,
                language: Language::Croatian,
                dense: &dense,
                sparse: None,
            };
            index.add_vectors(&[entry]).unwrap();
        };
        let key = {
            let id = bench.document(&file).await.id;
            bench.engine.document_chunks(&scope, id).await.unwrap()[0].key
        };
        let bench = bench
            .restart(|data| {
                mark(&opened(data, &workspace), key);
                // As if the process had ended between the index and the row.
                let forget = async {
                    let store = Store::open(data.join("docent.db")).await.unwrap();
                    let reset = store
                        .chunks()
                        .reset_embedded(&scope, &[key], Timestamp::now())
                        .await;
                    assert_eq!(reset.unwrap(), 1, "control");
                    store.close().await;
                };
                std::thread::scope(|threads| threads.spawn(|| run(forget)).join().unwrap());
            })
            .await;
        bench.idle().await;
        assert_eq!(bench.document(&file).await.status, DocumentStatus::Ready);
        bench.assert_healthy().await;
        let bench = bench
            .restart(|data| {
                let index = opened(data, &workspace);
                let stored = index
                    .stored_vectors(&RoaringBitmap::from_iter([key.0]))
                    .unwrap();
                assert_eq!(stored[0].dense[..2], [0.6, -0.8], "it was not made again");
            })
            .await;
        bench.engine.shutdown().await;
    });
}
