//! Requests and results of the engine's use-cases, where the domain's own types do not suffice.

use std::path::PathBuf;
use std::time::Duration;

use crate::answer::evidence::Evidence;
use docent_domain::{
    ChatId, Citation, Document, DocumentCounts, DocumentId, DocumentStatus, Folder, FolderId,
    Format, Job, JobId, JobState, JobType, Language, MessageId, NearPassage, Problem, Span,
    Timings, Workspace, WorkspaceId,
};

use docent_store::JobCounts;
use serde::{Deserialize, Serialize};

/// A workspace with what a list of workspaces shows beside its name.
#[derive(Clone, Debug)]
pub struct WorkspaceSummary {
    pub workspace: Workspace,
    pub counts: DocumentCounts,
    /// Languages of its documents that can be searched, by their codes.
    pub languages: Vec<Language>,
}

/// A watched folder with what goes on about it now.
#[derive(Clone, Debug)]
pub struct FolderStatus {
    pub folder: Folder,
    pub scanning: bool,
    pub watch: Watch,
}

/// How changes in a folder are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The system tells of them.
    Events,
    /// By looking every 30 seconds, or less often where looking takes long.
    Polling { reason: String },
    /// Not at all: the folder is not there, or its watch does not stand yet.
    No,
}

/// What became of the paths that somebody dropped on a workspace.
#[derive(Clone, Debug, Default)]
pub struct AddedPaths {
    pub documents: Vec<DocumentId>,
    pub folders: Vec<FolderId>,
    pub skipped: Vec<SkippedPath>,
    /// Of folders that were to be read once: what lies below them and could not be read.
    pub unreadable: Vec<SkippedPath>,
}

/// What becomes of folders among added paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddedFolders {
    /// They are watched from now on.
    #[default]
    Watch,
    /// The files that are below them now are added, as if each had been named.
    Once,
}

#[derive(Clone, Debug)]
pub struct SkippedPath {
    pub path: PathBuf,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Uploaded {
    pub document_id: DocumentId,
    pub job_id: Option<JobId>,
}

#[derive(Clone, Debug, Default)]
pub struct DocumentQuery {
    pub status: Option<DocumentStatus>,
    pub problem: Option<Problem>,
    /// Words that the title or the path must contain.
    pub text: Option<String>,
    pub folder: Option<FolderId>,
    pub sort: DocumentSort,
    /// From the page before.
    pub cursor: Option<String>,
    /// At most 500; 0 means 100.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DocumentSort {
    #[default]
    Name,
    Updated,
    Status,
}

#[derive(Clone, Debug)]
pub struct DocumentPage {
    pub items: Vec<Document>,
    pub next_cursor: Option<String>,
    pub counts: DocumentCounts,
}

/// Which jobs a list shows.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub state: Option<JobState>,
    pub kind: Option<JobType>,
    /// From the page before.
    pub cursor: Option<String>,
    /// At most 500; 0 means 100.
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct JobPage {
    pub items: Vec<ListedJob>,
    pub next_cursor: Option<String>,
    /// Of the whole workspace, whatever was asked for.
    pub counts: JobCounts,
    pub progress: WorkProgress,
}

/// A job with what people know its object by.
#[derive(Clone, Debug)]
pub struct ListedJob {
    /// With the progress of this moment while it runs.
    pub job: Job,
    /// The document's; a folder has none.
    pub title: Option<String>,
    /// The document's or the folder's.
    pub path: String,
    /// Until this job is done; `None` while it waits, or nothing can be said.
    pub eta_seconds: Option<u64>,
}

/// How far a workspace's background work is. It is counted by batches: a batch lasts from the first
/// job that meets an empty queue until the queue is empty again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkProgress {
    /// Read, and as searchable as they become, or given up.
    pub files_done: u64,
    /// At least read: searchable by their words, or done.
    pub files_read: u64,
    /// 0 while there is nothing to do.
    pub files_total: u64,
    /// Of those that are done.
    pub files_failed: u64,
    pub chunks_done: u64,
    /// Of the files that have been read; it grows as more are.
    pub chunks_total: u64,
    /// Until all is done, at the rate of recent work. `None` while there is no rate yet.
    pub eta_seconds: Option<u64>,
    pub paused: bool,
}

/// A batch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchReport {
    pub workspace_id: WorkspaceId,
    pub indexed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// From its first job to its last, by the clock.
    pub took: Duration,
}

