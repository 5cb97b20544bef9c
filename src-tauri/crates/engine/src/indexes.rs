//! The open indexes, one per workspace, each brought to agree with the rows when it is opened.
//!
//! Chunk keys are never reused and a chunk's text never changes, so an index agrees with the rows
//! when it holds the same keys. Words are made again from the rows at once; vectors that are
//! missing are made again by jobs. Damage therefore costs time, never data.
//!
//! Only questions and new vectors need the embedder. Without it an index is opened as what it says it
//! is, so that what is removed is wiped, and another embedder's vectors can answer instead.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{ChunkKey, Timestamp, WorkspaceId, WorkspaceScope};
use docent_index::{Generation, VectorSpec, WordEntry, WorkspaceIndex};
use docent_inference::Embedder;
use roaring::RoaringBitmap;
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::retrieve;
use crate::search::header;
use crate::types::Topic;

/// Chunks whose words are put into an index in one commit while it is rebuilt.
const REBUILD_BATCH: usize = 2000;

/// An index that is in use is tried to be removed so many times at once, with such pauses.
const DESTROY_ATTEMPTS: u32 = 5;
const DESTROY_AGAIN: Duration = Duration::from_millis(100);

/// A workspace's index with the embedder whose vectors it holds. Who has one goes on with these two,
/// also when another embedder takes over meanwhile.
#[derive(Clone)]
pub(crate) struct OpenIndex {
    pub index: Arc<WorkspaceIndex>,
    pub embedder: Arc<dyn Embedder>,
    /// Its catalog id.
    pub embedder_id: String,
    general: Arc<OnceCell<Arc<Vec<Vec<f32>>>>>,
}

impl OpenIndex {
    /// What unrelated text looks like to the embedder; made at first use.
    pub(crate) async fn general(&self) -> Result<Arc<Vec<Vec<f32>>>> {
        let vectors = self
            .general
            .get_or_try_init(|| async {
                Ok::<_, Error>(Arc::new(
                    retrieve::general_background(&self.embedder).await?,
                ))
            })
            .await?;
        Ok(Arc::clone(vectors))
    }
}

/// The index that answers, and the catalog id of the embedder that its vectors should be of.
#[derive(Clone)]
struct Live {
    index: Arc<WorkspaceIndex>,
    embedder: String,
}

/// A workspace's index, once it is open.
#[derive(Default)]
struct Entry {
    live: OnceCell<Live>,
    /// Cancelled when the workspace goes.
    gone: CancellationToken,
}

type Vectors = Arc<Vec<Vec<f32>>>;

pub(crate) struct Indexes {
    root: PathBuf,
    open: Mutex<HashMap<WorkspaceId, Arc<Entry>>>,
    /// Those that were mended and are not filled again yet.
    emptied: SyncMutex<HashSet<WorkspaceId>>,
    /// When those were written to last whose writer has not given its memory back since.
    written: SyncMutex<HashMap<WorkspaceId, Instant>>,
    /// By the embedder's fingerprint.
    general: Mutex<HashMap<String, Arc<OnceCell<Vectors>>>>,
}

/// The chunks of a workspace, as its index and its rows have them.
pub(crate) struct Keys {
    /// With words in the index.
    pub words: RoaringBitmap,
    /// With a vector in the index.
    pub vectors: RoaringBitmap,
    /// With a row.
    pub wanted: RoaringBitmap,
    /// With a row that says that the vector is still to come.
    pub waiting: RoaringBitmap,
}

/// What reconciling an index with the rows had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    pub words_added: u64,
    pub words_removed: u64,
    pub vectors_removed: u64,
    /// Vectors that the index had and the rows did not know of, since the process ended in between.
    pub vectors_found: u64,
    /// Vectors that the rows believed in and the index did not have; they are made again.
    pub vectors_lost: u64,
}

