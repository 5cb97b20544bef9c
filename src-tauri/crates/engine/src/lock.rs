//! One process per data folder.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Code, Error, Result};

const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Held for as long as a process uses a data folder; the system releases it when the process dies,
/// however it dies.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Waits up to `patience` for another process to let go of the folder. Blocking.
    pub(crate) fn acquire(data_dir: &Path, patience: Duration) -> Result<Self> {
        let path = data_dir.join("docent.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::internal(&format!("opening {}", path.display()), error))?;
        let started = Instant::now();
        let locked = loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if started.elapsed() < patience => {
                    std::thread::sleep(BETWEEN_TRIES);
                }
                tried => break tried,
            }
        };
        match locked {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(Error::new(
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
        let first = DataLock::acquire(folder.path(), Duration::ZERO).expect("nobody else uses it");
        let error = DataLock::acquire(folder.path(), Duration::ZERO).expect_err("it is in use");
        assert_eq!(error.code(), Code::Conflict);

        let path = folder.path().to_owned();
        let patient = std::thread::spawn(move || DataLock::acquire(&path, Duration::from_mins(5)));
        drop(first);
        let second = patient.join().expect("no panic").expect("free again");
        drop(second);
    }
}
