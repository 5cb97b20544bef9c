//! Child processes of the same binary: framing, limits, supervision.
//!
//! Untrusted files are parsed and models run in processes of their own, so that what aborts,
//! hangs or eats memory there costs one call and not the application. The parent holds a
//! [`Supervisor`], the child runs [`serve`]; between them go frames ([`frame`]) over the child's
//! standard input and output. What the requests and replies mean is the callers' business.

mod error;
pub mod frame;
mod launch;
mod serve;
mod supervisor;

pub use error::Error;
pub use launch::{Launch, Limits, confine};
pub use serve::{Reply, serve, serve_concurrently};
pub use supervisor::{Call, RestartPolicy, Supervisor};
