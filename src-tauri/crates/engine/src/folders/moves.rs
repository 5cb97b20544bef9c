//! Files that moved: within a folder, between folders, over other files, and those that the user had
//! removed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use docent_domain::{
    ContentHash, DocumentId, Folder, FolderId, FolderState, Timestamp, WorkspaceScope,
};
use docent_ingest::{FoundFile, Seen};
use docent_store::{FileMove, KnownFile, NewDocument, RemovedFile, RemovedMove};
use tokio_util::sync::CancellationToken;

use super::differences::{Appeared, Difference};
use super::scanning::unless_stopped;
use crate::documents::{new_document, stored_stamp};
use crate::engine::Engine;
use crate::error::Result;
use crate::indexes::blocking;

/// Files whose moves are one transaction: nobody else writes meanwhile.
const MOVE_BATCH: usize = 500;

impl Engine {
    /// Gives documents whose files have moved their new paths, and takes both ends out of the
    /// difference. Returns how many.
    pub(super) async fn move_files(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        folder: &Folder,
        difference: &mut Difference,
        seen: &Seen,
        cancel: &CancellationToken,
    ) -> Result<usize> {
        if difference.appeared.is_empty() {
            return Ok(0);
        }
        let mut sources: Vec<Source> = difference
            .gone
            .iter()
            .map(|gone| Source {
                known: gone.file.clone(),
                // An unreadable place may still hold it.
                has_left: seen.complete || gone.is_unwanted,
            })
            .collect();
        // Something else is at their paths; the files themselves may be anywhere.
        sources.extend(difference.appeared.iter().filter_map(|appeared| {
            Some(Source {
                known: appeared.instead_of.clone()?,
                has_left: false,
            })
        }));
        sources.extend(self.left_elsewhere(scope, folder, difference).await?);
        if sources.is_empty() {
            return Ok(0);
        }
        let ids: Vec<DocumentId> = sources
            .iter()
            .filter(|source| source.known.stamp.size_bytes > 0)
            .map(|source| source.known.id)
            .collect();
        let hashes = self.store().documents().content_hashes(scope, &ids).await?;
        let appeared = std::mem::take(&mut difference.appeared);
        let (moves, appeared) = {
            let cancel = cancel.clone();
            blocking("looking for moved files", move || {
                match_moves(sources, &hashes, appeared, &cancel)
            })
            .await?
        };
        difference.appeared = appeared;
        if moves.is_empty() {
            return Ok(0);
        }
        let ids: HashSet<DocumentId> = moves.iter().map(|moved| moved.known.id).collect();
        let changes = moves.iter().map(|moved| FileMove {
            id: moved.known.id,
            from: moved.known.path.clone(),
            to: found_document(&moved.file, folder.id),
            look_again: moved.look_again,
        });
        let turns = docent_store::in_turns(changes.collect(), MOVE_BATCH);
        let done = self.carry_out_moves(scope, &turns, cancel).await;
        self.flush_words_or_later().await;
        let (unread, has_removed) = done?;
        if has_removed {
            self.wipe_removed(scope).await;
        }
        difference.gone.retain(|gone| !ids.contains(&gone.file.id));
        for Moved { file, .. } in moves {
            if unread.contains(&*file.path.to_string_lossy()) {
                difference.appeared.push(Appeared {
                    file,
                    instead_of: None,
                });
            }
        }
        self.ring();
        Ok(ids.len())
    }

    /// Returns the paths that are still to be read, and whether text was removed. A scan that is stopped
    /// in between leaves what the next one finds moved.
    async fn carry_out_moves(
        &self,
        scope: &WorkspaceScope,
        turns: &[Vec<FileMove>],
        cancel: &CancellationToken,
    ) -> Result<(HashSet<String>, bool)> {
        let mut unread = HashSet::new();
        let mut has_removed = false;
        for turn in turns {
            unless_stopped(cancel)?;
            let documents = self.store().documents();
            let moved = documents.move_files(scope, turn, Timestamp::now()).await?;
            if moved.retitled {
                self.queue_rewording(scope);
            }
            self.queue_words(scope, Vec::new(), &moved.removed);
            has_removed |= !moved.removed.is_empty();
            unread.extend(moved.unread);
        }
        Ok((unread, has_removed))
    }

