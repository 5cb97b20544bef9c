//! Documents, their text and chunks, uploads, and the jobs that work on them.

use docent_domain as domain;
use docent_engine as engine;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::all;

mirrored! {
    /// `und` is another language, or too little text to tell.
    Language mirrors domain::Language { Croatian = "hr", English = "en", Undetermined = "und" }
}
mirrored! {
    Origin mirrors domain::Origin { Folder = "folder", File = "file", Upload = "upload" }
}
mirrored! {
    DocumentStatus mirrors domain::DocumentStatus {
        Queued = "queued",
        Reading = "reading",
        Words = "words",
        Ready = "ready",
        Failed = "failed",
        Skipped = "skipped",
    }
}
mirrored! {
    /// What keeps a document, or a part of it, from being found.
    Problem mirrors domain::Problem {
        Scanned = "scanned",
        PartlyScanned = "partly_scanned",
        Empty = "empty",
        Garbled = "garbled",
        Encoding = "encoding",
        Protected = "protected",
        Damaged = "damaged",
        Incomplete = "incomplete",
        TooBig = "too_big",
        Unsupported = "unsupported",
        Unreachable = "unreachable",
        ReaderFailed = "reader_failed",
        Cancelled = "cancelled",
        Other = "other",
    }
}
mirrored! {
    Format mirrors domain::Format {
        Text = "text",
        Markdown = "markdown",
        Html = "html",
        Pdf = "pdf",
        Docx = "docx",
        Xlsx = "xlsx",
        Ods = "ods",
        Csv = "csv",
        Email = "email",
        Pptx = "pptx",
        Odt = "odt",
        Epub = "epub",
        Rst = "rst",
        Json = "json",
        Code = "code",
        Xls = "xls",
        Picture = "picture",
    }
}
mirrored! {
    BlockKind mirrors engine::BlockKind {
        Heading = "heading",
        Paragraph = "paragraph",
        ListItem = "list_item",
        Code = "code",
        TableRow = "table_row",
        Quote = "quote",
    }
}
mirrored! {
    DocumentSort mirrors engine::DocumentSort {
        Name = "name",
        Updated = "updated",
        Status = "status",
    }
}
mirrored! {
    JobState mirrors domain::JobState {
        Queued = "queued",
        Running = "running",
        Done = "done",
        Dead = "dead",
        Cancelled = "cancelled",
    }
}
mirrored! {
    Stage mirrors domain::Stage {
        Scanning = "scanning",
        Extracting = "extracting",
        Chunking = "chunking",
        IndexingWords = "indexing_words",
        Embedding = "embedding",
    }
}

/// A half-open range of Unicode scalar values ("characters") in a document's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl From<domain::Span> for Span {
    fn from(span: domain::Span) -> Self {
        Self {
            start: span.start,
            end: span.end,
        }
    }
}

