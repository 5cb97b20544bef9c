//! The durable queue. A job is written in the transaction of the row that causes it, runs at least
//! once, and its effect is recorded exactly once, because results carry a fence.
//!
//! - A claim raises the fence. Whoever holds an older one gets [`Error::StaleFence`] and has to drop
//!   its result; that is also how a worker learns that its job was cancelled.
//! - The lease is owned by a boot id, not by a clock: at start every running job of another boot is
//!   rescued at once, whatever the time says.
//! - At most one job of a kind is queued or running for a document or folder. What changes under a
//!   running job is marked `again` and queued when the job ends.
//! - A job that ended [`MAX_DEATHS`] processes in a row without getting further is poison: it is
//!   given up, with the reason, and the others go on.

use std::time::Duration;

use docent_domain::{
    DocumentId, FolderId, Job, JobId, JobKind, JobState, Progress, Stage, Timestamp, WorkspaceScope,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use super::{chats, documents};
use crate::connection::WriteTx;
use crate::row::{self, Id, blob, word};
use crate::{Entity, Error, Result, Store};

/// Attempts before a job is given up.
pub const MAX_ATTEMPTS: u32 = 3;

/// Processes that may end while running a job before it is taken for poison.
pub const MAX_DEATHS: u32 = 5;

/// For what the user has added by hand and is waiting for.
pub const PRIORITY_HAND_ADDED: i32 = 10;

/// For what a watched folder brought.
pub const PRIORITY_FOLDER: i32 = 0;

/// For recognising the text of scanned pages, which takes seconds a page: after all else.
pub const PRIORITY_RECOGNITION: i32 = -10;

/// Scans are short and tell how much there is to do.
const PRIORITY_SCAN: i32 = 20;

/// The wait after the first failure; each further one waits six times longer, since what did not
/// mend in seconds (a locked file, an unplugged disk) may mend in minutes.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);

/// No wait is longer, so a job that seems to be due later has met a clock that jumped, and is due.
const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

const COLUMNS: &str = "workspace_id, id, kind, document_id, folder_id, state, priority, stage, \
     progress_done, progress_total, attempts, max_attempts, run_after, reason, fence, created_at, \
     updated_at";

/// One run of this program. Leases belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootId(Uuid);

impl BootId {
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Id for BootId {
    fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    fn uuid(&self) -> &Uuid {
        &self.0
    }
}

/// What a job does, without to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobType {
    Read,
    Embed,
    Scan,
}

impl JobType {
    pub const ALL: [Self; 3] = [Self::Read, Self::Embed, Self::Scan];
}

/// Proof of having claimed a job, to be shown with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub job: JobId,
    pub fence: u64,
}

impl From<&Job> for Claim {
    fn from(job: &Job) -> Self {
        Self {
            job: job.id,
            fence: job.fence,
        }
    }
}

/// What became of a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again, not before this instant.
    Retry { at: Timestamp },
    /// It was given up.
    Dead,
}

/// What was found and put right at start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovery {
    /// Jobs of processes that are gone, queued again.
    pub requeued: Vec<Job>,
    /// Jobs of processes that are gone, given up as poison.
    pub dead: Vec<Job>,
    /// Documents that waited for a job which did not exist.
    pub jobs_added: u64,
    /// Answers that were being written.
    pub interrupted_messages: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// None means all.
    pub states: Vec<JobState>,
    pub document: Option<DocumentId>,
    /// Only jobs older than this one.
    pub before: Option<JobId>,
    /// 0 means 100.
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    pub queued: u64,
    pub running: u64,
    pub done: u64,
    pub dead: u64,
    pub cancelled: u64,
}

/// Handle on the queue.
#[derive(Clone, Copy, Debug)]
pub struct Jobs<'a> {
    store: &'a Store,
}

