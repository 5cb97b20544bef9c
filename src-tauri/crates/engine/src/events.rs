//! What changed, for whoever shows it.

use docent_domain::WorkspaceId;
use tokio::sync::broadcast;

use crate::types::{Change, Topic};

/// A slow subscriber loses the oldest changes beyond this many and is told so; it then asks for
/// everything again, so the number only trades memory for that.
const CHANGES_KEPT: usize = 1024;

/// Broadcasts changes to every subscriber. Sending without subscribers is free.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Change>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(CHANGES_KEPT).0,
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.sender.subscribe()
    }

    pub(crate) fn changed(&self, topic: Topic, workspace_id: Option<WorkspaceId>) {
        // An error only says that nobody listens.
        let _ = self.sender.send(Change {
            topic,
            workspace_id,
        });
    }
}
