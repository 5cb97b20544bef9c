//! Feature flags: a default for every workspace, and what a workspace has instead.

use docent_domain::{FeatureFlag, Timestamp, WorkspaceId, WorkspaceScope};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::workspaces;
use crate::row::{self, blob};
use crate::{Result, Store};

/// Handle on the feature flags.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a> {
    store: &'a Store,
}

impl<'a> Flags<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The workspace's own flag, else the default, else `None`.
    pub async fn get(&self, scope: &WorkspaceScope, name: &str) -> Result<Option<FeatureFlag>> {
        sqlx::query(
            "SELECT * FROM feature_flags
             WHERE name = ?2 AND (workspace_id = ?1 OR workspace_id IS NULL)
             ORDER BY workspace_id IS NULL LIMIT 1",
        )
        .bind(blob(scope.workspace()))
        .bind(name)
        .fetch_optional(self.store.reader())
        .await?
        .as_ref()
        .map(flag)
        .transpose()
    }

    /// Every flag as it stands for the workspace, by name.
    pub async fn list(&self, scope: &WorkspaceScope) -> Result<Vec<FeatureFlag>> {
        sqlx::query(
            "SELECT f.* FROM feature_flags f
             WHERE f.workspace_id = ?1
                OR (f.workspace_id IS NULL AND NOT EXISTS (
                    SELECT 1 FROM feature_flags own
                    WHERE own.workspace_id = ?1 AND own.name = f.name))
             ORDER BY f.name",
        )
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(flag)
        .collect()
    }

    /// Sets the workspace's own flag.
    pub async fn set(
        &self,
        scope: &WorkspaceScope,
        name: &str,
        enabled: bool,
        config: &Value,
        now: Timestamp,
    ) -> Result<()> {
        self.put(Some(scope.workspace()), name, enabled, config, now)
            .await
    }

    /// Sets what holds for every workspace without a flag of its own.
    pub async fn set_default(
        &self,
        name: &str,
        enabled: bool,
        config: &Value,
        now: Timestamp,
    ) -> Result<()> {
        self.put(None, name, enabled, config, now).await
    }

    /// Lets the workspace follow the default again. Returns whether it had a flag of its own.
    pub async fn clear(&self, scope: &WorkspaceScope, name: &str) -> Result<bool> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("DELETE FROM feature_flags WHERE workspace_id = ?1 AND name = ?2")
            .bind(blob(scope.workspace()))
            .bind(name)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn put(
        &self,
        workspace: Option<WorkspaceId>,
        name: &str,
        enabled: bool,
        config: &Value,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        if let Some(workspace) = workspace {
            workspaces::require_in_tx(&mut tx, &WorkspaceScope::new(workspace)).await?;
        }
        // `IS` also matches NULL with NULL, which the unique indexes and ON CONFLICT do not.
        sqlx::query("DELETE FROM feature_flags WHERE workspace_id IS ?1 AND name = ?2")
            .bind(workspace.map(blob))
            .bind(name)
            .execute(tx.connection())
            .await?;
        sqlx::query(
            "INSERT INTO feature_flags (workspace_id, name, enabled, config, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(workspace.map(blob))
        .bind(name)
        .bind(enabled)
        .bind(config.to_string())
        .bind(now.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }
}

fn flag(row: &SqliteRow) -> Result<FeatureFlag> {
    Ok(FeatureFlag {
        name: row.try_get("name")?,
        workspace_id: row::opt_id(row, "workspace_id")?,
        enabled: row.try_get("enabled")?,
        config: row::from_json(row, "config")?,
        updated_at: row::time(row, "updated_at")?,
    })
}
