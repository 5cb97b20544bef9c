//! One process per data folder.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Code, Error, Result};

/// Held for as long as a process uses a data folder; the system releases it when the process dies,
/// however it dies.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Blocking, but never waits.
    pub(crate) fn acquire(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("docent.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::internal(&format!("opening {}", path.display()), error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(
                Code::Conflict,
                format!("another Docent is using {}", data_dir.display()),
            )
            .with_hint(
                "Close its window or stop its server, or choose another folder with --data-dir",
            )),
            Err(error) => Err(Error::internal(
                &format!("locking {}", path.display()),
                error,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_process_is_told_and_the_lock_ends_with_its_holder() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let first = DataLock::acquire(folder.path()).expect("nobody else uses it");
        let error = DataLock::acquire(folder.path()).expect_err("it is in use");
        assert_eq!(error.code(), Code::Conflict);
        drop(first);
        DataLock::acquire(folder.path()).expect("free again");
    }
}
