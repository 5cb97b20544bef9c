//! Documents that arrive as bytes. They are streamed to disk, kept as blobs named by their hash,
//! and registered only when the blob is safe.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use docent_domain::{ContentHash, Document, DocumentId, Origin, Timestamp, WorkspaceScope};
use docent_store::{AddedAgain, FileStamp, NewDocument, Registered};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::blocking;
use crate::types::{Topic, Uploaded};

const LONGEST_NAME_CHARS: usize = 200;

/// An upload under way. Dropping it discards what came so far.
#[derive(Debug)]
pub struct Upload {
    engine: Arc<Engine>,
    scope: WorkspaceScope,
    name: String,
    /// Named by the system; removed when dropped.
    file: File,
    path: tempfile::TempPath,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl Engine {
    /// Begins an upload. `file_name` is only a label: no path is ever made from it but its
    /// extension, which must be plain.
    pub async fn begin_upload(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        file_name: &str,
    ) -> Result<Upload> {
        self.store().workspaces().get(scope).await?;
        let name = display_name(file_name)?;
        let incoming = self.options().data_dir.join("incoming");
        let (file, path) = blocking("beginning an upload", move || {
            let named = tempfile::NamedTempFile::new_in(incoming)
                .map_err(|error| storage_error("keeping the upload", error))?;
            Ok(named.into_parts())
        })
        .await?;
        Ok(Upload {
            engine: Arc::clone(self),
            scope: *scope,
            name,
            file: File::from_std(file),
            path,
            hasher: blake3::Hasher::new(),
            size_bytes: 0,
        })
    }

    /// Where a document's bytes are on this machine.
    pub(crate) async fn file_of(
        &self,
        scope: &WorkspaceScope,
        document: &Document,
    ) -> Result<PathBuf> {
        match self.store().documents().blob(scope, document.id).await? {
            Some(hash) => Ok(self.blob_path(scope, &hash, &document.path)),
            None => Ok(PathBuf::from(&document.path)),
        }
    }

    fn blob_folder(&self, scope: &WorkspaceScope) -> PathBuf {
        self.options()
            .data_dir
            .join("blobs")
            .join(scope.workspace().to_string())
    }

    fn blob_path(&self, scope: &WorkspaceScope, hash: &ContentHash, name: &str) -> PathBuf {
        let mut file = hash.to_string();
        if let Some(extension) = plain_extension(name) {
            file.push('.');
            file.push_str(&extension);
        }
        self.blob_folder(scope).join(file)
    }

    /// The files of all uploads of all workspaces.
    pub(crate) async fn used_blobs(&self) -> Result<HashSet<PathBuf>> {
        let used = self.store().documents().all_blobs().await?;
        Ok(used
            .iter()
            .map(|blob| {
                self.blob_path(&WorkspaceScope::new(blob.workspace), &blob.hash, &blob.name)
            })
            .collect())
    }

    /// Removes the blob of a document that was deleted, unless another one shares it.
    pub(crate) async fn release_blob(
        &self,
        scope: &WorkspaceScope,
        hash: &ContentHash,
        name: &str,
    ) {
        let _keeping = self.keeping_blobs().await;
        let path = self.blob_path(scope, hash, name);
        match self.used_blobs().await {
            Ok(used) if used.contains(&path) => {}
            Ok(_) => {
                if let Err(error) = tokio::fs::remove_file(&path).await {
                    tracing::warn!(%error, "a blob could not be removed");
                }
            }
            Err(error) => tracing::warn!(%error, "the blobs could not be listed"),
        }
    }

    /// Removes all blobs of a workspace that was deleted.
    pub(crate) async fn remove_blobs(&self, scope: &WorkspaceScope) {
        let _keeping = self.keeping_blobs().await;
        remove_folder(&self.blob_folder(scope)).await;
    }

    /// The files of blobs that are on the disk.
    pub(crate) async fn present_blobs(&self) -> Result<HashSet<PathBuf>> {
        let root = self.options().data_dir.join("blobs");
        blocking("looking at the blobs", move || {
            let mut present = HashSet::new();
            for workspace in std::fs::read_dir(&root).into_iter().flatten().flatten() {
                let files = std::fs::read_dir(workspace.path());
                present.extend(
                    files
                        .into_iter()
                        .flatten()
                        .flatten()
                        .map(|file| file.path()),
                );
            }
            Ok(present)
        })
        .await
    }

    /// Removes the blobs that no document has (any more): a process that dies while it removes a
    /// document or a workspace leaves them behind.
    pub(crate) async fn remove_orphaned_blobs(&self) -> Result<()> {
        let _keeping = self.keeping_blobs().await;
        let used = self.used_blobs().await?;
        for orphan in self.present_blobs().await?.difference(&used) {
            match tokio::fs::remove_file(orphan).await {
                Ok(()) => {
                    tracing::info!(blob = %orphan.display(), "removed a blob without a document");
                }
                Err(error) => tracing::warn!(%error, "a blob could not be removed"),
            }
        }
        let Ok(mut folders) = tokio::fs::read_dir(self.options().data_dir.join("blobs")).await
        else {
            return Ok(());
        };
        while let Ok(Some(folder)) = folders.next_entry().await {
            // Of empty ones alone; the next upload makes its own again.
            let _ = tokio::fs::remove_dir(folder.path()).await;
        }
        Ok(())
    }

    /// Removes uploads that a process which died had not finished.
    pub(crate) async fn discard_incoming(&self) {
        let incoming = self.options().data_dir.join("incoming");
        let Ok(mut entries) = tokio::fs::read_dir(&incoming).await else {
            return;
        };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if let Err(error) = tokio::fs::remove_file(entry.path()).await {
                tracing::warn!(%error, "an unfinished upload could not be removed");
            }
        }
    }
}

