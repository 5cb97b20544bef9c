//! One module per table: row type, readers and writers in one place.
//!
//! `_in_tx` functions run in the caller's transaction and are private to the crate.

pub mod chats;
pub mod chunks;
pub mod documents;
pub mod flags;
pub mod folders;
pub mod generations;
pub mod jobs;
pub mod limits;
pub mod moves;
pub mod removed_files;
pub mod settings;
pub mod workspaces;
