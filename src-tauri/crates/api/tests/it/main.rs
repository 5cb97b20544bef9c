//! The router and the server over a real engine with stand-ins for the models. Jobs don't run, so
//! nothing here needs a worker process.

mod contract;
mod documents;
mod errors;
mod events;
mod jobs;
mod query;
mod server;
mod support;
mod uploads;
mod workspaces;
