//! Ids, entities and rules of Docent: what a workspace, a document, a chunk, a job and a chat are.
//!
//! Plain data and pure functions. There is no I/O, no async and no SQL here, so every other crate
//! may depend on this one. Positions in a document are [`Span`]s of Unicode scalar values
//! ("characters") in its extracted text; conversion to bytes or UTF-16 happens at the edges.

pub mod chat;
pub mod document;
pub mod folder;
pub mod ids;
pub mod job;
pub mod language;
pub mod place;
pub mod position;
pub mod problem;
pub mod tenancy;
pub mod time;
pub mod workspace;

pub use chat::{
    Answer, AskedAs, Chat, Citation, Message, MessageStatus, NearPassage, Role, TITLE_SEPARATOR,
    Timings, Visibility,
};
pub use document::{
    Chunk, ContentHash, Document, DocumentCounts, DocumentStatus, Format, NewChunk, Origin,
};
pub use folder::{Folder, FolderPatterns, FolderState, ScanSummary};
pub use ids::{
    ChatId, ChunkKey, DocumentId, FolderId, JobId, MessageId, PermissionId, UserId, WorkspaceId,
};
pub use job::{Job, JobKind, JobState, JobType, Progress, Stage};
pub use language::Language;
pub use place::{ATTACHMENT_HEADING, Place, SHEET_HEADING};
pub use position::{PageBox, Span};
pub use problem::{Problem, ProblemCount};
pub use tenancy::{AccessLevel, ChatPermission, FeatureFlag, Limit, Plan, User, UserRole};
pub use time::Timestamp;
pub use workspace::{Workspace, WorkspaceName, WorkspaceScope, WorkspaceStatus};
