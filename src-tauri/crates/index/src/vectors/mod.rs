//! The vectors of one workspace: an LMDB environment, and their one-bit codes in memory.
//!
//! arroy holds the vectors as its items, in two of its indexes. New items go to [`OPEN`], which
//! is never built: arroy's reader refuses an index with unbuilt changes, its writer reads items
//! of any. [`TREES`] gets items only when its trees are built ([`trees`]); a removal there is
//! noted in `dropped` and leaves the built trees usable. A key's vector is therefore in one place
//! (and possibly, dropped, in the other), stored once.
//!
//! A search of few vectors reads them all; of many, it scans the codes ([`codes`]) and rescores
//! the best in full precision; where trees exist, they answer for what they hold. Every vector
//! that is read is checked against its checksum. What memory holds follows the commits, so a
//! search may see a key whose vector is just being replaced: it then believes the transaction.
//!
//! Measured at 100,000 vectors, ten nearest, processor time of one core shared with six busy
//! processes (`tests/it/measure.rs`); adding, removing and opening are elapsed time:
//!
//! | dimensions | search | recall@10 | reading all | add or remove one | in memory | on disk | open |
//! |---|---|---|---|---|---|---|---|
//! | 384 | 4.5 ms | 0.998 to 1.000 | 55 ms | 4 to 14 ms | 10 MB | 426 MB | 0.2 to 0.4 s |
//! | 1024 | 8.8 ms | 1.000 | 77 ms | 4 to 8 ms | 21 MB | 841 MB | 0.1 s |
//!
//! Wiping what was removed writes all of it anew: 0.8 s at 100,000 × 384, sharing two cores with
//! sixteen busy processes.

mod codes;
pub(crate) mod kernels;
mod records;
mod trees;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, RwLock};

use arroy::distances::Cosine;
use docent_domain::{ChunkKey, Language};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, DecodeIgnore, Str, U32};
use heed::{
    CommitOrAbort, CompactionOption, Database, Env, EnvOpenOptions, MdbError, RoTxn, RwTxn,
    WithoutTls,
};
use roaring::RoaringBitmap;

use self::codes::{Centre, Code, Codes, Planes};
use self::records::{CENTRE, CodeRecord, DROPPED, FORMAT, Format, LAYOUT};
pub use self::trees::TreeReport;
use crate::error::{Error, Part, Result, VectorOf};
use crate::generation::Generation;
use crate::languages::Languages;
use crate::lmdb_check::{self, Finding};
use crate::quarantine::{self, PartState};
use crate::room;
use crate::sync::{lock, read, write};
use crate::words::top::{Scored, Top};
use crate::{Hit, StoredVector, Tuning, VectorEntry, VectorSpec};

/// arroy's index of the items that no tree holds.
const OPEN: u16 = 0;
/// arroy's index of the items that trees were built over.
const TREES: u16 = 1;

const DATA_FILE: &str = "data.mdb";

/// A copy of the data file without what was removed, until it takes its place.
const COPY_FILE: &str = "copy.mdb";

/// Counts openings that began and didn't end. See [`STRIKES`].
const OPENING_FILE: &str = "opening";

/// LMDB ends the process on damage that the check before it missed. One opening that never
/// finished may be a pulled plug, two in a row are the file's doing.
const STRIKES: usize = 2;

/// Once the workspace is this many times as large as when the centre was taken, it is taken again.
const RECENTRE_GROWTH: u64 = 4;

/// A mean of more vectors is no better.
const CENTRE_SAMPLE: usize = 16_384;

/// One vector in this many is rescored after a scan, so that the recall doesn't fall as the
/// workspace grows: at 100,000 vectors without clusters, 500 give 0.983 and 1,000 give 0.996.
const RESCORED_SHARE: usize = 100;

/// But not more than these, which take about 10 ms.
const RESCORED_MOST: usize = 4000;

/// Vectors whose length is within this of 1 are stored as they are.
const UNIT_TOLERANCE: f32 = 1e-4;

type Items = arroy::Database<'static, Cosine>;
type ByKey = Database<'static, U32<BigEndian>, Bytes>;

#[derive(Clone, Copy)]
struct Databases {
    items: Items,
    codes: ByKey,
    sparse: ByKey,
    meta: Database<'static, Str, Bytes>,
}

pub(crate) struct Vectors {
    dir: PathBuf,
    spec: VectorSpec,
    tuning: Tuning,
    env: Env<WithoutTls>,
    databases: Databases,
    /// Held shared by every transaction, and alone while the map grows, which LMDB allows only
    /// between transactions.
    map: RwLock<()>,
    /// Held for a copy of all, and before the map grows: whoever waited for `map` alone until a copy
    /// is made would have every search wait behind it.
    copying: Mutex<()>,
    /// Held from a write's transaction until memory shows it.
    writing: Mutex<()>,
    resident: RwLock<Resident>,
    stop_building: AtomicBool,
}

/// What memory holds of the committed state.
struct Resident {
    languages: Languages,
    present: RoaringBitmap,
    with_sparse: RoaringBitmap,
    /// The checksum of every vector.
    vector_crcs: HashMap<u32, u32>,
    /// Keys whose vector is in [`TREES`].
    treed: RoaringBitmap,
    /// Removed keys that are still in [`TREES`].
    dropped: RoaringBitmap,
    /// None until there are more vectors than are read whole.
    centre: Option<Centre>,
    codes: Codes,
}

