//! Entry points of the inference workers.

use std::io;

pub fn run_generator() -> io::Result<()> {
    Err(io::Error::other("not built yet"))
}

pub fn run_embedder() -> io::Result<()> {
    Err(io::Error::other("not built yet"))
}
