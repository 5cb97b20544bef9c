//! Which folders are watched, when each was scanned last, and what hints lead to.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{DocumentId, Folder, FolderId, Timestamp, WorkspaceScope};
use docent_ingest::{FolderWatcher, Hint, HintCause, WatchedBy};
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::types::Watch;

/// Hints of one change in two folders (a file moved between them) come within this time.
const HINTS_TOGETHER: Duration = Duration::from_millis(50);

/// What could not be queued (the disk is full) is queued again after this.
const QUEUE_AGAIN: Duration = Duration::from_secs(5);

/// A folder is scanned for a hint, for lack of events, and for good measure, only when so many times
/// as long has passed since as its last scan took: a large tree costs at most a tenth, a twentieth
/// and a hundredth of one core.
pub(crate) const REST_AFTER_HINT: u32 = 9;
const REST_AFTER_POLL: u32 = 19;
const REST_AFTER_RESCAN: u32 = 99;

/// The folders that are being watched.
#[derive(Default)]
pub(crate) struct Watching {
    watcher: Mutex<Option<FolderWatcher>>,
    hints: Mutex<Option<mpsc::Receiver<Hint>>>,
    roots: Mutex<HashMap<FolderId, (WorkspaceScope, PathBuf)>>,
    /// Of folders whose last scan left it to the next one to remove what has vanished.
    missed: Mutex<HashMap<FolderId, Missed>>,
    scanned: Mutex<HashMap<FolderId, LastScan>>,
}

/// What a scan did not find, for the next one to look for too.
pub(super) struct Missed {
    pub documents: HashSet<DocumentId>,
    pub since: Instant,
    /// The workspace's other folders that were to be scanned then: they may hold the files now.
    pub others: Vec<FolderId>,
}

impl Missed {
    /// What of it is still missing.
    pub fn still_of(self, vanished: &HashSet<DocumentId>) -> Self {
        Self {
            documents: self.documents.intersection(vanished).copied().collect(),
            ..self
        }
    }
}

#[derive(Clone, Copy)]
struct LastScan {
    ended: Instant,
    took: Duration,
}

impl Watching {
    pub(super) fn add(&self, scope: WorkspaceScope, folder: &Folder) {
        let path = PathBuf::from(&folder.path);
        lock(&self.roots).insert(folder.id, (scope, path.clone()));
        if let Some(watcher) = lock(&self.watcher).as_ref() {
            watcher.add(path);
        }
    }

    pub(crate) fn remove(&self, folder: FolderId) {
        let removed = lock(&self.roots).remove(&folder);
        lock(&self.missed).remove(&folder);
        lock(&self.scanned).remove(&folder);
        let Some((_, path)) = removed else { return };
        let still_wanted = lock(&self.roots).values().any(|(_, other)| *other == path);
        if !still_wanted && let Some(watcher) = lock(&self.watcher).as_ref() {
            watcher.remove(&path);
        }
    }

    /// Ends watching; no further hint comes.
    pub(crate) async fn stop(&self) {
        let watcher = lock(&self.watcher).take();
        // It waits for its thread.
        if tokio::task::spawn_blocking(move || drop(watcher))
            .await
            .is_err()
        {
            tracing::error!("ending the folder watcher panicked");
        }
    }

    /// How long a folder has to be left alone yet after its last scan.
    fn rest_left(&self, folder: FolderId, times: u32) -> Duration {
        lock(&self.scanned)
            .get(&folder)
            .map_or(Duration::ZERO, |last| {
                (last.took * times).saturating_sub(last.ended.elapsed())
            })
    }

    pub(super) fn watch_of(&self, path: &Path) -> Watch {
        let watcher = lock(&self.watcher);
        match watcher
            .as_ref()
            .and_then(|watcher| watcher.watched_by(path))
        {
            None => Watch::No,
            Some(WatchedBy::Events) => Watch::Events,
            Some(WatchedBy::Polling(reason)) => Watch::Polling { reason },
        }
    }

    /// Whether a folder was scanned from its beginning to its end since then, and nothing is left for
    /// a second look.
    pub(crate) fn was_scanned(&self, folder: FolderId, since: Instant) -> bool {
        self.was_looked_at(folder, since) && !lock(&self.missed).contains_key(&folder)
    }

    /// Whether a scan of a folder has begun and ended since then.
    pub(super) fn was_looked_at(&self, folder: FolderId, since: Instant) -> bool {
        lock(&self.scanned)
            .get(&folder)
            .is_some_and(|last| last.ended.saturating_duration_since(since) >= last.took)
    }

    pub(super) fn note_scan(&self, folder: FolderId, took: Duration) {
        let ended = Instant::now();
        lock(&self.scanned).insert(folder, LastScan { ended, took });
    }

