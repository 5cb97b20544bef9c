//! Watched folders.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use docent_domain::{
    ChunkKey, DocumentId, Folder, FolderId, FolderPatterns, FolderState, JobId, ScanSummary,
    Timestamp, WorkspaceScope,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{chats, chunks, jobs, removed_files, workspaces};
use crate::connection::WriteTx;
use crate::row::{self, blob, word};
use crate::{Entity, Error, Result, Store};

const COLUMNS: &str = "workspace_id, id, path, state, reason, last_scan_at, last_scan, include, \
     exclude, created_at";

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

/// Which directory a folder's path leads to. Devices are no part of it: their numbers change when a disk
/// is connected again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootIdentity {
    pub inode: Option<u64>,
    /// When it was made, in nanoseconds since 1970.
    pub born_ns: Option<i64>,
}

impl RootIdentity {
    /// Whether these are certainly two directories.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        let differ = |a: Option<i128>, b: Option<i128>| a.zip(b).is_some_and(|(a, b)| a != b);
        differ(self.inode.map(i128::from), other.inode.map(i128::from))
            || differ(self.born_ns.map(i128::from), other.born_ns.map(i128::from))
    }
}

impl<'a> Folders<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Adds a folder and the job of its first scan; a path that is watched already is returned as
    /// it is, and scanned again. Files in it that the user had removed come back with the scan, unless
    /// it was watched already, by itself or with a folder that it lies in.
    pub async fn add(
        &self,
        scope: &WorkspaceScope,
        path: &str,
        now: Timestamp,
    ) -> Result<(Folder, bool)> {
        self.add_with(scope, path, None, now).await
    }

    /// [`Folders::add`] with patterns; `None` leaves those of a folder that is watched already.
    pub async fn add_with(
        &self,
        scope: &WorkspaceScope,
        path: &str,
        patterns: Option<&FolderPatterns>,
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
        if let Some(patterns) = patterns {
            sqlx::query(
                "UPDATE folders SET include = ?3, exclude = ?4 WHERE workspace_id = ?1 AND path = ?2",
            )
            .bind(blob(scope.workspace()))
            .bind(path)
            .bind(serde_json::to_string(&patterns.include)?)
            .bind(serde_json::to_string(&patterns.exclude)?)
            .execute(tx.connection())
            .await?;
        }
        let row = sqlx::query(&format!(
            "SELECT {COLUMNS} FROM folders WHERE workspace_id = ?1 AND path = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(path)
        .fetch_one(tx.connection())
        .await?;
        let folder = folder(&row)?;
        if created && !lies_in_another_in_tx(&mut tx, scope, &folder).await? {
            removed_files::forget_below_in_tx(&mut tx, scope, path).await?;
        }
        jobs::enqueue_scan_in_tx(&mut tx, scope, folder.id, now, now).await?;
        tx.commit().await?;
        Ok((folder, created))
    }

    /// Changes what of a folder is mirrored, and queues the scan that carries it out.
    pub async fn set_patterns(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        patterns: &FolderPatterns,
        now: Timestamp,
    ) -> Result<Folder> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE folders SET include = ?3, exclude = ?4
             WHERE workspace_id = ?1 AND id = ?2 RETURNING {COLUMNS}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(serde_json::to_string(&patterns.include)?)
        .bind(serde_json::to_string(&patterns.exclude)?)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Folder))?;
        let folder = folder(&row)?;
        jobs::enqueue_scan_in_tx(&mut tx, scope, id, now, now).await?;
        tx.commit().await?;
        Ok(folder)
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

    /// Records how a scan ended. `scanned` is `None` when it did not get to the end; what the last
    /// one saw stays. What the user was asked is answered or out of date by then; a consent stays
    /// until a scan has ended well.
    pub async fn set_state(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        state: FolderState,
        reason: Option<&str>,
        scanned: Option<(Timestamp, ScanSummary)>,
    ) -> Result<Folder> {
        let summary = scanned
            .map(|(_, summary)| serde_json::to_string(&summary))
            .transpose()?;
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE folders SET state = ?3, reason = ?4, last_scan_at = coalesce(?5, last_scan_at),
                 last_scan = coalesce(?6, last_scan), asked = NULL,
                 accepted = CASE ?3 WHEN 'watching' THEN 0 ELSE accepted END
             WHERE workspace_id = ?1 AND id = ?2 RETURNING {COLUMNS}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(word(state))
        .bind(reason)
        .bind(scanned.map(|(at, _)| at.0))
        .bind(summary)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Folder))?;
        let folder = folder(&row)?;
        tx.commit().await?;
        Ok(folder)
    }

    /// Pauses a folder because so many of its files are `gone` at once, and the user has to say
    /// whether that is right. The consent that the scan knew of, to `accepted` of them, is used up.
    pub async fn ask(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        gone: u64,
        accepted: u64,
        reason: &str,
        scanned: (Timestamp, ScanSummary),
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query(
            "UPDATE folders SET state = 'paused', reason = ?3, last_scan_at = ?4, last_scan = ?5,
                 asked = ?6, accepted = CASE accepted WHEN ?7 THEN 0 ELSE accepted END
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(reason)
        .bind(scanned.0.0)
        .bind(serde_json::to_string(&scanned.1)?)
        .bind(gone as i64)
        .bind(accepted as i64)
        .execute(tx.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Folder));
        }
        tx.commit().await
    }

    /// Records the user's consent to what was asked last, if anything was, and queues the scan that
    /// carries it out. It outlasts the process and scans that don't get to their end.
    pub async fn accept(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        now: Timestamp,
    ) -> Result<JobId> {
        let mut tx = self.store.write().await?;
        require_in_tx(&mut tx, scope, id).await?;
        sqlx::query(
            "UPDATE folders SET accepted = coalesce(asked, accepted)
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .execute(tx.connection())
        .await?;
        let job = jobs::enqueue_scan_in_tx(&mut tx, scope, id, now, now).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// How many files the next complete scan may remove because the user said so.
    pub async fn accepted(&self, scope: &WorkspaceScope, id: FolderId) -> Result<u64> {
        let row = sqlx::query("SELECT accepted FROM folders WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(id))
            .fetch_optional(self.store.reader())
            .await?
            .ok_or(Error::NotFound(Entity::Folder))?;
        row::number(&row, "accepted")
    }

    /// Which directory the folder was when [`Folders::note_root`] was called last.
    pub async fn root(&self, scope: &WorkspaceScope, id: FolderId) -> Result<RootIdentity> {
        let row = sqlx::query(
            "SELECT root_inode, root_born FROM folders WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Folder))?;
        let inode: Option<i64> = row.try_get("root_inode")?;
        Ok(RootIdentity {
            inode: inode.map(|inode| inode as u64),
            born_ns: row.try_get("root_born")?,
        })
    }

    /// Records which directory the folder is, once nothing is to be asked about what is gone from it.
    pub async fn note_root(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        root: &RootIdentity,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query(
            "UPDATE folders SET root_inode = ?3, root_born = ?4
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        // Inode numbers use all 64 bits; the sign carries no meaning.
        .bind(root.inode.map(|inode| inode as i64))
        .bind(root.born_ns)
        .execute(tx.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Folder));
        }
        tx.commit().await
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
        require_in_tx(&mut tx, scope, id).await?;
        let job = jobs::enqueue_scan_in_tx(&mut tx, scope, id, now, now).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// Queues scans of folders of any workspaces in one transaction, so that none begins before the
    /// others are known; each not before its instant. Folders that are gone are passed over.
    pub async fn enqueue_scans(
        &self,
        folders: &[(WorkspaceScope, FolderId, Timestamp)],
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        for (scope, id, at) in folders {
            match require_in_tx(&mut tx, scope, *id).await {
                Ok(()) => {
                    jobs::enqueue_scan_in_tx(&mut tx, scope, *id, *at, now).await?;
                }
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tx.commit().await
    }

    /// The other folders of the workspace whose scans wait or run, and when each is due. A scan that is
    /// due after `by` is due then from now on.
    pub async fn hasten_others(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        by: Timestamp,
    ) -> Result<Vec<(FolderId, Timestamp)>> {
        let mut tx = self.store.write().await?;
        let rows = sqlx::query(
            "UPDATE jobs SET run_after = CASE state WHEN 'queued' THEN min(run_after, ?3)
                 ELSE run_after END
             WHERE workspace_id = ?1 AND kind = 'scan' AND state IN ('queued', 'running')
                 AND folder_id <> ?2
             RETURNING folder_id, run_after",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(by.0)
        .fetch_all(tx.connection())
        .await?;
        tx.commit().await?;
        let mut others = rows
            .iter()
            .map(|row| Ok((row::id(row, "folder_id")?, row::time(row, "run_after")?)))
            .collect::<Result<Vec<(FolderId, Timestamp)>>>()?;
        others.sort_by_key(|(folder, due)| (*due, *folder));
        Ok(others)
    }

    /// Stops watching: the folder goes, with the documents that came from it, except for those that
    /// `heir` gives to another folder by their path.
    pub async fn remove(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        heir: impl Fn(&Path) -> Option<FolderId>,
    ) -> Result<FolderRemoved> {
        let mut tx = self.store.write().await?;
        bequeath_in_tx(&mut tx, scope, id, heir).await?;
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

/// Gives documents of a folder to other folders of the workspace.
async fn bequeath_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    id: FolderId,
    heir: impl Fn(&Path) -> Option<FolderId>,
) -> Result<()> {
    let rows = sqlx::query("SELECT path FROM documents WHERE workspace_id = ?1 AND folder_id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_all(tx.connection())
        .await?;
    let mut inherited: HashMap<FolderId, Vec<&str>> = HashMap::new();
    for row in &rows {
        let path: &str = row.try_get("path")?;
        if let Some(heir) = heir(Path::new(path)) {
            inherited.entry(heir).or_default().push(path);
        }
    }
    for (heir, paths) in inherited {
        sqlx::query(
            "UPDATE documents SET folder_id = ?3 WHERE workspace_id = ?1 AND folder_id = ?2
                 AND path IN (SELECT value FROM json_each(?4)) AND origin <> 'upload'",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(blob(heir))
        .bind(serde_json::to_string(&paths)?)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// Whether another watched folder of the workspace holds this one.
async fn lies_in_another_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    folder: &Folder,
) -> Result<bool> {
    let rows = sqlx::query("SELECT path FROM folders WHERE workspace_id = ?1 AND id <> ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(folder.id))
        .fetch_all(tx.connection())
        .await?;
    for row in &rows {
        if Path::new(&folder.path).starts_with(row.try_get::<&str, _>("path")?) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn require_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
    sqlx::query("SELECT 1 FROM folders WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Folder))?;
    Ok(())
}

fn folder(row: &SqliteRow) -> Result<Folder> {
    Ok(Folder {
        id: row::id(row, "id")?,
        workspace_id: row::id(row, "workspace_id")?,
        path: row.try_get("path")?,
        state: row::from_word(row, "state")?,
        reason: row.try_get("reason")?,
        last_scan_at: row::opt_time(row, "last_scan_at")?,
        last_scan: match row.try_get::<Option<&str>, _>("last_scan")? {
            Some(_) => row::from_json(row, "last_scan")?,
            None => None,
        },
        patterns: FolderPatterns {
            include: row::from_json(row, "include")?,
            exclude: row::from_json(row, "exclude")?,
        },
        created_at: row::time(row, "created_at")?,
    })
}
