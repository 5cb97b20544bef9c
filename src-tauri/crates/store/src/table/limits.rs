//! Limits per workspace and operation. Only what is allowed; what was used is counted elsewhere.

use docent_domain::{Limit, Timestamp, WorkspaceScope};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::workspaces;
use crate::row::{self, blob};
use crate::{Result, Store};

/// Handle on the limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    store: &'a Store,
}

impl<'a> Limits<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// `None` means that the operation is not limited.
    pub async fn get(&self, scope: &WorkspaceScope, operation: &str) -> Result<Option<Limit>> {
        sqlx::query("SELECT * FROM limits WHERE workspace_id = ?1 AND operation = ?2")
            .bind(blob(scope.workspace()))
            .bind(operation)
            .fetch_optional(self.store.reader())
            .await?
            .as_ref()
            .map(limit)
            .transpose()
    }

    pub async fn list(&self, scope: &WorkspaceScope) -> Result<Vec<Limit>> {
        sqlx::query("SELECT * FROM limits WHERE workspace_id = ?1 ORDER BY operation")
            .bind(blob(scope.workspace()))
            .fetch_all(self.store.reader())
            .await?
            .iter()
            .map(limit)
            .collect()
    }

    pub async fn set(&self, scope: &WorkspaceScope, limit: &Limit, now: Timestamp) -> Result<()> {
        let mut tx = self.store.write().await?;
        workspaces::require_in_tx(&mut tx, scope).await?;
        sqlx::query(
            "INSERT INTO limits (workspace_id, operation, max, window_seconds, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (workspace_id, operation) DO UPDATE SET max = excluded.max,
                 window_seconds = excluded.window_seconds, updated_at = excluded.updated_at",
        )
        .bind(blob(scope.workspace()))
        .bind(&limit.operation)
        .bind(limit.max.min(i64::MAX as u64) as i64)
        .bind(limit.window_seconds.min(i64::MAX as u64) as i64)
        .bind(now.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Returns whether there was a limit.
    pub async fn remove(&self, scope: &WorkspaceScope, operation: &str) -> Result<bool> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("DELETE FROM limits WHERE workspace_id = ?1 AND operation = ?2")
            .bind(blob(scope.workspace()))
            .bind(operation)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

fn limit(row: &SqliteRow) -> Result<Limit> {
    Ok(Limit {
        operation: row.try_get("operation")?,
        max: row::number(row, "max")?,
        window_seconds: row::number(row, "window_seconds")?,
    })
}
