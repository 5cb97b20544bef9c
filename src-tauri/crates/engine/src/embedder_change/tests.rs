//! Changes stepped through, in processes that end at any point.

use std::path::Path;

use docent_domain::{
    ContentHash, DocumentId, DocumentStatus, Format, Language, NewChunk, Origin, Span,
};
use docent_store::{Claim, DocumentContent, FileStamp, NewDocument};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::EngineOptions;
use crate::models::ModelSource;
use crate::retrieve::{self, Wording};

/// An engine that does nothing by itself, with a workspace.
struct Bench {
    engine: Arc<Engine>,
    scope: WorkspaceScope,
    folder: TempDir,
}

impl Bench {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = start(folder.path()).await;
        let created = engine.create_workspace("Ured", None).await.unwrap();
        Self {
            engine,
            scope: WorkspaceScope::new(created.id),
            folder,
        }
    }

    /// With a document of so many chunks, ready.
    async fn with(chunks: usize) -> (Self, DocumentId) {
        let bench = Self::open().await;
        let id = bench.add("prvi", chunks).await;
        (bench, id)
    }

    /// The process ends without a word, and another one starts.
    async fn kill(self) -> Self {
        let Self {
            engine,
            scope,
            folder,
        } = self;
        drop(engine);
        let engine = start(folder.path()).await;
        Self {
            engine,
            scope,
            folder,
        }
    }

    /// Reads a document of so many chunks; its vectors are still to come.
    async fn read(&self, name: &str, chunks: usize) -> DocumentId {
        let new = NewDocument {
            path: format!("/{name}.txt"),
            origin: Origin::File,
            folder_id: None,
            title: name.into(),
            stamp: FileStamp {
                size_bytes: 1,
                modified_at: None,
                modified_ns: None,
                file_id: None,
                born_ns: None,
            },
            blob: None,
            read_after: None,
        };
        let store = self.engine.store();
        let now = Timestamp::now();
        let (document, _) = store
            .documents()
            .register(&self.scope, &new, now)
            .await
            .unwrap();
        let job = store
            .jobs()
            .claim_next(self.engine.boot(), &[JobType::Read], now)
            .await
            .unwrap()
            .unwrap();
        let chunks = (0..chunks).map(|n| NewChunk {
            span: Span::new(0, 1),
            text: format!("{name} odlomak broj {n}."),
            heading_path: Vec::new(),
            page: None,
            boxes: Vec::new(),
            token_count: 4,
        });
        let content = DocumentContent {
            hash: ContentHash(format!("{name:0>64}")),
            language: Some(Language::Croatian),
            title: None,
            format: Some(Format::Text),
            page_count: None,
            text: name.into(),
            layout_json: "{}".into(),
            chunks: chunks.collect(),
            note: None,
            problem: None,
            recognise: false,
        };
        let replaced = store
            .documents()
            .replace_content(&self.scope, document.id, Claim::from(&job), &content, now)
            .await
            .unwrap();
        self.engine
            .queue_words(&self.scope, replaced.added, &replaced.removed);
        self.engine.flush_words().await.unwrap();
        document.id
    }

    async fn embed_waiting(&self) {
        while self.engine.tick(&[JobType::Embed]).await.unwrap() {}
    }

    async fn add(&self, name: &str, chunks: usize) -> DocumentId {
        let id = self.read(name, chunks).await;
        self.embed_waiting().await;
        id
    }

    async fn remove(&self, id: DocumentId) {
        self.engine.delete_document(&self.scope, id).await.unwrap();
        self.engine.flush_words().await.unwrap();
    }

    async fn begin(&self, to: &str) {
        let begun = self.engine.change_embedder(&self.scope, to, false).await;
        assert_eq!(begun.unwrap().change.unwrap().to, to);
    }

    async fn tick(&self) -> bool {
        self.engine.change_tick().await.unwrap()
    }

    async fn to_the_end(&self) {
        while self.tick().await {}
        assert_eq!(self.status().await.change.map(|change| change.reason), None);
    }

    async fn status(&self) -> EmbedderStatus {
        self.engine.embedder_status(&self.scope).await.unwrap()
    }

    async fn progress(&self) -> (u64, u64) {
        let change = self.status().await.change.unwrap();
        (change.done, change.total)
    }

    async fn open_index(&self) -> OpenIndex {
        self.engine.open_index(&self.scope).await.unwrap()
    }

    /// How many vectors of what answer.
    async fn live(&self) -> (String, u64) {
        let open = self.open_index().await;
        assert_eq!(
            open.embedder.fingerprint(),
            open.index.vector_spec().fingerprint
        );
        let vectors = open.index.vector_keys().unwrap().len();
        (open.index.vector_spec().fingerprint.clone(), vectors)
    }

    async fn generations(&self) -> Vec<u32> {
        let there = self.open_index().await.index.generations().unwrap();
        there.into_iter().map(|generation| generation.0).collect()
    }

    async fn kept(&self, generation: u32) -> u64 {
        let index = self.open_index().await.index;
        count(&index, Generation(generation)).await.unwrap()
    }

    async fn document(&self, id: DocumentId) -> docent_domain::Document {
        let documents = self.engine.store().documents();
        documents.get(&self.scope, id).await.unwrap()
    }

    async fn assert_healthy(&self) {
        let report = self.engine.doctor(false).await.unwrap();
        let problems: Vec<_> = report.findings.iter().map(|f| &f.problem).collect();
        assert!(problems.is_empty(), "{problems:?}");
    }

    async fn code(&self, done: impl Future<Output = Result<EmbedderStatus>>) -> (Code, String) {
        let before = self.engine.store().generations().get(&self.scope).await;
        let error = done.await.expect_err("it is refused");
        let after = self.engine.store().generations().get(&self.scope).await;
        assert_eq!(before.unwrap(), after.unwrap(), "nothing was changed");
        (error.code(), error.to_string())
    }
}

