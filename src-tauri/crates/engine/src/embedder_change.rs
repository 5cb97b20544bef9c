//! Another embedder for a workspace: its vectors are made beside those that answer, from the stored
//! text, and take over in one transaction.
//!
//! A change is a row from its start to its end, and its progress is what the new vectors hold, so it
//! goes on where it was whatever ends the process. One batch at a time, after answers, after files
//! that wait to be read and after documents that wait for their own vectors. Those go on into the
//! vectors that answer; before the new ones take over, under the lock on commits, they are compared
//! with the rows once more, and what little is missing then is left to ordinary jobs. What answered
//! before is kept for a week to go back to.
//!
//! Chunks stay as they are: their keys hold the words, the citations and the vectors together. An
//! embedder that reads less than a chunk makes its vector of the chunk's beginning; the plan says how
//! many, and starting wants that accepted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard as SyncGuard, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::{ChunkKey, Timestamp, WorkspaceId, WorkspaceScope};
use docent_index::{Generation, VectorEntry, WorkspaceIndex, estimated_bytes};
use docent_inference::EmbedKind;
use docent_store::{
    ChangeState, IndexEntry, JobType, NextGeneration, PreviousGeneration, WorkspaceGenerations,
};
use roaring::RoaringBitmap;
use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::{OpenIndex, blocking, spec_of};
use crate::pipeline::{EMBED_BATCH, embedded_text};
use crate::types::Topic;

/// Chunks that are embedded to tell how long all of them will take.
const MEASURED: usize = 16;

/// Chunks whose length is looked at to tell how many are too long.
const LOOKED_AT: usize = 256;

/// Tokens that an embedder puts around a text.
const SPECIAL_TOKENS: usize = 2;

/// So many chunks may be left to ordinary jobs when the new vectors take over: under a second of
/// most embedders' work.
const REST: u64 = 64;

/// Vectors that answered before are kept for a week.
const KEEP_PREVIOUS_MS: i64 = 7 * 24 * 3600 * 1000;

/// Attempts at a batch, and at a chunk by itself.
const ATTEMPTS: u32 = 3;

/// Why a change does not go on while its workspace's work is paused.
const WORK_PAUSED: &str = "The workspace's work is paused. It goes on when that does.";

/// What cannot run yet (a model is missing, the disk is full), or failed, is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// So many chunks may have no vector that the embedder can make; more are its own failure.
const SKIPPED_MOST: u64 = 16;

/// Progress is announced no more often.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// Batches that the time left is judged by.
const TIMED_BATCHES: usize = 32;

/// How often the lane looks when nobody rings.
const IDLE_LOOK: Duration = Duration::from_secs(2);

/// What a change would cost, before it is begun.
#[derive(Clone, Debug, Serialize)]
pub struct EmbedderPlan {
    pub from: String,
    pub to: String,
    pub chunks: u64,
    /// As measured just now; `None` where it cannot be told.
    pub seconds: Option<f64>,
    /// On the disk, besides what is there; `None` for an embedder that is unknown here.
    pub disk_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    pub installed: bool,
    pub long_passages: Option<LongPassages>,
    /// Why it cannot begin.
    pub obstacle: Option<String>,
}

/// Passages that are longer than what an embedder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LongPassages {
    pub looked_at: u64,
    pub longer: u64,
    /// What the embedder reads, in its tokens.
    pub max_tokens: u64,
}

/// A workspace's embedder, and what is beside its vectors.
#[derive(Clone, Debug, Serialize)]
pub struct EmbedderStatus {
    pub embedder: String,
    pub size_bytes: u64,
    pub change: Option<EmbedderChange>,
    pub previous: Option<PreviousVectors>,
}

/// A change under way.
#[derive(Clone, Debug, Serialize)]
pub struct EmbedderChange {
    pub to: String,
    pub state: ChangeState,
    /// What it waits for, or why it stopped.
    pub reason: Option<String>,
    pub done: u64,
    pub total: u64,
    /// While nothing else wants the machine; `None` until it can be told.
    pub seconds_left: Option<f64>,
    pub size_bytes: u64,
    pub started_at: Timestamp,
}

/// Vectors that are kept to go back to.
#[derive(Clone, Debug, Serialize)]
pub struct PreviousVectors {
    pub embedder: String,
    pub size_bytes: u64,
    pub replaced_at: Timestamp,
    /// They are deleted then.
    pub kept_until: Timestamp,
}

/// The changes under way.
#[derive(Default)]
pub(crate) struct Changes {
    /// Held by whoever alters a workspace's generations, and for one batch by their making. Taken
    /// before the lock on commits.
    making: Mutex<Makings>,
    /// How many wait for that lock, and for no batch to begin.
    wanted: watch::Sender<usize>,
    seen: SyncMutex<HashMap<WorkspaceId, Seen>>,
}

