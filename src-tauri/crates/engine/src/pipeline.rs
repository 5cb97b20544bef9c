//! Durable jobs carried out: reading files, making vectors, comparing folders with the disk.
//!
//! Each kind of job has lanes, and a lane is a loop around [`Engine::tick`]: claim, run, record.
//! Words come first: while files are waiting to be read, no vector is made, because reading is a
//! hundredth of the work and already makes a document searchable. Only what is more urgent than all
//! that waits to be read (added by hand, beside a folder) is embedded before that. Killing the process at any point
//! loses no acknowledged work and costs at most the file in hand.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{
    ChunkKey, Document, DocumentId, Format, Job, JobId, JobKind, JobType, Language, Origin,
    Problem, Progress, Stage, Timestamp, WorkspaceId, WorkspaceScope,
};
use docent_index::{StoredVector, VectorEntry, WorkspaceIndex};
use docent_inference::{EmbedKind, Embedder, TokenCounter};
use docent_ingest::{
    Bounds, ChunkOptions, Detection, ExtractError, ExtractLimits, Extracted, Extractor, FileStamp,
    Recogniser, RecogniserMissing, Refusal, Tokens, Warning,
};
use docent_store::{Claim, DocumentContent, IndexEntry, PRIORITY_RECOGNITION};
use docent_worker::Launch;
use roaring::RoaringBitmap;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::documents::Layout;
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::folders::Scanned;
use crate::indexes::{OpenIndex, blocking};
use crate::models::Models;
use crate::pace::Pace;
use crate::retrieve::language;
use crate::search::header;
use crate::types::Topic;

/// Readers side by side: one waits for its worker process while the other writes rows.
pub(crate) const READ_LANES: usize = 2;

/// Key of the setting that names the recogniser which all scanned documents have been queued for.
const RECOGNISER_SETTING: &str = "recogniser";

/// The reason of a document that waits for recognition.
const TO_BE_RECOGNISED: &str = "Scanned: its pages are pictures. Their text is recognised when all other files have been read.";

/// Chunks embedded between two looks at whether an answer wants the cores.
pub(crate) const EMBED_BATCH: usize = 16;

/// Vectors of equal content copied in one commit.
const COPY_BATCH: usize = 1000;

/// New chunks whose words are put into an index in one commit, which takes some 20 ms however few
/// they are.
const WORDS_BATCH: usize = 512;

/// Words wait no longer than this for more to come.
const WORDS_DELAY: Duration = Duration::from_millis(400);

/// Removals are collected for so long before the files are rewritten without them.
const WIPE_DELAY: Duration = Duration::from_secs(2);

/// Rewriting takes at most one part in so many of the time, where much is removed from much,
const WIPE_SHARE: u32 = 20;

/// but what is removed waits for it no longer than this.
const WIPE_AT_LATEST: Duration = Duration::from_secs(45);

/// An idle lane looks at the queue this often even when nobody rings; retries fall due by time.
const IDLE_LOOK: Duration = Duration::from_secs(2);

/// A job that cannot run yet (its model is missing, the disk is full) is tried again after this.
const NOT_YET: i64 = 10_000;

/// What could not be written (the disk is full) is written again after this.
const RECORD_AGAIN: Duration = Duration::from_secs(5);

/// How often idle models are unloaded and finished jobs forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// A word index that is not written to for so long gives back the 20 MB that writing takes.
const WRITER_IDLE: Duration = Duration::from_mins(1);

/// Finished jobs are kept in the list for a day.
const KEEP_FINISHED_MS: i64 = 24 * 3600 * 1000;

/// Part of an embedder's input kept free for the header in front of a chunk.
const HEADER_TOKENS: usize = 64;

/// A file that was changed while it was read is looked at again after this at the earliest.
const CHANGED_AGAIN: Duration = Duration::from_millis(100);

/// Pages of a file come faster than anybody reads their number.
const TELL_PROGRESS: Duration = Duration::from_millis(500);

/// Files from this size on take long enough to read for their stage to be worth a write.
const SLOW_FILE_BYTES: u64 = 1 << 20;

/// Reads files, in worker processes.
pub(crate) struct Reader {
    pub(crate) extractor: Extractor,
    running: Mutex<HashMap<JobId, Running>>,
    /// Held from a job's claim until it stands in `running`, so that whoever stops jobs misses none.
    claiming: tokio::sync::Mutex<()>,
    /// Rung whenever a job has ended.
    ended: Notify,
    pace: Mutex<Pace>,
    /// When the progress of a file was told last.
    progress_told: Mutex<Option<Instant>>,
    /// `None` in it when it is turned off.
    recogniser: OnceCell<Option<std::result::Result<Recogniser, RecogniserMissing>>>,
    words: Mutex<HashMap<WorkspaceId, PendingWords>>,
    /// Held while changes are committed: a removal must not overtake the addition it undoes, and an
    /// index must not be emptied between a vector's arrival there and its row's account of it.
    committing: tokio::sync::Mutex<()>,
    /// Workspaces whose last commit of words failed. They are kept, and committed after a while.
    words_failed: Mutex<HashSet<WorkspaceId>>,
    /// Workspaces whose jobs wait for a model, with what was said about it last.
    blocked: Mutex<HashMap<WorkspaceId, String>>,
    to_wipe: Mutex<ToWipe>,
    wipe: Notify,
    /// Whether the last thing that was to be written found no room.
    disk_full: AtomicBool,
    restless: Mutex<HashMap<DocumentId, Restless>>,
    /// Chunks that an embedder was asked for since the start.
    embedded: AtomicU64,
}

/// A file that is being written.
#[derive(Clone, Copy, Debug)]
struct Restless {
    first_seen: Instant,
    stamp: FileStamp,
    stamp_seen: Instant,
    looked_at: Instant,
    /// It may be read as it is, since it does not come to rest.
    is_overdue: bool,
    /// When it was last read so.
    read_as_is: Option<Instant>,
}

impl Restless {
    fn new(stamp: FileStamp, at: Instant) -> Self {
        Self {
            first_seen: at,
            stamp,
            stamp_seen: at,
            looked_at: at,
            is_overdue: false,
            read_as_is: None,
        }
    }

    /// How long the file is to be left alone after a look at it; `None` when it can be read. A time
    /// of change ahead of our clock, or behind it on another machine, says nothing: then it has to
    /// look the same twice.
    fn wait(
        &mut self,
        stamp: FileStamp,
        now: Timestamp,
        at: Instant,
        rest: &Rest,
    ) -> Option<Duration> {
        if self.stamp != stamp {
            (self.stamp, self.stamp_seen) = (stamp, at);
        }
        self.looked_at = at;
        let rests =
            rest.is_long_ago(&stamp, now) || at.duration_since(self.stamp_seen) >= rest.quiet;
        self.is_overdue = !rests && at.duration_since(self.first_seen) >= rest.longest;
        if rests || self.is_overdue {
            return None;
        }
        let age = now.0.saturating_sub(stamp.modified_at().0).max(0);
        let age = Duration::from_millis(age.unsigned_abs());
        Some(rest.quiet.saturating_sub(age).max(CHANGED_AGAIN))
    }
}

/// When a file that is being written is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// After so long without a change.
    quiet: Duration,
    /// After so long, changing or not.
    longest: Duration,
}

impl Rest {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            quiet: Duration::from_secs(config.quiet_seconds),
            longest: Duration::from_secs(config.restless_seconds),
        }
    }

    fn is_long_ago(&self, stamp: &FileStamp, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(stamp.modified_at().0);
        age >= i64::try_from(self.quiet.as_millis()).unwrap_or(i64::MAX)
    }

    /// When to look at a file first that has just been found; `None` means now.
    pub(crate) fn read_after(&self, stamp: &FileStamp, now: Timestamp) -> Option<Timestamp> {
        if self.is_long_ago(stamp, now) {
            return None;
        }
        let quiet = i64::try_from(self.quiet.as_millis()).unwrap_or(i64::MAX);
        // A time ahead of our clock is not waited for.
        Some(Timestamp(
            stamp.modified_at().0.min(now.0).saturating_add(quiet),
        ))
    }
}