/// A copy of the committed state.
pub(crate) struct Copied {
    /// The last transaction in it.
    of: usize,
}

enum Attempt {
    Opened(Box<Vectors>),
    Foreign(String),
    Damaged(String),
}

impl Vectors {
    pub fn open(
        index_dir: &Path,
        generation: Generation,
        spec: &VectorSpec,
        tuning: Tuning,
    ) -> Result<(Self, PartState)> {
        let folder = generation.folder();
        let dir = index_dir.join(&folder);
        let mut state = if dir.join(DATA_FILE).exists() {
            PartState::Opened
        } else {
            PartState::Created
        };
        if let Some(reason) = suspect(&dir)? {
            state = quarantine::move_aside(index_dir, Part::Vectors, &folder, reason)?;
        }
        match Self::attempt(&dir, spec, tuning)? {
            Attempt::Opened(vectors) => return Ok((*vectors, state)),
            Attempt::Damaged(reason) => {
                state = quarantine::move_aside(index_dir, Part::Vectors, &folder, reason)?;
            }
            Attempt::Foreign(reason) => {
                state = quarantine::drop_part(dir.clone(), Part::Vectors, reason)?;
            }
        }
        match Self::attempt(&dir, spec, tuning)? {
            Attempt::Opened(vectors) => Ok((*vectors, state)),
            Attempt::Damaged(detail) | Attempt::Foreign(detail) => Err(Error::Damaged {
                part: Part::Vectors,
                detail,
            }),
        }
    }

    /// What the stored vectors say they are made by; `None` when there are none, or they may be
    /// damaged.
    pub fn stored_spec(index_dir: &Path, generation: Generation) -> Result<Option<VectorSpec>> {
        let dir = index_dir.join(generation.folder());
        if !dir.join(DATA_FILE).exists() || suspect(&dir)?.is_some() {
            return Ok(None);
        }
        let read = || -> heed::Result<Option<Format>> {
            let mut options = EnvOpenOptions::new().read_txn_without_tls();
            options.max_dbs(4);
            // SAFETY: as in `open_env`.
            let env = unsafe { options.open(&dir)? };
            let meta = env
                .open_databases_and_commit(env.read_txn()?, |opener, rtxn| -> heed::Result<_> {
                    let meta: Option<Database<'_, Str, Bytes>> =
                        opener.open_database(rtxn, Some("meta"))?;
                    Ok(CommitOrAbort::<_, ()>::Commit(meta))
                })?
                .commit()
                .flatten();
            let rtxn = env.read_txn()?;
            let format = match meta {
                Some(meta) => meta.get(&rtxn, FORMAT)?.and_then(Format::decode),
                None => None,
            };
            Ok(format.filter(|format| format.layout == LAYOUT))
        };
        let format = read().map_err(|error| Error::OpenVectors(error.into()))?;
        Ok(format.map(|format| VectorSpec {
            fingerprint: format.fingerprint,
            dimensions: format.dimensions,
        }))
    }

    fn attempt(dir: &Path, spec: &VectorSpec, tuning: Tuning) -> Result<Attempt> {
        let folder = |source| Error::Folder {
            path: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(folder)?;
        let opening = dir.join(OPENING_FILE);
        let strikes = fs::read(&opening).map_or(0, |marks| marks.len());
        fs::write(&opening, vec![b'.'; strikes + 1]).map_err(folder)?;
        // Of a process that ended while it wrote it.
        forget_copy(dir).map_err(folder)?;
        let attempt = Self::open_env(dir, spec, tuning);
        fs::remove_file(&opening).map_err(folder)?;
        attempt.or_else(|error| match as_damage(&error) {
            Some(reason) => Ok(Attempt::Damaged(reason)),
            None if room::is_short(dir, io_error(&error)) => Err(Error::DiskFull(Part::Vectors)),
            None => Err(Error::OpenVectors(error)),
        })
    }

    /// Opens the environment itself, and its databases if they are there and intact.
    fn open_databases(
        dir: &Path,
        tuning: Tuning,
    ) -> arroy::Result<(Env<WithoutTls>, Option<Databases>)> {
        let stored_bytes = fs::metadata(dir.join(DATA_FILE)).map_or(0, |file| file.len());
        let map_bytes = tuning
            .map_bytes
            .max(stored_bytes as usize * 2)
            .next_multiple_of(64 << 10);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_bytes).max_dbs(4);
        // SAFETY: the file is changed by LMDB alone, since the index folder is locked for this
        // process, and its structure was checked just before.
        let env = unsafe { options.open(dir)? };
        let wtxn = env.write_txn()?;
        let databases = env
            .create_databases_and_commit(wtxn, |opener, wtxn| -> heed::Result<_> {
                let items: arroy::Database<'_, Cosine> =
                    opener.create_database(wtxn, Some("items"))?;
                let codes: Database<'_, U32<BigEndian>, Bytes> =
                    opener.create_database(wtxn, Some("codes"))?;
                let sparse: Database<'_, U32<BigEndian>, Bytes> =
                    opener.create_database(wtxn, Some("sparse"))?;
                let meta: Database<'_, Str, Bytes> = opener.create_database(wtxn, Some("meta"))?;
                Ok(CommitOrAbort::<_, ()>::Commit((items, codes, sparse, meta)))
            })?
            .commit();
        let databases = databases.map(|(items, codes, sparse, meta)| Databases {
            items,
            codes,
            sparse,
            meta,
        });
        Ok((env, databases))
    }

