//! The use-cases of Docent: everything a window, a server or a script can ask for.
//!
//! [`Engine`] joins the leaf crates: rows are the truth (store), indexes are derived from them and
//! reconciled when a workspace is opened, durable jobs carry files from disk to searchable, and
//! models run in child processes. Transports (window, HTTP, command line) stay outside; they call
//! methods here and subscribe to changes.

mod answer;
mod chats;
mod config;
mod convert;
mod cores;
mod doctor;
mod documents;
mod embedder_change;
mod engine;
mod error;
mod events;
mod export;
mod folders;
mod health;
mod indexes;
mod jobs;
mod lock;
mod models;
mod pace;
pub mod parts;
mod pipeline;
mod retrieve;
mod search;
mod types;
mod uploads;
pub mod worker;
mod workspaces;

pub use answer::evidence::{CALIBRATION, Calibration, Evidence, SIGNS};
pub use answer::query::{LONGEST_QUESTION_CHARS, MOST_PASSAGES};
pub use config::{Config, ExpansionPolicy, OpenAiConfig};
pub use docent_store::ChangeState;
pub use docent_store::JobCounts;
/// How jobs ended that can be tried again.
pub use docent_store::Over;
pub use embedder_change::{
    EmbedderChange, EmbedderPlan, EmbedderStatus, LongPassages, PreviousVectors,
};
pub use engine::{Engine, EngineOptions};
pub use error::{Code, Error, Result};
pub use export::{Export, ExportFormat};
pub use models::ModelSource;
pub use types::*;
pub use uploads::Upload;

/// The catalog and the folder of verified models, for commands that need no engine.
pub use docent_inference::{catalog, models as model_files};
