//! The job list, what it says of the work as a whole, and its control.

use std::time::Duration;

use docent_domain::{JobId, JobKind, JobState, Timestamp, WorkspaceScope};
use docent_store::{Claim, JobQuery, Over};
use tokio::sync::broadcast;

use crate::engine::Engine;
use crate::error::Result;
use crate::pace::left_at_this_rate;
use crate::pipeline::READ_LANES;
use crate::types::{BatchReport, JobFilter, JobPage, ListedJob, Topic, WorkProgress};

/// Jobs on a page at most.
const LONGEST_PAGE: usize = 500;

/// Who stops work is not kept waiting longer for what was under way; it ends all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Changes that come closer together than this are looked at once for the end of a batch.
const BATCH_LOOK: Duration = Duration::from_millis(200);

impl Engine {
    /// A page of the jobs, and how far the work is. Waiting jobs come in the order of their turns,
    /// all others newest first.
    pub async fn jobs(&self, scope: &WorkspaceScope, filter: JobFilter) -> Result<JobPage> {
        let query = JobQuery {
            state: filter.state,
            kind: filter.kind,
            document: None,
            cursor: filter.cursor,
            limit: filter.limit.min(LONGEST_PAGE) as u32,
        };
        let page = self.store().jobs().list(scope, &query).await?;
        Ok(JobPage {
            items: page
                .items
                .into_iter()
                .map(|listed| self.with_live_progress(listed))
                .collect(),
            next_cursor: page.next_cursor,
            counts: self.store().jobs().counts(scope).await?,
            progress: self.work_progress(scope).await?,
        })
    }

    /// How far the batch is that is being worked on.
    pub async fn work_progress(&self, scope: &WorkspaceScope) -> Result<WorkProgress> {
        let batch = self.store().jobs().batch_progress(scope).await?;
        let is_paused = self.store().jobs().is_paused(scope).await?;
        let done = batch.ready + batch.failed + batch.skipped;
        let total = done + batch.words + batch.unread;
        let is_under_way = total > done && !is_paused;
        let left = is_under_way
            .then(|| self.reader().pace().left_of_batch(&batch, READ_LANES))
            .flatten();
        Ok(WorkProgress {
            files_done: done,
            files_read: done + batch.words,
            files_total: total,
            files_failed: batch.failed,
            chunks_done: batch.embedded_chunks,
            chunks_total: batch.chunks,
            eta_seconds: left.map(|left| left.as_secs_f64().ceil() as u64),
            paused: is_paused,
        })
    }

    fn with_live_progress(&self, listed: docent_store::ListedJob) -> ListedJob {
        let docent_store::ListedJob {
            mut job,
            title,
            path,
            size_bytes,
        } = listed;
        let mut left = None;
        if job.state == JobState::Running
            && let Some((live, elapsed)) = self.reader().live(Claim::from(&job))
        {
            if let Some((stage, progress)) = live {
                job.stage = Some(stage);
                job.progress = progress;
            }
            let pace = self.reader().pace();
            left = match job.kind {
                JobKind::Read { .. } => left_at_this_rate(job.progress, elapsed)
                    .or_else(|| pace.left_of_file(size_bytes, elapsed)),
                JobKind::Embed { .. } if job.progress.total > 0 => {
                    pace.left_of_chunks(job.progress.total.saturating_sub(job.progress.done))
                }
                JobKind::Embed { .. } | JobKind::Scan { .. } => None,
            };
        }
        ListedJob {
            job,
            title,
            path,
            eta_seconds: left.map(|left| left.as_secs_f64().ceil() as u64),
        }
    }

    /// Puts a job that was given up or cancelled back into the queue.
    pub async fn retry_job(&self, scope: &WorkspaceScope, id: JobId) -> Result<()> {
        self.store()
            .jobs()
            .retry(scope, id, Timestamp::now())
            .await?;
        self.work_changed(scope);
        Ok(())
    }

    /// Puts everything that was given up, or that was cancelled, back into the queue. Returns how many
    /// jobs that was.
    pub async fn retry_jobs(&self, scope: &WorkspaceScope, over: Over) -> Result<u64> {
        let now = Timestamp::now();
        let retried = self.store().jobs().retry_all(scope, over, now).await?;
        self.work_changed(scope);
        Ok(retried)
    }

