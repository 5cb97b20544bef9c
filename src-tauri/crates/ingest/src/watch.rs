//! Hints that a watched folder has changed.
//!
//! Events are never believed in detail: queues overflow, network folders send none, editors save in
//! ways of their own. An event says only "look again", and a scan decides. So nothing is queued here:
//! each root has a flag, and one thread turns flags into hints when a root has been quiet for a
//! moment. Where events cannot be had, the hint comes by the clock.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::source::FileStamp;

/// Programs save in bursts: a temporary file, a rename, a lock file removed. Half a second of quiet
/// is beyond the burst and before anyone is waiting.
const QUIET: Duration = Duration::from_millis(500);
/// A folder that is never quiet (a download, a log) is looked at this often all the same.
const LONGEST_BURST: Duration = Duration::from_secs(5);
/// How often a folder without events is looked at: often enough to feel alive, rarely enough for a
/// scan of a large tree on a network drive.
const POLL: Duration = Duration::from_secs(30);
/// How often each root's identity is checked. A disk that was unmounted and mounted again has lost
/// its watch without an event.
const ROOT_CHECK: Duration = Duration::from_secs(10);
/// What Linux says with `ENOSPC`; its limit is `fs.inotify.max_user_watches`, a watch per folder.
const WATCH_LIMIT: &str = "the system allows no more folders to be watched by events (on Linux \
    fs.inotify.max_user_watches sets how many)";
/// Hints that nobody has taken yet; more wait in their flags.
const HINTS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub root: PathBuf,
    pub cause: HintCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HintCause {
    /// Watching has begun. Only what changes after this is sure to be hinted at, so scan now.
    Watching,
    /// Something below the root changed.
    Changed,
    /// Events were lost.
    Overflow,
    /// The root sends no events, and it is time to look.
    Poll,
    /// The root came back, went away, or is another folder now.
    RootChanged,
}

/// How changes below a root are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchedBy {
    Events,
    /// By looking every 30 seconds, because of this.
    Polling(String),
}

/// Watches any number of folders until it is dropped.
pub struct FolderWatcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl FolderWatcher {
    /// Starts watching. A root may be missing; it is watched when it appears.
    ///
    /// Every root gets a first hint when its watch stands ([`HintCause::Watching`]).
    #[must_use]
    pub fn spawn(roots: impl IntoIterator<Item = PathBuf>) -> (Self, mpsc::Receiver<Hint>) {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let (hints, receiver) = mpsc::channel(HINTS);
        let thread = std::thread::Builder::new()
            .name("folder-watcher".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, &hints)
            })
            .inspect_err(
                |error| tracing::error!(%error, "folders are not watched: no thread for it"),
            )
            .ok();
        let watcher = Self { shared, thread };
        for root in roots {
            watcher.add(root);
        }
        (watcher, receiver)
    }

    /// Also watches `root`. Returns at once; a large tree is taken under watch in the background.
    pub fn add(&self, root: PathBuf) {
        let mut state = self.shared.lock();
        if !state.roots.contains_key(&root) {
            state.roots.insert(root.clone(), Root::default());
            state.commands.push(Command::Watch(root));
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Watches `root` no longer: no hint for it is made after this.
    pub fn remove(&self, root: &Path) {
        let mut state = self.shared.lock();
        if state.roots.remove(root).is_some() {
            state.commands.push(Command::Unwatch(root.to_owned()));
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// How changes below a root are noticed; `None` for a root that is not watched (yet).
    pub fn watched_by(&self, root: &Path) -> Option<WatchedBy> {
        self.shared.lock().roots.get(root)?.watched_by.clone()
    }
}

impl Drop for FolderWatcher {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the folder watcher's thread panicked");
        }
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    /// The state is whole after a panic: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    roots: HashMap<PathBuf, Root>,
    commands: Vec<Command>,
    stop: bool,
}

enum Command {
    Watch(PathBuf),
    Unwatch(PathBuf),
}

#[derive(Default)]
struct Root {
    /// Of the folder that is watched; `None` while there is none.
    identity: Option<(u64, u64)>,
    pending: Option<Pending>,
    /// `None` until the watch stands, and while there is no folder.
    watched_by: Option<WatchedBy>,
    /// Set for roots without events.
    next_poll: Option<Instant>,
}

/// Changes that no hint has been given for yet.
#[derive(Clone, Copy)]
struct Pending {
    cause: HintCause,
    first: Instant,
    last: Instant,
}

impl Pending {
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST_BURST)
    }
}

