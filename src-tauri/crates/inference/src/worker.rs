//! Entry points of the inference workers.

use std::io;

/// Runs the generator worker until its parent closes the pipe. Blocking.
pub fn run_generator() -> io::Result<()> {
    crate::generator::worker::run()
}

/// Runs the embedder worker, which also reranks, until its parent closes the pipe. Blocking.
pub fn run_embedder() -> io::Result<()> {
    crate::embedder::protocol::run()
}