impl Indexes {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            open: Mutex::default(),
            emptied: SyncMutex::default(),
            written: SyncMutex::default(),
            general: Mutex::default(),
        }
    }

    fn folder(&self, scope: &WorkspaceScope) -> PathBuf {
        self.root.join(scope.workspace().to_string())
    }

    /// Bytes on the disk of a generation of vectors.
    pub(crate) fn generation_bytes(&self, scope: &WorkspaceScope, number: u32) -> u64 {
        WorkspaceIndex::bytes_of(&self.folder(scope), Generation(number))
    }

    async fn entry(&self, scope: &WorkspaceScope) -> Arc<Entry> {
        Arc::clone(self.open.lock().await.entry(scope.workspace()).or_default())
    }

    /// Is cancelled when the workspace goes, for who has its index and takes long.
    pub(crate) async fn gone(&self, scope: &WorkspaceScope) -> CancellationToken {
        if let Some(entry) = self.open.lock().await.get(&scope.workspace()) {
            return entry.gone.clone();
        }
        let gone = CancellationToken::new();
        gone.cancel();
        gone
    }

    /// Has the next who wants this index open it anew.
    async fn reopen(&self, scope: &WorkspaceScope, index: &Arc<WorkspaceIndex>) {
        let mut open = self.open.lock().await;
        if let Some(entry) = open.get_mut(&scope.workspace())
            && entry
                .live
                .get()
                .is_some_and(|live| Arc::ptr_eq(&live.index, index))
        {
            let gone = entry.gone.clone();
            *entry = Arc::new(Entry {
                live: OnceCell::new(),
                gone,
            });
        }
    }

    /// Has another generation answer from now on. For who holds the lock on commits, once the rows
    /// name it. Until [`Self::agrees`], the rows' account of its vectors is taken to be wrong.
    pub(crate) async fn replace(
        &self,
        scope: &WorkspaceScope,
        index: Arc<WorkspaceIndex>,
        embedder: &str,
    ) {
        self.emptied().insert(scope.workspace());
        let live = Live {
            index,
            embedder: embedder.to_owned(),
        };
        let mut open = self.open.lock().await;
        let entry = open.entry(scope.workspace()).or_default();
        *entry = Arc::new(Entry {
            gone: entry.gone.clone(),
            live: OnceCell::new_with(Some(live)),
        });
    }

    /// The index and the rows have been made to agree.
    pub(crate) fn agrees(&self, scope: &WorkspaceScope) {
        self.emptied().remove(&scope.workspace());
    }

    /// Whether it is these vectors that answer, and that the rows speak of.
    pub(crate) async fn is_live(&self, scope: &WorkspaceScope, index: &WorkspaceIndex) -> bool {
        self.opened(scope)
            .await
            .is_some_and(|live| live.generation() == index.generation())
    }

    /// The index if it is open already.
    pub(crate) async fn opened(&self, scope: &WorkspaceScope) -> Option<Arc<WorkspaceIndex>> {
        self.open
            .lock()
            .await
            .get(&scope.workspace())
            .and_then(|entry| entry.live.get().map(|live| Arc::clone(&live.index)))
    }

    /// Those open indexes that were found damaged, or are not filled again yet.
    pub(crate) async fn damaged(&self) -> Vec<WorkspaceScope> {
        let open = self.open.lock().await;
        open.iter()
            .filter(|(_, entry)| {
                let live = entry.live.get();
                live.is_some_and(|live| live.index.is_damaged())
            })
            .map(|(workspace, _)| *workspace)
            .chain(self.emptied().iter().copied())
            .map(WorkspaceScope::new)
            .collect()
    }

    fn emptied(&self) -> MutexGuard<'_, HashSet<WorkspaceId>> {
        self.emptied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn needs_mending(&self, scope: &WorkspaceScope, index: &WorkspaceIndex) -> bool {
        index.is_damaged() || self.emptied().contains(&scope.workspace())
    }

    /// Has the index's writer give its memory back when it has been idle for a while.
    pub(crate) fn note_write(&self, scope: &WorkspaceScope) {
        self.written().insert(scope.workspace(), Instant::now());
    }

    fn written(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Instant>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back the memory of writers that nobody has used for so long.
    pub(crate) async fn release_idle(&self, idle: Duration) {
        let released: Vec<WorkspaceId> = self
            .written()
            .extract_if(|_, written| written.elapsed() >= idle)
            .map(|(workspace, _)| workspace)
            .collect();
        for workspace in released {
            let Some(index) = self.opened(&WorkspaceScope::new(workspace)).await else {
                continue;
            };
            let released = blocking("releasing an index", move || Ok(index.release_memory()?));
            if let Err(error) = released.await {
                tracing::warn!(%error, "an index's writer ended badly");
            }
        }
    }

    /// How many are open.
    pub(crate) async fn count(&self) -> usize {
        self.open
            .lock()
            .await
            .values()
            .filter(|entry| entry.live.initialized())
            .count()
    }

    /// Closes and removes the index of a workspace that is no more. `false` when it is still in use.
    pub(crate) async fn destroy(&self, scope: &WorkspaceScope) -> bool {
        if let Some(entry) = self.open.lock().await.remove(&scope.workspace()) {
            entry.gone.cancel();
            if let Some(live) = entry.live.get() {
                live.index.stop_building();
            }
        }
        self.emptied().remove(&scope.workspace());
        for _ in 0..DESTROY_ATTEMPTS {
            let folder = self.folder(scope);
            let removed = blocking("removing an index", move || {
                Ok(WorkspaceIndex::destroy(&folder)?)
            })
            .await;
            match removed {
                Ok(()) => return true,
                // A search or an answer that is just ending has it open.
                Err(error) => tracing::debug!(%error, "an index is still in use"),
            }
            tokio::time::sleep(DESTROY_AGAIN).await;
        }
        false
    }

    pub(crate) async fn close(&self) {
        self.open.lock().await.clear();
    }

    /// The workspaces that are no more and whose index is still there.
    pub(crate) async fn orphans(&self, known: &[WorkspaceId]) -> Result<Vec<WorkspaceId>> {
        let root = self.root.clone();
        let there = blocking("listing the indexes", move || {
            let entries = std::fs::read_dir(&root)
                .map_err(|error| Error::internal("listing the indexes", error))?;
            Ok(entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
                .collect::<Vec<WorkspaceId>>())
        });
        let mut orphans = there.await?;
        orphans.retain(|there| !known.contains(there));
        Ok(orphans)
    }
}

