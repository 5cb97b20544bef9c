//! `cargo xtask`: set-up, tests, benchmarks and generated code of this repository.
//!
//! `run` and `test` do everything that a fresh machine needs, from system packages to models, and
//! skip what is already there. Each step is a program that could be typed by hand; it is printed
//! before it runs.

mod bench;
mod build;
mod codegen;
mod corpus;
mod eval;
mod fence;
mod models;
mod packages;
mod repo;
mod run;
mod test;
mod ui;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::repo::Repo;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set-up, tests, benchmarks and generated code of Docent"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what is missing, build, and open the window; without a display, serve the same UI on
    /// 127.0.0.1 and print its address.
    Run {
        /// Optimise fully (a first build takes half as long again).
        #[arg(long)]
        release: bool,
        /// Serve on 127.0.0.1 even though there is a display.
        #[arg(long)]
        headless: bool,
    },
    /// Set up what is missing, build, and run every test.
    Test,
    /// What a merge needs: `test`, and clippy without a warning.
    Ci,
    /// Write the OpenAPI document and the TypeScript types that follow from the router.
    Codegen {
        /// Only say whether they are up to date; fail if they aren't.
        #[arg(long)]
        check: bool,
    },
    /// Fetch and verify models.
    Models {
        /// Ids of the catalog; none means the starter set.
        ids: Vec<String>,
        /// The models that the tests use.
        #[arg(long, conflicts_with = "ids")]
        tests: bool,
    },
    /// Measure, each figure against its baseline in the same run.
    Bench {
        /// Names of single benchmarks; none means all.
        names: Vec<String>,
    },
    /// Measure retrieval, and answers on request, on real documents and questions.
    Eval {
        /// With the questions widened by the local model too (some ten minutes).
        #[arg(long)]
        expand: bool,
        /// Answer the natural questions as well (an hour on two cores).
        #[arg(long)]
        answers: bool,
    },
    /// Fetch the public documents that tests and benchmarks read.
    Corpus {
        /// Also the documents of every format, and what other programs read in them, for
        /// `bench formats` (1 GB).
        #[arg(long)]
        formats: bool,
    },
}

fn main() -> ExitCode {
    match run_command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command() -> Result<()> {
    let repo = Repo::open()?;
    match Arguments::parse().command {
        Command::Run { release, headless } => run::run(&repo, release, headless),
        Command::Test => test::test(&repo),
        Command::Ci => test::ci(&repo),
        Command::Codegen { check } => codegen::codegen(&repo, check),
        Command::Models { ids, tests } => models::command(&repo, &ids, tests),
        Command::Bench { names } => bench::bench(&repo, &names),
        Command::Eval { expand, answers } => eval::eval(&repo, expand, answers),
        Command::Corpus { formats } => corpus::command(&repo, formats),
    }
}
