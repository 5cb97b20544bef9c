//! Words on their way into the indexes: collected, committed together, kept when that fails.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{ChunkKey, WorkspaceId, WorkspaceScope};
use docent_index::WorkspaceIndex;
use roaring::RoaringBitmap;

use super::{RECORD_AGAIN, Reader, is_full};
use crate::engine::Engine;
use crate::error::{Code, Result};
use crate::indexes::blocking;
use crate::types::Topic;

/// New chunks whose words are put into an index in one commit, which takes some 20 ms however few
/// they are.
const WORDS_BATCH: usize = 512;

/// Words wait no longer than this for more to come.
const WORDS_DELAY: Duration = Duration::from_millis(400);

/// Changes to an index that wait to be committed together.
#[derive(Debug)]
pub(super) struct PendingWords {
    added: Vec<ChunkKey>,
    removed: RoaringBitmap,
    since: Instant,
}

/// Changes taken for a commit. What is left of them when the commit ends, or nobody waits for it
/// any more, goes on waiting.
struct TakenWords<'a> {
    reader: &'a Reader,
    left: HashMap<WorkspaceId, PendingWords>,
}

impl Drop for TakenWords<'_> {
    fn drop(&mut self) {
        for (workspace, words) in self.left.drain() {
            self.reader.wait_on(workspace, words);
        }
    }
}

impl Reader {
    pub(super) fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, PendingWords>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what waits to be committed.
    fn wait_on(&self, workspace: WorkspaceId, new: PendingWords) {
        match self.pending().entry(workspace) {
            Entry::Occupied(mut waiting) => {
                let waiting = waiting.get_mut();
                waiting.added.extend(new.added);
                waiting.removed |= new.removed;
            }
            Entry::Vacant(place) => {
                place.insert(new);
            }
        }
    }

    pub(super) fn words_failed(&self) -> std::sync::MutexGuard<'_, HashSet<WorkspaceId>> {
        self.words_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Notes changes for the word index; [`Engine::flush_words`] commits them.
    pub(crate) fn queue_words(
        &self,
        scope: &WorkspaceScope,
        added: Vec<ChunkKey>,
        removed: &[ChunkKey],
    ) {
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let pending = PendingWords {
            added,
            removed: removed.iter().map(|key| key.0).collect(),
            since: Instant::now(),
        };
        self.reader().wait_on(scope.workspace(), pending);
        if !removed.is_empty() {
            self.reader().wipe_soon(scope.workspace());
        }
    }

    /// As [`Engine::queue_words`], for documents whose titles have changed: their rows say so.
    pub(crate) fn queue_rewording(&self, scope: &WorkspaceScope) {
        let pending = PendingWords {
            added: Vec::new(),
            removed: RoaringBitmap::new(),
            since: Instant::now(),
        };
        self.reader().wait_on(scope.workspace(), pending);
    }

    /// Commits what waits for the indexes. Visible on return. What cannot be committed goes on
    /// waiting, and fails this after all the others.
    pub(crate) async fn flush_words(&self) -> Result<()> {
        self.reader().words_failed().clear();
        self.flush_words_where(|_| true).await
    }

    /// [`Engine::flush_words`] of one workspace; what another one lacks is no failure here.
    pub(crate) async fn flush_words_of(&self, scope: &WorkspaceScope) -> Result<()> {
        self.flush_words_where(|workspace| workspace == scope.workspace())
            .await
    }

    async fn flush_words_where(&self, wanted: impl Fn(WorkspaceId) -> bool) -> Result<()> {
        let _committing = self.reader().committing().await;
        let mut taken = {
            let mut pending = self.reader().pending();
            let (now, later) = std::mem::take(&mut *pending)
                .into_iter()
                .partition(|(workspace, _)| wanted(*workspace));
            *pending = later;
            TakenWords {
                reader: self.reader(),
                left: now,
            }
        };
        let workspaces: Vec<WorkspaceId> = taken.left.keys().copied().collect();
        let mut failed = None;
        for workspace in workspaces {
            let pending = &taken.left[&workspace];
            match self.commit(&WorkspaceScope::new(workspace), pending).await {
                Ok(()) => self.changed(Topic::Documents, Some(workspace)),
                // A workspace deleted in the meantime has no index to keep.
                Err(error) if error.code() == Code::NotFound => {}
                Err(error) => {
                    self.reader().words_failed().insert(workspace);
                    failed.get_or_insert(error);
                    continue;
                }
            }
            taken.left.remove(&workspace);
        }
        failed.map_or(Ok(()), Err)
    }