pub(crate) type Makings = HashMap<WorkspaceId, Making>;

/// What is known of a change, for those who look.
#[derive(Clone, Debug, Default)]
struct Seen {
    done: u64,
    total: u64,
    seconds_left: Option<f64>,
    waits_for: Option<String>,
}

/// A generation in the making.
#[derive(Default)]
pub(crate) struct Making {
    open: Option<OpenIndex>,
    /// Chunks that lacked a vector when it was last compared with the rows, and all there were.
    todo: VecDeque<ChunkKey>,
    total: u64,
    /// In a row.
    failures: u32,
    not_before: Option<Instant>,
    /// So many chunks are embedded one by one, to find the one that fails.
    one_by_one: usize,
    /// Chunks that failed by themselves since one last did not.
    suspects: Vec<ChunkKey>,
    /// Chunks that fail while others don't.
    skipped: RoaringBitmap,
    times: VecDeque<(usize, Duration)>,
    announced: Option<Instant>,
}

impl Making {
    fn left(&self) -> u64 {
        self.todo.len() as u64 + self.skipped.len()
    }

    fn seen(&self) -> Seen {
        let chunks: usize = self.times.iter().map(|(chunks, _)| chunks).sum();
        let took: Duration = self.times.iter().map(|(_, took)| took).sum();
        Seen {
            done: self.total.saturating_sub(self.left()),
            total: self.total,
            seconds_left: (chunks > 0)
                .then(|| took.as_secs_f64() / chunks as f64 * self.todo.len() as f64),
            waits_for: None,
        }
    }

    fn timed(&mut self, chunks: usize, took: Duration) {
        if self.times.len() == TIMED_BATCHES {
            self.times.pop_front();
        }
        self.times.push_back((chunks, took));
    }

    /// A batch of `chunks` has its vectors.
    fn succeeded(&mut self, chunks: usize) {
        self.todo.drain(..chunks);
        self.one_by_one = self.one_by_one.saturating_sub(chunks);
        self.failures = 0;
        self.not_before = None;
        self.skipped
            .extend(self.suspects.drain(..).map(|key| key.0));
    }

    /// A batch of `chunks` failed. `false` when it is no use to go on.
    fn failed(&mut self, chunks: usize) -> bool {
        self.failures += 1;
        self.not_before = Some(Instant::now() + AGAIN);
        if self.failures < ATTEMPTS {
            return true;
        }
        self.failures = 0;
        if chunks > 1 {
            self.one_by_one = chunks;
            return true;
        }
        self.suspects.extend(self.todo.pop_front());
        self.one_by_one = self.one_by_one.max(1);
        self.suspects.len() < 2 && self.skipped.len() < SKIPPED_MOST && !self.todo.is_empty()
    }
}

