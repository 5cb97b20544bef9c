//! Scans one at a time, with changes in between.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use docent_domain::{DocumentId, FolderId, FolderState, JobKind, Timestamp, WorkspaceScope};
use docent_store::JobQuery;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::Scanned;
use crate::engine::{Engine, EngineOptions};
use crate::models::ModelSource;
use crate::types::{DocumentQuery, JobFilter};

/// An engine that scans when it is told to.
struct Still {
    engine: Arc<Engine>,
    scope: WorkspaceScope,
    folder: TempDir,
}

fn options(folder: &Path) -> EngineOptions {
    let mut options = EngineOptions::new(folder.join("d"), folder.join("m"));
    options.models = ModelSource::Fakes;
    options.run_jobs = false;
    options
}

impl Still {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(options(folder.path())).await.unwrap();
        let workspace = engine.create_workspace("Ured", None).await.unwrap();
        Self {
            engine,
            scope: WorkspaceScope::new(workspace.id),
            folder,
        }
    }

    /// A watched folder with files in it, scanned once.
    async fn watch(&self, name: &str, files: usize) -> (FolderId, PathBuf) {
        let root = self.folder.path().join(name);
        fs::create_dir(&root).unwrap();
        for n in 0..files {
            fs::write(root.join(format!("{n}.txt")), format!("{name}: tekst {n}.")).unwrap();
        }
        let added = self.engine.add_folder(&self.scope, &root).await.unwrap();
        assert_eq!(self.scan(added.id).await, Scanned::Done);
        (added.id, PathBuf::from(added.path))
    }

    async fn scan(&self, id: FolderId) -> Scanned {
        let cancel = CancellationToken::new();
        let scanned = self.engine.scan(&self.scope, id, &cancel).await;
        scanned.unwrap()
    }

    async fn documents(&self) -> HashMap<PathBuf, DocumentId> {
        let query = DocumentQuery {
            limit: 500,
            ..DocumentQuery::default()
        };
        let page = self.engine.documents(&self.scope, query).await.unwrap();
        let items = page.items.into_iter();
        items.map(|found| (found.path.into(), found.id)).collect()
    }

    /// Nothing waits in the queue but a scan of this folder, so long from now.
    async fn leave_one_scan(&self, folder: FolderId, after: Duration) {
        let jobs = self.engine.store().jobs();
        let waiting = jobs.list(&self.scope, &JobQuery::default()).await.unwrap();
        for listed in waiting.items {
            let now = Timestamp::now();
            jobs.cancel(&self.scope, listed.job.id, now).await.unwrap();
        }
        let due = in_time(after);
        let folders = self.engine.store().folders();
        folders
            .enqueue_scans(&[(self.scope, folder, due)], Timestamp::now())
            .await
            .unwrap();
    }
}

fn in_time(wait: Duration) -> Timestamp {
    Timestamp(Timestamp::now().0 + wait.as_millis() as i64)
}

/// What was in its place when the first look missed another file may be on its way at the second.
#[tokio::test]
async fn only_what_two_scans_in_a_row_have_missed_is_removed() {
    let still = Still::open().await;
    let (id, root) = still.watch("a", 3).await;
    let before = still.documents().await;
    let away = still.folder.path().join("away");
    let (first, second) = (root.join("0.txt"), root.join("1.txt"));

    fs::remove_file(&first).unwrap();
    assert_eq!(still.scan(id).await, Scanned::Again(Duration::ZERO));
    assert_eq!(still.documents().await, before);
    fs::rename(&second, &away).unwrap();
    assert_eq!(still.scan(id).await, Scanned::Again(Duration::ZERO));
    let mut left = before.clone();
    left.remove(&first);
    assert_eq!(still.documents().await, left, "missed twice, and once");
    fs::rename(&away, &second).unwrap();
    assert_eq!(still.scan(id).await, Scanned::Done);
    assert_eq!(still.documents().await, left, "it was on its way");

    // A scan that did not get to its end ends the looking, too.
    fs::rename(&second, &away).unwrap();
    assert_eq!(still.scan(id).await, Scanned::Again(Duration::ZERO));
    let aside = still.folder.path().join("aside");
    fs::rename(&root, &aside).unwrap();
    assert_eq!(still.scan(id).await, Scanned::Done, "the root is gone");
    fs::rename(&aside, &root).unwrap();
    assert_eq!(still.scan(id).await, Scanned::Again(Duration::ZERO));
    assert_eq!(still.documents().await, left);
    let cancel = CancellationToken::new();
    cancel.cancel();
    still
        .engine
        .scan(&still.scope, id, &cancel)
        .await
        .unwrap_err();
    assert_eq!(still.scan(id).await, Scanned::Again(Duration::ZERO));
    assert_eq!(still.documents().await, left);
    assert_eq!(still.scan(id).await, Scanned::Done);
    left.remove(&second);
    assert_eq!(still.documents().await, left, "control");
    still.engine.shutdown().await;
}

