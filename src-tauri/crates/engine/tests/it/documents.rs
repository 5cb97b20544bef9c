//! Documents that come, change and go.

use std::path::PathBuf;

use crate::Test;
use crate::support::{Bench, files_holding, run};

pub const TESTS: &[Test] = &[
    ("removed_documents_stay_away", removed_documents_stay_away),
    ("removed_text_is_wiped", removed_text_is_wiped),
];

fn removed_documents_stay_away() {
    run(async {
        let bench = Bench::open().await;
        let (unwanted, folder) = (bench.write("unwanted.txt", "Tajna."), bench.files());
        bench.write("wanted.txt", "Javno.");
        bench.add(&[&folder]).await;
        assert_eq!(bench.titles().await, ["unwanted", "wanted"]);
        let id = bench.document(&unwanted).await.id;
        bench
            .engine
            .delete_document(&bench.scope, id)
            .await
            .unwrap();
        bench.scan().await;
        assert_eq!(bench.titles().await, ["wanted"]);
        bench.write("unwanted.txt", "Tajna, dulja nego prije.");
        bench.scan().await;
        assert_eq!(bench.titles().await, ["wanted"], "its content changed");
        let bench = bench.restart(|_| {}).await;
        bench.idle().await;
        assert_eq!(bench.titles().await, ["wanted"], "after a restart");
        bench.assert_healthy().await;

        bench.add(&[&unwanted]).await;
        assert_eq!(bench.titles().await, ["unwanted", "wanted"], "by hand");
        let id = bench.document(&unwanted).await.id;
        bench
            .engine
            .delete_document(&bench.scope, id)
            .await
            .unwrap();
        bench.scan().await;
        assert_eq!(bench.titles().await, ["wanted"]);
        bench.add(&[&folder]).await;
        assert_eq!(bench.titles().await, ["unwanted", "wanted"], "its folder");
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn removed_text_is_wiped() {
    run(async {
        let bench = Bench::open().await;
        let secret = ["kanarinac", "4711"].concat();
        let none: [PathBuf; 0] = [];
        let unwanted = bench.write("a.txt", &format!("Lozinka je {secret}."));
        bench.write("b.txt", "Ništa posebno.");
        bench.add(&[&bench.files()]).await;
        assert_ne!(files_holding(&bench.data(), &secret), none, "control");
        let id = bench.document(&unwanted).await.id;
        bench
            .engine
            .delete_document(&bench.scope, id)
            .await
            .unwrap();
        assert!(
            bench
                .search(&secret)
                .await
                .iter()
                .all(|text| !text.contains(&secret))
        );
        let bench = bench
            .restart(|data| assert_eq!(files_holding(data, &secret), none))
            .await;
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}
