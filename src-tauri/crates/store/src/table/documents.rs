//! Documents and their text.
//!
//! A document's row and the job that reads it are written in one transaction, and so are a new
//! content and the disappearance of the old one. `reason` belongs to the last attempt, `note` to the
//! content; the domain's `Document::reason` is the first of them that is there.

use std::collections::{HashMap, HashSet};

use docent_domain::{
    ChunkKey, ContentHash, Document, DocumentId, DocumentStatus, Folder, FolderId, Format, JobId,
    JobKind, JobType, Language, NewChunk, Origin, Problem, ProblemCount, Timestamp, WorkspaceId,
    WorkspaceScope,
};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row as _};

use super::jobs::{
    self, Claim, Completed, NewJob, OnRunning, PRIORITY_FOLDER, PRIORITY_HAND_ADDED,
    PRIORITY_RECOGNITION,
};
use super::removed_files::{self, RemovedFile, RemovedMove};
use super::{chats, chunks, workspaces};
use crate::connection::WriteTx;
use crate::row::{self, blob, word};
use crate::{Entity, Error, Result, Store, fold};

macro_rules! problem {
    () => {
        "CASE WHEN status IN ('failed', 'skipped') \
         THEN coalesce(problem, content_problem, 'other') \
         WHEN problem = 'cancelled' AND status IN ('words', 'ready') THEN problem \
         ELSE content_problem END"
    };
}

/// The [`Problem`] that a document is listed under. What failed is listed whatever it failed of;
/// what is to be tried again is not yet in trouble. What was cancelled is not as its file is.
const PROBLEM: &str = problem!();

const COLUMNS: &str = concat!(
    "workspace_id, id, folder_id, origin, path, title, format, size_bytes, \
     modified_at, content_hash, status, coalesce(reason, note) AS reason, ",
    problem!(),
    " AS problem, language, page_count, chunk_count, embedded_count, created_at, updated_at"
);

const KNOWN: &str = "id, folder_id, path, size_bytes, modified_at, modified_ns, file_device, \
     file_inode, file_born, status = 'failed' AS has_failed";

/// The order of a list by status: what needs the user first, what is done last.
const STATUS_RANK: &str = "CASE status WHEN 'failed' THEN 0 WHEN 'skipped' THEN 1 \
     WHEN 'reading' THEN 2 WHEN 'queued' THEN 3 WHEN 'words' THEN 4 ELSE 5 END";

/// Documents whose rows are written by one statement, which takes at most 32,766 values.
const CREATE_BATCH: usize = 1000;

/// A page of a list is no longer, whatever was asked for.
const LONGEST_PAGE: u32 = 1000;

/// Handle on the documents.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a> {
    pub(super) store: &'a Store,
}

/// A file's identity card, by which a scan tells an unchanged file without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    pub size_bytes: u64,
    pub modified_at: Option<Timestamp>,
    /// Nanoseconds since 1970; without it a file counts as changed.
    pub modified_ns: Option<i64>,
    /// Device and inode, where the file system has them.
    pub file_id: Option<(u64, u64)>,
    /// When the file was made, in nanoseconds since 1970, where the file system says. An inode is
    /// given to another file when its own is gone.
    pub born_ns: Option<i64>,
}

impl FileStamp {
    /// Whether both are of one version of one file, as far as both can tell.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let of = |stamp: &Self| (stamp.size_bytes, stamp.modified_ns, stamp.file_id);
        of(self) == of(other) && self.born_with(other) != Some(false)
    }

    /// Whether both files were made at the same instant; `None` where one does not say.
    #[must_use]
    pub fn born_with(&self, other: &Self) -> Option<bool> {
        Some(self.born_ns? == other.born_ns?)
    }
}

/// A file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDocument {
    /// Absolute, or an upload's name.
    pub path: String,
    pub origin: Origin,
    /// The watched folder, for [`Origin::Folder`].
    pub folder_id: Option<FolderId>,
    /// Until the document's own title is known.
    pub title: String,
    pub stamp: FileStamp,
    /// The blob that an upload is kept in.
    pub blob: Option<ContentHash>,
    /// Not to be read before this: the file is being written.
    pub read_after: Option<Timestamp>,
}

/// An upload's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub workspace: WorkspaceId,
    pub hash: ContentHash,
    /// The upload's, whose extension the file has.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// New here; queued for reading.
    Created,
    /// Known, and queued for reading again.
    Changed,
    /// Known, and read (or waiting to be) as it is.
    Unchanged,
}

/// What somebody adds who has added it before.
#[derive(Clone, Copy, Debug)]
pub enum AddedAgain<'a> {
    Documents(&'a [DocumentId]),
    /// All that is known of this folder, whatever brought it.
    Below(&'a str),
}

/// What reading a document has brought.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentContent {
    pub hash: ContentHash,
    /// The document's own; `None` gives it the file's name.
    pub title: Option<String>,
    /// `None` for a file that is of no format we read.
    pub format: Option<Format>,
    pub language: Option<Language>,
    pub text: String,
    /// Blocks and pages; opaque here.
    pub layout_json: String,
    pub page_count: Option<u32>,
    /// None at all makes the document `Skipped`.
    pub chunks: Vec<NewChunk>,
    /// A warning, or why there are no chunks.
    pub note: Option<String>,
    /// What the note tells of.
    pub problem: Option<Problem>,
    /// Some pages are pictures, and the document is to be read again for their text.
    pub recognise: bool,
}

/// What changed for the indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentReplaced {
    /// In the order of the chunks given.
    pub added: Vec<ChunkKey>,
    pub removed: Vec<ChunkKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentText {
    pub text: String,
    pub layout_json: String,
}

/// What is known of a file in a folder, for comparing with the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    pub id: DocumentId,
    /// The folder it came from; `None` for a file that was added by hand.
    pub folder: Option<FolderId>,
    pub path: String,
    pub stamp: FileStamp,
    pub has_failed: bool,
}