impl<'a> Jobs<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Takes the next job of these types out of the queues of all active workspaces: by priority,
    /// then for the workspace that was served longest ago, then by age. A document whose job is a
    /// `Read` becomes `Reading`.
    pub async fn claim_next(
        &self,
        boot: BootId,
        types: &[JobType],
        now: Timestamp,
    ) -> Result<Option<Job>> {
        self.claim_urgent(boot, types, i32::MIN, now).await
    }

    /// [`Jobs::claim_next`] of those with at least this priority.
    pub async fn claim_urgent(
        &self,
        boot: BootId,
        types: &[JobType],
        least: i32,
        now: Timestamp,
    ) -> Result<Option<Job>> {
        // Idle workers ask all the time; a glance that finds nothing should not take the writer.
        if self
            .next_seq(self.store.reader(), types, least, now)
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let mut tx = self.store.write().await?;
        let Some(seq) = self.next_seq(tx.connection(), types, least, now).await? else {
            tx.commit().await?;
            return Ok(None);
        };
        let row = sqlx::query(&format!(
            "UPDATE jobs SET state = 'running', lease_owner = ?2, fence = fence + 1,
                 attempts = attempts + 1, again = 0, stage = NULL, progress_done = 0,
                 progress_total = 0, updated_at = ?3
             WHERE seq = ?1 RETURNING {COLUMNS}"
        ))
        .bind(seq)
        .bind(blob(boot))
        .bind(now.0)
        .fetch_one(tx.connection())
        .await?;
        let job = job(&row)?;
        sqlx::query(
            "UPDATE workspaces SET served = (SELECT max(served) + 1 FROM workspaces) WHERE id = ?1",
        )
        .bind(blob(job.workspace_id))
        .execute(tx.connection())
        .await?;
        if let JobKind::Read { document } = job.kind {
            sqlx::query(
                "UPDATE documents SET status = 'reading', updated_at = ?3
                 WHERE workspace_id = ?1 AND id = ?2",
            )
            .bind(blob(job.workspace_id))
            .bind(blob(document))
            .bind(now.0)
            .execute(tx.connection())
            .await?;
        }
        tx.commit().await?;
        Ok(Some(job))
    }

    async fn next_seq<'e>(
        &self,
        executor: impl sqlx::Executor<'e, Database = Sqlite>,
        types: &[JobType],
        least: i32,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        // The head of each queue comes from the index; only the heads are compared.
        let row = sqlx::query(
            "SELECT j.seq FROM workspaces w CROSS JOIN json_each(?1) t
             JOIN jobs j ON j.seq = (
                 SELECT q.seq FROM jobs q
                 WHERE q.workspace_id = w.id AND q.kind = t.value AND q.state = 'queued'
                   AND q.priority >= ?4 AND (q.run_after <= ?2 OR q.run_after > ?3)
                 ORDER BY q.priority DESC, q.deaths, q.seq LIMIT 1)
             WHERE w.status = 'active'
             ORDER BY j.priority DESC, w.served, j.deaths, j.seq LIMIT 1",
        )
        .bind(serde_json::to_string(types)?)
        .bind(now.0)
        .bind(after(now, LONGEST_BACKOFF).0)
        .bind(least)
        .fetch_optional(executor)
        .await?;
        Ok(row.as_ref().map(|row| row.try_get("seq")).transpose()?)
    }

    /// When the next job of these types is due, which may be in the past; `None` when none waits.
    pub async fn next_due(&self, types: &[JobType], now: Timestamp) -> Result<Option<Timestamp>> {
        self.next_urgent_due(types, i32::MIN, now).await
    }

    /// [`Jobs::next_due`] of those with at least this priority.
    pub async fn next_urgent_due(
        &self,
        types: &[JobType],
        least: i32,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let row = sqlx::query(
            "SELECT min(CASE WHEN q.run_after > ?3 THEN ?2 ELSE q.run_after END) AS due
             FROM workspaces w CROSS JOIN json_each(?1) t
             JOIN jobs q ON q.workspace_id = w.id AND q.kind = t.value AND q.state = 'queued'
             WHERE w.status = 'active' AND q.priority >= ?4",
        )
        .bind(serde_json::to_string(types)?)
        .bind(now.0)
        .bind(after(now, LONGEST_BACKOFF).0)
        .bind(least)
        .fetch_one(self.store.reader())
        .await?;
        row::opt_time(&row, "due")
    }

    pub async fn progress(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        stage: Stage,
        progress: Progress,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        advance_in_tx(&mut tx, scope, claim, stage, progress, false, now).await?;
        tx.commit().await
    }

    /// Ends a job whose result is recorded elsewhere: a scan, or an embedding with nothing to embed.
    /// A document's status follows from its content. Returns whether the job was queued again.
    pub async fn finish(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.store.write().await?;
        let completed = complete_in_tx(&mut tx, scope, claim, now).await?;
        if let Some(document) = document_of(completed.job.kind) {
            documents::settle_in_tx(&mut tx, scope, document, None, now).await?;
        }
        tx.commit().await?;
        Ok(completed.requeued)
    }

    /// Records a failed attempt. When trying again may help and attempts are left, the job waits
    /// and is queued; otherwise it is dead and its document `Failed`, with the reason.
    pub async fn fail(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        reason: &str,
        retryable: bool,
        now: Timestamp,
    ) -> Result<Failed> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "SELECT {COLUMNS}, again FROM jobs
             WHERE workspace_id = ?1 AND id = ?2 AND fence = ?3 AND state = 'running'"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(claim.job))
        .bind(claim.fence as i64)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::StaleFence(claim.job))?;
        let again: bool = row.try_get("again")?;
        let job = job(&row)?;
        let (outcome, attempts) = if again {
            // What failed is not what is there now.
            (Failed::Retry { at: now }, 0)
        } else if retryable && job.attempts < job.max_attempts {
            let at = after(now, backoff(job.attempts));
            (Failed::Retry { at }, job.attempts)
        } else {
            (Failed::Dead, job.attempts)
        };
        let (state, run_after) = match outcome {
            Failed::Retry { at } => (JobState::Queued, at),
            Failed::Dead => (JobState::Dead, now),
        };
        sqlx::query(
            "UPDATE jobs SET state = ?3, run_after = ?4, reason = ?5, attempts = ?6, again = 0,
                 lease_owner = NULL, updated_at = ?7
             WHERE workspace_id = ?1 AND id = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(blob(claim.job))
        .bind(word(state))
        .bind(run_after.0)
        .bind(reason)
        .bind(attempts)
        .bind(now.0)
        .execute(tx.connection())
        .await?;
        match outcome {
            Failed::Dead => fail_document_in_tx(&mut tx, &job, reason, now).await?,
            Failed::Retry { .. } => {
                requeue_document_in_tx(&mut tx, &job, Some(reason), now).await?;
            }
        }
        tx.commit().await?;
        Ok(outcome)
    }

    /// Puts a claimed job back without counting the attempt: the process is shutting down, or the
    /// disk is full and the job is not to blame.
    pub async fn put_back(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        run_after: Timestamp,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE jobs SET state = 'queued', run_after = ?4, reason = coalesce(?5, reason),
                 attempts = max(attempts - 1, 0), again = 0, lease_owner = NULL, updated_at = ?6
             WHERE workspace_id = ?1 AND id = ?2 AND fence = ?3 AND state = 'running'
             RETURNING {COLUMNS}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(claim.job))
        .bind(claim.fence as i64)
        .bind(run_after.min(after(now, LONGEST_BACKOFF)).0)
        .bind(reason)
        .bind(now.0)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::StaleFence(claim.job))?;
        requeue_document_in_tx(&mut tx, &job(&row)?, reason, now).await?;
        tx.commit().await
    }

    /// Cancels a job that is queued or running; its worker's claim becomes stale. A document keeps
    /// what was indexed before. Jobs that are over stay as they are.
    pub async fn cancel(&self, scope: &WorkspaceScope, id: JobId, now: Timestamp) -> Result<Job> {
        let mut tx = self.store.write().await?;
        let cancelled = sqlx::query(&format!(
            "UPDATE jobs SET state = 'cancelled', fence = fence + 1, again = 0,
                 lease_owner = NULL, updated_at = ?3
             WHERE workspace_id = ?1 AND id = ?2 AND state IN ('queued', 'running')
             RETURNING {COLUMNS}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(now.0)
        .fetch_optional(tx.connection())
        .await?;
        let job = match cancelled {
            None => get_in_tx(&mut tx, scope, id).await?,
            Some(row) => {
                let job = job(&row)?;
                let reason = match job.kind {
                    JobKind::Read { .. } => "Reading was cancelled. Retry to read it.",
                    JobKind::Embed { .. } => {
                        "Embedding was cancelled: the document is found by its words only. Retry to finish it."
                    }
                    JobKind::Scan { .. } => "",
                };
                if let Some(document) = document_of(job.kind) {
                    documents::settle_in_tx(&mut tx, scope, document, Some(reason), now).await?;
                }
                job
            }
        };
        tx.commit().await?;
        Ok(job)
    }

    /// Queues a dead or cancelled job again, with all its attempts. When another job is already
    /// under way for the same thing, that one is returned.
    pub async fn retry(&self, scope: &WorkspaceScope, id: JobId, now: Timestamp) -> Result<Job> {
        let mut tx = self.store.write().await?;
        let known = get_in_tx(&mut tx, scope, id).await?;
        let job = match known.state {
            JobState::Queued | JobState::Running | JobState::Done => known,
            JobState::Dead | JobState::Cancelled => {
                match active_like_in_tx(&mut tx, &known).await? {
                    Some(active) => active,
                    None => revive_in_tx(&mut tx, &known, now).await?,
                }
            }
        };
        tx.commit().await?;
        Ok(job)
    }

    /// To be called once, before anything is claimed or answered. Queues every running job of
    /// another boot again at once, whatever the clock says, and gives up the poison among them; adds
    /// jobs that documents wait for and that do not exist; marks answers that were being written as
    /// interrupted.
    pub async fn rescue_foreign(&self, boot: BootId, now: Timestamp) -> Result<Recovery> {
        let mut tx = self.store.write().await?;
        let rows = sqlx::query(&format!(
            "UPDATE jobs SET deaths = deaths + 1, fence = fence + 1, lease_owner = NULL,
                 again = 0, run_after = ?2, updated_at = ?2,
                 state = CASE WHEN deaths + 1 >= ?3 AND again = 0 THEN 'dead' ELSE 'queued' END,
                 reason = CASE WHEN deaths + 1 >= ?3 AND again = 0 THEN ?4 ELSE reason END
             WHERE state = 'running' AND lease_owner <> ?1 RETURNING {COLUMNS}"
        ))
        .bind(blob(boot))
        .bind(now.0)
        .bind(MAX_DEATHS)
        .bind(format!(
            "Docent ended {MAX_DEATHS} times in a row while working on this, so it was given up. Retry if the cause is gone."
        ))
        .fetch_all(tx.connection())
        .await?;
        let mut recovery = Recovery::default();
        for row in &rows {
            let job = job(row)?;
            if job.state == JobState::Dead {
                let reason = job.reason.clone().unwrap_or_default();
                fail_document_in_tx(&mut tx, &job, &reason, now).await?;
                recovery.dead.push(job);
            } else {
                requeue_document_in_tx(&mut tx, &job, None, now).await?;
                recovery.requeued.push(job);
            }
        }
        recovery.jobs_added = add_missing_in_tx(&mut tx, now).await?;
        recovery.interrupted_messages = chats::interrupt_streaming_in_tx(&mut tx).await?;
        tx.commit().await?;
        Ok(recovery)
    }

    pub async fn get(&self, scope: &WorkspaceScope, id: JobId) -> Result<Job> {
        let row = sqlx::query(&format!(
            "SELECT {COLUMNS} FROM jobs WHERE workspace_id = ?1 AND id = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Job))?;
        job(&row)
    }

    /// Newest first.
    pub async fn list(&self, scope: &WorkspaceScope, query: &JobQuery) -> Result<Vec<Job>> {
        let mut sql = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {COLUMNS} FROM jobs WHERE workspace_id = "
        ));
        sql.push_bind(blob(scope.workspace()));
        if !query.states.is_empty() {
            sql.push(" AND state IN (SELECT value FROM json_each(")
                .push_bind(serde_json::to_string(&query.states)?)
                .push("))");
        }
        if let Some(document) = query.document {
            sql.push(" AND document_id = ").push_bind(blob(document));
        }
        if let Some(before) = query.before {
            sql.push(" AND seq < (SELECT b.seq FROM jobs b WHERE b.workspace_id = ")
                .push_bind(blob(scope.workspace()))
                .push(" AND b.id = ")
                .push_bind(blob(before))
                .push(")");
        }
        sql.push(" ORDER BY seq DESC LIMIT ")
            .push_bind(if query.limit == 0 { 100 } else { query.limit });
        sql.build()
            .fetch_all(self.store.reader())
            .await?
            .iter()
            .map(job)
            .collect()
    }

    pub async fn counts(&self, scope: &WorkspaceScope) -> Result<JobCounts> {
        let rows = sqlx::query(
            "SELECT state, count(*) AS jobs FROM jobs WHERE workspace_id = ?1 GROUP BY state",
        )
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?;
        let mut counts = JobCounts::default();
        for row in &rows {
            let slot = match row::from_word(row, "state")? {
                JobState::Queued => &mut counts.queued,
                JobState::Running => &mut counts.running,
                JobState::Done => &mut counts.done,
                JobState::Dead => &mut counts.dead,
                JobState::Cancelled => &mut counts.cancelled,
            };
            *slot = row::number(row, "jobs")?;
        }
        Ok(counts)
    }

    /// How many queued jobs have not been tried since they were queued last.
    pub async fn untried(&self, scope: &WorkspaceScope) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS jobs FROM jobs
             WHERE workspace_id = ?1 AND state = 'queued' AND reason IS NULL",
        )
        .bind(blob(scope.workspace()))
        .fetch_one(self.store.reader())
        .await?;
        row::number(&row, "jobs")
    }

    /// Forgets jobs of every workspace that were done or cancelled before `finished_before`.
    pub async fn prune(&self, finished_before: Timestamp) -> Result<u64> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query(
            "DELETE FROM jobs WHERE state IN ('done', 'cancelled') AND updated_at < ?1",
        )
        .bind(finished_before.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

/// What to do about a job of the same kind that is running when another is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRunning {
    /// Let it end, then run once more.
    Again,
    /// Make its claim stale and queue it: what it works on is gone.
    Restart,
    /// It will find the new work by itself.
    Leave,
}