    /// Takes a job out of the queue, or stops it where it runs. The list shows it as cancelled when
    /// this returns; a reader at work on it is killed.
    pub async fn cancel_job(&self, scope: &WorkspaceScope, id: JobId) -> Result<()> {
        self.store()
            .jobs()
            .cancel(scope, id, Timestamp::now())
            .await?;
        self.reader().cancel(id).await;
        self.work_changed(scope);
        Ok(())
    }

    /// [`Engine::cancel_job`] of everything that is queued or running. Returns how many jobs that
    /// was. What was indexed before stays.
    pub async fn cancel_all_jobs(&self, scope: &WorkspaceScope) -> Result<u64> {
        let now = Timestamp::now();
        let cancelled = self.store().jobs().cancel_all(scope, now).await?;
        self.reader().stop_work(scope.workspace(), PATIENCE).await;
        self.work_changed(scope);
        Ok(cancelled)
    }

    /// Stops a workspace's background work until [`Engine::resume_work`], also across restarts.
    /// What was under way is put back and costs no attempt.
    pub async fn pause_work(&self, scope: &WorkspaceScope) -> Result<()> {
        let now = Timestamp::now();
        self.store().jobs().set_paused(scope, true, now).await?;
        self.reader().stop_work(scope.workspace(), PATIENCE).await;
        // The batch for another embedder is given up.
        drop(self.changes().interrupt().await);
        self.work_changed(scope);
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        Ok(())
    }

    pub async fn is_work_paused(&self, scope: &WorkspaceScope) -> Result<bool> {
        Ok(self.store().jobs().is_paused(scope).await?)
    }

    pub async fn resume_work(&self, scope: &WorkspaceScope) -> Result<()> {
        let now = Timestamp::now();
        self.store().jobs().set_paused(scope, false, now).await?;
        self.work_changed(scope);
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        Ok(())
    }

    fn work_changed(&self, scope: &WorkspaceScope) {
        self.ring();
        self.changed(Topic::Jobs, Some(scope.workspace()));
        self.changed(Topic::Documents, Some(scope.workspace()));
    }

    /// Batches that end from now on.
    pub fn subscribe_batches(&self) -> broadcast::Receiver<BatchReport> {
        self.events().subscribe_batches()
    }

    /// Tells of a batch's end when nothing of it is left to do.
    pub(crate) async fn end_batch(&self, scope: &WorkspaceScope) -> Result<Option<BatchReport>> {
        let now = Timestamp::now();
        let Some(ended) = self.store().jobs().end_batch(scope, now).await? else {
            return Ok(None);
        };
        let report = BatchReport {
            workspace_id: scope.workspace(),
            indexed: ended.indexed,
            failed: ended.failed,
            skipped: ended.skipped,
            took: ended.took,
        };
        self.events().batch_ended(report);
        self.changed(Topic::Jobs, Some(scope.workspace()));
        Ok(Some(report))
    }

    /// Looks for the end of a batch wherever something has changed: work ends by being done, but
    /// also by being cancelled or deleted.
    pub(crate) async fn follow_batches(self: std::sync::Arc<Self>) {
        let mut changes = self.subscribe();
        // What ended with the process before this one was told to nobody.
        let mut all = true;
        loop {
            let mut changed = std::collections::HashSet::new();
            if !all {
                let first = tokio::select! {
                    first = changes.recv() => first,
                    () = self.stopping().cancelled() => return,
                };
                match first {
                    Ok(change) => changed.extend(change.workspace_id),
                    Err(broadcast::error::RecvError::Lagged(_)) => all = true,
                    Err(broadcast::error::RecvError::Closed) => return,
                }
                self.pause(BATCH_LOOK).await;
                loop {
                    match changes.try_recv() {
                        Ok(change) => changed.extend(change.workspace_id),
                        Err(broadcast::error::TryRecvError::Lagged(_)) => all = true,
                        Err(_) => break,
                    }
                }
            }
            if std::mem::take(&mut all)
                && let Ok(workspaces) = self.store().workspaces().list().await
            {
                changed.extend(workspaces.into_iter().map(|workspace| workspace.id));
            }
            for workspace in changed {
                if self.stopping().is_cancelled() {
                    return;
                }
                if let Err(error) = self.end_batch(&WorkspaceScope::new(workspace)).await {
                    tracing::warn!(%error, "the end of a batch could not be recorded");
                }
            }
        }
    }
}
