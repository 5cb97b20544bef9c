//! Files of watched folders that the user does not want: the scans leave them out.
//!
//! A path stays here whatever becomes of the file, so that one which is edited or saved anew stays
//! away too. Adding the file by hand, or a folder that it lies in, forgets it.

use std::path::Path;

use docent_domain::WorkspaceScope;
use sqlx::Row as _;
use sqlx::sqlite::Sqlite;

use crate::Result;
use crate::connection::WriteTx;
use crate::row::blob;

pub(crate) async fn list<'e>(
    executor: impl sqlx::Executor<'e, Database = Sqlite>,
    scope: &WorkspaceScope,
) -> Result<Vec<String>> {
    sqlx::query("SELECT path FROM removed_files WHERE workspace_id = ?1 ORDER BY path")
        .bind(blob(scope.workspace()))
        .fetch_all(executor)
        .await?
        .iter()
        .map(|row| Ok(row.try_get("path")?))
        .collect()
}

pub(crate) async fn contains_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    path: &str,
) -> Result<bool> {
    Ok(
        sqlx::query("SELECT 1 FROM removed_files WHERE workspace_id = ?1 AND path = ?2")
            .bind(blob(scope.workspace()))
            .bind(path)
            .fetch_optional(tx.connection())
            .await?
            .is_some(),
    )
}

/// Remembers a path, if a scan would bring it back.
pub(crate) async fn remember_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    path: &str,
) -> Result<()> {
    if lies_in_any(path, &folder_paths_in_tx(tx, scope).await?) {
        sqlx::query(
            "INSERT INTO removed_files (workspace_id, path) VALUES (?1, ?2)
             ON CONFLICT DO NOTHING",
        )
        .bind(blob(scope.workspace()))
        .bind(path)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

pub(crate) async fn forget_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    path: &str,
) -> Result<()> {
    sqlx::query("DELETE FROM removed_files WHERE workspace_id = ?1 AND path = ?2")
        .bind(blob(scope.workspace()))
        .bind(path)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Forgets what lies in a folder that the user adds.
pub(crate) async fn forget_below_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    folder: &str,
) -> Result<()> {
    for path in list(tx.connection(), scope).await? {
        if Path::new(&path).starts_with(folder) {
            forget_in_tx(tx, scope, &path).await?;
        }
    }
    Ok(())
}

/// Forgets what no folder brings back any more.
pub(crate) async fn forget_unwatched_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope) -> Result<()> {
    let folders = folder_paths_in_tx(tx, scope).await?;
    for path in list(tx.connection(), scope).await? {
        if !lies_in_any(&path, &folders) {
            forget_in_tx(tx, scope, &path).await?;
        }
    }
    Ok(())
}

async fn folder_paths_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope) -> Result<Vec<String>> {
    sqlx::query("SELECT path FROM folders WHERE workspace_id = ?1")
        .bind(blob(scope.workspace()))
        .fetch_all(tx.connection())
        .await?
        .iter()
        .map(|row| Ok(row.try_get("path")?))
        .collect()
}

fn lies_in_any(path: &str, folders: &[String]) -> bool {
    folders
        .iter()
        .any(|folder| Path::new(path).starts_with(folder))
}
