//! The search index of one workspace: words and vectors of its chunks, in one folder.
//!
//! Everything here is derived. The chunks' rows are the truth; the caller compares key sets
//! ([`WorkspaceIndex::word_keys`], [`WorkspaceIndex::vector_keys`]) with them, adds what is
//! missing and removes what is gone. A chunk's text never changes under its key, so equal key
//! sets mean equal content. Damage and foreign data are moved aside or dropped at opening, and
//! [`OpenReport`] says so; opening never panics on what it finds.
//!
//! One folder holds `words` (tantivy), `vectors` (LMDB, with arroy's items), `lock`, which one
//! process holds, and `removed` as long as removed chunks may still be in the other files. While the
//! embedder changes there are several [`Generation`]s of vectors, each in a folder of its own; a
//! [`WorkspaceIndex`] is the words with one of them. All calls block and may be made from several
//! threads; a write is on disk and
//! visible when it returns. Scores are raw, BM25 sums and cosines: normalising and fusing them is
//! the caller's.

mod error;
mod generation;
mod languages;
mod lmdb_check;
mod quarantine;
mod room;
mod slot;
mod sync;
mod vectors;
mod words;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use docent_domain::{ChunkKey, Language};
use roaring::RoaringBitmap;

use crate::slot::Slot;
use crate::sync::lock;
use crate::vectors::{Vectors, kernels};
use crate::words::Words;

pub use crate::error::{Error, Fault, Part, Result, VectorOf};
pub use crate::generation::{Generation, estimated_bytes};
pub use crate::languages::Languages;
pub use crate::quarantine::PartState;
pub use crate::vectors::TreeReport;

const LOCK_FILE: &str = "lock";

/// There as long as removed chunks may still be in other files of the folder.
const REMOVED_FILE: &str = "removed";

/// A child process that another thread has just forked holds the locks of this one until it runs
/// its own program, so a lock given back a moment ago may still be taken.
const LOCK_TRIES: u32 = 10;
const BETWEEN_LOCK_TRIES: Duration = Duration::from_millis(20);

/// What the vectors of a workspace are made by. Vectors of another spec are of no use and are
/// dropped at opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorSpec {
    /// Changes whenever the embedder, its weights or the way it is used changes.
    pub fingerprint: String,
    pub dimensions: usize,
}

impl VectorSpec {
    /// Of no embedder: for an index whose embedder is not here and whose vectors don't say what they
    /// are. Opened as it is again, it drops them.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            fingerprint: String::new(),
            dimensions: 1,
        }
    }

    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.fingerprint.is_empty()
    }
}

/// A chunk for the word index.
#[derive(Clone, Copy, Debug)]
pub struct WordEntry<'a> {
    pub key: ChunkKey,
    /// The document's title and the headings above the chunk; searched like the text.
    pub header: &'a str,
    pub text: &'a str,
    pub language: Language,
}

/// A chunk for the vector index.
#[derive(Clone, Copy, Debug)]
pub struct VectorEntry<'a> {
    pub key: ChunkKey,
    pub language: Language,
    /// Stored at length 1, whatever its length here.
    pub dense: &'a [f32],
    /// Learned weights by token, from an embedder that gives them.
    pub sparse: Option<&'a [(u32, f32)]>,
}

/// What the vector index holds of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVector {
    pub key: ChunkKey,
    /// Of length 1.
    pub dense: Vec<f32>,
    pub sparse: Option<Vec<(u32, f32)>>,
}

/// A chunk that was found. Hits come best first; equal scores in ascending order of key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    pub key: ChunkKey,
    /// A BM25 sum, or a cosine.
    pub score: f32,
}

/// How the two parts were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    pub words: PartState,
    pub vectors: PartState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Chunks that are searchable by words.
    pub words: u64,
    pub word_segments: usize,
    /// Whether the word index holds a writer, which costs about 20 MB.
    pub has_writer: bool,
    /// Chunks that are searchable by meaning.
    pub vectors: u64,
    pub sparse: u64,
    pub in_trees: u64,
    /// Memory of the vectors' codes.
    pub resident_bytes: u64,
    pub words_disk_bytes: u64,
    pub vectors_disk_bytes: u64,
    /// Address space reserved for the vectors; grows by itself.
    pub map_bytes: u64,
}

