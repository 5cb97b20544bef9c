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
//!   given up, with the reason, and the others go on. What ran beside it is not: the last of these
//!   processes runs a job alone, when there is nothing else to do.

use std::time::Duration;

use docent_domain::{
    DocumentId, DocumentStatus, FolderId, Job, JobId, JobKind, JobState, JobType, Problem,
    Progress, Stage, Timestamp, WorkspaceId, WorkspaceScope,
};
use serde::Serialize;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use super::documents::Page;
use super::{chats, documents};
use crate::connection::WriteTx;
use crate::row::{self, Id, blob, word};
use crate::{Entity, Error, Result, Store};

/// Attempts before a job is given up.
pub const MAX_ATTEMPTS: u32 = 3;

/// Processes that may end while running a job before it is taken for poison.
pub const MAX_DEATHS: u32 = 3;

/// After so many the next one decides, and the job is run alone.
const DEATHS_BEFORE_ALONE: u32 = MAX_DEATHS - 1;

/// For what the user has added by hand and is waiting for.
pub const PRIORITY_HAND_ADDED: i32 = 10;

/// For what a watched folder brought.
pub const PRIORITY_FOLDER: i32 = 0;

/// For recognising the text of scanned pages, which takes seconds a page: after all else.
pub const PRIORITY_RECOGNITION: i32 = -10;

/// Scans are short and tell how much there is to do.
const PRIORITY_SCAN: i32 = 20;

/// Stands in a running scan's `run_after` when another one is to follow without a rest.
const AT_ONCE: i64 = 0;

/// The wait after the first failure; each further one waits six times longer, since what did not
/// mend in seconds (a locked file, an unplugged disk) may mend in minutes.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);

/// No wait is longer, so a job that seems to be due later has met a clock that jumped, and is due.
const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

/// A page of a list is no longer, whatever was asked for.
const LONGEST_PAGE: u32 = 1000;

const READING_CANCELLED: &str = "Reading was cancelled. Retry to read it.";
const EMBEDDING_CANCELLED: &str =
    "Embedding was cancelled: the document is found by its words only. Retry to finish it.";

const COLUMNS: &str = "workspace_id, id, kind, document_id, folder_id, state, stage, \
     progress_done, progress_total, priority, attempts, max_attempts, run_after, reason, fence, created_at, \
     updated_at";

/// The highest priority among the files of the workspace `w` that are read, or due to be at ?2 (a time
/// after ?3 has met a clock that jumped). What is to be run alone waits until nothing else runs.
const READING: &str = "max(
     coalesce((SELECT r.priority FROM jobs r
         WHERE r.workspace_id = w.id AND r.kind = 'read' AND r.state = 'queued'
           AND (r.run_after <= ?2 OR r.run_after > ?3) AND r.deaths < ?7
         ORDER BY r.priority DESC LIMIT 1), -1e9),
     coalesce((SELECT max(r.priority) FROM jobs r
         WHERE r.workspace_id = w.id AND r.kind = 'read' AND r.state = 'running'), -1e9))";

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

/// Proof of having claimed a job, to be shown with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Which of the waiting jobs a worker takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub types: &'a [JobType],
    /// Only those of a higher priority.
    pub above: Option<i32>,
    /// No document is embedded while a file of its workspace that is as urgent is read or could be.
    pub words_first: bool,
    /// Nothing of these workspaces and types.
    pub held: &'a [(WorkspaceId, JobType)],
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
    /// Waiting jobs come in the order in which their turns come, all others newest first.
    pub state: Option<JobState>,
    pub kind: Option<JobType>,
    pub document: Option<DocumentId>,
    /// `next_cursor` of the page before, of the same query.
    pub cursor: Option<String>,
    /// 0 means 100.
    pub limit: u32,
}

/// A job with what people know its object by.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedJob {
    pub job: Job,
    /// The document's; a folder has none.
    pub title: Option<String>,
    /// The document's or the folder's.
    pub path: String,
    /// The document's.
    pub size_bytes: u64,
}

