//! A scan: what follows from the difference between the rows and the disk, and when.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use docent_domain::{DocumentId, FolderId, FolderState, ScanSummary, Timestamp, WorkspaceScope};
use docent_ingest::{LeftOut, Patterns, ScanError, Seen};
use docent_store::{NewDocument, Registered, RemovedFile, RootIdentity};
use tokio_util::sync::CancellationToken;

use super::differences::{Difference, Gone};
use super::moves::found_document;
use super::watching::Missed;
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::pipeline::Rest;
use crate::types::Topic;

/// Fewer files than this may vanish at once without a question, whatever share they are.
const FEW_FILES: usize = 5;

/// Files registered, or removed, in one transaction: nobody else writes meanwhile.
const BATCH: usize = 1000;

/// A folder whose files may have moved to another one is scanned again so long after that one's scan
/// is due, which then goes first however long it takes.
const AFTER_OTHERS: Duration = Duration::from_millis(500);

/// What has vanished waits so long for the scans of other folders to begin, and as long again for them
/// to end.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

const GONE_BY_HAND: &str = "The file is not there any more. What was read of it is kept, and stays \
    in the search until you remove the document here; when the file is back, it is read again.";

impl Engine {
    /// Compares a folder with the disk and queues what follows from the difference.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        id: FolderId,
        cancel: &CancellationToken,
    ) -> Result<Scanned> {
        let missed = self.watching().take_missed(id);
        let ended = self.scan_for(scope, id, missed, cancel).await;
        // However a scan ends, the next one looks for what this one missed, and for nothing else.
        let (scanned, missed) = match ended {
            Ok((scanned, missed)) => (Ok(scanned), missed),
            Err(error) => (Err(error), None),
        };
        self.watching().set_missed(id, missed);
        scanned
    }

    /// Returns what has vanished and is to be looked for once more, if anything.
    async fn scan_for(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        id: FolderId,
        missed: Option<Missed>,
        cancel: &CancellationToken,
    ) -> Result<(Scanned, Option<Missed>)> {
        let begun = Instant::now();
        let folder = self.store().folders().get(scope, id).await?;
        let patterns = Patterns::new(
            Path::new(&folder.path),
            &folder.patterns.include,
            &folder.patterns.exclude,
        )
        .map_err(|error| Error::invalid(error.to_string()))?;
        let removed: HashMap<String, RemovedFile> = self
            .store()
            .documents()
            .removed_files(scope)
            .await?
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        let compared = self.compare(scope, &folder, &patterns, &removed, cancel);
        let (mut difference, seen) = match compared.await? {
            Ok(compared) => compared,
            Err(ScanError::Cancelled) => return Err(stopped()),
            Err(error) => {
                let reason =
                    format!("{error}. Its documents are kept until it is back or removed here.");
                self.set_folder_state(scope, id, FolderState::Paused, Some(&reason), None)
                    .await?;
                return Ok((Scanned::Done, None));
            }
        };
        let moved = self
            .move_files(scope, &folder, &mut difference, &seen, cancel)
            .await?;
        self.leave_out_removed(scope, &folder, removed, &mut difference, cancel)
            .await?;
        let rest = Rest::of(self.config());
        let now = Timestamp::now();
        let mut queued = 0;
        let mut appeared = std::mem::take(&mut difference.appeared).into_iter();
        while appeared.len() > 0 {
            unless_stopped(cancel)?;
            let batch: Vec<NewDocument> = appeared
                .by_ref()
                .take(BATCH)
                .map(|appeared| NewDocument {
                    read_after: rest.read_after(&appeared.file.stamp(), now),
                    ..found_document(&appeared.file, id)
                })
                .collect();
            let registered = self
                .store()
                .documents()
                .register_all(scope, &batch, Timestamp::now())
                .await?;
            queued += registered
                .iter()
                .filter(|(_, result)| *result != Registered::Unchanged)
                .count();
            self.ring();
        }
        let Difference { gone, .. } = &difference;
        let by_hand: Vec<DocumentId> = gone.iter().filter_map(Gone::by_hand).collect();
        for batch in by_hand.chunks(BATCH) {
            unless_stopped(cancel)?;
            let documents = self.store().documents();
            documents
                .mark_gone(scope, batch, GONE_BY_HAND, Timestamp::now())
                .await?;
        }
        // Wherever the others are, these are not wanted.
        let unwanted: Vec<DocumentId> = gone.iter().filter_map(Gone::unwanted).collect();
        self.remove_documents(scope, &unwanted, None, cancel)
            .await?;
        if !unwanted.is_empty() {
            // Another folder that holds them may want them.
            self.scan_overlapping(scope, &folder).await?;
        }
        let vanished: Vec<DocumentId> = gone.iter().filter_map(Gone::vanished).collect();
        tracing::debug!(folder = %folder.path, queued, moved, gone = vanished.len(), unwanted = unwanted.len(), "scanned");

        let took = begun.elapsed();
        let summary = summary_of(&seen, &difference, took);
        self.watching().note_scan(id, took);
        let scanned = (Timestamp::now(), summary);
        if !seen.complete {
            let reason = match seen.unreadable.first() {
                Some((path, why)) => format!(
                    "{} of its files or folders cannot be read, the first is {}: {why}. \
                     Nothing that is gone is removed until all of it can be read.",
                    seen.unreadable.len(),
                    path.display()
                ),
                None => {
                    "it could not be read completely; nothing is removed until it can".to_owned()
                }
            };
            self.set_folder_state(
                scope,
                id,
                FolderState::Incomplete,
                Some(&reason),
                Some(scanned),
            )
            .await?;
            return Ok((Scanned::Done, None));
        }
        let vanished: HashSet<DocumentId> = vanished.into_iter().collect();
        let missed = missed
            .map(|missed| missed.still_of(&vanished))
            .filter(|missed| !missed.documents.is_empty());
        let wait = match &missed {
            Some(missed) => self.wait_for_others(scope, id, missed).await?,
            None => None,
        };
        if let Some(wait) = wait {
            return Ok((Scanned::Again(wait), missed));
        }
        let (twice, since) = missed.map_or_else(
            || (HashSet::new(), Instant::now()),
            |missed| (missed.documents, missed.since),
        );
        let once: HashSet<DocumentId> = vanished.difference(&twice).copied().collect();

        let folders = self.store().folders();
        let wanted = difference.known - unwanted.len();
        // It may have been given while the scan was under way.
        let accepted = folders.accepted(scope, id).await?;
        let root = RootIdentity {
            inode: seen.root_inode,
            born_ns: seen.root_born_ns,
        };
        let known_root = folders.root(scope, id).await?;
        let is_another = known_root.differs_from(&root);
        if is_to_be_asked(vanished.len(), wanted, accepted as usize, is_another) {
            // While more vanishes, there is more to ask about, or it is on its way elsewhere.
            if !once.is_empty() && since.elapsed() < LONGEST_WAIT {
                return self.look_once_more(scope, id, vanished, since).await;
            }
            let reason = format!(
                "{} of {wanted} files are gone at once{}. Nothing was removed. If that is right, \
                 resume the folder; if not, bring the files back.",
                vanished.len(),
                if is_another {
                    ", and another folder is in the place of this one"
                } else {
                    ""
                },
            );
            let gone = vanished.len() as u64;
            folders
                .ask(scope, id, gone, accepted, &reason, scanned)
                .await?;
            self.changed(Topic::Folders, Some(scope.workspace()));
            self.changed(Topic::Documents, Some(scope.workspace()));
            return Ok((Scanned::Done, None));
        }
        let mut twice: Vec<DocumentId> = twice.into_iter().collect();
        twice.sort_unstable();
        self.remove_documents(scope, &twice, Some(id), cancel)
            .await?;
        if !once.is_empty() {
            self.changed(Topic::Documents, Some(scope.workspace()));
            return self.look_once_more(scope, id, once, Instant::now()).await;
        }
        if known_root != root {
            folders.note_root(scope, id, &root).await?;
        }
        self.set_folder_state(
            scope,
            id,
            FolderState::Watching,
            left_out(&seen).as_deref(),
            Some(scanned),
        )
        .await?;
        Ok((Scanned::Done, None))
    }

    /// Ends a scan with a second look at what has vanished: a file that moves while a scan is under way
    /// may be in neither place, and one that moved to another folder turns up when that is scanned.
    /// Such scans that rest for long are due sooner.
    async fn look_once_more(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        documents: HashSet<DocumentId>,
        since: Instant,
    ) -> Result<(Scanned, Option<Missed>)> {
        let by = Timestamp(Timestamp::now().0 + LONGEST_WAIT.as_millis() as i64);
        let others = self.store().folders().hasten_others(scope, id, by).await?;
        let wait = others.iter().map(|(_, due)| until_after(*due)).max();
        let missed = Missed {
            documents,
            since,
            others: others.into_iter().map(|(other, _)| other).collect(),
        };
        Ok((Scanned::Again(wait.unwrap_or_default()), Some(missed)))
    }

    /// How long to wait yet for the scans of other folders that may find what was missed.
    async fn wait_for_others(
        &self,
        scope: &WorkspaceScope,
        id: FolderId,
        missed: &Missed,
    ) -> Result<Option<Duration>> {
        let waited = missed.since.elapsed();
        if missed.others.is_empty() || waited >= LONGEST_WAIT * 2 {
            return Ok(None);
        }
        let left = LONGEST_WAIT.saturating_sub(waited);
        let by = Timestamp(Timestamp::now().0 + left.as_millis() as i64);
        let pending = self.store().folders().hasten_others(scope, id, by).await?;
        Ok(pending
            .into_iter()
            .filter(|(other, _)| missed.others.contains(other))
            .filter(|(other, _)| !self.watching().was_looked_at(*other, missed.since))
            .map(|(_, due)| until_after(due))
            .max())
    }

    /// Removes documents from the rows, the search and the files; those that have vanished from a
    /// folder with the consent to that.
    pub(super) async fn remove_documents(
        &self,
        scope: &WorkspaceScope,
        ids: &[DocumentId],
        vanished_from: Option<FolderId>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let removed = self.remove_rows(scope, ids, vanished_from, cancel).await;
        self.flush_words_or_later().await;
        self.wipe_removed(scope).await;
        removed
    }

    async fn remove_rows(
        &self,
        scope: &WorkspaceScope,
        ids: &[DocumentId],
        vanished_from: Option<FolderId>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let documents = self.store().documents();
        let mut left = ids.len() as u64;
        for batch in ids.chunks(BATCH) {
            unless_stopped(cancel)?;
            left -= batch.len() as u64;
            let removed = match vanished_from {
                Some(folder) => {
                    documents
                        .delete_vanished(scope, folder, batch, left)
                        .await?
                }
                None => documents.delete_all(scope, batch).await?,
            };
            self.queue_words(scope, Vec::new(), &removed);
        }
        Ok(())
    }
}

