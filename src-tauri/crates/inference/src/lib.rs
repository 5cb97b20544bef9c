//! Generator, Embedder, Reranker; the model catalog and downloads.

pub mod catalog;
pub mod embedder;
mod error;
pub mod fake;
pub mod generator;
pub mod models;
pub mod openai;
pub mod reranker;
pub mod traits;
pub mod worker;

pub use error::Error;
pub use traits::{
    ChatTurn, EmbedKind, Embedder, Embedding, Finish, Generation, GenerationRequest, Generator,
    Result, TokenCounter, TurnRole,
};
