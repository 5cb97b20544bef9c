//! The parent's side: start the process, multiplex calls, notice deaths, start again.
//!
//! Each process has three plain threads (writer, reader, standard error), so a supervisor belongs
//! to no async runtime. The reader is the only one that waits for the child; whatever ends the
//! process, it sees the end of the pipe, collects the status and fails the calls in flight.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::marker::PhantomData;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

use crate::frame::{self, Failure, Frame, Kind};
use crate::{Error, Launch};

/// Replies of one call that its caller has not read yet. Blocking the reader instead would stop
/// the other calls; a worker that exceeds this has lost its mind and is killed.
const MAX_QUEUED_BYTES: usize = 1 << 29;

/// Of one line on standard error; the rest of a longer line becomes lines of its own.
const MAX_LOG_LINE_BYTES: u64 = 8 << 10;

/// How long the report of a death waits for the process's last words to arrive.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(200);

/// When a process that keeps dying is started again. A process that has answered anything at all
/// counts as healthy: deaths in the middle of work cost their call only.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// Deaths in a row, each without a single reply, after which calls fail at once.
    pub max_deaths: u32,
    /// Pause before the second restart in a row; doubles with each further one.
    pub first_delay: Duration,
    pub max_delay: Duration,
    /// After this long without a start, one more is tried.
    pub cooldown: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            max_deaths: 5,
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
            cooldown: Duration::from_secs(30),
        }
    }
}

impl RestartPolicy {
    /// For workers that read untrusted input: a run of deaths says that the inputs are bad, not the
    /// program, so the next one always gets a fresh process.
    #[must_use]
    pub fn for_untrusted_input() -> Self {
        Self {
            max_deaths: u32::MAX,
            first_delay: Duration::ZERO,
            ..Self::default()
        }
    }

    fn delay(&self, deaths: u32) -> Duration {
        match deaths {
            0 | 1 => Duration::ZERO,
            _ => self
                .first_delay
                .saturating_mul(1_u32.checked_shl(deaths - 2).unwrap_or(u32::MAX))
                .min(self.max_delay),
        }
    }
}

/// A worker process that starts with the first call and again after a death. Clones share it; it is
/// killed when the last one is dropped.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    worker: &'static str,
    launch: Launch,
    policy: RestartPolicy,
    next_id: AtomicU64,
    /// Held while a process is being started, so that there is never a second one.
    slot: tokio::sync::Mutex<Slot>,
    /// The slot's process again, for questions that must not wait.
    current: Mutex<Option<Arc<Process>>>,
}

#[derive(Default)]
struct Slot {
    process: Option<Arc<Process>>,
    /// In a row, without a reply.
    deaths: u32,
    last: Option<(Instant, String)>,
}

impl Supervisor {
    /// `name` says in errors and logs which worker it is. Starts nothing yet.
    pub fn new(name: &'static str, launch: Launch, policy: RestartPolicy) -> Self {
        Self {
            inner: Arc::new(Inner {
                worker: name,
                launch,
                policy,
                next_id: AtomicU64::new(1),
                slot: tokio::sync::Mutex::default(),
                current: Mutex::default(),
            }),
        }
    }

    /// Sends a request; starts the process when there is none. Calls may overlap.
    pub async fn call<Q: Serialize, P: DeserializeOwned + Send + 'static>(
        &self,
        request: &Q,
        body: Bytes,
    ) -> Result<Call<P>, Error> {
        let worker = self.inner.worker;
        let head =
            serde_json::to_vec(request).map_err(|source| Error::Encode { worker, source })?;
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        loop {
            let process = self.inner.process().await?;
            let (events, replies) = mpsc::unbounded_channel();
            let queued = Arc::new(AtomicUsize::new(0));
            let pending = Pending {
                events,
                queued: Arc::clone(&queued),
            };
            // Between the look and this line the process may have died; then the next round
            // starts another, for no work was lost.
            if process.shared.register(id, pending) {
                // A send fails only when the writer is gone, and then the reader reports a death.
                let _ = process.outgoing.send(Outgoing::Request { id, head, body });
                return Ok(Call {
                    id,
                    replies,
                    queued,
                    shared: Arc::clone(&process.shared),
                    outgoing: process.outgoing.clone(),
                    over: false,
                    reply: PhantomData,
                });
            }
        }
    }

    /// A call with exactly one reply.
    pub async fn ask<Q: Serialize, P: DeserializeOwned + Send + 'static>(
        &self,
        request: &Q,
        body: Bytes,
    ) -> Result<(P, Bytes), Error> {
        let mut call = self.call(request, body).await?;
        call.next().await.unwrap_or_else(|| {
            Err(Error::Decode {
                worker: self.inner.worker,
                reason: "no reply".to_owned(),
            })
        })
    }

    /// Ends the process and returns when it is gone; calls in flight fail with
    /// [`Error::Stopped`]. The next call starts a new one.
    pub async fn stop(&self) {
        let mut slot = self.inner.slot.lock().await;
        if let Some(process) = slot.process.take() {
            lock(&self.inner.current).take();
            process.shared.stop();
            let mut ended = process.shared.ended.subscribe();
            // The sender lives in `shared`, which is held here.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.inner.current)
            .as_ref()
            .filter(|process| !process.shared.has_ended())
            .map(|process| process.shared.pid)
    }

    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }
}

