//! Durable background jobs.

use serde::{Deserialize, Serialize};

use crate::{DocumentId, FolderId, JobId, Timestamp, WorkspaceId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub workspace_id: WorkspaceId,
    pub kind: JobKind,
    pub state: JobState,
    /// Higher first.
    pub priority: i32,
    pub stage: Option<Stage>,
    pub progress: Progress,
    pub attempts: u32,
    pub max_attempts: u32,
    /// Not to be claimed before this instant.
    pub run_after: Timestamp,
    /// Why the last attempt failed, or why the job was given up.
    pub reason: Option<String>,
    /// Grows with every claim; a result that carries an older one is refused.
    pub fence: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a job does, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobKind {
    /// Read a document, chunk it and make its words searchable.
    Read { document: DocumentId },
    /// Make the vectors of a document's chunks.
    Embed { document: DocumentId },
    /// Compare a watched folder with the disk.
    Scan { folder: FolderId },
}

/// What a job does, without to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobType {
    Read,
    Embed,
    Scan,
}

impl JobType {
    pub const ALL: [Self; 3] = [Self::Read, Self::Embed, Self::Scan];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Embed => "embed",
            Self::Scan => "scan",
        }
    }
}

impl From<JobKind> for JobType {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Read { .. } => Self::Read,
            JobKind::Embed { .. } => Self::Embed,
            JobKind::Scan { .. } => Self::Scan,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Done,
    /// Given up after `max_attempts`, or at once when trying again cannot help.
    Dead,
    Cancelled,
}

impl JobState {
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Scanning,
    Extracting,
    Chunking,
    IndexingWords,
    Embedding,
}

impl Stage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scanning => "scanning",
            Self::Extracting => "extracting",
            Self::Chunking => "chunking",
            Self::IndexingWords => "indexing_words",
            Self::Embedding => "embedding",
        }
    }
}

/// Units are the stage's own: pages, chunks or files. `total` is 0 while unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
}
