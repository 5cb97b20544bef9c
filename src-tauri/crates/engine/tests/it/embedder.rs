//! A workspace's embedder changed while files come and go, questions are asked and processes end.

use std::path::Path;
use std::time::Duration;

use docent_domain::{DocumentStatus, WorkspaceScope};
use docent_engine::{Engine, EngineOptions, ModelSource, SearchRequest};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Test;
use crate::support::{Bench, options, run, wait};

pub const TESTS: &[Test] = &[
    (
        "an_embedder_changes_while_files_come_and_go",
        an_embedder_changes_while_files_come_and_go,
    ),
    (
        "a_change_of_embedder_survives_killed_processes",
        a_change_of_embedder_survives_killed_processes,
    ),
];

const OLD: &str = "fake-256";
const NEW: &str = "fake-256-x";

/// The embedder and the vectors of the next question.
async fn answering(engine: &Engine, scope: &WorkspaceScope) -> String {
    engine
        .index(scope)
        .await
        .unwrap()
        .vector_spec()
        .fingerprint
        .clone()
}

fn an_embedder_changes_while_files_come_and_go() {
    run(async {
        let bench = Bench::open().await;
        for n in 0..80 {
            bench.write(&format!("{n}.txt"), &format!("Rečenica broj {n}."));
        }
        bench.add(&[&bench.files()]).await;
        let (engine, scope) = (&bench.engine, &bench.scope);

        // No vector is made for as long as this lives.
        let held = engine.hold_embedding().await;
        engine
            .change_embedder(scope, "fake-x", false)
            .await
            .unwrap();
        let new = bench.write("nova.txt", "Lubenica je zelena izvana.");
        bench.write("7.txt", "Umjesto sedme sada piše ananas.");
        std::fs::remove_file(bench.files().join("9.txt")).unwrap();
        for folder in engine.folders(scope).await.unwrap() {
            engine.scan_folder(scope, folder.id).await.unwrap();
        }
        wait(async || {
            let titles = bench.titles().await;
            let found = bench.search("lubenica zelena").await;
            assert_eq!(answering(engine, scope).await, OLD);
            !titles.iter().any(|title| title == "9")
                && found.iter().any(|text| text.contains("Lubenica"))
        })
        .await;
        let change = engine.embedder_status(scope).await.unwrap().change.unwrap();
        assert_eq!((change.done, change.to.as_str()), (0, "fake-x"));

        drop(held);
        wait(async || {
            // At every moment a question finds ten of eighty, by one embedder or the other.
            assert_eq!(bench.search("rečenica broj").await.len(), 10);
            engine
                .embedder_status(scope)
                .await
                .unwrap()
                .change
                .is_none()
        })
        .await;
        assert_eq!(answering(engine, scope).await, NEW);
        bench.idle().await;
        assert_eq!(bench.document(&new).await.status, DocumentStatus::Ready);
        assert!(bench.search("ananas umjesto sedme").await[0].contains("ananas"));
        assert!(bench.search("lubenica zelena").await[0].contains("Lubenica"));
        let index = engine.index(scope).await.unwrap();
        assert_eq!(index.vector_keys().unwrap().len(), 80, "79 and the new one");
        assert_eq!(index.vector_keys().unwrap(), index.word_keys().unwrap());
        drop(index);
        bench.assert_healthy().await;

        engine.roll_back_embedder(scope).await.unwrap();
        assert_eq!(answering(engine, scope).await, OLD);
        assert!(bench.search("lubenica zelena").await[0].contains("Lubenica"));
        bench.idle().await;
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn a_change_of_embedder_survives_killed_processes() {
    let folder = TempDir::new().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for n in 0..120 {
        let text = format!("Rečenica broj {n}.");
        std::fs::write(files.join(format!("{n}.txt")), text).unwrap();
    }
    let scope = in_a_process(folder.path(), async |engine| {
        let created = engine.create_workspace("Ured", None).await.unwrap();
        let scope = WorkspaceScope::new(created.id);
        let folders = docent_engine::AddedFolders::Watch;
        engine
            .add_paths(&scope, vec![files.clone()], folders)
            .await
            .unwrap();
        engine.wait_idle(&scope, |_| {}).await.unwrap();
        engine
            .change_embedder(&scope, "fake-x", false)
            .await
            .unwrap();
        scope
    });
    let mut before = 0;
    loop {
        // Each process makes something of it, and ends without a word.
        let is_done = in_a_process(folder.path(), async |engine| {
            let mut is_done = false;
            wait(async || {
                let status = engine.embedder_status(&scope).await.unwrap();
                let Some(change) = status.change else {
                    is_done = true;
                    return true;
                };
                assert!(change.done >= before, "nothing is made twice");
                let further = change.done > before;
                before = change.done;
                further
            })
            .await;
            let request = SearchRequest {
                text: "rečenica broj".into(),
                k: 10,
                expand: false,
                legs: docent_engine::Legs::Hybrid,
                language: None,
            };
            let found = engine.search(&scope, request).await.unwrap();
            assert_eq!(found.hits.len(), 10);
            is_done
        });
        if is_done {
            break;
        }
    }
    in_a_process(folder.path(), async |engine| {
        engine.wait_idle(&scope, |_| {}).await.unwrap();
        assert_eq!(answering(engine, &scope).await, NEW);
        let index = engine.index(&scope).await.unwrap();
        assert_eq!(index.vector_keys().unwrap().len(), 120);
        drop(index);
        let report = engine.doctor(false).await.unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    });
}

/// What a process does with a data folder until it ends: its tasks stop wherever they are.
fn in_a_process<T>(folder: &Path, work: impl AsyncFnOnce(&std::sync::Arc<Engine>) -> T) -> T {
    let options = EngineOptions {
        patience: Duration::from_secs(30),
        ..options(folder, ModelSource::Fakes)
    };
    let process = Runtime::new().unwrap();
    let result = process.block_on(async {
        let engine = Engine::open(options).await.unwrap();
        work(&engine).await
    });
    process.shutdown_timeout(Duration::from_secs(30));
    result
}