async fn start(folder: &Path) -> Arc<Engine> {
    let mut options = EngineOptions::new(folder.join("data"), folder.join("models"));
    options.models = ModelSource::Fakes;
    options.run_jobs = false;
    Engine::open(options).await.unwrap()
}

#[tokio::test]
async fn a_change_goes_on_where_it_was_however_often_the_process_ends() {
    let (mut bench, id) = Bench::with(40).await;
    bench.begin("fake-x").await;
    for made in [16, 32, 40] {
        assert!(bench.tick().await);
        assert_eq!(bench.progress().await, (made, 40));
        assert_eq!(bench.live().await, ("fake-256".to_owned(), 40));
        bench = bench.kill().await;
        assert_eq!(bench.progress().await, (made, 40), "it is there");
        bench.assert_healthy().await;
    }
    assert!(bench.tick().await);
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 40));
    let status = bench.status().await;
    assert_eq!(status.embedder, "fake-x");
    assert!(status.change.is_none());
    let previous = status.previous.unwrap();
    assert_eq!(previous.embedder, bench.engine.config().embedder);
    assert!(previous.size_bytes > 0 && status.size_bytes > 0);
    assert_eq!(bench.document(id).await.status, DocumentStatus::Ready);
    assert!(!bench.tick().await, "there is nothing left to do");
    bench.assert_healthy().await;
    let bench = bench.kill().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 40));
    bench.assert_healthy().await;
}

#[tokio::test]
async fn a_process_that_ends_at_the_taking_over_leaves_the_old_or_the_new() {
    let (bench, id) = Bench::with(40).await;
    let waiting = bench.read("drugi", 3).await;
    bench.begin("fake-64").await;
    let jobs = bench.engine.store().jobs();
    assert!(!bench.tick().await, "documents go first");
    // Their job is put off, so that the change has them before the vectors that answer do.
    let claimed = jobs
        .claim_next(bench.engine.boot(), &[JobType::Embed], Timestamp::now())
        .await
        .unwrap()
        .unwrap();
    let later = Timestamp(Timestamp::now().0 + 60_000);
    jobs.put_back(
        &bench.scope,
        Claim::from(&claimed),
        later,
        None,
        Timestamp::now(),
    )
    .await
    .unwrap();
    for _ in 0..3 {
        assert!(bench.tick().await);
    }
    assert_eq!(bench.progress().await, (43, 43));
    let bench = bench.kill().await;
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 40), "the old");
    bench.assert_healthy().await;
    // The rows say so, and the process ends before anything else.
    bench
        .engine
        .store()
        .generations()
        .cut_over(&bench.scope, 2, Timestamp::now())
        .await
        .unwrap();
    let bench = bench.kill().await;
    assert_eq!(bench.live().await, ("fake-64".to_owned(), 43), "the new");
    bench.assert_healthy().await;
    for id in [id, waiting] {
        let document = bench.document(id).await;
        assert_eq!(document.status, DocumentStatus::Ready, "{document:?}");
    }
    assert_eq!(bench.generations().await, [1, 2], "the old are kept");
    // And before what nobody needs any more is deleted.
    bench
        .engine
        .store()
        .generations()
        .discard(&bench.scope)
        .await
        .unwrap();
    let bench = bench.kill().await;
    let report = bench.engine.doctor(false).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.to_wipe, ["Ured"]);
    assert_eq!(bench.generations().await, [1, 2], "it only looks");
    let report = bench.engine.doctor(true).await.unwrap();
    assert!(report.to_wipe.is_empty());
    assert_eq!(bench.generations().await, [2]);
}

