//! `cargo xtask bench`: the benchmarks of the program and of its window, on the models and documents
//! that `models` and `corpus` fetch.

use anyhow::Result;

use crate::packages::{self, Purpose};
use crate::repo::{Repo, run};
use crate::{build, corpus, models, ui};

/// Start and idle memory of the window; everything else is measured by `docent bench`.
const WINDOW: &str = "window";

/// Measured on request alone: its documents are a gigabyte to fetch.
const FORMATS: &str = "formats";

pub fn bench(repo: &Repo, names: &[String]) -> Result<()> {
    packages::ensure(repo, Purpose::Test)?;
    ui::install(repo)?;
    ui::build(repo)?;
    build::programs(repo, false)?;
    models::fetch(repo, models::Set::Starter, false)?;
    models::fetch(repo, models::Set::Tests, false)?;
    corpus::fetch(repo)?;
    if names.iter().any(|name| name == FORMATS) {
        corpus::formats::fetch(repo)?;
    }
    let (window, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == WINDOW);
    if names.is_empty() || !others.is_empty() {
        run(repo
            .command(repo.binary("docent", false))
            .arg("bench")
            .args(others))?;
    }
    if names.is_empty() || !window.is_empty() {
        run(&mut repo.command(repo.binary("window-bench", false)))?;
    }
    Ok(())
}
