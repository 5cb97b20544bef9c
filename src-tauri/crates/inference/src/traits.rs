//! What the rest of Docent asks of models: write text, make vectors, count tokens.
//!
//! Nothing here knows where a model runs. Local models run in a worker process of their own
//! ([`generator`](crate::generator)), remote ones behind an OpenAI-compatible endpoint
//! ([`openai`](crate::openai)); [`fake`](crate::fake) holds deterministic ones for tests.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Writes text from a conversation.
#[async_trait]
pub trait Generator: Send + Sync {
    /// Catalog id of the model.
    fn model(&self) -> &str;

    /// Tokens of prompt and answer together.
    fn context_tokens(&self) -> usize;

    /// Tokens of `text` in the model's own vocabulary, without special tokens.
    async fn count_tokens(&self, text: &str) -> Result<usize>;

    /// Streams pieces of text into `pieces`, each whole UTF-8, which joined are the generation's
    /// text. Returns when finished or cancelled; a cancelled generation is not an error. A receiver
    /// that is gone cancels too.
    async fn generate(
        &self,
        request: GenerationRequest,
        pieces: mpsc::Sender<String>,
        cancel: CancellationToken,
    ) -> Result<Generation>;

    /// For each choice, the probability (they sum to 1) that the model begins its answer with it.
    /// Cheap where the conversation's beginning is still in the model's memory.
    async fn score_choices(
        &self,
        messages: Vec<ChatTurn>,
        choices: Vec<String>,
        cancel: CancellationToken,
    ) -> Result<Vec<f32>> {
        let _ = (messages, choices, cancel);
        Err(Error::Unsupported {
            model: self.model().to_owned(),
            what: "scoring choices",
        })
    }

    /// Gives the model's memory back; the next request loads it again.
    async fn unload(&self);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest {
    pub messages: Vec<ChatTurn>,
    pub max_tokens: u32,
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    pub seed: u32,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// GBNF that the answer must obey.
    pub grammar: Option<String>,
    /// Text that the answer continues; not repeated in the answer.
    pub assistant_prefix: Option<String>,
    /// Work beside the conversation (a translation, say). A generator that can keep several
    /// prompts' state need not give up the conversation's for it.
    #[serde(default)]
    pub auxiliary: bool,
}

impl GenerationRequest {
    /// The likeliest answer, of at most `max_tokens`.
    #[must_use]
    pub const fn greedy(messages: Vec<ChatTurn>, max_tokens: u32) -> Self {
        Self {
            messages,
            max_tokens,
            temperature: 0.0,
            seed: 0,
            stop: Vec::new(),
            grammar: None,
            assistant_prefix: None,
            auxiliary: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTurn {
    pub role: TurnRole,
    pub content: String,
}

impl ChatTurn {
    #[must_use]
    pub fn new(role: TurnRole, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }

    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(TurnRole::System, content)
    }

    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(TurnRole::User, content)
    }

    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(TurnRole::Assistant, content)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnRole {
    System,
    User,
    Assistant,
}

impl TurnRole {
    /// The name that chat templates and OpenAI-compatible endpoints know.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    pub text: String,
    /// Tokens of the prompt that were read or reused; less than all when cancelled while reading.
    pub prompt_tokens: u32,
    /// Of these, the ones whose state was kept from an earlier generation.
    pub reused_tokens: u32,
    pub generated_tokens: u32,
    pub prompt_ms: u64,
    pub generation_ms: u64,
    pub finish: Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended its answer, or wrote a stop text.
    Stop,
    /// `max_tokens` or the context's end was reached.
    Length,
    Cancelled,
}

/// Makes vectors of texts.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Names the model, its files and its pooling: vectors of unequal fingerprints don't compare.
    fn fingerprint(&self) -> &str;

    fn dimensions(&self) -> usize;

    /// Longer texts are cut.
    fn max_tokens(&self) -> usize;

    fn has_sparse(&self) -> bool;

    /// One embedding per text, in order.
    async fn embed(&self, kind: EmbedKind, texts: Vec<String>) -> Result<Vec<Embedding>>;

    /// Gives the model's memory back; the next request loads it again.
    async fn unload(&self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbedKind {
    Query,
    Passage,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Of unit length.
    pub dense: Vec<f32>,
    /// (token id, weight), from models that have it.
    pub sparse: Option<Vec<(u32, f32)>>,
}

/// Splits text into a model's tokens without running the model.
pub trait TokenCounter: Send + Sync {
    /// Byte offsets (start, end) of each token, special tokens excluded.
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)>;
}
