//! The child's side: read requests, run the handler, write replies.
//!
//! The main thread reads standard input all the time, so that a cancellation is seen while a
//! handler works; handlers run on threads of their own. When input ends the parent is gone or wants
//! no more, and the process ends at once: whatever it was doing has nobody left to hear of it.

use std::any::Any;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{self, Failure, Frame, Kind};

/// Serves requests one at a time, on one thread, until the parent closes the pipe. Then it ends the
/// process, and so it returns only when standard output cannot be taken over.
pub fn serve<Q: DeserializeOwned, P: Serialize>(
    handler: impl Fn(Q, Bytes, &Reply<P>) -> Result<(), String> + Send + Sync,
) -> io::Result<()> {
    serve_concurrently(1, handler)
}

/// Like [`serve`], with up to `concurrency` requests at a time, each on its own thread.
pub fn serve_concurrently<Q: DeserializeOwned, P: Serialize>(
    concurrency: usize,
    handler: impl Fn(Q, Bytes, &Reply<P>) -> Result<(), String> + Send + Sync,
) -> io::Result<()> {
    let out = Arc::new(Mutex::new(own_stdout()?));
    let running = Running::default();
    let (queue, requests) = mpsc::channel::<(Frame, Arc<AtomicBool>)>();
    let requests = Mutex::new(requests);
    std::thread::scope(|scope| {
        for _ in 0..concurrency.max(1) {
            scope.spawn(|| {
                loop {
                    // A statement of its own, so that the lock is free while the handler runs.
                    let next = lock(&requests).recv();
                    let Ok((request, cancelled)) = next else {
                        return;
                    };
                    let reply = Reply {
                        id: request.id,
                        out: Arc::clone(&out),
                        cancelled,
                        replies: PhantomData,
                    };
                    let ended = answer(&handler, request, &reply);
                    lock(&running.0).remove(&reply.id);
                    if ended.is_err() {
                        // Nobody reads any more.
                        std::process::exit(0);
                    }
                }
            });
        }
        match read_requests(&running, &queue) {
            Ok(()) => std::process::exit(0),
            Err(error) => {
                eprintln!("the worker's input is broken: {error}");
                std::process::exit(1)
            }
        }
    })
}

fn read_requests(
    running: &Running,
    queue: &mpsc::Sender<(Frame, Arc<AtomicBool>)>,
) -> io::Result<()> {
    let mut input = io::BufReader::new(io::stdin().lock());
    while let Some(frame) = frame::read(&mut input)? {
        match frame.kind {
            Kind::Request => {
                let cancelled = Arc::new(AtomicBool::new(false));
                lock(&running.0).insert(frame.id, Arc::clone(&cancelled));
                if queue.send((frame, cancelled)).is_err() {
                    break;
                }
            }
            Kind::Cancel => {
                if let Some(cancelled) = lock(&running.0).get(&frame.id) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            Kind::Reply | Kind::End | Kind::Error => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a parent sends requests and cancellations only",
                ));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Running(Mutex<HashMap<u64, Arc<AtomicBool>>>);

fn answer<Q: DeserializeOwned, P: Serialize>(
    handler: &impl Fn(Q, Bytes, &Reply<P>) -> Result<(), String>,
    request: Frame,
    reply: &Reply<P>,
) -> io::Result<()> {
    let failure = match serde_json::from_slice(&request.head) {
        Err(error) => Some(Failure {
            message: format!("the request is not understood: {error}"),
            panicked: false,
        }),
        Ok(question) => {
            match catch_unwind(AssertUnwindSafe(|| handler(question, request.body, reply))) {
                Ok(Ok(())) => None,
                Ok(Err(message)) => Some(Failure {
                    message,
                    panicked: false,
                }),
                Err(panic) => Some(Failure {
                    message: panic_message(panic.as_ref()),
                    panicked: true,
                }),
            }
        }
    };
    match failure {
        None => reply.write(Kind::End, b"", b""),
        Some(failure) => reply.write(Kind::Error, &serde_json::to_vec(&failure)?, b""),
    }
}

/// Where a handler sends its replies.
pub struct Reply<P> {
    id: u64,
    out: Arc<Mutex<File>>,
    cancelled: Arc<AtomicBool>,
    replies: PhantomData<fn(P)>,
}

impl<P: Serialize> Reply<P> {
    /// Sends one reply; blocks while the parent is slow to read.
    pub fn send(&self, reply: &P, body: &[u8]) -> io::Result<()> {
        self.write(Kind::Reply, &serde_json::to_vec(reply)?, body)
    }

    /// Whether the caller has lost interest: return soon, replies go nowhere.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn write(&self, kind: Kind, head: &[u8], body: &[u8]) -> io::Result<()> {
        frame::write(&mut *lock(&self.out), self.id, kind, head, body)
    }
}

/// Takes standard output for frames alone and points the descriptor that libraries print to at
/// standard error, so that a stray `printf` cannot break the framing.
#[cfg(unix)]
fn own_stdout() -> io::Result<File> {
    let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(own))
}

#[cfg(windows)]
fn own_stdout() -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;
    Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

/// The maps and pipes behind these locks are whole after a panic: each is changed in one call.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
