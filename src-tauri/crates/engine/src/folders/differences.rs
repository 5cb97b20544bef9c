//! Holding a folder's rows against its files.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use docent_domain::{DocumentId, Folder, WorkspaceScope};
use docent_ingest::{FoundFile, Patterns, ScanError, ScanOptions, Seen};
use docent_store::{KnownFile, RemovedFile};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::moves::has_left;
use crate::documents::stored_stamp;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::indexes::blocking;

/// Rows, and files, that a scan holds in memory at once.
const KNOWN_PAGE: u32 = 2000;
const FOUND_BATCH: usize = 1000;

/// What differs between the rows and the disk.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// New, or not as they were.
    pub appeared: Vec<Appeared>,
    pub gone: Vec<Gone>,
    /// Rows of the folder's own.
    pub known: usize,
    /// Files that the user has removed.
    pub removed: u64,
    /// Those that are not as they were seen last.
    pub removed_seen: Vec<(String, docent_store::FileStamp)>,
    /// Those of `appeared` that could not be opened, and are not news until they can be.
    closed: Vec<Appeared>,
    /// Rows of files that were added by hand, which may lie where no scan looks.
    unseen: Vec<Gone>,
}

#[derive(Debug)]
pub(super) struct Appeared {
    pub file: FoundFile,
    /// What was known at its path.
    pub instead_of: Option<KnownFile>,
}

/// A row without a file that is wanted.
#[derive(Debug)]
pub(super) struct Gone {
    pub file: KnownFile,
    /// The patterns leave it out, whether it is there or not.
    pub is_unwanted: bool,
}

impl Gone {
    pub fn by_hand(&self) -> Option<DocumentId> {
        self.file.folder.is_none().then_some(self.file.id)
    }

    pub fn unwanted(&self) -> Option<DocumentId> {
        (self.file.folder.is_some() && self.is_unwanted).then_some(self.file.id)
    }

    pub fn vanished(&self) -> Option<DocumentId> {
        (self.file.folder.is_some() && !self.is_unwanted).then_some(self.file.id)
    }
}

impl Difference {
    fn present(&mut self, file: FoundFile, known: Option<KnownFile>) {
        let Some(known) = known else {
            self.appeared.push(Appeared {
                file,
                instead_of: None,
            });
            return;
        };
        self.known += usize::from(known.folder.is_some());
        // Unsettled ones are left to their job, which looks at the file itself.
        if known.stamp.is_as(&stored_stamp(&file.stamp())) {
            return;
        }
        // One that could not be opened has no time of change.
        let was_closed = known.has_failed && known.stamp.modified_ns.is_none();
        let appeared = Appeared {
            file,
            instead_of: Some(known),
        };
        if was_closed {
            self.closed.push(appeared);
        } else {
            self.appeared.push(appeared);
        }
    }

    fn leave_out(&mut self, removed: &RemovedFile, file: &FoundFile) {
        self.removed += 1;
        let stamp = stored_stamp(&file.stamp());
        if !removed.stamp.is_some_and(|before| before.is_as(&stamp)) {
            self.removed_seen.push((removed.path.clone(), stamp));
        }
    }

    fn absent(&mut self, file: KnownFile, patterns: &Patterns) {
        self.known += usize::from(file.folder.is_some());
        let path = Path::new(&file.path);
        let is_unwanted = file.folder.is_some() && patterns.leave_out(path);
        let is_ours = file.folder.is_some();
        let gone = Gone { file, is_unwanted };
        if is_ours {
            self.gone.push(gone);
        } else {
            self.unseen.push(gone);
        }
    }

    /// Looks at the files that the walk does not tell enough about. Blocking.
    fn look(&mut self) {
        let opens = |appeared: &Appeared| File::open(&appeared.file.path).is_ok();
        self.appeared
            .extend(std::mem::take(&mut self.closed).into_iter().filter(opens));
        let has_left = |gone: &Gone| has_left(Path::new(&gone.file.path));
        self.gone.extend(
            std::mem::take(&mut self.unseen)
                .into_iter()
                .filter(has_left),
        );
    }
}

