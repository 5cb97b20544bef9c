//! Notices that something changed.

use docent_engine as engine;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

mirrored! {
    Topic mirrors engine::Topic {
        Workspaces = "workspaces",
        Folders = "folders",
        Documents = "documents",
        Jobs = "jobs",
        Chats = "chats",
        Models = "models",
        Health = "health",
    }
}

/// Data of the event `change`: whoever shows the topic should ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangeEvent {
    pub topic: Topic,
    /// `null` when it concerns all of them.
    #[schema(required)]
    pub workspace_id: Option<Uuid>,
}

impl From<engine::Change> for ChangeEvent {
    fn from(change: engine::Change) -> Self {
        Self {
            topic: change.topic.into(),
            workspace_id: change.workspace_id.map(|id| *id.as_uuid()),
        }
    }
}

/// Data of the event `batch`: all that was waiting in a workspace is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BatchEvent {
    pub workspace_id: Uuid,
    pub indexed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub took_ms: u64,
}

impl From<engine::BatchReport> for BatchEvent {
    fn from(report: engine::BatchReport) -> Self {
        Self {
            workspace_id: *report.workspace_id.as_uuid(),
            indexed: report.indexed,
            failed: report.failed,
            skipped: report.skipped,
            took_ms: report.took.as_millis() as u64,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventParameters {
    /// Only this workspace's changes, by name or id, and those of no workspace.
    pub workspace: Option<String>,
}