#[tokio::test]
async fn what_cannot_leave_the_kept_vectors_leaves_them_later() {
    let (bench, first) = Bench::with(4).await;
    bench.read("drugi", 3).await;
    bench.embed_waiting().await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.kept(1).await, 7, "control");
    // What reading a disk that fails is like.
    let data = bench.folder.path().join("data/indexes");
    let vectors = data
        .join(bench.scope.workspace().to_string())
        .join("vectors");
    let (file, aside) = (vectors.join("data.mdb"), vectors.join("aside.mdb"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    bench.remove(first).await;
    bench.engine.flush_words().await.unwrap();
    for _ in 0..2 {
        assert!(!bench.engine.wipe().await);
        assert_eq!(bench.engine.reader().unwiped().1, 1, "it is not forgotten");
    }
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    // Nor when the process ends.
    let bench = bench.kill().await;
    let to_wipe = async || bench.engine.doctor(false).await.unwrap().to_wipe;
    assert_eq!(to_wipe().await, ["Ured"]);
    assert_eq!(bench.kept(1).await, 7, "doctor only looks");
    bench.engine.reader().wipe_soon(bench.scope.workspace());
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.kept(1).await, 3);
    assert_eq!(bench.engine.reader().unwiped().1, 0);
    assert!(to_wipe().await.is_empty());
}

#[tokio::test]
async fn what_comes_and_goes_meanwhile_is_right_in_both() {
    let (bench, first) = Bench::with(40).await;
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    let second = bench.add("drugi", 20).await;
    bench.remove(first).await;
    assert!(bench.tick().await);
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 20));
    assert_eq!(
        bench.kept(2).await,
        0,
        "what was removed left the new vectors too"
    );
    bench.assert_healthy().await;
    let third = bench.add("treći", 5).await;
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 25));
    bench.remove(third).await;
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.live().await.1, 20);
    assert_eq!(bench.kept(1).await, 20, "and the kept ones");
    assert_eq!(bench.document(second).await.status, DocumentStatus::Ready);
    bench.assert_healthy().await;
}

#[tokio::test]
async fn a_small_rest_is_left_to_jobs() {
    let (bench, id) = Bench::with(40).await;
    bench.begin("fake-x").await;
    for _ in 0..2 {
        assert!(bench.tick().await);
    }
    let next = bench.engine.store().generations().get(&bench.scope).await;
    let next = next.unwrap().next.unwrap();
    let mut changing = bench.engine.changes().interrupt().await;
    let making = changing.get_mut(&bench.scope.workspace()).unwrap();
    let open = making.open.clone().unwrap();
    let made = bench.engine.cut_over(&bench.scope, &next, &open, making);
    assert!(matches!(made.await.unwrap(), Made::Whole));
    drop(changing);
    let document = bench.document(id).await;
    assert_eq!(document.status, DocumentStatus::Words);
    assert_eq!((document.embedded_count, document.chunk_count), (32, 40));
    bench.assert_healthy().await;
    bench.embed_waiting().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 40));
    assert_eq!(bench.document(id).await.status, DocumentStatus::Ready);
}

#[tokio::test]
async fn much_that_came_at_the_last_moment_is_made_first() {
    let (bench, _) = Bench::with(16).await;
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    bench.add("drugi", REST as usize + 1).await;
    let next = bench.engine.store().generations().get(&bench.scope).await;
    let next = next.unwrap().next.unwrap();
    let mut changing = bench.engine.changes().interrupt().await;
    let making = changing.get_mut(&bench.scope.workspace()).unwrap();
    let open = making.open.clone().unwrap();
    let made = bench.engine.cut_over(&bench.scope, &next, &open, making);
    assert!(matches!(made.await.unwrap(), Made::Batch));
    drop(changing);
    assert_eq!(bench.live().await.0, "fake-256");
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 16 + REST + 1));
}