/// A document whose title the word index has not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retitled {
    pub id: DocumentId,
    /// How often it has changed since.
    pub times: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DocumentSort {
    /// By title, without regard to case and marks.
    #[default]
    Name,
    /// Last changed first.
    Updated,
    /// Failed, skipped, reading, queued, words, ready; then by title.
    Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentQuery {
    pub status: Option<DocumentStatus>,
    pub problem: Option<Problem>,
    /// Has to occur in the title or the path, without regard to case and marks.
    pub text: Option<String>,
    pub folder: Option<FolderId>,
    pub sort: DocumentSort,
    /// `next_cursor` of the page before, of the same sort.
    pub cursor: Option<String>,
    /// 0 means 100.
    pub limit: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// `None` on the last page.
    pub next_cursor: Option<String>,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Makes a file known and, unless it is as it was when last read, queues it for reading. A file
    /// of a folder that the user has removed is not found.
    pub async fn register(
        &self,
        scope: &WorkspaceScope,
        new: &NewDocument,
        now: Timestamp,
    ) -> Result<(Document, Registered)> {
        let mut tx = self.store.write().await?;
        workspaces::require_in_tx(&mut tx, scope).await?;
        let (id, registered) = register_in_tx(&mut tx, scope, new, now)
            .await?
            .ok_or(Error::NotFound(Entity::Document))?;
        let document = get_in_tx(&mut tx, scope, id).await?;
        tx.commit().await?;
        Ok((document, registered))
    }

    /// [`Documents::register`] for many files, a thousand in one transaction; results in the order
    /// given, without the files of folders that the user has removed.
    pub async fn register_all(
        &self,
        scope: &WorkspaceScope,
        files: &[NewDocument],
        now: Timestamp,
    ) -> Result<Vec<(DocumentId, Registered)>> {
        let mut registered = Vec::with_capacity(files.len());
        for files in files.chunks(CREATE_BATCH) {
            let mut tx = self.store.write().await?;
            workspaces::require_in_tx(&mut tx, scope).await?;
            let unknown = unknown_in_tx(&mut tx, scope, files).await?;
            let created = create_in_tx(&mut tx, scope, &unknown, now).await?;
            let mut created: HashMap<&str, DocumentId> =
                unknown.iter().map(|new| &*new.path).zip(created).collect();
            for new in files {
                registered.extend(match created.remove(&*new.path) {
                    Some(id) => Some((id, Registered::Created)),
                    None => register_in_tx(&mut tx, scope, new, now).await?,
                });
            }
            tx.commit().await?;
        }
        Ok(registered)
    }

    pub async fn get(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<Document> {
        let row = sqlx::query(&format!(
            "SELECT {COLUMNS} FROM documents WHERE workspace_id = ?1 AND id = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Document))?;
        document(&row)
    }

    /// The blob of an upload; `None` for a local file.
    pub async fn blob(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
    ) -> Result<Option<ContentHash>> {
        let row =
            sqlx::query("SELECT blob_hash FROM documents WHERE workspace_id = ?1 AND id = ?2")
                .bind(blob(scope.workspace()))
                .bind(blob(id))
                .fetch_optional(self.store.reader())
                .await?
                .ok_or(Error::NotFound(Entity::Document))?;
        row::opt_hash(&row, "blob_hash")
    }

    /// The blobs that documents of any workspace refer to; every other one is garbage.
    pub async fn all_blobs(&self) -> Result<Vec<Blob>> {
        let rows = sqlx::query(
            "SELECT workspace_id, blob_hash, path FROM documents WHERE blob_hash IS NOT NULL
             ORDER BY 1, 2, 3",
        )
        .fetch_all(self.store.reader())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Blob {
                    workspace: row::id(row, "workspace_id")?,
                    hash: ContentHash(row.try_get("blob_hash")?),
                    name: row.try_get("path")?,
                })
            })
            .collect()
    }

    /// The extracted text, once there is one.
    pub async fn text(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<DocumentText> {
        let row = sqlx::query(
            "SELECT text, layout FROM document_texts WHERE workspace_id = ?1 AND document_id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Content))?;
        Ok(DocumentText {
            text: row.try_get("text")?,
            layout_json: row.try_get("layout")?,
        })
    }

    /// The files that came from a folder, and those in it that were added by hand, after a path and
    /// in the order of the paths' bytes, for comparing with the disk.
    pub async fn known_files(
        &self,
        scope: &WorkspaceScope,
        folder: &Folder,
        after: &str,
        limit: u32,
    ) -> Result<Vec<KnownFile>> {
        // The path's index gives the order, and passes over all that lies elsewhere.
        let (first, end) = below(&folder.path);
        sqlx::query(&format!(
            "SELECT {KNOWN} FROM documents INDEXED BY documents_by_path
             WHERE workspace_id = ?1 AND origin <> 'upload' AND path > ?3 AND path < ?4
                 AND (folder_id = ?2 OR origin = 'file')
             ORDER BY path LIMIT ?5"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(folder.id))
        .bind(first.as_str().max(after))
        .bind(end)
        .bind(limit)
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(known_file)
        .collect()
    }

    /// The files of these sizes that came from other folders of the workspace.
    pub async fn known_elsewhere(
        &self,
        scope: &WorkspaceScope,
        folder: FolderId,
        sizes: &[u64],
    ) -> Result<Vec<KnownFile>> {
        sqlx::query(&format!(
            "SELECT {KNOWN} FROM documents
             WHERE workspace_id = ?1 AND folder_id <> ?2
                 AND size_bytes IN (SELECT value FROM json_each(?3))
             ORDER BY path"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(folder))
        .bind(serde_json::to_string(sizes)?)
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(known_file)
        .collect()
    }

    /// What the chunks of these documents were made from; documents without are left out.
    pub async fn content_hashes(
        &self,
        scope: &WorkspaceScope,
        ids: &[DocumentId],
    ) -> Result<HashMap<DocumentId, ContentHash>> {
        let mut hashes = HashMap::new();
        for id in ids {
            let row = sqlx::query(
                "SELECT content_hash FROM documents WHERE workspace_id = ?1 AND id = ?2",
            )
            .bind(blob(scope.workspace()))
            .bind(blob(*id))
            .fetch_optional(self.store.reader())
            .await?;
            if let Some(row) = row
                && let Some(hash) = row::opt_hash(&row, "content_hash")?
            {
                hashes.insert(*id, hash);
            }
        }
        Ok(hashes)
    }

    /// Has the file looked at again by the next scan that finds it, whatever its stamp. For who reads
    /// it.
    pub async fn forget_stamp(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        jobs::require_reading_in_tx(&mut tx, scope, id, claim).await?;
        sqlx::query("UPDATE documents SET modified_ns = NULL WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(id))
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    /// Records that the files of documents that were added by hand are gone: they keep what was read
    /// of them, and fail. A scan that finds such a file again has it looked at. Returns how many that
    /// was news for.
    pub async fn mark_gone(
        &self,
        scope: &WorkspaceScope,
        ids: &[DocumentId],
        reason: &str,
        now: Timestamp,
    ) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut tx = self.store.write().await?;
        let mut marked = 0;
        for id in ids {
            let done = sqlx::query(
                "UPDATE documents SET status = 'failed', reason = ?3, problem = 'unreachable',
                     modified_ns = NULL, updated_at = ?4
                 WHERE workspace_id = ?1 AND id = ?2 AND origin = 'file'
                     AND NOT (status = 'failed' AND modified_ns IS NULL)",
            )
            .bind(blob(scope.workspace()))
            .bind(blob(*id))
            .bind(reason)
            .bind(now.0)
            .execute(tx.connection())
            .await?;
            if done.rows_affected() > 0 {
                marked += 1;
                jobs::drop_active_in_tx(&mut tx, scope, JobType::Read, *id).await?;
            }
        }
        tx.commit().await?;
        Ok(marked)
    }

    /// Documents whose title has changed since their chunks' words were indexed.
    pub async fn retitled(&self, scope: &WorkspaceScope) -> Result<Vec<Retitled>> {
        sqlx::query(
            "SELECT id, retitled FROM documents INDEXED BY documents_retitled
             WHERE workspace_id = ?1 AND retitled > 0",
        )
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| {
            Ok(Retitled {
                id: row::id(row, "id")?,
                times: row.try_get("retitled")?,
            })
        })
        .collect()
    }

    /// Records that the word index has the titles that [`Documents::retitled`] told of, unless they
    /// have changed again. Call it after the index has committed.
    pub async fn mark_reworded(&self, scope: &WorkspaceScope, done: &[Retitled]) -> Result<()> {
        let mut tx = self.store.write().await?;
        for Retitled { id, times } in done {
            sqlx::query(
                "UPDATE documents SET retitled = 0
                 WHERE workspace_id = ?1 AND id = ?2 AND retitled = ?3",
            )
            .bind(blob(scope.workspace()))
            .bind(blob(*id))
            .bind(times)
            .execute(tx.connection())
            .await?;
        }
        tx.commit().await
    }

    /// Files in watched folders that the user has removed, for scans to leave out.
    pub async fn removed_files(&self, scope: &WorkspaceScope) -> Result<Vec<RemovedFile>> {
        removed_files::list(self.store.reader(), scope).await
    }

    /// Notes what a scan saw of removed files: those that stand under another path, which scans leave
    /// out too from now on, and the files at their paths that are not as they were.
    pub async fn note_removed_files(
        &self,
        scope: &WorkspaceScope,
        moved: &[RemovedMove],
        seen: &[(String, FileStamp)],
    ) -> Result<()> {
        if moved.is_empty() && seen.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        removed_files::note_in_tx(&mut tx, scope, moved, seen).await?;
        tx.commit().await
    }

    /// Whether a document was read from this content.
    pub async fn has_content(&self, scope: &WorkspaceScope, hash: &ContentHash) -> Result<bool> {
        Ok(sqlx::query(
            "SELECT 1 FROM documents WHERE workspace_id = ?1 AND content_hash = ?2 LIMIT 1",
        )
        .bind(blob(scope.workspace()))
        .bind(&hash.0)
        .fetch_optional(self.store.reader())
        .await?
        .is_some())
    }

    /// A page of the list. Pages are cut by the last row's place in the order, so rows that come
    /// and go meanwhile neither repeat nor hide others.
    pub async fn list(
        &self,
        scope: &WorkspaceScope,
        query: &DocumentQuery,
    ) -> Result<Page<Document>> {
        let limit = match query.limit {
            0 => 100,
            limit => limit.min(LONGEST_PAGE),
        };
        let mut sql = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {COLUMNS}, folded_title, {STATUS_RANK} AS rank FROM documents
             WHERE workspace_id = "
        ));
        sql.push_bind(blob(scope.workspace()));
        if let Some(status) = query.status {
            sql.push(" AND status = ").push_bind(status.as_str());
        }
        if let Some(problem) = query.problem {
            sql.push(format!(" AND {PROBLEM} = "))
                .push_bind(word(problem));
        }
        if let Some(folder) = query.folder {
            sql.push(" AND folder_id = ").push_bind(blob(folder));
        }
        if let Some(text) = query.text.as_deref().map(fold).filter(|t| !t.is_empty()) {
            sql.push(" AND (instr(folded_title, ")
                .push_bind(text.clone())
                .push(") OR instr(folded_path, ")
                .push_bind(text)
                .push("))");
        }
        if let Some(cursor) = &query.cursor {
            let at = Cursor::parse(cursor).ok_or(Error::BadCursor)?;
            match query.sort {
                DocumentSort::Name => sql
                    .push(" AND (folded_title, id) > (")
                    .push_bind(at.title)
                    .push(", ")
                    .push_bind(blob(at.id))
                    .push(")"),
                DocumentSort::Updated => sql
                    .push(" AND (updated_at, id) < (")
                    .push_bind(at.number)
                    .push(", ")
                    .push_bind(blob(at.id))
                    .push(")"),
                DocumentSort::Status => sql
                    .push(format!(" AND ({STATUS_RANK}, folded_title, id) > ("))
                    .push_bind(at.number)
                    .push(", ")
                    .push_bind(at.title)
                    .push(", ")
                    .push_bind(blob(at.id))
                    .push(")"),
            };
        }
        sql.push(match query.sort {
            DocumentSort::Name => " ORDER BY folded_title, id",
            DocumentSort::Updated => " ORDER BY updated_at DESC, id DESC",
            DocumentSort::Status => " ORDER BY rank, folded_title, id",
        })
        .push(" LIMIT ")
        // One more than asked for tells whether there is a next page.
        .push_bind(limit + 1);
        let mut rows = sql.build().fetch_all(self.store.reader()).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next_cursor = match rows.last() {
            Some(last) if more => Some(Cursor::of(last, query.sort)?.to_string()),
            _ => None,
        };
        Ok(Page {
            items: rows.iter().map(document).collect::<Result<_>>()?,
            next_cursor,
        })
    }

    /// How many documents have each problem; those without one are not counted.
    pub async fn problems(&self, scope: &WorkspaceScope) -> Result<Vec<ProblemCount>> {
        sqlx::query(&format!(
            "SELECT {PROBLEM} AS problem, count(*) AS documents,
                 count(*) FILTER (WHERE chunk_count > 0) AS searchable
             FROM documents
             WHERE workspace_id = ?1 AND {PROBLEM} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        ))
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| {
            Ok(ProblemCount {
                problem: row::from_word(row, "problem")?,
                documents: row::number(row, "documents")?,
                searchable: row::number(row, "searchable")?,
            })
        })
        .collect()
    }

    /// Notes what kind of trouble the claimed reading is about to fail with. It stays until the
    /// document's reason goes.
    pub async fn note_problem(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
        problem: Problem,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        jobs::require_reading_in_tx(&mut tx, scope, id, claim).await?;
        set_problem_in_tx(&mut tx, scope, id, problem).await?;
        tx.commit().await
    }

    /// Queues the document for reading again, whatever its state, without waiting any longer after a
    /// failure: as urgently as one added by hand, unless it is for the text of scanned pages.
    pub async fn retry(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        now: Timestamp,
    ) -> Result<JobId> {
        let mut tx = self.store.write().await?;
        get_in_tx(&mut tx, scope, id).await?;
        // Its scanned pages are what there is to try again.
        let row = sqlx::query(
            "UPDATE documents SET recognise =
                 recognise OR coalesce(content_problem = 'partly_scanned', 0)
             WHERE workspace_id = ?1 AND id = ?2 RETURNING recognise",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_one(tx.connection())
        .await?;
        let priority = if row.try_get("recognise")? {
            PRIORITY_RECOGNITION
        } else {
            PRIORITY_HAND_ADDED
        };
        let job = jobs::enqueue_document_in_tx(
            &mut tx,
            scope,
            JobType::Read,
            id,
            priority,
            OnRunning::Again,
            now,
        )
        .await?;
        settle_in_tx(&mut tx, scope, id, None, now).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// Queues what could not be read, and what somebody kept from being read or embedded, of documents
    /// that are added again. Returns how many.
    pub async fn retry_unread(
        &self,
        scope: &WorkspaceScope,
        added: AddedAgain<'_>,
        now: Timestamp,
    ) -> Result<u64> {
        const IS_UNREAD: &str = "(d.status = 'failed' OR d.problem IS 'cancelled')";
        let (is_added, first, end) = match added {
            AddedAgain::Documents(ids) => (
                "d.id IN (SELECT unhex(value) FROM json_each(?2)) AND ?3 IS NOT NULL",
                hex_json(ids.iter())?,
                String::new(),
            ),
            // A file that is gone is looked for by scans.
            AddedAgain::Below(root) => {
                let (first, end) = below(root);
                let is_below = "d.origin <> 'upload' AND d.path > ?2 AND d.path < ?3
                     AND NOT (d.origin = 'file' AND d.problem IS 'unreachable')";
                (is_below, first, end)
            }
        };
        let mut tx = self.store.write().await?;
        let rows = sqlx::query(&format!(
            "SELECT d.id, d.origin, {IS_UNREAD} AS is_unread,
                 d.recognise OR coalesce(d.content_problem = 'partly_scanned', 0) AS recognise
             FROM documents d
             WHERE d.workspace_id = ?1 AND {is_added}
               AND ({IS_UNREAD} OR (d.status = 'words' AND EXISTS (
                     SELECT 1 FROM jobs j WHERE j.workspace_id = ?1 AND j.document_id = d.id
                       AND j.kind = 'embed' AND j.state = 'cancelled')))
               AND NOT EXISTS (
                     SELECT 1 FROM jobs j WHERE j.workspace_id = ?1 AND j.document_id = d.id
                       AND j.kind = CASE WHEN {IS_UNREAD} THEN 'read' ELSE 'embed' END
                       AND j.state IN ('queued', 'running'))"
        ))
        .bind(blob(scope.workspace()))
        .bind(first)
        .bind(end)
        .fetch_all(tx.connection())
        .await?;
        for kind in [JobType::Read, JobType::Embed] {
            let is_read = kind == JobType::Read;
            let mut again = Vec::new();
            for row in &rows {
                if row.try_get::<bool, _>("is_unread")? != is_read {
                    continue;
                }
                let priority = if is_read && row.try_get("recognise")? {
                    PRIORITY_RECOGNITION
                } else {
                    priority_of(row::from_word(row, "origin")?)
                };
                again.push(NewJob {
                    document: row::id(row, "id")?,
                    priority,
                    at: now,
                });
            }
            for again in again.chunks(CREATE_BATCH) {
                let batch = jobs::start_batch_in_tx(&mut tx, scope, now).await?;
                let ids = hex_json(again.iter().map(|job| &job.document))?;
                for statement in [
                    "UPDATE documents SET reason = NULL, problem = NULL, batch = ?3, updated_at = ?5,
                         status = CASE ?4 WHEN 'read' THEN 'queued' ELSE status END,
                         recognise = recognise
                             OR (?4 = 'read' AND coalesce(content_problem = 'partly_scanned', 0))
                     WHERE workspace_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2))",
                    "DELETE FROM jobs WHERE workspace_id = ?1
                         AND document_id IN (SELECT unhex(value) FROM json_each(?2))
                         AND kind = ?4 AND state IN ('dead', 'cancelled')",
                ] {
                    sqlx::query(statement)
                        .bind(blob(scope.workspace()))
                        .bind(&ids)
                        .bind(batch)
                        .bind(word(kind))
                        .bind(now.0)
                        .execute(tx.connection())
                        .await?;
                }
                jobs::enqueue_new_in_tx(&mut tx, scope, kind, again, now).await?;
            }
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Ends a `Read` job with the content it found: the old chunks go, the new ones come with keys
    /// never used before, the document is searchable by words, and the `Embed` job is queued. A
    /// content without chunks makes the document `Skipped`, with the note as the reason. Where a
    /// second reading of the same bytes gives the same text, the chunks stay; a second reading as
    /// another format has to give the same structure too.
    pub async fn replace_content(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
        content: &DocumentContent,
        now: Timestamp,
    ) -> Result<ContentReplaced> {
        let mut tx = self.store.write().await?;
        let completed = complete_read_in_tx(&mut tx, scope, id, claim, now).await?;
        let known = get_in_tx(&mut tx, scope, id).await?;
        let title = content.title.as_deref();
        let title = title.unwrap_or_else(|| title_by_name(&known));
        let workspace = blob(scope.workspace());
        if known.chunk_count > 0
            && known.content_hash.as_ref() == Some(&content.hash)
            && has_text_in_tx(&mut tx, scope, id, content, known.format).await?
        {
            sqlx::query(
                "UPDATE documents SET note = ?3, content_problem = ?4, format = ?5
                 WHERE workspace_id = ?1 AND id = ?2",
            )
            .bind(&workspace)
            .bind(blob(id))
            .bind(content.note.as_deref())
            .bind(content.problem.map(word))
            .bind(content.format.map(Format::as_str))
            .execute(tx.connection())
            .await?;
            embed_rest_in_tx(&mut tx, scope, &known, completed.job.priority, now).await?;
            settle_in_tx(&mut tx, scope, id, None, now).await?;
            tx.commit().await?;
            return Ok(ContentReplaced::default());
        }
        let removed = chunks::delete_of_document_in_tx(&mut tx, scope, id).await?;
        let added = chunks::insert_in_tx(&mut tx, scope, id, &content.chunks).await?;
        let (note, problem) = match &content.note {
            None if added.is_empty() => (
                Some("No text was found in this document."),
                Some(Problem::Empty),
            ),
            note => (note.as_deref(), content.problem),
        };
        sqlx::query(
            "UPDATE documents SET content_hash = ?3, title = ?4, folded_title = ?5, format = ?6,
                 language = ?7, page_count = ?8, chunk_count = ?9, embedded_count = 0, note = ?10,
                 content_problem = ?11
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(&workspace)
        .bind(blob(id))
        .bind(&content.hash.0)
        .bind(title)
        .bind(fold(title))
        .bind(content.format.map(Format::as_str))
        .bind(content.language.map(Language::code))
        .bind(content.page_count)
        .bind(added.len() as i64)
        .bind(note)
        .bind(problem.map(word))
        .execute(tx.connection())
        .await?;
        sqlx::query(
            "INSERT INTO document_texts (workspace_id, document_id, text, layout)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (workspace_id, document_id) DO UPDATE SET text = excluded.text,
                 layout = excluded.layout",
        )
        .bind(&workspace)
        .bind(blob(id))
        .bind(&content.text)
        .bind(&content.layout_json)
        .execute(tx.connection())
        .await?;
        if added.is_empty() {
            jobs::drop_active_in_tx(&mut tx, scope, JobType::Embed, id).await?;
        } else {
            // An embedding that runs has read chunks that are gone.
            jobs::enqueue_document_in_tx(
                &mut tx,
                scope,
                JobType::Embed,
                id,
                completed.job.priority,
                OnRunning::Restart,
                now,
            )
            .await?;
        }
        if content.recognise && !completed.requeued {
            recognise_in_tx(&mut tx, scope, id, now).await?;
        }
        settle_in_tx(&mut tx, scope, id, None, now).await?;
        tx.commit().await?;
        Ok(ContentReplaced { added, removed })
    }

    /// Ends a `Read` job that found the bytes to be those already indexed: nothing but the status
    /// changes, and embedding goes on where chunks still lack vectors.
    pub async fn mark_unchanged(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let completed = complete_read_in_tx(&mut tx, scope, id, claim, now).await?;
        let document = get_in_tx(&mut tx, scope, id).await?;
        if document.content_hash.is_none() {
            return Err(Error::NotFound(Entity::Content));
        }
        embed_rest_in_tx(&mut tx, scope, &document, completed.job.priority, now).await?;
        settle_in_tx(&mut tx, scope, id, None, now).await?;
        tx.commit().await
    }

    /// Ends a `Read` job of a file that is not to be read: unsupported, or without text. What was
    /// indexed of it before goes.
    pub async fn skip(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
        reason: &str,
        problem: Problem,
        now: Timestamp,
    ) -> Result<ContentReplaced> {
        let mut tx = self.store.write().await?;
        complete_read_in_tx(&mut tx, scope, id, claim, now).await?;
        let removed = forget_content_in_tx(&mut tx, scope, id).await?;
        set_problem_in_tx(&mut tx, scope, id, problem).await?;
        settle_in_tx(&mut tx, scope, id, Some(reason), now).await?;
        tx.commit().await?;
        Ok(ContentReplaced {
            added: Vec::new(),
            removed,
        })
    }

    /// [`Documents::skip`] of a document that is all pictures: it is read again, for their text.
    pub async fn skip_until_recognised(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
        reason: &str,
        now: Timestamp,
    ) -> Result<ContentReplaced> {
        let mut tx = self.store.write().await?;
        let completed = complete_read_in_tx(&mut tx, scope, id, claim, now).await?;
        let removed = forget_content_in_tx(&mut tx, scope, id).await?;
        set_problem_in_tx(&mut tx, scope, id, Problem::Scanned).await?;
        if !completed.requeued {
            recognise_in_tx(&mut tx, scope, id, now).await?;
        }
        settle_in_tx(&mut tx, scope, id, Some(reason), now).await?;
        tx.commit().await?;
        Ok(ContentReplaced {
            added: Vec::new(),
            removed,
        })
    }

    /// Whether the document's reading is to recognise the text of its scanned pages.
    pub async fn is_to_be_recognised(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
    ) -> Result<bool> {
        let row =
            sqlx::query("SELECT recognise FROM documents WHERE workspace_id = ?1 AND id = ?2")
                .bind(blob(scope.workspace()))
                .bind(blob(id))
                .fetch_optional(self.store.reader())
                .await?
                .ok_or(Error::NotFound(Entity::Document))?;
        Ok(row.try_get("recognise")?)
    }

    /// Queues all documents of every workspace that have scanned pages without text, for a recogniser
    /// that was not there when they were read. Returns how many.
    pub async fn recognise_scanned(&self, reason: &str, now: Timestamp) -> Result<u64> {
        let mut tx = self.store.write().await?;
        let rows = sqlx::query(
            "SELECT workspace_id, id, chunk_count FROM documents
             WHERE (status = 'skipped' AND problem = 'scanned')
                OR (status IN ('words', 'ready') AND content_problem = 'partly_scanned')",
        )
        .fetch_all(tx.connection())
        .await?;
        for row in &rows {
            let scope = WorkspaceScope::new(row::id(row, "workspace_id")?);
            let id = row::id(row, "id")?;
            let chunks: i64 = row.try_get("chunk_count")?;
            recognise_in_tx(&mut tx, &scope, id, now).await?;
            settle_in_tx(&mut tx, &scope, id, (chunks == 0).then_some(reason), now).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Removes what was indexed of a document whose file holds something else by now, as the claimed
    /// reading has found. Returns the keys to take out of the indexes.
    pub async fn forget_content(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
    ) -> Result<Vec<ChunkKey>> {
        let mut tx = self.store.write().await?;
        jobs::require_reading_in_tx(&mut tx, scope, id, claim).await?;
        let removed = forget_content_in_tx(&mut tx, scope, id).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Deletes a document with its text, chunks and jobs, because the user says so: if it lies in a
    /// watched folder, scans leave it out from now on. Answers that cite it keep its title, without
    /// its text. Returns the keys to take out of the indexes.
    pub async fn delete(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<Vec<ChunkKey>> {
        let mut tx = self.store.write().await?;
        let document = get_in_tx(&mut tx, scope, id).await?;
        if document.origin != Origin::Upload {
            removed_files::remember_in_tx(&mut tx, scope, &document).await?;
        }
        let removed = delete_in_tx(&mut tx, scope, id)
            .await?
            .ok_or(Error::NotFound(Entity::Document))?;
        chats::forget_documents_in_tx(&mut tx, scope, &HashSet::from([id])).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Deletes documents whose files are gone, in one transaction; those that are gone already are
    /// no error. Files that appear again are read again. Answers keep the documents' titles, as with
    /// [`Documents::delete`].
    pub async fn delete_all(
        &self,
        scope: &WorkspaceScope,
        ids: &[DocumentId],
    ) -> Result<Vec<ChunkKey>> {
        let mut tx = self.store.write().await?;
        let removed = delete_all_in_tx(&mut tx, scope, ids).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// [`Documents::delete_all`] of what has vanished from a folder, of which `left` more are still to
    /// be deleted: with it, the user's consent to all others is used up.
    pub async fn delete_vanished(
        &self,
        scope: &WorkspaceScope,
        folder: FolderId,
        ids: &[DocumentId],
        left: u64,
    ) -> Result<Vec<ChunkKey>> {
        let mut tx = self.store.write().await?;
        let removed = delete_all_in_tx(&mut tx, scope, ids).await?;
        sqlx::query(
            "UPDATE folders SET asked = NULL, accepted = min(accepted, ?3)
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(folder))
        .bind(left as i64)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(removed)
    }
}

async fn delete_all_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    ids: &[DocumentId],
) -> Result<Vec<ChunkKey>> {
    let mut removed = Vec::new();
    for &id in ids {
        removed.extend(delete_in_tx(tx, scope, id).await?.unwrap_or_default());
    }
    let ids = ids.iter().copied().collect();
    chats::forget_documents_in_tx(tx, scope, &ids).await?;
    Ok(removed)
}

/// For `unhex` over `json_each`.
fn hex_json<'a>(ids: impl Iterator<Item = &'a DocumentId>) -> Result<String> {
    let ids: Vec<String> = ids.map(|id| id.as_uuid().simple().to_string()).collect();
    Ok(serde_json::to_string(&ids)?)
}

/// The paths below a folder: greater than the first, less than the second.
fn below(root: &str) -> (String, String) {
    let separator = std::path::MAIN_SEPARATOR;
    let root = root.strip_suffix(separator).unwrap_or(root);
    // The separators are ASCII, so the next byte makes a character too.
    let next = char::from(separator as u8 + 1);
    (format!("{root}{separator}"), format!("{root}{next}"))
}

/// `None` for a file of a folder that the user has removed.
async fn register_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    new: &NewDocument,
    now: Timestamp,
) -> Result<Option<(DocumentId, Registered)>> {
    let workspace = blob(scope.workspace());
    match new.origin {
        Origin::File => {
            removed_files::forget_added_in_tx(tx, scope, &new.path, &new.stamp).await?;
        }
        Origin::Folder if removed_files::contains_in_tx(tx, scope, &new.path).await? => {
            return Ok(None);
        }
        Origin::Folder | Origin::Upload => {}
    }
    let known = match new.origin {
        Origin::Upload => {
            sqlx::query(
                "SELECT id, origin, status, size_bytes, modified_at, modified_ns, file_device,
                     file_inode, file_born FROM documents
                 WHERE workspace_id = ?1 AND path = ?2 AND blob_hash IS ?3 AND origin = 'upload'",
            )
            .bind(&workspace)
            .bind(&new.path)
            .bind(new.blob.as_ref().map(|hash| &hash.0))
            .fetch_optional(tx.connection())
            .await?
        }
        Origin::File | Origin::Folder => {
            sqlx::query(
                "SELECT id, origin, status, size_bytes, modified_at, modified_ns, file_device,
                     file_inode, file_born FROM documents
                 WHERE workspace_id = ?1 AND path = ?2 AND origin <> 'upload'",
            )
            .bind(&workspace)
            .bind(&new.path)
            .fetch_optional(tx.connection())
            .await?
        }
    };
    let Some(known) = known else {
        let created = create_in_tx(tx, scope, &[new], now).await?;
        return Ok(created.first().map(|id| (*id, Registered::Created)));
    };

    let id: DocumentId = row::id(&known, "id")?;
    if new.origin == Origin::File && row::from_word::<Origin>(&known, "origin")? == Origin::Folder {
        // Added by hand, the document stays even when the folder goes.
        sqlx::query(
            "UPDATE documents SET origin = 'file', folder_id = NULL, updated_at = ?3
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(&workspace)
        .bind(blob(id))
        .bind(now.0)
        .execute(tx.connection())
        .await?;
    }
    let status: DocumentStatus = row::from_word(&known, "status")?;
    let before = stamp(&known)?;
    let same = match new.origin {
        // The same name and the same bytes.
        Origin::Upload => true,
        Origin::File | Origin::Folder => {
            new.stamp.modified_ns.is_some() && before.is_as(&new.stamp)
        }
    };
    if same && (status.is_settled() || has_job_in_tx(tx, scope, id).await?) {
        return Ok(Some((id, Registered::Unchanged)));
    }
    sqlx::query(
        "UPDATE documents SET size_bytes = ?3, modified_at = ?4, modified_ns = ?5,
             file_device = ?6, file_inode = ?7, file_born = ?8, recognise = 0
         WHERE workspace_id = ?1 AND id = ?2",
    )
    .bind(&workspace)
    .bind(blob(id))
    .bind(new.stamp.size_bytes as i64)
    .bind(new.stamp.modified_at.map(|time| time.0))
    .bind(new.stamp.modified_ns)
    .bind(new.stamp.file_id.map(|(device, _)| device as i64))
    .bind(new.stamp.file_id.map(|(_, inode)| inode as i64))
    .bind(new.stamp.born_ns)
    .execute(tx.connection())
    .await?;
    jobs::enqueue_document_at_in_tx(
        tx,
        scope,
        JobType::Read,
        id,
        priority_of(new.origin),
        OnRunning::Again,
        new.read_after.unwrap_or(now),
        now,
    )
    .await?;
    settle_in_tx(tx, scope, id, None, now).await?;
    Ok(Some((id, Registered::Changed)))
}

fn priority_of(origin: Origin) -> i32 {
    match origin {
        Origin::File | Origin::Upload => PRIORITY_HAND_ADDED,
        Origin::Folder => PRIORITY_FOLDER,
    }
}

/// Those of the folders' files that have no row and were not removed by the user, each path once.
async fn unknown_in_tx<'a>(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    files: &'a [NewDocument],
) -> Result<Vec<&'a NewDocument>> {
    let mut found: HashMap<&str, &NewDocument> = files
        .iter()
        .filter(|new| new.origin == Origin::Folder)
        .map(|new| (&*new.path, new))
        .collect();
    let paths: Vec<&str> = found.keys().copied().collect();
    let known = sqlx::query(
        "SELECT p.value AS path FROM json_each(?2) p
         WHERE EXISTS (SELECT 1 FROM documents
                 WHERE workspace_id = ?1 AND path = p.value AND origin <> 'upload')
             OR EXISTS (SELECT 1 FROM removed_files WHERE workspace_id = ?1 AND path = p.value)",
    )
    .bind(blob(scope.workspace()))
    .bind(serde_json::to_string(&paths)?)
    .fetch_all(tx.connection())
    .await?;
    for row in &known {
        found.remove(row.try_get::<&str, _>("path")?);
    }
    // In the order given, in which they are read.
    Ok(files
        .iter()
        .filter(|new| found.remove(&*new.path).is_some())
        .collect())
}

/// Rows and reading jobs of at most [`CREATE_BATCH`] files that have none; their ids in the order
/// given. A round trip to SQLite's thread costs more than the row it is made for.
async fn create_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    new: &[&NewDocument],
    now: Timestamp,
) -> Result<Vec<DocumentId>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let folders: HashSet<FolderId> = new.iter().filter_map(|new| new.folder_id).collect();
    for folder in folders {
        sqlx::query("SELECT 1 FROM folders WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(folder))
            .fetch_optional(tx.connection())
            .await?
            .ok_or(Error::NotFound(Entity::Folder))?;
    }
    let batch = jobs::start_batch_in_tx(tx, scope, now).await?;
    let ids: Vec<DocumentId> = new.iter().map(|_| DocumentId::generate()).collect();
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO documents (workspace_id, id, folder_id, origin, path, title, folded_title,
             folded_path, size_bytes, modified_at, modified_ns, file_device, file_inode, file_born,
             blob_hash, batch, status, created_at, updated_at) ",
    );
    sql.push_values(ids.iter().zip(new), |mut row, (id, new)| {
        row.push_bind(blob(scope.workspace()))
            .push_bind(blob(*id))
            .push_bind(new.folder_id.map(blob))
            .push_bind(word(new.origin))
            .push_bind(&new.path)
            .push_bind(&new.title)
            .push_bind(fold(&new.title))
            .push_bind(fold(&new.path))
            .push_bind(new.stamp.size_bytes as i64)
            .push_bind(new.stamp.modified_at.map(|time| time.0))
            .push_bind(new.stamp.modified_ns)
            // Device and inode numbers use all 64 bits; the sign carries no meaning.
            .push_bind(new.stamp.file_id.map(|(device, _)| device as i64))
            .push_bind(new.stamp.file_id.map(|(_, inode)| inode as i64))
            .push_bind(new.stamp.born_ns)
            .push_bind(new.blob.as_ref().map(|hash| &hash.0))
            .push_bind(batch)
            .push("'queued'")
            .push_bind(now.0)
            .push_bind(now.0);
    });
    sql.build()
        .persistent(new.len() == 1)
        .execute(tx.connection())
        .await?;
    let jobs: Vec<NewJob> = ids
        .iter()
        .zip(new)
        .map(|(id, new)| NewJob {
            document: *id,
            priority: priority_of(new.origin),
            at: new.read_after.unwrap_or(now),
        })
        .collect();
    jobs::enqueue_new_in_tx(tx, scope, JobType::Read, &jobs, now).await?;
    Ok(ids)
}

async fn has_job_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope, id: DocumentId) -> Result<bool> {
    Ok(sqlx::query(
        "SELECT 1 FROM jobs WHERE workspace_id = ?1 AND document_id = ?2
             AND state IN ('queued', 'running') LIMIT 1",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .fetch_optional(tx.connection())
    .await?
    .is_some())
}

/// Ends the claimed job, which has to be the reading of this document.
async fn complete_read_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
    claim: Claim,
    now: Timestamp,
) -> Result<Completed> {
    let completed = jobs::complete_in_tx(tx, scope, claim, now).await?;
    if completed.job.kind != (JobKind::Read { document: id }) {
        return Err(Error::StaleFence(claim.job));
    }
    sqlx::query(
        "UPDATE documents SET recognise = 0, reason = NULL, problem = NULL
         WHERE workspace_id = ?1 AND id = ?2",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .execute(tx.connection())
    .await?;
    Ok(completed)
}

/// Has embedding go on where chunks still lack vectors.
async fn embed_rest_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    document: &Document,
    priority: i32,
    now: Timestamp,
) -> Result<()> {
    if document.embedded_count == document.chunk_count {
        return Ok(());
    }
    jobs::enqueue_document_in_tx(
        tx,
        scope,
        JobType::Embed,
        document.id,
        priority,
        OnRunning::Leave,
        now,
    )
    .await?;
    Ok(())
}

/// Whether this is the text that was read of a document; read as another format, it also has to have
/// the same structure, since that is what chunks are cut by.
async fn has_text_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
    content: &DocumentContent,
    format: Option<Format>,
) -> Result<bool> {
    let row = sqlx::query(
        "SELECT text = ?3 AND (?5 OR layout = ?4) AS same FROM document_texts
         WHERE workspace_id = ?1 AND document_id = ?2",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .bind(&content.text)
    .bind(&content.layout_json)
    .bind(content.format == format)
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.is_some_and(|row| row.get("same")))
}

/// Queues a document for the reading that recognises the text of its scanned pages.
async fn recognise_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE documents SET recognise = 1 WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .execute(tx.connection())
        .await?;
    jobs::enqueue_document_in_tx(
        tx,
        scope,
        JobType::Read,
        id,
        PRIORITY_RECOGNITION,
        OnRunning::Leave,
        now,
    )
    .await?;
    Ok(())
}

/// Gives a document the status that follows from its jobs and its content, and `reason`.
pub(crate) async fn settle_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    /// That reading was cancelled is told until the document is to be read again.
    const STAYS: &str = "(problem = 'cancelled' AND NOT EXISTS (
        SELECT 1 FROM jobs j WHERE j.workspace_id = ?1 AND j.document_id = ?2 AND j.kind = 'read'
          AND j.state IN ('queued', 'running')))";
    sqlx::query(&format!(
        "UPDATE documents SET updated_at = ?4,
             reason = CASE WHEN ?3 IS NULL AND {STAYS} THEN reason ELSE ?3 END,
             problem = CASE WHEN ?3 IS NOT NULL OR {STAYS} THEN problem END, status = coalesce(
             (SELECT CASE j.state WHEN 'running' THEN 'reading' ELSE 'queued' END FROM jobs j
              WHERE j.workspace_id = ?1 AND j.document_id = ?2 AND j.kind = 'read'
                AND j.state IN ('queued', 'running')),
             CASE WHEN chunk_count = 0 THEN 'skipped'
                  WHEN embedded_count = chunk_count THEN 'ready' ELSE 'words' END)
         WHERE workspace_id = ?1 AND id = ?2"
    ))
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .bind(reason)
    .bind(now.0)
    .execute(tx.connection())
    .await?;
    Ok(())
}

pub(crate) async fn set_problem_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
    problem: Problem,
) -> Result<()> {
    let done = sqlx::query("UPDATE documents SET problem = ?3 WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(word(problem))
        .execute(tx.connection())
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::NotFound(Entity::Document));
    }
    Ok(())
}

