//! Watched folders.

use std::collections::HashSet;

use docent_domain::{
    ChunkKey, DocumentId, Folder, FolderId, FolderState, JobId, Timestamp, WorkspaceScope,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{chats, chunks, jobs, removed_files, workspaces};
use crate::row::{self, blob, word};
use crate::{Entity, Error, Result, Store};

const COLUMNS: &str = "workspace_id, id, path, state, reason, last_scan_at, created_at";

/// Handle on the watched folders.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    store: &'a Store,
}

/// What went with a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderRemoved {
    pub documents: u64,
    /// To be taken out of the indexes.
    pub chunks: Vec<ChunkKey>,
}

impl<'a> Folders<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Adds a folder and the job of its first scan; a path that is watched already is returned as
    /// it is, and scanned again. Files in it that the user had removed come back with the scan.
    pub async fn add(
        &self,
        scope: &WorkspaceScope,
        path: &str,
        now: Timestamp,
    ) -> Result<(Folder, bool)> {
        let mut tx = self.store.write().await?;
        workspaces::require_in_tx(&mut tx, scope).await?;
        let created = sqlx::query(
            "INSERT INTO folders (workspace_id, id, path, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (workspace_id, path) DO NOTHING",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(FolderId::generate()))
        .bind(path)
        .bind(word(FolderState::Watching))
        .bind(now.0)
        .execute(tx.connection())
        .await?
        .rows_affected()
            == 1;
        let row = sqlx::query(&format!(
            "SELECT {COLUMNS} FROM folders WHERE workspace_id = ?1 AND path = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(path)
        .fetch_one(tx.connection())
        .await?;
        let folder = folder(&row)?;
        removed_files::forget_below_in_tx(&mut tx, scope, path).await?;
        jobs::enqueue_scan_in_tx(&mut tx, scope, folder.id, now).await?;
        tx.commit().await?;
        Ok((folder, created))
    }

    pub async fn list(&self, scope: &WorkspaceScope) -> Result<Vec<Folder>> {
        sqlx::query(&format!(
            "SELECT {COLUMNS} FROM folders WHERE workspace_id = ?1 ORDER BY path"
        ))
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(folder)
        .collect()
    }

    /// The folders of every workspace, for starting the watcher.
    pub async fn list_all(&self) -> Result<Vec<Folder>> {
        sqlx::query(&format!(
            "SELECT {COLUMNS} FROM folders ORDER BY workspace_id, path"
        ))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(folder)
        .collect()
    }

    pub async fn get(&self, scope: &WorkspaceScope, id: FolderId) -> Result<Folder> {
        let row = sqlx::query(&format!(
            "SELECT {COLUMNS} FROM folders WHERE workspace_id = ?1 AND id = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Folder))?;
        folder(&row)
    }

    /// Records how a scan ended. `scanned_at` is `None` when no scan took place.
    pub async fn set_state(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        state: FolderState,
        reason: Option<&str>,
        scanned_at: Option<Timestamp>,
    ) -> Result<Folder> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE folders SET state = ?3, reason = ?4, last_scan_at = coalesce(?5, last_scan_at)
             WHERE workspace_id = ?1 AND id = ?2 RETURNING {COLUMNS}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(word(state))
        .bind(reason)
        .bind(scanned_at.map(|time| time.0))
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Folder))?;
        let folder = folder(&row)?;
        tx.commit().await?;
        Ok(folder)
    }

    /// Queues a scan. One that is queued already is enough; one that is running is followed by
    /// another, because it may have passed the place that changed.
    pub async fn enqueue_scan(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        now: Timestamp,
    ) -> Result<JobId> {
        let mut tx = self.store.write().await?;
        sqlx::query("SELECT 1 FROM folders WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(id))
            .fetch_optional(tx.connection())
            .await?
            .ok_or(Error::NotFound(Entity::Folder))?;
        let job = jobs::enqueue_scan_in_tx(&mut tx, scope, id, now).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// Stops watching: the folder goes, with the documents that came from it.
    pub async fn remove(&self, scope: &WorkspaceScope, id: FolderId) -> Result<FolderRemoved> {
        let mut tx = self.store.write().await?;
        let chunks = chunks::keys_of_folder_in_tx(&mut tx, scope, id).await?;
        let ids =
            sqlx::query("SELECT id FROM documents WHERE workspace_id = ?1 AND folder_id = ?2")
                .bind(blob(scope.workspace()))
                .bind(blob(id))
                .fetch_all(tx.connection())
                .await?
                .iter()
                .map(|row| row::id(row, "id"))
                .collect::<Result<HashSet<DocumentId>>>()?;
        chats::forget_documents_in_tx(&mut tx, scope, &ids).await?;
        let documents =
            sqlx::query("DELETE FROM documents WHERE workspace_id = ?1 AND folder_id = ?2")
                .bind(blob(scope.workspace()))
                .bind(blob(id))
                .execute(tx.connection())
                .await?
                .rows_affected();
        let done = sqlx::query("DELETE FROM folders WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(id))
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Folder));
        }
        removed_files::forget_unwatched_in_tx(&mut tx, scope).await?;
        tx.commit().await?;
        Ok(FolderRemoved { documents, chunks })
    }
}

fn folder(row: &SqliteRow) -> Result<Folder> {
    Ok(Folder {
        id: row::id(row, "id")?,
        workspace_id: row::id(row, "workspace_id")?,
        path: row.try_get("path")?,
        state: row::from_word(row, "state")?,
        reason: row.try_get("reason")?,
        last_scan_at: row::opt_time(row, "last_scan_at")?,
        created_at: row::time(row, "created_at")?,
    })
}
