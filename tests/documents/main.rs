//! The `docent` program over documents: real ones with real models, files that cannot be read, disks
//! that are full, power that is cut, processes that are killed again and again, and what is left on the
//! disk of documents that were deleted.

mod bad_input;
mod citations;
mod crashes;
mod deletion;
mod disk;
mod full_disk;
mod power_cut;
mod program;
mod real;
mod workers;
