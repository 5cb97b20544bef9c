//! Watched folders: the index follows the disk.
//!
//! Events of the file system are hints that a folder may have changed; what is believed is a scan.
//! A file that vanished is removed only after a complete scan, never when the root itself is gone
//! or most of it at once: then the folder is paused and the user is asked.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docent_domain::{DocumentId, Folder, FolderId, FolderState, Timestamp, WorkspaceScope};
use docent_ingest::{FolderWatcher, FoundFile, Hint, ScanError, ScanOptions};
use docent_store::{Entity, KnownFile, NewDocument, Registered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::documents::{new_document, stored_stamp};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::blocking;
use crate::types::Topic;

/// Fewer files than this may vanish at once without a question, whatever share they are.
const FEW_FILES: usize = 5;

/// Files registered in one transaction.
const REGISTER_BATCH: usize = 1000;

/// The folders that are being watched.
#[derive(Default)]
pub(crate) struct Watching {
    watcher: Mutex<Option<FolderWatcher>>,
    hints: Mutex<Option<mpsc::Receiver<Hint>>>,
    roots: Mutex<HashMap<FolderId, (WorkspaceScope, PathBuf)>>,
    /// Folders whose next scan may remove however much has vanished, because the user said so.
    accepting: Mutex<HashSet<FolderId>>,
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

    /// Makes the workspace mirror a folder, and begins with a scan. A folder that is watched
    /// already is scanned again. What the user had removed of it comes back.
    pub async fn add_folder(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        path: &Path,
    ) -> Result<Folder> {
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
            .add(scope, &root.to_string_lossy(), now)
            .await?;
        self.watching().add(*scope, &folder);
        self.retry_failed(scope, Some(folder.id), |_| true).await?;
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
        self.queue_words(scope, Vec::new(), &removed.chunks);
        self.flush_words_or_later().await;
        self.wipe_removed(scope).await;
        let path = Path::new(&folder.path);
        for other in self.store().folders().list(scope).await? {
            if path.starts_with(&other.path) || Path::new(&other.path).starts_with(path) {
                self.scan_folder(scope, other.id).await?;
            }
        }
        self.changed(Topic::Folders, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
        Ok(())
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

    /// Says that what has vanished from a paused folder may be removed.
    pub async fn resume_folder(&self, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
        self.store().folders().get(scope, id).await?;
        lock(&self.watching().accepting).insert(id);
        self.scan_folder(scope, id).await
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
        loop {
            let folders = tokio::select! {
                hint = hints.recv() => match hint {
                    Some(hint) => self.watching().of_root(&hint.root),
                    None => return,
                },
                _ = rescan.tick() => self.watching().all(),
                () = self.stopping().cancelled() => return,
            };
            for (folder, scope) in folders {
                if let Err(error) = self.scan_folder(&scope, folder).await {
                    tracing::warn!(%error, "a scan could not be queued");
                }
            }
        }
    }

    /// Compares a folder with the disk and queues what follows from the difference.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        id: FolderId,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let folder = self.store().folders().get(scope, id).await?;
        let accepting = lock(&self.watching().accepting).remove(&id);
        let root = PathBuf::from(&folder.path);
        let token = cancel.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            docent_ingest::scan(&root, &ScanOptions::default(), &token)
        })
        .await
        .map_err(|error| Error::internal("comparing a folder with the disk", error))?;
        let scan = match scanned {
            Ok(scan) => scan,
            Err(ScanError::Cancelled) => return Err(Error::new(Code::Internal, "stopped")),
            Err(error) => {
                let reason =
                    format!("{error} Its documents are kept until it is back or removed here.");
                return self
                    .set_folder_state(scope, id, FolderState::Paused, Some(&reason))
                    .await;
            }
        };
        let removed: HashSet<String> = self
            .store()
            .documents()
            .removed_paths(scope)
            .await?
            .into_iter()
            .collect();
        let wanted = scan
            .files
            .into_iter()
            .filter(|file| !removed.contains(file.path.to_string_lossy().as_ref()))
            .collect();
        let known = self.store().documents().known_files(scope, id).await?;
        let mut difference = compare(&known, wanted);
        let superseded = self.rename_moved(scope, id, &mut difference).await?;
        let new: Vec<NewDocument> = difference
            .changed
            .iter()
            .map(|file| new_document(&file.path, stored_stamp(&file.stamp()), Some(id)))
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
        tracing::debug!(folder = %folder.path, queued, moved = difference.moved.len(), gone = difference.gone.len(), "scanned");

        if !scan.complete {
            let reason = match scan.unreadable.first() {
                Some((path, why)) => format!(
                    "{} of its files or folders cannot be read, the first is {}: {why}. \
                     Nothing is removed until all of it can be read.",
                    scan.unreadable.len(),
                    path.display()
                ),
                None => {
                    "it could not be read completely; nothing is removed until it can".to_owned()
                }
            };
            return self
                .set_folder_state(scope, id, FolderState::Incomplete, Some(&reason))
                .await;
        }
        let gone = difference.gone.len();
        if gone >= FEW_FILES && gone * 2 > known.len() && !accepting {
            let reason = format!(
                "{gone} of {} files are gone at once. Nothing was removed. If that is right, \
                 resume the folder; if not, bring the files back.",
                known.len()
            );
            return self
                .set_folder_state(scope, id, FolderState::Paused, Some(&reason))
                .await;
        }
        difference.gone.extend(superseded);
        if !difference.gone.is_empty() {
            let removed = self
                .store()
                .documents()
                .delete_all(scope, &difference.gone)
                .await?;
            self.queue_words(scope, Vec::new(), &removed);
            self.flush_words_or_later().await;
            self.wipe_removed(scope).await;
        }
        self.set_folder_state(
            scope,
            id,
            FolderState::Watching,
            left_out(&scan.skipped).as_deref(),
        )
        .await
    }

    /// Gives moved files' documents their new paths. Where another document is at the new path
    /// already, that one is read again, and the moved file's own is returned, to be removed.
    async fn rename_moved(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        difference: &mut Difference,
    ) -> Result<Vec<DocumentId>> {
        let mut superseded = Vec::new();
        for (from, to) in &difference.moved {
            let new = new_document(&to.path, stored_stamp(&to.stamp()), Some(id));
            let renamed = self
                .store()
                .documents()
                .rename_path(scope, *from, &new, Timestamp::now())
                .await;
            match renamed {
                // The user removed it meanwhile.
                Ok(_) | Err(docent_store::Error::NotFound(Entity::Document)) => {}
                Err(docent_store::Error::PathTaken(_)) => {
                    superseded.push(*from);
                    difference.changed.push(to.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(superseded)
    }

    async fn set_folder_state(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        state: FolderState,
        reason: Option<&str>,
    ) -> Result<()> {
        let scanned_at = (state == FolderState::Watching).then(Timestamp::now);
        self.store()
            .folders()
            .set_state(scope, id, state, reason, scanned_at)
            .await?;
        self.changed(Topic::Folders, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
        Ok(())
    }
}

/// What differs between the rows and the disk.
#[derive(Debug, Default)]
struct Difference {
    /// The same file under another path: nothing is read again.
    moved: Vec<(DocumentId, FoundFile)>,
    /// New, or not as it was.
    changed: Vec<FoundFile>,
    gone: Vec<DocumentId>,
}

/// Identity, size and time of a file.
type Stamped = ((u64, u64), u64, Option<i64>);

fn compare(known: &[KnownFile], found: Vec<FoundFile>) -> Difference {
    let mut difference = Difference::default();
    let by_path: HashMap<&str, &KnownFile> = known
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    let mut seen = HashSet::new();
    let mut unknown = Vec::new();
    for file in found {
        let path = file.path.to_string_lossy().into_owned();
        match by_path.get(path.as_str()) {
            Some(known) => {
                seen.insert(known.id);
                // Unsettled ones are left to their job, which looks at the file itself.
                if known.stamp != stored_stamp(&file.stamp()) {
                    difference.changed.push(file);
                }
            }
            None => unknown.push(file),
        }
    }
    // A vanished file whose identity, size and time stand under a new path was moved. Hard links
    // share all of these.
    let mut vanished: HashMap<Stamped, Vec<&KnownFile>> = HashMap::new();
    for file in known.iter().filter(|file| !seen.contains(&file.id)) {
        match file.stamp.file_id {
            Some(identity) => {
                let key = (identity, file.stamp.size_bytes, file.stamp.modified_ns);
                vanished.entry(key).or_default().push(file);
            }
            None => difference.gone.push(file.id),
        }
    }
    for file in unknown {
        let stamp = stored_stamp(&file.stamp());
        let moved = stamp.file_id.and_then(|identity| {
            vanished
                .get_mut(&(identity, stamp.size_bytes, stamp.modified_ns))?
                .pop()
        });
        match moved {
            Some(from) => difference.moved.push((from.id, file)),
            None => difference.changed.push(file),
        }
    }
    difference
        .gone
        .extend(vanished.values().flatten().map(|file| file.id));
    difference
}

/// What a scan saw and cannot list as documents, in a sentence.
fn left_out(skipped: &[(PathBuf, String)]) -> Option<String> {
    let (path, why) = skipped.first()?;
    Some(match skipped.len() {
        1 => format!("{} is left out: {why}.", path.display()),
        count => format!(
            "{count} of its entries are left out, the first is {}: {why}.",
            path.display()
        ),
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