/// Where text that was removed may still be in files.
#[derive(Debug, Default)]
struct ToWipe {
    rows: bool,
    indexes: HashSet<WorkspaceId>,
    /// What the task at work on them has taken.
    under_way: HashSet<WorkspaceId>,
}

/// A job that is being run.
struct Running {
    workspace: WorkspaceId,
    kind: JobKind,
    priority: i32,
    cancel: CancellationToken,
    begun: Instant,
    /// What is not worth a write for each step.
    live: Option<(Stage, Progress)>,
}

/// Changes to an index that wait to be committed together.
#[derive(Debug)]
struct PendingWords {
    added: Vec<ChunkKey>,
    removed: RoaringBitmap,
    since: Instant,
}

/// Changes taken for a commit. What is left of them when the commit ends, or nobody waits for it
/// any more, goes on waiting.
struct TakenWords<'a> {
    reader: &'a Reader,
    left: HashMap<WorkspaceId, PendingWords>,
}

impl Drop for TakenWords<'_> {
    fn drop(&mut self) {
        for (workspace, words) in self.left.drain() {
            self.reader.wait_on(workspace, words);
        }
    }
}

/// What running a job came to.
pub(crate) enum Ran {
    /// The result is recorded, with the job's end.
    Recorded,
    /// Nothing is left to record but the job's end.
    Finished,
    /// The job goes back for so long, without counting as an attempt.
    Later(String, Duration),
}

impl Reader {
    pub(crate) fn new(models: &Models) -> Result<Self> {
        let launch = Launch::of_this_binary("extractor")
            .map_err(|error| Error::internal("finding Docent's own program", error))?;
        // Where it will be, even if it is still to be fetched.
        let library = models.files().path("pdfium").ok();
        let pdfium = library
            .as_deref()
            .and_then(Path::parent)
            .map_or_else(|| models.files().directory("pdfium"), Path::to_owned);
        Ok(Self {
            extractor: Extractor::new(launch, ExtractLimits::default(), Some(pdfium)),
            running: Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            ended: Notify::new(),
            pace: Mutex::default(),
            progress_told: Mutex::default(),
            recogniser: OnceCell::new(),
            words: Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            words_failed: Mutex::default(),
            blocked: Mutex::default(),
            to_wipe: Mutex::default(),
            wipe: Notify::new(),
            disk_full: AtomicBool::new(false),
            restless: Mutex::default(),
            embedded: AtomicU64::new(0),
        })
    }

    /// Chunks that an embedder was asked for since the start.
    pub(crate) fn embedded(&self) -> u64 {
        self.embedded.load(Ordering::SeqCst)
    }

    fn restless(&self) -> std::sync::MutexGuard<'_, HashMap<DocumentId, Restless>> {
        self.restless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a file is to be left alone; `None` when it can be read.
    fn wait_for_rest(&self, id: DocumentId, stamp: FileStamp, rest: &Rest) -> Option<Duration> {
        let (now, at) = (Timestamp::now(), Instant::now());
        let mut restless = self.restless();
        if !restless.contains_key(&id) && rest.is_long_ago(&stamp, now) {
            return None;
        }
        let known = restless.entry(id).or_insert(Restless::new(stamp, at));
        known.wait(stamp, now, at, rest)
    }

    /// How long to wait after a file was changed while it was read; `None` when that has gone on for
    /// too long.
    fn wait_after_change(&self, id: DocumentId, stamp: FileStamp, rest: &Rest) -> Option<Duration> {
        let at = Instant::now();
        let mut restless = self.restless();
        let known = restless.entry(id).or_insert(Restless::new(stamp, at));
        known.looked_at = at;
        known.is_overdue = at.duration_since(known.first_seen) >= rest.longest;
        (!known.is_overdue).then(|| rest.quiet.max(CHANGED_AGAIN))
    }

    /// A file was read. One that did not come to rest is given as long again.
    fn note_read(&self, id: DocumentId) {
        let mut restless = self.restless();
        match restless.get_mut(&id) {
            Some(known) if known.is_overdue => {
                let at = Instant::now();
                known.first_seen = at;
                known.read_as_is = Some(at);
            }
            _ => {
                restless.remove(&id);
            }
        }
    }

    /// Files that were read as they were since then, because they did not come to rest.
    pub(crate) fn read_as_they_were(&self, since: Instant) -> HashSet<DocumentId> {
        let restless = self.restless();
        let read = restless
            .iter()
            .filter(|(_, file)| file.read_as_is.is_some_and(|at| at >= since));
        read.map(|(id, _)| *id).collect()
    }

    /// Forgets files that nobody has looked at for longer than one that is still to be read is left
    /// alone: they have vanished, or their jobs were cancelled.
    fn forget_restless(&self, now: Instant, rest: &Rest) {
        let kept = rest.quiet + rest.longest + HOUSEKEEPING;
        self.restless()
            .retain(|_, file| now.saturating_duration_since(file.looked_at) < kept);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops a job where it runs.
    pub(crate) async fn cancel(&self, job: JobId) {
        let _claiming = self.claiming.lock().await;
        if let Some(running) = self.running().get(&job) {
            running.cancel.cancel();
        }
    }

    /// Stops all jobs of a workspace where they run, and waits until they have, but not longer than
    /// `patience`.
    pub(crate) async fn stop_work(&self, workspace: WorkspaceId, patience: Duration) {
        {
            let _claiming = self.claiming.lock().await;
            self.cancel_all(workspace);
        }
        let stopped = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if !self.cancel_all(workspace) {
                    break;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(patience, stopped).await.is_err() {
            tracing::warn!("a job takes long to stop");
        }
    }

    /// Stops all jobs of a workspace where they run. `false` when there are none any more.
    pub(crate) fn cancel_all(&self, workspace: WorkspaceId) -> bool {
        let running = self.running();
        let mut any = false;
        for job in running.values().filter(|job| job.workspace == workspace) {
            job.cancel.cancel();
            any = true;
        }
        any
    }

    /// How far a running job is, where that is known, and for how long it runs.
    pub(crate) fn live(&self, job: JobId) -> Option<(Option<(Stage, Progress)>, Duration)> {
        let running = self.running();
        let job = running.get(&job)?;
        Some((job.live, job.begun.elapsed()))
    }

    fn note_live(&self, job: JobId, stage: Stage, progress: Progress) {
        if let Some(job) = self.running().get_mut(&job) {
            job.live = Some((stage, progress));
        }
    }

    /// Whether progress is to be told now; not each page is.
    fn tells_progress(&self) -> bool {
        let mut told = self
            .progress_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| told.elapsed() >= TELL_PROGRESS);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }

    pub(crate) fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what waits to be done to a workspace's index.
    pub(crate) fn forget(&self, workspace: WorkspaceId) {
        self.pending().remove(&workspace);
        self.blocked().remove(&workspace);
        self.to_wipe().indexes.remove(&workspace);
    }

    pub(crate) async fn stop(&self) {
        self.extractor.stop().await;
    }

    /// The lock on commits to indexes.
    pub(crate) async fn committing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.committing.lock().await
    }

    /// Whether any job is being run now.
    pub(crate) fn is_at_work(&self) -> bool {
        !self.running().is_empty()
    }

    /// The highest priority among the files that are being read.
    fn reading(&self) -> Option<i32> {
        self.running()
            .values()
            .filter(|job| matches!(job.kind, JobKind::Read { .. }))
            .map(|job| job.priority)
            .max()
    }

