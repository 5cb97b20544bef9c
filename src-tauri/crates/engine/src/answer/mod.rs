//! From a question to an answer that stands on numbered passages, or to a refusal.
//!
//! The order is fixed: retrieve on every turn, decide from the evidence whether the documents can
//! answer, let the model write from numbered passages, then hold its text against them. What is
//! shown as cited is what stood in the prompt under that number.

pub mod citations;
pub mod evidence;
pub mod prompt;
pub(crate) mod query;
pub mod support;
mod verify;