    /// What the last scan missed. The folder counts as one with something to look for until
    /// [`Watching::set_missed`] says how the scan that asks has ended.
    pub(super) fn take_missed(&self, folder: FolderId) -> Option<Missed> {
        let mut all = lock(&self.missed);
        let missed = all.get_mut(&folder)?;
        Some(Missed {
            documents: std::mem::take(&mut missed.documents),
            since: missed.since,
            others: std::mem::take(&mut missed.others),
        })
    }

    pub(super) fn set_missed(&self, folder: FolderId, missed: Option<Missed>) {
        let mut all = lock(&self.missed);
        match missed {
            Some(missed) => all.insert(folder, missed),
            None => all.remove(&folder),
        };
    }

    fn of_root(&self, root: &Path) -> Vec<(FolderId, WorkspaceScope)> {
        lock(&self.roots)
            .iter()
            .filter(|(_, (_, path))| path == root)
            .map(|(id, (scope, _))| (*id, *scope))
            .collect()
    }

    fn all(&self) -> Vec<(FolderId, WorkspaceScope)> {
        lock(&self.roots)
            .iter()
            .map(|(id, (scope, _))| (*id, *scope))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Begins watching all known folders. Where jobs run, each is scanned: much may have changed while
    /// closed.
    pub(crate) async fn watch_folders(self: &Arc<Self>) -> Result<()> {
        let (watcher, hints) = FolderWatcher::spawn([]);
        *lock(&self.watching().watcher) = Some(watcher);
        *lock(&self.watching().hints) = Some(hints);
        for folder in self.store().folders().list_all().await? {
            let scope = WorkspaceScope::new(folder.workspace_id);
            self.watching().add(scope, &folder);
            if self.options().run_jobs {
                self.scan_folder(&scope, folder.id).await?;
            }
        }
        Ok(())
    }

    /// Scans folders when something hints at a change, and all of them now and then.
    pub(crate) async fn follow_hints(self: Arc<Self>) {
        let Some(mut hints) = lock(&self.watching().hints).take() else {
            return;
        };
        let every = Duration::from_secs(self.config().rescan_seconds.max(10));
        let mut rescan = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        let mut wanted = HashMap::new();
        loop {
            tokio::select! {
                // On a full disk. Nothing hints at these a second time.
                () = tokio::time::sleep(QUEUE_AGAIN), if !wanted.is_empty() => {}
                hint = hints.recv() => match hint {
                    Some(hint) => {
                        // What belongs together is queued together.
                        tokio::time::sleep(HINTS_TOGETHER).await;
                        let more = std::iter::from_fn(|| hints.try_recv().ok());
                        for hint in std::iter::once(hint).chain(more) {
                            self.follow_hint(&hint, &mut wanted);
                        }
                    }
                    None => return,
                },
                _ = rescan.tick() => {
                    for (folder, scope) in self.watching().all() {
                        if self.watching().rest_left(folder, REST_AFTER_RESCAN).is_zero() {
                            wanted.insert(folder, (scope, Duration::ZERO));
                        }
                    }
                }
                () = self.stopping().cancelled() => return,
            }
            let now = Timestamp::now();
            let scans: Vec<_> = wanted
                .iter()
                .map(|(folder, (scope, wait))| {
                    (*scope, *folder, Timestamp(now.0 + wait.as_millis() as i64))
                })
                .collect();
            if scans.is_empty() {
                continue;
            }
            match self.store().folders().enqueue_scans(&scans, now).await {
                Ok(()) => {
                    wanted.clear();
                    self.ring();
                }
                Err(error) => {
                    tracing::warn!(%error, "scans are queued later");
                    if Error::from(error).code() == Code::InsufficientStorage {
                        self.reader().note_disk_full(true);
                    }
                }
            }
        }
    }

    /// Adds the scans that follow from a hint, each with how long to wait.
    fn follow_hint(&self, hint: &Hint, wanted: &mut HashMap<FolderId, (WorkspaceScope, Duration)>) {
        for (folder, scope) in self.watching().of_root(&hint.root) {
            let wait = match hint.cause {
                HintCause::Poll => {
                    if !self.watching().rest_left(folder, REST_AFTER_POLL).is_zero() {
                        continue;
                    }
                    Duration::ZERO
                }
                HintCause::Changed | HintCause::Overflow => {
                    // Not at once: a scan that is running now is followed by a rest first.
                    let rest = self.watching().rest_left(folder, REST_AFTER_HINT);
                    rest.max(Duration::from_millis(1))
                }
                HintCause::Watching | HintCause::RootChanged => Duration::ZERO,
            };
            wanted.insert(folder, (scope, wait));
        }
    }
}
