//! The wire types. Field names are part of the contract with the window and with scripts.
//!
//! An absent value in a response is always `null`, never a missing field.

#[macro_use]
mod mirror;

mod chats;
mod documents;
mod embedder;
mod events;
mod models;
mod query;
mod workspaces;

pub use chats::{Answer, Chat, ChatPatch, Message, MessageStatus, NewChat, Role, Visibility};
pub use documents::{
    BlockKind, Chunk, Document, DocumentCounts, DocumentList, DocumentListParameters, DocumentSort,
    DocumentStatus, DocumentText, ExportFormat, ExportParameters, Format, Import, Imported, Job,
    JobCounts, JobKind, JobList, JobListParameters, JobState, JobsChanged, Language, Origin,
    PageBox, Problem, ProblemCount, Progress, RetryParameters, SkippedPath, Span, Stage, TextBlock,
    UploadParameters, UploadReceipt, UploadedDocument, Uploads, UploadsForm, WorkProgress,
};
pub use embedder::{
    ChangeState, EmbedderChange, EmbedderPlan, EmbedderPlanParameters, EmbedderStatus,
    LongPassages, NewEmbedder, PreviousVectors,
};
pub use events::{BatchEvent, ChangeEvent, EventParameters, Topic};
pub use models::{
    ComponentHealth, Health, HealthStatus, Installed, ModelInfo, ModelState, ModelStatus, Status,
};
pub use query::{
    Citation, Expansion, LanguageChoice, Place, QueryRequest, QueryResponse, QueryRetrieved,
    QueryRevised, QueryStarted, QueryToken, RetrievalStage, SearchHit, SearchParameters,
    SearchResponse, Timings,
};
pub use workspaces::{
    Folder, FolderPatch, FolderPatterns, FolderState, NewFolder, NewWorkspace, Plan, ScanSummary,
    WatchedBy, Workspace, WorkspacePatch, WorkspaceStatus,
};

pub(crate) fn all<T, U: From<T>>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(U::from).collect()
}
