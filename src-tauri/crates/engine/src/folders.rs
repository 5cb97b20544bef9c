//! Watched folders: the index follows the disk.
//!
//! Events of the file system are hints that a folder may have changed; what is believed is a scan.
//! A file that vanished is removed only after a complete scan, never when the root itself is gone
//! or most of it at once: then the folder is paused and the user is asked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{
    ChunkKey, ContentHash, DocumentId, Folder, FolderId, FolderPatterns, FolderState, JobKind,
    JobState, JobType, ScanSummary, Timestamp, WorkspaceScope,
};
use docent_ingest::{
    FolderWatcher, FoundFile, Hint, HintCause, LeftOut, Patterns, ScanError, ScanOptions, Seen,
    WatchedBy,
};
use docent_store::{
    FileMove, JobQuery, KnownFile, NewDocument, Registered, RemovedFile, RemovedMove,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::documents::{new_document, stored_stamp};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::blocking;
use crate::pipeline::Rest;
use crate::types::{FolderStatus, Topic, Watch};

/// Fewer files than this may vanish at once without a question, whatever share they are.
const FEW_FILES: usize = 5;

/// Files registered in one transaction.
const REGISTER_BATCH: usize = 1000;

/// Rows, and files, that a scan holds in memory at once.
const KNOWN_PAGE: u32 = 2000;
const FOUND_BATCH: usize = 1000;

/// Hints of one change in two folders (a file moved between them) come within this time.
const HINTS_TOGETHER: Duration = Duration::from_millis(50);

/// A folder whose files may have moved to another one is scanned again after this; the other one's
/// scan goes first however long it takes.
const AFTER_OTHERS: Duration = Duration::from_millis(500);

/// Scans that are due within this time are waited for by who may have lost files to their folders.
const SOON_MS: i64 = 1_000;

/// What could not be queued (the disk is full) is queued again after this.
const QUEUE_AGAIN: Duration = Duration::from_secs(5);

/// A folder is scanned for a hint, for lack of events, and for good measure, only when so many times
/// as long has passed since as its last scan took: a large tree costs at most a tenth, a twentieth
/// and a hundredth of one core.
const REST_AFTER_HINT: u32 = 9;
const REST_AFTER_POLL: u32 = 19;
const REST_AFTER_RESCAN: u32 = 99;

const GONE_BY_HAND: &str = "The file is not there any more. What was read of it is kept, and stays \
    in the search until you remove the document here; when the file is back, it is read again.";

/// The folders that are being watched.
#[derive(Default)]
pub(crate) struct Watching {
    watcher: Mutex<Option<FolderWatcher>>,
    hints: Mutex<Option<mpsc::Receiver<Hint>>>,
    roots: Mutex<HashMap<FolderId, (WorkspaceScope, PathBuf)>>,
    /// Folders whose last scan left it to the next one to remove what has vanished.
    deferred: Mutex<HashSet<FolderId>>,
    scanned: Mutex<HashMap<FolderId, LastScan>>,
}

#[derive(Clone, Copy)]
struct LastScan {
    ended: Instant,
    took: Duration,
}

impl Watching {
    fn add(&self, scope: WorkspaceScope, folder: &Folder) {
        let path = PathBuf::from(&folder.path);
        lock(&self.roots).insert(folder.id, (scope, path.clone()));
        if let Some(watcher) = lock(&self.watcher).as_ref() {
            watcher.add(path);
        }
    }

    pub(crate) fn remove(&self, folder: FolderId) {
        let removed = lock(&self.roots).remove(&folder);
        lock(&self.deferred).remove(&folder);
        lock(&self.scanned).remove(&folder);
        let Some((_, path)) = removed else { return };
        let still_wanted = lock(&self.roots).values().any(|(_, other)| *other == path);
        if !still_wanted && let Some(watcher) = lock(&self.watcher).as_ref() {
            watcher.remove(&path);
        }
    }

    /// Ends watching; no further hint comes.
    pub(crate) fn stop(&self) {
        lock(&self.watcher).take();
    }

    /// How long a folder has to be left alone yet after its last scan.
    fn rest_left(&self, folder: FolderId, times: u32) -> Duration {
        lock(&self.scanned)
            .get(&folder)
            .map_or(Duration::ZERO, |last| {
                (last.took * times).saturating_sub(last.ended.elapsed())
            })
    }

    fn watch_of(&self, path: &Path) -> Watch {
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
        let is_after = lock(&self.scanned)
            .get(&folder)
            .is_some_and(|last| last.ended.saturating_duration_since(since) >= last.took);
        is_after && !lock(&self.deferred).contains(&folder)
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
    pub async fn folders(&self, scope: &WorkspaceScope) -> Result<Vec<Folder>> {
        Ok(self.store().folders().list(scope).await?)
    }

    /// The folders with what goes on about them now.
    pub async fn folder_statuses(&self, scope: &WorkspaceScope) -> Result<Vec<FolderStatus>> {
        let folders = self.store().folders().list(scope).await?;
        let running = JobQuery {
            state: Some(JobState::Running),
            kind: Some(JobType::Scan),
            ..JobQuery::default()
        };
        let running = self.store().jobs().list(scope, &running).await?.items;
        Ok(folders
            .into_iter()
            .map(|folder| FolderStatus {
                scanning: running
                    .iter()
                    .any(|listed| listed.job.kind == JobKind::Scan { folder: folder.id }),
                watch: self.watching().watch_of(Path::new(&folder.path)),
                folder,
            })
            .collect())
    }

    pub async fn folder_status(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
    ) -> Result<FolderStatus> {
        let mut statuses = self.folder_statuses(scope).await?;
        statuses.retain(|status| status.folder.id == id);
        statuses.pop().ok_or_else(|| Error::not_found("the folder"))
    }

    /// Makes the workspace mirror a folder, and begins with a scan. A folder that is watched
    /// already is scanned again. What the user had removed of it comes back.
    pub async fn add_folder(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        path: &Path,
    ) -> Result<Folder> {
        self.add_folder_with(scope, path, None).await
    }

    /// [`Engine::add_folder`] with patterns; without, those of a folder that is watched already stay.
    pub async fn add_folder_with(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        path: &Path,
        patterns: Option<&FolderPatterns>,
    ) -> Result<Folder> {
        if let Some(patterns) = patterns {
            check_patterns(path, patterns)?;
        }
        let wanted = path.to_owned();
        let data_dir = self.options().data_dir.clone();
        let (root, data_dir) = blocking("looking at a folder", move || {
            // As the root is: the data folder may be given by a link.
            let data_dir = std::fs::canonicalize(&data_dir)
                .map_err(|error| Error::internal("looking at the data folder", error))?;
            Ok((readable_folder(&wanted)?, data_dir))
        })
        .await?;
        if root.starts_with(&data_dir) || data_dir.starts_with(&root) {
            return Err(Error::new(
                Code::Conflict,
                format!(
                    "{} holds Docent's own data and cannot be watched",
                    root.display()
                ),
            )
            .with_hint("Choose the folder with your documents"));
        }
        let now = Timestamp::now();
        let (folder, _) = self
            .store()
            .folders()
            .add_with(scope, &root.to_string_lossy(), patterns, now)
            .await?;
        self.watching().add(*scope, &folder);
        self.retry_unread(scope, Some(folder.id), |_| true).await?;
        self.store()
            .folders()
            .enqueue_scan(scope, folder.id, now)
            .await?;
        self.ring();
        self.changed(Topic::Folders, Some(scope.workspace()));
        Ok(folder)
    }

    /// Stops mirroring a folder and removes its documents from the workspace. The files stay. What
    /// lies in another watched folder too comes back from there.
    pub async fn remove_folder(&self, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
        let folder = self.store().folders().get(scope, id).await?;
        self.watching().remove(id);
        let removed = self.store().folders().remove(scope, id).await?;
        self.forget_chunks(scope, &removed.chunks).await;
        self.scan_overlapping(scope, &folder).await?;
        self.changed(Topic::Folders, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
        Ok(())
    }

    /// Changes which files of a folder are mirrored, and scans it: what is left out now leaves the
    /// search, however much that is, and what is wanted again comes back.
    pub async fn set_folder_patterns(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        patterns: &FolderPatterns,
    ) -> Result<Folder> {
        let folder = self.store().folders().get(scope, id).await?;
        check_patterns(Path::new(&folder.path), patterns)?;
        let folder = self
            .store()
            .folders()
            .set_patterns(scope, id, patterns, Timestamp::now())
            .await?;
        self.ring();
        self.changed(Topic::Folders, Some(scope.workspace()));
        Ok(folder)
    }

    /// Compares a folder with the disk as soon as possible.
    pub async fn scan_folder(&self, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
        self.store()
            .folders()
            .enqueue_scan(scope, id, Timestamp::now())
            .await?;
        self.ring();
        Ok(())
    }

    /// Says that what has vanished from a paused folder may be removed: what was gone when the
    /// question was put. Much more than that is asked about again.
    pub async fn resume_folder(&self, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
        self.store()
            .folders()
            .accept(scope, id, Timestamp::now())
            .await?;
        self.ring();
        Ok(())
    }

    /// Begins watching all known folders, and scans each: much may have changed while closed.
    pub(crate) async fn watch_folders(self: &Arc<Self>) -> Result<()> {
        let (watcher, hints) = FolderWatcher::spawn([]);
        *lock(&self.watching().watcher) = Some(watcher);
        *lock(&self.watching().hints) = Some(hints);
        for folder in self.store().folders().list_all().await? {
            let scope = WorkspaceScope::new(folder.workspace_id);
            self.watching().add(scope, &folder);
            self.scan_folder(&scope, folder.id).await?;
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
                    self.watching().rest_left(folder, REST_AFTER_HINT)
                }
                HintCause::Watching | HintCause::RootChanged => Duration::ZERO,
            };
            wanted.insert(folder, (scope, wait));
        }
    }

    /// Compares a folder with the disk and queues what follows from the difference.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        id: FolderId,
        cancel: &CancellationToken,
    ) -> Result<Scanned> {
        let begun = Instant::now();
        let folder = self.store().folders().get(scope, id).await?;
        let patterns = Patterns::new(
            Path::new(&folder.path),
            &folder.patterns.include,
            &folder.patterns.exclude,
        )
        .map_err(|error| Error::invalid(error.to_string()))?;
        let removed: HashMap<String, RemovedFile> = self
            .store()
            .documents()
            .removed_files(scope)
            .await?
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        let compared = self.compare(scope, &folder, &patterns, &removed, cancel);
        let (mut difference, seen) = match compared.await? {
            Ok(compared) => compared,
            Err(ScanError::Cancelled) => return Err(Error::new(Code::Internal, "stopped")),
            Err(error) => {
                let reason =
                    format!("{error}. Its documents are kept until it is back or removed here.");
                self.set_folder_state(scope, id, FolderState::Paused, Some(&reason), None)
                    .await?;
                return Ok(Scanned::Done);
            }
        };
        let moved = self
            .move_files(scope, &folder, &mut difference, &seen, cancel)
            .await?;
        self.leave_out_removed(scope, &folder, removed, &mut difference)
            .await?;
        let rest = Rest::of(self.config());
        let now = Timestamp::now();
        let new: Vec<NewDocument> = difference
            .appeared
            .iter()
            .map(|appeared| NewDocument {
                read_after: rest.read_after(&appeared.file.stamp(), now),
                ..found_document(&appeared.file, id)
            })
            .collect();
        let mut queued = 0;
        for batch in new.chunks(REGISTER_BATCH) {
            let registered = self
                .store()
                .documents()
                .register_all(scope, batch, Timestamp::now())
                .await?;
            queued += registered
                .iter()
                .filter(|(_, result)| *result != Registered::Unchanged)
                .count();
            self.ring();
        }
        let Difference { gone, .. } = &difference;
        let by_hand: Vec<DocumentId> = gone.iter().filter_map(Gone::by_hand).collect();
        self.store()
            .documents()
            .mark_gone(scope, &by_hand, GONE_BY_HAND, Timestamp::now())
            .await?;
        // Wherever the others are, these are not wanted.
        let unwanted: Vec<DocumentId> = gone.iter().filter_map(Gone::unwanted).collect();
        self.remove_documents(scope, &unwanted).await?;
        if !unwanted.is_empty() {
            // Another folder that holds them may want them.
            self.scan_overlapping(scope, &folder).await?;
        }
        let vanished: Vec<DocumentId> = gone.iter().filter_map(Gone::vanished).collect();
        tracing::debug!(folder = %folder.path, queued, moved, gone = vanished.len(), unwanted = unwanted.len(), "scanned");

        let took = begun.elapsed();
        let summary = summary_of(&seen, &difference, took);
        lock(&self.watching().scanned).insert(
            id,
            LastScan {
                ended: Instant::now(),
                took,
            },
        );
        let scanned = (Timestamp::now(), summary);
        if !seen.complete {
            let reason = match seen.unreadable.first() {
                Some((path, why)) => format!(
                    "{} of its files or folders cannot be read, the first is {}: {why}. \
                     Nothing that is gone is removed until all of it can be read.",
                    seen.unreadable.len(),
                    path.display()
                ),
                None => {
                    "it could not be read completely; nothing is removed until it can".to_owned()
                }
            };
            self.set_folder_state(
                scope,
                id,
                FolderState::Incomplete,
                Some(&reason),
                Some(scanned),
            )
            .await?;
            return Ok(Scanned::Done);
        }
        if vanished.is_empty() {
            lock(&self.watching().deferred).remove(&id);
        } else if let Some(wait) = self.second_look(scope, id).await? {
            return Ok(Scanned::Again(wait));
        }
        let wanted = difference.known - unwanted.len();
        // It may have been given while the scan was under way.
        let accepted = self.store().folders().accepted(scope, id).await?;
        if is_to_be_asked(vanished.len(), wanted, accepted as usize) {
            let reason = format!(
                "{} of {wanted} files are gone at once. Nothing was removed. If that is right, \
                 resume the folder; if not, bring the files back.",
                vanished.len(),
            );
            let gone = vanished.len() as u64;
            self.store()
                .folders()
                .ask(scope, id, gone, accepted, &reason, scanned)
                .await?;
            self.changed(Topic::Folders, Some(scope.workspace()));
            self.changed(Topic::Documents, Some(scope.workspace()));
            return Ok(Scanned::Done);
        }
        if !vanished.is_empty() {
            let documents = self.store().documents();
            let removed = documents.delete_vanished(scope, id, &vanished).await?;
            self.forget_chunks(scope, &removed).await;
        }
        self.set_folder_state(
            scope,
            id,
            FolderState::Watching,
            left_out(&seen).as_deref(),
            Some(scanned),
        )
        .await?;
        Ok(Scanned::Done)
    }

    /// Holds the folder's rows against its files, both in the order of their paths, so that only the
    /// differences are kept in memory.
    async fn compare(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        folder: &Folder,
        patterns: &Patterns,
        removed: &HashMap<String, RemovedFile>,
        cancel: &CancellationToken,
    ) -> Result<std::result::Result<(Difference, Seen), ScanError>> {
        let (found, mut batches) = mpsc::channel::<Vec<FoundFile>>(2);
        let walk = {
            let root = PathBuf::from(&folder.path);
            let options = ScanOptions {
                include: folder.patterns.include.clone(),
                exclude: folder.patterns.exclude.clone(),
                ..ScanOptions::default()
            };
            let cancel = cancel.clone();
            tokio::task::spawn_blocking(move || walk_in_batches(&root, &options, &cancel, &found))
        };
        let mut difference = Difference::default();
        let mut known = KnownFiles::of(self, scope, folder);
        while let Some(batch) = batches.recv().await {
            for file in batch {
                let path = file.path.to_string_lossy();
                if let Some(removed) = removed.get(path.as_ref()) {
                    difference.leave_out(removed, &file);
                    continue;
                }
                while let Some(before) = known.next_if(|known| known.path.as_str() < &*path).await?
                {
                    difference.absent(before, patterns);
                }
                let same = known.next_if(|known| known.path == path).await?;
                difference.present(file, same);
            }
        }
        let walked = walk
            .await
            .map_err(|error| Error::internal("comparing a folder with the disk", error))?;
        let seen = match walked {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        while let Some(rest) = known.next_if(|_| true).await? {
            difference.absent(rest, patterns);
        }
        Ok(Ok((difference, seen)))
    }

    /// Gives documents whose files have moved their new paths, and takes both ends out of the
    /// difference. Returns how many.
    async fn move_files(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        folder: &Folder,
        difference: &mut Difference,
        seen: &Seen,
        cancel: &CancellationToken,
    ) -> Result<usize> {
        if difference.appeared.is_empty() {
            return Ok(0);
        }
        let mut sources: Vec<Source> = difference
            .gone
            .iter()
            .map(|gone| Source {
                known: gone.file.clone(),
                // An unreadable place may still hold it.
                has_left: seen.complete || gone.is_unwanted,
            })
            .collect();
        // Something else is at their paths; the files themselves may be anywhere.
        sources.extend(difference.appeared.iter().filter_map(|appeared| {
            Some(Source {
                known: appeared.instead_of.clone()?,
                has_left: false,
            })
        }));
        sources.extend(self.left_elsewhere(scope, folder, difference).await?);
        if sources.is_empty() {
            return Ok(0);
        }
        let ids: Vec<DocumentId> = sources
            .iter()
            .filter(|source| source.known.stamp.size_bytes > 0)
            .map(|source| source.known.id)
            .collect();
        let hashes = self.store().documents().content_hashes(scope, &ids).await?;
        let appeared = std::mem::take(&mut difference.appeared);
        let cancel = cancel.clone();
        let (moves, appeared) = blocking("looking for moved files", move || {
            Ok(match_moves(sources, &hashes, appeared, &cancel))
        })
        .await?;
        difference.appeared = appeared;
        if moves.is_empty() {
            return Ok(0);
        }
        let changes: Vec<FileMove> = moves
            .iter()
            .map(|(id, file)| FileMove {
                id: *id,
                to: found_document(file, folder.id),
            })
            .collect();
        let moved = self
            .store()
            .documents()
            .move_files(scope, &changes, Timestamp::now())
            .await?;
        let ids: HashSet<DocumentId> = moves.iter().map(|(id, _)| *id).collect();
        difference.gone.retain(|gone| !ids.contains(&gone.file.id));
        for (_, file) in moves {
            if moved
                .unread
                .iter()
                .any(|path| *path == file.path.to_string_lossy())
            {
                difference.appeared.push(Appeared {
                    file,
                    instead_of: None,
                });
            }
        }
        if moved.retitled || !moved.removed.is_empty() {
            self.queue_rewording(scope);
            self.queue_words(scope, Vec::new(), &moved.removed);
            self.flush_words_or_later().await;
        }
        if !moved.removed.is_empty() {
            self.wipe_removed(scope).await;
        }
        self.ring();
        Ok(ids.len())
    }

    /// Takes files that the user has removed, and that stand under another name now, out of what has
    /// appeared, and notes it. Such a file is known by its identity, size and time, or by its content
    /// when there is nothing at its path any more and no document holds the same.
    async fn leave_out_removed(
        &self,
        scope: &WorkspaceScope,
        folder: &Folder,
        removed: HashMap<String, RemovedFile>,
        difference: &mut Difference,
    ) -> Result<()> {
        let documents = self.store().documents();
        // What is in a folder that the user has just added is wanted.
        let is_new_folder = folder.last_scan_at.is_none();
        let has_new = difference
            .appeared
            .iter()
            .any(|appeared| appeared.instead_of.is_none());
        let mut moved = Vec::new();
        if has_new && !removed.is_empty() && !is_new_folder {
            let sizes: HashSet<u64> = difference
                .appeared
                .iter()
                .map(|appeared| appeared.file.size_bytes)
                .collect();
            let mut removed: Vec<RemovedFile> = removed.into_values().collect();
            removed.sort_by(|a, b| a.path.cmp(&b.path));
            for file in &mut removed {
                let Some((bytes, hash)) = &file.content else {
                    continue;
                };
                if !sizes.contains(bytes) || documents.has_content(scope, hash).await? {
                    file.content = None;
                }
            }
            let roots = self.store().folders().list(scope).await?;
            let appeared = std::mem::take(&mut difference.appeared);
            (moved, difference.appeared) = blocking("looking for removed files", move || {
                Ok(match_removed(removed, &roots, appeared))
            })
            .await?;
        }
        difference.removed += moved.len() as u64;
        documents
            .note_removed_files(scope, &moved, &difference.removed_seen)
            .await?;
        Ok(())
    }

    /// Files of the workspace's other folders that may be what has appeared here, and that have left
    /// their place, although their folder is there.
    async fn left_elsewhere(
        &self,
        scope: &WorkspaceScope,
        folder: &Folder,
        difference: &Difference,
    ) -> Result<Vec<Source>> {
        let mut others = self.store().folders().list(scope).await?;
        others.retain(|other| other.id != folder.id && other.state != FolderState::Paused);
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let sizes: HashSet<u64> = difference
            .appeared
            .iter()
            .map(|appeared| appeared.file.size_bytes)
            .filter(|size| *size > 0)
            .collect();
        let sizes: Vec<u64> = sizes.into_iter().collect();
        let documents = self.store().documents();
        let known = documents.known_elsewhere(scope, folder.id, &sizes).await?;
        blocking("looking for moved files", move || {
            others.retain(|other| Path::new(&other.path).is_dir());
            let there: HashSet<FolderId> = others.iter().map(|other| other.id).collect();
            Ok(known
                .into_iter()
                .filter(|file| file.folder.is_some_and(|of| there.contains(&of)))
                .filter(|file| has_left(Path::new(&file.path)))
                .map(|known| Source {
                    known,
                    has_left: true,
                })
                .collect())
        })
        .await
    }

    /// How long to wait for a second look before what vanished is removed: a file that moves while
    /// a scan is under way may be in neither place, and one that moved to another folder turns up
    /// there. `None` when this was the second look.
    async fn second_look(&self, scope: &WorkspaceScope, id: FolderId) -> Result<Option<Duration>> {
        if lock(&self.watching().deferred).remove(&id) {
            return Ok(None);
        }
        let soon = Timestamp(Timestamp::now().0 + SOON_MS);
        let folders = self.store().folders();
        let others = folders.others_are_due(scope, id, soon).await?;
        lock(&self.watching().deferred).insert(id);
        Ok(Some(if others { AFTER_OTHERS } else { Duration::ZERO }))
    }

    async fn remove_documents(&self, scope: &WorkspaceScope, ids: &[DocumentId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let removed = self.store().documents().delete_all(scope, ids).await?;
        self.forget_chunks(scope, &removed).await;
        Ok(())
    }

    /// Takes what was just removed out of the search and the files.
    async fn forget_chunks(&self, scope: &WorkspaceScope, removed: &[ChunkKey]) {
        self.queue_words(scope, Vec::new(), removed);
        self.flush_words_or_later().await;
        self.wipe_removed(scope).await;
    }

    /// Scans the other folders that hold this one, or lie in it.
    async fn scan_overlapping(&self, scope: &WorkspaceScope, folder: &Folder) -> Result<()> {
        let path = Path::new(&folder.path);
        for other in self.store().folders().list(scope).await? {
            let overlaps =
                path.starts_with(&other.path) || Path::new(&other.path).starts_with(path);
            if other.id != folder.id && overlaps {
                self.scan_folder(scope, other.id).await?;
            }
        }
        Ok(())
    }

    async fn set_folder_state(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        state: FolderState,
        reason: Option<&str>,
        scanned: Option<(Timestamp, ScanSummary)>,
    ) -> Result<()> {
        self.store()
            .folders()
            .set_state(scope, id, state, reason, scanned)
            .await?;
        self.changed(Topic::Folders, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
        Ok(())
    }
}

/// Whether so much of a folder is gone at once that the user is asked first. What was consented to
/// counts neither as gone nor as wanted.
fn is_to_be_asked(vanished: usize, wanted: usize, accepted: usize) -> bool {
    let vanished = vanished.saturating_sub(accepted);
    vanished >= FEW_FILES && vanished * 2 > wanted.saturating_sub(accepted)
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    Done,
    /// What vanished is removed when it is not there after this either.
    Again(Duration),
}

/// What differs between the rows and the disk.
#[derive(Debug, Default)]
struct Difference {
    /// New, or not as they were.
    appeared: Vec<Appeared>,
    gone: Vec<Gone>,
    /// Rows of the folder's own.
    known: usize,
    /// Files that the user has removed.
    removed: u64,
    /// Those that are not as they were seen last.
    removed_seen: Vec<(String, docent_store::FileStamp)>,
}

#[derive(Debug)]
struct Appeared {
    file: FoundFile,
    /// What was known at its path.
    instead_of: Option<KnownFile>,
}

/// A row without a file that is wanted.
#[derive(Debug)]
struct Gone {
    file: KnownFile,
    /// The patterns leave it out, whether it is there or not.
    is_unwanted: bool,
}

impl Gone {
    fn by_hand(&self) -> Option<DocumentId> {
        self.file.folder.is_none().then_some(self.file.id)
    }

    fn unwanted(&self) -> Option<DocumentId> {
        (self.file.folder.is_some() && self.is_unwanted).then_some(self.file.id)
    }

    fn vanished(&self) -> Option<DocumentId> {
        (self.file.folder.is_some() && !self.is_unwanted).then_some(self.file.id)
    }
}

impl Difference {
    fn present(&mut self, file: FoundFile, known: Option<KnownFile>) {
        let Some(known) = known else {
            self.appeared.push(Appeared {
                file,
                instead_of: None,
            });
            return;
        };
        self.known += usize::from(known.folder.is_some());
        // Unsettled ones are left to their job, which looks at the file itself. One that could not
        // be opened has no time of change, and is not news until it can be.
        let is_still_closed = || {
            known.has_failed && known.stamp.modified_ns.is_none() && File::open(&file.path).is_err()
        };
        if known.stamp != stored_stamp(&file.stamp()) && !is_still_closed() {
            self.appeared.push(Appeared {
                file,
                instead_of: Some(known),
            });
        }
    }

    fn leave_out(&mut self, removed: &RemovedFile, file: &FoundFile) {
        self.removed += 1;
        let stamp = stored_stamp(&file.stamp());
        if removed.stamp.as_ref().and_then(stamped) != stamped(&stamp) {
            self.removed_seen.push((removed.path.clone(), stamp));
        }
    }

    fn absent(&mut self, file: KnownFile, patterns: &Patterns) {
        self.known += usize::from(file.folder.is_some());
        let path = Path::new(&file.path);
        let is_unwanted = file.folder.is_some() && patterns.leave_out(path);
        // What was added by hand may lie where no scan looks.
        if file.folder.is_some() || has_left(path) {
            self.gone.push(Gone { file, is_unwanted });
        }
    }
}

/// The rows of a folder in the order of their paths, a page at a time.
struct KnownFiles<'a> {
    engine: &'a Engine,
    scope: &'a WorkspaceScope,
    folder: &'a Folder,
    page: VecDeque<KnownFile>,
    last: String,
    is_last_page: bool,
}

impl<'a> KnownFiles<'a> {
    fn of(engine: &'a Engine, scope: &'a WorkspaceScope, folder: &'a Folder) -> Self {
        Self {
            engine,
            scope,
            folder,
            page: VecDeque::new(),
            last: String::new(),
            is_last_page: false,
        }
    }

    async fn next_if(
        &mut self,
        wanted: impl FnOnce(&KnownFile) -> bool,
    ) -> Result<Option<KnownFile>> {
        if self.page.is_empty() && !self.is_last_page {
            let documents = self.engine.store().documents();
            let page = documents
                .known_files(self.scope, self.folder, &self.last, KNOWN_PAGE)
                .await?;
            self.is_last_page = page.len() < KNOWN_PAGE as usize;
            if let Some(last) = page.last() {
                self.last.clone_from(&last.path);
            }
            self.page = page.into();
        }
        Ok(match self.page.front() {
            Some(first) if wanted(first) => self.page.pop_front(),
            _ => None,
        })
    }
}

/// Blocking. Ends as cancelled when nobody wants the batches any more.
fn walk_in_batches(
    root: &Path,
    options: &ScanOptions,
    cancel: &CancellationToken,
    found: &mpsc::Sender<Vec<FoundFile>>,
) -> std::result::Result<Seen, ScanError> {
    let mut batch = Vec::new();
    let seen = docent_ingest::walk(root, options, cancel, |file| {
        batch.push(file);
        if batch.len() < FOUND_BATCH {
            return ControlFlow::Continue(());
        }
        match found.blocking_send(std::mem::take(&mut batch)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    found
        .blocking_send(batch)
        .map_err(|_| ScanError::Cancelled)?;
    Ok(seen)
}

/// A document whose file may stand under another path.
#[derive(Debug)]
struct Source {
    known: KnownFile,
    /// It is certainly not at its own path any more.
    has_left: bool,
}

/// Identity, size and time of a file. Hard links share all of these.
type Stamped = ((u64, u64), u64, i64);

fn stamped(stamp: &docent_store::FileStamp) -> Option<Stamped> {
    Some((stamp.file_id?, stamp.size_bytes, stamp.modified_ns?))
}

/// Finds the files that were moved: by their identity, size and time, and else, where a file has the
/// size of one that has left, by the hash of its content. Returns them, and the others. Blocking.
fn match_moves(
    sources: Vec<Source>,
    hashes: &HashMap<DocumentId, ContentHash>,
    appeared: Vec<Appeared>,
    cancel: &CancellationToken,
) -> (Vec<(DocumentId, FoundFile)>, Vec<Appeared>) {
    let mut by_identity: HashMap<Stamped, Vec<usize>> = HashMap::new();
    let mut by_content: HashMap<u64, HashMap<&ContentHash, Vec<usize>>> = HashMap::new();
    // The first is taken first.
    for (at, source) in sources.iter().enumerate().rev() {
        if let Some(key) = stamped(&source.known.stamp) {
            by_identity.entry(key).or_default().push(at);
        }
        if let Some(hash) = hashes.get(&source.known.id)
            && (source.has_left || has_left(Path::new(&source.known.path)))
        {
            let size = source.known.stamp.size_bytes;
            let of_size = by_content.entry(size).or_default();
            of_size.entry(hash).or_default().push(at);
        }
    }
    let mut taken = vec![false; sources.len()];
    let mut take = |from: Option<&mut Vec<usize>>| {
        let from = from?;
        while let Some(at) = from.pop() {
            if !std::mem::replace(&mut taken[at], true) {
                return Some(sources[at].known.id);
            }
        }
        None
    };
    let mut moves = Vec::new();
    let mut others = Vec::new();
    for appeared in appeared {
        let key = stamped(&stored_stamp(&appeared.file.stamp()));
        match take(key.and_then(|key| by_identity.get_mut(&key))) {
            Some(from) => moves.push((from, appeared.file)),
            None => others.push(appeared),
        }
    }
    let mut left = Vec::new();
    for appeared in others {
        let of_size = by_content.get_mut(&appeared.file.size_bytes);
        let of_size = of_size.filter(|_| !cancel.is_cancelled());
        let from = of_size.and_then(|of_size| {
            let (hash, _) = docent_ingest::hash_stable(&appeared.file.path).ok()?;
            take(of_size.get_mut(&hash))
        });
        match from {
            Some(from) => moves.push((from, appeared.file)),
            None => left.push(appeared),
        }
    }
    (moves, left)
}

/// Finds the files that the user had removed under another name. Returns them, and what else has
/// appeared. Blocking.
fn match_removed(
    removed: Vec<RemovedFile>,
    folders: &[Folder],
    appeared: Vec<Appeared>,
) -> (Vec<RemovedMove>, Vec<Appeared>) {
    let is_still_there = |file: &RemovedFile| {
        docent_ingest::FileStamp::of(Path::new(&file.path)).is_ok_and(|there| {
            file.stamp.as_ref().and_then(stamped) == stamped(&stored_stamp(&there))
        })
    };
    // Gone from a disk that is there.
    let is_gone = |path: &Path| {
        let in_sight =
            |folder: &Folder| path.starts_with(&folder.path) && Path::new(&folder.path).is_dir();
        has_left(path) && folders.iter().any(in_sight)
    };
    let mut by_identity: HashMap<Stamped, String> = HashMap::new();
    let mut by_content: HashMap<(u64, ContentHash), String> = HashMap::new();
    for file in removed {
        if let Some(content) = &file.content
            && is_gone(Path::new(&file.path))
        {
            by_content.insert(content.clone(), file.path.clone());
        }
        if let Some(key) = file.stamp.as_ref().and_then(stamped)
            && !is_still_there(&file)
        {
            by_identity.insert(key, file.path);
        }
    }
    let sizes: HashSet<u64> = by_content.keys().map(|(bytes, _)| *bytes).collect();
    let mut moved = Vec::new();
    let mut others = Vec::new();
    for appeared in appeared {
        let file = &appeared.file;
        let stamp = stored_stamp(&file.stamp());
        let from = if appeared.instead_of.is_some() {
            None
        } else if let Some(from) = stamped(&stamp).and_then(|key| by_identity.get(&key)) {
            Some(from.clone())
        } else if sizes.contains(&file.size_bytes)
            && let Ok((hash, read)) = docent_ingest::hash_stable(&file.path)
        {
            by_content.get(&(read.size_bytes, hash)).cloned()
        } else {
            None
        };
        match from {
            Some(from) => moved.push(RemovedMove {
                from,
                to: file.path.to_string_lossy().into_owned(),
                stamp,
            }),
            None => others.push(appeared),
        }
    }
    (moved, others)
}

/// Whether there is nothing at a path any more.
fn has_left(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    })
}

fn found_document(file: &FoundFile, folder: FolderId) -> NewDocument {
    new_document(&file.path, stored_stamp(&file.stamp()), Some(folder))
}

fn summary_of(seen: &Seen, difference: &Difference, took: Duration) -> ScanSummary {
    let LeftOut {
        excluded,
        not_included,
        hidden,
        temporary,
        special,
    } = seen.left_out;
    ScanSummary {
        files: (seen.files as u64).saturating_sub(difference.removed),
        excluded,
        not_included,
        hidden,
        temporary,
        special,
        removed: difference.removed,
        took_ms: took.as_millis() as u64,
    }
}

/// What a scan saw and cannot list as documents, in a sentence.
fn left_out(seen: &Seen) -> Option<String> {
    let (path, why) = seen.skipped.first()?;
    Some(match seen.left_out.special {
        1 => format!("{} is left out: {why}.", path.display()),
        count => format!(
            "{count} of its entries are left out, the first is {}: {why}.",
            path.display()
        ),
    })
}

fn check_patterns(root: &Path, patterns: &FolderPatterns) -> Result<()> {
    Patterns::new(root, &patterns.include, &patterns.exclude)
        .map(drop)
        .map_err(|error| {
            Error::invalid(error.to_string()).with_hint(
                "Patterns are written as in a .gitignore file: *.pdf, /Reports/, **/drafts/*.md",
            )
        })
}

fn readable_folder(path: &Path) -> Result<PathBuf> {
    let root = std::fs::canonicalize(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            Code::NotFound,
            format!("there is no folder {}", path.display()),
        ),
        std::io::ErrorKind::PermissionDenied => {
            Error::invalid(format!("Docent may not read {}", path.display()))
                .with_hint("Change its permissions and add it again")
        }
        _ => Error::invalid(format!("{} cannot be read", path.display())).with_source(error),
    })?;
    let entries = std::fs::read_dir(&root).map_err(|error| {
        Error::invalid(format!("Docent may not read {}", root.display()))
            .with_source(error)
            .with_hint("Change its permissions and add it again")
    })?;
    drop(entries);
    Ok(root)
}