/// The two embedders have vectors of one width, so that nothing else would tell them apart.
#[tokio::test]
async fn a_question_meets_vectors_of_its_own_embedder_alone() {
    let (bench, _) = Bench::with(20).await;
    let before = bench.open_index().await;
    let wording = || vec![Wording::question("odlomak broj 7")];
    let asked = retrieve::embed(&before.embedder, wording()).await.unwrap();
    bench.begin("fake-x").await;
    bench.to_the_end().await;

    let after = bench.open_index().await;
    assert_eq!(
        after.index.vector_spec().dimensions,
        before.index.vector_spec().dimensions,
        "control"
    );
    let found = retrieve::rank(&before, asked.clone()).await.unwrap();
    assert_eq!(
        found.len(),
        20,
        "a question under way ends with what it began with"
    );
    let mixed = retrieve::rank(&after, asked).await.unwrap_err();
    assert_eq!(mixed.code(), Code::Internal, "{mixed}");
    let asked = retrieve::embed(&after.embedder, wording()).await.unwrap();
    let found = retrieve::rank(&after, asked).await.unwrap();
    assert!(found[0].dense > 0.5, "{found:?}");
}

#[tokio::test]
async fn a_job_that_was_at_work_goes_on_with_the_new_embedder() {
    let (bench, _) = Bench::with(16).await;
    bench.begin("fake-64").await;
    assert!(bench.tick().await);
    let late = bench.read("drugi", 3).await;
    let old = bench.open_index().await;
    let job = bench
        .engine
        .store()
        .jobs()
        .claim_next(bench.engine.boot(), &[JobType::Embed], Timestamp::now())
        .await
        .unwrap()
        .unwrap();
    assert!(bench.tick().await, "the three new ones");
    assert!(bench.tick().await);
    assert_eq!(bench.live().await, ("fake-64".to_owned(), 19));
    // As if the rows had not been told of them.
    let chunks = bench.engine.store().chunks();
    let keys = chunks.keys_of_document(&bench.scope, late).await.unwrap();
    let gone = keys.iter().map(|key| key.0).collect();
    bench
        .open_index()
        .await
        .index
        .remove_vectors(&gone)
        .unwrap();
    bench
        .engine
        .store()
        .chunks()
        .reset_embedded(&bench.scope, &keys, Timestamp::now())
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    let claim = Claim::from(&job);
    let with_old = bench
        .engine
        .embed_with(&old, &bench.scope, claim, late, &cancel);
    assert_eq!(
        with_old.await.map(|_| ()).unwrap_err().code(),
        Code::Overloaded
    );
    assert_eq!(
        old.index.vector_keys().unwrap().len(),
        16,
        "nothing was added"
    );
    let whole = bench.engine.embed(&bench.scope, claim, late, &cancel);
    whole.await.map(|_| ()).unwrap();
    assert_eq!(bench.live().await, ("fake-64".to_owned(), 19));
    assert_eq!(bench.document(late).await.status, DocumentStatus::Ready);
    bench.assert_healthy().await;
}

#[tokio::test]
async fn a_cancelled_change_leaves_nothing_behind() {
    let (bench, _) = Bench::with(40).await;
    let nothing = bench.code(bench.engine.cancel_embedder_change(&bench.scope));
    assert_eq!(nothing.await.0, Code::Conflict);
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    assert_eq!(bench.generations().await, [1, 2]);
    let cancelled = bench.engine.cancel_embedder_change(&bench.scope).await;
    assert!(cancelled.unwrap().change.is_none());
    assert_eq!(bench.generations().await, [1]);
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 40));
    assert!(!bench.tick().await);
    bench.assert_healthy().await;

    bench.begin("fake-x").await;
    bench.to_the_end().await;
    assert_eq!(bench.generations().await, [1, 3]);
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 40));
}

#[tokio::test]
async fn a_paused_change_waits_until_it_is_resumed() {
    let (bench, _) = Bench::with(40).await;
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    let paused = bench.engine.pause_embedder_change(&bench.scope).await;
    let change = paused.unwrap().change.unwrap();
    assert_eq!((change.state, change.done), (ChangeState::Paused, 16));
    assert!(!bench.tick().await);
    let bench = bench.kill().await;
    assert!(!bench.tick().await);
    assert_eq!(bench.progress().await, (16, 40));
    bench
        .engine
        .resume_embedder_change(&bench.scope)
        .await
        .unwrap();
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 40));
}

#[tokio::test]
async fn a_paused_workspace_says_why_its_change_waits() {
    let (bench, _) = Bench::with(40).await;
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    assert_eq!(bench.status().await.change.unwrap().reason, None, "control");
    bench.engine.pause_work(&bench.scope).await.unwrap();
    assert!(!bench.tick().await);
    let change = bench.status().await.change.unwrap();
    assert_eq!((change.state, change.done), (ChangeState::Running, 16));
    assert_eq!(change.reason.as_deref(), Some(WORK_PAUSED));
    bench.engine.resume_work(&bench.scope).await.unwrap();
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 40));
}

