//! Text from GGUF models through llama.cpp, in a worker process.
//!
//! [`LlamaGenerator`] is the parent's side and holds no model; [`worker`] is the child's, which
//! holds one and ends with it: unloading is ending the process. Requests are self-contained (each
//! names the model and its settings), so a worker that died is replaced without ceremony.

mod client;
mod cores;
mod file;
mod log;
mod pace;
mod prompt;
mod protocol;
mod session;
mod text;
pub(crate) mod worker;

pub use client::{GeneratorOptions, GeneratorState, LlamaGenerator};
pub use protocol::{Benchmark, PromptProgress};