impl Inner {
    async fn process(&self) -> Result<Arc<Process>, Error> {
        let mut slot = self.slot.lock().await;
        if let Some(process) = &slot.process {
            match process.shared.end() {
                None => return Ok(Arc::clone(process)),
                Some(end) => {
                    if !end.stopped {
                        let had_replied = process.shared.has_replied.load(Ordering::Relaxed);
                        slot.deaths = if had_replied {
                            1
                        } else {
                            slot.deaths.saturating_add(1)
                        };
                        slot.last = Some((end.at, end.how));
                    }
                    slot.process = None;
                }
            }
        }
        if slot.deaths >= self.policy.max_deaths
            && let Some((at, how)) = &slot.last
            && at.elapsed() < self.policy.cooldown
        {
            return Err(Error::CrashLoop {
                worker: self.worker,
                deaths: slot.deaths,
                how: how.clone(),
            });
        }
        let delay = self.policy.delay(slot.deaths);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let process = self.start().await.map_err(|source| Error::Spawn {
            worker: self.worker,
            program: self.launch.program.clone(),
            source,
        })?;
        let process = Arc::new(process);
        slot.process = Some(Arc::clone(&process));
        *lock(&self.current) = Some(Arc::clone(&process));
        Ok(process)
    }

    async fn start(&self) -> io::Result<Process> {
        let (result, started) = oneshot::channel();
        spawner()?
            .send((self.launch.clone(), result))
            .map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
        let child = started
            .await
            .map_err(|_| io::Error::other("the thread that starts processes is gone"))??;
        Process::attach(self.worker, child)
    }
}

type Spawn = (Launch, oneshot::Sender<io::Result<Child>>);

/// The one thread that starts children. It never ends, because on Linux a child's parent-death
/// signal comes when the thread that started it ends.
fn spawner() -> io::Result<blocking::Sender<Spawn>> {
    static SPAWNER: OnceLock<Mutex<Option<blocking::Sender<Spawn>>>> = OnceLock::new();
    let mut spawner = lock(SPAWNER.get_or_init(Mutex::default));
    if let Some(queue) = &*spawner {
        return Ok(queue.clone());
    }
    let (queue, requests) = blocking::channel::<Spawn>();
    std::thread::Builder::new()
        .name("worker-spawner".to_owned())
        .spawn(move || {
            for (launch, result) in requests {
                if let Err(Ok(mut unwanted)) = result.send(launch.spawn()) {
                    // The caller was cancelled while it waited.
                    let _ = unwanted.kill();
                    let _ = unwanted.wait();
                }
            }
        })?;
    *spawner = Some(queue.clone());
    Ok(queue)
}

/// A running process as its supervisor holds it; dropping it kills the process.
struct Process {
    shared: Arc<Shared>,
    outgoing: blocking::Sender<Outgoing>,
}

enum Outgoing {
    Request { id: u64, head: Vec<u8>, body: Bytes },
    Cancel { id: u64 },
}

struct Shared {
    worker: &'static str,
    pid: u32,
    child: Mutex<Child>,
    state: Mutex<State>,
    has_replied: AtomicBool,
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    pending: HashMap<u64, Pending>,
    stopping: bool,
    end: Option<Ended>,
}