pub(crate) struct Completed {
    /// As it was while it ran.
    pub job: Job,
    /// It has been queued again, because its object changed meanwhile.
    pub requeued: bool,
}

/// Ends the claimed job with success, or refuses a stale claim.
pub(crate) async fn complete_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    claim: Claim,
    now: Timestamp,
) -> Result<Completed> {
    // The right-hand sides see the row as it was, so `again` decides although it is cleared here.
    let row = sqlx::query(&format!(
        "UPDATE jobs SET
             state = CASE again WHEN 1 THEN 'queued' ELSE 'done' END,
             attempts = CASE again WHEN 1 THEN 0 ELSE attempts END,
             again = 0, deaths = 0, reason = NULL, lease_owner = NULL, run_after = ?4,
             updated_at = ?4
         WHERE workspace_id = ?1 AND id = ?2 AND fence = ?3 AND state = 'running'
         RETURNING {COLUMNS}"
    ))
    .bind(blob(scope.workspace()))
    .bind(blob(claim.job))
    .bind(claim.fence as i64)
    .bind(now.0)
    .fetch_optional(tx.connection())
    .await?
    .ok_or(Error::StaleFence(claim.job))?;
    let job = job(&row)?;
    Ok(Completed {
        requeued: job.state == JobState::Queued,
        job,
    })
}

