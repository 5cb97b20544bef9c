//! What the parent and the generator worker say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ChatTurn, Error, Generation, GenerationRequest};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub model: ModelSpec,
    pub task: Task,
}

/// The model to load, unless this worker has it already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModelSpec {
    pub id: String,
    /// Of a split model the first file.
    pub path: PathBuf,
    pub context_tokens: u32,
    pub threads: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    CountTokens {
        text: String,
    },
    Generate(GenerationRequest),
    ScoreChoices {
        messages: Vec<ChatTurn>,
        choices: Vec<String>,
    },
    Benchmark {
        prompt_tokens: u32,
        generated_tokens: u32,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The model is in memory; sent before anything else.
    Ready,
    Count(usize),
    Reading(PromptProgress),
    Piece(String),
    Done(Generation),
    Scores(Vec<f32>),
    Benchmarked(Benchmark),
    Failed(Failure),
}

/// How far the reading of a prompt has come, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptProgress {
    pub read: u32,
    pub total: u32,
}

/// llama.cpp's own loop: read tokens, then write greedily, and nothing besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Benchmark {
    pub prompt_tokens: u32,
    pub prompt_micros: u64,
    pub generated_tokens: u32,
    pub generation_micros: u64,
}

impl Benchmark {
    pub fn prompt_tokens_per_second(&self) -> f64 {
        per_second(self.prompt_tokens, self.prompt_micros)
    }

    pub fn generated_tokens_per_second(&self) -> f64 {
        per_second(self.generated_tokens, self.generation_micros)
    }
}

fn per_second(tokens: u32, micros: u64) -> f64 {
    f64::from(tokens) * 1e6 / (micros.max(1) as f64)
}

/// The part of [`Error`] that arises in the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    ModelDamaged { path: PathBuf, reason: String },
    Load { path: PathBuf, reason: String },
    ContextOverflow { needed: usize, available: usize },
    Grammar,
    Template { model: String, reason: String },
    Inference(String),
    Cancelled,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ModelDamaged { path, reason } => Self::ModelDamaged { path, reason },
            Failure::Load { path, reason } => Self::Load { path, reason },
            Failure::ContextOverflow { needed, available } => {
                Self::ContextOverflow { needed, available }
            }
            Failure::Grammar => Self::Grammar,
            Failure::Template { model, reason } => Self::Template { model, reason },
            Failure::Inference(reason) => Self::Inference(reason),
            Failure::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::ModelDamaged { path, reason } => Self::ModelDamaged { path, reason },
            Error::Load { path, reason } => Self::Load { path, reason },
            Error::ContextOverflow { needed, available } => {
                Self::ContextOverflow { needed, available }
            }
            Error::Grammar => Self::Grammar,
            Error::Template { model, reason } => Self::Template { model, reason },
            Error::Inference(reason) => Self::Inference(reason),
            Error::Cancelled => Self::Cancelled,
            other => Self::Inference(other.to_string()),
        }
    }
}