impl Engine {
    /// The workspace's index, opened and reconciled at first use, and mended when it was found
    /// damaged since. Not to be called by who holds the lock on commits.
    pub(crate) async fn open_index(&self, scope: &WorkspaceScope) -> Result<OpenIndex> {
        let index = self.index_as_it_is(scope).await?;
        if self.indexes().needs_mending(scope, &index) {
            let _committing = self.reader().committing().await;
            // Another generation may answer by now, and the rows speak of that one.
            let index = self.index_as_it_is(scope).await?;
            self.mend_index(scope, &index).await?;
        }
        drop(index);
        self.open_index_as_it_is(scope).await
    }

    /// The workspace's index for who needs no embedder; not mended.
    pub(crate) async fn index_as_it_is(
        &self,
        scope: &WorkspaceScope,
    ) -> Result<Arc<WorkspaceIndex>> {
        Ok(self.live(scope).await?.index)
    }

    async fn live(&self, scope: &WorkspaceScope) -> Result<Live> {
        // A deleted workspace must not come to have an index again.
        self.store().workspaces().get(scope).await?;
        let entry = self.indexes().entry(scope).await;
        let live = entry.live.get_or_try_init(|| self.open_live(scope)).await?;
        Ok(live.clone())
    }

    /// Replaces what was found damaged in use, and fills it again. For who holds the lock on commits.
    pub(crate) async fn mend_index(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<()> {
        if !self.indexes().needs_mending(scope, index) {
            return Ok(());
        }
        self.indexes().emptied().insert(scope.workspace());
        let mending = Arc::clone(index);
        let report = blocking("mending an index", move || Ok(mending.mend()?)).await?;
        let done = self.reconcile(scope, index).await?;
        self.indexes().agrees(scope);
        tracing::warn!(?report, ?done, "mended the index of {}", scope.workspace());
        Ok(())
    }

    /// The workspace's index with its embedder; not mended.
    async fn open_index_as_it_is(&self, scope: &WorkspaceScope) -> Result<OpenIndex> {
        loop {
            let Live {
                index,
                embedder: id,
            } = self.live(scope).await?;
            let embedder = self.model_set().embedder(&id).await?;
            if embedder.fingerprint() == index.vector_spec().fingerprint {
                return Ok(self.open_with(index, embedder, &id).await);
            }
            // Its files were replaced, or came only now. The next opening drops what others made.
            self.indexes().reopen(scope, &index).await;
            if Arc::into_inner(index).is_none() {
                return Err(Error::new(
                    Code::Overloaded,
                    format!("the files of {id} were replaced while its vectors were in use"),
                )
                .with_hint("Try again in a moment"));
            }
        }
    }

    /// An index with the embedder that its vectors are of.
    pub(crate) async fn open_with(
        &self,
        index: Arc<WorkspaceIndex>,
        embedder: Arc<dyn Embedder>,
        embedder_id: &str,
    ) -> OpenIndex {
        let general = {
            let mut general = self.indexes().general.lock().await;
            Arc::clone(
                general
                    .entry(embedder.fingerprint().to_owned())
                    .or_default(),
            )
        };
        OpenIndex {
            index,
            embedder,
            embedder_id: embedder_id.to_owned(),
            general,
        }
    }

    /// Opens the generation that the rows name, and makes it agree with them.
    async fn open_live(&self, scope: &WorkspaceScope) -> Result<Live> {
        let live = self.store().generations().get(scope).await?.live;
        let spec = match self.model_set().embedder(&live.embedder).await {
            Ok(embedder) => Some(spec_of(embedder.as_ref())),
            Err(error) => {
                tracing::warn!(%error, "an index is opened without its embedder");
                None
            }
        };
        let folder = self.indexes().folder(scope);
        let (index, report) = blocking("opening an index", move || {
            let generation = Generation(live.number);
            if spec.is_none()
                && let Some(opened) = WorkspaceIndex::open_as_stored(&folder, generation)?
            {
                return Ok(opened);
            }
            let spec = spec.unwrap_or(VectorSpec::unknown());
            Ok(WorkspaceIndex::open_generation(&folder, generation, spec)?)
        })
        .await?;
        tracing::info!(?report, "opened the index of {}", scope.workspace());
        let index = Arc::new(index);
        let done = self.reconcile(scope, &index).await?;
        tracing::info!(?done, "reconciled the index of {}", scope.workspace());
        // The process may have ended before it was wiped.
        if index.holds_removed() {
            self.reader().wipe_soon(scope.workspace());
        }
        Ok(Live {
            index,
            embedder: live.embedder,
        })
    }

    /// Makes an index agree with the rows. Nothing else may write to the index meanwhile: it runs
    /// before anyone has the index, or under the lock on commits.
    pub(crate) async fn reconcile(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<Reconciled> {
        let mut done = Reconciled::default();
        let Keys {
            words,
            vectors,
            wanted,
            waiting,
        } = self.keys(scope, index).await?;
        let embedded = &wanted - &waiting;

        let stale = (&words | &vectors) - &wanted;
        done.words_removed = (&words - &wanted).len();
        done.vectors_removed = (&vectors - &wanted).len();
        if !stale.is_empty() {
            self.indexes().note_write(scope);
            self.reader().wipe_soon(scope.workspace());
            let index = Arc::clone(index);
            blocking("cleaning an index", move || Ok(index.remove(&stale)?)).await?;
        }

        let missing: Vec<ChunkKey> = (&wanted - &words).iter().map(ChunkKey).collect();
        done.words_added = missing.len() as u64;
        for batch in missing.chunks(REBUILD_BATCH) {
            self.add_words(scope, index, batch).await?;
        }

        let found: Vec<ChunkKey> = (&waiting & &vectors).iter().map(ChunkKey).collect();
        done.vectors_found = found.len() as u64;
        if !found.is_empty() {
            self.store()
                .chunks()
                .adopt_embedded(scope, &found, Timestamp::now())
                .await?;
        }

        let lost: Vec<ChunkKey> = (&embedded - &vectors).iter().map(ChunkKey).collect();
        done.vectors_lost = lost.len() as u64;
        if !lost.is_empty() {
            self.store()
                .chunks()
                .reset_embedded(scope, &lost, Timestamp::now())
                .await?;
            self.ring();
        }
        // The process may have ended before the words had the new titles.
        self.reword(scope, index).await?;
        if done != Reconciled::default() {
            self.changed(Topic::Documents, Some(scope.workspace()));
        }
        Ok(done)
    }

    /// What an index holds, and what it should by the rows.
    pub(crate) async fn keys(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<Keys> {
        // The index first: rows that come meanwhile are then added twice, not taken for stale.
        let (words, vectors) = {
            let index = Arc::clone(index);
            blocking("reading an index", move || {
                Ok((index.word_keys()?, index.vector_keys()?))
            })
            .await?
        };
        let bitmap = |keys: Vec<ChunkKey>| keys.into_iter().map(|key| key.0).collect();
        let chunks = self.store().chunks();
        Ok(Keys {
            words,
            vectors,
            wanted: bitmap(chunks.all_keys(scope).await?),
            waiting: bitmap(chunks.unembedded_keys(scope).await?),
        })
    }

    /// Puts the words of stored chunks into an index; visible on return.
    pub(crate) async fn add_words(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
        keys: &[ChunkKey],
    ) -> Result<()> {
        let entries = self.store().chunks().entries_for_keys(scope, keys).await?;
        self.indexes().note_write(scope);
        let index = Arc::clone(index);
        blocking("indexing words", move || {
            let headers: Vec<String> = entries
                .iter()
                .map(|entry| header(&entry.title, &entry.heading_path))
                .collect();
            let words: Vec<WordEntry<'_>> = entries
                .iter()
                .zip(&headers)
                .map(|(entry, header)| WordEntry {
                    key: entry.key,
                    header,
                    text: &entry.text,
                    language: entry.language,
                })
                .collect();
            Ok(index.add_words(&words)?)
        })
        .await
    }
}

/// What the vectors of an embedder are.
pub(crate) fn spec_of(embedder: &dyn Embedder) -> VectorSpec {
    VectorSpec {
        fingerprint: embedder.fingerprint().to_owned(),
        dimensions: embedder.dimensions(),
    }
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(doing, error))?
}