/// Records progress. When `further`, something of the job's result reached the disk, so whatever
/// ended a process before, it was not this job standing still.
pub(crate) async fn advance_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    claim: Claim,
    stage: Stage,
    progress: Progress,
    further: bool,
    now: Timestamp,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE jobs SET attempts = CASE ?8 WHEN 1 THEN 1 ELSE attempts END,
             deaths = CASE ?8 WHEN 1 THEN 0 ELSE deaths END, stage = ?4, progress_done = ?5,
             progress_total = ?6, updated_at = ?7
         WHERE workspace_id = ?1 AND id = ?2 AND fence = ?3 AND state = 'running'",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(claim.job))
    .bind(claim.fence as i64)
    .bind(word(stage))
    .bind(progress.done as i64)
    .bind(progress.total as i64)
    .bind(now.0)
    .bind(further)
    .execute(tx.connection())
    .await?;
    if done.rows_affected() == 0 {
        return Err(Error::StaleFence(claim.job));
    }
    Ok(())
}

pub(crate) async fn enqueue_document_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    kind: JobType,
    document: DocumentId,
    priority: i32,
    on_running: OnRunning,
    now: Timestamp,
) -> Result<JobId> {
    // One statement decides whether there is a job already: the unique index on active ones.
    let row = sqlx::query(
        "INSERT INTO jobs (workspace_id, id, kind, document_id, state, priority, max_attempts,
             run_after, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?7, ?7)
         ON CONFLICT (workspace_id, document_id, kind)
             WHERE document_id IS NOT NULL AND state IN ('queued', 'running')
         DO UPDATE SET
             priority = max(priority, excluded.priority),
             again = CASE WHEN state = 'running' AND ?8 <> 'restart'
                     THEN again OR ?8 = 'again' ELSE 0 END,
             run_after = CASE WHEN state = 'queued' AND ?8 <> 'leave'
                         THEN min(run_after, ?7) ELSE run_after END,
             attempts = CASE WHEN (state = 'queued' AND ?8 <> 'leave') OR ?8 = 'restart'
                        THEN 0 ELSE attempts END,
             deaths = CASE WHEN (state = 'queued' AND ?8 <> 'leave') OR ?8 = 'restart'
                      THEN 0 ELSE deaths END,
             fence = fence + (state = 'running' AND ?8 = 'restart'),
             lease_owner = CASE WHEN ?8 = 'restart' THEN NULL ELSE lease_owner END,
             state = CASE WHEN ?8 = 'restart' THEN 'queued' ELSE state END,
             updated_at = ?7
         RETURNING id",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(JobId::generate()))
    .bind(word(kind))
    .bind(blob(document))
    .bind(priority)
    .bind(MAX_ATTEMPTS)
    .bind(now.0)
    .bind(match on_running {
        OnRunning::Again => "again",
        OnRunning::Restart => "restart",
        OnRunning::Leave => "leave",
    })
    .fetch_one(tx.connection())
    .await?;
    row::id(&row, "id")
}