    /// For the lock's holder.
    pub(super) async fn commit(
        &self,
        scope: &WorkspaceScope,
        pending: &PendingWords,
    ) -> Result<()> {
        let index = self.index_as_it_is(scope).await?;
        self.mend_index(scope, &index).await?;
        if !pending.removed.is_empty() {
            self.indexes().note_write(scope);
            let (index, removed) = (Arc::clone(&index), pending.removed.clone());
            blocking(
                "removing from an index",
                move || Ok(index.remove(&removed)?),
            )
            .await?;
        }
        if !pending.added.is_empty() {
            self.add_words(scope, &index, &pending.added).await?;
        }
        self.reword(scope, &index).await
    }

    /// Puts the words of documents that have another title now into the index again, under the same
    /// keys: the title stands in front of each chunk.
    pub(crate) async fn reword(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<()> {
        let documents = self.store().documents();
        let retitled = documents.retitled(scope).await?;
        if retitled.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::new();
        for document in &retitled {
            let chunks = self.store().chunks();
            keys.extend(chunks.keys_of_document(scope, document.id).await?);
        }
        for batch in keys.chunks(WORDS_BATCH) {
            self.add_words(scope, index, batch).await?;
        }
        documents.mark_reworded(scope, &retitled).await?;
        Ok(())
    }

    /// Commits what waits once it is much, or has waited for long.
    pub(super) async fn flush_words_if_due(&self, scope: &WorkspaceScope) {
        let is_due = self
            .reader()
            .pending()
            .get(&scope.workspace())
            .is_some_and(|pending| {
                pending.added.len() >= WORDS_BATCH || pending.since.elapsed() >= WORDS_DELAY
            });
        if is_due {
            self.flush_words_or_later().await;
        }
    }

    /// Commits what waits for the indexes, unless that has just failed. The rows have it, so that
    /// failing now fails nobody: it is tried again.
    pub(crate) async fn flush_words_or_later(&self) {
        if self.reader().pending().is_empty() {
            return;
        }
        let failed = self.reader().words_failed().clone();
        let flushed = self.flush_words_where(|workspace| !failed.contains(&workspace));
        if let Err(error) = flushed.await {
            tracing::warn!(%error, "words are indexed later");
        }
    }

    pub(super) async fn flush_words_in_time(self: Arc<Self>) {
        while !self.stopping().is_cancelled() {
            self.pause(WORDS_DELAY).await;
            let mut failed = None;
            if !self.reader().pending().is_empty() {
                failed = self.flush_words().await.err();
            }
            for scope in self.indexes().damaged().await {
                failed = self.open_index(&scope).await.err().or(failed);
            }
            if let Some(error) = failed {
                tracing::warn!(%error, "an index is not up to date yet");
                if is_full(&error) {
                    self.reader().note_disk_full(true);
                }
                self.pause(RECORD_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::at_rest;

    #[tokio::test]
    async fn words_wait_on_when_nobody_waits_for_their_commit() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        engine.queue_words(&scope, vec![ChunkKey(7)], &[ChunkKey(3)]);
        {
            let flush = std::pin::pin!(engine.flush_words());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(flush.poll(&mut context).is_pending());
            assert!(engine.reader().pending().is_empty(), "control");
        }
        {
            let pending = engine.reader().pending();
            let left = &pending[&scope.workspace()];
            assert_eq!(left.added, [ChunkKey(7)]);
            assert!(left.removed.contains(3));
        }
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn a_workspace_whose_index_cannot_be_opened_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        let broken = engine.create_workspace("Bez mjesta", None).await.unwrap();
        let broken = WorkspaceScope::new(broken.id);
        let place = folder.path().join("data/indexes");
        std::fs::write(place.join(broken.workspace().to_string()), "in the way").unwrap();
        engine.queue_words(&broken, Vec::new(), &[]);
        assert!(
            engine.reader().pending().is_empty(),
            "nothing is to be done"
        );

        engine.queue_words(&broken, Vec::new(), &[ChunkKey(7)]);
        engine.queue_words(&scope, Vec::new(), &[ChunkKey(3)]);
        engine.flush_words().await.expect_err("control");
        engine.queue_words(&scope, Vec::new(), &[ChunkKey(4)]);
        engine.flush_words_of(&scope).await.unwrap();
        assert!(engine.wipe_index(&scope).await.unwrap());
        let waiting: Vec<_> = engine.reader().pending().keys().copied().collect();
        assert_eq!(waiting, [broken.workspace()]);
        engine.shutdown().await;
    }
}
