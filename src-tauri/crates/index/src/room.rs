//! Telling a full disk from other trouble. tantivy and LMDB don't always say: a thread of the one
//! "died", and the other calls a write that was cut short an I/O error.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Enough for any single write of either part to begin with.
const PROBE_BYTES: usize = 1 << 20;

const PROBE_FILE: &str = "room.tmp";

/// Whether writing into `dir` failed for want of room; `said` is the failure as far as it is known.
pub(crate) fn is_short(dir: &Path, said: Option<&io::Error>) -> bool {
    said.is_some_and(is_full) || probe(dir).is_err_and(|error| is_full(&error))
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(PROBE_FILE);
    let written = fs::write(&path, vec![0; PROBE_BYTES]);
    // Left behind by a file system that cannot even delete, it is overwritten by the next probe.
    let _ = fs::remove_file(&path);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_what_was_said_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let said = |kind: ErrorKind| is_short(dir.path(), Some(&io::Error::from(kind)));
        assert!(said(ErrorKind::StorageFull));
        assert!(said(ErrorKind::QuotaExceeded));
        assert!(!said(ErrorKind::PermissionDenied), "there is room here");
        assert!(!is_short(dir.path(), None));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_known_by_a_probe() {
        let error = fs::write("/dev/full", b"x").unwrap_err();
        assert!(is_full(&error));
    }
}
