//! The open indexes, one per workspace, each brought to agree with the rows when it is opened.
//!
//! Chunk keys are never reused and a chunk's text never changes, so an index agrees with the rows
//! when it holds the same keys. Words are made again from the rows at once; vectors that are
//! missing are made again by jobs. Damage therefore costs time, never data.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{ChunkKey, Timestamp, WorkspaceId, WorkspaceScope};
use docent_index::{Generation, VectorSpec, WordEntry, WorkspaceIndex};
use docent_inference::Embedder;
use roaring::RoaringBitmap;
use tokio::sync::{Mutex, OnceCell};

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::retrieve;
use crate::search::header;
use crate::types::Topic;

/// Chunks whose words are put into an index in one commit while it is rebuilt.
const REBUILD_BATCH: usize = 2000;

/// An index that is in use is tried to be removed so many times, with such pauses.
const DESTROY_ATTEMPTS: u32 = 30;
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

/// The index that answers, and the catalog id of the embedder of its vectors.
struct Live {
    index: Arc<WorkspaceIndex>,
    embedder: String,
}

type LiveCell = Arc<OnceCell<Live>>;

type Vectors = Arc<Vec<Vec<f32>>>;

pub(crate) struct Indexes {
    root: PathBuf,
    open: Mutex<HashMap<WorkspaceId, LiveCell>>,
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

    async fn cell(&self, scope: &WorkspaceScope) -> LiveCell {
        Arc::clone(self.open.lock().await.entry(scope.workspace()).or_default())
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
        let cell = OnceCell::new_with(Some(live));
        self.open
            .lock()
            .await
            .insert(scope.workspace(), Arc::new(cell));
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
            .and_then(|cell| cell.get().map(|live| Arc::clone(&live.index)))
    }

    /// Those open indexes that were found damaged, or are not filled again yet.
    pub(crate) async fn damaged(&self) -> Vec<WorkspaceScope> {
        let open = self.open.lock().await;
        open.iter()
            .filter(|(_, cell)| cell.get().is_some_and(|live| live.index.is_damaged()))
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

    /// An index whose embedder is not here, opened as what it is, for looking at it; `None` when it
    /// does not say. Nobody else may want it meanwhile.
    pub(crate) async fn open_as_stored(
        &self,
        scope: &WorkspaceScope,
        generation: Generation,
    ) -> Result<Option<Arc<WorkspaceIndex>>> {
        if let Some(open) = self.opened(scope).await {
            return Ok(Some(open));
        }
        let folder = self.folder(scope);
        blocking("opening an index", move || {
            let opened = WorkspaceIndex::open_as_stored(&folder, generation)?;
            Ok(opened.map(|(index, _)| Arc::new(index)))
        })
        .await
    }

    /// How many are open.
    pub(crate) async fn count(&self) -> usize {
        self.open
            .lock()
            .await
            .values()
            .filter(|cell| cell.initialized())
            .count()
    }

    /// Closes and removes a workspace's index.
    pub(crate) async fn destroy(&self, scope: &WorkspaceScope) -> Result<()> {
        self.open.lock().await.remove(&scope.workspace());
        self.emptied().remove(&scope.workspace());
        for _ in 0..DESTROY_ATTEMPTS {
            let folder = self.folder(scope);
            let removed = blocking("removing an index", move || {
                Ok(WorkspaceIndex::destroy(&folder)?)
            })
            .await;
            match removed {
                Ok(()) => return Ok(()),
                // A search or an answer that is just ending has it open.
                Err(error) => tracing::debug!(%error, "an index is still in use"),
            }
            tokio::time::sleep(DESTROY_AGAIN).await;
        }
        // Nobody can reach it any more.
        tracing::info!("an index is removed at the next start");
        Ok(())
    }

    pub(crate) async fn close(&self) {
        self.open.lock().await.clear();
    }

    /// Removes the indexes of workspaces that are no more.
    pub(crate) async fn remove_orphans(&self, known: &[WorkspaceId]) -> Result<()> {
        let root = self.root.clone();
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        blocking("removing old indexes", move || {
            let entries = std::fs::read_dir(&root)
                .map_err(|error| Error::internal("listing the indexes", error))?;
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !known.contains(&name) && name.parse::<WorkspaceId>().is_ok() {
                    WorkspaceIndex::destroy(&entry.path())?;
                }
            }
            Ok(())
        })
        .await
    }
}

impl Engine {
    /// The workspace's index, opened and reconciled at first use, and mended when it was found
    /// damaged since. Not to be called by who holds the lock on commits.
    pub(crate) async fn open_index(&self, scope: &WorkspaceScope) -> Result<OpenIndex> {
        let open = self.open_index_as_it_is(scope).await?;
        if self.indexes().needs_mending(scope, &open.index) {
            let _committing = self.reader().committing().await;
            // Another generation may answer by now, and the rows speak of that one.
            let open = self.open_index_as_it_is(scope).await?;
            self.mend_index(scope, &open.index).await?;
            return Ok(open);
        }
        Ok(open)
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

    /// [`Engine::open_index`] for who holds the lock on commits.
    pub(crate) async fn open_index_as_it_is(&self, scope: &WorkspaceScope) -> Result<OpenIndex> {
        // A deleted workspace must not come to have an index again.
        self.store().workspaces().get(scope).await?;
        let cell = self.indexes().cell(scope).await;
        let live = cell.get_or_try_init(|| self.open_live(scope)).await?;
        let embedder = self.model_set().embedder(&live.embedder).await?;
        if embedder.fingerprint() != live.index.vector_spec().fingerprint {
            // Its files were replaced. The next opening drops what the old ones made.
            let mut open = self.indexes().open.lock().await;
            if open
                .get(&scope.workspace())
                .is_some_and(|known| Arc::ptr_eq(known, &cell))
            {
                open.remove(&scope.workspace());
            }
            return Err(Error::new(
                Code::Overloaded,
                format!(
                    "the files of {} were replaced while its vectors were in use",
                    live.embedder
                ),
            )
            .with_hint("Try again in a moment"));
        }
        let index = Arc::clone(&live.index);
        Ok(self.open_with(index, embedder, &live.embedder).await)
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
        let embedder = self.model_set().embedder(&live.embedder).await?;
        let folder = self.indexes().folder(scope);
        let spec = spec_of(embedder.as_ref());
        let (index, report) = blocking("opening an index", move || {
            let generation = Generation(live.number);
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