impl Upload {
    /// Appends bytes. Past the configured size nothing more is taken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        let max = self.engine.config().upload_max_bytes;
        if self.size_bytes > max {
            return Err(Error::new(
                Code::PayloadTooLarge,
                format!(
                    "{} is larger than {max} bytes; nothing of it was kept",
                    self.name
                ),
            )
            .with_hint("Add the folder it lies in instead, or raise upload_max_bytes"));
        }
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .await
            .map_err(|error| storage_error("keeping the upload", error))
    }

    /// Makes the blob durable and registers the document. The same bytes under the same name are
    /// the document that is there already.
    pub async fn finish(self) -> Result<Uploaded> {
        let engine = Arc::clone(&self.engine);
        engine.to_its_end(self.keep()).await
    }

    async fn keep(mut self) -> Result<Uploaded> {
        self.file
            .flush()
            .await
            .map_err(|error| storage_error("keeping the upload", error))?;
        self.file
            .sync_all()
            .await
            .map_err(|error| storage_error("keeping the upload", error))?;
        drop(self.file);
        let hash = ContentHash(self.hasher.finalize().to_hex().to_string());
        let target = self.engine.blob_path(&self.scope, &hash, &self.name);
        let path = self.path;
        let keeping = self.engine.keeping_blobs().await;
        blocking("keeping an upload", move || persist(path, &target)).await?;

        let now = Timestamp::now();
        let new = NewDocument {
            read_after: None,
            title: stem(&self.name),
            path: self.name,
            origin: Origin::Upload,
            folder_id: None,
            stamp: FileStamp {
                size_bytes: self.size_bytes,
                ..FileStamp::default()
            },
            blob: Some(hash),
        };
        let (document, registered) = self
            .engine
            .store()
            .documents()
            .register(&self.scope, &new, now)
            .await?;
        drop(keeping);
        if registered != Registered::Unchanged {
            self.engine.ring();
            self.engine
                .changed(Topic::Documents, Some(self.scope.workspace()));
        } else {
            // Whoever sends it again wants it read.
            let again = AddedAgain::Documents(&[document.id]);
            self.engine.retry_unread(&self.scope, again).await?;
        }
        let job_id = self.engine.job_of(&self.scope, document.id).await?;
        Ok(Uploaded {
            document_id: document.id,
            job_id,
        })
    }
}

impl Engine {
    /// The newest job of a document.
    pub(crate) async fn job_of(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
    ) -> Result<Option<docent_domain::JobId>> {
        let query = docent_store::JobQuery {
            document: Some(document),
            limit: 1,
            ..docent_store::JobQuery::default()
        };
        Ok(self
            .store()
            .jobs()
            .list(scope, &query)
            .await?
            .items
            .first()
            .map(|listed| listed.job.id))
    }
}

async fn remove_folder(folder: &Path) {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "a workspace's blobs could not be removed");
        }
        _ => {}
    }
}

/// Moves a finished upload to its place, durably.
fn persist(path: tempfile::TempPath, target: &Path) -> Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| storage_error("keeping the upload", error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    path.persist(target).map_err(|error| failed(error.error))?;
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

pub(crate) fn storage_error(doing: &str, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Error::new(
            Code::InsufficientStorage,
            format!("{doing} failed because the disk is full; what was there before is kept"),
        )
        .with_hint("Free some space and try again");
    }
    Error::internal(doing, error)
}

/// The last component of what a client calls the file, without control characters.
fn display_name(file_name: &str) -> Result<String> {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME_CHARS)
        .collect();
    let name = name.trim();
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::invalid("the upload has no file name"));
    }
    Ok(name.to_owned())
}

/// Extensions of letters and digits alone may appear in a path.
fn plain_extension(name: &str) -> Option<String> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    (extension.len() <= 10 && extension.chars().all(|c| c.is_ascii_alphanumeric()))
        .then_some(extension)
}

/// A file's name without its extension, as a first title.
pub(crate) fn stem(name: &str) -> String {
    Path::new(name).file_stem().map_or_else(
        || name.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;
    use crate::models::ModelSource;

    #[tokio::test]
    async fn blobs_without_a_document_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut options =
            EngineOptions::new(folder.path().join("data"), folder.path().join("models"));
        options.models = ModelSource::Fakes;
        options.run_jobs = false;
        let engine = Engine::open(options).await.unwrap();
        let workspace = engine.create_workspace("Ured", None).await.unwrap();
        let scope = WorkspaceScope::new(workspace.id);
        let mut upload = engine.begin_upload(&scope, "a.txt").await.unwrap();
        upload.write(b"Ovo ostaje.").await.unwrap();
        let kept = upload.finish().await.unwrap().document_id;
        let kept = engine.document_file(&scope, kept).await.unwrap().path;
        let orphan = kept.with_file_name("00.txt");
        std::fs::write(&orphan, "Dokument je uklonjen.").unwrap();
        engine.remove_orphaned_blobs().await.unwrap();
        assert!(kept.exists() && !orphan.exists());
        engine.shutdown().await;
    }

    #[test]
    fn names_are_labels_and_never_paths() {
        assert_eq!(
            display_name("../../etc/passwd").ok().as_deref(),
            Some("passwd")
        );
        assert_eq!(
            display_name("C:\\x\\Ugovor č.pdf").ok().as_deref(),
            Some("Ugovor č.pdf")
        );
        assert!(display_name("..").is_err() && display_name("a/").is_err());
        assert_eq!(plain_extension("a.PDF").as_deref(), Some("pdf"));
        assert_eq!(plain_extension("a.p/f"), None);
        assert_eq!(plain_extension("a.%2e"), None);
    }
}
