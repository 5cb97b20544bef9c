//! Durable jobs carried out: reading files, making vectors, comparing folders with the disk.
//!
//! Each kind of job has lanes, and a lane is a loop around [`Engine::tick`]: claim, run, record.
//! Words come first: while files of a workspace are waiting to be read, no vector of it is made,
//! because reading is a hundredth of the work and already makes a document searchable. Only what is
//! more urgent than all that waits to be read (added by hand, beside a folder) is embedded before
//! that. Killing the process at any point loses no acknowledged work and costs at most the file in
//! hand.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{
    ContentHash, DocumentId, Job, JobId, JobKind, JobType, Progress, Stage, Timestamp, WorkspaceId,
    WorkspaceScope,
};
use docent_ingest::{ExtractLimits, Extractor, Recogniser, RecogniserMissing};
use docent_store::{Claim, PRIORITY_RECOGNITION, Wanted};
use docent_worker::Launch;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

pub(crate) use self::embed::{EMBED_BATCH, embedded_text};
pub(crate) use self::rest::Rest;
use self::rest::Restless;
use self::wipe::ToWipe;
use self::words::PendingWords;
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::folders::{REST_AFTER_HINT, Scanned};
use crate::indexes::blocking;
use crate::models::Models;
use crate::pace::Pace;
use crate::types::Topic;

mod embed;
mod read;
mod rest;
mod wipe;
mod words;

/// Readers side by side: one waits for its worker process while the other writes rows.
pub(crate) const READ_LANES: usize = 2;

/// Documents embedded side by side: one's batch is made while the other's is recorded.
const EMBED_LANES: usize = 2;

/// An idle lane looks at the queue this often even when nobody rings; retries fall due by time.
const IDLE_LOOK: Duration = Duration::from_secs(2);

/// A job that cannot run yet (its model is missing, the disk is full) is tried again after this, and
/// so is one of those that cannot run for the same reason.
const NOT_YET: Duration = Duration::from_secs(10);

/// What could not be written (the disk is full) is written again after this.
const RECORD_AGAIN: Duration = Duration::from_secs(5);

/// How often idle models are unloaded and finished jobs forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// A word index that is not written to for so long gives back the 20 MB that writing takes.
const WRITER_IDLE: Duration = Duration::from_mins(1);

/// Finished jobs are kept in the list for a day.
const KEEP_FINISHED_MS: i64 = 24 * 3600 * 1000;

/// Pages of a file come faster than anybody reads their number.
const TELL_PROGRESS: Duration = Duration::from_millis(500);

/// Reads files, in worker processes.
pub(crate) struct Reader {
    pub(crate) extractor: Extractor,
    /// By their claims: a job that was restarted, or cancelled and tried again, may be run anew before
    /// its first run has noticed.
    running: Mutex<HashMap<Claim, Running>>,
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
    /// What waits for a model.
    blocked: Mutex<HashMap<(WorkspaceId, JobType), Blocked>>,
    /// No job is begun before this, because the last one found the disk full.
    room_looked_for: Mutex<Option<Instant>>,
    to_wipe: Mutex<ToWipe>,
    wipe: Notify,
    /// Whether the last thing that was to be written found no room.
    disk_full: AtomicBool,
    restless: Mutex<HashMap<DocumentId, Restless>>,
    /// Held while the embedder makes a batch: a second one at its side would take its memory twice.
    embedding: tokio::sync::Mutex<()>,
    /// Contents that a lane makes vectors of. Another document of equal content takes those.
    contents: Mutex<HashSet<(WorkspaceId, ContentHash)>>,
    /// Chunks that an embedder was asked for since the start.
    embedded: AtomicU64,
}

/// A job that is being run.
struct Running {
    workspace: WorkspaceId,
    kind: JobKind,
    cancel: CancellationToken,
    begun: Instant,
    /// What is not worth a write for each step.
    live: Option<(Stage, Progress)>,
}

/// Jobs of a workspace that wait for a model.
struct Blocked {
    /// What was said about it last.
    reason: String,
    /// One of them is tried then.
    until: Instant,
}

