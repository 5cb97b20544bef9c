//! Vectors: made batch by batch, each recorded at once, or copied from equal content.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use docent_domain::{
    ChunkKey, ContentHash, DocumentId, Language, Progress, Stage, Timestamp, WorkspaceId,
    WorkspaceScope,
};
use docent_index::{StoredVector, VectorEntry, WorkspaceIndex};
use docent_inference::EmbedKind;
use docent_store::{Claim, IndexEntry};
use roaring::RoaringBitmap;
use tokio_util::sync::CancellationToken;

use super::{Ran, Reader, stopped, unless};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::{OpenIndex, blocking};
use crate::search::header;

/// Chunks embedded between two looks at whether an answer wants the cores.
pub(crate) const EMBED_BATCH: usize = 16;

/// Vectors of equal content copied in one commit.
const COPY_BATCH: usize = 1000;

impl Engine {
    /// Makes the vectors that a document still lacks, batch by batch, each recorded at once.
    pub(crate) async fn embed(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let document = self.store().documents().get(scope, id).await?;
        let _alone = match document.content_hash {
            Some(hash) => {
                let content = (scope.workspace(), hash);
                Some(
                    unless(cancel, async {
                        Ok(self.reader().alone_with(content).await)
                    })
                    .await?,
                )
            }
            None => None,
        };
        loop {
            let open = self.open_index(scope).await?;
            match self.embed_with(&open, scope, claim, id, cancel).await {
                // Another embedder has taken over; what is missing now is missing from its vectors.
                Err(_) if !self.indexes().is_live(scope, &open.index).await => {}
                ran => return ran,
            }
        }
    }

    pub(crate) async fn embed_with(
        self: &Arc<Self>,
        open: &OpenIndex,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let chunks = self.store().chunks();
        let mut is_complete = self.copy_vectors(scope, claim, id, &open.index).await?;
        let mut made = false;
        loop {
            let batch = chunks
                .unembedded(scope, Some(id), EMBED_BATCH as u32)
                .await?;
            if batch.is_empty() {
                return Ok(if is_complete {
                    Ran::Recorded
                } else {
                    Ran::Finished
                });
            }
            if cancel.is_cancelled() {
                return Err(stopped());
            }
            // What a batch has made stays, so that a book holds up others for a batch alone.
            if made && self.gives_way(scope, claim).await? {
                return Ok(Ran::GaveWay);
            }
            // Of the document, not of this attempt: one that was stopped goes on where it was.
            let document = self.store().documents().get(scope, id).await?;
            let (done, total) = (document.embedded_count, document.chunk_count);
            if total as usize > EMBED_BATCH {
                let progress = Progress {
                    done: done.into(),
                    total: total.into(),
                };
                self.progress(scope, claim, Stage::Embedding, progress)
                    .await?;
            }
            let texts = batch.iter().map(embedded_text).collect();
            let turn = unless(cancel, async { Ok(self.reader().embedding.lock().await) }).await?;
            let cores = unless(cancel, async { Ok(self.cores().background().await) }).await?;
            let begun = Instant::now();
            let wanted = &self.reader().embedded;
            wanted.fetch_add(batch.len() as u64, Ordering::SeqCst);
            // Given up in the middle where that is wanted: a batch takes seconds.
            let embedded = async { Ok(open.embedder.embed(EmbedKind::Passage, texts).await?) };
            let vectors = unless(cancel, embedded).await?;
            let took = begun.elapsed();
            drop((cores, turn));
            self.reader().pace().note_embedded(batch.len(), took);
            let vectors = batch
                .iter()
                .zip(vectors)
                .map(|(entry, vector)| {
                    let vector = StoredVector {
                        key: entry.key,
                        dense: vector.dense,
                        sparse: vector.sparse,
                    };
                    (entry.language, vector)
                })
                .collect();
            is_complete = self
                .add_vectors(scope, claim, id, &open.index, vectors)
                .await?;
            made = true;
        }
    }