pub(crate) async fn enqueue_scan_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    folder: FolderId,
    now: Timestamp,
) -> Result<JobId> {
    let row = sqlx::query(
        "INSERT INTO jobs (workspace_id, id, kind, folder_id, state, priority, max_attempts,
             run_after, created_at, updated_at)
         VALUES (?1, ?2, 'scan', ?3, 'queued', ?4, ?5, ?6, ?6, ?6)
         ON CONFLICT (workspace_id, folder_id, kind)
             WHERE folder_id IS NOT NULL AND state IN ('queued', 'running')
         DO UPDATE SET again = state = 'running',
             run_after = CASE state WHEN 'queued' THEN min(run_after, ?6) ELSE run_after END,
             attempts = CASE state WHEN 'queued' THEN 0 ELSE attempts END,
             updated_at = ?6
         RETURNING id",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(JobId::generate()))
    .bind(blob(folder))
    .bind(PRIORITY_SCAN)
    .bind(MAX_ATTEMPTS)
    .bind(now.0)
    .fetch_one(tx.connection())
    .await?;
    row::id(&row, "id")
}

/// Cancels what is queued or running of this type for the document; there is nothing left to do.
pub(crate) async fn drop_active_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    kind: JobType,
    document: DocumentId,
) -> Result<()> {
    sqlx::query(
        "DELETE FROM jobs WHERE workspace_id = ?1 AND document_id = ?2 AND kind = ?3
             AND state IN ('queued', 'running')",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(document))
    .bind(word(kind))
    .execute(tx.connection())
    .await?;
    Ok(())
}

async fn get_in_tx(tx: &mut WriteTx, scope: &WorkspaceScope, id: JobId) -> Result<Job> {
    let row = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM jobs WHERE workspace_id = ?1 AND id = ?2"
    ))
    .bind(blob(scope.workspace()))
    .bind(blob(id))
    .fetch_optional(tx.connection())
    .await?
    .ok_or(Error::NotFound(Entity::Job))?;
    job(&row)
}

