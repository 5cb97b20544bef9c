//! Black-box tests of the store, one module per table and one per promise.

mod chats;
mod chunks;
mod crash;
mod documents;
mod faults;
mod fixture;
mod folders;
mod generations;
mod isolation;
mod jobs;
mod measure;
mod plain;
mod recognition;
mod schema;
mod workspaces;