/// Where one way of searching gives over to another. The defaults are measured; tests set others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Up to this many vectors are all read, which takes 2 to 3.5 ms and is exact.
    pub exact_limit: usize,
    /// How many vectors are rescored after a scan, at least.
    pub rescored: usize,
    /// First size of the vectors' map, in bytes.
    pub map_bytes: usize,
    /// The size that the vectors may grow to; beyond, writing fails as on a full disk. A fault point
    /// for tests.
    pub max_map_bytes: Option<usize>,
    /// From this many vectors on, trees are built; `vectors::trees` has the measurement.
    pub trees_from: u64,
    /// How many items the trees are asked to look at, counting an item once for each tree.
    pub trees_look_at: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            exact_limit: 4096,
            rescored: 500,
            map_bytes: 256 << 20,
            max_map_bytes: None,
            trees_from: 5_000_000,
            trees_look_at: 5000,
        }
    }
}

/// Sets of keys with their vectors, the last made first.
type Samples = VecDeque<(RoaringBitmap, Arc<Vec<Vec<f32>>>)>;

/// A workspace has a sample for each of its languages, and another after it has changed.
const SAMPLES: usize = 8;

/// What was removed and is not forgotten yet.
#[derive(Default)]
struct Removals {
    /// Whether [`REMOVED_FILE`] is there.
    noted: bool,
    made: u64,
}

/// The index of one workspace, with one generation of vectors. Who has it searches those, whatever
/// answers others meanwhile. Dropping the last one closes the index.
pub struct WorkspaceIndex {
    /// Before what is shared, so that the folder is unlocked after the vectors are closed.
    set: Arc<VectorSet>,
    shared: Arc<Shared>,
}

/// What the generations of a workspace have in common.
struct Shared {
    dir: PathBuf,
    tuning: Tuning,
    words: Slot<Words>,
    /// The generations that are open.
    sets: Mutex<HashMap<Generation, Weak<VectorSet>>>,
    /// Of the words, and of any generation.
    removals: Mutex<Removals>,
    /// Last, so that the folder is unlocked after the rest is closed.
    _lock: File,
}

/// One generation of vectors.
struct VectorSet {
    generation: Generation,
    spec: VectorSpec,
    vectors: Slot<Vectors>,
    samples: Mutex<Samples>,
}

impl WorkspaceIndex {
    /// Opens the index in `dir`, or makes one. Reads all of the index's structure, so it takes
    /// about a second for each gigabyte that isn't in memory.
    pub fn open(dir: &Path, spec: VectorSpec) -> Result<(Self, OpenReport)> {
        Self::open_tuned(dir, spec, Tuning::default())
    }

    /// [`Self::open`] with whatever spec the vectors in `dir` have, for looking at an index whose
    /// embedder is not here. `None` when there are no vectors that say what they are.
    pub fn open_as_stored(
        dir: &Path,
        generation: Generation,
    ) -> Result<Option<(Self, OpenReport)>> {
        let spec = {
            if !dir.exists() {
                return Ok(None);
            }
            let _lock = lock_folder(dir)?;
            once_closed(|| Vectors::stored_spec(dir, generation))?
        };
        spec.map(|spec| Self::open_generation(dir, generation, spec))
            .transpose()
    }

    /// [`Self::open`] with other vectors than the first.
    pub fn open_generation(
        dir: &Path,
        generation: Generation,
        spec: VectorSpec,
    ) -> Result<(Self, OpenReport)> {
        Self::open_with(dir, generation, spec, Tuning::default())
    }

    /// [`Self::open`] with other limits.
    pub fn open_tuned(dir: &Path, spec: VectorSpec, tuning: Tuning) -> Result<(Self, OpenReport)> {
        Self::open_with(dir, Generation::FIRST, spec, tuning)
    }

