//! `cargo xtask bench`: the program's own benchmarks, on the models and documents that `models` and
//! `corpus` fetch.

use anyhow::Result;

use crate::packages::{self, Purpose};
use crate::repo::{Repo, run};
use crate::{build, corpus, models, ui};

pub fn bench(repo: &Repo, names: &[String]) -> Result<()> {
    packages::ensure(repo, Purpose::Test)?;
    ui::install(repo)?;
    ui::build(repo)?;
    build::programs(repo, false)?;
    models::fetch(repo, models::Set::Starter, false)?;
    models::fetch(repo, models::Set::Tests, false)?;
    corpus::fetch(repo)?;
    run(repo
        .command(repo.binary("docent", false))
        .arg("bench")
        .args(names))
}
