//! Relational rows, the truth: SQLite behind workspace-scoped methods.
//!
//! Documents, the text of their chunks, chats, jobs and settings live here; every index can be
//! thrown away and made again from these rows. Each table has a module under [`table`] and a handle
//! on [`Store`]: `store.documents().get(&scope, id)`. Methods take a `WorkspaceScope`; the few that
//! look across workspaces (claiming a job, listing folders at start) say so.
//!
//! No type of the database engine appears in a signature, so that another engine can stand behind
//! the same methods. Time comes in as an argument. What a method promises has reached the disk when
//! it returns: one writing connection, WAL, `synchronous=FULL`.

mod check;
mod connection;
mod error;
mod fold;
mod migration;
mod row;
pub mod table;

pub use docent_domain::JobType;

pub use check::{CheckReport, Finding};
pub use connection::{Journal, Store, StoreOptions};
pub use error::{Entity, Error, Fault, Result};
pub use fold::fold;
pub use migration::SCHEMA_VERSION;
pub use table::chats::{Chats, NewMessage};
pub use table::chunks::{Chunks, EmbedProgress, IndexEntry, Passage};
pub use table::documents::{
    AddedAgain, Blob, ContentReplaced, DocumentContent, DocumentQuery, DocumentSort, DocumentText,
    Documents, FileStamp, KnownFile, NewDocument, Page, Registered, Retitled,
};
pub use table::flags::Flags;
pub use table::folders::{FolderRemoved, Folders, RootIdentity};
pub use table::generations::{
    ChangeState, Generation, Generations, NextGeneration, PreviousGeneration, WorkspaceGenerations,
};
pub use table::jobs::{
    BatchEnded, BatchProgress, BootId, Claim, Failed, JobCounts, JobQuery, Jobs, ListedJob,
    MAX_ATTEMPTS, MAX_DEATHS, Over, PRIORITY_FOLDER, PRIORITY_HAND_ADDED, PRIORITY_RECOGNITION,
    Recovery, Wanted,
};
pub use table::limits::Limits;
pub use table::moves::{FileMove, MovedFiles, in_turns};
pub use table::removed_files::{RemovedFile, RemovedMove};
pub use table::settings::Settings;
pub use table::workspaces::Workspaces;