impl Changes {
    /// Lets no further batch begin, and gives up the one that runs.
    pub(crate) async fn interrupt(&self) -> MutexGuard<'_, Makings> {
        struct Wanted<'a>(&'a watch::Sender<usize>);
        impl Drop for Wanted<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|waiting| *waiting -= 1);
            }
        }
        self.wanted.send_modify(|waiting| *waiting += 1);
        let _wanted = Wanted(&self.wanted);
        self.making.lock().await
    }

    pub(crate) fn forget(&self, making: &mut Makings, scope: &WorkspaceScope) {
        making.remove(&scope.workspace());
        self.seen().remove(&scope.workspace());
    }

    pub(crate) async fn close(&self) {
        self.making.lock().await.clear();
    }

    fn seen(&self) -> SyncGuard<'_, HashMap<WorkspaceId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// What it would cost to change a workspace's embedder. Embeds a few of its passages to tell the
    /// time, which takes seconds.
    pub async fn plan_embedder_change(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        to: &str,
    ) -> Result<EmbedderPlan> {
        let known = self.store().generations().get(scope).await?;
        let keys = self.store().chunks().all_keys(scope).await?;
        let (_, installed) = self.model_set().installed(to);
        let mut obstacle = match self.may_change(&known, to) {
            Ok(()) => None,
            Err(error) if matches!(error.code(), Code::Conflict | Code::ModelMissing) => {
                Some(error)
            }
            Err(error) => return Err(error),
        };
        let (mut seconds, mut long_passages) = (None, None);
        if obstacle.is_none() {
            let measured = async {
                let long = self.long_passages(scope, to, &keys).await?;
                Ok::<_, Error>((long, self.measure(scope, to, &keys).await?))
            };
            match measured.await {
                Ok((long, rate)) => {
                    long_passages = Some(long);
                    seconds = rate.map(|per_chunk| per_chunk * keys.len() as f64);
                }
                Err(error) => obstacle = Some(error),
            }
        }
        let disk_bytes = self.bytes_needed(to, keys.len() as u64).await;
        let free_bytes = docent_inference::models::free_bytes(&self.options().data_dir);
        if obstacle.is_none() {
            obstacle = no_room(disk_bytes, free_bytes);
        }
        Ok(EmbedderPlan {
            from: known.live.embedder,
            to: to.to_owned(),
            chunks: keys.len() as u64,
            seconds,
            disk_bytes,
            free_bytes,
            installed,
            long_passages,
            obstacle: obstacle.map(|error| error.to_string()),
        })
    }

    /// Begins to change a workspace's embedder, in the background. Passages that the new one cannot
    /// read whole must be accepted.
    pub async fn change_embedder(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        to: &str,
        accept_long_passages: bool,
    ) -> Result<EmbedderStatus> {
        let keys = self.store().chunks().all_keys(scope).await?;
        {
            let _changing = self.changes().interrupt().await;
            self.may_change(&self.store().generations().get(scope).await?, to)?;
            let free_bytes = docent_inference::models::free_bytes(&self.options().data_dir);
            if let Some(error) = no_room(self.bytes_needed(to, keys.len() as u64).await, free_bytes)
            {
                return Err(error);
            }
            let long = self.long_passages(scope, to, &keys).await?;
            if long.longer > 0 && !accept_long_passages {
                return Err(Error::new(
                    Code::Conflict,
                    format!(
                        "{to} reads {} tokens at once, and {} of {} passages looked at are longer: \
                         what stands after that would be found by its words only. Nothing was \
                         changed",
                        long.max_tokens, long.longer, long.looked_at
                    ),
                )
                .with_hint("Choose an embedder that reads more, or accept this when you start"));
            }
            self.store()
                .generations()
                .begin(scope, to, Timestamp::now())
                .await?;
        }
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        self.ring();
        self.embedder_status(scope).await
    }

    /// A workspace's embedder, how its change stands, and what is kept to go back to.
    pub async fn embedder_status(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
    ) -> Result<EmbedderStatus> {
        let known = self.store().generations().get(scope).await?;
        let change = match known.next {
            Some(next) => Some(self.progress_of(scope, next).await?),
            None => None,
        };
        Ok(EmbedderStatus {
            size_bytes: self.indexes().generation_bytes(scope, known.live.number),
            embedder: known.live.embedder,
            change,
            previous: known.previous.map(|kept| PreviousVectors {
                size_bytes: self
                    .indexes()
                    .generation_bytes(scope, kept.generation.number),
                embedder: kept.generation.embedder,
                replaced_at: kept.replaced_at,
                kept_until: Timestamp(kept.replaced_at.0 + KEEP_PREVIOUS_MS),
            }),
        })
    }

    async fn progress_of(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        next: NextGeneration,
    ) -> Result<EmbedderChange> {
        let known = self.changes().seen().get(&scope.workspace()).cloned();
        let seen = if let Some(seen) = known {
            seen
        } else {
            // Nothing was done about it since the start.
            let _changing = self.changes().interrupt().await;
            let total = self.store().chunks().all_keys(scope).await?.len() as u64;
            let done = match self.index_as_it_is(scope).await {
                Ok(index) => count(&index, Generation(next.generation.number)).await?,
                Err(_) => 0,
            };
            let seen = Seen {
                done: done.min(total),
                total,
                ..Seen::default()
            };
            self.changes()
                .seen()
                .entry(scope.workspace())
                .or_insert(seen)
                .clone()
        };
        let is_running = next.state == ChangeState::Running;
        let is_waiting = is_running && self.is_work_paused(scope).await?;
        let paused = is_waiting.then(|| WORK_PAUSED.to_owned());
        Ok(EmbedderChange {
            size_bytes: self
                .indexes()
                .generation_bytes(scope, next.generation.number),
            to: next.generation.embedder,
            state: next.state,
            reason: next.reason.or(paused).or(seen.waits_for),
            done: seen.done,
            total: seen.total,
            seconds_left: seen.seconds_left.filter(|_| is_running && !is_waiting),
            started_at: next.started_at,
        })
    }

    /// Stops a change for a while; what is made is kept.
    pub async fn pause_embedder_change(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
    ) -> Result<EmbedderStatus> {
        self.set_change_state(scope, ChangeState::Paused).await
    }

    /// Has a paused or failed change go on.
    pub async fn resume_embedder_change(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
    ) -> Result<EmbedderStatus> {
        self.set_change_state(scope, ChangeState::Running).await
    }

    async fn set_change_state(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        state: ChangeState,
    ) -> Result<EmbedderStatus> {
        {
            let mut changing = self.changes().interrupt().await;
            let known = self.store().generations().get(scope).await?;
            let next = known.next.ok_or_else(no_change)?;
            if next.state != state {
                self.store()
                    .generations()
                    .set_state(scope, next.generation.number, state, None)
                    .await?;
                // Its memory is given back, and its failures are forgotten.
                changing.remove(&scope.workspace());
                if let Some(seen) = self.changes().seen().get_mut(&scope.workspace()) {
                    seen.waits_for = None;
                    seen.seconds_left = None;
                }
            }
        }
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        self.ring();
        self.embedder_status(scope).await
    }

    /// Gives a change up and deletes what was made for it. The workspace stays as it is.
    pub async fn cancel_embedder_change(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
    ) -> Result<EmbedderStatus> {
        {
            let mut changing = self.changes().interrupt().await;
            let known = self.store().generations().get(scope).await?;
            known.next.ok_or_else(no_change)?;
            self.store().generations().cancel(scope).await?;
            self.changes().forget(&mut changing, scope);
            self.delete_orphans(&mut changing, scope).await;
        }
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        self.embedder_status(scope).await
    }

    /// Has the vectors that answered before answer again, within seconds. Those that answered until
    /// now are kept in turn. Chunks added meanwhile get their vectors by ordinary jobs.
    pub async fn roll_back_embedder(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
    ) -> Result<EmbedderStatus> {
        {
            let _changing = self.changes().interrupt().await;
            let known = self.store().generations().get(scope).await?;
            if let Some(next) = &known.next {
                return Err(Error::new(
                    Code::Conflict,
                    format!("a change to {} is under way", next.generation.embedder),
                )
                .with_hint("Cancel it first"));
            }
            let kept = known.previous.ok_or_else(nothing_kept)?.generation;
            let embedder = self.model_set().embedder(&kept.embedder).await?;
            let spec = spec_of(embedder.as_ref());
            // Not that of what answers: going back is for when that is gone, too.
            let index = self.index_as_it_is(scope).await?;
            let opened = blocking("opening the kept vectors", move || {
                let generation = Generation(kept.number);
                if index.spec_of(generation)?.as_ref() != Some(&spec) {
                    return Ok(None);
                }
                let (index, state) = index.beside(generation, spec)?;
                Ok((!state.is_emptied()).then(|| Arc::new(index)))
            })
            .await?;
            let Some(index) = opened else {
                return Err(Error::new(
                    Code::Conflict,
                    format!(
                        "the vectors kept of {} are damaged, or of another version of it. \
                         Nothing was changed",
                        kept.embedder
                    ),
                )
                .with_hint("Discard them, and change the embedder instead"));
            };
            let _committing = self.reader().committing().await;
            self.store()
                .generations()
                .roll_back(scope, Timestamp::now())
                .await?;
            self.take_over(scope, index, &kept.embedder).await?;
        }
        self.embedder_status(scope).await
    }

    /// Deletes the vectors that are kept to go back to.
    pub async fn discard_previous_vectors(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
    ) -> Result<EmbedderStatus> {
        self.discard_kept(scope, None).await?;
        self.embedder_status(scope).await
    }

    /// Deletes the kept vectors, if they are still those that are meant.
    async fn discard_kept(
        &self,
        scope: &WorkspaceScope,
        meant: Option<&PreviousGeneration>,
    ) -> Result<()> {
        {
            let mut changing = self.changes().interrupt().await;
            let known = self.store().generations().get(scope).await?;
            let kept = known.previous.ok_or_else(nothing_kept)?;
            if meant.is_some_and(|meant| *meant != kept) {
                return Err(nothing_kept());
            }
            self.store().generations().discard(scope).await?;
            self.delete_orphans(&mut changing, scope).await;
        }
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        Ok(())
    }

    /// Deletes vectors that were kept long enough.
    pub(crate) async fn drop_old_vectors(self: &Arc<Self>, now: Timestamp) {
        let before = Timestamp(now.0 - KEEP_PREVIOUS_MS);
        let outdated = match self.store().generations().outdated(before).await {
            Ok(outdated) => outdated,
            Err(error) => {
                tracing::warn!(%error, "vectors kept long enough could not be listed");
                return;
            }
        };
        for (scope, kept) in outdated {
            match self.discard_kept(&scope, Some(&kept)).await {
                Ok(()) => tracing::info!(?kept, "deleted vectors that were kept long enough"),
                Err(error) => tracing::warn!(%error, "kept vectors could not be deleted"),
            }
        }
    }

    /// Whether a change to this embedder may begin.
    fn may_change(&self, known: &WorkspaceGenerations, to: &str) -> Result<()> {
        if !self.model_set().knows_embedder(to) {
            return Err(
                Error::invalid(format!("there is no embedder called {to:?}"))
                    .with_hint("`docent models list` names them"),
            );
        }
        if let Some(next) = &known.next {
            return Err(Error::new(
                Code::Conflict,
                format!(
                    "the embedder is being changed already, to {}",
                    next.generation.embedder
                ),
            )
            .with_hint("Let it finish, or cancel it first"));
        }
        if known.live.embedder == to {
            return Err(Error::new(
                Code::Conflict,
                format!("{to} is the embedder of this workspace already"),
            ));
        }
        if let Some(kept) = &known.previous {
            let kept = &kept.generation.embedder;
            let is_usable = |embedder| self.model_set().installed(embedder).1;
            if kept == to {
                let message = format!("the vectors of {to} are still kept");
                return Err(Error::new(Code::Conflict, message)
                    .with_hint("Go back to them, which takes seconds"));
            }
            // What nobody could go back to keeps no change from taking its place.
            if is_usable(kept) {
                let message = format!(
                    "the vectors of {kept} are still kept to go back to, and another change would \
                     take their place"
                );
                let hint = if is_usable(&known.live.embedder) {
                    "Discard them first, or go back to them"
                } else {
                    "Go back to them first, which takes seconds"
                };
                return Err(Error::new(Code::Conflict, message).with_hint(hint));
            }
        }
        let (status, usable) = self.model_set().installed(to);
        if !usable {
            let message = match status.message {
                Some(message) => format!("{to} cannot be used yet: {message}"),
                None => format!("{to} is not on this machine"),
            };
            return Err(Error::new(Code::ModelMissing, message).with_hint(format!(
                "Fetch it first, under Settings or with `docent models fetch {to}`"
            )));
        }
        Ok(())
    }

    async fn bytes_needed(&self, to: &str, chunks: u64) -> Option<u64> {
        let of_catalog = self.model_set().files().entry(to).ok();
        let (dimensions, has_sparse) = match of_catalog.and_then(|entry| entry.embedder) {
            Some(shape) => (shape.dimensions, shape.sparse),
            None => {
                let embedder = self.model_set().embedder(to).await.ok()?;
                (embedder.dimensions(), embedder.has_sparse())
            }
        };
        Some(estimated_bytes(chunks, dimensions, has_sparse))
    }

    async fn long_passages(
        &self,
        scope: &WorkspaceScope,
        to: &str,
        keys: &[ChunkKey],
    ) -> Result<LongPassages> {
        let max_tokens = self.model_set().embedder(to).await?.max_tokens();
        let counter = self.model_set().token_counter(to).await?;
        let sample = self
            .store()
            .chunks()
            .entries_for_keys(scope, &spread(keys, LOOKED_AT))
            .await?;
        blocking("counting tokens", move || {
            let longer = sample
                .iter()
                .map(|entry| counter.token_offsets(&embedded_text(entry)).len())
                .filter(|tokens| tokens + SPECIAL_TOKENS > max_tokens)
                .count();
            Ok(LongPassages {
                looked_at: sample.len() as u64,
                longer: longer as u64,
                max_tokens: max_tokens as u64,
            })
        })
        .await
    }

    /// Seconds for a chunk; `None` when there is none to measure with.
    async fn measure(
        &self,
        scope: &WorkspaceScope,
        to: &str,
        keys: &[ChunkKey],
    ) -> Result<Option<f64>> {
        let sample = self
            .store()
            .chunks()
            .entries_for_keys(scope, &spread(keys, MEASURED))
            .await?;
        let texts: Vec<String> = sample.iter().map(embedded_text).collect();
        let Some(first) = texts.first().cloned() else {
            return Ok(None);
        };
        let embedder = self.model_set().embedder(to).await?;
        let _cores = self.cores().background().await;
        // Loading its weights is no part of what each chunk takes.
        embedder.embed(EmbedKind::Passage, vec![first]).await?;
        let (chunks, started) = (texts.len(), Instant::now());
        embedder.embed(EmbedKind::Passage, texts).await?;
        Ok(Some(started.elapsed().as_secs_f64() / chunks as f64))
    }

    /// The lane of changes.
    pub(crate) async fn change_embedders(self: Arc<Self>) {
        let stopping = self.stopping().clone();
        while !stopping.is_cancelled() {
            // Registered before looking, so that a ring in between is not missed.
            let ring = self.jobs_due().notified();
            tokio::pin!(ring);
            ring.as_mut().enable();
            match self.change_tick().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "changing an embedder is tried again"),
            }
            tokio::select! {
                () = ring => {}
                () = tokio::time::sleep(IDLE_LOOK) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Makes one batch of vectors for one change, or has it take over. `false` when there was nothing
    /// to do, or something else goes first.
    pub(crate) async fn change_tick(self: &Arc<Self>) -> Result<bool> {
        let running = self.store().generations().running().await?;
        if running.is_empty() || self.jobs_go_first().await? {
            return Ok(false);
        }
        for scope in running {
            if self.change_step(&scope).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether files wait to be read, or documents for the vectors that answer.
    async fn jobs_go_first(&self) -> Result<bool> {
        if self.reader().is_at_work() {
            return Ok(true);
        }
        let now = Timestamp::now();
        let first = [JobType::Read, JobType::Embed];
        let held = self.reader().held();
        let due = self.store().jobs().next_due(&first, &held, now).await?;
        Ok(due.is_some_and(|due| due <= now))
    }

    async fn change_step(self: &Arc<Self>, scope: &WorkspaceScope) -> Result<bool> {
        let mut changing = self.changes().making.lock().await;
        let next = match self.store().generations().get(scope).await {
            Ok(known) => known.next,
            Err(docent_store::Error::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(next) = next.filter(|next| next.state == ChangeState::Running) else {
            return Ok(false);
        };
        let workspace = scope.workspace();
        let making = changing.entry(workspace).or_default();
        if making.not_before.is_some_and(|then| Instant::now() < then) {
            return Ok(false);
        }
        let made = self.make_some(scope, &next, making).await;
        let mut seen = making.seen();
        match made {
            Ok(Made::Batch) => {
                let due = making
                    .announced
                    .is_none_or(|before| before.elapsed() >= ANNOUNCE);
                self.changes().seen().insert(workspace, seen);
                if due {
                    making.announced = Some(Instant::now());
                    self.changed(Topic::Workspaces, Some(workspace));
                }
                Ok(true)
            }
            Ok(Made::Whole) => {
                self.changes().forget(&mut changing, scope);
                self.delete_orphans(&mut changing, scope).await;
                Ok(true)
            }
            Ok(Made::Interrupted) => Ok(true),
            Err(error) => {
                tracing::warn!(%error, "vectors of {} could not be made", next.generation.embedder);
                let gives_up = match error.code() {
                    Code::ModelMissing
                    | Code::ModelLoading
                    | Code::InsufficientStorage
                    | Code::Overloaded => {
                        making.not_before = Some(Instant::now() + AGAIN);
                        false
                    }
                    Code::Internal | Code::Conflict | Code::NotFound => {
                        let batch = making.batch();
                        !making.failed(batch)
                    }
                    Code::BadRequest | Code::PayloadTooLarge | Code::Unsupported => true,
                };
                if gives_up {
                    self.store()
                        .generations()
                        .set_state(
                            scope,
                            next.generation.number,
                            ChangeState::Failed,
                            Some(&error.to_string()),
                        )
                        .await?;
                    changing.remove(&workspace);
                } else {
                    seen.waits_for = Some(error.to_string());
                }
                self.changes().seen().insert(workspace, seen);
                self.changed(Topic::Workspaces, Some(workspace));
                Ok(false)
            }
        }
    }

    async fn make_some(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        next: &NextGeneration,
        making: &mut Making,
    ) -> Result<Made> {
        let open = self.open_next(scope, next, making).await?;
        if making.todo.is_empty() {
            let missing = self.missing(scope, &open.index, making).await?;
            if missing.is_empty() {
                return self.cut_over(scope, next, &open, making).await;
            }
            making.todo = missing.iter().map(ChunkKey).collect();
        }
        let keys: Vec<ChunkKey> = making.todo.iter().take(making.batch()).copied().collect();
        let entries = self.store().chunks().entries_for_keys(scope, &keys).await?;
        if !entries.is_empty() {
            let mut wanted = self.changes().wanted.subscribe();
            let cores = tokio::select! {
                biased;
                _ = wanted.wait_for(|waiting| *waiting > 0) => return Ok(Made::Interrupted),
                () = self.stopping().cancelled() => return Ok(Made::Interrupted),
                cores = self.cores().background() => cores,
            };
            let started = Instant::now();
            let texts = entries.iter().map(embedded_text).collect();
            // Given up in the middle where that is wanted: a batch takes seconds.
            let vectors = tokio::select! {
                biased;
                _ = wanted.wait_for(|waiting| *waiting > 0) => return Ok(Made::Interrupted),
                vectors = open.embedder.embed(EmbedKind::Passage, texts) => vectors?,
            };
            drop(cores);
            let chunks = entries.len();
            let added = add(&open.index, entries, vectors).await;
            if open.index.is_damaged() {
                let index = Arc::clone(&open.index);
                let state = blocking("mending vectors", move || Ok(index.mend_vectors()?)).await?;
                tracing::warn!(
                    ?state,
                    "vectors in the making were damaged; they are made again"
                );
                making.todo.clear();
                return Ok(Made::Batch);
            }
            added?;
            making.timed(chunks, started.elapsed());
        }
        making.succeeded(keys.len());
        Ok(Made::Batch)
    }

    /// The generation in the making, with its embedder.
    async fn open_next(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        next: &NextGeneration,
        making: &mut Making,
    ) -> Result<OpenIndex> {
        let embedder = self.model_set().embedder(&next.generation.embedder).await?;
        let generation = Generation(next.generation.number);
        let spec = spec_of(embedder.as_ref());
        if let Some(open) = making.open.as_ref().filter(|open| {
            open.index.generation() == generation && *open.index.vector_spec() == spec
        }) {
            return Ok(open.clone());
        }
        making.open = None;
        making.todo.clear();
        let live = self.index_as_it_is(scope).await?;
        let (index, state) = blocking(
            "opening vectors",
            move || Ok(live.beside(generation, spec)?),
        )
        .await?;
        tracing::info!(?state, %generation, "opened the vectors in the making");
        let open = self
            .open_with(Arc::new(index), embedder, &next.generation.embedder)
            .await;
        making.open = Some(open.clone());
        Ok(open)
    }

    /// The chunks that lack a vector there. What no row has any more leaves it.
    async fn missing(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
        making: &mut Making,
    ) -> Result<RoaringBitmap> {
        let there = self.remove_stale(scope, index).await?;
        if !there.vectors.is_subset(&there.wanted) {
            self.reader().wipe_soon(scope.workspace());
        }
        making.total = there.wanted.len();
        Ok(there.wanted - there.vectors - &making.skipped)
    }

    /// Removes what no row has any more. It is still to be wiped.
    async fn remove_stale(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<There> {
        // The vectors first: what comes meanwhile is then made twice, not taken for stale.
        let looking = Arc::clone(index);
        let vectors = blocking("reading vectors", move || Ok(looking.vector_keys()?)).await?;
        let keys = self.store().chunks().all_keys(scope).await?;
        let wanted: RoaringBitmap = keys.into_iter().map(|key| key.0).collect();
        let stale = &vectors - &wanted;
        if !stale.is_empty() {
            let index = Arc::clone(index);
            blocking(
                "removing vectors",
                move || Ok(index.remove_vectors(&stale)?),
            )
            .await?;
        }
        Ok(There { wanted, vectors })
    }

    /// Has the new vectors take over, unless too many chunks came meanwhile.
    async fn cut_over(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        next: &NextGeneration,
        open: &OpenIndex,
        making: &mut Making,
    ) -> Result<Made> {
        let _committing = self.reader().committing().await;
        let missing = self.missing(scope, &open.index, making).await?;
        if missing.len() > REST {
            making.todo = missing.iter().map(ChunkKey).collect();
            return Ok(Made::Batch);
        }
        self.store()
            .generations()
            .cut_over(scope, next.generation.number, Timestamp::now())
            .await?;
        self.take_over(scope, Arc::clone(&open.index), &next.generation.embedder)
            .await?;
        tracing::info!(
            embedder = next.generation.embedder,
            "another embedder has taken over"
        );
        Ok(Made::Whole)
    }

    /// What the rows have just decided, in memory, and in what they say of each chunk. For who holds
    /// the lock on commits.
    async fn take_over(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        index: Arc<WorkspaceIndex>,
        embedder: &str,
    ) -> Result<()> {
        self.indexes()
            .replace(scope, Arc::clone(&index), embedder)
            .await;
        match self.reconcile(scope, &index).await {
            Ok(done) => {
                self.indexes().agrees(scope);
                tracing::info!(?done, "reconciled the vectors that have taken over");
            }
            // They answer already, and it is tried again.
            Err(error) => tracing::warn!(%error, "the rows don't speak of the new vectors yet"),
        }
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
        self.ring();
        Ok(())
    }

    /// Removes what no row has any more from the vectors that don't answer, and generations that no
    /// row knows. `false` when some of that is still in use.
    pub(crate) async fn sweep(
        &self,
        changing: &mut Makings,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<bool> {
        let known = match self.store().generations().get(scope).await {
            Ok(known) => known,
            Err(docent_store::Error::NotFound(_)) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        for number in known.numbers() {
            let is_kept = |kept: &PreviousGeneration| kept.generation.number == number;
            if let Some(beside) = self.beside(index, &known, number).await? {
                self.remove_stale(scope, &beside).await?;
            } else if known.previous.as_ref().is_some_and(is_kept) && index.holds_removed() {
                // What was removed may stand in them, and nobody can go back to them.
                tracing::warn!(
                    "vectors that were kept to go back to are damaged; they are deleted"
                );
                self.store().generations().discard(scope).await?;
                self.changed(Topic::Workspaces, Some(scope.workspace()));
            }
        }
        Ok(self.delete_orphans(changing, scope).await)
    }

    /// Whether [`Engine::sweep`] would have something to do.
    pub(crate) async fn is_to_be_swept(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<bool> {
        let known = self.store().generations().get(scope).await?;
        let numbers = known.numbers();
        let keys = self.store().chunks().all_keys(scope).await?;
        let wanted: RoaringBitmap = keys.into_iter().map(|key| key.0).collect();
        for Generation(number) in index.generations()? {
            if !numbers.contains(&number) {
                return Ok(true);
            }
            let Some(beside) = self.beside(index, &known, number).await? else {
                continue;
            };
            let vectors = blocking("reading vectors", move || Ok(beside.vector_keys()?)).await?;
            if !vectors.is_subset(&wanted) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A generation that does not answer; `None` when it does, or there is nothing whole of it.
    async fn beside(
        &self,
        index: &Arc<WorkspaceIndex>,
        known: &WorkspaceGenerations,
        number: u32,
    ) -> Result<Option<Arc<WorkspaceIndex>>> {
        if number == known.live.number {
            return Ok(None);
        }
        let (index, generation) = (Arc::clone(index), Generation(number));
        blocking("opening vectors", move || {
            let Some(spec) = index.spec_of(generation)? else {
                return Ok(None);
            };
            let (beside, state) = index.beside(generation, spec)?;
            Ok((!state.is_emptied()).then(|| Arc::new(beside)))
        })
        .await
    }

    /// Deletes generations that no row knows. `false` when some are still in use, or cannot be told;
    /// they are deleted later.
    async fn delete_orphans(&self, _changing: &mut Makings, scope: &WorkspaceScope) -> bool {
        let deleting = async {
            let index = self.index_as_it_is(scope).await?;
            let numbers = self.store().generations().get(scope).await?.numbers();
            let mut there = index.generations()?;
            there.retain(|there| !numbers.contains(&there.0));
            let mut all = true;
            for orphan in there {
                all &= self.delete_vectors(&index, orphan).await;
            }
            Ok::<_, Error>(all)
        };
        let deleted = deleting.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the vectors could not be listed");
            false
        });
        if !deleted {
            self.reader().wipe_soon(scope.workspace());
        }
        deleted
    }

    /// Whether it could be deleted.
    pub(crate) async fn delete_vectors(
        &self,
        index: &Arc<WorkspaceIndex>,
        generation: Generation,
    ) -> bool {
        let index = Arc::clone(index);
        let deleted = blocking("deleting vectors", move || {
            Ok(index.delete_generation(generation)?)
        })
        .await;
        match deleted {
            Ok(()) => tracing::info!(%generation, "deleted vectors that nobody needs"),
            Err(error) => {
                tracing::debug!(%error, %generation, "vectors are deleted later");
                return false;
            }
        }
        true
    }
}

/// What a step came to.
enum Made {
    Batch,
    /// It has taken over.
    Whole,
    /// Something else goes first.
    Interrupted,
}

/// The chunks with a row, and those that had a vector.
struct There {
    wanted: RoaringBitmap,
    vectors: RoaringBitmap,
}

impl Making {
    fn batch(&self) -> usize {
        if self.one_by_one > 0 { 1 } else { EMBED_BATCH }
    }
}

async fn add(
    index: &Arc<WorkspaceIndex>,
    entries: Vec<IndexEntry>,
    vectors: Vec<docent_inference::Embedding>,
) -> Result<()> {
    let index = Arc::clone(index);
    blocking("indexing vectors", move || {
        let entries: Vec<VectorEntry<'_>> = entries
            .iter()
            .zip(&vectors)
            .map(|(entry, vector)| VectorEntry {
                key: entry.key,
                language: entry.language,
                dense: &vector.dense,
                sparse: vector.sparse.as_deref(),
            })
            .collect();
        Ok(index.add_vectors(&entries)?)
    })
    .await
}

/// How many vectors a generation holds.
async fn count(index: &Arc<WorkspaceIndex>, generation: Generation) -> Result<u64> {
    let index = Arc::clone(index);
    blocking("counting vectors", move || {
        let Some(spec) = index.spec_of(generation)? else {
            return Ok(0);
        };
        let (beside, _) = index.beside(generation, spec)?;
        Ok(beside.vector_keys()?.len())
    })
    .await
}

/// At most `count` of the keys, from everywhere among them.
fn spread(keys: &[ChunkKey], count: usize) -> Vec<ChunkKey> {
    let taken = keys.len().min(count);
    (0..taken).map(|n| keys[n * keys.len() / taken]).collect()
}

fn no_room(needed: Option<u64>, free: Option<u64>) -> Option<Error> {
    let (needed, free) = (needed?, free?);
    (needed > free).then(|| {
        Error::new(
            Code::InsufficientStorage,
            format!("the new vectors take about {needed} bytes, and {free} are free on the disk"),
        )
        .with_hint("Free some space first")
    })
}

fn no_change() -> Error {
    Error::new(
        Code::Conflict,
        "the embedder of this workspace is not being changed",
    )
}

fn nothing_kept() -> Error {
    Error::new(
        Code::Conflict,
        "no vectors of another embedder are kept for this workspace",
    )
    .with_hint("Change the embedder instead")
}

#[cfg(test)]
mod tests;