    fn open_with(
        dir: &Path,
        generation: Generation,
        spec: VectorSpec,
        tuning: Tuning,
    ) -> Result<(Self, OpenReport)> {
        fs::create_dir_all(dir).map_err(|source| Error::Folder {
            path: dir.to_owned(),
            source,
        })?;
        let lock = lock_folder(dir)?;
        let (words, words_state) = Words::open(dir)?;
        let shared = Shared {
            dir: dir.to_owned(),
            tuning,
            words: Slot::new(Part::Words, words),
            sets: Mutex::default(),
            removals: Mutex::new(Removals {
                noted: dir.join(REMOVED_FILE).exists(),
                made: 0,
            }),
            _lock: lock,
        };
        let (set, vectors_state) = shared.open_set(generation, spec)?;
        let index = Self {
            set,
            shared: Arc::new(shared),
        };
        let report = OpenReport {
            words: words_state,
            vectors: vectors_state,
        };
        Ok((index, report))
    }

    /// The same words with another generation of vectors, which is made if there is none. Vectors of
    /// another spec there are dropped, unless somebody has them open, which fails.
    pub fn beside(&self, generation: Generation, spec: VectorSpec) -> Result<(Self, PartState)> {
        let (set, state) = self.shared.open_set(generation, spec)?;
        let index = Self {
            set,
            shared: Arc::clone(&self.shared),
        };
        Ok((index, state))
    }

