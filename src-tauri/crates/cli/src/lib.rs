//! The `docent` command line: the whole product without a window, with a contract for scripts.
//!
//! Results go to standard output, as text or with `--json` as one JSON value; progress, logs and
//! errors go to standard error, except that with `--json` an error is a JSON value as well. The
//! exit code is 0 only when everything asked for was done. Each command is one module.

mod args;
mod commands;
pub mod eval;
mod failure;
pub mod folders;
mod output;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command};
pub use crate::failure::Failure;
use crate::output::Output;

/// Runs the command that this process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.settings.json);
    // Quiet unless asked: what a command has to say, it says itself.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::internal(format!("cannot start: {error}"));
            return output.fail(&failure);
        }
    };
    let result = runtime.block_on(dispatch(arguments, output));
    // Whatever a blocking thread still does, the user is not kept waiting for it.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

async fn dispatch(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { settings, command } = arguments;
    match command {
        Command::Ingest(command) => commands::ingest::run(&settings, output, command).await,
        Command::Search(command) => commands::search::run(&settings, output, command).await,
        Command::Ask(command) => commands::ask::run(&settings, output, command).await,
        Command::Eval(command) => commands::eval::run(&settings, output, command).await,
        Command::Bench(command) => commands::bench::run(&settings, output, command).await,
        Command::Serve(command) => commands::serve::run(&settings, output, command).await,
        Command::Models(command) => commands::models::run(&settings, output, command).await,
        Command::Doctor(command) => commands::doctor::run(&settings, output, command).await,
        Command::Workspaces(command) => commands::workspaces::run(&settings, output, command).await,
        Command::Folders(command) => commands::folders::run(&settings, output, command).await,
        Command::Documents(command) => commands::documents::run(&settings, output, command).await,
        Command::Jobs(command) => commands::jobs::run(&settings, output, command).await,
        Command::Openapi => commands::openapi::run(),
    }
}
