//! The embedder in real worker processes, with real weights.

use std::path::PathBuf;
use std::sync::Arc;

use docent_inference::embedder::{EmbedderOptions, OnnxEmbedder};
use docent_inference::models::{ModelStore, shared_models_dir};
use docent_inference::{EmbedKind, Embedder, Error};
use docent_worker::{Launch, Limits};
use tokio_util::sync::CancellationToken;

fn launch() -> Launch {
    Launch {
        program: std::env::var_os("DOCENT_WORKER_EXE")
            .map_or_else(docent_testkit::docent_binary, PathBuf::from),
        args: vec!["worker".into(), "embedder".into()],
        env: Vec::new(),
        limits: Limits::default(),
    }
}

async fn options(id: &str) -> EmbedderOptions {
    let store = ModelStore::open(shared_models_dir()).unwrap();
    for id in ["onnxruntime", id] {
        store
            .fetch(id, Arc::new(|_| {}), CancellationToken::new())
            .await
            .unwrap();
    }
    EmbedderOptions::from_store(&store, id, launch())
        .unwrap()
        .with_threads(1)
}

async fn embed_one(embedder: &OnnxEmbedder, text: &str) -> Result<Vec<f32>, Error> {
    let mut found = embedder
        .embed(EmbedKind::Passage, vec![text.to_owned()])
        .await?;
    Ok(found.remove(0).dense)
}

#[tokio::test]
async fn many_texts_come_back_in_order_and_a_killed_worker_costs_no_call() {
    let embedder = OnnxEmbedder::new(options("multilingual-e5-small").await);
    assert_eq!(embedder.dimensions(), 384);
    assert!(embedder.fingerprint().starts_with("multilingual-e5-small:"));
    assert_eq!(embedder.worker_pid(), None, "nothing runs before a call");

    let texts: Vec<String> = (0..70)
        .map(|index| format!("tekst {index} {}", "riječ ".repeat(index % 7)))
        .collect();
    let found = embedder
        .embed(EmbedKind::Passage, texts.clone())
        .await
        .unwrap();
    assert_eq!(found.len(), texts.len());
    for index in [0, 33, 69] {
        let alone = embed_one(&embedder, &texts[index]).await.unwrap();
        assert_eq!(alone, found[index].dense, "text {index}");
    }
    let query = embedder
        .embed(EmbedKind::Query, vec![texts[0].clone()])
        .await
        .unwrap();
    assert_ne!(query[0].dense, found[0].dense, "prefixes differ");
    assert!(
        embedder
            .embed(EmbedKind::Query, Vec::new())
            .await
            .unwrap()
            .is_empty()
    );

    let pid = embedder.worker_pid().unwrap();
    std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    let after = embed_one(&embedder, &texts[0]).await.unwrap();
    assert_eq!(after, found[0].dense);
    assert_ne!(embedder.worker_pid(), Some(pid));

    embedder.unload().await;
    assert_eq!(embedder.worker_pid(), None);
    let again = embed_one(&embedder, &texts[0]).await.unwrap();
    assert_eq!(again, found[0].dense);
}

#[tokio::test]
async fn a_missing_runtime_is_a_sentence_and_not_a_panic() {
    let mut options = options("all-minilm-l6-v2").await;
    options.runtime = "/no/such/libonnxruntime.so".into();
    let embedder = OnnxEmbedder::new(options);
    let error = embed_one(&embedder, "text").await.unwrap_err();
    assert!(
        matches!(&error, Error::Worker(docent_worker::Error::Refused { message })
            if message.contains("docent models fetch onnxruntime")),
        "{error}"
    );
}