    /// The generation of vectors that is searched and written here.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.set.generation
    }

    /// Every generation that is on the disk, ascending.
    pub fn generations(&self) -> Result<Vec<Generation>> {
        generation::list(&self.shared.dir)
    }

    /// What the vectors of a generation say they are made by; `None` when there are none, or they
    /// may be damaged.
    pub fn spec_of(&self, generation: Generation) -> Result<Option<VectorSpec>> {
        let sets = lock(&self.shared.sets);
        match sets.get(&generation).and_then(Weak::upgrade) {
            Some(open) => Ok(Some(open.spec.clone())),
            None => once_closed(|| Vectors::stored_spec(&self.shared.dir, generation)),
        }
    }

    /// Bytes on the disk of a generation of the index in `dir`, whether it is open or not.
    #[must_use]
    pub fn bytes_of(dir: &Path, generation: Generation) -> u64 {
        folder_bytes(&dir.join(generation.folder()))
    }

    /// Deletes a generation of vectors. Fails while a search or an addition still has it.
    pub fn delete_generation(&self, generation: Generation) -> Result<()> {
        let mut sets = lock(&self.shared.sets);
        let path = self.shared.dir.join(generation.folder());
        if sets
            .get(&generation)
            .is_some_and(|set| set.strong_count() > 0)
        {
            return Err(Error::InUse { path });
        }
        sets.remove(&generation);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Destroy { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Whether damage was found since opening, so that [`Self::mend`] has something to do.
    pub fn is_damaged(&self) -> bool {
        self.shared.words.is_damaged() || self.set.vectors.is_damaged()
    }

    /// Moves parts that were found damaged aside and starts them empty, for the caller to fill
    /// again; what only has to be opened again ([`Error::Halted`]) keeps what it holds. Waits for calls under way; others wait for it. A part that cannot be started fails all
    /// calls until a later mending succeeds.
    pub fn mend(&self) -> Result<OpenReport> {
        let Shared { dir, words, .. } = &*self.shared;
        let aside = |reason| quarantine::move_aside(dir, Part::Words, Part::Words.folder(), reason);
        Ok(OpenReport {
            words: words.mend(aside, || Words::open(dir))?,
            vectors: self.mend_vectors()?,
        })
    }

    /// [`Self::mend`] of the vectors alone.
    pub fn mend_vectors(&self) -> Result<PartState> {
        self.stop_building();
        let Shared { dir, tuning, .. } = &*self.shared;
        let VectorSet {
            generation, spec, ..
        } = &*self.set;
        let folder = generation.folder();
        self.set.vectors.mend(
            |reason| quarantine::move_aside(dir, Part::Vectors, &folder, reason),
            || Vectors::open(dir, *generation, spec, *tuning),
        )
    }

    /// Deletes the index in `dir`, which nobody may have open, with everything moved aside there.
    pub fn destroy(dir: &Path) -> Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        drop(lock_folder(dir)?);
        fs::remove_dir_all(dir).map_err(|source| Error::Destroy {
            path: dir.to_owned(),
            source,
        })
    }

    /// What the vectors here are made by.
    #[must_use]
    pub fn vector_spec(&self) -> &VectorSpec {
        &self.set.spec
    }

    /// The chunks that are searchable by words.
    pub fn word_keys(&self) -> Result<RoaringBitmap> {
        self.shared.words.with(|words| Ok(words.languages().all()))
    }

    /// The chunks that are searchable by meaning.
    pub fn vector_keys(&self) -> Result<RoaringBitmap> {
        self.set.vectors.with(|vectors| Ok(vectors.keys()))
    }

    /// The chunks of either part by language.
    pub fn languages(&self) -> Languages {
        let mut languages = self.shared.words.peek(Words::languages);
        languages.extend(&self.set.vectors.peek(Vectors::languages));
        languages
    }

    /// Adds chunks to the word index, or replaces them.
    pub fn add_words(&self, entries: &[WordEntry<'_>]) -> Result<()> {
        self.shared.words.with(|words| words.add(entries))
    }

    /// Adds chunks to the vector index, or replaces them.
    pub fn add_vectors(&self, entries: &[VectorEntry<'_>]) -> Result<()> {
        self.set.vectors.with(|vectors| vectors.add(entries))
    }

    /// The cosines of `question` with those of `keys` that have a vector, in ascending order of key.
    /// For samples that many questions are measured against: their vectors stay in memory, those of
    /// the last few sets of keys.
    pub fn sample_scores(&self, question: &[f32], keys: &RoaringBitmap) -> Result<Vec<f32>> {
        let known = lock(&self.set.samples)
            .iter()
            .find(|(of, _)| of == keys)
            .map(|(_, vectors)| Arc::clone(vectors));
        let vectors = if let Some(vectors) = known {
            vectors
        } else {
            let stored = self.stored_vectors(keys)?;
            let vectors: Arc<Vec<_>> =
                Arc::new(stored.into_iter().map(|stored| stored.dense).collect());
            // A sample of chunks whose vectors are still being made would stay too small.
            if vectors.len() as u64 == keys.len() {
                let mut samples = lock(&self.set.samples);
                samples.truncate(SAMPLES - 1);
                samples.push_front((keys.clone(), Arc::clone(&vectors)));
            }
            vectors
        };
        let length = kernels::dot(question, question).sqrt();
        if length == 0.0 {
            return Err(Error::NoDirection(VectorOf::Query));
        }
        Ok(vectors
            .iter()
            .map(|vector| kernels::dot(question, vector) / length)
            .collect())
    }

    /// What is stored of those of `keys` that have a vector, in ascending order.
    pub fn stored_vectors(&self, keys: &RoaringBitmap) -> Result<Vec<StoredVector>> {
        self.set.vectors.with(|vectors| vectors.stored(keys))
    }

    /// Removes chunks from both parts; keys that aren't there are ignored. The vectors go first,
    /// so that a failure between the two leaves no vector whose words are gone. From then on
    /// [`Self::holds_removed`], until they are forgotten.
    pub fn remove(&self, keys: &RoaringBitmap) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.remove_vectors(keys)?;
        self.shared.words.with(|words| words.remove(keys))
    }

    /// Removes chunks from this generation of vectors alone.
    pub fn remove_vectors(&self, keys: &RoaringBitmap) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        // First: what is not committed may be in the files as well, of a process that was killed.
        self.shared.note_removal()?;
        lock(&self.set.samples).retain(|(sample, _)| sample.is_disjoint(keys));
        self.set.vectors.with(|vectors| vectors.remove(keys))
    }

    /// The `k` chunks that match the words of `query` best, among those in `filter`.
    pub fn search_words(
        &self,
        query: &str,
        k: usize,
        filter: Option<&RoaringBitmap>,
    ) -> Result<Vec<Hit>> {
        self.shared
            .words
            .with(|words| words.search(query, k, filter))
    }

    /// [`Self::search_words`] among each of `groups`, at the price of one search.
    pub fn search_words_each(
        &self,
        query: &str,
        k: usize,
        groups: &[&RoaringBitmap],
    ) -> Result<Vec<Vec<Hit>>> {
        let groups: Vec<_> = groups.iter().copied().map(Some).collect();
        self.shared
            .words
            .with(|words| words.search_each(query, k, &groups))
    }

    /// The `k` chunks whose vectors are nearest to `query`, among those in `filter`. Exact in
    /// small workspaces and narrow filters; see the measured recall in `vectors::codes`.
    pub fn search_dense(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&RoaringBitmap>,
    ) -> Result<Vec<Hit>> {
        self.set
            .vectors
            .with(|vectors| vectors.search(query, k, filter))
    }

    /// [`Self::search_dense`] among each of `groups`, at little more than the price of one search.
    pub fn search_dense_each(
        &self,
        query: &[f32],
        k: usize,
        groups: &[&RoaringBitmap],
    ) -> Result<Vec<Vec<Hit>>> {
        self.set
            .vectors
            .with(|vectors| vectors.search_each(query, k, groups))
    }

    /// [`Self::search_dense`] by reading every vector: the yardstick of recall.
    pub fn search_dense_exact(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&RoaringBitmap>,
    ) -> Result<Vec<Hit>> {
        self.set
            .vectors
            .with(|vectors| vectors.search_exact(query, k, filter))
    }

    /// The dot products of the learned sparse weights of `keys` with those of a question, in the
    /// order of `keys`; 0 for a chunk without weights.
    pub fn sparse_scores(&self, query: &[(u32, f32)], keys: &[ChunkKey]) -> Result<Vec<f32>> {
        self.set
            .vectors
            .with(|vectors| vectors.sparse_scores(query, keys))
    }

    /// Background upkeep of the vectors: builds trees where the workspace is large enough, and
    /// takes the codes' centre again when it has grown. Takes minutes in the largest workspaces;
    /// searches go on, writes wait for seconds at a time.
    pub fn maybe_build_trees(&self) -> Result<TreeReport> {
        self.set.vectors.with(Vectors::maybe_build_trees)
    }

    /// Makes a running [`Self::maybe_build_trees`] return soon.
    pub fn stop_building(&self) {
        self.set.vectors.peek(Vectors::stop_building);
    }

    /// Whether words or vectors of removed chunks may still be in the files, so that
    /// [`Self::forget_removed`] has something to do.
    pub fn holds_removed(&self) -> bool {
        lock(&self.shared.removals).noted || self.shared.words.peek(Words::holds_removed)
    }

    /// Writes anew what still holds words or vectors of removed chunks, and deletes what was moved
    /// aside, so that they are in no file any more; `false` when some of it may still be there, because
    /// others were at work meanwhile. Of the words, takes about as long as indexing the chunks beside
    /// the removed ones did; of the vectors, the time to write all of them, of every generation
    /// (`tests/it/measure.rs`), while searching goes on.
    pub fn forget_removed(&self) -> Result<bool> {
        let shared = &*self.shared;
        let made = lock(&shared.removals).made;
        shared.words.with(Words::forget_removed)?;
        if lock(&shared.removals).noted {
            for generation in self.generations()? {
                // Vectors that don't say what they are by are of no use, and may hold what was removed.
                let Some(spec) = self.spec_of(generation)? else {
                    self.delete_generation(generation)?;
                    continue;
                };
                let (set, _) = shared.open_set(generation, spec)?;
                if !set.forget_removed()? {
                    return Ok(false);
                }
            }
        }
        quarantine::delete(&shared.dir, Part::Words)?;
        quarantine::delete(&shared.dir, Part::Vectors)?;
        if shared.words.peek(Words::holds_removed) {
            return Ok(false);
        }
        let mut removals = lock(&shared.removals);
        if removals.made != made {
            return Ok(false);
        }
        if removals.noted {
            let path = shared.dir.join(REMOVED_FILE);
            fs::remove_file(&path).map_err(|source| Error::Folder { path, source })?;
            removals.noted = false;
        }
        Ok(true)
    }

    /// Gives back the memory that only writing needs; for workspaces that lie idle.
    pub fn release_memory(&self) -> Result<()> {
        self.shared.words.with(Words::release)
    }

    #[must_use]
    pub fn stats(&self) -> IndexStats {
        let counts = self.set.vectors.peek(Vectors::counts);
        IndexStats {
            words: self.shared.words.peek(|words| words.languages().len()),
            word_segments: self.shared.words.peek(Words::segments),
            has_writer: self.shared.words.peek(Words::has_writer),
            vectors: counts.vectors,
            sparse: counts.sparse,
            in_trees: counts.in_trees,
            resident_bytes: counts.resident_bytes,
            words_disk_bytes: folder_bytes(&self.shared.dir.join(Part::Words.folder())),
            vectors_disk_bytes: Self::bytes_of(&self.shared.dir, self.set.generation),
            map_bytes: counts.map_bytes,
        }
    }
}

