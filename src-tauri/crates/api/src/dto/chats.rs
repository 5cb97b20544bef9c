//! Chats and their messages.

use docent_domain as domain;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Citation, Language, Timings, all};

mirrored! {
    Visibility mirrors domain::Visibility { Private = "private", TenantShared = "tenant_shared" }
}
mirrored! {
    Role mirrors domain::Role { User = "user", Assistant = "assistant" }
}
mirrored! {
    MessageStatus mirrors domain::MessageStatus {
        Streaming = "streaming",
        Complete = "complete",
        Interrupted = "interrupted",
        Failed = "failed",
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chat {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub owner: Uuid,
    /// Empty until the first question names it.
    pub title: String,
    pub visibility: Visibility,
    pub pinned: bool,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<domain::Chat> for Chat {
    fn from(chat: domain::Chat) -> Self {
        Self {
            id: *chat.id.as_uuid(),
            workspace_id: *chat.workspace_id.as_uuid(),
            owner: *chat.owner.as_uuid(),
            title: chat.title,
            visibility: chat.visibility.into(),
            pinned: chat.pinned,
            created_at: chat.created_at.0,
            updated_at: chat.updated_at.0,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChat {
    /// The first question names the chat when this is absent.
    #[serde(default)]
    pub title: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatPatch {
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub pinned: Option<bool>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Message {
    pub id: Uuid,
    pub chat_id: Uuid,
    pub role: Role,
    pub content: String,
    pub status: MessageStatus,
    /// On assistant messages; `null` while the answer is being made.
    #[schema(required)]
    pub answer: Option<Answer>,
    pub created_at: i64,
}

impl From<domain::Message> for Message {
    fn from(message: domain::Message) -> Self {
        Self {
            id: *message.id.as_uuid(),
            chat_id: *message.chat_id.as_uuid(),
            role: message.role.into(),
            content: message.content,
            status: message.status.into(),
            answer: message.answer.map(Answer::from),
            created_at: message.created_at.0,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Answer {
    pub language: Language,
    /// Calibrated chance, 0 to 1, that the documents answer the question.
    pub confidence: f32,
    /// The documents don't say; `nearest` then holds the closest passages.
    pub refused: bool,
    /// In order of their numbers.
    pub citations: Vec<Citation>,
    pub nearest: Vec<Citation>,
    /// Paths of the cited documents, each once, in order of first citation.
    pub sources: Vec<String>,
    pub model: String,
    pub timings: Timings,
    /// What went wrong, for a failed or interrupted answer.
    #[schema(required)]
    pub error: Option<String>,
}

impl From<domain::Answer> for Answer {
    fn from(answer: domain::Answer) -> Self {
        Self {
            language: answer.language.into(),
            confidence: answer.confidence,
            refused: answer.refused,
            citations: all(answer.citations),
            nearest: all(answer.nearest),
            sources: answer.sources,
            model: answer.model,
            timings: answer.timings.into(),
            error: answer.error,
        }
    }
}