/// A rectangle in fractions of its page's width and height, origin at the top left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct PageBox {
    /// From 1.
    pub page: u32,
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl From<domain::PageBox> for PageBox {
    fn from(page_box: domain::PageBox) -> Self {
        let domain::PageBox {
            page,
            left,
            top,
            right,
            bottom,
        } = page_box;
        Self {
            page,
            left,
            top,
            right,
            bottom,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Document {
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// The watched folder it belongs to.
    #[schema(required)]
    pub folder_id: Option<Uuid>,
    pub origin: Origin,
    /// Absolute path; for uploads the name.
    pub path: String,
    pub title: String,
    #[schema(required)]
    pub format: Option<Format>,
    pub size_bytes: u64,
    #[schema(required)]
    pub modified_at: Option<i64>,
    /// BLAKE3 of the content that is indexed now, in hexadecimal.
    #[schema(required)]
    pub content_hash: Option<String>,
    pub status: DocumentStatus,
    /// Why it failed or was skipped, or a warning about a readable one, for people.
    #[schema(required)]
    pub reason: Option<String>,
    /// What kind of trouble `reason` tells of.
    #[schema(required)]
    pub problem: Option<Problem>,
    #[schema(required)]
    pub language: Option<Language>,
    #[schema(required)]
    pub page_count: Option<u32>,
    pub chunk_count: u32,
    pub embedded_count: u32,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<domain::Document> for Document {
    fn from(document: domain::Document) -> Self {
        Self {
            id: *document.id.as_uuid(),
            workspace_id: *document.workspace_id.as_uuid(),
            folder_id: document.folder_id.map(|id| *id.as_uuid()),
            origin: document.origin.into(),
            path: document.path,
            title: document.title,
            format: document.format.map(Format::from),
            size_bytes: document.size_bytes,
            modified_at: document.modified_at.map(|time| time.0),
            content_hash: document.content_hash.map(|hash| hash.0),
            status: document.status.into(),
            reason: document.reason,
            problem: document.problem.map(Problem::from),
            language: document.language.map(Language::from),
            page_count: document.page_count,
            chunk_count: document.chunk_count,
            embedded_count: document.embedded_count,
            created_at: document.created_at.0,
            updated_at: document.updated_at.0,
        }
    }
}

/// How many documents are in each status, and how many chunks they make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DocumentCounts {
    pub queued: u64,
    pub reading: u64,
    pub words: u64,
    pub ready: u64,
    pub failed: u64,
    pub skipped: u64,
    pub chunks: u64,
    pub embedded_chunks: u64,
}

impl From<domain::DocumentCounts> for DocumentCounts {
    fn from(counts: domain::DocumentCounts) -> Self {
        let domain::DocumentCounts {
            queued,
            reading,
            words,
            ready,
            failed,
            skipped,
            chunks,
            embedded_chunks,
        } = counts;
        Self {
            queued,
            reading,
            words,
            ready,
            failed,
            skipped,
            chunks,
            embedded_chunks,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DocumentListParameters {
    #[param(inline)]
    pub status: Option<DocumentStatus>,
    /// Only documents with this problem.
    #[param(inline)]
    pub problem: Option<Problem>,
    /// Words that the title or the path contains.
    pub query: Option<String>,
    /// Only documents of this watched folder.
    pub folder: Option<Uuid>,
    #[param(inline)]
    pub sort: Option<DocumentSort>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// At most 500; 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DocumentList {
    pub items: Vec<Document>,
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Of the whole workspace, whatever was asked for.
    pub counts: DocumentCounts,
}

impl From<engine::DocumentPage> for DocumentList {
    fn from(page: engine::DocumentPage) -> Self {
        Self {
            items: all(page.items),
            next_cursor: page.next_cursor,
            counts: page.counts.into(),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ProblemCount {
    pub problem: Problem,
    pub documents: u64,
    /// Those of them of which something is searchable all the same.
    pub searchable: u64,
}

impl From<domain::ProblemCount> for ProblemCount {
    fn from(count: domain::ProblemCount) -> Self {
        let domain::ProblemCount {
            problem,
            documents,
            searchable,
        } = count;
        Self {
            problem: problem.into(),
            documents,
            searchable,
        }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Absolute paths of files and folders on the machine that Docent runs on.
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Imported {
    /// Documents that were added.
    pub documents: Vec<Uuid>,
    /// Folders that are watched from now on.
    pub folders: Vec<Uuid>,
    pub skipped: Vec<SkippedPath>,
}

impl From<engine::AddedPaths> for Imported {
    fn from(added: engine::AddedPaths) -> Self {
        Self {
            documents: added.documents.iter().map(|id| *id.as_uuid()).collect(),
            folders: added.folders.iter().map(|id| *id.as_uuid()).collect(),
            skipped: all(added.skipped),
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkippedPath {
    pub path: String,
    pub reason: String,
}

impl From<engine::SkippedPath> for SkippedPath {
    fn from(skipped: engine::SkippedPath) -> Self {
        Self {
            path: skipped.path.to_string_lossy().into_owned(),
            reason: skipped.reason,
        }
    }
}

/// A form with any number of `file` fields.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the form; the handler reads it as a stream"
)]
pub struct UploadsForm {
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Uploads {
    pub documents: Vec<UploadedDocument>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UploadedDocument {
    pub name: String,
    pub document_id: Uuid,
    /// The job that reads it; `null` when the same content is there already.
    #[schema(required)]
    pub job_id: Option<Uuid>,
}

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadParameters {
    /// Name or id; see `QueryRequest.workspace`.
    pub workspace: Option<String>,
    /// Accepted for programs that send it; on one's own machine there is one user.
    #[serde(rename = "user_id")]
    #[param(rename = "user_id")]
    pub user: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UploadReceipt {
    /// Always `success`.
    pub status: &'static str,
    pub document_id: Uuid,
    #[schema(required)]
    pub job_id: Option<Uuid>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DocumentText {
    pub title: String,
    #[schema(required)]
    pub format: Option<Format>,
    /// The extracted text, which all spans count in.
    pub text: String,
    pub blocks: Vec<TextBlock>,
}

impl From<engine::DocumentText> for DocumentText {
    fn from(text: engine::DocumentText) -> Self {
        Self {
            title: text.title,
            format: text.format.map(Format::from),
            text: text.text,
            blocks: all(text.blocks),
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextBlock {
    pub kind: BlockKind,
    /// 1 to 6 for headings, else 0.
    pub level: u8,
    pub start: u32,
    pub end: u32,
}

impl From<engine::TextBlock> for TextBlock {
    fn from(block: engine::TextBlock) -> Self {
        Self {
            kind: block.kind.into(),
            level: block.level,
            start: block.span.start,
            end: block.span.end,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chunk {
    pub key: u32,
    pub document_id: Uuid,
    /// Position among the document's chunks, from 0.
    pub ordinal: u32,
    pub span: Span,
    pub text: String,
    /// Headings above it, outermost first.
    pub heading_path: Vec<String>,
    /// First page, from 1.
    #[schema(required)]
    pub page: Option<u32>,
    pub boxes: Vec<PageBox>,
    pub token_count: u32,
}

impl From<domain::Chunk> for Chunk {
    fn from(chunk: domain::Chunk) -> Self {
        Self {
            key: chunk.key.0,
            document_id: *chunk.document_id.as_uuid(),
            ordinal: chunk.ordinal,
            span: chunk.content.span.into(),
            text: chunk.content.text,
            heading_path: chunk.content.heading_path,
            page: chunk.content.page,
            boxes: all(chunk.content.boxes),
            token_count: chunk.content.token_count,
        }
    }
}

mirrored! {
    /// `read`: read a document, chunk it and make its words searchable. `embed`: make the vectors of
    /// a document's chunks. `scan`: compare a watched folder with the disk.
    JobKind mirrors domain::JobType { Read = "read", Embed = "embed", Scan = "scan" }
}

/// Units are the stage's own: pages, chunks, files or bytes. `total` is `null` while unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Progress {
    pub done: u64,
    #[schema(required)]
    pub total: Option<u64>,
}

impl From<domain::Progress> for Progress {
    fn from(progress: domain::Progress) -> Self {
        Self {
            done: progress.done,
            total: (progress.total > 0).then_some(progress.total),
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Job {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub kind: JobKind,
    /// What is read or embedded.
    #[schema(required)]
    pub document_id: Option<Uuid>,
    /// What is scanned.
    #[schema(required)]
    pub folder_id: Option<Uuid>,
    /// The document's; `null` for a folder.
    #[schema(required)]
    pub title: Option<String>,
    /// The document's or the folder's; for uploads the name.
    pub path: String,
    pub state: JobState,
    #[schema(required)]
    pub stage: Option<Stage>,
    pub progress: Progress,
    /// Until this job is done; `null` while it waits, or nothing can be said yet.
    #[schema(required)]
    pub eta_seconds: Option<u64>,
    /// Higher first.
    pub priority: i32,
    pub attempts: u32,
    pub max_attempts: u32,
    /// Not tried again before this time.
    pub run_after: i64,
    /// Why the last attempt failed, or why the job was given up, for people.
    #[schema(required)]
    pub reason: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<engine::ListedJob> for Job {
    fn from(listed: engine::ListedJob) -> Self {
        let engine::ListedJob {
            job,
            title,
            path,
            eta_seconds,
        } = listed;
        let (document_id, folder_id) = match job.kind {
            domain::JobKind::Read { document } | domain::JobKind::Embed { document } => {
                (Some(document), None)
            }
            domain::JobKind::Scan { folder } => (None, Some(folder)),
        };
        Self {
            id: *job.id.as_uuid(),
            workspace_id: *job.workspace_id.as_uuid(),
            kind: domain::JobType::from(job.kind).into(),
            document_id: document_id.map(|id| *id.as_uuid()),
            folder_id: folder_id.map(|id| *id.as_uuid()),
            title,
            path,
            state: job.state.into(),
            stage: job.stage.map(Stage::from),
            progress: job.progress.into(),
            eta_seconds,
            priority: job.priority,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            run_after: job.run_after.0,
            reason: job.reason,
            created_at: job.created_at.0,
            updated_at: job.updated_at.0,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobListParameters {
    #[param(inline)]
    pub state: Option<JobState>,
    #[param(inline)]
    pub kind: Option<JobKind>,
    /// `next_cursor` of the page before, of the same state and kind.
    pub cursor: Option<String>,
    /// At most 500; 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetryParameters {
    /// `dead` or `cancelled`: how the jobs ended that are tried again.
    #[param(inline)]
    #[serde(default = "dead")]
    pub state: JobState,
}

const fn dead() -> JobState {
    JobState::Dead
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobList {
    /// Waiting ones in the order of their turns where `state` is `queued`, else newest first.
    pub items: Vec<Job>,
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Of the whole workspace, whatever was asked for.
    pub counts: JobCounts,
    pub progress: WorkProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobCounts {
    pub queued: u64,
    pub running: u64,
    pub done: u64,
    pub dead: u64,
    pub cancelled: u64,
}

/// How far the background work is. It is counted by batches: a batch lasts from the first job that
/// meets an empty queue until the queue is empty again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
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
    /// Until all is done, at the rate of recent work; `null` while there is none to go by.
    #[schema(required)]
    pub eta_seconds: Option<u64>,
    pub paused: bool,
}

impl From<engine::WorkProgress> for WorkProgress {
    fn from(progress: engine::WorkProgress) -> Self {
        let engine::WorkProgress {
            files_done,
            files_read,
            files_total,
            files_failed,
            chunks_done,
            chunks_total,
            eta_seconds,
            paused,
        } = progress;
        Self {
            files_done,
            files_read,
            files_total,
            files_failed,
            chunks_done,
            chunks_total,
            eta_seconds,
            paused,
        }
    }
}

impl From<engine::JobPage> for JobList {
    fn from(page: engine::JobPage) -> Self {
        let engine::JobPage {
            items,
            next_cursor,
            counts,
            progress,
        } = page;
        let engine::JobCounts {
            queued,
            running,
            done,
            dead,
            cancelled,
        } = counts;
        Self {
            items: all(items),
            next_cursor,
            counts: JobCounts {
                queued,
                running,
                done,
                dead,
                cancelled,
            },
            progress: progress.into(),
        }
    }
}

/// How many jobs were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobsChanged {
    pub jobs: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// RFC 4180, UTF-8, a header and a row per document and job.
    Csv,
    #[default]
    Json,
}

impl From<ExportFormat> for engine::ExportFormat {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Json => Self::Json,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParameters {
    /// `json` when absent.
    #[param(inline)]
    pub format: Option<ExportFormat>,
}