    /// Takes files that the user has removed, and that stand under another name now, out of what has
    /// appeared, and notes it. Such a file is known by its identity, size and time, or by its content
    /// when there is nothing at its path any more and no document holds the same.
    pub(super) async fn leave_out_removed(
        &self,
        scope: &WorkspaceScope,
        folder: &Folder,
        removed: HashMap<String, RemovedFile>,
        difference: &mut Difference,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let documents = self.store().documents();
        // What is in a folder that the user has just added is wanted.
        let is_new_folder = folder.last_scan_at.is_none();
        let has_new = difference
            .appeared
            .iter()
            .any(|appeared| appeared.instead_of.is_none());
        let mut moved = Vec::new();
        if has_new && !removed.is_empty() && !is_new_folder {
            let sizes: HashSet<u64> = difference
                .appeared
                .iter()
                .map(|appeared| appeared.file.size_bytes)
                .collect();
            let mut removed: Vec<RemovedFile> = removed.into_values().collect();
            removed.sort_by(|a, b| a.path.cmp(&b.path));
            for file in &mut removed {
                let Some((bytes, hash)) = &file.content else {
                    continue;
                };
                if !sizes.contains(bytes) || documents.has_content(scope, hash).await? {
                    file.content = None;
                }
            }
            let roots = self.store().folders().list(scope).await?;
            let appeared = std::mem::take(&mut difference.appeared);
            let cancel = cancel.clone();
            (moved, difference.appeared) = blocking("looking for removed files", move || {
                match_removed(removed, &roots, appeared, &cancel)
            })
            .await?;
        }
        difference.removed += moved.len() as u64;
        documents
            .note_removed_files(scope, &moved, &difference.removed_seen)
            .await?;
        Ok(())
    }

    /// Files of the workspace's other folders that may be what has appeared here, and that have left
    /// their place, although their folder is there.
    async fn left_elsewhere(
        &self,
        scope: &WorkspaceScope,
        folder: &Folder,
        difference: &Difference,
    ) -> Result<Vec<Source>> {
        let mut others = self.store().folders().list(scope).await?;
        others.retain(|other| other.id != folder.id && other.state != FolderState::Paused);
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let sizes: HashSet<u64> = difference
            .appeared
            .iter()
            .map(|appeared| appeared.file.size_bytes)
            .filter(|size| *size > 0)
            .collect();
        let sizes: Vec<u64> = sizes.into_iter().collect();
        let documents = self.store().documents();
        let known = documents.known_elsewhere(scope, folder.id, &sizes).await?;
        blocking("looking for moved files", move || {
            others.retain(|other| Path::new(&other.path).is_dir());
            let there: HashSet<FolderId> = others.iter().map(|other| other.id).collect();
            Ok(known
                .into_iter()
                .filter(|file| file.folder.is_some_and(|of| there.contains(&of)))
                .filter(|file| has_left(Path::new(&file.path)))
                .map(|known| Source {
                    known,
                    has_left: true,
                })
                .collect())
        })
        .await
    }
}

/// A document whose file may stand under another path.
#[derive(Debug)]
struct Source {
    known: KnownFile,
    /// It is certainly not at its own path any more.
    has_left: bool,
}

/// Identity, size and time of a file. Hard links share all of these.
type Stamped = ((u64, u64), u64, i64);

fn stamped(stamp: &docent_store::FileStamp) -> Option<Stamped> {
    Some((stamp.file_id?, stamp.size_bytes, stamp.modified_ns?))
}

/// A document whose file stands under another path.
#[derive(Debug)]
struct Moved {
    known: KnownFile,
    file: FoundFile,
    /// Another file may have been given the identity, with the same size and time.
    look_again: bool,
}

