//! arroy's trees, for workspaces so large that scanning the codes takes too long.
//!
//! They are the lesser way wherever both were measured. At 100,000 × 384, shaped like
//! multilingual-e5-small, ten nearest, 50 trees, 5,000 items looked at:
//!
//! | | time | recall, no clusters | recall, 5,000 clusters | to build |
//! |---|---|---|---|---|
//! | scan and rescore 1,000 | 4 ms | 0.998 | 1.000 | nothing |
//! | trees | 8 ms | 0.652 | 0.458 | 130 to 180 s on a busy machine |
//!
//! Hence `Tuning::trees_from`, far above any workspace measured: a scan grows with the workspace,
//! a search of trees hardly does. One core scans a million codes in about 6 ms at 384 dimensions
//! and 8 to 17 at 1,024 (whether or not the machine counts bits in vectors), so the scan reaches
//! a tenth of a second beyond it, where a loss of recall may be the smaller harm.
//!
//! Building moves the open items over in batches and then grows the trees a few at a time, each
//! step in a transaction of its own, so that writers wait for seconds and not minutes, and an
//! interrupted build goes on where it stopped. While the moved items are unbuilt, arroy refuses
//! to read the index and searches scan the codes, which cover everything.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use arroy::distances::Cosine;
use heed::RoTxn;
use rand::SeedableRng;
use rand::rngs::StdRng;
use roaring::RoaringBitmap;

use super::{DROPPED, Databases, OPEN, TREES, Vectors};
use crate::error::{Error, Part, Result};
use crate::room;
use crate::sync::{lock, read, write};
use crate::vectors::records;

/// arroy's own choice is several hundred, for ten times the build and twice the space.
const TREE_COUNT: usize = 50;

/// Trees built in one transaction.
const TREES_PER_STEP: usize = 5;

/// Items moved in one transaction: at 8 KB each, what LMDB keeps dirty without spilling.
const MOVED_PER_STEP: usize = 16_384;

/// The trees are built again when this share of the workspace, 1 in n, is outside them or dropped.
const STALE_SHARE: u64 = 8;

const SEED: u64 = 0x0D0C_E417;

/// What a call of [`crate::WorkspaceIndex::maybe_build_trees`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeReport {
    /// The mean that the codes are relative to was taken again.
    pub recentred: bool,
    /// Trees were built, or built again.
    pub built: bool,
    /// It was stopped; the next call goes on.
    pub stopped: bool,
    /// Vectors that the trees answer for now.
    pub in_trees: u64,
}

/// What the trees say about a question.
pub(crate) struct Nearest {
    /// The keys that they answer for.
    pub answered: RoaringBitmap,
    pub nearest: RoaringBitmap,
}

/// The items in [`TREES`], built or not.
pub(crate) fn keys(
    databases: &Databases,
    rtxn: &RoTxn<'_>,
    dimensions: usize,
) -> arroy::Result<RoaringBitmap> {
    match arroy::Reader::<Cosine>::open(rtxn, TREES, databases.items) {
        Ok(reader) => Ok(reader.item_ids().clone()),
        Err(arroy::Error::NeedBuild(_) | arroy::Error::MissingMetadata(_)) => {
            arroy::Writer::<Cosine>::new(databases.items, TREES, dimensions)
                .iter(rtxn)?
                .map(|item| item.map(|(key, _)| key))
                .collect()
        }
        Err(error) => Err(error),
    }
}