/// The job that is queued or running for the same thing.
async fn active_like_in_tx(tx: &mut WriteTx, like: &Job) -> Result<Option<Job>> {
    let (kind, target) = match like.kind {
        JobKind::Read { document } => (JobType::Read, blob(document)),
        JobKind::Embed { document } => (JobType::Embed, blob(document)),
        JobKind::Scan { folder } => (JobType::Scan, blob(folder)),
    };
    sqlx::query(&format!(
        "SELECT {COLUMNS} FROM jobs WHERE workspace_id = ?1 AND kind = ?2
             AND coalesce(document_id, folder_id) = ?3 AND state IN ('queued', 'running')"
    ))
    .bind(blob(like.workspace_id))
    .bind(word(kind))
    .bind(target)
    .fetch_optional(tx.connection())
    .await?
    .as_ref()
    .map(job)
    .transpose()
}

async fn revive_in_tx(tx: &mut WriteTx, dead: &Job, now: Timestamp) -> Result<Job> {
    let row = sqlx::query(&format!(
        "UPDATE jobs SET state = 'queued', attempts = 0, deaths = 0, reason = NULL, stage = NULL,
             progress_done = 0, progress_total = 0, run_after = ?3, updated_at = ?3
         WHERE workspace_id = ?1 AND id = ?2 RETURNING {COLUMNS}"
    ))
    .bind(blob(dead.workspace_id))
    .bind(blob(dead.id))
    .bind(now.0)
    .fetch_one(tx.connection())
    .await?;
    if let Some(document) = document_of(dead.kind) {
        let scope = WorkspaceScope::new(dead.workspace_id);
        documents::settle_in_tx(tx, &scope, document, None, now).await?;
    }
    job(&row)
}