#[tokio::test]
async fn a_document_is_ready_when_another_embedder_made_what_was_cancelled() {
    let bench = Bench::open().await;
    let id = bench.read("b.txt", 40).await;
    let cancelled = bench.engine.cancel_all_jobs(&bench.scope).await;
    assert_eq!(cancelled.unwrap(), 1);
    let document = bench.document(id).await;
    assert_eq!(document.status, DocumentStatus::Words);
    assert!(document.reason.unwrap().contains("cancelled"), "control");
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    let document = bench.document(id).await;
    assert_eq!(
        (document.status, document.reason),
        (DocumentStatus::Ready, None)
    );
    let counts = bench.engine.store().jobs().counts(&bench.scope).await;
    assert_eq!(counts.unwrap().cancelled, 0);
    bench.assert_healthy().await;
}

#[tokio::test]
async fn going_back_takes_no_embedding_of_what_was_there() {
    let (bench, first) = Bench::with(40).await;
    let nothing = bench.code(bench.engine.roll_back_embedder(&bench.scope));
    assert_eq!(nothing.await.0, Code::Conflict);
    let original = bench.status().await.embedder;
    bench.begin("fake-x").await;
    let early = bench.code(bench.engine.roll_back_embedder(&bench.scope));
    assert_eq!(early.await.0, Code::Conflict);
    bench.to_the_end().await;
    let second = bench.add("drugi", 3).await;
    let refused = bench.code(bench.engine.change_embedder(&bench.scope, &original, false));
    assert_eq!(
        refused.await.0,
        Code::Conflict,
        "its vectors are still there"
    );

    let back = bench.engine.roll_back_embedder(&bench.scope).await.unwrap();
    assert_eq!(back.embedder, original);
    assert_eq!(back.previous.unwrap().embedder, "fake-x");
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 40));
    assert_eq!(bench.document(first).await.status, DocumentStatus::Ready);
    assert_eq!(bench.document(second).await.status, DocumentStatus::Words);
    bench.assert_healthy().await;
    bench.embed_waiting().await;
    assert_eq!(bench.live().await.1, 43);

    let bench = bench.kill().await;
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 43));
    bench.engine.roll_back_embedder(&bench.scope).await.unwrap();
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 43));
    bench.assert_healthy().await;

    let discarded = bench.engine.discard_previous_vectors(&bench.scope).await;
    assert!(discarded.unwrap().previous.is_none());
    assert_eq!(bench.generations().await, [2]);
    bench.begin(&original).await;
    bench.to_the_end().await;
    assert_eq!(
        bench.live().await,
        ("fake-256".to_owned(), 43),
        "changed back"
    );
}

#[tokio::test]
async fn kept_vectors_that_are_damaged_are_not_gone_back_to() {
    let (bench, _) = Bench::with(4).await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    let data = bench.folder.path().join("data/indexes");
    let vectors = data
        .join(bench.scope.workspace().to_string())
        .join("vectors");
    std::fs::write(vectors.join("data.mdb"), [7; 9000]).unwrap();
    let refused = bench.code(bench.engine.roll_back_embedder(&bench.scope));
    assert_eq!(refused.await.0, Code::Conflict);
    let found = bench.engine.doctor(true).await.unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].repaired.is_some());
    bench.assert_healthy().await;
    assert_eq!(bench.generations().await, [2]);
    assert!(bench.status().await.previous.is_none());
}

#[tokio::test]
async fn kept_vectors_go_after_a_week() {
    let (bench, _) = Bench::with(4).await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    let until = bench.status().await.previous.unwrap().kept_until;
    bench.engine.drop_old_vectors(until).await;
    assert_eq!(bench.generations().await, [1, 2], "not a moment sooner");
    bench.engine.drop_old_vectors(Timestamp(until.0 + 1)).await;
    assert_eq!(bench.generations().await, [2]);
    assert!(bench.status().await.previous.is_none());
    bench.assert_healthy().await;
}

#[tokio::test]
async fn vectors_still_in_use_are_deleted_later() {
    let (bench, _) = Bench::with(4).await;
    let asking = bench.open_index().await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    bench
        .engine
        .discard_previous_vectors(&bench.scope)
        .await
        .unwrap();
    assert_eq!(bench.generations().await, [1, 2]);
    let probes = retrieve::embed(&asking.embedder, vec![Wording::question("odlomak")]);
    let found = retrieve::rank(&asking, probes.await.unwrap()).await;
    assert_eq!(
        found.unwrap().len(),
        4,
        "the question is answered from them"
    );
    assert!(!bench.engine.wipe().await);
    assert_eq!(bench.generations().await, [1, 2]);
    drop(asking);
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.generations().await, [2]);
}

