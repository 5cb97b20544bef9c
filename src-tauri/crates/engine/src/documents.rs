//! Documents: adding, listing, showing, removing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use docent_domain::{
    Chunk, Document, DocumentCounts, DocumentId, DocumentStatus, FolderId, JobKind, JobState,
    Origin, Problem, ProblemCount, Timestamp, WorkspaceScope,
};
use docent_ingest::{Block, ScanOptions};
use docent_store::{FileStamp, JobQuery, NewDocument, Registered};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::blocking;
use crate::types::{
    AddedFolders, AddedPaths, BlockKind, DocumentFile, DocumentPage, DocumentQuery, DocumentSort,
    DocumentText, SkippedPath, TextBlock, Topic,
};
use crate::uploads::stem;

/// What of an extraction is kept beside the text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub blocks: Vec<Block>,
}

/// A path as it is on the disk.
enum Found {
    Folder(PathBuf),
    File(PathBuf, FileStamp),
    Other(PathBuf, String),
}

impl Engine {
    /// Adds paths of this machine: files as documents added by hand, folders as `folders` says.
    pub async fn add_paths(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        paths: Vec<PathBuf>,
        folders: AddedFolders,
    ) -> Result<AddedPaths> {
        let found = blocking("looking at the paths", move || {
            Ok(paths.into_iter().map(look).collect::<Vec<_>>())
        })
        .await?;
        let mut added = AddedPaths::default();
        let mut files = Vec::new();
        for found in found {
            match found {
                Found::Folder(path) if folders == AddedFolders::Once => {
                    files.extend(self.files_below(path, &mut added).await?);
                }
                Found::Folder(path) => match self.add_folder(scope, &path).await {
                    Ok(folder) => added.folders.push(folder.id),
                    // No fault of the folder's.
                    Err(error)
                        if matches!(
                            error.code(),
                            Code::Internal | Code::InsufficientStorage | Code::Overloaded
                        ) =>
                    {
                        return Err(error);
                    }
                    Err(error) => {
                        added.skipped.push(SkippedPath {
                            path,
                            reason: error.to_string(),
                        });
                    }
                },
                Found::File(path, stamp) => files.push(new_document(&path, stamp, None)),
                Found::Other(path, reason) => added.skipped.push(SkippedPath { path, reason }),
            }
        }
        if !files.is_empty() {
            let registered = self
                .store()
                .documents()
                .register_all(scope, &files, Timestamp::now())
                .await?;
            let unchanged: HashSet<DocumentId> = registered
                .iter()
                .filter(|(_, known)| *known == Registered::Unchanged)
                .map(|(id, _)| *id)
                .collect();
            self.retry_unread(scope, None, |id| unchanged.contains(&id))
                .await?;
            added.documents = registered.into_iter().map(|(id, _)| id).collect();
            self.ring();
            self.changed(Topic::Documents, Some(scope.workspace()));
        }
        Ok(added)
    }

    async fn files_below(
        &self,
        folder: PathBuf,
        added: &mut AddedPaths,
    ) -> Result<Vec<NewDocument>> {
        let root = folder.clone();
        let cancel = self.stopping().clone();
        let data_dir = self.options().data_dir.clone();
        let (data_dir, scanned) = blocking("looking into a folder", move || {
            // As the scanned paths are: the data folder may be given by a link.
            let data_dir = std::fs::canonicalize(&data_dir)
                .map_err(|error| Error::internal("looking at the data folder", error))?;
            let scanned = docent_ingest::scan(&root, &ScanOptions::default(), &cancel);
            Ok((data_dir, scanned))
        })
        .await?;
        let mut scan = match scanned {
            Ok(scan) => scan,
            Err(error) => {
                added.unreadable.push(SkippedPath {
                    path: folder,
                    reason: error.to_string(),
                });
                return Ok(Vec::new());
            }
        };
        let noted = |(path, reason)| SkippedPath { path, reason };
        let found = scan.files.len();
        scan.files.retain(|file| !file.path.starts_with(&data_dir));
        if scan.files.len() < found {
            added.skipped.push(noted((
                data_dir,
                "it is the folder that Docent keeps its own data in".to_owned(),
            )));
        }
        added
            .skipped
            .extend(scan.seen.skipped.into_iter().map(noted));
        added
            .unreadable
            .extend(scan.seen.unreadable.into_iter().map(noted));
        Ok(scan
            .files
            .iter()
            .map(|file| new_document(&file.path, stored_stamp(&file.stamp()), None))
            .collect())
    }

