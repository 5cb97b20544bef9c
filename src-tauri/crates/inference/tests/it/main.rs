//! Tests with worker processes, real weights and loopback servers.
//!
//! They need the `docent` binary (`cargo build -p docent-cli`), which is started as the worker, and
//! the starter models in `DOCENT_TEST_MODELS` or `~/.cache/docent/models`.

mod embedder;
mod generator;
mod openai;