#[tokio::test]
async fn a_change_goes_with_its_workspace() {
    let (bench, _) = Bench::with(40).await;
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    bench.engine.delete_workspace(&bench.scope).await.unwrap();
    assert!(!bench.tick().await);
    let indexes = bench.folder.path().join("data/indexes");
    assert_eq!(std::fs::read_dir(indexes).unwrap().count(), 0);
    let gone = bench.engine.embedder_status(&bench.scope).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_chunk_that_cannot_be_embedded_stops_nobody() {
    let (bench, _) = Bench::with(20).await;
    let poison = bench.add("otrov", 1).await;
    bench.add("drugi", 20).await;
    bench.begin("fake-picky").await;
    for _ in 0..60 {
        bench.tick().await;
        for making in bench.engine.changes().interrupt().await.values_mut() {
            making.not_before = None;
        }
    }
    assert_eq!(bench.live().await, ("fake-256-picky".to_owned(), 40));
    let document = bench.document(poison).await;
    assert_eq!(document.status, DocumentStatus::Words, "its job tells why");
    bench.assert_healthy().await;
}

#[tokio::test]
async fn an_embedder_that_always_fails_stops_its_change() {
    let bench = Bench::open().await;
    bench.add("otrov", 40).await;
    bench.begin("fake-picky").await;
    for _ in 0..20 {
        bench.tick().await;
        for making in bench.engine.changes().interrupt().await.values_mut() {
            making.not_before = None;
        }
    }
    let change = bench.status().await.change.unwrap();
    assert_eq!(change.state, ChangeState::Failed);
    assert!(change.reason.unwrap().contains("refuses this text"));
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 40));
    bench
        .engine
        .cancel_embedder_change(&bench.scope)
        .await
        .unwrap();
    assert_eq!(bench.generations().await, [1]);
}

#[tokio::test]
async fn what_a_change_costs_is_told_before() {
    let (bench, _) = Bench::with(40).await;
    let plan = async |to| {
        bench
            .engine
            .plan_embedder_change(&bench.scope, to)
            .await
            .unwrap()
    };
    let current = bench.status().await.embedder;
    let own = plan(&current).await;
    assert!(own.obstacle.unwrap().contains("already"));
    let other = plan("fake-64").await;
    assert_eq!((other.chunks, other.installed), (40, true));
    assert!(other.seconds.is_some_and(|seconds| seconds >= 0.0));
    assert_eq!(other.disk_bytes, Some(estimated_bytes(40, 64, false)));
    assert_eq!(other.obstacle, None);
    assert_eq!(other.long_passages.unwrap().longer, 0);

    let short = plan("fake-short").await.long_passages.unwrap();
    assert_eq!(
        (short.looked_at, short.longer, short.max_tokens),
        (40, 0, 8)
    );
    bench
        .add("dugački naslov dokumenta od više riječi", 2)
        .await;
    let short = plan("fake-short").await.long_passages.unwrap();
    assert_eq!((short.looked_at, short.longer), (42, 2));
    let refused = bench.code(
        bench
            .engine
            .change_embedder(&bench.scope, "fake-short", false),
    );
    let (code, message) = refused.await;
    assert_eq!(code, Code::Conflict);
    assert!(message.contains("2 of 42"), "{message}");
    let accepted = bench
        .engine
        .change_embedder(&bench.scope, "fake-short", true);
    accepted.await.unwrap();
    let second = bench.code(bench.engine.change_embedder(&bench.scope, "fake-x", false));
    assert_eq!(second.await.0, Code::Conflict, "one at a time");
    assert!(
        plan("fake-x")
            .await
            .obstacle
            .unwrap()
            .contains("fake-short")
    );

    let empty = bench.engine.create_workspace("Prazan", None).await.unwrap();
    let empty = WorkspaceScope::new(empty.id);
    let plan = bench.engine.plan_embedder_change(&empty, "fake-x").await;
    assert_eq!(plan.unwrap().seconds, None, "nothing to measure with");
}

