//! `cargo xtask bench`: the benchmarks of the program and of its pages, on the models and documents
//! that `models` and `corpus` fetch.

use anyhow::Result;

use crate::packages::{self, Purpose};
use crate::repo::{Repo, run};
use crate::{build, corpus, models, ui};

/// What a person sees, with the program that measures it: start and idle memory of the window, and the
/// page of background work. Everything else is measured by `docent bench`.
const PAGES: [(&str, &str); 2] = [("window", "window-bench"), ("jobs", "jobs-bench")];

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
    let is_page = |name: &String| PAGES.iter().any(|(page, _)| name == page);
    let (pages, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_page(name));
    if names.is_empty() || !others.is_empty() {
        run(repo
            .command(repo.binary("docent", false))
            .arg("bench")
            .args(others))?;
    }
    for (page, program) in PAGES {
        if names.is_empty() || pages.iter().any(|name| *name == page) {
            run(&mut repo.command(repo.binary(program, false)))?;
        }
    }
    Ok(())
}