    fn open_env(dir: &Path, spec: &VectorSpec, tuning: Tuning) -> arroy::Result<Attempt> {
        let (env, databases) = Self::open_databases(dir, tuning)?;
        let Some(databases) = databases else {
            return Ok(Attempt::Damaged("its databases cannot be opened".into()));
        };
        let Databases { codes, meta, .. } = databases;

        let format = Format {
            layout: LAYOUT,
            fingerprint: spec.fingerprint.clone(),
            dimensions: spec.dimensions,
        };
        let mut wtxn = env.write_txn()?;
        match meta.get(&wtxn, FORMAT)?.map(Format::decode) {
            Some(Some(stored)) if stored == format => {}
            Some(Some(stored)) if stored.layout != format.layout => {
                return Ok(Attempt::Foreign(
                    "it has the layout of another version".into(),
                ));
            }
            Some(Some(stored)) => {
                return Ok(Attempt::Foreign(format!(
                    "its vectors are of {} with {} dimensions",
                    stored.fingerprint, stored.dimensions
                )));
            }
            Some(None) => return Ok(Attempt::Damaged("its description is unreadable".into())),
            None if codes.is_empty(&wtxn)? => meta.put(&mut wtxn, FORMAT, &format.encode())?,
            None => return Ok(Attempt::Damaged("its description is missing".into())),
        }
        wtxn.commit()?;

        let rtxn = env.read_txn()?;
        let resident = match Resident::load(&databases, &rtxn, spec.dimensions)? {
            Ok(resident) => resident,
            Err(reason) => return Ok(Attempt::Damaged(reason)),
        };
        drop(rtxn);
        Ok(Attempt::Opened(Box::new(Self {
            dir: dir.to_owned(),
            spec: spec.clone(),
            tuning,
            env,
            databases,
            map: RwLock::new(()),
            copying: Mutex::new(()),
            writing: Mutex::new(()),
            resident: RwLock::new(resident),
            stop_building: AtomicBool::new(false),
        })))
    }

    pub fn keys(&self) -> RoaringBitmap {
        read(&self.resident).present.clone()
    }

    pub fn languages(&self) -> Languages {
        read(&self.resident).languages.clone()
    }