/// Whose files are gone, as the embedder of what answers is.
#[tokio::test]
async fn going_back_and_changing_need_the_other_embedder_alone() {
    let (bench, id) = Bench::with(40).await;
    let original = bench.status().await.embedder;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    let bench = bench.kill().await;
    bench.engine.model_set().take_away("fake-x").await;
    let dead = bench.engine.open_index(&bench.scope).await.map(|_| ());
    assert_eq!(dead.unwrap_err().code(), Code::ModelMissing, "control");
    for to in [&original, "fake-64"] {
        let refused = bench.code(bench.engine.change_embedder(&bench.scope, to, false));
        let (code, message) = refused.await;
        assert_eq!(code, Code::Conflict, "what is kept is gone back to");
        assert!(!message.to_lowercase().contains("discard"), "{message}");
    }
    bench.engine.roll_back_embedder(&bench.scope).await.unwrap();
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 40));
    assert_eq!(bench.document(id).await.status, DocumentStatus::Ready);
    bench.assert_healthy().await;

    // Both are gone now, and another one is here.
    let bench = bench.kill().await;
    for gone in [original.as_str(), "fake-x"] {
        bench.engine.model_set().take_away(gone).await;
    }
    bench.begin("fake-64").await;
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-64".to_owned(), 40));
    assert_eq!(bench.document(id).await.status, DocumentStatus::Ready);
    bench.assert_healthy().await;
}

/// Nor was it ever.
#[tokio::test]
async fn an_embedder_that_never_came_is_changed() {
    let bench = Bench::open().await;
    let original = bench.status().await.embedder;
    let bench = bench.kill().await;
    bench.engine.model_set().take_away(&original).await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 0));
    // And one that comes later finds the index that was opened without it.
    let bench = bench.kill().await;
    bench.engine.model_set().take_away("fake-x").await;
    let index = bench.folder.path().join("data/indexes");
    let index = index.join(bench.scope.workspace().to_string());
    std::fs::remove_dir_all(index).unwrap();
    bench.engine.index_as_it_is(&bench.scope).await.unwrap();
    bench.engine.model_set().bring_back();
    assert_eq!(bench.live().await, ("fake-256-x".to_owned(), 0));
}

#[tokio::test]
async fn what_was_removed_is_wiped_without_the_embedder() {
    let (bench, first) = Bench::with(4).await;
    bench.add("drugi", 3).await;
    let original = bench.status().await.embedder;
    assert!(bench.engine.wipe().await);
    let bench = bench.kill().await;
    bench.engine.model_set().take_away(&original).await;
    // The process ends before anything but the rows is rid of it.
    bench
        .engine
        .delete_document(&bench.scope, first)
        .await
        .unwrap();
    let bench = bench.kill().await;
    bench.engine.model_set().take_away(&original).await;
    assert_eq!(bench.engine.reader().unwiped().1, 0, "control");
    Arc::clone(&bench.engine).open_all().await;
    assert_eq!(bench.engine.reader().unwiped().1, 1, "health says so");
    assert!(bench.engine.wipe().await);
    let index = bench.engine.index_as_it_is(&bench.scope).await.unwrap();
    assert!(!index.holds_removed());
    let there = (index.word_keys().unwrap(), index.vector_keys().unwrap());
    assert_eq!((there.0.len(), there.1.len()), (3, 3));
    drop(index);
    let report = bench.engine.doctor(false).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.unchecked.len(), report.to_wipe.len()), (1, 0));
    bench.engine.model_set().bring_back();
    assert_eq!(bench.live().await, ("fake-256".to_owned(), 3));
}

#[tokio::test]
async fn damaged_kept_vectors_that_hold_what_was_removed_are_forgotten() {
    let (bench, first) = Bench::with(4).await;
    bench.add("drugi", 3).await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    assert!(bench.engine.wipe().await);
    let data = bench.folder.path().join("data/indexes");
    let data = data.join(bench.scope.workspace().to_string());
    let data = data.join("vectors/data.mdb");
    let mut bytes = std::fs::read(&data).unwrap();
    // The flags of the first page that is no meta page.
    bytes[2 * 4096 + 10..][..2].fill(0xff);
    std::fs::write(&data, bytes).unwrap();
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.generations().await, [1, 2], "nothing was removed");
    bench.remove(first).await;
    assert!(bench.engine.wipe().await);
    assert_eq!(bench.generations().await, [2]);
    assert!(bench.status().await.previous.is_none());
    bench.assert_healthy().await;
}