/// The extracted text of a document, as the citation panel shows it.
#[derive(Clone, Debug)]
pub struct DocumentText {
    pub title: String,
    pub format: Option<Format>,
    pub text: String,
    pub blocks: Vec<TextBlock>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TextBlock {
    pub kind: BlockKind,
    /// 1 to 6 for headings, else 0.
    pub level: u8,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    Heading,
    Paragraph,
    ListItem,
    Code,
    TableRow,
    Quote,
}

/// A document's file on this machine, for sending it to a viewer.
#[derive(Clone, Debug)]
pub struct DocumentFile {
    pub path: PathBuf,
    pub name: String,
    pub media_type: &'static str,
    pub size_bytes: u64,
}

/// A question.
#[derive(Clone, Debug)]
pub struct QueryRequest {
    pub text: String,
    /// `None` detects it.
    pub language: Option<Language>,
    /// How many passages the answer may stand on.
    pub max_results: usize,
    /// Continues this chat; `None` begins a new one.
    pub chat: Option<ChatId>,
}

/// What happens while a question is answered, in this order: one `Started`, one to three
/// `Retrieved`, any number of `Token`, at most one `Revised`, then `Done`. Failures end the
/// stream as the error of [`crate::Engine::query`].
#[derive(Clone, Debug)]
pub enum QueryEvent {
    Started {
        query_id: MessageId,
        chat_id: ChatId,
        user_message_id: MessageId,
        message_id: MessageId,
        language_detected: Language,
    },
    Retrieved {
        passages: Vec<Citation>,
        stage: RetrievalStage,
    },
    Token {
        text: String,
    },
    /// Replaces all the text sent so far: citations were put right, or the answer quotes instead.
    Revised {
        text: String,
    },
    Done(Box<QueryOutcome>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetrievalStage {
    /// What the bare question found.
    First,
    /// What the widened question found.
    Expanded,
    /// What stands in the prompt, under its numbers there.
    Prompt,
}

#[derive(Clone, Debug)]
pub struct QueryOutcome {
    pub query_id: MessageId,
    pub chat_id: ChatId,
    pub message_id: MessageId,
    pub answer: String,
    pub confidence: f32,
    pub sources: Vec<String>,
    pub language_detected: Language,
    pub citations: Vec<Citation>,
    pub refused: bool,
    pub nearest: Vec<NearPassage>,
    /// The user stopped it; `answer` is what there was.
    pub interrupted: bool,
    pub timings: Timings,
}

#[derive(Clone, Debug)]
pub struct SearchRequest {
    pub text: String,
    pub k: usize,
    /// Let the local model widen the question first, as it does for an answer.
    pub expand: bool,
    pub language: Option<Language>,
    pub legs: Legs,
}

/// What a search goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legs {
    /// Meaning, words, and learned sparse weights where the embedder gives them.
    #[default]
    Hybrid,
    /// Cosine alone: the baseline that the others are measured against.
    Dense,
}

#[derive(Clone, Debug)]
pub struct SearchResponse {
    pub language_detected: Language,
    pub expansion: Option<Expansion>,
    pub hits: Vec<SearchHit>,
    /// Signs for and against the documents answering the question.
    pub evidence: Evidence,
    /// What they add up to, 0 to 1.
    pub confidence: f32,
    /// Time from the question's embedding to the hits.
    pub retrieval_ms: f64,
    /// Time for the embedding itself.
    pub embed_ms: f64,
}

/// The question as the local model widened it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// In the workspace's other language.
    pub translation: Option<String>,
    /// A passage such as the answer might stand in.
    pub hypothetical: Option<String>,
}

#[derive(Clone, Debug)]
pub struct SearchHit {
    pub citation: Citation,
    pub dense_score: f32,
    pub word_score: f32,
}

/// Something changed; whoever shows it should ask again. Coalesced, so it names no details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Change {
    pub topic: Topic,
    pub workspace_id: Option<WorkspaceId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    Workspaces,
    Folders,
    Documents,
    Jobs,
    Chats,
    Models,
    Health,
}

#[derive(Clone, Debug, Serialize)]
pub struct Health {
    pub status: HealthStatus,
    pub version: &'static str,
    pub models_loaded: bool,
    pub vector_db_connected: bool,
    pub components: Vec<ComponentHealth>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Healthy,
    Degraded,
    Unhealthy,
}

#[derive(Clone, Debug, Serialize)]
pub struct ComponentHealth {
    pub name: &'static str,
    pub status: HealthStatus,
    pub message: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    /// Both models are there, so questions can be answered.
    pub ready: bool,
    pub generator: ModelStatus,
    pub embedder: ModelStatus,
    pub data_dir: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelStatus {
    pub model: String,
    pub state: ModelState,
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    Missing,
    /// Here, and loaded when it is next asked.
    Idle,
    /// Being fetched, or being read into memory.
    Loading,
    /// In memory.
    Ready,
    /// Its files are damaged, or it could not be loaded; the next request tries again.
    Failed,
}

/// A model of the catalog, with what is on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    pub id: String,
    pub role: String,
    pub name: String,
    pub size_bytes: u64,
    pub memory_bytes: u64,
    pub licence: String,
    pub installed: Installed,
    pub active: bool,
    /// Whether this machine has the memory for it.
    pub fits: bool,
    pub progress: Option<docent_domain::Progress>,
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Installed {
    Missing,
    Partial,
    Verified,
    Damaged,
}

/// What `docent doctor` found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DoctorReport {
    pub workspaces: u64,
    pub documents: u64,
    pub chunks: u64,
    pub findings: Vec<DoctorFinding>,
    /// What could not be looked at, and why.
    pub unchecked: Vec<String>,
    /// Where text that was removed is still to be wiped from, which happens while Docent runs.
    pub to_wipe: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DoctorFinding {
    pub workspace: Option<String>,
    pub problem: String,
    /// With `--repair`: what was done about it.
    pub repaired: Option<String>,
}
