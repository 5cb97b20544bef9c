//! Chunks: the passages that searches find, by the keys that the indexes know.
//!
//! Keys grow per workspace and are never given out twice, and a chunk's text never changes under its
//! key. `embedded` says that the vector index has the chunk's vector.

use std::collections::HashMap;

use docent_domain::{
    Chunk, ChunkKey, DocumentId, FolderId, Format, JobKind, JobType, Language, NewChunk, Origin,
    Progress, Span, Stage, Timestamp, WorkspaceScope,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::documents;
use super::jobs::{self, Claim, OnRunning, PRIORITY_FOLDER};
use crate::connection::WriteTx;
use crate::row::{self, blob, pack_boxes, unpack_boxes};
use crate::{Entity, Error, Result, Store};

/// One more than the greatest key.
const KEYS: u64 = 1 << 32;

const COLUMNS: &str = "c.chunk_key, c.document_id, c.ordinal, c.start, c.\"end\", c.page, c.boxes, \
     c.heading_path, c.text, c.token_count";

/// Handle on the chunks.
#[derive(Clone, Copy, Debug)]
pub struct Chunks<'a> {
    store: &'a Store,
}

/// A chunk with what is shown of its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    pub chunk: Chunk,
    pub title: String,
    pub path: String,
    pub origin: Origin,
    pub format: Option<Format>,
    pub language: Option<Language>,
}

/// What an index needs of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub key: ChunkKey,
    pub document_id: DocumentId,
    /// The document's.
    pub title: String,
    pub heading_path: Vec<String>,
    pub text: String,
    pub language: Language,
}

/// How far the embedding of a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedProgress {
    pub embedded: u32,
    pub total: u32,
}

