//! Workspaces and their watched folders.

use docent_domain as domain;
use docent_engine::{FolderStatus, Watch, WorkspaceSummary};
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
    /// Why the folder is paused or incomplete, or what in it cannot be a document; for people.
    #[schema(required)]
    pub reason: Option<String>,
    /// Whether it is being compared with the disk at this moment.
    pub scanning: bool,
    pub watched_by: WatchedBy,
    /// Why it is polled, for people.
    #[schema(required)]
    pub polling_reason: Option<String>,
    #[schema(required)]
    pub last_scan_at: Option<i64>,
    /// What the last scan saw.
    #[schema(required)]
    pub last_scan: Option<ScanSummary>,
    pub patterns: FolderPatterns,
    pub created_at: i64,
}

/// How changes in a folder are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchedBy {
    /// The system tells of them.
    Events,
    /// By looking every 30 seconds, or less often where looking takes long.
    Polling,
    /// Not at all: the folder is not there, or its watch does not stand yet.
    None,
}

/// What a scan saw: files that are mirrored, and what was left out on purpose. What lies in a folder
/// that was left out is not counted.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ScanSummary {
    pub files: u64,
    /// Files and folders that an exclude pattern matches.
    pub excluded: u64,
    /// Files that no include pattern matches.
    pub not_included: u64,
    /// Hidden files and folders, version control and installed packages.
    pub hidden: u64,
    /// Files that programs put beside the real ones while they work.
    pub temporary: u64,
    /// Pipes, devices and names that are not Unicode.
    pub special: u64,
    /// Files that the user has removed from the workspace.
    pub removed: u64,
    /// Milliseconds.
    pub took_ms: u64,
}

impl From<domain::ScanSummary> for ScanSummary {
    fn from(summary: domain::ScanSummary) -> Self {
        let domain::ScanSummary {
            files,
            excluded,
            not_included,
            hidden,
            temporary,
            special,
            removed,
            took_ms,
        } = summary;
        Self {
            files,
            excluded,
            not_included,
            hidden,
            temporary,
            special,
            removed,
            took_ms,
        }
    }
}

/// Which files of a folder are mirrored: patterns as in a `.gitignore` file, relative to the folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderPatterns {
    /// When there are any, only files that they match, or that lie in a folder that they match.
    #[serde(default)]
    #[schema(required)]
    pub include: Vec<String>,
    /// Left out whatever `include` says. Folders that match are not walked into.
    #[serde(default)]
    #[schema(required)]
    pub exclude: Vec<String>,
}

impl From<domain::FolderPatterns> for FolderPatterns {
    fn from(patterns: domain::FolderPatterns) -> Self {
        let domain::FolderPatterns { include, exclude } = patterns;
        Self { include, exclude }
    }
}

impl From<FolderPatterns> for domain::FolderPatterns {
    fn from(patterns: FolderPatterns) -> Self {
        let FolderPatterns { include, exclude } = patterns;
        Self { include, exclude }
    }
}

impl From<FolderStatus> for Folder {
    fn from(status: FolderStatus) -> Self {
        let FolderStatus {
            folder,
            scanning,
            watch,
        } = status;
        let (watched_by, polling_reason) = match watch {
            Watch::Events => (WatchedBy::Events, None),
            Watch::Polling { reason } => (WatchedBy::Polling, Some(reason)),
            Watch::No => (WatchedBy::None, None),
        };
        Self {
            scanning,
            watched_by,
            polling_reason,
            last_scan: folder.last_scan.map(ScanSummary::from),
            patterns: folder.patterns.into(),
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
    /// When absent, all files; a folder that is watched already keeps what it has.
    #[serde(default)]
    pub patterns: Option<FolderPatterns>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderPatch {
    /// Replaces the folder's patterns as a whole.
    pub patterns: FolderPatterns,
}
