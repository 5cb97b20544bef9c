//! Entry point of the extraction worker.

use std::io;

pub fn run_extractor() -> io::Result<()> {
    Err(io::Error::other("not built yet"))
}
