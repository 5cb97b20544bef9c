//! What can go wrong with models.

use std::path::PathBuf;

/// Every message says what happened and, where the user can do something, what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the model {model} is not installed: fetch it under Models, or choose another")]
    ModelMissing { model: String },
    /// The file cannot be that model, whatever is tried.
    #[error("{} is damaged ({reason}): remove it and fetch the model again", path.display())]
    ModelDamaged { path: PathBuf, reason: String },
    #[error("{} could not be loaded: {reason}", path.display())]
    Load { path: PathBuf, reason: String },
    #[error(
        "the question and its passages take {needed} tokens, the model reads at most {available}"
    )]
    ContextOverflow { needed: usize, available: usize },
    #[error("the grammar is not valid GBNF")]
    Grammar,
    #[error("the conversation cannot be put in the form that {model} expects: {reason}")]
    Template { model: String, reason: String },
    #[error("{model} does not support {what}")]
    Unsupported { model: String, what: &'static str },
    #[error("the model failed while it worked: {0}")]
    Inference(String),
    /// The model's process ended, could not start or spoke nonsense. The next request starts it
    /// again.
    #[error(transparent)]
    Worker(#[from] docent_worker::Error),
    #[error("{endpoint} cannot be reached: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("{endpoint} answered {status}: {message}")]
    Endpoint {
        endpoint: String,
        status: u16,
        message: String,
    },
    #[error("{endpoint} sent something that is not an answer: {reason}")]
    Malformed { endpoint: String, reason: String },
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Whether the same request may succeed when it is made again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Worker(error) => error.is_retryable(),
            Self::Unreachable { .. } => true,
            Self::Endpoint { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::ModelMissing { .. }
            | Self::ModelDamaged { .. }
            | Self::Load { .. }
            | Self::ContextOverflow { .. }
            | Self::Grammar
            | Self::Template { .. }
            | Self::Unsupported { .. }
            | Self::Inference(_)
            | Self::Malformed { .. }
            | Self::Cancelled => false,
        }
    }
}