impl Root {
    fn note(&mut self, cause: HintCause, now: Instant) {
        match &mut self.pending {
            Some(pending) => {
                pending.last = now;
                // What says more stays.
                if pending.cause == HintCause::Changed {
                    pending.cause = cause;
                }
            }
            None => {
                self.pending = Some(Pending {
                    cause,
                    first: now,
                    last: now,
                });
            }
        }
    }
}

impl State {
    fn note(&mut self, path: &Path, cause: HintCause, now: Instant) {
        for (root, state) in &mut self.roots {
            if path.starts_with(root) {
                state.note(cause, now);
            }
        }
    }

    fn note_all(&mut self, cause: HintCause, now: Instant) {
        for root in self.roots.values_mut() {
            root.note(cause, now);
        }
    }

    /// Takes the hints that are due, and says when to look again.
    fn due(&mut self, now: Instant) -> (Vec<Hint>, Option<Instant>) {
        let mut hints = Vec::new();
        let mut next: Option<Instant> = None;
        for (path, root) in &mut self.roots {
            if root.next_poll.is_some_and(|poll| poll <= now) {
                root.next_poll = Some(now + POLL);
                root.pending = None;
                hints.push(Hint {
                    root: path.clone(),
                    cause: HintCause::Poll,
                });
            } else if let Some(pending) = root.pending.filter(|pending| pending.due() <= now) {
                root.pending = None;
                hints.push(Hint {
                    root: path.clone(),
                    cause: pending.cause,
                });
            }
            let wake = [
                root.pending.map(|pending| pending.due()),
                root.next_poll,
                next,
            ];
            next = wake.into_iter().flatten().min();
        }
        (hints, next)
    }
}

