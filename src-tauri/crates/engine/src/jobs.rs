//! The job list.

use docent_domain::{JobId, JobState, Timestamp, WorkspaceScope};
use docent_store::JobQuery;

use crate::engine::Engine;
use crate::error::Result;
use crate::types::{JobPage, Topic};

/// Jobs shown at once; the counts say how many more there are.
const LISTED: u32 = 500;

impl Engine {
    /// The newest jobs, of one state or of all.
    pub async fn jobs(&self, scope: &WorkspaceScope, state: Option<JobState>) -> Result<JobPage> {
        let query = JobQuery {
            states: state.into_iter().collect(),
            limit: LISTED,
            ..JobQuery::default()
        };
        let items = self.store().jobs().list(scope, &query).await?;
        let counts = self.store().jobs().counts(scope).await?;
        Ok(JobPage {
            items,
            queued: counts.queued,
            running: counts.running,
            dead: counts.dead,
        })
    }

    /// Puts a job that was given up or cancelled back into the queue.
    pub async fn retry_job(&self, scope: &WorkspaceScope, id: JobId) -> Result<()> {
        self.store()
            .jobs()
            .retry(scope, id, Timestamp::now())
            .await?;
        self.ring();
        self.changed(Topic::Jobs, Some(scope.workspace()));
        Ok(())
    }

    /// Takes a job out of the queue, or stops it where it runs.
    pub async fn cancel_job(&self, scope: &WorkspaceScope, id: JobId) -> Result<()> {
        self.store()
            .jobs()
            .cancel(scope, id, Timestamp::now())
            .await?;
        self.reader().cancel(id);
        self.changed(Topic::Jobs, Some(scope.workspace()));
        Ok(())
    }
}
