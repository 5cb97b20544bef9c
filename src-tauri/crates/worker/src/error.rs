//! What can go wrong between a parent and its worker.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the {worker} process could not be started from {}: {source}", program.display())]
    Spawn {
        worker: &'static str,
        program: PathBuf,
        source: io::Error,
    },
    #[error("the request to the {worker} process could not be written: {source}")]
    Encode {
        worker: &'static str,
        source: serde_json::Error,
    },
    #[error("the {worker} process answered in an unknown form: {reason}")]
    Decode {
        worker: &'static str,
        reason: String,
    },
    /// The process ended while the call was in flight. The next call starts a new one.
    #[error("the {worker} process ended in the middle of its work ({how})")]
    Died {
        worker: &'static str,
        /// Exit status or signal, and the last line the process wrote.
        how: String,
    },
    /// [`Supervisor::stop`](crate::Supervisor::stop) ended the process under the call.
    #[error("the {worker} process was stopped")]
    Stopped { worker: &'static str },
    /// The process died several times in a row without a single reply, so it is not started again
    /// until a pause is over.
    #[error(
        "the {worker} process ended {deaths} times in a row without an answer ({how}); wait a moment and try again"
    )]
    CrashLoop {
        worker: &'static str,
        deaths: u32,
        how: String,
    },
    /// The handler refused the request, in its own words.
    #[error("{message}")]
    Refused { message: String },
    #[error("the {worker} process failed on this request: {message}")]
    Panicked {
        worker: &'static str,
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed when it is made again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Died { .. } | Self::Stopped { .. } | Self::CrashLoop { .. } => true,
            Self::Spawn { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::Refused { .. }
            | Self::Panicked { .. } => false,
        }
    }
}
