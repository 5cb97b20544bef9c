//! Moving a damaged part aside, so that the index opens empty instead of not at all.
//!
//! The part's folder becomes `quarantine-<part>-<uuid>` beside it; of each part the newest is
//! kept for a look, since a damaged index may be a sign of a failing disk. A part in use that
//! finds damage leaves the file [`MARK`] in its folder, which the next open obeys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{Error, Part, Result};

const MARK: &str = "damaged";

/// How a part was found when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    Opened,
    /// There was none; it is empty.
    Created,
    /// It was of another embedder or another version, and was deleted; it is empty.
    Dropped {
        reason: String,
    },
    /// It was damaged and is kept at `moved_to`; it is empty.
    Quarantined {
        reason: String,
        moved_to: PathBuf,
    },
}

impl PartState {
    /// Whether what was stored before is gone, so that it must be filled again.
    #[must_use]
    pub const fn is_emptied(&self) -> bool {
        match self {
            Self::Opened | Self::Created => false,
            Self::Dropped { .. } | Self::Quarantined { .. } => true,
        }
    }
}

/// Remembers that the part in `dir` is damaged.
pub(crate) fn mark(dir: &Path, reason: &str) {
    tracing::error!(dir = %dir.display(), reason, "the index is damaged");
    if let Err(error) = fs::write(dir.join(MARK), reason) {
        tracing::warn!(%error, "could not mark the damaged index");
    }
}

/// Why the part in `dir` was marked.
pub(crate) fn marked(dir: &Path) -> Option<String> {
    fs::read(dir.join(MARK))
        .ok()
        .map(|reason| String::from_utf8_lossy(&reason).into_owned())
}

/// `folder` is the part's in the index folder.
pub(crate) fn move_aside(
    index_dir: &Path,
    part: Part,
    folder: &str,
    reason: String,
) -> Result<PartState> {
    let from = index_dir.join(folder);
    let prefix = prefix(part);
    let moved_to = index_dir.join(format!("{prefix}{}", Uuid::now_v7()));
    let failed = |source| Error::Folder {
        path: from.clone(),
        source,
    };
    for old in quarantined(index_dir, &prefix).map_err(failed)? {
        if let Err(error) = fs::remove_dir_all(&old) {
            tracing::warn!(%error, dir = %old.display(), "could not delete an old quarantine");
        }
    }
    fs::rename(&from, &moved_to).map_err(failed)?;
    tracing::warn!(%part, reason, moved_to = %moved_to.display(), "moved a damaged index aside");
    Ok(PartState::Quarantined { reason, moved_to })
}

pub(crate) fn drop_part(path: PathBuf, part: Part, reason: String) -> Result<PartState> {
    tracing::info!(%part, reason, "dropping the index");
    match fs::remove_dir_all(&path) {
        Ok(()) => Ok(PartState::Dropped { reason }),
        Err(source) => Err(Error::Folder { path, source }),
    }
}

/// Deletes what was moved aside of a part.
pub(crate) fn delete(index_dir: &Path, part: Part) -> Result<()> {
    let failed = |source| Error::Folder {
        path: index_dir.to_owned(),
        source,
    };
    for old in quarantined(index_dir, &prefix(part)).map_err(failed)? {
        fs::remove_dir_all(&old).map_err(failed)?;
    }
    Ok(())
}

fn prefix(part: Part) -> String {
    format!("quarantine-{part}-")
}

fn quarantined(index_dir: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(index_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