/// A large folder rests for long after a scan; what moved there is waited for all the same.
#[tokio::test]
async fn what_vanished_waits_for_the_folders_that_are_to_be_scanned() {
    let still = Still::open().await;
    let (a, from) = still.watch("a", 3).await;
    let (b, to) = still.watch("b", 1).await;
    let before = still.documents().await;
    let moved = before[&from.join("0.txt")];
    still.leave_one_scan(b, Duration::from_secs(3600)).await;
    fs::rename(from.join("0.txt"), to.join("moved.txt")).unwrap();
    for look in ["first", "second", "third"] {
        let Scanned::Again(wait) = still.scan(a).await else {
            panic!("the {look} look was the last");
        };
        assert!(
            wait > Duration::from_secs(1) && wait < Duration::from_secs(30),
            "{look}: {wait:?}"
        );
        assert_eq!(still.documents().await, before, "{look}");
    }
    let jobs = still.engine.store().jobs();
    let query = JobQuery::default();
    let waiting = jobs.list(&still.scope, &query).await.unwrap().items;
    let scan = waiting
        .iter()
        .find(|listed| listed.job.kind == JobKind::Scan { folder: b });
    let due = scan.unwrap().job.run_after;
    assert!(due <= in_time(Duration::from_secs(20)), "it is due sooner");

    assert_eq!(still.scan(b).await, Scanned::Done);
    assert_eq!(still.scan(a).await, Scanned::Done);
    let after = still.documents().await;
    assert_eq!(after.get(&to.join("moved.txt")), Some(&moved));
    assert_eq!(after.len(), before.len());

    // What is not there either is removed.
    still.leave_one_scan(b, Duration::from_secs(3600)).await;
    fs::remove_file(from.join("1.txt")).unwrap();
    assert!(matches!(still.scan(a).await, Scanned::Again(_)));
    assert_eq!(still.scan(b).await, Scanned::Done);
    assert_eq!(still.scan(a).await, Scanned::Done);
    assert_eq!(still.documents().await.len(), before.len() - 1);
    still.engine.shutdown().await;
}

/// As while a large folder is being deleted: the question is about all of it, and comes once.
#[tokio::test]
async fn what_goes_on_vanishing_is_asked_about_when_it_has_ended() {
    let still = Still::open().await;
    let (id, root) = still.watch("a", 12).await;
    let before = still.documents().await;
    let remove = |range: std::ops::Range<usize>| {
        for n in range {
            fs::remove_file(root.join(format!("{n}.txt"))).unwrap();
        }
    };
    for range in [0..4, 4..8, 8..11] {
        remove(range);
        assert!(matches!(still.scan(id).await, Scanned::Again(_)));
        assert_eq!(still.documents().await, before);
    }
    assert_eq!(still.scan(id).await, Scanned::Done);
    let folder = still.engine.folders(&still.scope).await.unwrap().remove(0);
    assert_eq!(folder.state, FolderState::Paused);
    assert!(folder.reason.unwrap().contains("11 of 12 files"));
    assert_eq!(still.documents().await, before);
    still.engine.shutdown().await;
}