    /// Whether work waits for room on the disk.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::SeqCst)
    }

    pub(crate) fn note_disk_full(&self, is_full: bool) {
        let was_full = self.disk_full.swap(is_full, Ordering::SeqCst);
        if is_full && !was_full {
            tracing::error!("the disk is full; work goes on when there is room");
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, PendingWords>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what waits to be committed.
    fn wait_on(&self, workspace: WorkspaceId, new: PendingWords) {
        match self.pending().entry(workspace) {
            Entry::Occupied(mut waiting) => {
                let waiting = waiting.get_mut();
                waiting.added.extend(new.added);
                waiting.removed |= new.removed;
            }
            Entry::Vacant(place) => {
                place.insert(new);
            }
        }
    }

    fn words_failed(&self) -> std::sync::MutexGuard<'_, HashSet<WorkspaceId>> {
        self.words_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the workspace's jobs miss, if the last one that ran could not for want of a model.
    pub(crate) fn missing_model(&self, workspace: WorkspaceId) -> Option<String> {
        self.blocked().get(&workspace).cloned()
    }

    fn blocked(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, String>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a workspace's index rewritten without what was removed.
    pub(crate) fn wipe_soon(&self, workspace: WorkspaceId) {
        self.to_wipe().indexes.insert(workspace);
        self.wipe.notify_one();
    }

    fn wipe_rows_soon(&self) {
        self.to_wipe().rows = true;
        self.wipe.notify_one();
    }

    /// Whether the database, and how many indexes, may still hold text that was removed.
    pub(crate) fn unwiped(&self) -> (bool, usize) {
        let to_wipe = self.to_wipe();
        let indexes = to_wipe.indexes.union(&to_wipe.under_way).count();
        (to_wipe.rows, indexes)
    }

    fn to_wipe(&self) -> std::sync::MutexGuard<'_, ToWipe> {
        self.to_wipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    pub(crate) fn spawn_tasks(self: &Arc<Self>) {
        // Only one lane takes up scanned pages, so that no file waits until a book is recognised.
        self.spawn_lane(&[JobType::Read], None);
        for _ in 1..READ_LANES {
            self.spawn_lane(&[JobType::Read], Some(PRIORITY_RECOGNITION));
        }
        self.spawn_lane(&[JobType::Embed], None);
        self.spawn_lane(&[JobType::Scan], None);
        let engine = Arc::clone(self);
        self.tasks()
            .spawn(async move { engine.recognise_scanned().await });
        let engine = Arc::clone(self);
        self.tasks()
            .spawn(async move { engine.flush_words_in_time().await });
        let engine = Arc::clone(self);
        self.tasks().spawn(async move { engine.keep_house().await });
        let engine = Arc::clone(self);
        self.tasks()
            .spawn(async move { engine.change_embedders().await });
        let engine = Arc::clone(self);
        self.tasks()
            .spawn(async move { engine.wipe_in_time().await });
        let engine = Arc::clone(self);
        self.tasks().spawn(async move { engine.open_all().await });
        let engine = Arc::clone(self);
        self.tasks()
            .spawn(async move { engine.follow_hints().await });
        let engine = Arc::clone(self);
        self.tasks()
            .spawn(async move { engine.follow_batches().await });
    }

    /// The lane takes jobs of a higher priority than `above`.
    fn spawn_lane(self: &Arc<Self>, types: &'static [JobType], above: Option<i32>) {
        let engine = Arc::clone(self);
        self.tasks().spawn(async move {
            let stopping = engine.stopping().clone();
            while !stopping.is_cancelled() {
                // Registered before looking, so that a ring in between is not missed.
                let ring = engine.jobs_due().notified();
                tokio::pin!(ring);
                ring.as_mut().enable();
                match engine.tick_above(types, above).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => {
                        if is_full(&error) {
                            engine.reader().note_disk_full(true);
                        }
                        tracing::error!(%error, ?types, "no job could be begun or recorded");
                    }
                }
                tokio::select! {
                    () = ring => {}
                    () = tokio::time::sleep(IDLE_LOOK) => {}
                    () = stopping.cancelled() => {}
                }
            }
        });
    }

    /// [`Engine::tick_above`] with jobs of any priority.
    #[cfg(test)]
    pub(crate) async fn tick(self: &Arc<Self>, types: &[JobType]) -> Result<bool> {
        self.tick_above(types, None).await
    }

    /// Claims one due job of these types and of a higher priority than `above`, runs it and records
    /// what came of it. `false` when there was none.
    async fn tick_above(self: &Arc<Self>, types: &[JobType], above: Option<i32>) -> Result<bool> {
        let above = if types == [JobType::Embed] {
            self.reads_ahead().await?
        } else {
            above
        };
        let outcome = self.tick_claimed(types, above).await;
        if types.contains(&JobType::Read) {
            // Ringing after a fruitless look would wake the other lanes to look and ring in turn,
            // for ever.
            if matches!(outcome, Ok(true)) {
                self.ring();
            } else {
                self.flush_words_or_later().await;
            }
        }
        outcome
    }

    /// The highest priority among the files that are being read or could be.
    async fn reads_ahead(&self) -> Result<Option<i32>> {
        let jobs = self.store().jobs();
        let due = jobs.most_urgent(&[JobType::Read], Timestamp::now()).await?;
        Ok(due.max(self.reader().reading()))
    }

    /// Claims a job and enters it among those that run.
    async fn claim(
        &self,
        types: &[JobType],
        above: Option<i32>,
    ) -> Result<Option<(Job, CancellationToken)>> {
        let _claiming = self.reader().claiming.lock().await;
        let jobs = self.store().jobs();
        let claimed = jobs.claim_next_above(self.boot(), types, above, Timestamp::now());
        let Some(job) = claimed.await? else {
            return Ok(None);
        };
        let cancel = self.stopping().child_token();
        let running = Running {
            workspace: job.workspace_id,
            kind: job.kind,
            priority: job.priority,
            cancel: cancel.clone(),
            begun: Instant::now(),
            live: None,
        };
        self.reader().running().insert(job.id, running);
        Ok(Some((job, cancel)))
    }

    async fn tick_claimed(self: &Arc<Self>, types: &[JobType], above: Option<i32>) -> Result<bool> {
        let Some((job, cancel)) = self.claim(types, above).await? else {
            return Ok(false);
        };
        let scope = WorkspaceScope::new(job.workspace_id);
        let claim = Claim::from(&job);
        self.announce(&scope, job.kind);
        let result = self.run(&scope, &job, claim, &cancel).await;
        if !matches!(job.kind, JobKind::Scan { .. }) {
            let mut blocked = self.reader().blocked();
            match &result {
                Err(error) if error.code() == Code::ModelMissing => {
                    blocked.insert(job.workspace_id, error.to_string());
                }
                _ => {
                    blocked.remove(&job.workspace_id);
                }
            }
        }
        let recorded = loop {
            match self.record(&scope, claim, &result, &cancel).await {
                // Left running, the job would be forgotten until the next start.
                Err(error)
                    if matches!(error.code(), Code::InsufficientStorage | Code::Overloaded)
                        && !self.stopping().is_cancelled() =>
                {
                    tracing::warn!(%error, "what became of a job is recorded later");
                    if is_full(&error) {
                        self.reader().note_disk_full(true);
                    }
                    self.pause(RECORD_AGAIN).await;
                }
                recorded => break recorded,
            }
        };
        // Only now: whoever stops it waits until it is put back.
        self.reader().running().remove(&job.id);
        self.reader().ended.notify_waiters();
        self.announce(&scope, job.kind);
        match recorded {
            // Cancelled, deleted or taken over in the meantime: there is nobody to record it for.
            Err(error) if error.code() == Code::Conflict || error.code() == Code::NotFound => {
                Ok(true)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    fn announce(&self, scope: &WorkspaceScope, kind: JobKind) {
        if matches!(kind, JobKind::Scan { .. }) {
            self.changed(Topic::Folders, Some(scope.workspace()));
        }
        self.changed(Topic::Jobs, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
    }

    async fn run(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        job: &Job,
        claim: Claim,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        match job.kind {
            JobKind::Read { document } => self.read(scope, claim, document, cancel).await,
            JobKind::Embed { document } => self.embed(scope, claim, document, cancel).await,
            JobKind::Scan { folder } => match self.scan(scope, folder, cancel).await? {
                Scanned::Done => Ok(Ran::Finished),
                Scanned::Again(wait) => {
                    let reason = "what has vanished is looked for once more";
                    Ok(Ran::Later(reason.to_owned(), wait))
                }
            },
        }
    }

    async fn record(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        result: &Result<Ran>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let now = Timestamp::now();
        self.reader()
            .note_disk_full(result.as_ref().is_err_and(is_full));
        let jobs = self.store().jobs();
        let later = Timestamp(now.0 + NOT_YET);
        match result {
            Ok(Ran::Recorded) => {}
            Ok(Ran::Finished) => {
                jobs.finish(scope, claim, now).await?;
            }
            Ok(Ran::Later(reason, wait)) => {
                let later = Timestamp(now.0 + wait.as_millis() as i64);
                jobs.put_back(scope, claim, later, Some(reason), now)
                    .await?;
                if wait.is_zero() {
                    self.ring();
                }
            }
            Err(error) if self.stopping().is_cancelled() || cancel.is_cancelled() => {
                tracing::debug!(%error, "a job was stopped");
                jobs.put_back(scope, claim, now, None, now).await?;
            }
            Err(error) => match error.code() {
                Code::ModelMissing
                | Code::ModelLoading
                | Code::InsufficientStorage
                | Code::Overloaded => {
                    jobs.put_back(scope, claim, later, Some(&error.to_string()), now)
                        .await?;
                }
                // When the cause is that the job was cancelled, deleted or taken over, its claim is
                // refused here too.
                Code::Conflict | Code::NotFound | Code::Internal => {
                    jobs.fail(scope, claim, &error.to_string(), true, now)
                        .await?;
                    tracing::warn!(%error, "a job failed");
                }
                Code::BadRequest | Code::PayloadTooLarge | Code::Unsupported => {
                    jobs.fail(scope, claim, &error.to_string(), false, now)
                        .await?;
                }
            },
        }
        Ok(())
    }

    /// Reads a document, replaces its content in one transaction, and makes its words searchable.
    async fn read(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let document = self.store().documents().get(scope, id).await?;
        let open = self.open_index(scope).await?;
        let tokens = unless(cancel, self.model_set().token_counter(&open.embedder_id)).await?;
        let path = self.file_of(scope, &document).await?;
        let rest = Rest::of(self.config());
        // An upload is whole when it is there.
        if document.origin != Origin::Upload {
            let looked = {
                let path = path.clone();
                blocking("looking at a file", move || Ok(FileStamp::of(&path))).await?
            };
            // Why it cannot be looked at is found out below.
            if let Ok(stamp) = looked
                && let Some(wait) = self.reader().wait_for_rest(id, stamp, &rest)
            {
                let reason = "The file is being written. It is read when it has come to rest.";
                return Ok(Ran::Later(reason.to_owned(), wait));
            }
        }
        let ran = self
            .read_at_rest(scope, claim, &document, path, open, tokens, cancel)
            .await?;
        if let Ran::Recorded = ran {
            self.reader().note_read(id);
        }
        Ok(ran)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "it is the second half of a whole"
    )]
    async fn read_at_rest(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        document: &Document,
        path: PathBuf,
        open: OpenIndex,
        tokens: Arc<dyn TokenCounter>,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let begun = Instant::now();
        let id = document.id;
        let inspected = {
            let path = path.clone();
            let inspected = blocking("looking at a file", move || Ok(inspect(&path)));
            unless(cancel, inspected).await?
        };
        let (format, hash, stamp) = match inspected {
            Ok(Inspected::Readable(format, hash, stamp)) => (format, hash, stamp),
            Ok(Inspected::Unsupported(reason)) => {
                return self
                    .skip(scope, claim, id, &reason, Problem::Unsupported)
                    .await;
            }
            Err(refusal) => return self.refuse(scope, claim, document, &refusal).await,
        };
        let is_second = self
            .store()
            .documents()
            .is_to_be_recognised(scope, id)
            .await?;
        let recogniser = self.recogniser().await?;
        let known = document.content_hash.as_ref() == Some(&hash);
        if known && !(is_second && recogniser.is_some()) {
            self.store()
                .documents()
                .mark_unchanged(scope, id, claim, Timestamp::now())
                .await?;
            return Ok(Ran::Recorded);
        }
        if document.size_bytes >= SLOW_FILE_BYTES {
            self.progress(scope, claim, Stage::Extracting, Progress::default())
                .await?;
        }
        let told = |progress| {
            let reader = self.reader();
            reader.note_live(claim.job, Stage::Extracting, progress);
            if reader.tells_progress() {
                self.changed(Topic::Jobs, Some(scope.workspace()));
            }
        };
        // Words first: the pages that have a text are searchable before any picture is looked at.
        let later = !is_second && recogniser.is_some();
        let extractor = &self.reader().extractor;
        let extracted = if let Some(recogniser) = recogniser.filter(|_| is_second) {
            extractor
                .recognise(&path, format, recogniser, cancel.clone(), told)
                .await
        } else {
            extractor.extract(&path, format, cancel.clone(), told).await
        };
        let extracted = match extracted {
            Ok(extracted) => extracted,
            Err(ExtractError::Refused(Refusal::Scanned { .. })) if later => {
                let documents = self.store().documents();
                let replaced = documents
                    .skip_until_recognised(scope, id, claim, TO_BE_RECOGNISED, Timestamp::now())
                    .await?;
                self.forget_words(scope, &replaced.removed).await;
                return Ok(Ran::Recorded);
            }
            Err(ExtractError::Refused(refusal)) => {
                return self.refuse(scope, claim, document, &refusal).await;
            }
            Err(error) => {
                // What was read of these very bytes without recognition stays.
                if !known
                    && matches!(
                        error,
                        ExtractError::Crashed { .. }
                            | ExtractError::TooSlow { .. }
                            | ExtractError::BadAnswer
                    )
                {
                    self.forget_content(scope, id).await?;
                }
                let documents = self.store().documents();
                documents.note_problem(scope, id, error.problem()).await?;
                return Err(error.into());
            }
        };
        // The text must be that of the bytes under the hash, or the next look at the file would
        // take a mix of two versions for the newer one.
        let after = {
            let path = path.clone();
            blocking("looking at a file", move || {
                Ok(FileStamp::of(&path).map_err(Refusal::from))
            })
            .await?
        };
        match after {
            Ok(after) if after == stamp => {}
            Ok(_) => {
                return self.refuse(scope, claim, document, &Refusal::Changed).await;
            }
            Err(refusal) => return self.refuse(scope, claim, document, &refusal).await,
        }
        let options = ChunkOptions {
            max_tokens: chunk_tokens(self.config().chunk_tokens, open.embedder.as_ref()),
            overlap_tokens: self.config().chunk_overlap_tokens,
            ..ChunkOptions::default()
        };
        let title = own_title(&extracted);
        self.reader()
            .note_live(claim.job, Stage::Chunking, Progress::default());
        let content = blocking("cutting a document into chunks", move || {
            content_of(extracted, title, format, hash, &options, tokens.as_ref())
        });
        let mut content = unless(cancel, content).await?;
        content.recognise &= later;
        let replaced = self
            .store()
            .documents()
            .replace_content(scope, id, claim, &content, Timestamp::now())
            .await?;
        self.reader()
            .pace()
            .note_read(stamp.size_bytes, replaced.added.len(), begun.elapsed());
        self.reader()
            .note_live(claim.job, Stage::IndexingWords, Progress::default());
        self.queue_words(scope, replaced.added, &replaced.removed);
        if self
            .reader()
            .pending()
            .get(&scope.workspace())
            .is_some_and(|pending| {
                pending.added.len() >= WORDS_BATCH || pending.since.elapsed() >= WORDS_DELAY
            })
        {
            self.flush_words_or_later().await;
        }
        Ok(Ran::Recorded)
    }

    /// Records that a document was not read, and why. What it held before leaves the search when
    /// the file no longer says it, but not when the file cannot be looked at.
    async fn refuse(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        document: &Document,
        refusal: &Refusal,
    ) -> Result<Ran> {
        if matches!(refusal, Refusal::Cancelled) {
            return Err(stopped());
        }
        let reason = refusal.to_string();
        if matches!(refusal, Refusal::Changed)
            && let Ok(path) = self.file_of(scope, document).await
            && let Ok(stamp) = FileStamp::of(&path)
            && let Some(wait) =
                self.reader()
                    .wait_after_change(document.id, stamp, &Rest::of(self.config()))
        {
            return Ok(Ran::Later(reason, wait));
        }
        if matches!(refusal, Refusal::Vanished | Refusal::PermissionDenied) {
            // A scan that finds it there, or readable, has it read again.
            self.store()
                .documents()
                .forget_stamp(scope, document.id)
                .await?;
        }
        if refusal.is_skip() {
            return self
                .skip(scope, claim, document.id, &reason, refusal.problem())
                .await;
        }
        if !refusal.is_retryable()
            && !matches!(refusal, Refusal::Vanished | Refusal::PermissionDenied)
        {
            self.forget_content(scope, document.id).await?;
        }
        let documents = self.store().documents();
        documents
            .note_problem(scope, document.id, refusal.problem())
            .await?;
        let now = Timestamp::now();
        self.store()
            .jobs()
            .fail(scope, claim, &reason, refusal.is_retryable(), now)
            .await?;
        Ok(Ran::Recorded)
    }

    /// Takes what a document held before out of the search: the file holds something else now that
    /// cannot be read.
    async fn forget_content(&self, scope: &WorkspaceScope, id: DocumentId) -> Result<()> {
        let removed = self.store().documents().forget_content(scope, id).await?;
        if !removed.is_empty() {
            self.queue_words(scope, Vec::new(), &removed);
            self.wipe_removed_rows().await;
        }
        Ok(())
    }

    /// Records that a file is left out on purpose.
    async fn skip(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        reason: &str,
        problem: Problem,
    ) -> Result<Ran> {
        let replaced = self
            .store()
            .documents()
            .skip(scope, id, claim, reason, problem, Timestamp::now())
            .await?;
        self.forget_words(scope, &replaced.removed).await;
        Ok(Ran::Recorded)
    }

    /// Takes chunks that have no rows any more out of the search.
    async fn forget_words(&self, scope: &WorkspaceScope, removed: &[ChunkKey]) {
        if !removed.is_empty() {
            self.queue_words(scope, Vec::new(), removed);
            self.wipe_removed_rows().await;
        }
    }

    /// What recognises the text of pictures here; `None` when there is nothing, or it is turned off.
    async fn recogniser(&self) -> Result<Option<Recogniser>> {
        let found = self.recogniser_found().await?;
        Ok(found.and_then(std::result::Result::ok))
    }

    /// Looks for a recogniser the first time that it is asked. `None` when it is turned off.
    pub(crate) async fn recogniser_found(
        &self,
    ) -> Result<Option<std::result::Result<Recogniser, RecogniserMissing>>> {
        let wanted = self.config().recognise_text;
        self.reader()
            .recogniser
            .get_or_try_init(async || {
                if !wanted {
                    return Ok(None);
                }
                let found = blocking("looking for text recognition", || Ok(Recogniser::find()));
                found.await.map(Some)
            })
            .await
            .cloned()
    }

    /// Queues the scanned documents of the time before this recogniser was there, once.
    async fn recognise_scanned(self: Arc<Self>) {
        let queued = async {
            let Some(recogniser) = self.recogniser().await? else {
                return Ok(0);
            };
            let name = format!("{} {}", recogniser.version, recogniser.languages.join("+"));
            let settings = self.store().settings();
            if settings.get::<String>(RECOGNISER_SETTING).await?.as_ref() == Some(&name) {
                return Ok(0);
            }
            let now = Timestamp::now();
            let documents = self.store().documents();
            let queued = documents.recognise_scanned(TO_BE_RECOGNISED, now).await?;
            settings.set(RECOGNISER_SETTING, &name, now).await?;
            Ok::<_, Error>(queued)
        };
        match queued.await {
            Ok(0) => {}
            Ok(documents) => {
                tracing::info!(documents, "scanned documents are recognised");
                self.changed(Topic::Documents, None);
                self.ring();
            }
            Err(error) => tracing::warn!(%error, "scanned documents are not recognised yet"),
        }
    }

    /// Makes the vectors that a document still lacks, batch by batch, each recorded at once.
    pub(crate) async fn embed(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        loop {
            let open = self.open_index(scope).await?;
            match self.embed_with(&open, scope, claim, id, cancel).await {
                // Another embedder has taken over; what is missing now is missing from its vectors.
                Err(_) if !self.indexes().is_live(scope, &open.index).await => {}
                ran => return ran,
            }
        }
    }

    pub(crate) async fn embed_with(
        self: &Arc<Self>,
        open: &OpenIndex,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let mut pending = self
            .store()
            .chunks()
            .unembedded(scope, Some(id), u32::MAX)
            .await?;
        if pending.is_empty() {
            return Ok(Ran::Finished);
        }
        let copied = self.copy_vectors(scope, claim, id, &open.index).await?;
        if copied == pending.len() as u64 {
            return Ok(Ran::Recorded);
        }
        let chunks = self.store().chunks();
        if copied > 0 {
            pending = chunks.unembedded(scope, Some(id), u32::MAX).await?;
        }
        // Of the document, not of this attempt: one that was stopped goes on where it was.
        let document = self.store().documents().get(scope, id).await?;
        let total = u64::from(document.chunk_count);
        let mut done = total.saturating_sub(pending.len() as u64);
        for batch in pending.chunks(EMBED_BATCH) {
            if cancel.is_cancelled() {
                return Err(stopped());
            }
            if total > EMBED_BATCH as u64 {
                self.progress(scope, claim, Stage::Embedding, Progress { done, total })
                    .await?;
            }
            let texts = batch.iter().map(embedded_text).collect();
            let cores = unless(cancel, async { Ok(self.cores().background().await) }).await?;
            let begun = Instant::now();
            let wanted = &self.reader().embedded;
            wanted.fetch_add(batch.len() as u64, Ordering::SeqCst);
            // Given up in the middle where that is wanted: a batch takes seconds.
            let embedded = async { Ok(open.embedder.embed(EmbedKind::Passage, texts).await?) };
            let vectors = unless(cancel, embedded).await?;
            drop(cores);
            let vectors = batch
                .iter()
                .zip(vectors)
                .map(|(entry, vector)| {
                    let vector = StoredVector {
                        key: entry.key,
                        dense: vector.dense,
                        sparse: vector.sparse,
                    };
                    (entry.language, vector)
                })
                .collect();
            self.add_vectors(scope, claim, id, &open.index, vectors)
                .await?;
            let took = begun.elapsed();
            self.reader().pace().note_embedded(batch.len(), took);
            done += batch.len() as u64;
        }
        Ok(Ran::Recorded)
    }

    /// Gives a document's chunks the vectors that equal content has already; returns how many.
    async fn copy_vectors(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<u64> {
        let mut copied = 0;
        let twins = self.store().chunks().embedded_twins(scope, id).await?;
        for batch in twins.chunks(COPY_BATCH) {
            let keys: Vec<ChunkKey> = batch.iter().map(|(without, _)| *without).collect();
            let languages: HashMap<ChunkKey, Language> = self
                .store()
                .chunks()
                .entries_for_keys(scope, &keys)
                .await?
                .into_iter()
                .map(|entry| (entry.key, entry.language))
                .collect();
            let stored = {
                let index = Arc::clone(index);
                let wanted: RoaringBitmap = batch.iter().map(|(_, with)| with.0).collect();
                blocking(
                    "reading vectors",
                    move || Ok(index.stored_vectors(&wanted)?),
                )
                .await?
            };
            let stored: HashMap<ChunkKey, StoredVector> = stored
                .into_iter()
                .map(|vector| (vector.key, vector))
                .collect();
            let vectors: Vec<(Language, StoredVector)> = batch
                .iter()
                .filter_map(|(without, with)| {
                    let vector = StoredVector {
                        key: *without,
                        ..stored.get(with)?.clone()
                    };
                    Some((*languages.get(without)?, vector))
                })
                .collect();
            if vectors.is_empty() {
                continue;
            }
            copied += vectors.len() as u64;
            self.add_vectors(scope, claim, id, index, vectors).await?;
        }
        Ok(copied)
    }

    /// Puts vectors into the index, and records it.
    async fn add_vectors(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        index: &Arc<WorkspaceIndex>,
        vectors: Vec<(Language, StoredVector)>,
    ) -> Result<()> {
        let keys: Vec<ChunkKey> = vectors.iter().map(|(_, vector)| vector.key).collect();
        let index = Arc::clone(index);
        let committing = self.reader().committing().await;
        // The rows speak of the vectors that answer.
        if !self.indexes().is_live(scope, &index).await {
            return Err(Error::new(
                Code::Overloaded,
                "another embedder has taken over meanwhile",
            ));
        }
        blocking("indexing vectors", move || {
            let entries: Vec<VectorEntry<'_>> = vectors
                .iter()
                .map(|(language, vector)| VectorEntry {
                    key: vector.key,
                    language: *language,
                    dense: &vector.dense,
                    sparse: vector.sparse.as_deref(),
                })
                .collect();
            Ok(index.add_vectors(&entries)?)
        })
        .await?;
        let marked = self
            .store()
            .chunks()
            .mark_embedded(scope, id, &keys, claim, Timestamp::now())
            .await;
        drop(committing);
        if let Err(error) = marked {
            // The document was deleted or read again meanwhile; its vectors go with it.
            self.queue_words(scope, Vec::new(), &self.gone(scope, &keys).await?);
            return Err(error.into());
        }
        Ok(())
    }

    /// Those of the keys that no row has any more.
    async fn gone(&self, scope: &WorkspaceScope, keys: &[ChunkKey]) -> Result<Vec<ChunkKey>> {
        let there = self.store().chunks().entries_for_keys(scope, keys).await?;
        Ok(keys
            .iter()
            .filter(|key| !there.iter().any(|entry| entry.key == **key))
            .copied()
            .collect())
    }

    async fn progress(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        stage: Stage,
        progress: Progress,
    ) -> Result<()> {
        self.store()
            .jobs()
            .progress(scope, claim, stage, progress, Timestamp::now())
            .await?;
        Ok(())
    }

    /// Notes changes for the word index; [`Engine::flush_words`] commits them.
    pub(crate) fn queue_words(
        &self,
        scope: &WorkspaceScope,
        added: Vec<ChunkKey>,
        removed: &[ChunkKey],
    ) {
        let pending = PendingWords {
            added,
            removed: removed.iter().map(|key| key.0).collect(),
            since: Instant::now(),
        };
        self.reader().wait_on(scope.workspace(), pending);
        if !removed.is_empty() {
            self.reader().wipe_soon(scope.workspace());
        }
    }

    /// Commits what waits for the indexes. Visible on return. What cannot be committed goes on
    /// waiting.
    pub(crate) async fn flush_words(&self) -> Result<()> {
        self.reader().words_failed().clear();
        self.flush_words_unless_failed().await
    }

    /// [`Engine::flush_words`] of those workspaces whose last commit has not failed.
    async fn flush_words_unless_failed(&self) -> Result<()> {
        let _committing = self.reader().committing().await;
        let mut taken = {
            let failed = self.reader().words_failed();
            let mut pending = self.reader().pending();
            let (later, now) = std::mem::take(&mut *pending)
                .into_iter()
                .partition(|(workspace, _)| failed.contains(workspace));
            *pending = later;
            TakenWords {
                reader: self.reader(),
                left: now,
            }
        };
        let workspaces: Vec<WorkspaceId> = taken.left.keys().copied().collect();
        let mut failed = None;
        for workspace in workspaces {
            let pending = &taken.left[&workspace];
            match self.commit(&WorkspaceScope::new(workspace), pending).await {
                Ok(()) => self.changed(Topic::Documents, Some(workspace)),
                // A workspace deleted in the meantime has no index to keep.
                Err(error) if error.code() == Code::NotFound => {}
                Err(error) => {
                    self.reader().words_failed().insert(workspace);
                    failed.get_or_insert(error);
                    continue;
                }
            }
            taken.left.remove(&workspace);
        }
        failed.map_or(Ok(()), Err)
    }

    /// For the lock's holder.
    async fn commit(&self, scope: &WorkspaceScope, pending: &PendingWords) -> Result<()> {
        let open = self.open_index_as_it_is(scope).await?;
        self.mend_index(scope, &open.index).await?;
        if !pending.removed.is_empty() {
            self.indexes().note_write(scope);
            let index = Arc::clone(&open.index);
            let removed = pending.removed.clone();
            blocking(
                "removing from an index",
                move || Ok(index.remove(&removed)?),
            )
            .await?;
        }
        if !pending.added.is_empty() {
            self.add_words(scope, &open.index, &pending.added).await?;
        }
        self.reword(scope, &open.index).await
    }

    /// Puts the words of documents that have another title now into the index again, under the same
    /// keys: the title stands in front of each chunk.
    pub(crate) async fn reword(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<()> {
        let documents = self.store().documents();
        let retitled = documents.retitled(scope).await?;
        if retitled.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::new();
        for document in &retitled {
            let chunks = self.store().chunks();
            keys.extend(chunks.keys_of_document(scope, document.id).await?);
        }
        for batch in keys.chunks(WORDS_BATCH) {
            self.add_words(scope, index, batch).await?;
        }
        documents.mark_reworded(scope, &retitled).await?;
        Ok(())
    }

    /// Commits what waits for the indexes, unless that has just failed. The rows have it, so that
    /// failing now fails nobody: it is tried again.
    pub(crate) async fn flush_words_or_later(&self) {
        if self.reader().pending().is_empty() {
            return;
        }
        if let Err(error) = self.flush_words_unless_failed().await {
            tracing::warn!(%error, "words are indexed later");
        }
    }

    async fn flush_words_in_time(self: Arc<Self>) {
        while !self.stopping().is_cancelled() {
            self.pause(WORDS_DELAY).await;
            let mut failed = None;
            if !self.reader().pending().is_empty() {
                failed = self.flush_words().await.err();
            }
            for scope in self.indexes().damaged().await {
                failed = self.open_index(&scope).await.err().or(failed);
            }
            if let Some(error) = failed {
                tracing::warn!(%error, "an index is not up to date yet");
                if is_full(&error) {
                    self.reader().note_disk_full(true);
                }
                self.pause(RECORD_AGAIN).await;
            }
        }
    }

    /// Waits, but not longer than the engine runs.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stopping().cancelled() => {}
        }
    }

    /// Sees to it that what was just removed is in no file any more: in the database's at once, in the
    /// index's in the background, where it costs more. Failing is no failure of the removal.
    pub(crate) async fn wipe_removed(&self, scope: &WorkspaceScope) {
        self.reader().wipe_soon(scope.workspace());
        self.wipe_removed_rows().await;
    }

    /// [`Engine::wipe_removed`] of what is in the database alone.
    pub(crate) async fn wipe_removed_rows(&self) {
        if !self.wipe_rows().await {
            self.reader().wipe_rows_soon();
        }
    }

    async fn wipe_rows(&self) -> bool {
        self.store().checkpoint().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the database's journal could not be emptied");
            false
        })
    }

    async fn wipe_in_time(self: Arc<Self>) {
        // The last process may have ended before it came to it.
        self.reader().wipe_rows_soon();
        while !self.stopping().is_cancelled() {
            tokio::select! {
                () = self.reader().wipe.notified() => {}
                () = self.stopping().cancelled() => return,
            }
            // One rewriting serves all that is removed within this time.
            self.pause(WIPE_DELAY).await;
            let begun = Instant::now();
            if !self.wipe().await {
                self.pause(RECORD_AGAIN).await;
                self.reader().wipe.notify_one();
            }
            let rest = begun.elapsed().saturating_mul(WIPE_SHARE);
            self.pause(rest.min(WIPE_AT_LATEST)).await;
        }
    }

    /// Rewrites what holds text that was removed. `false` when some of it may still be there.
    pub(crate) async fn wipe(&self) -> bool {
        let taken = {
            let mut to_wipe = self.reader().to_wipe();
            to_wipe.under_way = std::mem::take(&mut to_wipe.indexes);
            to_wipe.rows = true;
            to_wipe.under_way.clone()
        };
        let mut all = self.wipe_rows().await;
        self.reader().to_wipe().rows = !all;
        for workspace in taken {
            let wiped = self.wipe_index(&WorkspaceScope::new(workspace)).await;
            let mut to_wipe = self.reader().to_wipe();
            to_wipe.under_way.remove(&workspace);
            match wiped {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "what was removed is still in the index's files");
                }
            }
            to_wipe.indexes.insert(workspace);
            all = false;
        }
        all
    }

    /// Rewrites an index, all its generations of vectors, without what was removed. `false` when some
    /// of it may still be there.
    async fn wipe_index(&self, scope: &WorkspaceScope) -> Result<bool> {
        // What waits to be removed is to be gone as well.
        self.flush_words().await?;
        let Some(index) = self.indexes().opened(scope).await else {
            // There is nothing to wipe once the workspace is gone.
            let known = self.store().workspaces().list().await?;
            return Ok(known.iter().all(|known| known.id != scope.workspace()));
        };
        // Before the note that there is something to wipe goes.
        let swept = {
            let mut changing = self.changes().interrupt().await;
            self.sweep(&mut changing, scope, &index).await?
        };
        self.indexes().note_write(scope);
        let forget = |index: Arc<WorkspaceIndex>| {
            blocking("wiping what was removed", move || {
                Ok(index.forget_removed()?)
            })
        };
        if forget(Arc::clone(&index)).await? {
            return Ok(swept);
        }
        // Commits came in between. Now they wait for it.
        let _committing = self.reader().committing().await;
        Ok(forget(index).await? && swept)
    }

    async fn keep_house(self: Arc<Self>) {
        let stopping = self.stopping().clone();
        while !stopping.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(HOUSEKEEPING) => {}
                () = stopping.cancelled() => return,
            }
            let unload_after = self.config().unload_after_seconds;
            if unload_after > 0 {
                self.unload_idle_models(Duration::from_secs(unload_after))
                    .await;
            }
            self.indexes().release_idle(WRITER_IDLE).await;
            self.reader()
                .forget_restless(Instant::now(), &Rest::of(self.config()));
            self.drop_old_vectors(Timestamp::now()).await;
            let finished_before = Timestamp(Timestamp::now().0 - KEEP_FINISHED_MS);
            if let Err(error) = self.store().jobs().prune(finished_before).await {
                tracing::warn!(%error, "finished jobs could not be forgotten");
            }
            if self.reader().reading().is_none() {
                self.build_trees().await;
            }
        }
    }

    /// Builds search trees in the background where an index has grown so that they pay.
    async fn build_trees(&self) {
        let Ok(workspaces) = self.store().workspaces().list().await else {
            return;
        };
        for workspace in workspaces {
            let scope = WorkspaceScope::new(workspace.id);
            let Some(index) = self.indexes().opened(&scope).await else {
                continue;
            };
            let _cores = self.cores().background().await;
            let built = blocking("building search trees", move || {
                Ok(index.maybe_build_trees()?)
            })
            .await;
            if let Err(error) = built {
                tracing::warn!(%error, "search trees could not be built; search goes on without");
            }
        }
    }

    /// Opens every workspace's index after the start, so that damage is found and mended before
    /// somebody asks, and removes what deleted workspaces and documents left behind.
    async fn open_all(self: Arc<Self>) {
        let workspaces = match self.store().workspaces().list().await {
            Ok(workspaces) => workspaces,
            Err(error) => {
                tracing::error!(%error, "the workspaces could not be listed");
                return;
            }
        };
        let known: Vec<WorkspaceId> = workspaces.iter().map(|workspace| workspace.id).collect();
        if let Err(error) = self.indexes().remove_orphans(&known).await {
            tracing::warn!(%error, "old indexes could not be removed");
        }
        if let Err(error) = self.remove_orphaned_blobs().await {
            tracing::warn!(%error, "old blobs could not be removed");
        }
        for workspace in workspaces {
            if self.stopping().is_cancelled() {
                return;
            }
            if let Err(error) = self.open_index(&WorkspaceScope::new(workspace.id)).await {
                tracing::warn!(%error, workspace = %workspace.name, "its index could not be opened");
                continue;
            }
            // What the last process did not get to.
            self.reader().wipe_soon(workspace.id);
        }
    }
}