/// The rows of a folder in the order of their paths, a page at a time.
struct KnownFiles<'a> {
    engine: &'a Engine,
    scope: &'a WorkspaceScope,
    folder: &'a Folder,
    page: VecDeque<KnownFile>,
    last: String,
    is_last_page: bool,
}

impl<'a> KnownFiles<'a> {
    fn of(engine: &'a Engine, scope: &'a WorkspaceScope, folder: &'a Folder) -> Self {
        Self {
            engine,
            scope,
            folder,
            page: VecDeque::new(),
            last: String::new(),
            is_last_page: false,
        }
    }

    async fn next_if(
        &mut self,
        wanted: impl FnOnce(&KnownFile) -> bool,
    ) -> Result<Option<KnownFile>> {
        if self.page.is_empty() && !self.is_last_page {
            let documents = self.engine.store().documents();
            let page = documents
                .known_files(self.scope, self.folder, &self.last, KNOWN_PAGE)
                .await?;
            self.is_last_page = page.len() < KNOWN_PAGE as usize;
            if let Some(last) = page.last() {
                self.last.clone_from(&last.path);
            }
            self.page = page.into();
        }
        Ok(match self.page.front() {
            Some(first) if wanted(first) => self.page.pop_front(),
            _ => None,
        })
    }
}

/// Blocking. Ends as cancelled when nobody wants the batches any more.
fn walk_in_batches(
    root: &Path,
    options: &ScanOptions,
    cancel: &CancellationToken,
    found: &mpsc::Sender<Vec<FoundFile>>,
) -> std::result::Result<Seen, ScanError> {
    let mut batch = Vec::new();
    let seen = docent_ingest::walk(root, options, cancel, |file| {
        batch.push(file);
        if batch.len() < FOUND_BATCH {
            return ControlFlow::Continue(());
        }
        match found.blocking_send(std::mem::take(&mut batch)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    found
        .blocking_send(batch)
        .map_err(|_| ScanError::Cancelled)?;
    Ok(seen)
}

impl Engine {
    /// Holds the folder's rows against its files, both in the order of their paths, so that only the
    /// differences are kept in memory.
    pub(super) async fn compare(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        folder: &Folder,
        patterns: &Patterns,
        removed: &HashMap<String, RemovedFile>,
        cancel: &CancellationToken,
    ) -> Result<std::result::Result<(Difference, Seen), ScanError>> {
        let (found, mut batches) = mpsc::channel::<Vec<FoundFile>>(2);
        let walk = {
            let root = PathBuf::from(&folder.path);
            let options = ScanOptions {
                include: folder.patterns.include.clone(),
                exclude: folder.patterns.exclude.clone(),
                ..ScanOptions::default()
            };
            let cancel = cancel.clone();
            tokio::task::spawn_blocking(move || walk_in_batches(&root, &options, &cancel, &found))
        };
        let mut difference = Difference::default();
        let mut known = KnownFiles::of(self, scope, folder);
        while let Some(batch) = batches.recv().await {
            for file in batch {
                let path = file.path.to_string_lossy();
                if let Some(removed) = removed.get(path.as_ref()) {
                    difference.leave_out(removed, &file);
                    continue;
                }
                while let Some(before) = known.next_if(|known| known.path.as_str() < &*path).await?
                {
                    difference.absent(before, patterns);
                }
                let same = known.next_if(|known| known.path == path).await?;
                difference.present(file, same);
            }
        }
        let walked = walk
            .await
            .map_err(|error| Error::internal("comparing a folder with the disk", error))?;
        let seen = match walked {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        while let Some(rest) = known.next_if(|_| true).await? {
            difference.absent(rest, patterns);
        }
        let difference = blocking("looking at the files of a folder", move || {
            difference.look();
            Ok(difference)
        })
        .await?;
        Ok(Ok((difference, seen)))
    }
}