impl EmbedProgress {
    /// Nothing is left: the job is done.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.embedded == self.total
    }
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The chunks with these keys, in the order of the keys; keys that are gone are left out.
    pub async fn get_many(
        &self,
        scope: &WorkspaceScope,
        keys: &[ChunkKey],
    ) -> Result<Vec<Passage>> {
        sqlx::query(&format!(
            "SELECT {COLUMNS}, d.title, d.path, d.origin, d.format, d.language
             FROM json_each(?2) k
             CROSS JOIN chunks c ON c.workspace_id = ?1 AND c.chunk_key = k.value
             CROSS JOIN documents d ON d.workspace_id = ?1 AND d.id = c.document_id
             ORDER BY k.key"
        ))
        .bind(blob(scope.workspace()))
        .bind(serde_json::to_string(keys)?)
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| {
            Ok(Passage {
                chunk: chunk(row)?,
                title: row.try_get("title")?,
                path: row.try_get("path")?,
                origin: row::from_word(row, "origin")?,
                format: row::opt_word(row, "format")?,
                language: row::opt_word(row, "language")?,
            })
        })
        .collect()
    }

    /// The chunks of a document from `ordinal - before` to `ordinal + after`, in order.
    pub async fn neighbours(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
        ordinal: u32,
        before: u32,
        after: u32,
    ) -> Result<Vec<Chunk>> {
        sqlx::query(&format!(
            "SELECT {COLUMNS} FROM chunks c
             WHERE c.workspace_id = ?1 AND c.document_id = ?2 AND c.ordinal BETWEEN ?3 AND ?4
             ORDER BY c.ordinal"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(document))
        .bind(ordinal.saturating_sub(before))
        .bind(ordinal.saturating_add(after))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(chunk)
        .collect()
    }

    /// Every chunk of a document, in order.
    pub async fn of_document(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
    ) -> Result<Vec<Chunk>> {
        self.neighbours(scope, document, 0, 0, u32::MAX).await
    }

    /// The keys of a document's chunks, in order.
    pub async fn keys_of_document(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
    ) -> Result<Vec<ChunkKey>> {
        sqlx::query(
            "SELECT chunk_key FROM chunks WHERE workspace_id = ?1 AND document_id = ?2
             ORDER BY ordinal",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(document))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(key)
        .collect()
    }

    /// Every key of the workspace, ascending: what the word index has to hold.
    pub async fn all_keys(&self, scope: &WorkspaceScope) -> Result<Vec<ChunkKey>> {
        self.keys(
            scope,
            "SELECT chunk_key FROM chunks WHERE workspace_id = ?1 ORDER BY chunk_key",
        )
        .await
    }

    /// The keys of the chunks without a vector, ascending. All others are what the vector index has
    /// to hold.
    pub async fn unembedded_keys(&self, scope: &WorkspaceScope) -> Result<Vec<ChunkKey>> {
        self.keys(
            scope,
            "SELECT chunk_key FROM chunks INDEXED BY chunks_unembedded
             WHERE workspace_id = ?1 AND embedded = 0 ORDER BY chunk_key",
        )
        .await
    }

    /// A million keys as one row take a tenth of the time that a million rows do.
    async fn keys(&self, scope: &WorkspaceScope, select: &str) -> Result<Vec<ChunkKey>> {
        let row = sqlx::query(&format!(
            "SELECT coalesce(group_concat(chunk_key), '') AS keys FROM ({select})"
        ))
        .bind(blob(scope.workspace()))
        .fetch_one(self.store.reader())
        .await?;
        row.try_get::<&str, _>("keys")?
            .split_terminator(',')
            .map(|key| {
                key.parse()
                    .map(ChunkKey)
                    .map_err(|error| row::undecodable("chunk_key", error))
            })
            .collect()
    }

    /// What an index needs of these chunks, in the order of the keys; keys that are gone are left
    /// out.
    pub async fn entries_for_keys(
        &self,
        scope: &WorkspaceScope,
        keys: &[ChunkKey],
    ) -> Result<Vec<IndexEntry>> {
        sqlx::query(
            "SELECT c.chunk_key, c.document_id, c.heading_path, c.text, d.title, d.language
             FROM json_each(?2) k
             CROSS JOIN chunks c ON c.workspace_id = ?1 AND c.chunk_key = k.value
             CROSS JOIN documents d ON d.workspace_id = ?1 AND d.id = c.document_id
             ORDER BY k.key",
        )
        .bind(blob(scope.workspace()))
        .bind(serde_json::to_string(keys)?)
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(entry)
        .collect()
    }

    /// Chunks without a vector, of one document or of all, in the order of their documents.
    pub async fn unembedded(
        &self,
        scope: &WorkspaceScope,
        document: Option<DocumentId>,
        limit: u32,
    ) -> Result<Vec<IndexEntry>> {
        let sql = unembedded_sql(document.is_some());
        let mut query = sqlx::query(&sql).bind(blob(scope.workspace())).bind(limit);
        if let Some(document) = document {
            query = query.bind(blob(document));
        }
        query
            .fetch_all(self.store.reader())
            .await?
            .iter()
            .map(entry)
            .collect()
    }

    /// Records that the vector index holds these chunks of the document whose `Embed` job was
    /// claimed; keys that are gone are passed over. With the last one the job is done and the
    /// document is `Ready`, unless it is being read again. Call it after the index has committed.
    pub async fn mark_embedded(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
        keys: &[ChunkKey],
        claim: Claim,
        now: Timestamp,
    ) -> Result<EmbedProgress> {
        let workspace = blob(scope.workspace());
        let mut tx = self.store.write().await?;
        let marked = sqlx::query(
            "UPDATE chunks SET embedded = 1
             WHERE workspace_id = ?1 AND document_id = ?2 AND embedded = 0
               AND chunk_key IN (SELECT value FROM json_each(?3))",
        )
        .bind(&workspace)
        .bind(blob(document))
        .bind(serde_json::to_string(keys)?)
        .execute(tx.connection())
        .await?
        .rows_affected();
        let row = sqlx::query(
            "UPDATE documents SET embedded_count = embedded_count + ?3, updated_at = ?4
             WHERE workspace_id = ?1 AND id = ?2 RETURNING embedded_count, chunk_count",
        )
        .bind(&workspace)
        .bind(blob(document))
        .bind(marked as i64)
        .bind(now.0)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Document))?;
        let progress = EmbedProgress {
            embedded: row::number(&row, "embedded_count")?,
            total: row::number(&row, "chunk_count")?,
        };
        let at = Progress {
            done: progress.embedded.into(),
            total: progress.total.into(),
        };
        let stage = Stage::Embedding;
        jobs::advance_in_tx(&mut tx, scope, claim, stage, at, marked > 0, now).await?;
        if progress.is_complete() {
            let completed = jobs::complete_in_tx(&mut tx, scope, claim, now).await?;
            if completed.job.kind != (JobKind::Embed { document }) {
                return Err(Error::StaleFence(claim.job));
            }
            documents::settle_in_tx(&mut tx, scope, document, None, now).await?;
        }
        tx.commit().await?;
        Ok(progress)
    }

    /// For chunks of a document that lack a vector, the chunks of other documents of the same content
    /// that have one: (without, with). The text and the headings are the same; the documents' titles
    /// may differ.
    pub async fn embedded_twins(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
    ) -> Result<Vec<(ChunkKey, ChunkKey)>> {
        sqlx::query(
            "SELECT c.chunk_key, min(t.chunk_key) AS twin
             FROM documents d
             CROSS JOIN documents o ON o.workspace_id = d.workspace_id
                  AND o.content_hash = d.content_hash AND o.id <> d.id
             CROSS JOIN chunks c INDEXED BY chunks_unembedded
                  ON c.workspace_id = d.workspace_id AND c.document_id = d.id AND c.embedded = 0
             CROSS JOIN chunks t ON t.workspace_id = d.workspace_id AND t.document_id = o.id
                  AND t.ordinal = c.ordinal AND t.embedded = 1 AND t.text = c.text
                  AND t.heading_path = c.heading_path
             WHERE d.workspace_id = ?1 AND d.id = ?2
             GROUP BY c.chunk_key ORDER BY c.chunk_key",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(document))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| Ok((key(row)?, row::number(row, "twin").map(ChunkKey)?)))
        .collect()
    }

    /// Records that the vector index holds these chunks although nobody came to say so: the process
    /// ended in between. Returns how many chunks it was.
    pub async fn adopt_embedded(
        &self,
        scope: &WorkspaceScope,
        keys: &[ChunkKey],
        now: Timestamp,
    ) -> Result<u64> {
        let workspace = blob(scope.workspace());
        let mut tx = self.store.write().await?;
        let rows = sqlx::query(
            "UPDATE chunks SET embedded = 1
             WHERE workspace_id = ?1 AND embedded = 0
               AND chunk_key IN (SELECT value FROM json_each(?2)) RETURNING document_id",
        )
        .bind(&workspace)
        .bind(serde_json::to_string(keys)?)
        .fetch_all(tx.connection())
        .await?;
        let mut adopted: HashMap<DocumentId, i64> = HashMap::new();
        for row in &rows {
            *adopted.entry(row::id(row, "document_id")?).or_default() += 1;
        }
        for (document, count) in adopted {
            let updated = sqlx::query(
                "UPDATE documents SET embedded_count = embedded_count + ?3, updated_at = ?4
                 WHERE workspace_id = ?1 AND id = ?2
                 RETURNING embedded_count = chunk_count AS is_whole",
            )
            .bind(&workspace)
            .bind(blob(document))
            .bind(count)
            .bind(now.0)
            .fetch_one(tx.connection())
            .await?;
            if !updated.try_get("is_whole")? {
                continue;
            }
            // A job that waits finds nothing left to do; one that is over has nothing to do again.
            let over = sqlx::query(
                "DELETE FROM jobs WHERE workspace_id = ?1 AND document_id = ?2
                     AND kind = 'embed' AND state IN ('dead', 'cancelled')",
            )
            .bind(&workspace)
            .bind(blob(document))
            .execute(tx.connection())
            .await?
            .rows_affected();
            sqlx::query(
                "UPDATE documents SET status = 'ready',
                     reason = CASE WHEN problem = 'cancelled' THEN reason END
                 WHERE workspace_id = ?1 AND id = ?2
                   AND (status = 'words' OR (status = 'failed' AND ?3))",
            )
            .bind(&workspace)
            .bind(blob(document))
            .bind(over > 0)
            .execute(tx.connection())
            .await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Takes back what [`Chunks::mark_embedded`] recorded, because the vectors are lost: the
    /// documents are searchable by words, and queued for embedding. Returns how many chunks it was.
    pub async fn reset_embedded(
        &self,
        scope: &WorkspaceScope,
        keys: &[ChunkKey],
        now: Timestamp,
    ) -> Result<u64> {
        let workspace = blob(scope.workspace());
        let keys = serde_json::to_string(keys)?;
        let mut tx = self.store.write().await?;
        let affected = sqlx::query(
            "SELECT document_id, count(*) AS chunks FROM chunks
             WHERE workspace_id = ?1 AND embedded = 1
               AND chunk_key IN (SELECT value FROM json_each(?2))
             GROUP BY document_id",
        )
        .bind(&workspace)
        .bind(&keys)
        .fetch_all(tx.connection())
        .await?;
        let reset = sqlx::query(
            "UPDATE chunks SET embedded = 0
             WHERE workspace_id = ?1 AND embedded = 1
               AND chunk_key IN (SELECT value FROM json_each(?2))",
        )
        .bind(&workspace)
        .bind(&keys)
        .execute(tx.connection())
        .await?
        .rows_affected();
        for row in &affected {
            let document: DocumentId = row::id(row, "document_id")?;
            let updated = sqlx::query(
                "UPDATE documents SET embedded_count = embedded_count - ?3, updated_at = ?4,
                     reason = CASE WHEN status = 'words' AND problem IS NULL THEN NULL
                                   ELSE reason END,
                     status = CASE status WHEN 'ready' THEN 'words' ELSE status END
                 WHERE workspace_id = ?1 AND id = ?2 RETURNING status",
            )
            .bind(&workspace)
            .bind(blob(document))
            .bind(row.try_get::<i64, _>("chunks")?)
            .bind(now.0)
            .fetch_one(tx.connection())
            .await?;
            // A document that is being read gets its embedding when the reading ends.
            if updated.try_get::<&str, _>("status")? == "words" {
                jobs::enqueue_document_in_tx(
                    &mut tx,
                    scope,
                    JobType::Embed,
                    document,
                    PRIORITY_FOLDER,
                    OnRunning::Leave,
                    now,
                )
                .await?;
            }
        }
        tx.commit().await?;
        Ok(reset)
    }
}

/// Gives the chunks fresh keys and stores them, in order.
pub(crate) async fn insert_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    document: DocumentId,
    chunks: &[NewChunk],
) -> Result<Vec<ChunkKey>> {
    if chunks.is_empty() {
        return Ok(Vec::new());
    }
    let workspace = blob(scope.workspace());
    let row = sqlx::query("SELECT next_chunk_key FROM workspaces WHERE id = ?1")
        .bind(&workspace)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Workspace))?;
    let first: u64 = row::number(&row, "next_chunk_key")?;
    let next = first + chunks.len() as u64;
    if next > KEYS {
        return Err(Error::KeysExhausted(chunks.len()));
    }
    sqlx::query("UPDATE workspaces SET next_chunk_key = ?2 WHERE id = ?1")
        .bind(&workspace)
        .bind(next as i64)
        .execute(tx.connection())
        .await?;
    let mut keys = Vec::with_capacity(chunks.len());
    for (key, (ordinal, chunk)) in (first..).zip((0u32..).zip(chunks)) {
        sqlx::query(
            "INSERT INTO chunks (workspace_id, chunk_key, document_id, ordinal, start, \"end\",
                 page, boxes, heading_path, text, token_count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .bind(&workspace)
        .bind(key as i64)
        .bind(blob(document))
        .bind(ordinal)
        .bind(chunk.span.start)
        .bind(chunk.span.end)
        .bind(chunk.page)
        .bind(pack_boxes(&chunk.boxes))
        .bind(serde_json::to_string(&chunk.heading_path)?)
        .bind(&chunk.text)
        .bind(chunk.token_count)
        .execute(tx.connection())
        .await?;
        keys.push(ChunkKey(key as u32));
    }
    Ok(keys)
}

pub(crate) async fn delete_of_document_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    document: DocumentId,
) -> Result<Vec<ChunkKey>> {
    sqlx::query(
        "DELETE FROM chunks WHERE workspace_id = ?1 AND document_id = ?2 RETURNING chunk_key",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(document))
    .fetch_all(tx.connection())
    .await?
    .iter()
    .map(key)
    .collect()
}

