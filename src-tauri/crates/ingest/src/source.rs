//! Opening files that may be anything: a link, a pipe, a device, a file that is being written.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use docent_domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::format::{Detection, HEAD_BYTES, detect_format};
use crate::refusal::Refusal;

/// Which version of which file: equal stamps mean that nothing was written in between, as far as
/// the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    pub size_bytes: u64,
    /// Nanoseconds since the Unix epoch.
    pub modified_ns: i64,
    /// Device and inode, where the system has them: the file's identity through renames.
    pub file_id: Option<(u64, u64)>,
    /// When the file was made, in nanoseconds since the Unix epoch, where the file system says. It
    /// stays through renames, and tells files apart that have had the same inode one after the other.
    pub born_ns: Option<i64>,
}

impl FileStamp {
    /// Of the file at `path` now; links are not followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from_metadata(&std::fs::symlink_metadata(path)?))
    }

    #[must_use]
    pub fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            size_bytes: metadata.len(),
            modified_ns: metadata.modified().map_or(0, since_epoch),
            file_id: file_id(metadata),
            born_ns: metadata.created().ok().map(since_epoch),
        }
    }

    #[must_use]
    pub fn modified_at(&self) -> Timestamp {
        Timestamp(self.modified_ns.div_euclid(1_000_000))
    }
}

/// In nanoseconds.
fn since_epoch(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    }
}

#[cfg(unix)]
#[allow(
    clippy::unnecessary_wraps,
    reason = "other systems have no identity to give"
)]
fn file_id(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn file_id(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Opens a regular file for reading. Links are refused, and pipes and devices don't block.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), Refusal> {
    let file = open_unfollowed(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(not_a_file(&metadata))
    }
}

#[cfg(unix)]
fn open_unfollowed(path: &Path) -> Result<File, Refusal> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(Errno::LOOP) => Err(Refusal::NotAFile {
            what: "a link".to_owned(),
        }),
        // What opening a socket or a device without a driver says.
        Err(Errno::NXIO | Errno::OPNOTSUPP) => Err(Refusal::NotAFile {
            what: "a socket or a device".to_owned(),
        }),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

#[cfg(not(unix))]
fn open_unfollowed(path: &Path) -> Result<File, Refusal> {
    if std::fs::symlink_metadata(path)?.is_symlink() {
        return Err(Refusal::NotAFile {
            what: "a link".to_owned(),
        });
    }
    Ok(File::open(path)?)
}

fn not_a_file(metadata: &Metadata) -> Refusal {
    let what = if metadata.is_dir() {
        "a folder"
    } else {
        "a pipe or a device"
    };
    Refusal::NotAFile {
        what: what.to_owned(),
    }
}

/// A first look at a file, before any job is made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub detection: Detection,
    pub stamp: FileStamp,
}

/// Looks at a file's kind and its first bytes. Blocking, but short.
pub fn inspect(path: &Path) -> Result<Inspection, Refusal> {
    let (file, metadata) = open(path)?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(Inspection {
        detection: detect_format(path, &head),
        stamp: FileStamp::from_metadata(&metadata),
    })
}

/// Reads a whole file. Its size was looked at before; one that grows past the bound meanwhile is
/// not believed.
pub(crate) fn read_whole(file: &mut dyn Read, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Refusal::Changed);
    }
    Ok(bytes)
}
