//! Documents and their chunks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ChunkKey, DocumentId, FolderId, Language, PageBox, Problem, Span, Timestamp, WorkspaceId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub id: DocumentId,
    pub workspace_id: WorkspaceId,
    /// The watched folder that the document belongs to; `None` when it was added by hand.
    pub folder_id: Option<FolderId>,
    pub origin: Origin,
    /// Absolute path of the file on this machine; for uploads the name it was uploaded under.
    pub path: String,
    /// From the document itself where it has one, else the file's name.
    pub title: String,
    pub format: Option<Format>,
    pub size_bytes: u64,
    pub modified_at: Option<Timestamp>,
    /// Of the content that is indexed now; `None` until the first successful read.
    pub content_hash: Option<ContentHash>,
    pub status: DocumentStatus,
    /// Why the document failed or was skipped, or a warning about a readable one, for the user.
    pub reason: Option<String>,
    /// What kind of trouble it is listed under. What waits to be tried again is in none yet.
    pub problem: Option<Problem>,
    pub language: Option<Language>,
    pub page_count: Option<u32>,
    pub chunk_count: u32,
    pub embedded_count: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How a document came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Found by a watched folder, which may remove it again.
    Folder,
    /// A local file added by hand: read in place, never removed by a folder.
    File,
    /// Sent as bytes; the content is kept as a blob.
    Upload,
}

/// Where a document is on its way to being searchable. A document that is already searchable and
/// has changed keeps its old content until the new one replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStatus {
    Queued,
    Reading,
    /// Searchable by words; vectors are still being made.
    Words,
    /// Searchable by words and by meaning.
    Ready,
    Failed,
    /// Not read on purpose: unsupported, empty, no text.
    Skipped,
}

impl DocumentStatus {
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Reading,
        Self::Words,
        Self::Ready,
        Self::Failed,
        Self::Skipped,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Reading => "reading",
            Self::Words => "words",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether nothing more will happen to the document by itself.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Skipped)
    }
}

/// How many documents of a workspace are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Text,
    Markdown,
    Html,
    Pdf,
    Docx,
    Xlsx,
    Ods,
    /// Values with a delimiter: commas, semicolons or tabs.
    Csv,
    Email,
    Pptx,
    Odt,
    Epub,
    /// reStructuredText.
    Rst,
    Json,
    /// Source code, settings and their like: text without prose's structure.
    Code,
    /// Excel's older, binary format.
    Xls,
    /// PNG, JPEG or TIFF, whose text is recognised.
    Picture,
}

impl Format {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Xlsx => "xlsx",
            Self::Ods => "ods",
            Self::Csv => "csv",
            Self::Email => "email",
            Self::Pptx => "pptx",
            Self::Odt => "odt",
            Self::Epub => "epub",
            Self::Rst => "rst",
            Self::Json => "json",
            Self::Code => "code",
            Self::Xls => "xls",
            Self::Picture => "picture",
        }
    }

    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text | Self::Rst | Self::Code => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Html => "text/html",
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Ods => "application/vnd.oasis.opendocument.spreadsheet",
            Self::Csv => "text/csv",
            Self::Email => "message/rfc822",
            Self::Pptx => {
                "application/vnd.openxmlformats-officedocument.presentationml.presentation"
            }
            Self::Odt => "application/vnd.oasis.opendocument.text",
            Self::Epub => "application/epub+zip",
            Self::Json => "application/json",
            Self::Xls => "application/vnd.ms-excel",
            Self::Picture => "application/octet-stream",
        }
    }
}

/// BLAKE3 of a file's bytes, in lower-case hexadecimal (64 digits).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(pub String);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({})", self.0.get(..12).unwrap_or(&self.0))
    }
}

/// A chunk as the chunker makes it, before the store gives it a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewChunk {
    /// Exactly the characters of the document's text that `text` was taken from.
    pub span: Span,
    /// The span's text, verbatim.
    pub text: String,
    /// Headings above the chunk, outermost first.
    pub heading_path: Vec<String>,
    /// First page, slide, sheet or part of a message, 1-based, for formats that have them.
    pub page: Option<u32>,
    /// Where the chunk stands on its pages, line by line. Of a presentation, its slides as a whole;
    /// of a sheet, the cells: first column, first row, last column and last row, 1-based. Empty for
    /// other formats.
    pub boxes: Vec<PageBox>,
    /// In the embedder's tokens, without the header that goes in front of it.
    pub token_count: u32,
}

impl NewChunk {
    /// Leaves `page` and `boxes` to documents with pages that can be drawn; [`crate::Place`] says
    /// for the others what they stand for.
    pub fn keep_pages_of(&mut self, format: Option<Format>) {
        if !matches!(format, Some(Format::Pdf | Format::Picture)) {
            self.page = None;
            self.boxes.clear();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    pub key: ChunkKey,
    pub document_id: DocumentId,
    /// Position among the chunks of its document, from 0.
    pub ordinal: u32,
    #[serde(flatten)]
    pub content: NewChunk,
}