impl Vectors {
    /// The nearest of the keys in trees, or `None` when there are no usable trees.
    pub(super) fn nearest_by_trees(&self, question: &[f32], k: usize) -> Result<Option<Nearest>> {
        let (treed, count) = {
            let resident = read(&self.resident);
            (resident.treed.clone(), resident.present.len())
        };
        if treed.is_empty() {
            return Ok(None);
        }
        let depth = self.depth(k, count);
        let look_at = NonZeroUsize::new(self.tuning.trees_look_at).unwrap_or(NonZeroUsize::MIN);
        let _map = read(&self.map);
        let ask = || -> arroy::Result<Option<Nearest>> {
            let rtxn = self.env.read_txn()?;
            let reader = match arroy::Reader::open(&rtxn, TREES, self.databases.items) {
                Ok(reader) => reader,
                Err(arroy::Error::NeedBuild(_) | arroy::Error::MissingMetadata(_)) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let answered = treed & reader.item_ids();
            let nearest: RoaringBitmap = reader
                .nns(depth)
                .search_k(look_at)
                .by_vector(&rtxn, question)?
                .into_iter()
                .map(|(key, _)| key)
                .collect();
            let nearest = nearest & &answered;
            Ok(Some(Nearest { answered, nearest }))
        };
        ask().map_err(|error| self.reading_failed(error))
    }

    pub fn stop_building(&self) {
        self.stop_building.store(true, Ordering::Relaxed);
    }

    pub fn maybe_build_trees(&self) -> Result<TreeReport> {
        self.stop_building.store(false, Ordering::Relaxed);
        let mut report = TreeReport {
            recentred: self.recentre_if_outgrown()?,
            ..TreeReport::default()
        };
        if self.are_trees_due()? {
            match self.build_trees() {
                Ok(()) => report.built = true,
                Err(arroy::Error::BuildCancelled) => report.stopped = true,
                Err(error) => return Err(self.building_failed(error)),
            }
        }
        report.in_trees = read(&self.resident).treed.len();
        Ok(report)
    }

    fn are_trees_due(&self) -> Result<bool> {
        let (all, treed, dropped) = {
            let resident = read(&self.resident);
            (
                resident.present.len(),
                resident.treed.len(),
                resident.dropped.len(),
            )
        };
        if all < self.tuning.trees_from {
            return Ok(false);
        }
        let stale = (all - treed).max(dropped);
        if treed == 0 || stale * STALE_SHARE >= all {
            return Ok(true);
        }
        let _map = read(&self.map);
        let unbuilt = || -> arroy::Result<bool> {
            let rtxn = self.env.read_txn()?;
            self.items(TREES).need_build(&rtxn)
        };
        unbuilt().map_err(|error| self.reading_failed(error))
    }

    fn build_trees(&self) -> arroy::Result<()> {
        self.forget_dropped()?;
        while self.move_open_items()? {
            self.go_on()?;
        }
        for trees in (TREES_PER_STEP..=TREE_COUNT).step_by(TREES_PER_STEP) {
            self.go_on()?;
            let _writing = lock(&self.writing);
            self.write(|_, wtxn| {
                let mut items = self.items(TREES);
                // Temporary files hold vectors, so they stay in the workspace's folder.
                items.set_tmpdir(&self.dir);
                let mut rng = StdRng::seed_from_u64(SEED + trees as u64);
                items
                    .builder(&mut rng)
                    .n_trees(trees)
                    .cancel(|| self.stop_building.load(Ordering::Relaxed))
                    .build(wtxn)
            })?;
        }
        Ok(())
    }

    fn go_on(&self) -> arroy::Result<()> {
        if self.stop_building.load(Ordering::Relaxed) {
            Err(arroy::Error::BuildCancelled)
        } else {
            Ok(())
        }
    }

    /// Deletes the removed items from the trees' index.
    pub(super) fn forget_dropped(&self) -> arroy::Result<()> {
        let _writing = lock(&self.writing);
        let dropped = read(&self.resident).dropped.clone();
        if dropped.is_empty() {
            return Ok(());
        }
        self.write(|databases, wtxn| {
            let trees = self.items(TREES);
            for key in &dropped {
                trees.del_item(wtxn, key)?;
            }
            let none = records::encode_keys(&RoaringBitmap::new());
            Ok(databases.meta.put(wtxn, DROPPED, &none)?)
        })?;
        write(&self.resident).dropped.clear();
        Ok(())
    }

    /// Moves a batch of open items; tells whether there were any.
    fn move_open_items(&self) -> arroy::Result<bool> {
        let _writing = lock(&self.writing);
        let (batch, is_last) = {
            let resident = read(&self.resident);
            // A key that is dropped and here again stays open until the next build.
            let open = &(&resident.present - &resident.treed) - &resident.dropped;
            let batch: RoaringBitmap = open.iter().take(MOVED_PER_STEP).collect();
            let is_last = batch.len() == open.len() && resident.dropped.is_empty();
            (batch, is_last)
        };
        if batch.is_empty() {
            return Ok(false);
        }
        self.write(|_, wtxn| {
            let (open, trees) = (self.items(OPEN), self.items(TREES));
            for key in &batch {
                let Some(vector) = open.item_vector(wtxn, key)? else {
                    return Err(arroy::Error::MissingKey {
                        index: OPEN,
                        mode: "Item",
                        item: key,
                    });
                };
                trees.add_item(wtxn, key, &vector)?;
                open.del_item(wtxn, key)?;
            }
            if is_last {
                // What remains are arroy's marks of changes, one for every item there ever was.
                open.clear(wtxn)?;
            }
            Ok(())
        })?;
        write(&self.resident).treed |= batch;
        Ok(true)
    }

    fn building_failed(&self, error: arroy::Error) -> Error {
        match super::as_damage(&error) {
            Some(detail) => self.damaged(detail),
            None if super::is_halted(&error) => Error::Halted(Part::Vectors),
            None if room::is_short(&self.dir, super::io_error(&error)) => {
                Error::DiskFull(Part::Vectors)
            }
            None => Error::BuildTrees(error),
        }
    }
}