/// What a look at a file says.
enum Inspected {
    /// With the stamp of the file as it was hashed.
    Readable(Format, docent_domain::ContentHash, FileStamp),
    Unsupported(String),
}

/// Blocking.
fn inspect(path: &Path) -> Result<Inspected, Refusal> {
    let inspection = docent_ingest::inspect(path)?;
    match inspection.detection {
        Detection::Supported(format) => {
            // Before all of it is read for its hash.
            Bounds::default().check_size(format, inspection.stamp.size_bytes)?;
            let (hash, stamp) = docent_ingest::hash_stable(path)?;
            Ok(Inspected::Readable(format, hash, stamp))
        }
        Detection::Unsupported { .. } if inspection.stamp.size_bytes == 0 => Err(Refusal::Empty),
        Detection::Unsupported { reason } => Ok(Inspected::Unsupported(reason)),
    }
}

fn content_of(
    extracted: Extracted,
    title: Option<String>,
    format: Format,
    hash: docent_domain::ContentHash,
    options: &ChunkOptions,
    tokens: &dyn TokenCounter,
) -> Result<DocumentContent> {
    let chunks = docent_ingest::chunk(&extracted, options, &CountedBy(tokens));
    let layout_json = serde_json::to_string(&Layout {
        blocks: extracted.blocks,
    })
    .map_err(|error| Error::internal("writing a document's structure", error))?;
    let warnings: Vec<String> = extracted.warnings.iter().map(ToString::to_string).collect();
    let problems: Vec<Problem> = extracted
        .warnings
        .iter()
        .filter_map(Warning::problem)
        .collect();
    let recognise = problems.contains(&Problem::PartlyScanned);
    Ok(DocumentContent {
        hash,
        language: Some(language::of_document(&extracted.text)),
        title,
        format: Some(format),
        page_count: (format == Format::Pdf).then_some(extracted.pages.len() as u32),
        text: extracted.text,
        layout_json,
        chunks,
        note: (!warnings.is_empty()).then(|| warnings.join(" ")),
        problem: WORST_FIRST
            .into_iter()
            .find(|problem| problems.contains(problem)),
        recognise,
    })
}

