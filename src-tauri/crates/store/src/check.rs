//! Consistency of the whole database, for `docent doctor`.
//!
//! Nothing is repaired here. What can be put right (a missing job) is put right at start, by
//! [`crate::Jobs::rescue_foreign`].

use docent_domain::{ChunkKey, DocumentId, DocumentStatus, WorkspaceId};
use serde::Serialize;
use sqlx::Row as _;

use crate::table::jobs::WITHOUT_JOB;
use crate::{Error, Result, SCHEMA_VERSION, Store, row};

/// Enough findings of a kind to see what is wrong.
const FINDINGS_OF_A_KIND: u32 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub schema_version: u32,
    pub sqlite_version: String,
    pub journal_mode: String,
    /// Empty when all is well.
    pub findings: Vec<Finding>,
}

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// SQLite's own check of pages and indexes.
    Damaged { message: String },
    /// A row that refers to one which is not there.
    BrokenReference { table: String, parent: String },
    /// The ordinals of a document's chunks are not 0, 1, 2, …
    ChunkOrdinals {
        workspace: WorkspaceId,
        document: DocumentId,
    },
    /// The document's own counts are not those of its chunks.
    ChunkCounts {
        workspace: WorkspaceId,
        document: DocumentId,
        chunks: u64,
        embedded: u64,
    },
    /// `Ready` although chunks lack vectors.
    ReadyButUnembedded {
        workspace: WorkspaceId,
        document: DocumentId,
        missing: u64,
    },
    /// The document waits for a job that does not exist.
    NoJob {
        workspace: WorkspaceId,
        document: DocumentId,
        status: DocumentStatus,
    },
    /// Chunks without the text that they are passages of.
    NoText {
        workspace: WorkspaceId,
        document: DocumentId,
    },
    /// A key that would be given out again.
    KeyReusable {
        workspace: WorkspaceId,
        key: ChunkKey,
    },
}

impl Store {
    /// Looks the whole database over. Reads every page: a second per gigabyte or so. Damage is
    /// reported, not an error, as far as SQLite can still read.
    pub async fn check(&self) -> Result<CheckReport> {
        let row = sqlx::query(
            "SELECT sqlite_version() AS sqlite,
                    (SELECT journal_mode FROM pragma_journal_mode) AS journal",
        )
        .fetch_one(self.reader())
        .await?;
        let mut report = CheckReport {
            schema_version: SCHEMA_VERSION,
            sqlite_version: row.try_get("sqlite")?,
            journal_mode: row.try_get("journal")?,
            findings: Vec::new(),
        };
        if let Err(error) = self.look(&mut report.findings).await {
            match error {
                Error::Corrupt { message } => report.findings.push(Finding::Damaged { message }),
                other => return Err(other),
            }
        }
        Ok(report)
    }

    async fn look(&self, findings: &mut Vec<Finding>) -> Result<()> {
        // One transaction, so that a document which changes meanwhile is not seen half old.
        let mut rtx = self.reader().begin().await?;

        let rows = sqlx::query("SELECT integrity_check AS message FROM pragma_integrity_check")
            .fetch_all(&mut *rtx)
            .await?;
        for row in &rows {
            let message: String = row.try_get("message")?;
            if message != "ok" {
                findings.push(Finding::Damaged { message });
            }
        }

        let rows =
            sqlx::query("SELECT \"table\" AS child, parent FROM pragma_foreign_key_check LIMIT ?1")
                .bind(FINDINGS_OF_A_KIND)
                .fetch_all(&mut *rtx)
                .await?;
        for row in &rows {
            findings.push(Finding::BrokenReference {
                table: row.try_get("child")?,
                parent: row.try_get("parent")?,
            });
        }

        let rows = sqlx::query(
            "SELECT workspace_id, document_id FROM chunks GROUP BY workspace_id, document_id
             HAVING min(ordinal) <> 0 OR max(ordinal) + 1 <> count(*) LIMIT ?1",
        )
        .bind(FINDINGS_OF_A_KIND)
        .fetch_all(&mut *rtx)
        .await?;
        for row in &rows {
            findings.push(Finding::ChunkOrdinals {
                workspace: row::id(row, "workspace_id")?,
                document: row::id(row, "document_id")?,
            });
        }

        let rows = sqlx::query(
            "SELECT d.workspace_id, d.id, d.status, d.chunk_count, d.embedded_count,
                    count(c.chunk_key) AS chunks, coalesce(sum(c.embedded), 0) AS embedded
             FROM documents d
             LEFT JOIN chunks c ON c.workspace_id = d.workspace_id AND c.document_id = d.id
             GROUP BY d.workspace_id, d.id
             HAVING d.chunk_count <> chunks OR d.embedded_count <> embedded
                 OR (d.status = 'ready' AND embedded < chunks)
             LIMIT ?1",
        )
        .bind(FINDINGS_OF_A_KIND)
        .fetch_all(&mut *rtx)
        .await?;
        for row in &rows {
            let (workspace, document) = (row::id(row, "workspace_id")?, row::id(row, "id")?);
            let chunks: u64 = row::number(row, "chunks")?;
            let embedded: u64 = row::number(row, "embedded")?;
            if row::number::<u64>(row, "chunk_count")? != chunks
                || row::number::<u64>(row, "embedded_count")? != embedded
            {
                findings.push(Finding::ChunkCounts {
                    workspace,
                    document,
                    chunks,
                    embedded,
                });
            }
            let status: DocumentStatus = row::from_word(row, "status")?;
            if status == DocumentStatus::Ready && embedded < chunks {
                findings.push(Finding::ReadyButUnembedded {
                    workspace,
                    document,
                    missing: chunks - embedded,
                });
            }
        }

        let rows = sqlx::query(&format!("{WITHOUT_JOB} LIMIT {FINDINGS_OF_A_KIND}"))
            .fetch_all(&mut *rtx)
            .await?;
        for row in &rows {
            findings.push(Finding::NoJob {
                workspace: row::id(row, "workspace_id")?,
                document: row::id(row, "id")?,
                status: row::from_word(row, "status")?,
            });
        }

        let rows = sqlx::query(
            "SELECT d.workspace_id, d.id FROM documents d
             LEFT JOIN document_texts t ON t.workspace_id = d.workspace_id AND t.document_id = d.id
             WHERE d.chunk_count > 0 AND t.document_id IS NULL LIMIT ?1",
        )
        .bind(FINDINGS_OF_A_KIND)
        .fetch_all(&mut *rtx)
        .await?;
        for row in &rows {
            findings.push(Finding::NoText {
                workspace: row::id(row, "workspace_id")?,
                document: row::id(row, "id")?,
            });
        }

        let rows = sqlx::query(
            "SELECT w.id, (SELECT max(c.chunk_key) FROM chunks c WHERE c.workspace_id = w.id)
                 AS chunk_key
             FROM workspaces w WHERE chunk_key >= w.next_chunk_key",
        )
        .fetch_all(&mut *rtx)
        .await?;
        for row in &rows {
            findings.push(Finding::KeyReusable {
                workspace: row::id(row, "id")?,
                key: ChunkKey(row::number(row, "chunk_key")?),
            });
        }
        Ok(())
    }
}
