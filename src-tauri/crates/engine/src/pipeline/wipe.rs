//! Removed text leaves the files too: the journal's pages, the indexes' segments and free pages.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{WorkspaceId, WorkspaceScope};
use docent_index::WorkspaceIndex;

use super::{RECORD_AGAIN, Reader};
use crate::engine::Engine;
use crate::error::Result;
use crate::indexes::blocking;

/// Removals are collected for so long before the files are rewritten without them.
const WIPE_DELAY: Duration = Duration::from_secs(2);

/// Rewriting takes at most one part in so many of the time, where much is removed from much,
const WIPE_SHARE: u32 = 20;

/// but what is removed waits for it no longer than this.
const WIPE_AT_LATEST: Duration = Duration::from_secs(45);

/// Where text that was removed may still be in files.
#[derive(Debug, Default)]
pub(super) struct ToWipe {
    rows: bool,
    pub(super) indexes: HashSet<WorkspaceId>,
    /// What the task at work on them has taken.
    under_way: HashSet<WorkspaceId>,
}

impl Reader {
    /// Has a workspace's index rewritten without what was removed.
    pub(crate) fn wipe_soon(&self, workspace: WorkspaceId) {
        self.to_wipe().indexes.insert(workspace);
        self.wipe.notify_one();
    }

    pub(super) fn wipe_rows_soon(&self) {
        self.to_wipe().rows = true;
        self.wipe.notify_one();
    }

    /// Whether the database, and how many indexes, may still hold text that was removed.
    pub(crate) fn unwiped(&self) -> (bool, usize) {
        let to_wipe = self.to_wipe();
        let indexes = to_wipe.indexes.union(&to_wipe.under_way).count();
        (to_wipe.rows, indexes)
    }

    pub(super) fn to_wipe(&self) -> std::sync::MutexGuard<'_, ToWipe> {
        self.to_wipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Sees to it that what was just removed is in no file any more: in the database's at once, in the
    /// index's in the background, where it costs more. Failing is no failure of the removal.
    pub(crate) async fn wipe_removed(&self, scope: &WorkspaceScope) {
        self.reader().wipe_soon(scope.workspace());
        self.wipe_removed_rows().await;
    }

    /// [`Engine::wipe_removed`] of what is in the database alone.
    pub(crate) async fn wipe_removed_rows(&self) {
        if !self.wipe_rows().await {
            self.reader().wipe_rows_soon();
        }
    }

    async fn wipe_rows(&self) -> bool {
        self.store().checkpoint().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the database's journal could not be emptied");
            false
        })
    }

    /// Where no jobs run: sees to it that what this process removed is in no file any more. `false`
    /// when some of it may still be; the next start goes on.
    pub async fn wipe_rest(&self) -> bool {
        self.reader().unwiped() == (false, 0) || self.wipe().await
    }

    pub(super) async fn wipe_in_time(self: Arc<Self>) {
        while !self.stopping().is_cancelled() {
            tokio::select! {
                () = self.reader().wipe.notified() => {}
                () = self.stopping().cancelled() => return,
            }
            // One rewriting serves all that is removed within this time.
            self.pause(WIPE_DELAY).await;
            let begun = Instant::now();
            if !self.wipe().await {
                self.pause(RECORD_AGAIN).await;
                self.reader().wipe.notify_one();
            }
            let rest = begun.elapsed().saturating_mul(WIPE_SHARE);
            self.pause(rest.min(WIPE_AT_LATEST)).await;
        }
    }

    /// Rewrites what holds text that was removed. `false` when some of it may still be there.
    pub(crate) async fn wipe(&self) -> bool {
        let taken = {
            let mut to_wipe = self.reader().to_wipe();
            to_wipe.under_way = std::mem::take(&mut to_wipe.indexes);
            to_wipe.rows = true;
            to_wipe.under_way.clone()
        };
        let mut all = self.wipe_rows().await;
        self.reader().to_wipe().rows = !all;
        for workspace in taken {
            let wiped = self.wipe_index(&WorkspaceScope::new(workspace)).await;
            let mut to_wipe = self.reader().to_wipe();
            to_wipe.under_way.remove(&workspace);
            match wiped {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "what was removed is still in the index's files");
                }
            }
            to_wipe.indexes.insert(workspace);
            all = false;
        }
        all
    }

    /// Rewrites an index, all its generations of vectors, without what was removed. `false` when some
    /// of it may still be there.
    pub(super) async fn wipe_index(&self, scope: &WorkspaceScope) -> Result<bool> {
        let known = self.store().workspaces().list().await?;
        if known.iter().all(|known| known.id != scope.workspace()) {
            // It was in use when its workspace was deleted.
            return Ok(self.indexes().destroy(scope).await);
        }
        // What waits to be removed is to be gone as well.
        self.flush_words_of(scope).await?;
        let index = self.index_as_it_is(scope).await?;
        // Before the note that there is something to wipe goes.
        let swept = {
            let mut changing = self.changes().interrupt().await;
            self.sweep(&mut changing, scope, &index).await?
        };
        self.indexes().note_write(scope);
        let forget = |index: Arc<WorkspaceIndex>| {
            blocking("wiping what was removed", move || {
                Ok(index.forget_removed()?)
            })
        };
        if forget(Arc::clone(&index)).await? {
            return Ok(swept);
        }
        // Commits came in between. Now they wait for it.
        let _committing = self.reader().committing().await;
        Ok(forget(index).await? && swept)
    }
}
