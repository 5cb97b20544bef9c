//! The application's side of extraction: worker processes with limits and deadlines.
//!
//! Whatever a file does to its reader (crash, hang, eat memory) costs that file and nothing else:
//! the process is killed or dies, the file gets a reason, and the next file gets a new process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use docent_domain::{Format, Problem, Progress};
use docent_worker::{Launch, Limits, RestartPolicy, Supervisor};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::extract::Bounds;
use crate::extract::ocr::{Recogniser, Recognition};
use crate::extracted::Extracted;
use crate::refusal::Refusal;
use crate::wire::{self, Request, Response};

const WORKER: &str = "extraction";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractLimits {
    pub bounds: Bounds,
    /// Private memory of one worker process.
    pub data_bytes: u64,
    /// A worker that shows no progress for so long is killed. Pages of a PDF are progress; other
    /// formats show none before they are done.
    pub stall: Duration,
    /// A file that takes longer is given up, whatever its progress.
    pub total: Duration,
    /// Pages of a scanned document are recognised for so long, on top of that; the rest of them
    /// stays without text.
    pub recognition: Duration,
    /// Files that are read at the same time, each by a process of its own.
    pub processes: usize,
    /// A process is replaced after so many files, so that what leaks in a parser stays small.
    pub files_per_process: u32,
}

impl Default for ExtractLimits {
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            data_bytes: 512 << 20,
            stall: Duration::from_secs(30),
            total: Duration::from_mins(10),
            recognition: Duration::from_hours(1),
            processes: 2,
            files_per_process: 500,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The file gives no text; the reason is for its owner.
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "The reader crashed on this file: it may be damaged, or need too much memory. Nothing else is affected. ({how})"
    )]
    Crashed { how: String },
    #[error("Reading the file took longer than {seconds} seconds and was given up.")]
    TooSlow { seconds: u64 },
    #[error("Reading was cancelled.")]
    Cancelled,
    #[error("The reader could not be used: {0}.")]
    Worker(docent_worker::Error),
    #[error("The reader gave an answer that makes no sense; the file may be made to attack it.")]
    BadAnswer,
}

impl ExtractError {
    /// Whether the document counts as skipped (nothing in it to read) rather than failed.
    #[must_use]
    pub const fn is_skip(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_skip(),
            Self::Crashed { .. }
            | Self::TooSlow { .. }
            | Self::Cancelled
            | Self::Worker(_)
            | Self::BadAnswer => false,
        }
    }

    #[must_use]
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Refused(refusal) => refusal.problem(),
            Self::Crashed { .. } | Self::TooSlow { .. } | Self::Worker(_) | Self::BadAnswer => {
                Problem::ReaderFailed
            }
            Self::Cancelled => Problem::Cancelled,
        }
    }

    /// Whether trying again may help. A crash may be the machine's doing (memory), so it is tried
    /// again, up to the job's attempts.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_retryable(),
            Self::Crashed { .. } | Self::TooSlow { .. } => true,
            Self::Worker(error) => error.is_retryable(),
            Self::Cancelled | Self::BadAnswer => false,
        }
    }
}

/// Reads files in worker processes; the processes start when they are needed.
pub struct Extractor {
    limits: ExtractLimits,
    pdfium_dir: Option<PathBuf>,
    permits: Semaphore,
    idle: Mutex<Vec<Slot>>,
}

struct Slot {
    supervisor: Supervisor,
    files: u32,
    /// The process may still be at work on a file that nobody waits for.
    busy: bool,
}

impl Extractor {
    /// `launch` names the program; the memory limit and the ban on writing files are added to it.
    /// `pdfium_dir` holds PDFium's library; without it PDFs are refused.
    #[must_use]
    pub fn new(launch: Launch, limits: ExtractLimits, pdfium_dir: Option<PathBuf>) -> Self {
        let processes = limits.processes.max(1);
        let launch = launch.with_limits(Limits {
            data_bytes: Some(limits.data_bytes),
            // No file may grow by what a parser does.
            file_bytes: Some(0),
            ..Limits::default()
        });
        let idle = (0..processes)
            .map(|_| Slot {
                supervisor: Supervisor::new(
                    WORKER,
                    launch.clone(),
                    RestartPolicy::for_untrusted_input(),
                ),
                files: 0,
                busy: false,
            })
            .collect();
        Self {
            limits,
            pdfium_dir,
            permits: Semaphore::new(processes),
            idle: Mutex::new(idle),
        }
    }

    /// Reads one file. Waits while all processes are at work on others. `progress` counts pages.
    ///
    /// Dropping the future gives the file up, as `cancel` does.
    pub async fn extract(
        &self,
        path: &Path,
        format: Format,
        cancel: CancellationToken,
        progress: impl Fn(Progress),
    ) -> Result<Extracted, ExtractError> {
        self.read(path, format, None, cancel, progress).await
    }

    /// [`Extractor::extract`], with the text of scanned pages. Takes seconds a page, and progress is
    /// told after each.
    pub async fn recognise(
        &self,
        path: &Path,
        format: Format,
        recogniser: Recogniser,
        cancel: CancellationToken,
        progress: impl Fn(Progress),
    ) -> Result<Extracted, ExtractError> {
        let recognition = Recognition {
            recogniser,
            time: self.limits.recognition,
        };
        self.read(path, format, Some(recognition), cancel, progress)
            .await
    }