#[tokio::test]
async fn vectors_are_deleted_of_an_index_that_nobody_has_opened() {
    let (bench, _) = Bench::with(40).await;
    let there = async |bench: &Bench| {
        let indexes = bench.folder.path().join("data/indexes");
        let index = indexes.join(bench.scope.workspace().to_string());
        ["vectors", "vectors-2", "vectors-3"].map(|name| index.join(name).exists())
    };
    bench.begin("fake-x").await;
    assert!(bench.tick().await);
    let bench = bench.kill().await;
    assert_eq!(there(&bench).await, [true, true, false], "control");
    let cancelled = bench.engine.cancel_embedder_change(&bench.scope).await;
    cancelled.unwrap();
    assert_eq!(there(&bench).await, [true, false, false]);
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    let bench = bench.kill().await;
    assert_eq!(there(&bench).await, [true, false, true], "control");
    let discarded = bench.engine.discard_previous_vectors(&bench.scope).await;
    discarded.unwrap();
    assert_eq!(there(&bench).await, [false, false, true]);
}

#[tokio::test]
async fn kept_vectors_give_way_to_nothing_unasked() {
    let (bench, _) = Bench::with(4).await;
    bench.begin("fake-x").await;
    bench.to_the_end().await;
    let generations = bench.engine.store().generations();
    let outdated = generations.get(&bench.scope).await.unwrap().previous;
    let refused = bench.code(bench.engine.change_embedder(&bench.scope, "fake-64", false));
    let (code, message) = refused.await;
    assert_eq!(code, Code::Conflict);
    assert!(message.contains("Discard them first"), "{message}");
    bench.engine.roll_back_embedder(&bench.scope).await.unwrap();
    let late = bench.engine.discard_kept(&bench.scope, outdated.as_ref());
    assert_eq!(late.await.unwrap_err().code(), Code::Conflict);
    assert_eq!(bench.generations().await, [1, 2], "others are kept by now");
    bench
        .engine
        .discard_previous_vectors(&bench.scope)
        .await
        .unwrap();
    bench.begin("fake-64").await;
    bench.to_the_end().await;
    assert_eq!(bench.live().await, ("fake-64".to_owned(), 4));
}

#[tokio::test]
async fn an_index_in_use_goes_after_its_workspace() {
    let (bench, _) = Bench::with(4).await;
    let indexes = bench.folder.path().join("data/indexes");
    let there = || std::fs::read_dir(&indexes).unwrap().count();
    let removals = async || {
        let components = bench.engine.health().await.components;
        let removals = components.into_iter().find(|part| part.name == "removals");
        removals.unwrap().message
    };
    let asking = bench.open_index().await;
    bench.engine.delete_workspace(&bench.scope).await.unwrap();
    assert_eq!(there(), 1, "control");
    assert!(removals().await.ends_with("from 1 indexes"));
    assert!(!bench.engine.wipe().await);
    assert!(removals().await.ends_with("from 1 indexes"));
    drop(asking);
    assert!(bench.engine.wipe().await);
    assert_eq!(there(), 0);
    assert_eq!(removals().await, "what was removed is wiped");
}

#[tokio::test]
async fn a_search_ends_with_its_workspace() {
    let (bench, _) = Bench::with(4).await;
    // What widens a search waits for the batch that is being embedded.
    let batch = bench.engine.cores().background().await;
    let request = crate::types::SearchRequest {
        text: "odlomak broj 3".into(),
        k: 3,
        expand: true,
        legs: crate::types::Legs::Hybrid,
        language: None,
    };
    let (engine, scope) = (Arc::clone(&bench.engine), bench.scope);
    let search = tokio::spawn(async move { engine.search(&scope, request).await });
    while !bench.engine.cores().are_wanted() {
        tokio::task::yield_now().await;
    }
    assert!(!search.is_finished(), "control");
    bench.engine.delete_workspace(&bench.scope).await.unwrap();
    assert_eq!(search.await.unwrap().unwrap_err().code(), Code::NotFound);
    let indexes = bench.folder.path().join("data/indexes");
    assert_eq!(std::fs::read_dir(indexes).unwrap().count(), 0);
    drop(batch);
}

#[test]
fn a_sample_comes_from_everywhere() {
    let keys: Vec<ChunkKey> = (0..10).map(ChunkKey).collect();
    let numbers = |count| -> Vec<u32> { spread(&keys, count).iter().map(|key| key.0).collect() };
    assert_eq!(numbers(4), [0, 2, 5, 7]);
    assert_eq!(numbers(100), (0..10).collect::<Vec<_>>());
    assert_eq!(spread(&[], 4), []);
}

#[test]
fn too_little_room_is_said_before() {
    assert!(no_room(Some(10), Some(9)).is_some());
    assert!(no_room(Some(10), Some(10)).is_none());
    assert!(no_room(Some(10), None).is_none());
}
