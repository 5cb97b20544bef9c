//! `cargo xtask test` and `ci`: every check, cheapest first, each with the time it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::packages::{self, Purpose};
use crate::repo::Repo;
use crate::{build, codegen, corpus, fence, models, ui};

pub fn test(repo: &Repo) -> Result<()> {
    let mut stages = Stages::default();
    run(repo, &mut stages)?;
    stages.print();
    Ok(())
}

/// Clippy analyses the whole tree a second time, which is minutes; hence not in `test`, where the
/// compiler's own warnings already fail.
pub fn ci(repo: &Repo) -> Result<()> {
    let mut stages = Stages::default();
    run(repo, &mut stages)?;
    stages.run("clippy", || build::clippy(repo))?;
    stages.print();
    Ok(())
}

fn run(repo: &Repo, stages: &mut Stages) -> Result<()> {
    stages.run("system packages", || packages::ensure(repo, Purpose::Test))?;
    stages.run("formatting", || build::format_check(repo))?;
    stages.run("dependency fence", || fence::check(repo))?;
    stages.run("ui packages", || ui::install(repo))?;
    stages.run("ui build", || ui::build(repo))?;
    stages.run("ui tests", || ui::test(repo))?;
    stages.run("build", || build::everything_without_warnings(repo))?;
    stages.run("generated code", || codegen::check(repo))?;
    stages.run("models", || models::fetch(repo, models::Set::Tests, false))?;
    stages.run("corpus", || corpus::fetch(repo))?;
    stages.run("tests", || build::tests(repo))
}

#[derive(Default)]
struct Stages {
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = stage().with_context(|| format!("{name} failed"));
        self.done.push((name, start.elapsed()));
        if result.is_err() {
            self.print();
        }
        result
    }

    fn print(&self) {
        println!();
        for (name, took) in &self.done {
            println!("{name:>18} {:>8.1} s", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took)| took).sum();
        println!("{:>18} {:>8.1} s", "together", total.as_secs_f64());
    }
}