/// Documents that wait for a job which does not exist, as [`crate::Finding::NoJob`] reports them.
/// A cancelled embedding is not missing.
pub(crate) const WITHOUT_JOB: &str = "SELECT d.workspace_id, d.id, d.status, d.recognise
     FROM documents d
     WHERE (d.status IN ('queued', 'reading') AND NOT EXISTS (
             SELECT 1 FROM jobs j WHERE j.workspace_id = d.workspace_id AND j.document_id = d.id
               AND j.kind = 'read' AND j.state IN ('queued', 'running')))
        OR (d.status = 'words' AND NOT EXISTS (
             SELECT 1 FROM jobs j WHERE j.workspace_id = d.workspace_id AND j.document_id = d.id
               AND j.kind = 'embed' AND j.state IN ('queued', 'running', 'cancelled')))";

async fn add_missing_in_tx(tx: &mut WriteTx, now: Timestamp) -> Result<u64> {
    let rows = sqlx::query(WITHOUT_JOB).fetch_all(tx.connection()).await?;
    for row in &rows {
        let scope = WorkspaceScope::new(row::id(row, "workspace_id")?);
        let kind = match row.try_get("status")? {
            "words" => JobType::Embed,
            _ => JobType::Read,
        };
        let priority = if row.try_get("recognise")? {
            PRIORITY_RECOGNITION
        } else {
            PRIORITY_FOLDER
        };
        enqueue_document_in_tx(
            tx,
            &scope,
            kind,
            row::id(row, "id")?,
            priority,
            OnRunning::Leave,
            now,
        )
        .await?;
    }
    Ok(rows.len() as u64)
}