/// What a readable document's warnings may tell of. It is listed under the first of them.
const WORST_FIRST: [Problem; 4] = [
    Problem::Garbled,
    Problem::PartlyScanned,
    Problem::Incomplete,
    Problem::Encoding,
];

/// The tokenizer of the embedder, as the chunker wants it.
struct CountedBy<'a>(&'a dyn TokenCounter);

impl Tokens for CountedBy<'_> {
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
        self.0.token_offsets(text)
    }
}

/// For what may be dropped halfway: the work's result, or that the job was stopped.
async fn unless<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(stopped()),
        done = work => done,
    }
}

fn stopped() -> Error {
    Error::new(Code::Internal, "stopped")
}

fn is_full(error: &Error) -> bool {
    error.code() == Code::InsufficientStorage
}

fn chunk_tokens(wanted: usize, embedder: &dyn Embedder) -> usize {
    wanted.min(embedder.max_tokens().saturating_sub(HEADER_TOKENS))
}

/// What the embedder reads of a chunk: where it stands, then its text.
pub(crate) fn embedded_text(entry: &IndexEntry) -> String {
    format!(
        "{}\n{}",
        header(&entry.title, &entry.heading_path),
        entry.text
    )
}

/// The title that a document gives itself, if it does.
fn own_title(extracted: &Extracted) -> Option<String> {
    let title = extracted
        .title
        .as_deref()
        .map(str::trim)
        .filter(|title| !title.is_empty());
    title.map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use docent_domain::JobState;

    use super::*;
    use crate::engine::EngineOptions;
    use crate::models::ModelSource;

    /// An engine that runs no jobs, with a workspace.
    async fn at_rest(folder: &Path) -> (Arc<Engine>, WorkspaceScope) {
        let mut options = EngineOptions::new(folder.join("data"), folder.join("models"));
        options.models = ModelSource::Fakes;
        options.run_jobs = false;
        let engine = Engine::open(options).await.unwrap();
        let workspace = engine.create_workspace("Ured", None).await.unwrap();
        (engine, WorkspaceScope::new(workspace.id))
    }

    #[tokio::test]
    async fn words_wait_on_when_nobody_waits_for_their_commit() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        engine.queue_words(&scope, vec![ChunkKey(7)], &[ChunkKey(3)]);
        {
            let flush = std::pin::pin!(engine.flush_words());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(flush.poll(&mut context).is_pending());
            assert!(engine.reader().pending().is_empty(), "control");
        }
        {
            let pending = engine.reader().pending();
            let left = &pending[&scope.workspace()];
            assert_eq!(left.added, [ChunkKey(7)]);
            assert!(left.removed.contains(3));
        }
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn idle_indexes_give_their_memory_back() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        let index = engine.open_index(&scope).await.unwrap().index;
        let word = docent_index::WordEntry {
            key: ChunkKey(7),
            header: "",
            text: "Rijeka",
            language: Language::Croatian,
        };
        index.add_words(&[word]).unwrap();
        engine.queue_words(&scope, Vec::new(), &[ChunkKey(7)]);
        engine.flush_words().await.unwrap();
        engine.indexes().release_idle(Duration::MAX).await;
        assert!(index.stats().has_writer, "it was used just now");
        engine.indexes().release_idle(Duration::ZERO).await;
        assert!(!index.stats().has_writer);
        drop(index);
        engine.shutdown().await;
    }

    #[test]
    fn a_file_is_read_when_it_rests_or_has_not_for_long() {
        let rest = Rest {
            quiet: Duration::from_secs(2),
            longest: Duration::from_secs(60),
        };
        let begun = Instant::now();
        let (at, now) = (
            |ms| begun + Duration::from_millis(ms),
            |ms| Timestamp(1_000_000 + ms),
        );
        let written = |ms: i64, size_bytes| FileStamp {
            size_bytes,
            modified_ns: (1_000_000 + ms) * 1_000_000,
            file_id: None,
        };
        let fresh = |stamp| Restless::new(stamp, begun);
        let ms = |wait: Option<Duration>| wait.map(|wait| wait.as_millis());

        let mut file = fresh(written(0, 1));
        assert_eq!(
            ms(file.wait(written(0, 1), now(500), at(0), &rest)),
            Some(1500)
        );
        // Written to again meanwhile.
        assert_eq!(
            ms(file.wait(written(1900, 2), now(2000), at(1500), &rest)),
            Some(1900)
        );
        assert_eq!(
            ms(file.wait(written(1900, 2), now(3900), at(3400), &rest)),
            None
        );

        // The clock of a server is an hour ahead: it has to look the same for as long.
        let ahead = |size| written(3_600_000, size);
        let mut file = fresh(ahead(1));
        assert_eq!(ms(file.wait(ahead(1), now(0), at(0), &rest)), Some(2000));
        assert_eq!(
            ms(file.wait(ahead(2), now(1000), at(1000), &rest)),
            Some(2000)
        );
        assert_eq!(ms(file.wait(ahead(2), now(3000), at(3000), &rest)), None);

        // A log never rests.
        let mut log = fresh(written(0, 0));
        let mut waited = 0;
        for second in 0_u32..60 {
            let stamp = written(i64::from(second) * 1000, u64::from(second));
            let looked = at(u64::from(second) * 1000);
            waited += u32::from(
                log.wait(stamp, now(i64::from(second) * 1000), looked, &rest)
                    .is_some(),
            );
        }
        assert_eq!(waited, 60);
        assert_eq!(
            ms(log.wait(written(60_000, 60), now(60_000), at(60_000), &rest)),
            None
        );

        assert_eq!(rest.read_after(&written(0, 1), now(500)), Some(now(2000)));
        assert_eq!(rest.read_after(&ahead(1), now(0)), Some(now(2000)));
        assert_eq!(rest.read_after(&written(-2000, 1), now(0)), None);
    }

    #[tokio::test]
    async fn files_that_vanish_before_they_rest_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, _) = at_rest(folder.path()).await;
        let rest = Rest {
            quiet: Duration::from_secs(2),
            longest: Duration::from_mins(1),
        };
        let stamp = FileStamp {
            size_bytes: 1,
            modified_ns: Timestamp::now().0 * 1_000_000,
            file_id: None,
        };
        let reader = engine.reader();
        let (vanished, written) = (DocumentId::generate(), DocumentId::generate());
        for id in [vanished, written] {
            assert!(reader.wait_for_rest(id, stamp, &rest).is_some());
        }
        let later = Instant::now() + Duration::from_mins(2);
        reader.restless().get_mut(&written).unwrap().looked_at = later;
        reader.forget_restless(Instant::now(), &rest);
        assert_eq!(reader.restless().len(), 2, "control");
        reader.forget_restless(later, &rest);
        let known: Vec<DocumentId> = reader.restless().keys().copied().collect();
        assert_eq!(known, [written]);
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn what_was_added_by_hand_overtakes_a_folder_that_is_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let watched = engine.add_folder(&scope, &files).await.unwrap();
        let (documents, now) = (engine.store().documents(), Timestamp::now());
        let add = async |name: &str, watched| {
            let stamp = docent_store::FileStamp::default();
            let new = crate::documents::new_document(&files.join(name), stamp, watched);
            documents.register(&scope, &new, now).await.unwrap().0.id
        };
        let in_folder = add("1.txt", Some(watched.id)).await;
        let read = async |document| {
            let (job, _) = engine.claim(&[JobType::Read], None).await.unwrap().unwrap();
            assert_eq!(job.kind, JobKind::Read { document });
            let content = DocumentContent {
                hash: docent_domain::ContentHash("0".repeat(64)),
                title: None,
                format: None,
                language: None,
                text: "Rijeka".to_owned(),
                layout_json: "{}".to_owned(),
                page_count: None,
                chunks: vec![docent_domain::NewChunk {
                    span: docent_domain::Span::new(0, 6),
                    text: "Rijeka".to_owned(),
                    heading_path: Vec::new(),
                    page: None,
                    boxes: Vec::new(),
                    token_count: 1,
                }],
                note: None,
                problem: None,
                recognise: false,
            };
            let claim = Claim::from(&job);
            let replaced = documents.replace_content(&scope, document, claim, &content, now);
            replaced.await.unwrap();
            engine.reader().running().remove(&job.id);
        };
        let embeds = async || {
            let above = engine.reads_ahead().await.unwrap();
            let claimed = engine.claim(&[JobType::Embed], above).await.unwrap();
            claimed.map(|(job, _)| {
                engine.reader().running().remove(&job.id);
                job.kind
            })
        };
        read(in_folder).await;
        let waiting = add("2.txt", Some(watched.id)).await;
        assert_eq!(embeds().await, None, "words first");
        let by_hand = add("hand.txt", None).await;
        assert_eq!(embeds().await, None, "it has no words yet");
        read(by_hand).await;
        assert_eq!(embeds().await, Some(JobKind::Embed { document: by_hand }));
        assert_eq!(embeds().await, None);
        // Being read counts as much as waiting for it.
        let (reading, _) = engine.claim(&[JobType::Read], None).await.unwrap().unwrap();
        assert_eq!(reading.kind, JobKind::Read { document: waiting });
        assert_eq!(embeds().await, None);
        engine.reader().running().remove(&reading.id);
        assert_eq!(
            embeds().await,
            Some(JobKind::Embed {
                document: in_folder
            })
        );
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn no_failure_leaves_a_job_running() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        engine.add_folder(&scope, &files).await.unwrap();
        let (jobs, now) = (engine.store().jobs(), Timestamp::now());
        for code in [Code::Conflict, Code::NotFound, Code::Internal] {
            let later = Timestamp(now.0 + 3_600_000);
            let job = jobs.claim_next(engine.boot(), &[JobType::Scan], later);
            let job = job.await.unwrap().expect("it is there to be tried again");
            let failed = Err(Error::new(code, "no"));
            let cancel = CancellationToken::new();
            let claim = Claim::from(&job);
            let recorded = engine.record(&scope, claim, &failed, &cancel).await;
            recorded.unwrap();
            let state = jobs.get(&scope, job.id).await.unwrap().state;
            assert_ne!(state, JobState::Running, "{code:?}");
            let stale = engine.record(&scope, claim, &failed, &cancel).await;
            assert_eq!(stale.unwrap_err().code(), Code::Conflict);
        }
        engine.shutdown().await;
    }
}