struct Pending {
    events: mpsc::UnboundedSender<Event>,
    queued: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Ended {
    at: Instant,
    how: String,
    stopped: bool,
}

enum Event {
    Reply(Bytes, Bytes),
    End,
    Failed(Failure),
    ProcessEnded(Ended),
}

impl Process {
    fn attach(worker: &'static str, mut child: Child) -> io::Result<Self> {
        let missing = || io::Error::other("a stream of the child is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let shared = Arc::new(Shared {
            worker,
            pid: child.id(),
            child: Mutex::new(child),
            state: Mutex::default(),
            has_replied: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        });
        let (outgoing, queue) = blocking::channel();
        let process = Self {
            shared: Arc::clone(&shared),
            outgoing,
        };
        let thread = |stream: &str| std::thread::Builder::new().name(format!("{worker}-{stream}"));
        let (last_words, last_words_of) = blocking::sync_channel(1);
        thread("stderr").spawn(move || {
            let _ = last_words.send(log(worker, stderr));
        })?;
        thread("writer").spawn(move || write_requests(stdin, &queue))?;
        thread("reader").spawn(move || shared.read_replies(stdout, &last_words_of))?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    /// Whether the call was taken: not after the process's end.
    fn register(&self, id: u64, pending: Pending) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_some() || state.stopping {
            return false;
        }
        state.pending.insert(id, pending);
        true
    }

    fn end(&self) -> Option<Ended> {
        let state = lock(&self.state);
        state.end.clone().or_else(|| {
            state.stopping.then(|| Ended {
                at: Instant::now(),
                how: "stopped".to_owned(),
                stopped: true,
            })
        })
    }

    fn has_ended(&self) -> bool {
        lock(&self.state).end.is_some()
    }

    fn stop(&self) {
        lock(&self.state).stopping = true;
        // Fails only when the process is gone already.
        let _ = lock(&self.child).kill();
    }

    fn read_replies(&self, stdout: ChildStdout, last_words: &blocking::Receiver<Option<String>>) {
        let mut stdout = BufReader::with_capacity(1 << 16, stdout);
        let broken = loop {
            match frame::read(&mut stdout) {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.dispatch(frame) {
                        break Some(reason.to_owned());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    break Some(error.to_string());
                }
                // The end, perhaps in the middle of a frame: the process ended while it wrote.
                Ok(None) | Err(_) => break None,
            }
        };
        let status = {
            let mut child = lock(&self.child);
            // It has ended by itself, or has closed its output and is of no more use.
            let _ = child.kill();
            child.wait()
        };
        let mut how = match (broken, status) {
            (Some(broken), _) => format!("broken protocol: {broken}"),
            (None, Ok(status)) => describe(status),
            (None, Err(error)) => format!("unknown status: {error}"),
        };
        if let Ok(Some(line)) = last_words.recv_timeout(LAST_WORDS_WAIT) {
            how = format!("{how}; last words: {line}");
        }
        self.finish(how);
    }

    fn dispatch(&self, frame: Frame) -> Result<(), &'static str> {
        self.has_replied.store(true, Ordering::Relaxed);
        let mut state = lock(&self.state);
        match frame.kind {
            Kind::Reply => {
                if let Some(pending) = state.pending.get(&frame.id) {
                    let bytes = frame.head.len() + frame.body.len();
                    let before = pending.queued.fetch_add(bytes, Ordering::Relaxed);
                    if before + bytes > MAX_QUEUED_BYTES {
                        return Err("more replies than anyone reads");
                    }
                    let _ = pending.events.send(Event::Reply(frame.head, frame.body));
                }
            }
            Kind::End => {
                if let Some(pending) = state.pending.remove(&frame.id) {
                    let _ = pending.events.send(Event::End);
                }
            }
            Kind::Error => {
                let failure = serde_json::from_slice(&frame.head)
                    .map_err(|_| "an error frame without a failure")?;
                if let Some(pending) = state.pending.remove(&frame.id) {
                    let _ = pending.events.send(Event::Failed(failure));
                }
            }
            Kind::Request | Kind::Cancel => return Err("a worker answers, it does not ask"),
        }
        Ok(())
    }

    fn finish(&self, how: String) {
        let pending = {
            let mut state = lock(&self.state);
            let ended = Ended {
                at: Instant::now(),
                how,
                stopped: state.stopping,
            };
            if !ended.stopped {
                tracing::warn!(worker = self.worker, pid = self.pid, how = %ended.how, "worker ended");
            }
            state.end = Some(ended.clone());
            std::mem::take(&mut state.pending)
                .into_values()
                .map(|pending| (pending, ended.clone()))
                .collect::<Vec<_>>()
        };
        for (pending, ended) in pending {
            let _ = pending.events.send(Event::ProcessEnded(ended));
        }
        self.ended.send_replace(true);
    }
}

