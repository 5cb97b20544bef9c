//! Measures of retrieval and answers on a file of questions: pure, apart from what asks.

pub mod calibrate;
pub mod metrics;
pub mod questions;