    /// Gives a document's chunks the vectors that equal content has already; returns whether that was
    /// the last of them, and ended the job.
    async fn copy_vectors(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<bool> {
        let mut is_complete = false;
        let twins = self.store().chunks().embedded_twins(scope, id).await?;
        for batch in twins.chunks(COPY_BATCH) {
            let keys: Vec<ChunkKey> = batch.iter().map(|(without, _)| *without).collect();
            let languages: HashMap<ChunkKey, Language> = self
                .store()
                .chunks()
                .entries_for_keys(scope, &keys)
                .await?
                .into_iter()
                .map(|entry| (entry.key, entry.language))
                .collect();
            let stored = {
                let index = Arc::clone(index);
                let wanted: RoaringBitmap = batch.iter().map(|(_, with)| with.0).collect();
                blocking(
                    "reading vectors",
                    move || Ok(index.stored_vectors(&wanted)?),
                )
                .await?
            };
            let stored: HashMap<ChunkKey, StoredVector> = stored
                .into_iter()
                .map(|vector| (vector.key, vector))
                .collect();
            let vectors: Vec<(Language, StoredVector)> = batch
                .iter()
                .filter_map(|(without, with)| {
                    let vector = StoredVector {
                        key: *without,
                        ..stored.get(with)?.clone()
                    };
                    Some((*languages.get(without)?, vector))
                })
                .collect();
            if vectors.is_empty() {
                continue;
            }
            is_complete = self.add_vectors(scope, claim, id, index, vectors).await?;
        }
        Ok(is_complete)
    }

    /// Puts vectors into the index, and records it. Returns whether the document lacks none any more,
    /// which ends the job.
    async fn add_vectors(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        index: &Arc<WorkspaceIndex>,
        vectors: Vec<(Language, StoredVector)>,
    ) -> Result<bool> {
        let keys: Vec<ChunkKey> = vectors.iter().map(|(_, vector)| vector.key).collect();
        let index = Arc::clone(index);
        let committing = self.reader().committing().await;
        // The rows speak of the vectors that answer.
        if !self.indexes().is_live(scope, &index).await {
            return Err(Error::new(
                Code::Overloaded,
                "another embedder has taken over meanwhile",
            ));
        }
        blocking("indexing vectors", move || {
            let entries: Vec<VectorEntry<'_>> = vectors
                .iter()
                .map(|(language, vector)| VectorEntry {
                    key: vector.key,
                    language: *language,
                    dense: &vector.dense,
                    sparse: vector.sparse.as_deref(),
                })
                .collect();
            Ok(index.add_vectors(&entries)?)
        })
        .await?;
        let marked = self
            .store()
            .chunks()
            .mark_embedded(scope, id, &keys, claim, Timestamp::now())
            .await;
        drop(committing);
        match marked {
            Ok(progress) => Ok(progress.is_complete()),
            Err(error) => {
                // The document was deleted or read again meanwhile; its vectors go with it.
                self.queue_words(scope, Vec::new(), &self.gone(scope, &keys).await?);
                Err(error.into())
            }
        }
    }

    /// Those of the keys that no row has any more.
    pub(super) async fn gone(
        &self,
        scope: &WorkspaceScope,
        keys: &[ChunkKey],
    ) -> Result<Vec<ChunkKey>> {
        let there = self.store().chunks().entries_for_keys(scope, keys).await?;
        Ok(keys
            .iter()
            .filter(|key| !there.iter().any(|entry| entry.key == **key))
            .copied()
            .collect())
    }
}

/// While it lives, no other lane makes vectors of this content.
pub(super) struct Alone<'a> {
    reader: &'a Reader,
    content: (WorkspaceId, ContentHash),
}

impl Reader {
    /// Waits until no other lane makes vectors of a content.
    async fn alone_with(&self, content: (WorkspaceId, ContentHash)) -> Alone<'_> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.contents().insert(content.clone()) {
                return Alone {
                    reader: self,
                    content,
                };
            }
            ended.await;
        }
    }

    fn contents(&self) -> MutexGuard<'_, HashSet<(WorkspaceId, ContentHash)>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.reader.contents().remove(&self.content);
    }
}

/// What the embedder reads of a chunk: where it stands, then its text.
pub(crate) fn embedded_text(entry: &IndexEntry) -> String {
    format!(
        "{}\n{}",
        header(&entry.title, &entry.heading_path),
        entry.text
    )
}
