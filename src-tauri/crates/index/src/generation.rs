//! Sets of vectors of one workspace. Each is of one embedder and in a folder of its own, so that
//! vectors of two embedders cannot mix; which of them answers is the caller's to remember.

use std::fs;
use std::path::Path;

use crate::error::{Error, Part, Result};

/// Number of a set of vectors; the caller gives none out twice in a workspace. Folder names on disk
/// follow from it, and changing them loses vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// That of a workspace whose embedder has never been changed.
    pub const FIRST: Self = Self(1);

    pub(crate) fn folder(self) -> String {
        let first = Part::Vectors.folder();
        if self == Self::FIRST {
            first.to_owned()
        } else {
            format!("{first}-{}", self.0)
        }
    }

    fn of_folder(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(Part::Vectors.folder())?;
        let generation = match rest.strip_prefix('-') {
            Some(number) => Self(number.parse().ok()?),
            None => Self::FIRST,
        };
        (generation.folder() == name).then_some(generation)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The generations that have a folder in an index folder, ascending.
pub(crate) fn list(index_dir: &Path) -> Result<Vec<Generation>> {
    let failed = |source| Error::Folder {
        path: index_dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(index_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        found.extend(Generation::of_folder(&name.to_string_lossy()));
    }
    found.sort_unstable();
    Ok(found)
}

/// LMDB's pages.
const PAGE_BYTES: u64 = 4096;

/// What arroy and LMDB keep beside a vector's numbers.
const ITEM_HEAD_BYTES: u64 = 64;

/// What is kept of a vector beside its item and its one-bit code, with the tree above it.
const RECORD_BYTES: u64 = 64;

/// Learned weights of a passage: 8 bytes for each of the different tokens, of which 256 in a row have
/// some 150. Two passages share a page.
const SPARSE_BYTES: u64 = PAGE_BYTES / 2;

/// About how much room that many vectors will take on the disk, with learned weights where the
/// embedder `has_sparse` ones. A vector takes whole pages from half a page on, since pages are split
/// in the middle.
#[must_use]
pub fn estimated_bytes(vectors: u64, dimensions: usize, has_sparse: bool) -> u64 {
    let item = dimensions as u64 * 4 + ITEM_HEAD_BYTES;
    let item = if item * 3 > PAGE_BYTES {
        item.next_multiple_of(PAGE_BYTES)
    } else {
        // Pages are two thirds full on average, half full when they fill in order.
        item * 2
    };
    let sparse = if has_sparse { SPARSE_BYTES } else { 0 };
    vectors * (item + dimensions as u64 / 8 + RECORD_BYTES + sparse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changing a name loses the vectors under the old one.
    #[test]
    fn folder_names_must_not_change() {
        assert_eq!(Generation::FIRST.folder(), "vectors");
        assert_eq!(Generation(7).folder(), "vectors-7");
        let of = Generation::of_folder;
        assert_eq!(of("vectors"), Some(Generation::FIRST));
        assert_eq!(of("vectors-12"), Some(Generation(12)));
        for other in [
            "vectors-1",
            "vectors-07",
            "vectors-",
            "vectors-x",
            "words",
            "quarantine-vectors-2",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    /// Against the files of 100,000 vectors in `vectors`' table, which were 426 MB and 841 MB.
    #[test]
    fn the_room_is_estimated_closely() {
        for (dimensions, measured) in [(384, 426_000_000_u64), (1024, 841_000_000)] {
            let estimated = estimated_bytes(100_000, dimensions, false);
            assert!(
                estimated.abs_diff(measured) < measured / 10,
                "{dimensions}: {estimated}"
            );
        }
    }
}
