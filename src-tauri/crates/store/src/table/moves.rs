//! Documents whose files have moved.

use std::collections::{HashMap, HashSet};

use docent_domain::{
    ChunkKey, Document, DocumentId, DocumentStatus, JobType, Timestamp, WorkspaceScope,
};

use sqlx::Row as _;

use super::documents::{Documents, NewDocument, delete_in_tx, get_in_tx, is_name_of, settle_in_tx};
use super::jobs::{self, OnRunning, PRIORITY_FOLDER, PRIORITY_RECOGNITION};
use super::{chats, chunks};
use crate::connection::WriteTx;
use crate::row::{self, blob};
use crate::{Error, Result, fold};

/// A document whose file has another path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMove {
    pub id: DocumentId,
    /// The document's path.
    pub from: String,
    pub to: NewDocument,
    /// The file is only believed to be the same one, so its content is compared.
    pub look_again: bool,
}

/// What came of moving documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovedFiles {
    /// Of documents whose file was replaced by one that moved there; to be taken out of the indexes.
    pub removed: Vec<ChunkKey>,
    /// Whether documents have another title now, so that [`Documents::retitled`] has something.
    pub retitled: bool,
    /// Paths that are still to be read.
    pub unread: Vec<String>,
}

impl Documents<'_> {
    /// Records that files have moved, in one transaction, so that they may also change places. Where
    /// there are many, [`in_turns`] makes several of it. Nothing is read or embedded again, unless the
    /// extension is another: it says how a file is to be read. Titles follow that were the files'
    /// names. Where another document is at the new path, its file was replaced: it stays what it is,
    /// and gets the content of the one that moved, which goes. Documents that are gone are passed over.
    pub async fn move_files(
        &self,
        scope: &WorkspaceScope,
        moves: &[FileMove],
        now: Timestamp,
    ) -> Result<MovedFiles> {
        let mut moved = MovedFiles::default();
        if moves.is_empty() {
            return Ok(moved);
        }
        let mut tx = self.store.write().await?;
        let targets: HashSet<&str> = moves.iter().map(|change| &*change.to.path).collect();
        let mut known = Vec::with_capacity(moves.len());
        for change in moves {
            let document = match get_in_tx(&mut tx, scope, change.id).await {
                Ok(document) => document,
                Err(Error::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            if targets.contains(&*document.path) {
                // No file has such a path, and none of the others is in the way.
                sqlx::query("UPDATE documents SET path = ?3 WHERE workspace_id = ?1 AND id = ?2")
                    .bind(blob(scope.workspace()))
                    .bind(blob(change.id))
                    .bind(format!("moving {}", change.id))
                    .execute(tx.connection())
                    .await?;
            }
            known.push((document, change));
        }
        let mut gone = HashSet::new();
        for (document, change) in known {
            let to = &change.to;
            let there = sqlx::query(
                "SELECT id FROM documents
                 WHERE workspace_id = ?1 AND path = ?2 AND origin <> 'upload'",
            )
            .bind(blob(scope.workspace()))
            .bind(&to.path)
            .fetch_optional(tx.connection())
            .await?;
            let Some(there) = there else {
                moved.retitled |= rename_in_tx(&mut tx, scope, &document, change, now).await?;
                continue;
            };
            let there = get_in_tx(&mut tx, scope, row::id(&there, "id")?).await?;
            if document.content_hash.is_some() {
                let removed = adopt_in_tx(&mut tx, scope, &there, &document, to, now).await?;
                moved.removed.extend(removed);
                moved.retitled = true;
            } else {
                moved.unread.push(to.path.clone());
            }
            moved.removed.extend(
                delete_in_tx(&mut tx, scope, document.id)
                    .await?
                    .unwrap_or_default(),
            );
            gone.insert(document.id);
        }
        if !gone.is_empty() {
            chats::forget_documents_in_tx(&mut tx, scope, &gone).await?;
        }
        tx.commit().await?;
        Ok(moved)
    }
}

/// Divides moves into what each is to be carried out in one transaction: `at_most` of them, or as many
/// as change places in a ring. A file comes after the one that was at its new path, so that whatever
/// was carried out is right when nothing more is.
#[must_use]
pub fn in_turns(moves: Vec<FileMove>, at_most: usize) -> Vec<Vec<FileMove>> {
    let by_path: HashMap<&str, usize> = moves
        .iter()
        .enumerate()
        .map(|(at, change)| (&*change.from, at))
        .collect();
    let in_the_way: Vec<Option<usize>> = moves
        .iter()
        .enumerate()
        .map(|(at, change)| {
            by_path
                .get(&*change.to.path)
                .copied()
                .filter(|to| *to != at)
        })
        .collect();
    let mut is_placed = vec![false; moves.len()];
    let mut turns: Vec<Vec<usize>> = Vec::new();
    for first in 0..moves.len() {
        // Each but the first is in the way of the one before it.
        let mut chain = Vec::new();
        let mut next = Some(first);
        while let Some(at) = next.filter(|at| !is_placed[*at]) {
            is_placed[at] = true;
            chain.push(at);
            next = in_the_way[at];
        }
        let ring = next.and_then(|next| chain.iter().position(|at| *at == next));
        let ring = chain.split_off(ring.unwrap_or(chain.len()));
        for group in std::iter::once(ring).chain(chain.into_iter().rev().map(|at| vec![at])) {
            match turns.last_mut() {
                Some(turn) if turn.len() + group.len() <= at_most => turn.extend(group),
                _ => turns.push(group),
            }
        }
    }
    let mut moves: Vec<Option<FileMove>> = moves.into_iter().map(Some).collect();
    turns
        .into_iter()
        .map(|turn| turn.into_iter().filter_map(|at| moves[at].take()).collect())
        .filter(|turn: &Vec<FileMove>| !turn.is_empty())
        .collect()
}

/// Returns whether the title is another now.
async fn rename_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    known: &Document,
    change: &FileMove,
    now: Timestamp,
) -> Result<bool> {
    let to = &change.to;
    let title = title_after_move(known, to);
    let is_retitled = *title != known.title;
    let stamp = &to.stamp;
    // What waits for recognition is then read for the first time again, perhaps in another format.
    let is_another_kind = !has_same_extension(&known.path, &to.path);
    let row = sqlx::query(
        "UPDATE documents SET path = ?3, folded_path = ?4, title = ?5, folded_title = ?6,
             folder_id = CASE origin WHEN 'folder' THEN ?7 END, size_bytes = ?8, modified_at = ?9,
             modified_ns = ?10, file_device = ?11, file_inode = ?12, updated_at = ?13,
             retitled = retitled + (?14 AND chunk_count > 0), file_born = ?15,
             content_hash = CASE WHEN recognise AND ?16 THEN NULL ELSE content_hash END,
             recognise = recognise AND NOT ?16
         WHERE workspace_id = ?1 AND id = ?2 RETURNING recognise",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(known.id))
    .bind(&to.path)
    .bind(fold(&to.path))
    .bind(title)
    .bind(fold(title))
    .bind(to.folder_id.map(blob))
    .bind(stamp.size_bytes as i64)
    .bind(stamp.modified_at.map(|time| time.0))
    .bind(stamp.modified_ns)
    .bind(stamp.file_id.map(|(device, _)| device as i64))
    .bind(stamp.file_id.map(|(_, inode)| inode as i64))
    .bind(now.0)
    .bind(is_retitled)
    .bind(stamp.born_ns)
    .bind(is_another_kind)
    .fetch_one(tx.connection())
    .await?;
    let waits_for_recognition: bool = row.try_get("recognise")?;
    // Its reading may have ended, or be about to end, because there is nothing at the old path. One
    // that finds the same bytes in the same format ends there.
    if change.look_again
        || is_another_kind
        || matches!(
            known.status,
            DocumentStatus::Failed | DocumentStatus::Queued | DocumentStatus::Reading
        )
    {
        let (kind, again) = (JobType::Read, OnRunning::Again);
        let priority = priority_of_moved(waits_for_recognition);
        jobs::enqueue_document_in_tx(tx, scope, kind, known.id, priority, again, now).await?;
        settle_in_tx(tx, scope, known.id, None, now).await?;
    }
    Ok(is_retitled)
}

/// Gives a document the content of another, whose file has replaced its own. Returns the keys of
/// what it had.
async fn adopt_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    into: &Document,
    from: &Document,
    to: &NewDocument,
    now: Timestamp,
) -> Result<Vec<ChunkKey>> {
    let workspace = blob(scope.workspace());
    let title = title_after_move(from, to);
    let removed = chunks::delete_of_document_in_tx(tx, scope, into.id).await?;
    sqlx::query("DELETE FROM document_texts WHERE workspace_id = ?1 AND document_id = ?2")
        .bind(&workspace)
        .bind(blob(into.id))
        .execute(tx.connection())
        .await?;
    for statement in [
        "UPDATE document_texts SET document_id = ?2 WHERE workspace_id = ?1 AND document_id = ?3",
        "UPDATE chunks SET document_id = ?2 WHERE workspace_id = ?1 AND document_id = ?3",
    ] {
        sqlx::query(statement)
            .bind(&workspace)
            .bind(blob(into.id))
            .bind(blob(from.id))
            .execute(tx.connection())
            .await?;
    }
    let row = sqlx::query(
        "UPDATE documents SET (content_hash, format, language, page_count, chunk_count,
             embedded_count, note, content_problem, retitled, recognise)
         = (SELECT CASE WHEN f.recognise AND ?4 THEN NULL ELSE f.content_hash END, f.format,
             f.language, f.page_count, f.chunk_count, f.embedded_count, f.note,
             f.content_problem, f.chunk_count > 0, f.recognise AND NOT ?4
            FROM documents f
            WHERE f.workspace_id = ?1 AND f.id = ?3)
         WHERE workspace_id = ?1 AND id = ?2 RETURNING recognise",
    )
    .bind(&workspace)
    .bind(blob(into.id))
    .bind(blob(from.id))
    .bind(!has_same_extension(&from.path, &to.path))
    .fetch_one(tx.connection())
    .await?;
    let waits_for_recognition: bool = row.try_get("recognise")?;
    let stamp = &to.stamp;
    sqlx::query(
        "UPDATE documents SET title = ?3, folded_title = ?4, size_bytes = ?5, modified_at = ?6,
             modified_ns = ?7, file_device = ?8, file_inode = ?9, file_born = ?10
         WHERE workspace_id = ?1 AND id = ?2",
    )
    .bind(&workspace)
    .bind(blob(into.id))
    .bind(title)
    .bind(fold(title))
    .bind(stamp.size_bytes as i64)
    .bind(stamp.modified_at.map(|time| time.0))
    .bind(stamp.modified_ns)
    .bind(stamp.file_id.map(|(device, _)| device as i64))
    .bind(stamp.file_id.map(|(_, inode)| inode as i64))
    .bind(stamp.born_ns)
    .execute(tx.connection())
    .await?;
    if from.embedded_count < from.chunk_count {
        // One that runs has read chunks that are gone.
        let (kind, priority, again) = (JobType::Embed, PRIORITY_FOLDER, OnRunning::Restart);
        jobs::enqueue_document_in_tx(tx, scope, kind, into.id, priority, again, now).await?;
    } else {
        jobs::drop_active_in_tx(tx, scope, JobType::Embed, into.id).await?;
    }
    // What is being read may be either version. The next look finds that nothing is to be done but
    // what was still to be recognised of it, which is not as urgent as what it replaces.
    if waits_for_recognition {
        jobs::drop_active_in_tx(tx, scope, JobType::Read, into.id).await?;
    }
    let (kind, again) = (JobType::Read, OnRunning::Restart);
    let priority = priority_of_moved(waits_for_recognition);
    jobs::enqueue_document_in_tx(tx, scope, kind, into.id, priority, again, now).await?;
    settle_in_tx(tx, scope, into.id, None, now).await?;
    Ok(removed)
}

fn priority_of_moved(waits_for_recognition: bool) -> i32 {
    if waits_for_recognition {
        PRIORITY_RECOGNITION
    } else {
        PRIORITY_FOLDER
    }
}

fn has_same_extension(a: &str, b: &str) -> bool {
    let extension = |path| {
        let extension = std::path::Path::new(path).extension();
        extension.map(std::ffi::OsStr::to_ascii_lowercase)
    };
    extension(a) == extension(b)
}

fn title_after_move<'a>(known: &'a Document, to: &'a NewDocument) -> &'a String {
    if is_name_of(&known.title, &known.path) {
        &to.title
    } else {
        &known.title
    }
}
