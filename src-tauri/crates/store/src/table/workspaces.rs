//! Workspaces: the tenants. Creating, naming and deleting them, and what they hold in numbers.

use docent_domain::{
    DocumentCounts, Language, Plan, Timestamp, Workspace, WorkspaceId, WorkspaceName,
    WorkspaceScope, WorkspaceStatus,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::connection::WriteTx;
use crate::row::{self, blob, word};
use crate::{Entity, Error, Result, Store};

const COLUMNS: &str = "id, name, status, plan, embedder, created_at, updated_at";

/// Handle on the workspaces.
#[derive(Clone, Copy, Debug)]
pub struct Workspaces<'a> {
    store: &'a Store,
}

impl<'a> Workspaces<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Creates a workspace whose vectors will be made by `embedder`, a catalog id.
    pub async fn create(
        &self,
        name: &WorkspaceName,
        embedder: &str,
        now: Timestamp,
    ) -> Result<Workspace> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "INSERT INTO workspaces
                 (id, name, folded_name, status, plan, embedder, served, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                     -- Its first job waits no longer than anybody's, and no shorter.
                     (SELECT coalesce(max(served), 0) FROM workspaces), ?7, ?7)
             RETURNING {COLUMNS}"
        ))
        .bind(blob(WorkspaceId::generate()))
        .bind(name.as_str())
        .bind(name.folded())
        .bind(word(WorkspaceStatus::Active))
        .bind(word(Plan::Local))
        .bind(embedder)
        .bind(now.0)
        .fetch_one(tx.connection())
        .await
        .map_err(|error| name_taken(error.into(), name))?;
        let workspace = workspace(&row)?;
        tx.commit().await?;
        Ok(workspace)
    }

    /// Every workspace, by name.
    pub async fn list(&self) -> Result<Vec<Workspace>> {
        sqlx::query(&format!(
            "SELECT {COLUMNS} FROM workspaces ORDER BY folded_name"
        ))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(workspace)
        .collect()
    }

    pub async fn get(&self, scope: &WorkspaceScope) -> Result<Workspace> {
        let row = sqlx::query(&format!("SELECT {COLUMNS} FROM workspaces WHERE id = ?1"))
            .bind(blob(scope.workspace()))
            .fetch_optional(self.store.reader())
            .await?
            .ok_or(Error::NotFound(Entity::Workspace))?;
        workspace(&row)
    }

    /// Without regard to case.
    pub async fn find_by_name(&self, name: &WorkspaceName) -> Result<Option<Workspace>> {
        sqlx::query(&format!(
            "SELECT {COLUMNS} FROM workspaces WHERE folded_name = ?1"
        ))
        .bind(name.folded())
        .fetch_optional(self.store.reader())
        .await?
        .as_ref()
        .map(workspace)
        .transpose()
    }

    pub async fn rename(
        &self,
        scope: &WorkspaceScope,
        name: &WorkspaceName,
        now: Timestamp,
    ) -> Result<Workspace> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE workspaces SET name = ?2, folded_name = ?3, updated_at = ?4 WHERE id = ?1
             RETURNING {COLUMNS}"
        ))
        .bind(blob(scope.workspace()))
        .bind(name.as_str())
        .bind(name.folded())
        .bind(now.0)
        .fetch_optional(tx.connection())
        .await
        .map_err(|error| name_taken(error.into(), name))?
        .ok_or(Error::NotFound(Entity::Workspace))?;
        let workspace = workspace(&row)?;
        tx.commit().await?;
        Ok(workspace)
    }

    /// Suspended workspaces keep their rows; none of their jobs is claimed.
    pub async fn set_status(
        &self,
        scope: &WorkspaceScope,
        status: WorkspaceStatus,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("UPDATE workspaces SET status = ?2, updated_at = ?3 WHERE id = ?1")
            .bind(blob(scope.workspace()))
            .bind(word(status))
            .bind(now.0)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Workspace));
        }
        tx.commit().await
    }

    /// Deletes the workspace with everything in it. Its index folder is the caller's to remove.
    pub async fn delete(&self, scope: &WorkspaceScope) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("DELETE FROM workspaces WHERE id = ?1")
            .bind(blob(scope.workspace()))
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Workspace));
        }
        tx.commit().await
    }

    pub async fn document_counts(&self, scope: &WorkspaceScope) -> Result<DocumentCounts> {
        let rows = sqlx::query(
            "SELECT status, count(*) AS documents, sum(chunk_count) AS chunks,
                    sum(embedded_count) AS embedded
             FROM documents WHERE workspace_id = ?1 GROUP BY status",
        )
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?;
        let mut counts = DocumentCounts::default();
        for row in &rows {
            use docent_domain::DocumentStatus as S;
            let slot = match row::from_word::<S>(row, "status")? {
                S::Queued => &mut counts.queued,
                S::Reading => &mut counts.reading,
                S::Words => &mut counts.words,
                S::Ready => &mut counts.ready,
                S::Failed => &mut counts.failed,
                S::Skipped => &mut counts.skipped,
            };
            *slot = row::number(row, "documents")?;
            counts.chunks += row::number::<u64>(row, "chunks")?;
            counts.embedded_chunks += row::number::<u64>(row, "embedded")?;
        }
        Ok(counts)
    }

    /// The languages of the documents that can be searched.
    pub async fn languages(&self, scope: &WorkspaceScope) -> Result<Vec<Language>> {
        sqlx::query(
            "SELECT DISTINCT language FROM documents
             WHERE workspace_id = ?1 AND chunk_count > 0 AND language IS NOT NULL
             ORDER BY language",
        )
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| row::from_word(row, "language"))
        .collect()
    }
}

/// Fails when the scope's workspace is gone.
pub(crate) async fn require_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope) -> Result<()> {
    sqlx::query("SELECT 1 FROM workspaces WHERE id = ?1")
        .bind(blob(scope.workspace()))
        .fetch_optional(tx.connection())
        .await?
        .map(|_| ())
        .ok_or(Error::NotFound(Entity::Workspace))
}

fn name_taken(error: Error, name: &WorkspaceName) -> Error {
    if error.is_unique_violation() {
        Error::NameTaken(name.to_string())
    } else {
        error
    }
}

fn workspace(row: &SqliteRow) -> Result<Workspace> {
    let name: &str = row.try_get("name")?;
    Ok(Workspace {
        id: row::id(row, "id")?,
        name: WorkspaceName::parse(name).map_err(|error| row::undecodable("name", error))?,
        status: row::from_word(row, "status")?,
        plan: row::from_word(row, "plan")?,
        embedder: row.try_get("embedder")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}