/// How far the batch is that is being worked on, by documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchProgress {
    /// `None` while there is no batch.
    pub started_at: Option<Timestamp>,
    /// Waiting to be read, or being read.
    pub unread: u64,
    /// Size of those.
    pub unread_bytes: u64,
    /// Read, and waiting for vectors.
    pub words: u64,
    pub ready: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Of the documents that have been read.
    pub chunks: u64,
    pub embedded_chunks: u64,
}

/// What a batch has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEnded {
    pub indexed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// From its first job to its last, by the clock.
    pub took: Duration,
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

    /// Takes the next job of these types out of the queues of all workspaces that are active and
    /// not paused. Workspaces take turns, so that none waits for the end of another one's queue;
    /// within a workspace priority decides, then age. A document whose job is a `Read` becomes
    /// `Reading`.
    pub async fn claim_next(
        &self,
        boot: BootId,
        types: &[JobType],
        now: Timestamp,
    ) -> Result<Option<Job>> {
        let wanted = Wanted {
            types,
            ..Wanted::default()
        };
        self.claim(boot, &wanted, now).await
    }

    /// [`Jobs::claim_next`] among the wanted jobs alone. One that may be poison is taken when nothing
    /// else runs, and then nothing is taken beside it.
    pub async fn claim(
        &self,
        boot: BootId,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<Option<Job>> {
        // Idle workers ask all the time; a glance that finds nothing should not take the writer.
        if self
            .next_seq(self.store.reader(), wanted, now)
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let mut tx = self.store.write().await?;
        let Some(seq) = self.next_seq(tx.connection(), wanted, now).await? else {
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
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        let sql = format!(
            "SELECT j.seq FROM {} ORDER BY w.served, j.priority DESC, j.deaths, j.seq LIMIT 1",
            heads()
        );
        let row = bind_heads(sqlx::query(&sql), wanted, now)?
            .fetch_optional(executor)
            .await?;
        Ok(row.as_ref().map(|row| row.try_get("seq")).transpose()?)
    }

    /// Whether a running job of a wanted type is to make room: something more urgent of its workspace
    /// waits, or anything of another one.
    pub async fn is_to_give_way(
        &self,
        scope: &WorkspaceScope,
        job: JobId,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {heads}
                     AND (w.id <> ?8 OR j.priority > (SELECT o.priority FROM jobs o
                         WHERE o.workspace_id = ?8 AND o.id = ?9)))
                 OR EXISTS (SELECT 1 FROM jobs o JOIN workspaces w ON w.id = o.workspace_id
                     WHERE ?6 AND o.workspace_id = ?8 AND o.id = ?9 AND {READING} >= o.priority)
                 AS gives_way",
            heads = heads(),
        );
        let row = bind_heads(sqlx::query(&sql), wanted, now)?
            .bind(blob(scope.workspace()))
            .bind(blob(job))
            .fetch_one(self.store.reader())
            .await?;
        Ok(row.try_get("gives_way")?)
    }

    /// When the next job of these types that is not `held` is due, which may be in the past; `None`
    /// when none waits.
    pub async fn next_due(
        &self,
        types: &[JobType],
        held: &[(WorkspaceId, JobType)],
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let row = sqlx::query(
            "SELECT min(CASE WHEN q.run_after > ?3 THEN ?2 ELSE q.run_after END) AS due
             FROM workspaces w CROSS JOIN json_each(?1) t
             JOIN jobs q ON q.workspace_id = w.id AND q.kind = t.value AND q.state = 'queued'
             WHERE w.status = 'active' AND w.paused = 0
               AND hex(w.id) || t.value NOT IN (SELECT value FROM json_each(?4))",
        )
        .bind(serde_json::to_string(types)?)
        .bind(now.0)
        .bind(after(now, LONGEST_BACKOFF).0)
        .bind(held_json(held)?)
        .fetch_one(self.store.reader())
        .await?;
        row::opt_time(&row, "due")
    }

    /// Stops or resumes claiming a workspace's jobs; what is queued stays queued. Jobs that run are
    /// the caller's to stop and to put back.
    pub async fn set_paused(
        &self,
        scope: &WorkspaceScope,
        paused: bool,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("UPDATE workspaces SET paused = ?2, updated_at = ?3 WHERE id = ?1")
            .bind(blob(scope.workspace()))
            .bind(paused)
            .bind(now.0)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Workspace));
        }
        tx.commit().await
    }

    pub async fn is_paused(&self, scope: &WorkspaceScope) -> Result<bool> {
        let row = sqlx::query("SELECT paused FROM workspaces WHERE id = ?1")
            .bind(blob(scope.workspace()))
            .fetch_optional(self.store.reader())
            .await?
            .ok_or(Error::NotFound(Entity::Workspace))?;
        Ok(row.try_get("paused")?)
    }

    /// How far the workspace's batch is.
    pub async fn batch_progress(&self, scope: &WorkspaceScope) -> Result<BatchProgress> {
        let mut connection = self.store.reader().acquire().await?;
        batch_progress(&mut connection, scope).await
    }

    /// Ends the workspace's batch if nothing of it is left to do, and says what it came to. `None`
    /// while something is queued or running, and when nothing was to be done.
    pub async fn end_batch(
        &self,
        scope: &WorkspaceScope,
        now: Timestamp,
    ) -> Result<Option<BatchEnded>> {
        const IS_OVER: &str = "SELECT batch_started_at FROM workspaces w
             WHERE id = ?1 AND batch_started_at IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM jobs WHERE workspace_id = ?1 AND state = 'queued')
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE workspace_id = ?1 AND state = 'running')";
        let workspace = blob(scope.workspace());
        // Asked after every change; a glance that finds nothing should not take the writer.
        if sqlx::query(IS_OVER)
            .bind(&workspace)
            .fetch_optional(self.store.reader())
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let mut tx = self.store.write().await?;
        let Some(row) = sqlx::query(IS_OVER)
            .bind(&workspace)
            .fetch_optional(tx.connection())
            .await?
        else {
            tx.commit().await?;
            return Ok(None);
        };
        let started = row::time(&row, "batch_started_at")?;
        let progress = batch_progress(tx.connection(), scope).await?;
        sqlx::query(
            "UPDATE workspaces SET batch = batch + 1, batch_started_at = NULL WHERE id = ?1",
        )
        .bind(&workspace)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        let ended = BatchEnded {
            indexed: progress.ready + progress.words,
            failed: progress.failed,
            skipped: progress.skipped,
            // A clock that was set back says nothing.
            took: Duration::from_millis(u64::try_from(now.0 - started.0).unwrap_or(0)),
        };
        Ok((ended.indexed + ended.failed + ended.skipped > 0).then_some(ended))
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
        self.finish_scan(scope, claim, now, now).await
    }

    /// [`Jobs::finish`] of a scan. One that was asked for meanwhile, but not at once, comes not before
    /// `rested`.
    pub async fn finish_scan(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        rested: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.store.write().await?;
        let completed = complete_in_tx(&mut tx, scope, claim, now).await?;
        if completed.requeued && matches!(completed.job.kind, JobKind::Scan { .. }) {
            sqlx::query(
                "UPDATE jobs SET run_after = CASE ?5 WHEN ?6 THEN ?4 ELSE max(?5, ?3) END
                 WHERE workspace_id = ?1 AND id = ?2",
            )
            .bind(blob(scope.workspace()))
            .bind(blob(claim.job))
            .bind(rested.min(after(now, LONGEST_BACKOFF)).0)
            .bind(now.0)
            .bind(completed.job.run_after.0)
            .bind(AT_ONCE)
            .execute(tx.connection())
            .await?;
        }
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
                    JobKind::Read { .. } => READING_CANCELLED,
                    JobKind::Embed { .. } => EMBEDDING_CANCELLED,
                    JobKind::Scan { .. } => "",
                };
                if let Some(document) = document_of(job.kind) {
                    documents::settle_in_tx(&mut tx, scope, document, Some(reason), now).await?;
                    if let JobKind::Read { .. } = job.kind {
                        let problem = Problem::Cancelled;
                        documents::set_problem_in_tx(&mut tx, scope, document, problem).await?;
                    }
                    documents::leave_batch_in_tx(&mut tx, scope, document).await?;
                }
                job
            }
        };
        tx.commit().await?;
        Ok(job)
    }

    /// [`Jobs::cancel`] of everything that is queued or running. Returns how many jobs that was.
    pub async fn cancel_all(&self, scope: &WorkspaceScope, now: Timestamp) -> Result<u64> {
        let workspace = blob(scope.workspace());
        let mut tx = self.store.write().await?;
        sqlx::query(
            "UPDATE documents SET batch = 0, updated_at = ?2,
                 reason = CASE WHEN status IN ('queued', 'reading') THEN ?3
                               WHEN problem = 'cancelled' THEN reason ELSE ?4 END,
                 problem = CASE WHEN status IN ('queued', 'reading') THEN 'cancelled'
                                ELSE problem END,
                 status = CASE WHEN chunk_count = 0 THEN 'skipped'
                               WHEN embedded_count = chunk_count THEN 'ready' ELSE 'words' END
             WHERE workspace_id = ?1 AND id IN (
                 SELECT document_id FROM jobs WHERE workspace_id = ?1
                   AND document_id IS NOT NULL AND state IN ('queued', 'running'))",
        )
        .bind(&workspace)
        .bind(now.0)
        .bind(READING_CANCELLED)
        .bind(EMBEDDING_CANCELLED)
        .execute(tx.connection())
        .await?;
        let done = sqlx::query(
            "UPDATE jobs SET state = 'cancelled', fence = fence + 1, again = 0,
                 lease_owner = NULL, updated_at = ?2
             WHERE workspace_id = ?1 AND state IN ('queued', 'running')",
        )
        .bind(&workspace)
        .bind(now.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
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

    /// [`Jobs::retry`] of everything that was given up, or that was cancelled, in one transaction.
    /// Returns how many jobs that was.
    pub async fn retry_all(
        &self,
        scope: &WorkspaceScope,
        over: Over,
        now: Timestamp,
    ) -> Result<u64> {
        let workspace = blob(scope.workspace());
        let over = word(match over {
            Over::Dead => JobState::Dead,
            Over::Cancelled => JobState::Cancelled,
        });
        let mut tx = self.store.write().await?;
        for documents in [
            "UPDATE documents SET reason = NULL, problem = NULL, status = 'queued',
                 updated_at = ?3, batch = (SELECT batch FROM workspaces WHERE id = ?1)
             WHERE workspace_id = ?1 AND id IN (
                 SELECT document_id FROM jobs
                 WHERE workspace_id = ?1 AND kind = 'read' AND state = ?2)",
            // What waits to be read or is not as it was read shows that.
            "UPDATE documents SET updated_at = ?3,
                 batch = (SELECT batch FROM workspaces WHERE id = ?1),
                 reason = CASE WHEN problem = 'cancelled' THEN reason END,
                 problem = CASE WHEN problem = 'cancelled' THEN problem END,
                 status = CASE WHEN status IN ('queued', 'reading') THEN status
                               WHEN chunk_count = 0 THEN 'skipped'
                               WHEN embedded_count = chunk_count THEN 'ready' ELSE 'words' END
             WHERE workspace_id = ?1 AND id IN (
                 SELECT document_id FROM jobs
                 WHERE workspace_id = ?1 AND kind = 'embed' AND state = ?2)",
        ] {
            sqlx::query(documents)
                .bind(&workspace)
                .bind(&over)
                .bind(now.0)
                .execute(tx.connection())
                .await?;
        }
        let revived = sqlx::query(
            "UPDATE jobs SET state = 'queued', attempts = 0, deaths = 0, reason = NULL,
                 stage = NULL, progress_done = 0, progress_total = 0, run_after = ?3,
                 updated_at = ?3
             WHERE workspace_id = ?1 AND state = ?2
               AND NOT EXISTS (
                 SELECT 1 FROM jobs a WHERE a.workspace_id = ?1 AND a.kind = jobs.kind
                   AND a.document_id = jobs.document_id AND a.state IN ('queued', 'running'))
               AND NOT EXISTS (
                 SELECT 1 FROM jobs a WHERE a.workspace_id = ?1 AND a.kind = jobs.kind
                   AND a.folder_id = jobs.folder_id
                   AND (a.state IN ('queued', 'running')
                        OR (a.state = ?2 AND a.seq > jobs.seq)))",
        )
        .bind(&workspace)
        .bind(&over)
        .bind(now.0)
        .execute(tx.connection())
        .await?
        .rows_affected();
        if revived > 0 {
            start_batch_in_tx(&mut tx, scope, now).await?;
        }
        tx.commit().await?;
        Ok(revived)
    }

    /// To be called once, before anything is claimed or answered. Queues every running job of
    /// another boot again at once, whatever the clock says, and gives up the poison among them (the
    /// end of a process counts as a death, and not as an attempt that failed besides); adds
    /// jobs that documents wait for and that do not exist; marks answers that were being written as
    /// interrupted.
    pub async fn rescue_foreign(&self, boot: BootId, now: Timestamp) -> Result<Recovery> {
        let mut tx = self.store.write().await?;
        let rows = sqlx::query(&format!(
            "UPDATE jobs SET deaths = deaths + 1, fence = fence + 1, lease_owner = NULL,
                 attempts = max(attempts - 1, 0), again = 0, run_after = ?2, updated_at = ?2,
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

    /// A page of the list. Pages are cut by the last row's place in the order, so jobs that come
    /// and go meanwhile neither repeat nor hide others.
    pub async fn list(&self, scope: &WorkspaceScope, query: &JobQuery) -> Result<Page<ListedJob>> {
        let limit = match query.limit {
            0 => 100,
            limit => limit.min(LONGEST_PAGE),
        };
        let by_turn = query.state == Some(JobState::Queued);
        let mut sql = QueryBuilder::<Sqlite>::new(format!(
            "SELECT j.*, d.title, coalesce(d.path, f.path, '') AS path,
                 coalesce(d.size_bytes, 0) AS size_bytes
             FROM (SELECT {COLUMNS}, seq FROM jobs WHERE workspace_id = "
        ));
        sql.push_bind(blob(scope.workspace()));
        // Written out, because only so the partial indexes are used.
        match query.state {
            Some(JobState::Queued) => {
                sql.push(" AND state = 'queued'");
            }
            Some(state) => {
                sql.push(" AND state = ").push_bind(state.as_str());
            }
            None => {}
        }
        if let Some(kind) = query.kind {
            // Not for looking jobs up: the other indexes have the order.
            sql.push(" AND +kind = ").push_bind(kind.as_str());
        }
        if let Some(document) = query.document {
            sql.push(" AND document_id = ").push_bind(blob(document));
        }
        if let Some(cursor) = &query.cursor {
            let (priority, seq) = cursor
                .split_once('.')
                .and_then(|(priority, seq)| {
                    Some((priority.parse::<i64>().ok()?, seq.parse::<i64>().ok()?))
                })
                .ok_or(Error::BadCursor)?;
            if by_turn {
                sql.push(" AND (-priority, seq) > (")
                    .push_bind(-priority)
                    .push(", ")
                    .push_bind(seq)
                    .push(")");
            } else {
                sql.push(" AND seq < ").push_bind(seq);
            }
        }
        let order = if by_turn {
            "priority DESC, seq"
        } else {
            "seq DESC"
        };
        sql.push(format!(" ORDER BY {order} LIMIT "))
            // One more than asked for tells whether there is a next page.
            .push_bind(limit + 1)
            .push(format!(
                ") j LEFT JOIN documents d ON d.workspace_id = j.workspace_id
                        AND d.id = j.document_id
                 LEFT JOIN folders f ON f.workspace_id = j.workspace_id AND f.id = j.folder_id
                 ORDER BY {order}"
            ));
        let mut rows = sql.build().fetch_all(self.store.reader()).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next_cursor = match rows.last() {
            Some(last) if more => Some(format!(
                "{}.{}",
                last.try_get::<i64, _>("priority")?,
                last.try_get::<i64, _>("seq")?
            )),
            _ => None,
        };
        let items = rows.iter().map(listed_job).collect::<Result<_>>()?;
        Ok(Page { items, next_cursor })
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

    /// How many queued jobs of these types have not been tried since they were queued last.
    pub async fn untried(&self, scope: &WorkspaceScope, types: &[JobType]) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS jobs FROM jobs
             WHERE workspace_id = ?1 AND state = 'queued' AND reason IS NULL
               AND kind IN (SELECT value FROM json_each(?2))",
        )
        .bind(blob(scope.workspace()))
        .bind(serde_json::to_string(types)?)
        .fetch_one(self.store.reader())
        .await?;
        row::number(&row, "jobs")
    }

    /// Forgets jobs of every workspace that were done or cancelled before `finished_before`. A
    /// cancelled embedding stays as long as it is not made up for: without it the vectors would
    /// count as forgotten, and be made after all.
    pub async fn prune(&self, finished_before: Timestamp) -> Result<u64> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query(
            "DELETE FROM jobs WHERE state IN ('done', 'cancelled') AND updated_at < ?1
               AND NOT (state = 'cancelled' AND EXISTS (
                   SELECT 1 FROM documents d WHERE d.workspace_id = jobs.workspace_id
                     AND d.id = jobs.document_id AND CASE jobs.kind
                         WHEN 'read' THEN d.problem = 'cancelled' ELSE d.status = 'words' END))",
        )
        .bind(finished_before.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

/// How jobs ended that can be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Given up after their attempts.
    Dead,
    Cancelled,
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
    // The right-hand sides see the row as it was, so `again` decides although it is cleared here. When
    // the next scan is wanted is left to who knows how long this one took.
    let row = sqlx::query(&format!(
        "UPDATE jobs SET
             state = CASE again WHEN 1 THEN 'queued' ELSE 'done' END,
             attempts = CASE again WHEN 1 THEN 0 ELSE attempts END,
             again = 0, deaths = 0, reason = NULL, lease_owner = NULL,
             run_after = CASE WHEN again AND kind = 'scan' THEN run_after ELSE ?4 END,
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

/// Refuses a claim that is stale, or not of the reading of this document.
pub(crate) async fn require_reading_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    document: DocumentId,
    claim: Claim,
) -> Result<()> {
    sqlx::query(
        "SELECT 1 FROM jobs WHERE workspace_id = ?1 AND id = ?2 AND fence = ?3
             AND state = 'running' AND kind = 'read' AND document_id = ?4",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(claim.job))
    .bind(claim.fence as i64)
    .bind(blob(document))
    .fetch_optional(tx.connection())
    .await?
    .ok_or(Error::StaleFence(claim.job))?;
    Ok(())
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
    enqueue_document_at_in_tx(tx, scope, kind, document, priority, on_running, now, now).await
}

/// [`enqueue_document_in_tx`], not before `at`.
#[allow(clippy::too_many_arguments, reason = "it is one row")]
pub(crate) async fn enqueue_document_at_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    kind: JobType,
    document: DocumentId,
    priority: i32,
    on_running: OnRunning,
    at: Timestamp,
    now: Timestamp,
) -> Result<JobId> {
    documents::join_batch_in_tx(tx, scope, document, now).await?;
    // What this job is wanted for is what an earlier one was given up for.
    sqlx::query(
        "DELETE FROM jobs WHERE workspace_id = ?1 AND document_id = ?2 AND kind = ?3
             AND state IN ('dead', 'cancelled')",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(document))
    .bind(word(kind))
    .execute(tx.connection())
    .await?;
    // One statement decides whether there is a job already: the unique index on active ones.
    let row = sqlx::query(
        "INSERT INTO jobs (workspace_id, id, kind, document_id, state, priority, max_attempts,
             run_after, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?9, ?7, ?7)
         ON CONFLICT (workspace_id, document_id, kind)
             WHERE document_id IS NOT NULL AND state IN ('queued', 'running')
         DO UPDATE SET
             priority = max(priority, excluded.priority),
             again = CASE WHEN state = 'running' AND ?8 <> 'restart'
                     THEN again OR ?8 = 'again' ELSE 0 END,
             run_after = CASE WHEN state = 'queued' AND ?8 <> 'leave'
                         THEN min(run_after, ?9) ELSE run_after END,
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
    .bind(at.0)
    .fetch_one(tx.connection())
    .await?;
    row::id(&row, "id")
}

/// A document's job.
pub(crate) struct NewJob {
    pub(crate) document: DocumentId,
    pub(crate) priority: i32,
    /// Not before this.
    pub(crate) at: Timestamp,
}

/// [`enqueue_document_at_in_tx`] for documents that have no such job, and are of the batch.
pub(crate) async fn enqueue_new_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    kind: JobType,
    new: &[NewJob],
    now: Timestamp,
) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO jobs (workspace_id, id, kind, document_id, state, priority, max_attempts,
             run_after, created_at, updated_at) ",
    );
    sql.push_values(new, |mut row, job| {
        row.push_bind(blob(scope.workspace()))
            .push_bind(blob(JobId::generate()))
            .push_bind(word(kind))
            .push_bind(blob(job.document))
            .push("'queued'")
            .push_bind(job.priority)
            .push_bind(MAX_ATTEMPTS)
            .push_bind(job.at.0)
            .push_bind(now.0)
            .push_bind(now.0);
    });
    sql.build()
        .persistent(new.len() == 1)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Queues a scan, not before `at`. Where one is running, another follows: at once when `at` has come,
/// and otherwise when the folder has rested from this one ([`Jobs::finish_scan`]).
pub(crate) async fn enqueue_scan_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    folder: FolderId,
    at: Timestamp,
    now: Timestamp,
) -> Result<JobId> {
    sqlx::query(
        "DELETE FROM jobs WHERE workspace_id = ?1 AND folder_id = ?2
             AND state IN ('dead', 'cancelled')",
    )
    .bind(blob(scope.workspace()))
    .bind(blob(folder))
    .execute(tx.connection())
    .await?;
    let row = sqlx::query(
        "INSERT INTO jobs (workspace_id, id, kind, folder_id, state, priority, max_attempts,
             run_after, created_at, updated_at)
         VALUES (?1, ?2, 'scan', ?3, 'queued', ?4, ?5, ?7, ?6, ?6)
         ON CONFLICT (workspace_id, folder_id, kind)
             WHERE folder_id IS NOT NULL AND state IN ('queued', 'running')
         DO UPDATE SET again = state = 'running',
             run_after = CASE WHEN state = 'queued' THEN min(run_after, ?7)
                              WHEN again THEN min(run_after, ?8) ELSE ?8 END,
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
    .bind(at.min(after(now, LONGEST_BACKOFF)).0)
    .bind(if at > now { at.0 } else { AT_ONCE })
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

/// The workspace has something to do from now on, if it had nothing.
/// Returns the number of its batch.
pub(crate) async fn start_batch_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    now: Timestamp,
) -> Result<i64> {
    let row = sqlx::query(
        "UPDATE workspaces SET batch_started_at = coalesce(batch_started_at, ?2)
         WHERE id = ?1 RETURNING batch",
    )
    .bind(blob(scope.workspace()))
    .bind(now.0)
    .fetch_optional(tx.connection())
    .await?
    .ok_or(Error::NotFound(Entity::Workspace))?;
    Ok(row.try_get("batch")?)
}

async fn batch_progress(
    connection: &mut SqliteConnection,
    scope: &WorkspaceScope,
) -> Result<BatchProgress> {
    let rows = sqlx::query(
        "SELECT w.batch_started_at, d.status, count(d.id) AS files,
             total(d.size_bytes) AS bytes, coalesce(sum(d.chunk_count), 0) AS chunks,
             coalesce(sum(d.embedded_count), 0) AS embedded
         FROM workspaces w LEFT JOIN documents d ON d.workspace_id = w.id AND d.batch = w.batch
         WHERE w.id = ?1 GROUP BY d.status",
    )
    .bind(blob(scope.workspace()))
    .fetch_all(connection)
    .await?;
    let mut progress = BatchProgress::default();
    for row in &rows {
        progress.started_at = row::opt_time(row, "batch_started_at")?;
        let Some(status) = row::opt_word(row, "status")? else {
            continue;
        };
        let files: u64 = row::number(row, "files")?;
        match status {
            DocumentStatus::Queued | DocumentStatus::Reading => {
                progress.unread += files;
                progress.unread_bytes += row.try_get::<f64, _>("bytes")? as u64;
                continue;
            }
            DocumentStatus::Words => progress.words = files,
            DocumentStatus::Ready => progress.ready = files,
            DocumentStatus::Failed => progress.failed = files,
            DocumentStatus::Skipped => progress.skipped = files,
        }
        progress.chunks += row::number::<u64>(row, "chunks")?;
        progress.embedded_chunks += row::number::<u64>(row, "embedded")?;
    }
    Ok(progress)
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
        documents::join_batch_in_tx(tx, &scope, document, now).await?;
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

/// The first wanted job of each queue, `j`, with its workspace, `w`: a table, its condition begun.
/// [`bind_heads`] gives the parameters. The heads come from the index; only they are compared.
fn heads() -> String {
    format!(
        "workspaces w CROSS JOIN json_each(?1) t
         JOIN jobs j ON j.seq = (
             SELECT q.seq FROM jobs q
             WHERE q.workspace_id = w.id AND q.kind = t.value AND q.state = 'queued'
               AND q.priority > max(?4, CASE WHEN ?6 AND t.value = 'embed' THEN {READING}
                                             ELSE ?4 END)
               AND (q.run_after <= ?2 OR q.run_after > ?3)
               AND (q.deaths < ?7 OR NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running'))
             ORDER BY q.priority DESC, q.deaths, q.seq LIMIT 1)
         WHERE w.status = 'active' AND w.paused = 0
           AND hex(w.id) || t.value NOT IN (SELECT value FROM json_each(?5))
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND deaths >= ?7)"
    )
}

fn bind_heads<'q>(
    query: Query<'q, Sqlite, SqliteArguments<'q>>,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Query<'q, Sqlite, SqliteArguments<'q>>> {
    Ok(query
        .bind(serde_json::to_string(wanted.types)?)
        .bind(now.0)
        .bind(after(now, LONGEST_BACKOFF).0)
        .bind(wanted.above.map_or(i64::MIN, i64::from))
        .bind(held_json(wanted.held)?)
        .bind(wanted.words_first)
        .bind(DEATHS_BEFORE_ALONE))
}

/// As `hex(workspace) || kind` gives them.
fn held_json(held: &[(WorkspaceId, JobType)]) -> Result<String> {
    let key = |(workspace, kind): &(WorkspaceId, JobType)| {
        let workspace = workspace.as_uuid().simple().to_string().to_uppercase();
        workspace + kind.as_str()
    };
    let keys: Vec<String> = held.iter().map(key).collect();
    Ok(serde_json::to_string(&keys)?)
}

/// After the given number of attempts.
fn backoff(attempts: u32) -> Duration {
    let factor = 6u32.saturating_pow(attempts.saturating_sub(1));
    FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF)
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(wait.as_millis() as i64))
}

fn listed_job(row: &SqliteRow) -> Result<ListedJob> {
    Ok(ListedJob {
        job: job(row)?,
        title: row.try_get("title")?,
        path: row.try_get("path")?,
        size_bytes: row::number(row, "size_bytes")?,
    })
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