fn run(shared: &Arc<Shared>, hints: &mpsc::Sender<Hint>) {
    let mut watcher = {
        let shared = Arc::clone(shared);
        notify::recommended_watcher(move |event| on_event(&shared, event))
            .inspect_err(|error| tracing::warn!(%error, "the system gives no file events; polling"))
            .ok()
    };
    let mut next_check = Instant::now() + ROOT_CHECK;
    loop {
        let mut state = shared.lock();
        let (due, commands, check) = loop {
            if state.stop {
                return;
            }
            let now = Instant::now();
            let (due, next) = state.due(now);
            let commands = std::mem::take(&mut state.commands);
            let check = now >= next_check;
            if check || !due.is_empty() || !commands.is_empty() {
                break (due, commands, check);
            }
            let until = next.map_or(next_check, |next| next.min(next_check));
            state = shared
                .wake
                .wait_timeout(state, until.saturating_duration_since(now))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        // The system's watcher calls back into the state, so it is never held while that works.
        drop(state);
        for command in commands {
            match command {
                Command::Watch(root) => watch(shared, watcher.as_mut(), &root, HintCause::Watching),
                Command::Unwatch(root) => unwatch(shared, watcher.as_mut(), &root),
            }
        }
        if check {
            check_roots(shared, watcher.as_mut());
            next_check = Instant::now() + ROOT_CHECK;
        }
        for hint in due {
            match hints.try_send(hint) {
                Ok(()) => {}
                // Nobody listens at the moment: back to its flag.
                Err(mpsc::error::TrySendError::Full(hint)) => {
                    if let Some(root) = shared.lock().roots.get_mut(&hint.root) {
                        root.note(hint.cause, Instant::now());
                    }
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }
}

fn identity(root: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(root)
        .ok()
        .filter(std::fs::Metadata::is_dir)?;
    // Systems without identities still tell presence.
    Some(
        FileStamp::from_metadata(&metadata)
            .file_id
            .unwrap_or((0, 0)),
    )
}

/// Takes a root under watch, by events if they can be had.
fn watch(
    shared: &Shared,
    mut watcher: Option<&mut RecommendedWatcher>,
    root: &Path,
    cause: HintCause,
) {
    let identity = identity(root);
    let by_events = match watcher.as_deref_mut() {
        _ if identity.is_none() => Ok(()),
        None => Err("the system gives no file events".to_owned()),
        Some(_) if is_remote(root) => {
            Err("it is on a network drive, which sends no events".to_owned())
        }
        Some(watcher) => watcher
            .watch(root, RecursiveMode::Recursive)
            .map_err(|error| {
                if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
                    WATCH_LIMIT.to_owned()
                } else {
                    error.to_string()
                }
            }),
    };
    if let Err(reason) = &by_events {
        tracing::info!(root = %root.display(), reason, "the folder is looked at every 30 seconds");
    }
    let now = Instant::now();
    let is_half = by_events.is_err();
    if let Some(state) = shared.lock().roots.get_mut(root) {
        state.identity = identity;
        state.next_poll = is_half.then_some(now + POLL);
        state.watched_by = identity.map(|_| match by_events {
            Ok(()) => WatchedBy::Events,
            Err(reason) => WatchedBy::Polling(reason),
        });
        state.note(cause, now);
    }
    if is_half {
        // Half a watch is none: give back what was taken of the system's limit.
        unwatch(shared, watcher, root);
    }
}

/// Gives a root's watch back, as far as no other root needs it: the system's watcher knows no roots, and
/// drops all that lies below one.
fn unwatch(shared: &Shared, watcher: Option<&mut RecommendedWatcher>, root: &Path) {
    let Some(watcher) = watcher else { return };
    let others: Vec<PathBuf> = {
        let state = shared.lock();
        let by_events = state
            .roots
            .iter()
            .filter(|(path, other)| *path != root && other.watched_by == Some(WatchedBy::Events));
        by_events.map(|(path, _)| path.clone()).collect()
    };
    if others.iter().any(|other| root.starts_with(other)) {
        return;
    }
    if watcher.unwatch(root).is_err() {
        // A root that is gone took its watch with it.
        return;
    }
    for inner in others.iter().filter(|other| other.starts_with(root)) {
        // What happened in between was seen by nobody. One that cannot be watched again is polled from
        // then on, so this ends.
        watch(shared, Some(&mut *watcher), inner, HintCause::Overflow);
    }
}

/// Watches roots again that went away, came back, or were replaced.
fn check_roots(shared: &Shared, mut watcher: Option<&mut RecommendedWatcher>) {
    let known: Vec<_> = {
        let state = shared.lock();
        state
            .roots
            .iter()
            .map(|(path, root)| (path.clone(), root.identity))
            .collect()
    };
    for (root, before) in known {
        if identity(&root) != before {
            unwatch(shared, watcher.as_deref_mut(), &root);
            watch(
                shared,
                watcher.as_deref_mut(),
                &root,
                HintCause::RootChanged,
            );
        }
    }
}

fn on_event(shared: &Shared, event: notify::Result<notify::Event>) {
    let now = Instant::now();
    match event {
        Ok(event) if event.need_rescan() => shared.lock().note_all(HintCause::Overflow, now),
        Ok(event) => {
            // Being read, by us above all, changes nothing.
            let is_reading = matches!(event.kind, EventKind::Access(kind)
                if kind != AccessKind::Close(AccessMode::Write));
            if is_reading {
                return;
            }
            let mut state = shared.lock();
            for path in &event.paths {
                state.note(path, HintCause::Changed, now);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "a file event was lost");
            let mut state = shared.lock();
            let limit = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
            if error.paths.is_empty() {
                state.note_all(HintCause::Overflow, now);
            }
            for path in &error.paths {
                state.note(path, HintCause::Overflow, now);
                for (root, known) in &mut state.roots {
                    // A new folder below it could not be watched; the clock sees what events miss.
                    if limit && path.starts_with(root) {
                        known.next_poll.get_or_insert(now + POLL);
                        known.watched_by = Some(WatchedBy::Polling(WATCH_LIMIT.to_owned()));
                    }
                }
            }
        }
    }
    shared.wake.notify_one();
}

/// File systems whose changes on other machines, or below them, cause no events here.
#[cfg(target_os = "linux")]
fn is_remote(root: &Path) -> bool {
    const NFS: u64 = 0x6969;
    const SMB: u64 = 0x517b;
    const CIFS: u64 = 0xff53_4d42;
    const SMB2: u64 = 0xfe53_4d42;
    const NINE_P: u64 = 0x0102_1997;
    const FUSE: u64 = 0x6573_5546;
    rustix::fs::statfs(root).is_ok_and(|stat| {
        // Magic numbers have 32 bits; the field's type differs between machines.
        matches!(
            stat.f_type as u64 & 0xffff_ffff,
            NFS | SMB | CIFS | SMB2 | NINE_P | FUSE
        )
    })
}

#[cfg(not(target_os = "linux"))]
fn is_remote(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(roots: &[&str]) -> State {
        State {
            roots: roots
                .iter()
                .map(|root| (PathBuf::from(root), Root::default()))
                .collect(),
            ..State::default()
        }
    }

    fn hint(root: &str, cause: HintCause) -> Hint {
        Hint {
            root: root.into(),
            cause,
        }
    }

    #[test]
    fn a_burst_gives_one_hint_when_it_is_over() {
        let start = Instant::now();
        let mut state = state(&["/a", "/b"]);
        state.note(Path::new("/a/x"), HintCause::Changed, start);
        state.note(Path::new("/a/y/z"), HintCause::Changed, start + QUIET / 2);
        state.note(Path::new("/ab"), HintCause::Changed, start);
        assert_eq!(
            state.due(start + QUIET),
            (vec![], Some(start + QUIET / 2 + QUIET))
        );
        let (hints, next) = state.due(start + QUIET * 2);
        assert_eq!((hints, next), (vec![hint("/a", HintCause::Changed)], None));
        assert_eq!(
            state.due(start + QUIET * 9),
            (vec![], None),
            "a hint is given once"
        );
    }

    #[test]
    fn a_folder_that_is_never_quiet_is_hinted_at_all_the_same() {
        let start = Instant::now();
        let mut state = state(&["/a"]);
        let mut now = start;
        let mut hints = 0;
        while now < start + LONGEST_BURST * 3 {
            state.note(Path::new("/a/log"), HintCause::Changed, now);
            hints += state.due(now).0.len();
            now += QUIET / 5;
        }
        assert!((2..=3).contains(&hints), "{hints} in three longest bursts");
    }

    #[test]
    fn lost_events_concern_every_root() {
        let start = Instant::now();
        let mut state = state(&["/a", "/b"]);
        state.note(Path::new("/a/x"), HintCause::Changed, start);
        state.note_all(HintCause::Overflow, start);
        let (mut hints, _) = state.due(start + QUIET);
        hints.sort_by(|a, b| a.root.cmp(&b.root));
        assert_eq!(
            hints,
            [
                hint("/a", HintCause::Overflow),
                hint("/b", HintCause::Overflow)
            ]
        );
    }

    #[test]
    fn roots_without_events_are_polled() {
        let start = Instant::now();
        let mut state = state(&["/a"]);
        state.roots.get_mut(Path::new("/a")).unwrap().next_poll = Some(start + POLL);
        assert_eq!(state.due(start), (vec![], Some(start + POLL)));
        let (hints, next) = state.due(start + POLL);
        assert_eq!(
            (hints, next),
            (vec![hint("/a", HintCause::Poll)], Some(start + POLL * 2))
        );
    }
}