/// What running a job came to.
pub(crate) enum Ran {
    /// The result is recorded, with the job's end.
    Recorded,
    /// Nothing is left to record but the job's end.
    Finished,
    /// A folder was compared with the disk, and is to rest so long before hints have it scanned again.
    Scanned(Duration),
    /// The job goes back for so long, without counting as an attempt.
    Later(String, Duration),
    /// The job goes back, because others are due before it.
    GaveWay,
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
            room_looked_for: Mutex::default(),
            to_wipe: Mutex::default(),
            wipe: Notify::new(),
            disk_full: AtomicBool::new(false),
            restless: Mutex::default(),
            embedding: tokio::sync::Mutex::default(),
            contents: Mutex::default(),
            embedded: AtomicU64::new(0),
        })
    }

    /// Chunks that an embedder was asked for since the start.
    pub(crate) fn embedded(&self) -> u64 {
        self.embedded.load(Ordering::SeqCst)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Claim, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a job among those that run. An earlier run of it works on what is gone.
    fn note_begun(&self, job: &Job, cancel: CancellationToken) {
        let mut running = self.running();
        for (_, earlier) in running.iter().filter(|(claim, _)| claim.job == job.id) {
            earlier.cancel.cancel();
        }
        let begun = Running {
            workspace: job.workspace_id,
            kind: job.kind,
            cancel,
            begun: Instant::now(),
            live: None,
        };
        running.insert(Claim::from(job), begun);
    }

    fn note_ended(&self, claim: Claim) {
        self.running().remove(&claim);
        self.ended.notify_waiters();
    }

    /// Stops a job where it runs.
    pub(crate) async fn cancel(&self, job: JobId) {
        let _claiming = self.claiming.lock().await;
        for (_, running) in self.running().iter().filter(|(claim, _)| claim.job == job) {
            running.cancel.cancel();
        }
    }

    /// Stops the embedding of a document whose chunks were replaced. One that has begun with the new
    /// ones in between begins again.
    async fn stop_embedding(&self, document: DocumentId) {
        let _claiming = self.claiming.lock().await;
        let kind = JobKind::Embed { document };
        for job in self.running().values().filter(|job| job.kind == kind) {
            job.cancel.cancel();
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
    pub(crate) fn live(&self, claim: Claim) -> Option<(Option<(Stage, Progress)>, Duration)> {
        let running = self.running();
        let job = running.get(&claim)?;
        Some((job.live, job.begun.elapsed()))
    }

    fn note_live(&self, claim: Claim, stage: Stage, progress: Progress) {
        if let Some(job) = self.running().get_mut(&claim) {
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
        self.blocked().retain(|(of, _), _| *of != workspace);
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

    /// Whether any file is being read now.
    fn is_reading(&self) -> bool {
        let running = self.running();
        running
            .values()
            .any(|job| matches!(job.kind, JobKind::Read { .. }))
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

    /// What the workspace's jobs miss, and which ones, if the last that ran could not for want of a
    /// model.
    pub(crate) fn missing_model(&self, workspace: WorkspaceId) -> Option<(String, Vec<JobType>)> {
        let blocked = self.blocked();
        let of_workspace = blocked.iter().filter(|((of, _), _)| *of == workspace);
        let (kinds, reasons): (Vec<JobType>, Vec<&String>) = of_workspace
            .map(|((_, kind), blocked)| (*kind, &blocked.reason))
            .unzip();
        Some(((*reasons.first()?).clone(), kinds))
    }

    fn blocked(&self) -> std::sync::MutexGuard<'_, HashMap<(WorkspaceId, JobType), Blocked>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queues of which nothing is tried now, since the last that was lacked a model: each job would
    /// be written twice to come to the same.
    pub(crate) fn held(&self) -> Vec<(WorkspaceId, JobType)> {
        let now = Instant::now();
        let blocked = self.blocked();
        let held = blocked.iter().filter(|(_, blocked)| blocked.until > now);
        held.map(|(of, _)| *of).collect()
    }

    /// Has what waits for a model tried at once: there may be another one now.
    pub(crate) fn try_blocked(&self) {
        let now = Instant::now();
        for blocked in self.blocked().values_mut() {
            blocked.until = now;
        }
    }

    fn room_looked_for(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.room_looked_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what a job's result says about those that are to follow. Returns whether they may
    /// go on that could not before.
    fn note_result(&self, job: &Job, result: &Result<Ran>) -> bool {
        let of = (job.workspace_id, JobType::from(job.kind));
        let until = Instant::now() + NOT_YET;
        match result {
            Ok(_) => {
                let had_no_room = self.room_looked_for().take().is_some();
                self.blocked().remove(&of).is_some() || had_no_room
            }
            Err(error) if error.code() == Code::ModelMissing => {
                let reason = error.to_string();
                self.blocked().insert(of, Blocked { reason, until });
                false
            }
            Err(error) => {
                if is_full(error) {
                    *self.room_looked_for() = Some(until);
                }
                self.blocked().remove(&of).is_some()
            }
        }
    }
}

impl Engine {
    pub(crate) fn spawn_tasks(self: &Arc<Self>) {
        // The last process may have ended before it came to it.
        self.reader().wipe_rows_soon();
        // Only one lane takes up scanned pages, so that no file waits until a book is recognised.
        self.spawn_lane(&[JobType::Read], None);
        for _ in 1..READ_LANES {
            self.spawn_lane(&[JobType::Read], Some(PRIORITY_RECOGNITION));
        }
        for _ in 0..EMBED_LANES {
            self.spawn_lane(&[JobType::Embed], None);
        }
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

    /// Claims a job and enters it among those that run.
    async fn claim(
        &self,
        types: &[JobType],
        above: Option<i32>,
    ) -> Result<Option<(Job, CancellationToken)>> {
        let reader = self.reader();
        let _claiming = reader.claiming.lock().await;
        if reader
            .room_looked_for()
            .is_some_and(|then| then > Instant::now())
        {
            return Ok(None);
        }
        let wanted = Wanted {
            types,
            above,
            words_first: true,
            held: &reader.held(),
        };
        let jobs = self.store().jobs();
        let claimed = jobs.claim(self.boot(), &wanted, Timestamp::now());
        let Some(job) = claimed.await? else {
            return Ok(None);
        };
        // Where something was in the way, this one tries it for all.
        let until = Instant::now() + NOT_YET;
        let of = (job.workspace_id, JobType::from(job.kind));
        if let Some(blocked) = reader.blocked().get_mut(&of) {
            blocked.until = until;
        }
        if let Some(then) = reader.room_looked_for().as_mut() {
            *then = until;
        }
        let cancel = self.stopping().child_token();
        reader.note_begun(&job, cancel.clone());
        Ok(Some((job, cancel)))
    }

    /// Whether a running embedding is to make room for what is due before it.
    async fn gives_way(&self, scope: &WorkspaceScope, claim: Claim) -> Result<bool> {
        let wanted = Wanted {
            types: &[JobType::Embed],
            above: None,
            words_first: true,
            held: &self.reader().held(),
        };
        let jobs = self.store().jobs();
        let gives_way = jobs.is_to_give_way(scope, claim.job, &wanted, Timestamp::now());
        Ok(gives_way.await?)
    }

    async fn tick_claimed(self: &Arc<Self>, types: &[JobType], above: Option<i32>) -> Result<bool> {
        let Some((job, cancel)) = self.claim(types, above).await? else {
            return Ok(false);
        };
        let scope = WorkspaceScope::new(job.workspace_id);
        let claim = Claim::from(&job);
        self.announce(&scope, job.kind);
        let result = self.run(&scope, &job, claim, &cancel).await;
        if self.reader().note_result(&job, &result) {
            self.ring();
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
        self.reader().note_ended(claim);
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
            JobKind::Scan { folder } => {
                let begun = Instant::now();
                match self.scan(scope, folder, cancel).await? {
                    Scanned::Done => Ok(Ran::Scanned(begun.elapsed() * REST_AFTER_HINT)),
                    Scanned::Again(wait) => {
                        let reason = "what has vanished is looked for once more";
                        Ok(Ran::Later(reason.to_owned(), wait))
                    }
                }
            }
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
        let later = after(now, NOT_YET);
        match result {
            Ok(Ran::Recorded) => {}
            Ok(Ran::Finished) => {
                jobs.finish(scope, claim, now).await?;
            }
            Ok(Ran::Scanned(rest)) => {
                jobs.finish_scan(scope, claim, after(now, *rest), now)
                    .await?;
            }
            Ok(Ran::GaveWay) => {
                jobs.put_back(scope, claim, now, None, now).await?;
                self.ring();
            }
            Ok(Ran::Later(reason, wait)) => {
                jobs.put_back(scope, claim, after(now, *wait), Some(reason), now)
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

    /// Waits, but not longer than the engine runs.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stopping().cancelled() => {}
        }
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
            if !self.reader().is_reading() {
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
    pub(crate) async fn open_all(self: Arc<Self>) {
        let workspaces = match self.store().workspaces().list().await {
            Ok(workspaces) => workspaces,
            Err(error) => {
                tracing::error!(%error, "the workspaces could not be listed");
                return;
            }
        };
        let known: Vec<WorkspaceId> = workspaces.iter().map(|workspace| workspace.id).collect();
        // What the last process did not get to.
        for workspace in &known {
            self.reader().wipe_soon(*workspace);
        }
        match self.indexes().orphans(&known).await {
            Ok(orphans) => {
                for orphan in orphans {
                    self.destroy_index(&WorkspaceScope::new(orphan)).await;
                }
            }
            Err(error) => tracing::warn!(%error, "old indexes could not be removed"),
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
            }
        }
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

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_add(wait))
}

fn stopped() -> Error {
    Error::new(Code::Internal, "stopped")
}

fn is_full(error: &Error) -> bool {
    error.code() == Code::InsufficientStorage
}

#[cfg(test)]
mod tests {
    use docent_domain::{ChunkKey, JobState, Language};
    use docent_store::DocumentContent;

    use super::*;
    use crate::engine::EngineOptions;
    use crate::models::ModelSource;

    /// An engine that runs no jobs, with a workspace.
    pub(super) async fn at_rest(folder: &Path) -> (Arc<Engine>, WorkspaceScope) {
        at_rest_with(folder, ModelSource::Fakes).await
    }

    async fn at_rest_with(folder: &Path, models: ModelSource) -> (Arc<Engine>, WorkspaceScope) {
        let mut options = EngineOptions::new(folder.join("data"), folder.join("models"));
        options.models = models;
        options.run_jobs = false;
        let engine = Engine::open(options).await.unwrap();
        let workspace = engine.create_workspace("Ured", None).await.unwrap();
        (engine, WorkspaceScope::new(workspace.id))
    }

    /// Has a file waiting to be read that is not there.
    async fn add(engine: &Engine, scope: &WorkspaceScope, name: &str) -> DocumentId {
        let stamp = docent_store::FileStamp::default();
        let new = crate::documents::new_document(Path::new(name), stamp, None);
        let documents = engine.store().documents();
        let added = documents.register(scope, &new, Timestamp::now()).await;
        added.unwrap().0.id
    }

    /// Reads the next file as one of so many chunks.
    async fn read_next(engine: &Engine, chunks: usize) -> DocumentId {
        let (job, _) = engine.claim(&[JobType::Read], None).await.unwrap().unwrap();
        let JobKind::Read { document } = job.kind else {
            panic!("{job:?}")
        };
        let chunk = |n| docent_domain::NewChunk {
            span: docent_domain::Span::new(0, 6),
            text: format!("Rijeka {n}"),
            heading_path: Vec::new(),
            page: None,
            boxes: Vec::new(),
            token_count: 1,
        };
        let content = DocumentContent {
            hash: ContentHash(format!("{document}-{chunks}")),
            title: None,
            format: None,
            language: None,
            text: "Rijeka".to_owned(),
            layout_json: "{}".to_owned(),
            page_count: None,
            chunks: (0..chunks).map(chunk).collect(),
            note: None,
            problem: None,
            recognise: false,
        };
        let (claim, now) = (Claim::from(&job), Timestamp::now());
        let scope = WorkspaceScope::new(job.workspace_id);
        let documents = engine.store().documents();
        let replaced = documents.replace_content(&scope, document, claim, &content, now);
        replaced.await.unwrap();
        engine.reader().note_ended(claim);
        document
    }

    #[tokio::test]
    async fn an_embedding_that_begins_anew_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        let (jobs, documents) = (engine.store().jobs(), engine.store().documents());
        let id = add(&engine, &scope, "/a.txt").await;
        read_next(&engine, 2).await;
        let claimed = engine.claim(&[JobType::Embed], None).await.unwrap();
        let (first, first_cancel) = claimed.unwrap();
        engine.reader().stop_embedding(DocumentId::generate()).await;
        assert!(!first_cancel.is_cancelled(), "control");
        // The file has changed while its vectors are made.
        documents.retry(&scope, id, Timestamp::now()).await.unwrap();
        read_next(&engine, 3).await;
        let no_batch = engine.reader().embedding.lock().await;
        let second = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.tick(&[JobType::Embed]).await }
        });
        let state = async || {
            let job = jobs.get(&scope, first.id).await.unwrap();
            (job.state, job.fence > first.fence + 1)
        };
        while state().await != (JobState::Running, true) {
            tokio::task::yield_now().await;
        }
        drop(engine.reader().claiming.lock().await);
        assert!(first_cancel.is_cancelled(), "what it worked on is gone");
        engine.reader().note_ended(Claim::from(&first));
        engine.pause_work(&scope).await.unwrap();
        drop(no_batch);
        assert!(second.await.unwrap().unwrap());
        assert_eq!(state().await, (JobState::Queued, true));
        let document = documents.get(&scope, id).await.unwrap();
        assert_eq!((document.chunk_count, document.embedded_count), (3, 0));
        assert!(!engine.reader().is_at_work());
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn a_book_makes_room_for_another_workspace_after_a_batch() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        let other = engine.create_workspace("B", None).await.unwrap();
        let other = WorkspaceScope::new(other.id);
        let documents = engine.store().documents();
        let book = add(&engine, &scope, "/book.txt").await;
        read_next(&engine, 3 * EMBED_BATCH).await;
        let small = add(&engine, &other, "/small.txt").await;
        read_next(&engine, 1).await;
        let embeds = async || engine.tick(&[JobType::Embed]).await.unwrap();
        let embedded = async || {
            let book = documents.get(&scope, book).await.unwrap();
            let small = documents.get(&other, small).await.unwrap();
            (book.embedded_count as usize, small.embedded_count)
        };
        assert!(embeds().await);
        assert_eq!(embedded().await, (EMBED_BATCH, 0), "what was made stays");
        add(&engine, &scope, "/more.txt").await;
        assert!(embeds().await, "words to come hold up their own workspace");
        assert_eq!(embedded().await, (EMBED_BATCH, 1));
        assert!(!embeds().await);
        read_next(&engine, 1).await;
        while embeds().await {}
        assert_eq!(embedded().await, (3 * EMBED_BATCH, 1));
        let query = docent_store::JobQuery::default();
        let listed = engine.store().jobs().list(&scope, &query).await.unwrap();
        for job in listed.items.iter().map(|listed| &listed.job) {
            assert_eq!((job.state, job.attempts), (JobState::Done, 1), "{job:?}");
        }
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn what_lacks_a_model_is_tried_by_one_job_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest_with(folder.path(), ModelSource::Installed).await;
        for name in ["/1.txt", "/2.txt", "/3.txt"] {
            add(&engine, &scope, name).await;
        }
        let reads = async || engine.tick(&[JobType::Read]).await.unwrap();
        let claims = async || {
            let query = docent_store::JobQuery::default();
            let jobs = engine.store().jobs().list(&scope, &query).await.unwrap();
            jobs.items
                .iter()
                .map(|listed| listed.job.fence)
                .sum::<u64>()
        };
        assert!(reads().await);
        assert!(!reads().await, "the others would come to the same");
        assert_eq!(claims().await, 1);
        let (_, kinds) = engine.reader().missing_model(scope.workspace()).unwrap();
        assert_eq!(kinds, [JobType::Read]);
        engine.reader().try_blocked();
        let tries = engine.claim(&[JobType::Read], None).await.unwrap();
        assert!(tries.is_some(), "a model has come");
        assert!(!reads().await, "it tries for all");
        assert_eq!(claims().await, 2);
        let (job, _) = tries.unwrap();
        assert!(engine.reader().note_result(&job, &Ok(Ran::Recorded)));
        assert_eq!(engine.reader().held(), []);
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn a_full_disk_is_tried_by_one_job_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, scope) = at_rest(folder.path()).await;
        for name in ["/1.txt", "/2.txt", "/3.txt", "/4.txt"] {
            add(&engine, &scope, name).await;
        }
        let reader = engine.reader();
        let begins = async || {
            let claimed = engine.claim(&[JobType::Read], None).await.unwrap();
            claimed.map(|(job, _)| job)
        };
        let job = begins().await.unwrap();
        let full = Err(Error::new(Code::InsufficientStorage, "full"));
        assert!(!reader.note_result(&job, &full));
        assert_eq!(begins().await, None);
        *reader.room_looked_for() = Some(Instant::now());
        let job = begins().await.unwrap();
        assert_eq!(begins().await, None, "it tries for all");
        assert!(reader.note_result(&job, &Ok(Ran::Recorded)));
        assert!(begins().await.is_some() && begins().await.is_some());
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
        let read = async |document| assert_eq!(read_next(&engine, 1).await, document);
        let embeds = async || {
            let (job, _) = engine.claim(&[JobType::Embed], None).await.unwrap()?;
            engine.reader().note_ended(Claim::from(&job));
            Some(job.kind)
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
        engine
            .store()
            .jobs()
            .cancel(&scope, reading.id, now)
            .await
            .unwrap();
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