    pub async fn documents(
        &self,
        scope: &WorkspaceScope,
        query: DocumentQuery,
    ) -> Result<DocumentPage> {
        let stored = docent_store::DocumentQuery {
            status: query.status,
            problem: query.problem,
            text: query.text,
            folder: query.folder,
            sort: match query.sort {
                DocumentSort::Name => docent_store::DocumentSort::Name,
                DocumentSort::Updated => docent_store::DocumentSort::Updated,
                DocumentSort::Status => docent_store::DocumentSort::Status,
            },
            cursor: query.cursor,
            limit: query.limit.min(500) as u32,
        };
        let page = self.store().documents().list(scope, &stored).await?;
        let counts = self.counts(scope).await?;
        Ok(DocumentPage {
            items: page.items,
            next_cursor: page.next_cursor,
            counts,
        })
    }

    /// How many documents cannot be found, or not all of them, and why.
    pub async fn problems(&self, scope: &WorkspaceScope) -> Result<Vec<ProblemCount>> {
        Ok(self.store().documents().problems(scope).await?)
    }

    pub async fn counts(&self, scope: &WorkspaceScope) -> Result<DocumentCounts> {
        Ok(self.store().workspaces().document_counts(scope).await?)
    }

    pub async fn document(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<Document> {
        Ok(self.store().documents().get(scope, id).await?)
    }

    /// Removes a document from the workspace; it is in no search when this returns, and its text is
    /// wiped from the disk soon after. A local file itself is not touched; if it lies in a watched
    /// folder, it stays away until the user adds it, or the folder, again.
    pub async fn delete_document(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<()> {
        let document = self.store().documents().get(scope, id).await?;
        let blob = self.store().documents().blob(scope, id).await?;
        let removed = self.store().documents().delete(scope, id).await?;
        self.queue_words(scope, Vec::new(), &removed);
        self.flush_words_or_later().await;
        if let Some(hash) = blob {
            self.release_blob(scope, &hash, &document.path).await;
        }
        self.wipe_removed(scope).await;
        self.changed(Topic::Documents, Some(scope.workspace()));
        Ok(())
    }

    /// Reads a document again.
    pub async fn retry_document(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<()> {
        self.store()
            .documents()
            .retry(scope, id, Timestamp::now())
            .await?;
        self.ring();
        self.changed(Topic::Documents, Some(scope.workspace()));
        Ok(())
    }

    /// Reads again what could not be read, or what somebody kept from being read. Whoever adds files
    /// again may have changed what was in the way, such as their permissions, which no scan notices.
    pub(crate) async fn retry_unread(
        &self,
        scope: &WorkspaceScope,
        folder: Option<FolderId>,
        is_added: impl Fn(DocumentId) -> bool,
    ) -> Result<()> {
        let failed = docent_store::DocumentQuery {
            status: Some(DocumentStatus::Failed),
            folder,
            ..docent_store::DocumentQuery::default()
        };
        let cancelled = docent_store::DocumentQuery {
            problem: Some(Problem::Cancelled),
            folder,
            ..docent_store::DocumentQuery::default()
        };
        let mut unread = HashSet::new();
        for mut query in [failed, cancelled] {
            loop {
                let page = self.store().documents().list(scope, &query).await?;
                unread.extend(page.items.iter().map(|document| document.id));
                query.cursor = page.next_cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
        }
        for id in unread.into_iter().filter(|id| is_added(*id)) {
            self.retry_document(scope, id).await?;
        }
        Ok(())
    }

    /// The text that chunks and citations refer to, with its structure.
    pub async fn document_text(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
    ) -> Result<DocumentText> {
        let document = self.document(scope, id).await?;
        let stored =
            self.store()
                .documents()
                .text(scope, id)
                .await
                .map_err(|error| match error {
                    docent_store::Error::NotFound(_) => Error::new(
                        Code::NotFound,
                        format!("{} holds no text that could be shown", document.title),
                    ),
                    other => other.into(),
                })?;
        let layout: Layout = serde_json::from_str(&stored.layout_json)
            .map_err(|error| Error::internal("reading a document's structure", error))?;
        Ok(DocumentText {
            title: document.title,
            format: document.format,
            text: stored.text,
            blocks: layout.blocks.iter().map(text_block).collect(),
        })
    }

    pub async fn document_chunks(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
    ) -> Result<Vec<Chunk>> {
        let format = self.document(scope, id).await?.format;
        let mut chunks = self.store().chunks().of_document(scope, id).await?;
        for chunk in &mut chunks {
            chunk.content.keep_pages_of(format);
        }
        Ok(chunks)
    }

    /// The file itself, for a viewer.
    pub async fn document_file(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
    ) -> Result<DocumentFile> {
        let document = self.document(scope, id).await?;
        let path = self.file_of(scope, &document).await?;
        let metadata = tokio::fs::metadata(&path).await.map_err(|error| {
            Error::new(
                Code::NotFound,
                format!("{} is not there any more", path.display()),
            )
            .with_source(error)
        })?;
        if !metadata.is_file() {
            return Err(Error::not_found("the file"));
        }
        let name = Path::new(&document.path).file_name().map_or_else(
            || document.title.clone(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(DocumentFile {
            path,
            name,
            media_type: document.format.map_or(
                "application/octet-stream",
                docent_domain::Format::media_type,
            ),
            size_bytes: metadata.len(),
        })
    }

    /// Waits until nothing of the workspace is on its way any more. `progress` is told the counts
    /// whenever something changes. When what is left waits for a model that is neither here nor
    /// being fetched, or for room on the disk, it fails with [`Code::ModelMissing`] or
    /// [`Code::InsufficientStorage`], after everything else is done.
    ///
    /// A file that does not stop changing is not waited for after it was read as it was once
    /// (`restless_seconds`). Returns those files' documents.
    pub async fn wait_idle(
        &self,
        scope: &WorkspaceScope,
        mut progress: impl FnMut(DocumentCounts),
    ) -> Result<HashSet<DocumentId>> {
        let mut changes = self.subscribe();
        let begun = Instant::now();
        loop {
            let counts = self.counts(scope).await?;
            progress(counts);
            let jobs = self.store().jobs().counts(scope).await?;
            let on_the_way = counts.queued + counts.reading + counts.words;
            // A document whose embedding was cancelled stays found by its words, with no job.
            let unread = counts.queued + counts.reading;
            let changing = self.reader().read_as_they_were(begun);
            let is_idle = unread == 0 && jobs.queued == 0 && jobs.running == 0;
            if is_idle || self.waits_for_none_but(scope, &changing, begun).await? {
                self.flush_words_of(scope).await?;
                return Ok(changing);
            }
            if self.store().jobs().is_paused(scope).await? {
                return Err(Error::new(
                    Code::Conflict,
                    "the workspace's work is paused. What was done is kept; the rest waits",
                )
                .with_hint(
                    "Let it go on with `docent jobs resume`, or in the window under Processing",
                ));
            }
            if jobs.running == 0
                && let Some(missing) = self.reader().missing_model(scope.workspace())
                && self.store().jobs().untried(scope).await? == 0
                && !self.model_set().is_fetching()
            {
                return Err(Error::new(
                    Code::ModelMissing,
                    format!(
                        "{on_the_way} {} searchable yet: {missing}. What could be done without \
                         that is done and kept; the rest goes on by itself when it is here",
                        if on_the_way == 1 {
                            "document is not"
                        } else {
                            "documents are not"
                        },
                    ),
                ));
            }
            if self.reader().is_disk_full() {
                return Err(Error::new(
                    Code::InsufficientStorage,
                    "the disk is full. What was read before is kept and searchable; the rest waits",
                ));
            }
            // Changes come in bursts; what matters is the state after each.
            tokio::select! {
                change = changes.recv() => {
                    if let Err(tokio::sync::broadcast::error::RecvError::Closed) = change {
                        return Err(Error::new(Code::Conflict, "Docent is shutting down"));
                    }
                    while changes.try_recv().is_ok() {}
                }
                () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
                () = self.stopping().cancelled() => {
                    return Err(Error::new(Code::Conflict, "Docent is shutting down"));
                }
            }
        }
    }

    /// Whether all that is to be done is about these documents, but for scans of folders that have
    /// been scanned since then: their files cause these too.
    async fn waits_for_none_but(
        &self,
        scope: &WorkspaceScope,
        documents: &HashSet<DocumentId>,
        since: Instant,
    ) -> Result<bool> {
        if documents.is_empty() {
            return Ok(false);
        }
        // In this order, so that one that is claimed in between is not missed.
        for state in [JobState::Queued, JobState::Running] {
            let query = JobQuery {
                state: Some(state),
                limit: JOBS_LOOKED_AT,
                ..JobQuery::default()
            };
            let page = self.store().jobs().list(scope, &query).await?;
            let is_of_them = |kind: JobKind| match kind {
                JobKind::Read { document } => documents.contains(&document),
                JobKind::Embed { .. } => false,
                JobKind::Scan { folder } => self.watching().was_scanned(folder, since),
            };
            if page.next_cursor.is_some()
                || !page.items.iter().all(|listed| is_of_them(listed.job.kind))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Jobs that are looked through for some that are not of files that keep changing.
const JOBS_LOOKED_AT: u32 = 1000;

/// A local file to be read.
pub(crate) fn new_document(
    path: &Path,
    stamp: FileStamp,
    folder: Option<docent_domain::FolderId>,
) -> NewDocument {
    NewDocument {
        path: path.to_string_lossy().into_owned(),
        origin: if folder.is_some() {
            Origin::Folder
        } else {
            Origin::File
        },
        folder_id: folder,
        title: stem(&path.to_string_lossy()),
        stamp,
        blob: None,
        read_after: None,
    }
}

/// By the path without links, so that no file is there twice.
fn look(path: PathBuf) -> Found {
    let found = std::fs::canonicalize(&path)
        .and_then(|real| std::fs::metadata(&real).map(|metadata| (real, metadata)));
    match found {
        Ok((real, _)) if real.to_str().is_none() => {
            Found::Other(path, "its name is not Unicode".to_owned())
        }
        Ok((real, metadata)) if metadata.is_dir() => Found::Folder(real),
        Ok((real, metadata)) if metadata.is_file() => {
            let stamp = docent_ingest::FileStamp::from_metadata(&metadata);
            Found::File(real, stored_stamp(&stamp))
        }
        Ok(_) => Found::Other(path, "neither a file nor a folder".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Found::Other(path, "there is no such file or folder".to_owned())
        }
        Err(error) => Found::Other(path, error.to_string()),
    }
}

pub(crate) fn stored_stamp(stamp: &docent_ingest::FileStamp) -> FileStamp {
    FileStamp {
        size_bytes: stamp.size_bytes,
        modified_at: Some(stamp.modified_at()),
        modified_ns: Some(stamp.modified_ns),
        file_id: stamp.file_id,
    }
}

fn text_block(block: &Block) -> TextBlock {
    use docent_ingest::BlockKind as Kind;
    let (kind, level) = match block.kind {
        Kind::Heading(level) => (BlockKind::Heading, level),
        Kind::Paragraph => (BlockKind::Paragraph, 0),
        Kind::ListItem => (BlockKind::ListItem, 0),
        Kind::Code => (BlockKind::Code, 0),
        Kind::TableRow | Kind::TableHeader => (BlockKind::TableRow, 0),
        Kind::Quote => (BlockKind::Quote, 0),
    };
    TextBlock {
        kind,
        level,
        span: block.span,
    }
}
