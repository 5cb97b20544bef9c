//! The `docent` program over documents: real ones with real models, files that cannot be read, disks
//! that are full, and processes that are killed again and again.

mod bad_input;
mod citations;
mod crashes;
mod full_disk;
mod program;
mod real;
mod workers;
