//! Watched folders.

use serde::{Deserialize, Serialize};

use crate::{FolderId, Timestamp, WorkspaceId};

/// A folder on this machine that a workspace mirrors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    pub id: FolderId,
    pub workspace_id: WorkspaceId,
    /// Absolute path.
    pub path: String,
    pub state: FolderState,
    /// Why the folder is paused or incomplete, in words for the user.
    pub reason: Option<String>,
    pub last_scan_at: Option<Timestamp>,
    /// What the last scan saw.
    pub last_scan: Option<ScanSummary>,
    pub patterns: FolderPatterns,
    pub created_at: Timestamp,
}

/// Which files of a folder are mirrored: patterns in gitignore's syntax, relative to the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FolderPatterns {
    /// When there are any, only files that they match, or that lie in a folder that they match.
    pub include: Vec<String>,
    /// Left out whatever `include` says. Folders that match are not walked into.
    pub exclude: Vec<String>,
}

/// What a scan saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// Files that are mirrored.
    pub files: u64,
    /// Files and folders left out by exclude patterns; what lies in such a folder is not counted.
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
    pub took_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderState {
    Watching,
    /// The last scan could not read everything; nothing is deleted until one can.
    Incomplete,
    /// The root is missing, or more than half of it vanished at once: nothing is deleted until the
    /// user says so.
    Paused,
}
