//! The `docent` program over documents: real ones with real models, files that cannot be read, and
//! a process that is killed again and again.

mod bad_input;
mod crashes;
mod program;
mod real;