/// Whether so much of a folder is gone at once that the user is asked first: most of it, or anything when
/// another folder is in its place. What was consented to counts neither as gone nor as wanted.
fn is_to_be_asked(vanished: usize, wanted: usize, accepted: usize, is_another: bool) -> bool {
    let vanished = vanished.saturating_sub(accepted);
    let is_most = vanished >= FEW_FILES && vanished * 2 > wanted.saturating_sub(accepted);
    is_most || (is_another && vanished > 0)
}

/// From now until a scan that is due then has begun.
fn until_after(due: Timestamp) -> Duration {
    let left = due.0.saturating_sub(Timestamp::now().0).max(0);
    Duration::from_millis(left as u64) + AFTER_OTHERS
}

fn stopped() -> Error {
    Error::new(Code::Internal, "stopped")
}

/// Fails when the scan has been stopped.
pub(super) fn unless_stopped(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() {
        return Err(stopped());
    }
    Ok(())
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    Done,
    /// What vanished is removed when it is not there after this either.
    Again(Duration),
}

fn summary_of(seen: &Seen, difference: &Difference, took: Duration) -> ScanSummary {
    let LeftOut {
        excluded,
        not_included,
        hidden,
        temporary,
        special,
    } = seen.left_out;
    ScanSummary {
        files: (seen.files as u64).saturating_sub(difference.removed),
        excluded,
        not_included,
        hidden,
        temporary,
        special,
        removed: difference.removed,
        took_ms: took.as_millis() as u64,
    }
}

/// What a scan saw and cannot list as documents, in a sentence.
fn left_out(seen: &Seen) -> Option<String> {
    let (path, why) = seen.skipped.first()?;
    Some(match seen.left_out.special {
        1 => format!("{} is left out: {why}.", path.display()),
        count => format!(
            "{count} of its entries are left out, the first is {}: {why}.",
            path.display()
        ),
    })
}
