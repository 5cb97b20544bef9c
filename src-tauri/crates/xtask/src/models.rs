//! Models for a run and for the tests, through the program's own downloader, which verifies them.

use anyhow::Result;

use crate::build;
use crate::packages::{self, Purpose};
use crate::repo::{Repo, run};

#[derive(Clone, Copy)]
pub enum Set {
    /// What answers and embeds on a fresh machine.
    Starter,
    /// The smallest real ones, for tests.
    Tests,
}

/// `cargo xtask models`.
pub fn command(repo: &Repo, ids: &[String], tests: bool) -> Result<()> {
    packages::ensure(repo, Purpose::Run)?;
    build::programs(repo, false)?;
    if ids.is_empty() {
        return fetch(repo, if tests { Set::Tests } else { Set::Starter }, false);
    }
    run(fetching(repo, false).args(ids))
}

/// Fetches what is missing of a set; the program skips and re-verifies what is there.
pub fn fetch(repo: &Repo, set: Set, release: bool) -> Result<()> {
    run(fetching(repo, release).arg(match set {
        Set::Starter => "--starter",
        Set::Tests => "--tests",
    }))
}

fn fetching(repo: &Repo, release: bool) -> std::process::Command {
    let mut docent = repo.command(repo.binary("docent", release));
    docent
        .arg("--models-dir")
        .arg(repo.models_dir())
        .args(["models", "fetch"]);
    docent
}