/// As when a disk is unmounted: the directory below it has the same path.
#[tokio::test]
async fn a_folder_in_the_place_of_another_asks_however_few_files_are_gone() {
    let still = Still::open().await;
    let (id, root) = still.watch("a", 4).await;
    let before = still.documents().await;
    let away = still.folder.path().join("away");
    let state = async || {
        let folder = still.engine.folders(&still.scope).await.unwrap().remove(0);
        folder.state
    };
    let until_done = async || while still.scan(id).await != Scanned::Done {};
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    until_done().await;
    assert_eq!(state().await, FolderState::Paused);
    assert_eq!(still.documents().await, before);
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    until_done().await;
    assert_eq!(state().await, FolderState::Watching, "it is back");

    // Saved by a program that writes all of it anew.
    let copy = still.folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for n in 0..4 {
        let name = format!("{n}.txt");
        fs::copy(root.join(&name), copy.join(&name)).unwrap();
    }
    fs::rename(&root, &away).unwrap();
    fs::rename(&copy, &root).unwrap();
    until_done().await;
    assert_eq!(state().await, FolderState::Watching, "nothing is gone");
    fs::remove_file(root.join("0.txt")).unwrap();
    until_done().await;
    assert_eq!(still.documents().await.len(), 3, "it is that one now");

    fs::rename(&root, &copy).unwrap();
    fs::create_dir(&root).unwrap();
    until_done().await;
    assert_eq!(state().await, FolderState::Paused);
    still.engine.resume_folder(&still.scope, id).await.unwrap();
    until_done().await;
    assert_eq!(state().await, FolderState::Watching);
    assert_eq!(still.documents().await.len(), 0);
    still.engine.shutdown().await;
}

#[tokio::test]
async fn a_scan_that_is_stopped_stops_between_batches() {
    let still = Still::open().await;
    let (id, _) = still.watch("a", 2).await;
    let before = still.documents().await;
    let ids: Vec<DocumentId> = before.values().copied().collect();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let (engine, scope) = (&still.engine, &still.scope);
    for folder in [None, Some(id)] {
        let removed = engine.remove_documents(scope, &ids, folder, &cancel).await;
        removed.unwrap_err();
    }
    assert_eq!(still.documents().await, before);
    let cancel = CancellationToken::new();
    let removed = engine
        .remove_documents(scope, &ids, Some(id), &cancel)
        .await;
    removed.unwrap();
    assert_eq!(still.documents().await.len(), 0, "control");
    still.engine.shutdown().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_whose_name_is_not_unicode_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let still = Still::open().await;
    let name = std::ffi::OsStr::from_bytes(b"a\xff");
    let root = still.folder.path().join(name);
    fs::create_dir(&root).unwrap();
    let refused = still
        .engine
        .add_folder(&still.scope, Path::new(&root))
        .await;
    let refused = refused.unwrap_err();
    assert!(refused.message().contains("not Unicode"), "{refused}");
    assert!(still.engine.folders(&still.scope).await.unwrap().is_empty());
    still.engine.shutdown().await;
}

#[tokio::test]
async fn who_only_looks_queues_no_scans() {
    let still = Still::open().await;
    let (id, _) = still.watch("a", 1).await;
    let Still {
        engine,
        scope,
        folder,
    } = still;
    engine.cancel_all_jobs(&scope).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    let engine = Engine::open(options(folder.path())).await.unwrap();
    let jobs = engine.jobs(&scope, JobFilter::default()).await;
    assert_eq!(jobs.unwrap().counts.queued, 0);
    engine.scan_folder(&scope, id).await.unwrap();
    let jobs = engine.jobs(&scope, JobFilter::default()).await;
    assert_eq!(jobs.unwrap().counts.queued, 1, "control");
    engine.shutdown().await;
}
