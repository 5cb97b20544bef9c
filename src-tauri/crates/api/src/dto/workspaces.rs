//! Workspaces and their watched folders.

use docent_domain as domain;
use docent_engine::WorkspaceSummary;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DocumentCounts, Language, all};

mirrored! {
    WorkspaceStatus mirrors domain::WorkspaceStatus { Active = "active", Suspended = "suspended" }
}
mirrored! {
    Plan mirrors domain::Plan { Local = "local", Free = "free", Pro = "pro" }
}
mirrored! {
    FolderState mirrors domain::FolderState {
        Watching = "watching",
        Incomplete = "incomplete",
        Paused = "paused",
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Workspace {
    pub id: Uuid,
    pub name: String,
    pub status: WorkspaceStatus,
    pub plan: Plan,
    /// Catalog id of the model whose vectors it holds.
    pub embedder: String,
    /// Milliseconds since 1970, as all times.
    pub created_at: i64,
    pub updated_at: i64,
    pub counts: DocumentCounts,
    /// Of its documents, the most frequent first.
    pub languages: Vec<Language>,
}

impl From<WorkspaceSummary> for Workspace {
    fn from(summary: WorkspaceSummary) -> Self {
        let WorkspaceSummary {
            workspace,
            counts,
            languages,
        } = summary;
        Self {
            id: *workspace.id.as_uuid(),
            name: workspace.name.into(),
            status: workspace.status.into(),
            plan: workspace.plan.into(),
            embedder: workspace.embedder,
            created_at: workspace.created_at.0,
            updated_at: workspace.updated_at.0,
            counts: counts.into(),
            languages: all(languages),
        }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// 1 to 80 characters, unique without regard to case.
    pub name: String,
    /// Catalog id; the configured one when absent.
    #[serde(default)]
    pub embedder: Option<String>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspacePatch {
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Folder {
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// Absolute path.
    pub path: String,
    pub state: FolderState,
    /// Why the folder is paused or incomplete, for people.
    #[schema(required)]
    pub reason: Option<String>,
    #[schema(required)]
    pub last_scan_at: Option<i64>,
    pub created_at: i64,
}

impl From<domain::Folder> for Folder {
    fn from(folder: domain::Folder) -> Self {
        Self {
            id: *folder.id.as_uuid(),
            workspace_id: *folder.workspace_id.as_uuid(),
            path: folder.path,
            state: folder.state.into(),
            reason: folder.reason,
            last_scan_at: folder.last_scan_at.map(|time| time.0),
            created_at: folder.created_at.0,
        }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFolder {
    /// Absolute path of a folder on the machine that Docent runs on.
    pub path: String,
}