fn write_requests(mut stdin: ChildStdin, queue: &blocking::Receiver<Outgoing>) {
    for outgoing in queue {
        let written = match outgoing {
            Outgoing::Request { id, head, body } => {
                frame::write(&mut stdin, id, Kind::Request, &head, &body)
            }
            Outgoing::Cancel { id } => frame::write(&mut stdin, id, Kind::Cancel, b"", b""),
        };
        if written.is_err() {
            // The process is gone or going; the reader tells the callers.
            return;
        }
    }
}

/// Passes the child's log on, line by line, and returns its last line.
fn log(worker: &'static str, stderr: ChildStderr) -> Option<String> {
    let mut stderr = BufReader::new(stderr);
    let mut last = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        match stderr
            .by_ref()
            .take(MAX_LOG_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return last,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !text.trim().is_empty() {
                    tracing::debug!(worker, "{text}");
                    // What Rust's runtime adds below the words that matter.
                    if !text.starts_with("note: run with") {
                        last = Some(text);
                    }
                }
            }
        }
    }
}

#[cfg(unix)]
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;

    use rustix::process::Signal;

    let Some(signal) = status.signal() else {
        return status.to_string();
    };
    let meaning = match Signal::from_named_raw(signal) {
        Some(Signal::KILL) => "killed, perhaps because the machine was out of memory",
        Some(Signal::XCPU) => "it used more processor time than it may",
        Some(Signal::XFSZ) => "it wrote a larger file than it may",
        Some(Signal::ABORT) => "it gave up",
        Some(Signal::SEGV | Signal::BUS) => "it touched memory that is not its own",
        Some(Signal::ILL) => "this processor lacks an instruction that it needs",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal}: {meaning}")
}

#[cfg(not(unix))]
fn describe(status: ExitStatus) -> String {
    status.to_string()
}

/// A call in flight. Dropping it cancels it.
pub struct Call<P> {
    id: u64,
    replies: mpsc::UnboundedReceiver<Event>,
    queued: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    outgoing: blocking::Sender<Outgoing>,
    over: bool,
    reply: PhantomData<fn() -> P>,
}

impl<P: DeserializeOwned> Call<P> {
    /// The next reply; `None` when the call has ended well. An error is the last item.
    pub async fn next(&mut self) -> Option<Result<(P, Bytes), Error>> {
        if self.over {
            return None;
        }
        let worker = self.shared.worker;
        let error = match self.replies.recv().await {
            Some(Event::Reply(head, body)) => {
                self.queued
                    .fetch_sub(head.len() + body.len(), Ordering::Relaxed);
                match serde_json::from_slice(&head) {
                    Ok(reply) => return Some(Ok((reply, body))),
                    Err(error) => {
                        self.cancel();
                        Error::Decode {
                            worker,
                            reason: error.to_string(),
                        }
                    }
                }
            }
            Some(Event::End) => {
                self.over = true;
                return None;
            }
            Some(Event::Failed(Failure {
                message,
                panicked: false,
            })) => Error::Refused { message },
            Some(Event::Failed(Failure {
                message,
                panicked: true,
            })) => Error::Panicked { worker, message },
            Some(Event::ProcessEnded(Ended { stopped: true, .. })) => Error::Stopped { worker },
            Some(Event::ProcessEnded(Ended { how, .. })) => Error::Died { worker, how },
            None => Error::Died {
                worker,
                how: "its reader is gone".to_owned(),
            },
        };
        self.over = true;
        Some(Err(error))
    }
}

impl<P> Call<P> {
    /// Tells the worker that the answer is no longer wanted; replies may still arrive until it
    /// notices.
    pub fn cancel(&self) {
        if !self.over {
            let _ = self.outgoing.send(Outgoing::Cancel { id: self.id });
        }
    }
}

impl<P> Drop for Call<P> {
    fn drop(&mut self) {
        self.cancel();
        lock(&self.shared.state).pending.remove(&self.id);
    }
}

/// State behind these locks is whole after a panic: each change is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_limit() {
        let policy = RestartPolicy {
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            ..RestartPolicy::default()
        };
        let delays: Vec<_> = [0, 1, 2, 3, 4, 5, 6, 40, u32::MAX]
            .map(|deaths| policy.delay(deaths).as_millis())
            .into();
        assert_eq!(delays, [0, 0, 100, 200, 400, 800, 1000, 1000, 1000]);
    }
}
