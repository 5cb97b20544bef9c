//! What changed, for whoever shows it.

use docent_domain::WorkspaceId;
use tokio::sync::broadcast;

use crate::types::{BatchReport, Change, Topic};

/// A slow subscriber loses the oldest changes beyond this many and is told so; it then asks for
/// everything again, so the number only trades memory for that.
const CHANGES_KEPT: usize = 1024;

/// Batches end seldom.
const BATCHES_KEPT: usize = 16;

/// Broadcasts changes to every subscriber. Sending without subscribers is free.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    changes: broadcast::Sender<Change>,
    batches: broadcast::Sender<BatchReport>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            changes: broadcast::channel(CHANGES_KEPT).0,
            batches: broadcast::channel(BATCHES_KEPT).0,
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn changed(&self, topic: Topic, workspace_id: Option<WorkspaceId>) {
        // An error only says that nobody listens.
        let _ = self.changes.send(Change {
            topic,
            workspace_id,
        });
    }

    pub(crate) fn subscribe_batches(&self) -> broadcast::Receiver<BatchReport> {
        self.batches.subscribe()
    }

    pub(crate) fn batch_ended(&self, report: BatchReport) {
        let _ = self.batches.send(report);
    }
}
