//! The roles that this binary can run in as a child process of itself.

use std::io;

/// Runs a worker role until its parent closes the pipe. Blocking.
pub fn run(role: &str) -> io::Result<()> {
    match role {
        "generator" => docent_inference::worker::run_generator(),
        "embedder" => docent_inference::worker::run_embedder(),
        "extractor" => docent_ingest::worker::run_extractor(),
        unknown => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is no worker role {unknown:?}"),
        )),
    }
}