    async fn read(
        &self,
        path: &Path,
        format: Format,
        recognition: Option<Recognition>,
        cancel: CancellationToken,
        progress: impl Fn(Progress),
    ) -> Result<Extracted, ExtractError> {
        let mut lease = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(ExtractError::Cancelled),
            lease = self.lease() => lease,
        };
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ExtractError::Cancelled),
            result = self.run(&mut lease, path, format, recognition, &progress) => result,
        };
        if lease.slot().busy {
            lease.restart().await;
        }
        result
    }

    /// Ends the worker processes; the next file starts one again. For when there is nothing to read.
    pub async fn stop(&self) {
        let idle: Vec<Supervisor> = {
            let slots = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().map(|slot| slot.supervisor.clone()).collect()
        };
        for supervisor in idle {
            supervisor.stop().await;
        }
    }

    /// Process ids of workers that are running and idle.
    pub fn idle_pids(&self) -> Vec<u32> {
        let slots = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .iter()
            .filter_map(|slot| slot.supervisor.pid())
            .collect()
    }

    async fn lease(&self) -> Lease<'_> {
        let permit = self
            .permits
            .acquire()
            .await
            .expect("BUG: the semaphore is never closed");
        let slot = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .expect("BUG: as many slots as permits");
        let mut lease = Lease {
            extractor: self,
            slot: Some(slot),
            _permit: permit,
        };
        if lease.slot().busy || lease.slot().files >= self.limits.files_per_process {
            lease.restart().await;
        }
        lease
    }

    async fn run(
        &self,
        lease: &mut Lease<'_>,
        path: &Path,
        format: Format,
        recognition: Option<Recognition>,
        progress: &impl Fn(Progress),
    ) -> Result<Extracted, ExtractError> {
        let mut total = self.limits.total;
        if let Some(recognition) = &recognition {
            total += recognition.time;
        }
        let request = Request {
            format,
            bounds: self.limits.bounds,
            pdfium_dir: self.pdfium_dir.clone(),
            recognition,
        };
        let deadline = Instant::now() + total;
        let slot = lease.slot();
        slot.files += 1;
        slot.busy = true;
        let mut call = slot
            .supervisor
            .call::<Request, Response>(&request, Bytes::from(wire::path_bytes(path)))
            .await
            .map_err(failure)?;
        let mut body = Vec::new();
        // More than text of this length and its positions can come to, and short of running out.
        let most = (self.limits.bounds.max_chars as usize).saturating_mul(16);
        loop {
            let wait = self
                .limits
                .stall
                .min(deadline.saturating_duration_since(Instant::now()));
            let Ok(next) = tokio::time::timeout(wait, call.next()).await else {
                let seconds = if wait < self.limits.stall {
                    total
                } else {
                    wait
                };
                return Err(ExtractError::TooSlow {
                    seconds: seconds.as_secs(),
                });
            };
            match next {
                Some(Ok((Response::Progress(done), _))) => progress(done),
                Some(Ok((Response::Piece, piece))) => {
                    if body.len() + piece.len() > most {
                        return Err(ExtractError::BadAnswer);
                    }
                    body.extend_from_slice(&piece);
                }
                Some(Ok((Response::Done(head), _))) => {
                    slot.busy = false;
                    return wire::decode(head, body).ok_or(ExtractError::BadAnswer);
                }
                Some(Ok((Response::Refused(refusal), _))) => {
                    slot.busy = false;
                    return Err(ExtractError::Refused(refusal));
                }
                Some(Err(error)) => {
                    // A dead process is no longer busy; one that panicked is no longer trusted.
                    slot.busy = !matches!(error, docent_worker::Error::Died { .. });
                    return Err(failure(error));
                }
                None => return Err(ExtractError::BadAnswer),
            }
        }
    }
}

fn failure(error: docent_worker::Error) -> ExtractError {
    match error {
        docent_worker::Error::Died { how, .. } => ExtractError::Crashed { how },
        docent_worker::Error::Panicked { message, .. } => ExtractError::Crashed { how: message },
        error @ docent_worker::Error::Refused { .. } => ExtractError::Crashed {
            how: error.to_string(),
        },
        error @ (docent_worker::Error::Spawn { .. }
        | docent_worker::Error::Encode { .. }
        | docent_worker::Error::Decode { .. }
        | docent_worker::Error::Stopped { .. }
        | docent_worker::Error::CrashLoop { .. }) => ExtractError::Worker(error),
    }
}

/// One process, for one file. It goes back to the others whatever happens to the future.
struct Lease<'a> {
    extractor: &'a Extractor,
    slot: Option<Slot>,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    fn slot(&mut self) -> &mut Slot {
        self.slot
            .as_mut()
            .expect("BUG: the slot is taken in drop alone")
    }

    async fn restart(&mut self) {
        let supervisor = self.slot().supervisor.clone();
        supervisor.stop().await;
        let slot = self.slot();
        slot.files = 0;
        slot.busy = false;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.extractor
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(slot);
        }
    }
}
