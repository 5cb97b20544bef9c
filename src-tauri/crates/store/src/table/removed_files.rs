//! Files of watched folders that the user does not want: the scans leave them out.
//!
//! A path stays here whatever becomes of the file, so that one which is edited or saved anew stays
//! away too. A file that a scan knows again under another name takes that path here as well. Adding
//! the file by hand forgets it, and so does adding a folder that it lies in and that was not watched:
//! one that is watched already may be added again by a program every night.

use std::path::Path;

use docent_domain::{ContentHash, Document, WorkspaceScope};
use sqlx::Row as _;
use sqlx::sqlite::{Sqlite, SqliteRow};

use super::documents::FileStamp;
use crate::Result;
use crate::connection::WriteTx;
use crate::row::{self, blob};

/// A file that scans leave out, and what it is known by elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedFile {
    pub path: String,
    /// Of the file at the path, as it was seen last, without `modified_at`; `None` when that was not
    /// at this path.
    pub stamp: Option<FileStamp>,
    /// Size and hash of what was removed; `None` when it had not been read, or stands elsewhere now.
    pub content: Option<(u64, ContentHash)>,
}

/// A removed file that a scan has found under another path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedMove {
    pub from: String,
    pub to: String,
    pub stamp: FileStamp,
}

pub(crate) async fn list<'e>(
    executor: impl sqlx::Executor<'e, Database = Sqlite>,
    scope: &WorkspaceScope,
) -> Result<Vec<RemovedFile>> {
    sqlx::query("SELECT * FROM removed_files WHERE workspace_id = ?1 ORDER BY path")
        .bind(blob(scope.workspace()))
        .fetch_all(executor)
        .await?
        .iter()
        .map(removed_file)
        .collect()
}

fn removed_file(row: &SqliteRow) -> Result<RemovedFile> {
    let number = |column| -> Result<Option<i64>> { Ok(row.try_get(column)?) };
    let bytes = |column| row::opt_number::<u64>(row, column);
    let id = number("file_device")?.zip(number("file_inode")?);
    let content = bytes("content_bytes")?.zip(row::opt_hash(row, "content_hash")?);
    let modified_ns = number("modified_ns")?;
    let born_ns = number("file_born")?;
    let has_left: bool = row.try_get("has_left")?;
    Ok(RemovedFile {
        path: row.try_get("path")?,
        stamp: bytes("size_bytes")?.map(|size_bytes| FileStamp {
            size_bytes,
            modified_at: None,
            modified_ns,
            file_id: id.map(|(device, inode)| (device as u64, inode as u64)),
            born_ns,
        }),
        content: content.filter(|_| !has_left),
    })
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

/// Remembers a document's file, if a scan would bring it back.
pub(crate) async fn remember_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    document: &Document,
) -> Result<()> {
    if lies_in_any(&document.path, &folder_paths_in_tx(tx, scope).await?) {
        sqlx::query(
            "INSERT INTO removed_files (workspace_id, path, size_bytes, modified_ns, file_device,
                 file_inode, file_born, content_bytes, content_hash)
             SELECT workspace_id, path, size_bytes, modified_ns, file_device, file_inode, file_born,
                 CASE WHEN content_hash IS NOT NULL THEN size_bytes END, content_hash
             FROM documents WHERE workspace_id = ?1 AND id = ?2
             ON CONFLICT DO NOTHING",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(document.id))
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// Notes what a scan saw of removed files: those that stand under another path, unless that one is
/// wanted, and the files at their paths that are not as they were.
pub(crate) async fn note_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    moved: &[RemovedMove],
    seen: &[(String, FileStamp)],
) -> Result<()> {
    for RemovedMove { from, to, stamp } in moved {
        let taken = sqlx::query(
            "INSERT INTO removed_files (workspace_id, path, size_bytes, modified_ns, file_device,
                 file_inode, file_born, content_bytes, content_hash)
             SELECT workspace_id, ?3, ?4, ?5, ?6, ?7, ?8, content_bytes, content_hash
             FROM removed_files r WHERE workspace_id = ?1 AND path = ?2
                 AND NOT EXISTS (SELECT 1 FROM documents d WHERE d.workspace_id = ?1
                     AND d.path = ?3 AND d.origin <> 'upload')
             ON CONFLICT DO NOTHING",
        )
        .bind(blob(scope.workspace()))
        .bind(from)
        .bind(to)
        .bind(stamp.size_bytes as i64)
        .bind(stamp.modified_ns)
        .bind(stamp.file_id.map(|(device, _)| device as i64))
        .bind(stamp.file_id.map(|(_, inode)| inode as i64))
        .bind(stamp.born_ns)
        .execute(tx.connection())
        .await?;
        if taken.rows_affected() > 0 {
            sqlx::query(
                "UPDATE removed_files SET has_left = 1, size_bytes = NULL, modified_ns = NULL,
                     file_device = NULL, file_inode = NULL, file_born = NULL
                 WHERE workspace_id = ?1 AND path = ?2",
            )
            .bind(blob(scope.workspace()))
            .bind(from)
            .execute(tx.connection())
            .await?;
        }
    }
    for (path, stamp) in seen {
        // Of a file that has come in the place of the removed one, the content is not known.
        sqlx::query(
            "UPDATE removed_files SET size_bytes = ?3, modified_ns = ?4, file_device = ?5,
                 file_inode = ?6, file_born = ?7, has_left = 0,
                 content_bytes = CASE WHEN has_left THEN NULL ELSE content_bytes END,
                 content_hash = CASE WHEN has_left THEN NULL ELSE content_hash END
             WHERE workspace_id = ?1 AND path = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(path)
        .bind(stamp.size_bytes as i64)
        .bind(stamp.modified_ns)
        .bind(stamp.file_id.map(|(device, _)| device as i64))
        .bind(stamp.file_id.map(|(_, inode)| inode as i64))
        .bind(stamp.born_ns)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// Forgets a file that the user adds by hand, also under the names that it had before.
pub(crate) async fn forget_added_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    path: &str,
    stamp: &FileStamp,
) -> Result<()> {
    sqlx::query(
        "DELETE FROM removed_files WHERE workspace_id = ?1 AND (path = ?2
             OR (size_bytes = ?3 AND modified_ns = ?4 AND file_device = ?5 AND file_inode = ?6)
             OR (has_left = 1 AND content_hash = (SELECT content_hash FROM removed_files
                 WHERE workspace_id = ?1 AND path = ?2)))",
    )
    .bind(blob(scope.workspace()))
    .bind(path)
    .bind(stamp.size_bytes as i64)
    .bind(stamp.modified_ns)
    .bind(stamp.file_id.map(|(device, _)| device as i64))
    .bind(stamp.file_id.map(|(_, inode)| inode as i64))
    .execute(tx.connection())
    .await?;
    Ok(())
}

async fn forget_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope, path: &str) -> Result<()> {
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
    for file in list(tx.connection(), scope).await? {
        if Path::new(&file.path).starts_with(folder) {
            forget_in_tx(tx, scope, &file.path).await?;
        }
    }
    Ok(())
}

/// Forgets what no folder brings back any more.
pub(crate) async fn forget_unwatched_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope) -> Result<()> {
    let folders = folder_paths_in_tx(tx, scope).await?;
    for file in list(tx.connection(), scope).await? {
        if !lies_in_any(&file.path, &folders) {
            forget_in_tx(tx, scope, &file.path).await?;
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