    /// Adds or replaces vectors in one transaction.
    pub fn add(&self, entries: &[VectorEntry<'_>]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut new = Vec::with_capacity(entries.len());
        for entry in entries {
            let of = VectorOf::Chunk(entry.key);
            let vector = self.unit(entry.dense, of)?;
            new.push(NewVector {
                key: entry.key.0,
                language: entry.language,
                crc: records::vector_crc(&vector),
                vector,
                sparse: entry.sparse.map(records::encode_sparse),
            });
        }
        let _writing = lock(&self.writing);
        let (treed, centre, count) = {
            let resident = read(&self.resident);
            let added: RoaringBitmap = new.iter().map(|new| new.key).collect();
            let count = (&resident.present | &added).len();
            (resident.treed.clone(), resident.centre.clone(), count)
        };
        let needs_centre = centre.is_none() && count > self.tuning.exact_limit as u64;
        let changed = self.write(|databases, wtxn| {
            let open = self.items(OPEN);
            let mut dropped = None;
            for new in &new {
                if treed.contains(new.key) {
                    dropped
                        .get_or_insert_with(RoaringBitmap::new)
                        .insert(new.key);
                }
                open.add_item(wtxn, new.key, &new.vector)?;
                let record = new.record(centre.as_ref());
                databases.codes.put(wtxn, &new.key, &record.encode())?;
                match &new.sparse {
                    Some(sparse) => databases.sparse.put(wtxn, &new.key, sparse)?,
                    None => {
                        databases.sparse.delete(wtxn, &new.key)?;
                    }
                }
            }
            let dropped = dropped
                .map(|keys| self.note_dropped(wtxn, &keys))
                .transpose()?;
            let recentred = needs_centre
                .then(|| self.recentre_in_txn(wtxn))
                .transpose()?;
            Ok((dropped, recentred))
        });
        let (dropped, recentred) = changed.map_err(|error| self.writing_failed(error))?;

        let mut resident = write(&self.resident);
        if let Some(dropped) = dropped {
            resident.treed -= &dropped;
            resident.dropped = dropped;
        }
        for new in &new {
            let record = new.record(centre.as_ref());
            resident.insert(new.key, &record);
        }
        if let Some((centre, codes)) = recentred {
            resident.centre = Some(centre);
            resident.codes = codes;
        }
        Ok(())
    }

    pub fn remove(&self, keys: &RoaringBitmap) -> Result<()> {
        let _writing = lock(&self.writing);
        let (removed, treed) = {
            let resident = read(&self.resident);
            let removed = &resident.present & keys;
            let treed = &resident.treed & &removed;
            (removed, treed)
        };
        if removed.is_empty() {
            return Ok(());
        }
        let changed = self.write(|databases, wtxn| {
            let open = self.items(OPEN);
            for key in &removed {
                if !treed.contains(key) {
                    open.del_item(wtxn, key)?;
                }
                databases.codes.delete(wtxn, &key)?;
                databases.sparse.delete(wtxn, &key)?;
            }
            if treed.is_empty() {
                return Ok(None);
            }
            self.note_dropped(wtxn, &treed).map(Some)
        });
        let dropped = changed.map_err(|error| self.writing_failed(error))?;
        let mut resident = write(&self.resident);
        if let Some(dropped) = dropped {
            resident.treed -= &dropped;
            resident.dropped = dropped;
        }
        resident.remove(&removed);
        Ok(())
    }

    /// Copies what is here, and nothing of what was removed, into a file beside the data: LMDB leaves
    /// removed vectors in pages that it may use again, some day. [`Self::exchange_for_copy`] puts the
    /// copy in the data's place.
    pub fn copy_without_removed(&self) -> Result<Copied> {
        self.forget_dropped()
            .map_err(|error| self.writing_failed(error))?;
        let copy = self.dir.join(COPY_FILE);
        let failed = |source| match room::is_short(&self.dir, Some(&source)) {
            true => Error::DiskFull(Part::Vectors),
            false => Error::Folder {
                path: copy.clone(),
                source,
            },
        };
        let _copying = lock(&self.copying);
        let _map = read(&self.map);
        // Before the copy, so that whatever is committed meanwhile makes it a copy of the past.
        let of = self.env.info().last_txn_id;
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        let mut file = options.open(&copy).map_err(failed)?;
        let copied = self
            .env
            .copy_to_file(&mut file, CompactionOption::Enabled)
            .map_err(|error| self.writing_failed(error.into()))
            .and_then(|()| file.sync_all().map_err(failed));
        match copied {
            Ok(()) => Ok(Copied { of }),
            Err(error) => {
                let _ = forget_copy(&self.dir);
                Err(error)
            }
        }
    }

    /// Goes on with the copy; `false` when there was a commit since it was made. For who has the
    /// vectors alone.
    pub fn exchange_for_copy(self, copied: &Copied) -> Result<(Self, bool)> {
        let dir = self.dir.clone();
        let folder = |source| Error::Folder {
            path: dir.clone(),
            source,
        };
        if self.env.info().last_txn_id != copied.of {
            forget_copy(&dir).map_err(folder)?;
            return Ok((self, false));
        }
        let Self {
            spec,
            tuning,
            env,
            resident,
            ..
        } = self;
        // The same file cannot be open twice.
        drop(env);
        fs::rename(dir.join(COPY_FILE), dir.join(DATA_FILE)).map_err(folder)?;
        File::open(&dir)
            .and_then(|folder| folder.sync_all())
            .map_err(folder)?;
        let (env, databases) = Self::open_databases(&dir, tuning).map_err(Error::OpenVectors)?;
        let databases = databases.ok_or_else(|| Error::Damaged {
            part: Part::Vectors,
            detail: "the databases of its copy cannot be opened".into(),
        })?;
        let exchanged = Self {
            dir,
            spec,
            tuning,
            env,
            databases,
            map: RwLock::new(()),
            copying: Mutex::new(()),
            writing: Mutex::new(()),
            resident,
            stop_building: AtomicBool::new(false),
        };
        Ok((exchanged, true))
    }

    /// The `k` nearest by the cheapest way that finds them.
    pub fn search(
        &self,
        question: &[f32],
        k: usize,
        filter: Option<&RoaringBitmap>,
    ) -> Result<Vec<Hit>> {
        let question = self.unit(question, VectorOf::Query)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let by_trees = match filter {
            None => self.nearest_by_trees(&question, k)?,
            Some(_) => None,
        };
        let candidates = {
            // Locked once: a second time would wait for ever behind a waiting writer.
            let resident = read(&self.resident);
            let present = &resident.present;
            let count = filter.map_or(present.len(), |filter| present.intersection_len(filter));
            resident.candidates(
                &question,
                self.depth(k, count),
                self.tuning.exact_limit as u64,
                filter,
                by_trees.as_ref(),
            )
        };
        let candidates = match by_trees {
            Some(by_trees) => candidates | by_trees.nearest,
            None => candidates,
        };
        self.rescore(&question, k, &candidates)
    }

    /// [`Self::search`] among each of `groups`, at little more than the price of one search.
    pub fn search_each(
        &self,
        question: &[f32],
        k: usize,
        groups: &[&RoaringBitmap],
    ) -> Result<Vec<Vec<Hit>>> {
        let question = self.unit(question, VectorOf::Query)?;
        let candidates: Vec<RoaringBitmap> = {
            let resident = read(&self.resident);
            let wanted: Vec<RoaringBitmap> = groups
                .iter()
                .map(|group| &resident.present & *group)
                .collect();
            let count: u64 = wanted.iter().map(RoaringBitmap::len).sum();
            match &resident.centre {
                Some(centre) if count > self.tuning.exact_limit as u64 => {
                    let wanted: Vec<_> = wanted
                        .iter()
                        .map(|keys| (self.depth(k, keys.len()), Some(keys)))
                        .collect();
                    resident
                        .codes
                        .best_of_each(&Planes::of(&question, centre), &wanted)
                        .into_iter()
                        .map(RoaringBitmap::from_iter)
                        .collect()
                }
                Some(_) | None => wanted,
            }
        };
        candidates
            .iter()
            .map(|keys| self.rescore(&question, k, keys))
            .collect()
    }

    /// The `k` nearest by reading every vector.
    pub fn search_exact(
        &self,
        question: &[f32],
        k: usize,
        filter: Option<&RoaringBitmap>,
    ) -> Result<Vec<Hit>> {
        let question = self.unit(question, VectorOf::Query)?;
        let mut keys = self.keys();
        if let Some(filter) = filter {
            keys &= filter;
        }
        self.rescore(&question, k, &keys)
    }

    /// How many candidates among `count` vectors are rescored for `k` hits.
    fn depth(&self, k: usize, count: u64) -> usize {
        (count as usize / RESCORED_SHARE)
            .min(RESCORED_MOST)
            .max(self.tuning.rescored)
            .max(4 * k)
    }

    fn rescore(&self, question: &[f32], k: usize, keys: &RoaringBitmap) -> Result<Vec<Hit>> {
        let mut top = Top::new(k);
        self.each_vector(keys, |key, vector| {
            let score = kernels::dot(question, vector);
            top.push(Scored { score, key });
        })?;
        Ok(top
            .into_sorted()
            .into_iter()
            .map(|scored| Hit {
                key: ChunkKey(scored.key),
                score: scored.score,
            })
            .collect())
    }

    /// Reads the vectors of `keys`, in ascending order, leaving out those that are gone.
    fn each_vector(&self, keys: &RoaringBitmap, mut visit: impl FnMut(u32, &[f32])) -> Result<()> {
        let (treed, sums) = {
            let resident = read(&self.resident);
            let sums: Vec<Option<u32>> = keys
                .iter()
                .map(|key| resident.vector_crcs.get(&key).copied())
                .collect();
            (&resident.treed & keys, sums)
        };
        let _map = read(&self.map);
        let read_all = || -> arroy::Result<Option<u32>> {
            let rtxn = self.env.read_txn()?;
            let (open, trees) = (self.items(OPEN), self.items(TREES));
            for (key, expected) in keys.iter().zip(sums) {
                let places = if treed.contains(key) {
                    [&trees, &open]
                } else {
                    [&open, &trees]
                };
                if let Some(vector) = places[0].item_vector(&rtxn, key)?
                    && Some(records::vector_crc(&vector)) == expected
                {
                    visit(key, &vector);
                    continue;
                }
                // The key was removed, replaced or moved since memory was asked, or its vector is
                // damaged: the transaction's own record tells.
                let Some(record) = self.databases.codes.get(&rtxn, &key)? else {
                    continue;
                };
                let expected = CodeRecord::decode_vector_crc(record);
                let mut intact = None;
                for place in places {
                    let vector = place.item_vector(&rtxn, key)?;
                    intact = intact
                        .or(vector.filter(|vector| Some(records::vector_crc(vector)) == expected));
                }
                match intact {
                    Some(vector) => visit(key, &vector),
                    None => return Ok(Some(key)),
                }
            }
            Ok(None)
        };
        match read_all() {
            Ok(None) => Ok(()),
            Ok(Some(key)) => Err(self.damaged(format!("the vector of chunk {key} is not intact"))),
            Err(error) => Err(self.reading_failed(error)),
        }
    }

    /// What is stored of those of `keys` that are there, in ascending order.
    pub fn stored(&self, keys: &RoaringBitmap) -> Result<Vec<StoredVector>> {
        let mut stored = Vec::new();
        self.each_vector(keys, |key, vector| {
            stored.push(StoredVector {
                key: ChunkKey(key),
                dense: vector.to_vec(),
                sparse: None,
            });
        })?;
        let with_sparse = read(&self.resident).with_sparse.clone();
        let _map = read(&self.map);
        let mut read_sparse = || -> arroy::Result<Option<u32>> {
            let rtxn = self.env.read_txn()?;
            for vector in &mut stored {
                let key = vector.key.0;
                if !with_sparse.contains(key) {
                    continue;
                }
                let record = self.databases.sparse.get(&rtxn, &key)?;
                vector.sparse = record.and_then(records::decode_sparse);
                if vector.sparse.is_none() {
                    return Ok(Some(key));
                }
            }
            Ok(None)
        };
        match read_sparse() {
            Ok(None) => Ok(stored),
            Ok(Some(key)) => {
                Err(self.damaged(format!("the sparse weights of chunk {key} are not intact")))
            }
            Err(error) => Err(self.reading_failed(error)),
        }
    }

    /// The learned sparse weights' scores of `keys`; 0 for a key without any.
    pub fn sparse_scores(&self, question: &[(u32, f32)], keys: &[ChunkKey]) -> Result<Vec<f32>> {
        let mut question = question.to_vec();
        question.sort_by_key(|&(token, _)| token);
        let expected = {
            let resident = read(&self.resident);
            let keys: RoaringBitmap = keys.iter().map(|key| key.0).collect();
            keys & &resident.with_sparse
        };
        let _map = read(&self.map);
        let score_all = || -> arroy::Result<std::result::Result<Vec<f32>, u32>> {
            let rtxn = self.env.read_txn()?;
            let mut scores = Vec::with_capacity(keys.len());
            for key in keys {
                let score = match self.databases.sparse.get(&rtxn, &key.0)? {
                    Some(record) => records::sparse_score(&question, record),
                    None if !expected.contains(key.0) => Some(0.0),
                    // Memory expects weights: they were just removed, or they are lost.
                    None => match self.databases.codes.get(&rtxn, &key.0)? {
                        Some(record)
                            if CodeRecord::decode(record, self.spec.dimensions)
                                .is_none_or(|record| record.has_sparse) =>
                        {
                            None
                        }
                        Some(_) | None => Some(0.0),
                    },
                };
                match score {
                    Some(score) => scores.push(score),
                    None => return Ok(Err(key.0)),
                }
            }
            Ok(Ok(scores))
        };
        match score_all() {
            Ok(Ok(scores)) => Ok(scores),
            Ok(Err(key)) => {
                Err(self.damaged(format!("the sparse weights of chunk {key} are not intact")))
            }
            Err(error) => Err(self.reading_failed(error)),
        }
    }

    pub fn counts(&self) -> Counts {
        let resident = read(&self.resident);
        Counts {
            vectors: resident.present.len(),
            sparse: resident.with_sparse.len(),
            in_trees: resident.treed.len(),
            resident_bytes: (resident.codes.resident_bytes() + resident.vector_crcs.capacity() * 9)
                as u64,
            map_bytes: self.env.info().map_size as u64,
        }
    }

    fn items(&self, index: u16) -> arroy::Writer<Cosine> {
        arroy::Writer::new(self.databases.items, index, self.spec.dimensions)
    }

    /// The vector at length 1, so that a dot product is the cosine.
    fn unit(&self, vector: &[f32], of: VectorOf) -> Result<Vec<f32>> {
        if vector.len() != self.spec.dimensions {
            return Err(Error::Dimensions {
                expected: self.spec.dimensions,
                got: vector.len(),
            });
        }
        let length = kernels::dot(vector, vector).sqrt();
        if !length.is_normal() {
            return Err(Error::NoDirection(of));
        }
        if (length - 1.0).abs() <= UNIT_TOLERANCE {
            return Ok(vector.to_vec());
        }
        Ok(vector.iter().map(|x| x / length).collect())
    }

    /// Adds to the keys that [`TREES`] holds in vain; returns all of them.
    fn note_dropped(
        &self,
        wtxn: &mut RwTxn<'_>,
        keys: &RoaringBitmap,
    ) -> arroy::Result<RoaringBitmap> {
        let dropped = &read(&self.resident).dropped | keys;
        self.databases
            .meta
            .put(wtxn, DROPPED, &records::encode_keys(&dropped))?;
        Ok(dropped)
    }

    /// Takes the mean again and writes every code anew.
    fn recentre_in_txn(&self, wtxn: &mut RwTxn<'_>) -> arroy::Result<(Centre, Codes)> {
        let keys: Vec<u32> = self
            .databases
            .codes
            .remap_data_type::<DecodeIgnore>()
            .iter(wtxn)?
            .map(|entry| entry.map(|(key, ())| key))
            .collect::<heed::Result<_>>()?;
        let mut sum = vec![0.0_f64; self.spec.dimensions];
        let mut taken = 0.0_f64;
        for &key in keys
            .iter()
            .step_by(keys.len().div_ceil(CENTRE_SAMPLE).max(1))
        {
            if let Some(vector) = self.vector_in_txn(wtxn, key)? {
                taken += 1.0;
                for (sum, x) in sum.iter_mut().zip(&vector) {
                    *sum += f64::from(*x);
                }
            }
        }
        let centre = Centre {
            mean: sum
                .iter()
                .map(|sum| (sum / taken.max(1.0)) as f32)
                .collect(),
            taken_at: keys.len() as u64,
        };
        self.databases.meta.put(wtxn, CENTRE, &centre.encode())?;
        let mut codes = Codes::new(self.spec.dimensions);
        for key in keys {
            let Some(vector) = self.vector_in_txn(wtxn, key)? else {
                continue;
            };
            let record = self.databases.codes.get(wtxn, &key)?;
            let Some(mut record) =
                record.and_then(|record| CodeRecord::decode(record, self.spec.dimensions))
            else {
                continue;
            };
            let code = Code::of(&vector, &centre);
            codes.insert(key, &code);
            record.code = Some(code);
            self.databases.codes.put(wtxn, &key, &record.encode())?;
        }
        Ok((centre, codes))
    }

    fn vector_in_txn(&self, wtxn: &RwTxn<'_>, key: u32) -> arroy::Result<Option<Vec<f32>>> {
        match self.items(OPEN).item_vector(wtxn, key)? {
            Some(vector) => Ok(Some(vector)),
            None => self.items(TREES).item_vector(wtxn, key),
        }
    }

    /// Takes the centre again if the workspace has outgrown it.
    fn recentre_if_outgrown(&self) -> Result<bool> {
        let _writing = lock(&self.writing);
        {
            let resident = read(&self.resident);
            let outgrown = resident.centre.as_ref().is_some_and(|centre| {
                resident.present.len() >= centre.taken_at.saturating_mul(RECENTRE_GROWTH)
            });
            if !outgrown {
                return Ok(false);
            }
        }
        let (centre, codes) = self
            .write(|_, wtxn| self.recentre_in_txn(wtxn))
            .map_err(|error| self.writing_failed(error))?;
        let mut resident = write(&self.resident);
        resident.centre = Some(centre);
        resident.codes = codes;
        Ok(true)
    }

    /// Runs `change` in a transaction and commits it. When the map is full, it is doubled and the
    /// change runs again.
    fn write<T>(
        &self,
        mut change: impl FnMut(&Databases, &mut RwTxn<'_>) -> arroy::Result<T>,
    ) -> arroy::Result<T> {
        loop {
            let result = {
                let _map = read(&self.map);
                let mut wtxn = self.env.write_txn()?;
                match change(&self.databases, &mut wtxn) {
                    Ok(value) => wtxn.commit().map(|()| value).map_err(arroy::Error::from),
                    Err(error) => Err(error),
                }
            };
            match result {
                Err(arroy::Error::Heed(heed::Error::Mdb(MdbError::MapFull))) if self.may_grow() => {
                    self.grow_map()?;
                }
                other => return other,
            }
        }
    }

    fn may_grow(&self) -> bool {
        let bytes = self.env.info().map_size * 2;
        self.tuning.max_map_bytes.is_none_or(|max| bytes <= max)
    }

    fn grow_map(&self) -> heed::Result<()> {
        let _copying = lock(&self.copying);
        let _map = write(&self.map);
        let bytes = self.env.info().map_size * 2;
        tracing::debug!(bytes, dir = %self.dir.display(), "growing the vectors' map");
        // SAFETY: this process has no transaction, since each holds `map` shared, and no other
        // process has any, since the index folder is locked.
        unsafe { self.env.resize(bytes) }
    }

    fn damaged(&self, detail: String) -> Error {
        quarantine::mark(&self.dir, &detail);
        Error::Damaged {
            part: Part::Vectors,
            detail,
        }
    }

    fn reading_failed(&self, error: arroy::Error) -> Error {
        match as_damage(&error) {
            Some(detail) => self.damaged(detail),
            None if is_halted(&error) => Error::Halted(Part::Vectors),
            None => Error::ReadVectors(error),
        }
    }

    fn writing_failed(&self, error: arroy::Error) -> Error {
        match as_damage(&error) {
            Some(detail) => self.damaged(detail),
            None if is_halted(&error) => Error::Halted(Part::Vectors),
            None if room::is_short(&self.dir, io_error(&error)) => Error::DiskFull(Part::Vectors),
            None => Error::WriteVectors(error),
        }
    }
}

/// Figures for [`crate::IndexStats`].
#[derive(Default)]
pub(crate) struct Counts {
    pub vectors: u64,
    pub sparse: u64,
    pub in_trees: u64,
    pub resident_bytes: u64,
    pub map_bytes: u64,
}

struct NewVector {
    key: u32,
    language: Language,
    crc: u32,
    vector: Vec<f32>,
    sparse: Option<Vec<u8>>,
}

impl NewVector {
    fn record(&self, centre: Option<&Centre>) -> CodeRecord {
        CodeRecord {
            language: self.language,
            has_sparse: self.sparse.is_some(),
            vector_crc: self.crc,
            code: centre.map(|centre| Code::of(&self.vector, centre)),
        }
    }
}

impl Resident {
    /// The state as committed, or why it contradicts itself.
    fn load(
        databases: &Databases,
        rtxn: &RoTxn<'_>,
        dimensions: usize,
    ) -> arroy::Result<std::result::Result<Self, String>> {
        let centre = match databases.meta.get(rtxn, CENTRE)? {
            None => None,
            Some(bytes) => match Centre::decode(bytes, dimensions) {
                Some(centre) => Some(centre),
                None => return Ok(Err("the centre of its codes is unreadable".into())),
            },
        };
        let dropped = match databases.meta.get(rtxn, DROPPED)? {
            None => RoaringBitmap::new(),
            Some(bytes) => match records::decode_keys(bytes) {
                Some(dropped) => dropped,
                None => return Ok(Err("its list of removed vectors is unreadable".into())),
            },
        };
        let mut resident = Self {
            languages: Languages::default(),
            present: RoaringBitmap::new(),
            with_sparse: RoaringBitmap::new(),
            vector_crcs: HashMap::new(),
            treed: RoaringBitmap::new(),
            dropped,
            centre,
            codes: Codes::new(dimensions),
        };
        for entry in databases.codes.iter(rtxn)? {
            let (key, bytes) = entry?;
            match CodeRecord::decode(bytes, dimensions) {
                Some(record) if record.code.is_some() == resident.centre.is_some() => {
                    resident.insert(key, &record);
                }
                Some(_) | None => return Ok(Err(format!("the code of chunk {key} is not intact"))),
            }
        }
        let trees = arroy::Writer::<Cosine>::new(databases.items, TREES, dimensions);
        if !trees.is_empty(rtxn)? {
            resident.treed = trees::keys(databases, rtxn, dimensions)? - &resident.dropped;
            if !resident.treed.is_subset(&resident.present) {
                return Ok(Err("its trees hold vectors that it doesn't know".into()));
            }
        }
        Ok(Ok(resident))
    }

    fn insert(&mut self, key: u32, record: &CodeRecord) {
        self.languages.insert(key, record.language);
        self.present.insert(key);
        self.vector_crcs.insert(key, record.vector_crc);
        if record.has_sparse {
            self.with_sparse.insert(key);
        } else {
            self.with_sparse.remove(key);
        }
        if let Some(code) = &record.code {
            self.codes.insert(key, code);
        }
    }

    fn remove(&mut self, keys: &RoaringBitmap) {
        self.languages.remove(keys);
        self.present -= keys;
        self.with_sparse -= keys;
        for key in keys {
            self.vector_crcs.remove(&key);
            self.codes.remove(key);
        }
    }

    /// The keys to rescore, besides those that trees answer for.
    fn candidates(
        &self,
        question: &[f32],
        depth: usize,
        exact_limit: u64,
        filter: Option<&RoaringBitmap>,
        by_trees: Option<&trees::Nearest>,
    ) -> RoaringBitmap {
        let allowed = match (filter, by_trees) {
            (Some(filter), _) => Some(&self.present & filter),
            (None, Some(trees)) => Some(&self.present - &trees.answered),
            (None, None) => None,
        };
        let count = allowed
            .as_ref()
            .map_or(self.present.len(), RoaringBitmap::len);
        match &self.centre {
            Some(centre) if count > exact_limit => self
                .codes
                .best(&Planes::of(question, centre), depth, allowed.as_ref())
                .into_iter()
                .collect(),
            Some(_) | None => allowed.unwrap_or_else(|| self.present.clone()),
        }
    }
}

fn forget_copy(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(COPY_FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Why the part in `dir` must not be opened by LMDB.
fn suspect(dir: &Path) -> Result<Option<String>> {
    if let Some(reason) = quarantine::marked(dir) {
        return Ok(Some(reason));
    }
    if fs::read(dir.join(OPENING_FILE)).is_ok_and(|marks| marks.len() >= STRIKES) {
        return Ok(Some(
            "opening it ended the application, more than once".into(),
        ));
    }
    let data = dir.join(DATA_FILE);
    if !data.exists() {
        return Ok(None);
    }
    match lmdb_check::check(&data) {
        Ok(()) => Ok(None),
        Err(Finding::Damage(reason)) => Ok(Some(reason)),
        Err(Finding::Io(source)) => Err(Error::Folder { path: data, source }),
    }
}

fn io_error(error: &arroy::Error) -> Option<&std::io::Error> {
    match error {
        arroy::Error::Heed(heed::Error::Io(io)) | arroy::Error::Io(io) => Some(io),
        _ => None,
    }
}

/// After a commit that it could neither end nor take back (the disk was full, or failed), LMDB refuses
/// everything until the file is opened again.
fn is_halted(error: &arroy::Error) -> bool {
    matches!(error, arroy::Error::Heed(heed::Error::Mdb(MdbError::Panic)))
}

fn as_damage(error: &arroy::Error) -> Option<String> {
    let is_damage = match error {
        arroy::Error::Heed(heed::Error::Mdb(error)) => matches!(
            error,
            MdbError::Corrupted
                | MdbError::PageNotFound
                | MdbError::Invalid
                | MdbError::VersionMismatch
                | MdbError::Incompatible
                | MdbError::CursorFull
                | MdbError::PageFull
        ),
        arroy::Error::Heed(heed::Error::Decoding(_))
        | arroy::Error::MissingKey { .. }
        | arroy::Error::CannotDecodeKeyMode { .. }
        | arroy::Error::UnmatchingDistance { .. } => true,
        arroy::Error::Heed(
            heed::Error::Io(_) | heed::Error::Encoding(_) | heed::Error::EnvAlreadyOpened,
        )
        | arroy::Error::Io(_)
        | arroy::Error::InvalidVecDimension { .. }
        | arroy::Error::DatabaseFull
        | arroy::Error::InvalidItemAppend
        | arroy::Error::MissingMetadata(_)
        | arroy::Error::NeedBuild(_)
        | arroy::Error::BuildCancelled => false,
    };
    is_damage.then(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn opened(dir: &Path) -> Vectors {
        let spec = VectorSpec {
            fingerprint: "test".into(),
            dimensions: 8,
        };
        let opened = Vectors::open(dir, Generation::FIRST, &spec, Tuning::default());
        opened.unwrap().0
    }

    #[test]
    fn searches_go_on_while_a_growing_map_waits_for_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let vectors = opened(dir.path());
        let before = vectors.counts().map_bytes;
        std::thread::scope(|scope| {
            // As while everything is copied.
            let copying = lock(&vectors.copying);
            let map = read(&vectors.map);
            let growing = scope.spawn(|| vectors.grow_map().unwrap());
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(100) {
                assert!(vectors.map.try_read().is_ok(), "a search would wait");
                std::thread::yield_now();
            }
            assert!(!growing.is_finished(), "control");
            drop(map);
            drop(copying);
        });
        assert_eq!(vectors.counts().map_bytes, 2 * before);
    }
}