pub(crate) async fn keys_of_folder_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    folder: FolderId,
) -> Result<Vec<ChunkKey>> {
    sqlx::query(
        "SELECT c.chunk_key FROM documents d
         JOIN chunks c ON c.workspace_id = d.workspace_id AND c.document_id = d.id
         WHERE d.workspace_id = ?1 AND d.folder_id = ?2 ORDER BY c.chunk_key",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(folder))
    .fetch_all(tx.connection())
    .await?
    .iter()
    .map(key)
    .collect()
}

/// Two statements, because a condition that may be off keeps SQLite from looking the document up.
fn unembedded_sql(of_document: bool) -> String {
    let of_document = if of_document {
        "AND c.document_id = ?3"
    } else {
        ""
    };
    format!(
        "SELECT c.chunk_key, c.document_id, c.heading_path, c.text, d.title, d.language
         FROM chunks c INDEXED BY chunks_unembedded
         CROSS JOIN documents d ON d.workspace_id = c.workspace_id AND d.id = c.document_id
         WHERE c.workspace_id = ?1 AND c.embedded = 0 {of_document}
         ORDER BY c.document_id, c.ordinal LIMIT ?2"
    )
}

fn key(row: &SqliteRow) -> Result<ChunkKey> {
    row::number(row, "chunk_key").map(ChunkKey)
}

fn entry(row: &SqliteRow) -> Result<IndexEntry> {
    Ok(IndexEntry {
        key: key(row)?,
        document_id: row::id(row, "document_id")?,
        title: row.try_get("title")?,
        heading_path: row::from_json(row, "heading_path")?,
        text: row.try_get("text")?,
        language: row::opt_word(row, "language")?.unwrap_or(Language::Undetermined),
    })
}

fn chunk(row: &SqliteRow) -> Result<Chunk> {
    Ok(Chunk {
        key: key(row)?,
        document_id: row::id(row, "document_id")?,
        ordinal: row::number(row, "ordinal")?,
        content: NewChunk {
            span: Span::new(row::number(row, "start")?, row::number(row, "end")?),
            text: row.try_get("text")?,
            heading_path: row::from_json(row, "heading_path")?,
            page: row::opt_number(row, "page")?,
            boxes: unpack_boxes(row.try_get("boxes")?),
            token_count: row::number(row, "token_count")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_documents_unembedded_chunks_are_looked_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("docent.db")).await.unwrap();
        for (of_document, found_by) in [
            (true, "(workspace_id=? AND document_id=?)"),
            (false, "(workspace_id=?)"),
        ] {
            let plan = format!("EXPLAIN QUERY PLAN {}", unembedded_sql(of_document));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(&plan)
                .fetch_all(store.reader())
                .await
                .unwrap();
            assert!(plan[0].3.ends_with(found_by), "{plan:?}");
        }
    }
}
