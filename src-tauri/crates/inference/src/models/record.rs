//! What is known of files on disk: hashes, and the record that spares hashing them at every start.
//!
//! `<model>/.verified` holds, per file, the SHA-256 that was found and the size and modification
//! time at which it was found. A file whose size or time differs counts as unverified. The record is
//! a cache of work done here, not a protection against somebody who may write to the folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{Error, Mismatch};
use crate::catalog::ModelFile;

pub(super) const RECORD: &str = ".verified";

/// Large enough that hashing, not reading, is the limit.
const BUFFER: usize = 1 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub files: BTreeMap<String, VerifiedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VerifiedFile {
    pub size: u64,
    pub modified_ns: u128,
    pub sha256: String,
}

impl VerifiedFile {
    /// What `path` looks like now, with the hash that the caller found.
    pub fn observe(path: &Path, sha256: String) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified()?;
        Ok(Self {
            size: metadata.len(),
            modified_ns: modified
                .duration_since(UNIX_EPOCH)
                .map_or(0, |after| after.as_nanos()),
            sha256,
        })
    }
}

impl Record {
    /// An unreadable record is an empty one: the files are then verified again.
    pub fn read(directory: &Path) -> Self {
        fs::read(directory.join(RECORD))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(RECORD);
        let bytes = serde_json::to_vec_pretty(self).expect("BUG: a record is plain data");
        write_durably(&path, &bytes).map_err(Error::io("write", &path))
    }
}

/// Writes beside, syncs, renames, syncs the folder.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// Makes a rename survive a loss of power.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(unix)
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Size and SHA-256 of what a reader gives, refusing more than `at_most` bytes.
pub(super) struct Digested {
    pub size: u64,
    pub sha256: String,
}

/// Copies `from` into `into` while hashing. Stops with `None` past `at_most` bytes, so that an
/// archive cannot fill the disk, and with `Interrupted` when `stop` says so.
pub(super) fn copy_hashing(
    from: &mut dyn Read,
    into: &mut dyn Write,
    hasher: &mut Sha256,
    at_most: u64,
    mut on_bytes: impl FnMut(u64) -> bool,
) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(Some(total)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += count as u64;
        if total > at_most {
            return Ok(None);
        }
        hasher.update(&buffer[..count]);
        into.write_all(&buffer[..count])?;
        if !on_bytes(count as u64) {
            return Err(io::Error::other("cancelled"));
        }
    }
}

pub(super) fn hash_file(path: &Path, on_bytes: impl FnMut(u64) -> bool) -> io::Result<Digested> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let size = copy_hashing(&mut file, &mut io::sink(), &mut hasher, u64::MAX, on_bytes)?;
    Ok(Digested {
        size: size.unwrap_or(0),
        sha256: hex(&hasher.finalize()),
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("BUG: writing to a string");
            text
        })
}

/// What a file must be: from the catalog, or from the lock file of first downloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub size: Option<u64>,
    pub size_at_most: u64,
    pub sha256: Option<String>,
}

impl Expected {
    pub fn of(file: &ModelFile) -> Self {
        Self {
            size: file.size,
            size_at_most: file.size_bound(),
            sha256: file.sha256.clone(),
        }
    }

    /// The first way in which a size and hash differ from what is expected.
    pub fn mismatch(&self, size: u64, sha256: &str) -> Option<Mismatch> {
        self.size_mismatch(size).or_else(|| match &self.sha256 {
            Some(expected) if expected != sha256 => Some(Mismatch::Hash {
                expected: expected.clone(),
                actual: sha256.to_owned(),
            }),
            _ => None,
        })
    }

    pub fn size_mismatch(&self, size: u64) -> Option<Mismatch> {
        match self.size {
            Some(expected) if expected != size => Some(Mismatch::Size {
                expected,
                actual: size,
            }),
            _ if size > self.size_at_most => Some(Mismatch::TooLong {
                at_most: self.size_at_most,
            }),
            _ => None,
        }
    }
}