/// Finds the files that were moved: by their identity, size and time, and else, where a file has the
/// size of one that has left, by the hash of its content. Returns them, and the others. Blocking.
fn match_moves(
    sources: Vec<Source>,
    hashes: &HashMap<DocumentId, ContentHash>,
    appeared: Vec<Appeared>,
    cancel: &CancellationToken,
) -> Result<(Vec<Moved>, Vec<Appeared>)> {
    let mut by_identity: HashMap<Stamped, Vec<usize>> = HashMap::new();
    let mut by_content: HashMap<u64, HashMap<&ContentHash, Vec<usize>>> = HashMap::new();
    // The first is taken first.
    for (at, source) in sources.iter().enumerate().rev() {
        if let Some(key) = stamped(&source.known.stamp) {
            by_identity.entry(key).or_default().push(at);
        }
        if let Some(hash) = hashes.get(&source.known.id)
            && (source.has_left || has_left(Path::new(&source.known.path)))
        {
            let size = source.known.stamp.size_bytes;
            let of_size = by_content.entry(size).or_default();
            of_size.entry(hash).or_default().push(at);
        }
    }
    let mut taken = vec![false; sources.len()];
    let mut take = |from: Option<&mut Vec<usize>>, is_it: &dyn Fn(&KnownFile) -> bool| {
        let from = from?;
        while let Some(at) = from.pop() {
            if !taken[at] && is_it(&sources[at].known) {
                taken[at] = true;
                return Some(sources[at].known.clone());
            }
        }
        None
    };
    let mut moves = Vec::new();
    let mut others = Vec::new();
    for appeared in appeared {
        let stamp = stored_stamp(&appeared.file.stamp());
        let same = stamped(&stamp).and_then(|key| by_identity.get_mut(&key));
        // Whatever has this identity now was made at one instant.
        let is_it = |known: &KnownFile| known.stamp.born_with(&stamp) != Some(false);
        match take(same, &is_it) {
            Some(known) => moves.push(Moved {
                look_again: known.stamp.born_with(&stamp).is_none(),
                known,
                file: appeared.file,
            }),
            None => others.push(appeared),
        }
    }
    let mut left = Vec::new();
    for appeared in others {
        unless_stopped(cancel)?;
        let from = by_content
            .get_mut(&appeared.file.size_bytes)
            .and_then(|of_size| {
                let (hash, _) = docent_ingest::hash_stable(&appeared.file.path).ok()?;
                take(of_size.get_mut(&hash), &|_| true)
            });
        match from {
            Some(known) => moves.push(Moved {
                known,
                file: appeared.file,
                look_again: false,
            }),
            None => left.push(appeared),
        }
    }
    Ok((moves, left))
}

/// Finds the files that the user had removed under another name. Returns them, and what else has
/// appeared. Blocking.
fn match_removed(
    removed: Vec<RemovedFile>,
    folders: &[Folder],
    appeared: Vec<Appeared>,
    cancel: &CancellationToken,
) -> Result<(Vec<RemovedMove>, Vec<Appeared>)> {
    let is_still_there = |path: &str, stamp: &docent_store::FileStamp| {
        docent_ingest::FileStamp::of(Path::new(path))
            .is_ok_and(|there| stamp.is_as(&stored_stamp(&there)))
    };
    // Gone from a disk that is there.
    let is_gone = |path: &Path| {
        let in_sight =
            |folder: &Folder| path.starts_with(&folder.path) && Path::new(&folder.path).is_dir();
        has_left(path) && folders.iter().any(in_sight)
    };
    let mut by_identity: HashMap<Stamped, (String, docent_store::FileStamp)> = HashMap::new();
    let mut by_content: HashMap<(u64, ContentHash), String> = HashMap::new();
    for file in removed {
        if let Some(content) = &file.content
            && is_gone(Path::new(&file.path))
        {
            by_content.insert(content.clone(), file.path.clone());
        }
        if let Some(stamp) = file.stamp
            && let Some(key) = stamped(&stamp)
            && !is_still_there(&file.path, &stamp)
        {
            by_identity.insert(key, (file.path, stamp));
        }
    }
    let sizes: HashSet<u64> = by_content.keys().map(|(bytes, _)| *bytes).collect();
    let mut moved = Vec::new();
    let mut others = Vec::new();
    for appeared in appeared {
        unless_stopped(cancel)?;
        let file = &appeared.file;
        let stamp = stored_stamp(&file.stamp());
        let from = if appeared.instead_of.is_some() {
            None
        } else if let Some((from, known)) = stamped(&stamp).and_then(|key| by_identity.get(&key))
            && known.born_with(&stamp) != Some(false)
        {
            Some(from.clone())
        } else if sizes.contains(&file.size_bytes)
            && let Ok((hash, read)) = docent_ingest::hash_stable(&file.path)
        {
            by_content.get(&(read.size_bytes, hash)).cloned()
        } else {
            None
        };
        match from {
            Some(from) => moved.push(RemovedMove {
                from,
                to: file.path.to_string_lossy().into_owned(),
                stamp,
            }),
            None => others.push(appeared),
        }
    }
    Ok((moved, others))
}