async fn fail_document_in_tx(
    tx: &mut WriteTx,
    job: &Job,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    let Some(document) = document_of(job.kind) else {
        return Ok(());
    };
    sqlx::query(
        "UPDATE documents SET status = 'failed', reason = ?3, updated_at = ?4
         WHERE workspace_id = ?1 AND id = ?2",
    )
    .bind(blob(job.workspace_id))
    .bind(blob(document))
    .bind(reason)
    .bind(now.0)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A document whose reading starts over waits for it again; embedding does not show in the status.
async fn requeue_document_in_tx(
    tx: &mut WriteTx,
    job: &Job,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let JobKind::Read { document } = job.kind else {
        return Ok(());
    };
    sqlx::query(
        "UPDATE documents SET status = 'queued', reason = coalesce(?3, reason), updated_at = ?4
         WHERE workspace_id = ?1 AND id = ?2",
    )
    .bind(blob(job.workspace_id))
    .bind(blob(document))
    .bind(reason)
    .bind(now.0)
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn document_of(kind: JobKind) -> Option<DocumentId> {
    match kind {
        JobKind::Read { document } | JobKind::Embed { document } => Some(document),
        JobKind::Scan { .. } => None,
    }
}

/// After the given number of attempts.
fn backoff(attempts: u32) -> Duration {
    let factor = 6u32.saturating_pow(attempts.saturating_sub(1));
    FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF)
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(wait.as_millis() as i64))
}

fn job(row: &SqliteRow) -> Result<Job> {
    let kind = match row::from_word(row, "kind")? {
        JobType::Read => JobKind::Read {
            document: row::id(row, "document_id")?,
        },
        JobType::Embed => JobKind::Embed {
            document: row::id(row, "document_id")?,
        },
        JobType::Scan => JobKind::Scan {
            folder: row::id(row, "folder_id")?,
        },
    };
    Ok(Job {
        id: row::id(row, "id")?,
        workspace_id: row::id(row, "workspace_id")?,
        kind,
        state: row::from_word(row, "state")?,
        priority: row.try_get("priority")?,
        stage: row::opt_word(row, "stage")?,
        progress: Progress {
            done: row::number(row, "progress_done")?,
            total: row::number(row, "progress_total")?,
        },
        attempts: row::number(row, "attempts")?,
        max_attempts: row::number(row, "max_attempts")?,
        run_after: row::time(row, "run_after")?,
        reason: row.try_get("reason")?,
        fence: row::number(row, "fence")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let seconds: Vec<u64> = (0..8).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(seconds, [5, 5, 30, 180, 1080, 3600, 3600, 3600]);
    }
}
