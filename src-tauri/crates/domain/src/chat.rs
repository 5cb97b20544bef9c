//! Chats, messages and answers with their citations.

use serde::{Deserialize, Serialize};

use crate::{
    ChatId, ChunkKey, DocumentId, Language, MessageId, PageBox, Place, Span, Timestamp, UserId,
    WorkspaceId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    pub id: ChatId,
    pub workspace_id: WorkspaceId,
    pub owner: UserId,
    /// Empty until the first question names it.
    pub title: String,
    pub visibility: Visibility,
    pub pinned: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    Private,
    TenantShared,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub chat_id: ChatId,
    pub role: Role,
    pub content: String,
    pub status: MessageStatus,
    /// On assistant messages; `None` while the answer is being made.
    pub answer: Option<Answer>,
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Assistant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Being written by this process. Found so at start, it becomes `Interrupted`.
    Streaming,
    Complete,
    /// Stopped by the user, or by the end of the process or of its worker; the text so far is kept.
    Interrupted,
    Failed,
}

/// What is known of an answer besides its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub language: Language,
    /// Calibrated chance, 0 to 1, that the documents answer the question.
    pub confidence: f32,
    /// The documents don't say; `nearest` then holds the closest passages.
    pub refused: bool,
    /// In order of their numbers. Every passage here stood in the prompt under that number.
    pub citations: Vec<Citation>,
    /// The closest passages of a refused question.
    pub nearest: Vec<NearPassage>,
    /// Paths of the cited documents, each once, in order of first citation.
    pub sources: Vec<String>,
    /// Catalog id of the model that wrote it.
    pub model: String,
    pub timings: Timings,
    /// What went wrong, for a failed or interrupted answer.
    pub error: Option<String>,
    /// How the model was asked, where that was in another language than the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_as: Option<AskedAs>,
}

/// A question in the language of the passages that answer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedAs {
    pub question: String,
    pub language: Language,
}

/// Between a document's title and the headings above a passage.
pub const TITLE_SEPARATOR: &str = " > ";

/// A passage that was in the prompt under number `n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    pub n: u32,
    /// Whether the answer's text refers to it; the others are context that was read.
    pub used: bool,
    pub document_id: DocumentId,
    pub chunk: ChunkKey,
    /// The document's, then the headings above the passage, with [`TITLE_SEPARATOR`] between them.
    pub title: String,
    pub path: String,
    /// Empty once the document was removed.
    pub text: String,
    pub span: Span,
    /// Of a PDF.
    pub page: Option<u32>,
    pub boxes: Vec<PageBox>,
    /// Page, slide, cells or part of a message. Answers of earlier versions have none.
    #[serde(default)]
    pub place: Option<Place>,
    pub score: f32,
}

impl Citation {
    /// Leaves what names the document and nothing of what it says.
    pub fn forget_text(&mut self) {
        self.text.clear();
        self.place = self.place.take().and_then(Place::without_names);
        if let Some((document, _headings)) = self.title.split_once(TITLE_SEPARATOR) {
            self.title = document.to_owned();
        }
    }
}

/// A passage shown with a refusal. It has no number, because it supports nothing.
pub type NearPassage = Citation;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    pub retrieval_ms: u64,
    pub first_token_ms: Option<u64>,
    pub total_ms: u64,
    pub tokens_per_second: Option<f32>,
    pub prompt_tokens: u32,
    /// Of the prompt's tokens, those whose state was kept from the turn before.
    pub reused_tokens: u32,
    pub generated_tokens: u32,
}