/// Counts a document to the batch that is being worked on, which begins with it if there is none.
pub(crate) async fn join_batch_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
    now: Timestamp,
) -> Result<()> {
    let batch = jobs::start_batch_in_tx(tx, scope, now).await?;
    sqlx::query("UPDATE documents SET batch = ?3 WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(batch)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The user has taken the document out of the work.
pub(crate) async fn leave_batch_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
) -> Result<()> {
    sqlx::query("UPDATE documents SET batch = 0 WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .execute(tx.connection())
        .await?;
    Ok(())
}

pub(super) async fn get_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
) -> Result<Document> {
    let row = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM documents WHERE workspace_id = ?1 AND id = ?2"
    ))
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .fetch_optional(tx.connection())
    .await?
    .ok_or(Error::NotFound(Entity::Document))?;
    document(&row)
}

async fn forget_content_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
) -> Result<Vec<ChunkKey>> {
    let known = get_in_tx(tx, scope, id).await?;
    let removed = chunks::delete_of_document_in_tx(tx, scope, id).await?;
    sqlx::query("DELETE FROM document_texts WHERE workspace_id = ?1 AND document_id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .execute(tx.connection())
        .await?;
    let title = title_by_name(&known);
    sqlx::query(
        "UPDATE documents SET content_hash = NULL, title = ?3, folded_title = ?4, format = NULL,
             language = NULL, page_count = NULL, chunk_count = 0, embedded_count = 0, note = NULL,
             content_problem = NULL
         WHERE workspace_id = ?1 AND id = ?2",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .bind(title)
    .bind(fold(title))
    .execute(tx.connection())
    .await?;
    jobs::drop_active_in_tx(tx, scope, JobType::Embed, id).await?;
    Ok(removed)
}

/// `None` when there was no such document.
pub(super) async fn delete_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: DocumentId,
) -> Result<Option<Vec<ChunkKey>>> {
    let removed = chunks::delete_of_document_in_tx(tx, scope, id).await?;
    let done = sqlx::query("DELETE FROM documents WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .execute(tx.connection())
        .await?;
    Ok((done.rows_affected() > 0).then_some(removed))
}

/// What a document is called that gives itself no title (any more).
fn title_by_name(document: &Document) -> &str {
    let (title, path) = (&document.title, &document.path);
    if is_name_of(title, path) {
        return title;
    }
    let stem = std::path::Path::new(path).file_stem();
    stem.and_then(std::ffi::OsStr::to_str).unwrap_or(path)
}

/// Whether a title is just the file's name, with or without its extension.
pub(super) fn is_name_of(title: &str, path: &str) -> bool {
    let path = std::path::Path::new(path);
    [path.file_name(), path.file_stem()]
        .into_iter()
        .flatten()
        .any(|name| name == title)
}

/// A place in a list: the last row's values in the order of the sort.
struct Cursor {
    number: i64,
    id: DocumentId,
    title: String,
}

impl Cursor {
    fn of(row: &SqliteRow, sort: DocumentSort) -> Result<Self> {
        let (number, title) = match sort {
            DocumentSort::Name => (0, row.try_get("folded_title")?),
            DocumentSort::Updated => (row.try_get("updated_at")?, String::new()),
            DocumentSort::Status => (row.try_get("rank")?, row.try_get("folded_title")?),
        };
        Ok(Self {
            number,
            id: row::id(row, "id")?,
            title,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            id: parts.next()?.parse().ok()?,
            title: parts.next()?.to_owned(),
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.number, self.id, self.title)
    }
}

fn stamp(row: &SqliteRow) -> Result<FileStamp> {
    let device: Option<i64> = row.try_get("file_device")?;
    let inode: Option<i64> = row.try_get("file_inode")?;
    Ok(FileStamp {
        size_bytes: row::number(row, "size_bytes")?,
        modified_at: row::opt_time(row, "modified_at")?,
        modified_ns: row.try_get("modified_ns")?,
        file_id: device
            .zip(inode)
            .map(|(device, inode)| (device as u64, inode as u64)),
        born_ns: row.try_get("file_born")?,
    })
}

fn known_file(row: &SqliteRow) -> Result<KnownFile> {
    Ok(KnownFile {
        id: row::id(row, "id")?,
        folder: row::opt_id(row, "folder_id")?,
        path: row.try_get("path")?,
        stamp: stamp(row)?,
        has_failed: row.try_get("has_failed")?,
    })
}

fn document(row: &SqliteRow) -> Result<Document> {
    Ok(Document {
        id: row::id(row, "id")?,
        workspace_id: row::id(row, "workspace_id")?,
        folder_id: row::opt_id(row, "folder_id")?,
        origin: row::from_word(row, "origin")?,
        path: row.try_get("path")?,
        title: row.try_get("title")?,
        format: row::opt_word(row, "format")?,
        size_bytes: row::number(row, "size_bytes")?,
        modified_at: row::opt_time(row, "modified_at")?,
        content_hash: row::opt_hash(row, "content_hash")?,
        status: row::from_word(row, "status")?,
        reason: row.try_get("reason")?,
        problem: row::opt_word(row, "problem")?,
        language: row::opt_word(row, "language")?,
        page_count: row::opt_number(row, "page_count")?,
        chunk_count: row::number(row, "chunk_count")?,
        embedded_count: row::number(row, "embedded_count")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}
