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
    pub created_at: Timestamp,
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