impl Shared {
    fn note_removal(&self) -> Result<()> {
        let mut removals = lock(&self.removals);
        removals.made += 1;
        if removals.noted {
            return Ok(());
        }
        let path = self.dir.join(REMOVED_FILE);
        File::create(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(|source| match room::is_short(&self.dir, Some(&source)) {
                true => Error::DiskFull(Part::Words),
                false => Error::Folder { path, source },
            })?;
        removals.noted = true;
        Ok(())
    }

    /// The generation as it is open already, or opened. LMDB cannot have a file open twice.
    fn open_set(
        &self,
        generation: Generation,
        spec: VectorSpec,
    ) -> Result<(Arc<VectorSet>, PartState)> {
        let mut sets = lock(&self.sets);
        if let Some(open) = sets.get(&generation).and_then(Weak::upgrade) {
            if open.spec == spec {
                return Ok((open, PartState::Opened));
            }
            let path = self.dir.join(generation.folder());
            return Err(Error::InUse { path });
        }
        let (vectors, state) =
            once_closed(|| Vectors::open(&self.dir, generation, &spec, self.tuning))?;
        let set = Arc::new(VectorSet {
            generation,
            spec,
            vectors: Slot::new(Part::Vectors, vectors),
            samples: Mutex::default(),
        });
        sets.insert(generation, Arc::downgrade(&set));
        Ok((set, state))
    }
}

impl VectorSet {
    /// Writes the vectors anew without those removed; `false` when others were at work meanwhile.
    fn forget_removed(&self) -> Result<bool> {
        let copied = self.vectors.with(Vectors::copy_without_removed)?;
        let mut is_exchanged = false;
        self.vectors.exchange(|vectors| {
            let (vectors, exchanged) = vectors.exchange_for_copy(&copied)?;
            is_exchanged = exchanged;
            Ok(vectors)
        })?;
        Ok(is_exchanged)
    }
}

/// What `open` gives once whoever had the vectors last has closed them, which may be happening now.
fn once_closed<T>(open: impl Fn() -> Result<T>) -> Result<T> {
    let mut tries = 1;
    loop {
        match open() {
            Err(Error::OpenVectors(arroy::Error::Heed(heed::Error::EnvAlreadyOpened)))
                if tries < LOCK_TRIES =>
            {
                tries += 1;
                std::thread::sleep(BETWEEN_LOCK_TRIES);
            }
            opened => return opened,
        }
    }
}

/// The lock ends with the process that holds it, however it ends.
fn lock_folder(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let folder = |source: io::Error| Error::Folder {
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(folder)?;
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(BETWEEN_LOCK_TRIES);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    path: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(folder(source)),
        }
    }
}

/// Bytes of the files in a folder, as far as they can be seen.
fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .filter_map(io::Result::ok)
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_that_are_just_being_closed_say_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let spec = |fingerprint: &str| VectorSpec {
            fingerprint: fingerprint.to_owned(),
            dimensions: 8,
        };
        let (index, _) = WorkspaceIndex::open(dir.path(), spec("first")).unwrap();
        let second = Generation(2);
        for _ in 0..50 {
            let tuning = Tuning::default();
            let open = Vectors::open(dir.path(), second, &spec("second"), tuning).unwrap();
            let both = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    drop(open);
                });
                both.wait();
                assert_eq!(index.spec_of(second).unwrap(), Some(spec("second")));
            });
        }
    }
}