/// Whether there is nothing at a path any more.
pub(super) fn has_left(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    })
}

pub(super) fn found_document(file: &FoundFile, folder: FolderId) -> NewDocument {
    new_document(&file.path, stored_stamp(&file.stamp()), Some(folder))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn known(path: &str, born_ns: Option<i64>) -> KnownFile {
        KnownFile {
            id: DocumentId::generate(),
            folder: None,
            path: path.to_owned(),
            stamp: docent_store::FileStamp {
                size_bytes: 5,
                modified_at: None,
                modified_ns: Some(7),
                file_id: Some((1, 2)),
                born_ns,
            },
            has_failed: false,
        }
    }

    fn found(path: &str, born_ns: Option<i64>) -> Appeared {
        Appeared {
            file: FoundFile {
                path: PathBuf::from(path),
                size_bytes: 5,
                modified_at: Timestamp(0),
                modified_ns: 7,
                file_id: Some((1, 2)),
                born_ns,
            },
            instead_of: None,
        }
    }

    /// A system that deletes a file gives its inode to the next one.
    #[test]
    fn a_file_with_the_inode_of_another_is_not_that_one() {
        let cancel = CancellationToken::new();
        let moves = |before, now| {
            let sources = vec![Source {
                known: known("/report.txt", before),
                has_left: true,
            }];
            let appeared = vec![found("/contract.txt", now)];
            let (moves, left) = match_moves(sources, &HashMap::new(), appeared, &cancel).unwrap();
            assert_eq!(moves.len() + left.len(), 1);
            moves.first().map(|moved| moved.look_again)
        };
        assert_eq!(moves(Some(1), Some(2)), None, "made later");
        assert_eq!(moves(Some(1), Some(1)), Some(false));
        assert_eq!(moves(None, Some(1)), Some(true), "nobody knows");
        assert_eq!(moves(Some(1), None), Some(true));
        cancel.cancel();
        let appeared = vec![found("/contract.txt", None)];
        match_moves(Vec::new(), &HashMap::new(), appeared, &cancel).unwrap_err();
    }

    #[test]
    fn a_file_with_the_inode_of_a_removed_one_is_wanted() {
        let cancel = CancellationToken::new();
        let is_removed = |before, now| {
            let removed = RemovedFile {
                path: "/nowhere/report.txt".to_owned(),
                stamp: Some(known("", before).stamp),
                content: None,
            };
            let appeared = vec![found("/contract.txt", now)];
            let (moved, _) = match_removed(vec![removed], &[], appeared, &cancel).unwrap();
            !moved.is_empty()
        };
        assert!(is_removed(Some(1), Some(1)) && is_removed(None, Some(1)));
        assert!(!is_removed(Some(1), Some(2)));
    }
}
