//! Models that are loaded and given back, with the smallest real weights.

use std::sync::Arc;

use docent_domain::WorkspaceScope;
use docent_engine::{
    AddedFolders, Config, Engine, EngineOptions, ExpansionPolicy, HealthStatus, ModelState,
    QueryRequest,
};
use docent_inference::models::{ModelStore, shared_models_dir};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Test;
use crate::support::run;

pub const TESTS: &[Test] = &[(
    "the_status_tells_what_is_in_memory",
    the_status_tells_what_is_in_memory,
)];

const GENERATOR: &str = "smollm2-135m-instruct";
const EMBEDDER: &str = "all-minilm-l6-v2";

fn the_status_tells_what_is_in_memory() {
    run(async {
        let store = ModelStore::open(shared_models_dir()).unwrap();
        for id in ["onnxruntime", "pdfium", GENERATOR, EMBEDDER] {
            let fetched = store.fetch(id, Arc::new(|_| {}), CancellationToken::new());
            fetched.await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let mut options = EngineOptions::new(folder.path().join("data"), shared_models_dir());
        options.config = Config {
            generator: GENERATOR.into(),
            embedder: EMBEDDER.into(),
            answer_tokens: 8,
            // The model is to write, whatever there is to write from.
            refuse_below: 0.0,
            expansion: ExpansionPolicy::Never,
            ..Config::default()
        };
        let engine = Engine::open(options).await.unwrap();
        let states = async || {
            let status = engine.status().await;
            assert!(status.ready, "{status:?}");
            (status.generator.state, status.embedder.state)
        };
        assert_eq!(states().await, (ModelState::Idle, ModelState::Idle));

        let workspace = engine.create_workspace("Office", None).await.unwrap();
        let scope = WorkspaceScope::new(workspace.id);
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "The office is open from nine to five.").unwrap();
        engine
            .add_paths(&scope, vec![file], AddedFolders::Watch)
            .await
            .unwrap();
        engine.wait_idle(&scope, |_| {}).await.unwrap();
        assert_eq!(states().await, (ModelState::Idle, ModelState::Ready));

        let request = QueryRequest {
            text: "When is the office open?".into(),
            language: None,
            max_results: 3,
            chat: None,
        };
        let (events, mut heard) = mpsc::channel(64);
        let asking = engine.query(&scope, request, events, CancellationToken::new());
        let (outcome, ()) = tokio::join!(asking, async { while heard.recv().await.is_some() {} });
        assert!(!outcome.unwrap().refused, "control: the model was asked");
        assert_eq!(states().await, (ModelState::Ready, ModelState::Ready));
        let health = engine.health().await;
        assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
        engine.shutdown().await;
    });
}
