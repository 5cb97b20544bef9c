//! What can go wrong with a workspace's index.

use std::fmt;
use std::io;
use std::path::PathBuf;

use docent_domain::ChunkKey;
use heed::MdbError;
use tantivy::TantivyError;
use tantivy::directory::error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The two independent halves of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Words,
    Vectors,
}

impl Part {
    /// The part's folder inside the index folder.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Vectors => "vectors",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the search index in {path} is open already; close the other Docent and try again")]
    InUse { path: PathBuf },
    #[error("could not prepare the search index's folder {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("could not delete the search index in {path}: {source}")]
    Destroy { path: PathBuf, source: io::Error },
    #[error("could not open the word index: {0}")]
    OpenWords(tantivy::TantivyError),
    #[error("could not write to the word index: {0}")]
    WriteWords(tantivy::TantivyError),
    #[error("could not search the word index: {0}")]
    SearchWords(tantivy::TantivyError),
    #[error("could not open the vectors: {0}")]
    OpenVectors(arroy::Error),
    #[error("could not write the vectors: {0}")]
    WriteVectors(arroy::Error),
    #[error("could not read the vectors: {0}")]
    ReadVectors(arroy::Error),
    #[error("could not build the search trees: {0}")]
    BuildTrees(arroy::Error),
    /// Nothing of what was to be written is there; what was there before is.
    #[error("there is no room on the disk for the {0} of this workspace")]
    DiskFull(Part),
    #[error("a vector of {got} numbers came where the workspace's embedder makes {expected}")]
    Dimensions { expected: usize, got: usize },
    #[error("the vector of {0} has no direction: it is zero, infinite or not a number")]
    NoDirection(VectorOf),
    /// What is on disk contradicts itself. Mending the index, or opening it the next time, moves the
    /// part aside and starts it empty, so that it can be filled again from the documents.
    #[error("the {part} of this workspace are damaged on disk: {detail}")]
    Damaged { part: Part, detail: String },
    /// What is on disk may be whole, but nothing can be read or written until it is opened again:
    /// mending the index does that.
    #[error("the {0} of this workspace have to be opened again after a write that failed")]
    Halted(Part),
}

/// Which vector an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorOf {
    Chunk(ChunkKey),
    Query,
}

impl fmt::Display for VectorOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(key) => write!(f, "chunk {key}"),
            Self::Query => f.write_str("the question"),
        }
    }
}

/// On whose side the cause of an error lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Disk, memory, another process: the same call may succeed later.
    Environment,
    /// Stored data: reopening the index and reconciling it cures it.
    Data,
    /// The caller passed what no caller should.
    Bug,
}

impl Error {
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::InUse { .. }
            | Self::Folder { .. }
            | Self::Destroy { .. }
            | Self::OpenWords(_)
            | Self::WriteWords(_)
            | Self::SearchWords(_)
            | Self::OpenVectors(_)
            | Self::WriteVectors(_)
            | Self::ReadVectors(_)
            | Self::BuildTrees(_)
            | Self::DiskFull(_) => Fault::Environment,
            Self::Damaged { .. } | Self::Halted(_) => Fault::Data,
            Self::Dimensions { .. } | Self::NoDirection(_) => Fault::Bug,
        }
    }

    /// Whether the index must be mended, or opened again, before it is of use.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self.fault(), Fault::Data)
    }

    /// Whether the disk had no room. Nothing that was there before is lost, and the same call
    /// succeeds when there is room again.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFull(_) => true,
            Self::Folder { source, .. } | Self::Destroy { source, .. } => is_full(source),
            Self::OpenWords(error) | Self::WriteWords(error) | Self::SearchWords(error) => {
                words_were_full(error)
            }
            Self::OpenVectors(error)
            | Self::WriteVectors(error)
            | Self::ReadVectors(error)
            | Self::BuildTrees(error) => vectors_were_full(error),
            Self::InUse { .. }
            | Self::Dimensions { .. }
            | Self::NoDirection(_)
            | Self::Damaged { .. }
            | Self::Halted(_) => false,
        }
    }
}

/// A file may also be as large as its owner, or the file system, lets it be.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// tantivy keeps the system's errors in variants of many kinds, and out of `source`.
fn words_were_full(error: &TantivyError) -> bool {
    match error {
        TantivyError::IoError(source)
        | TantivyError::LockFailure(LockError::IoError(source), _)
        | TantivyError::OpenDirectoryError(
            OpenDirectoryError::IoError {
                io_error: source, ..
            }
            | OpenDirectoryError::FailedToCreateTempDir(source),
        )
        | TantivyError::OpenReadError(OpenReadError::IoError {
            io_error: source, ..
        })
        | TantivyError::OpenWriteError(OpenWriteError::IoError {
            io_error: source, ..
        }) => is_full(source),
        _ => false,
    }
}

/// The map is the vectors' share of the address space; it is full only when it cannot grow.
fn vectors_were_full(error: &arroy::Error) -> bool {
    match error {
        arroy::Error::Heed(heed::Error::Mdb(error)) => *error == MdbError::MapFull,
        arroy::Error::Heed(heed::Error::Io(source)) | arroy::Error::Io(source) => is_full(source),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_trouble() {
        let io = |kind| io::Error::from(kind);
        let words = |kind| Error::WriteWords(TantivyError::IoError(Arc::new(io(kind))));
        let open = |kind| {
            let error = OpenWriteError::wrap_io_error(io(kind), PathBuf::from("x"));
            Error::WriteWords(TantivyError::OpenWriteError(error))
        };
        let vectors = |kind| Error::WriteVectors(arroy::Error::Heed(heed::Error::Io(io(kind))));
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(
                words(kind).is_disk_full() && open(kind).is_disk_full(),
                "{kind}"
            );
            assert!(vectors(kind).is_disk_full(), "{kind}");
        }
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound] {
            assert!(
                !words(kind).is_disk_full() && !open(kind).is_disk_full(),
                "{kind}"
            );
            assert!(!vectors(kind).is_disk_full(), "{kind}");
        }
        let no_space = io::Error::from_raw_os_error(28);
        assert!(is_full(&no_space), "what the system calls ENOSPC");
    }
}
