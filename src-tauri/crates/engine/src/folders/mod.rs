//! Watched folders: the index follows the disk.
//!
//! Events of the file system are hints that a folder may have changed; what is believed is a scan.
//! A file that vanished is removed only after a complete scan, never when the root itself is gone
//! or most of it at once: then the folder is paused and the user is asked.

mod differences;
mod moves;
mod scanning;
#[cfg(test)]
mod tests;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use docent_domain::{
    ChunkKey, Folder, FolderId, FolderPatterns, FolderState, JobKind, JobState, JobType,
    ScanSummary, Timestamp, WorkspaceScope,
};
use docent_ingest::Patterns;
use docent_store::{AddedAgain, JobQuery};

pub(crate) use self::scanning::Scanned;
pub(crate) use self::watching::{REST_AFTER_HINT, Watching};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::blocking;
use crate::types::{FolderStatus, Topic};

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
    /// already is scanned again. What the user had removed of it comes back only when it was not
    /// watched, by itself or with a folder that it lies in.
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
        self.retry_unread(scope, AddedAgain::Below(&folder.path))
            .await?;
        self.store()
            .folders()
            .enqueue_scan(scope, folder.id, now)
            .await?;
        self.ring();
        self.changed(Topic::Folders, Some(scope.workspace()));
        Ok(folder)
    }

    /// Stops mirroring a folder and removes its documents from the workspace. The files stay. What
    /// lies in another watched folder too, and is wanted there, is that one's from now on.
    pub async fn remove_folder(&self, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
        let folder = self.store().folders().get(scope, id).await?;
        self.watching().remove(id);
        let mut others = Vec::new();
        for other in self.store().folders().list(scope).await? {
            if other.id != id {
                let (root, chosen) = (PathBuf::from(&other.path), &other.patterns);
                let patterns = Patterns::new(&root, &chosen.include, &chosen.exclude)
                    .map_err(|error| Error::invalid(error.to_string()))?;
                others.push((other.id, root, patterns));
            }
        }
        let heir = |file: &Path| {
            let wants = |(_, root, patterns): &&(FolderId, PathBuf, Patterns)| {
                file.starts_with(root)
                    && !docent_ingest::passes_over(root, file)
                    && !patterns.leave_out(file)
            };
            others.iter().find(wants).map(|(id, ..)| *id)
        };
        let removed = self.store().folders().remove(scope, id, heir).await?;
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
    if root.to_str().is_none() {
        return Err(
            Error::invalid(format!("the name of {} is not Unicode", root.display()))
                .with_hint("Rename it, or the folder above it whose name it is, and add it again"),
        );
    }
    let entries = std::fs::read_dir(&root).map_err(|error| {
        Error::invalid(format!("Docent may not read {}", root.display()))
            .with_source(error)
            .with_hint("Change its permissions and add it again")
    })?;
    drop(entries);
    Ok(root)
}
