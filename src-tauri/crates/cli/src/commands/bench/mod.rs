//! `docent bench`: figures of the built program, each with its baseline from the same run.
//!
//! What is measured goes through the engine as every other command does; the baselines are the same
//! models and processes without it. Rounds of the two alternate, and ratios are taken within a
//! round, so that a machine that is busy for a while disturbs both alike. One module per benchmark.

mod folder;
mod follow_up;
mod formats;
mod generation;
mod ingest;
mod machine;
mod report;
mod retrieval;
mod rounds;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use docent_api::error::{Code, ErrorDetail};
use docent_domain::WorkspaceScope;
use docent_engine::{Config, Engine, EngineOptions, Installed};
use serde::Serialize;

use super::models_dir;
use crate::args::{Bench, Benchmark, Settings};
use crate::failure::Failure;
use crate::folders;
use crate::output::{self, Output};
use machine::Machine;
use report::Report;

/// The smallest model that answers sensibly; what is measured is not its speed but what surrounds
/// it.
const GENERATOR: &str = "qwen2.5-coder-0.5b-instruct";

const EMBEDDER: &str = "multilingual-e5-small";

#[derive(Serialize)]
struct Run {
    machine: Machine,
    benchmarks: Vec<Report>,
    not_measured: Vec<NotMeasured>,
}

#[derive(Serialize)]
struct NotMeasured {
    benchmark: &'static str,
    error: ErrorDetail,
}

/// What the benchmarks share.
struct Stage {
    models_dir: PathBuf,
    corpus_dir: PathBuf,
    bench_dir: PathBuf,
    config: Config,
    rounds: usize,
    output: Output,
}

pub async fn run(settings: &Settings, output: Output, command: Bench) -> Result<(), Failure> {
    let cache = folders::default_cache_dir();
    let or_default = |folder: Option<PathBuf>, name: &str| match folder {
        Some(folder) => super::absolute(&folder),
        None => Ok(cache.join(name)),
    };
    let choice = |chosen: &Option<String>, default: &str| {
        chosen.clone().unwrap_or_else(|| default.to_owned())
    };
    let stage = Stage {
        models_dir: models_dir(settings)?,
        corpus_dir: or_default(command.corpus_dir, "corpus")?,
        bench_dir: or_default(command.work_dir, "bench")?,
        config: Config {
            generator: choice(&settings.model, GENERATOR),
            embedder: choice(&settings.embedder, EMBEDDER),
            // What is measured is not how long a file is left to rest.
            quiet_seconds: 0,
            ..Config::default()
        },
        rounds: command.rounds.into(),
        output,
    };
    std::fs::create_dir_all(&stage.bench_dir).map_err(|error| {
        let folder = stage.bench_dir.display();
        Failure::new(
            Code::BadRequest,
            format!("{folder} cannot be used: {error}"),
        )
    })?;
    let names: &[Benchmark] = if command.names.is_empty() {
        // The one that may take long the first time comes last. `formats` wants documents of its
        // own and is measured on request.
        &[
            Benchmark::Generation,
            Benchmark::FollowUp,
            Benchmark::Words,
            Benchmark::Ingest,
            Benchmark::Folder,
            Benchmark::Retrieval,
        ]
    } else {
        &command.names
    };
    let mut run = Run {
        machine: Machine::look(),
        benchmarks: Vec::new(),
        not_measured: Vec::new(),
    };
    if !output.is_json() {
        output::line(&run.machine)?;
    }
    for &name in names {
        match measure(&stage, name).await {
            Ok(report) => {
                if !output.is_json() {
                    output::line(format!("\n{report}"))?;
                }
                run.benchmarks.push(report);
            }
            Err(failure) => {
                if !output.is_json() {
                    let hint = failure.detail.hint.clone().unwrap_or_default();
                    output::line(format!(
                        "\n{}: not measured: {failure}\n  {hint}",
                        label(name)
                    ))?;
                }
                run.not_measured.push(NotMeasured {
                    benchmark: label(name),
                    error: failure.detail,
                });
            }
        }
    }
    if output.is_json() {
        output.result(&run, |_| String::new())?;
    }
    if run.not_measured.is_empty() {
        Ok(())
    } else {
        Err(Failure::reported("not everything could be measured"))
    }
}

const fn label(name: Benchmark) -> &'static str {
    match name {
        Benchmark::Generation => "generation",
        Benchmark::Ingest => "ingest",
        Benchmark::Words => "words",
        Benchmark::FollowUp => "follow-up",
        Benchmark::Retrieval => "retrieval",
        Benchmark::Folder => "folder",
        Benchmark::Formats => "formats",
    }
}

async fn measure(stage: &Stage, name: Benchmark) -> Result<Report, Failure> {
    let load = machine::load();
    let mut report = match name {
        Benchmark::Generation => generation::measure(stage).await,
        Benchmark::Ingest => ingest::measure(stage).await,
        Benchmark::Words => words::measure(stage).await,
        Benchmark::FollowUp => follow_up::measure(stage).await,
        Benchmark::Retrieval => retrieval::measure(stage).await,
        Benchmark::Folder => folder::measure(stage).await,
        Benchmark::Formats => formats::measure(stage).await,
    }?;
    report.benchmark = label(name);
    report.load_before = load;
    Ok(report)
}

impl Stage {
    /// Runs `work` with an engine on an empty data folder, which lies in the bench folder because a
    /// folder for temporary files may be in memory, where syncing costs nothing.
    async fn with_engine<T>(
        &self,
        models: &[&str],
        work: impl AsyncFnOnce(&Arc<Engine>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let folder = self.scratch()?;
        self.with_engine_on(folder.path(), self.config.clone(), models, work)
            .await
    }

    async fn with_engine_on<T>(
        &self,
        data_dir: &Path,
        config: Config,
        models: &[&str],
        work: impl AsyncFnOnce(&Arc<Engine>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut options = EngineOptions::new(data_dir, &self.models_dir);
        options.config = config;
        let engine = Engine::open(options).await?;
        let result = match require(&engine, models).await {
            Ok(()) => work(&engine).await,
            Err(failure) => Err(failure),
        };
        engine.shutdown().await;
        result
    }

    /// A folder that is removed with the result.
    fn scratch(&self) -> Result<tempfile::TempDir, Failure> {
        tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&self.bench_dir)
            .map_err(|error| Failure::internal(format!("no folder to work in: {error}")))
    }

    /// The files with this extension in a folder of the corpus, by name.
    fn documents(&self, folder: &str, extension: &str) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.corpus_dir.join(folder);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        if files.is_empty() {
            let message = format!("there are no documents in {}", folder.display());
            return Err(Failure::new(Code::NotFound, message)
                .with_hint("Bring them here with: cargo xtask corpus"));
        }
        files.sort();
        Ok(files)
    }
}

/// Fails unless all these models are here.
async fn require(engine: &Engine, models: &[&str]) -> Result<(), Failure> {
    let known = engine.models().await?;
    for id in models {
        let is_here = known
            .iter()
            .any(|model| model.id == *id && model.installed == Installed::Verified);
        if !is_here {
            let message = format!("{id} is not on this machine");
            return Err(Failure::new(Code::ModelMissing, message)
                .with_hint(format!("Bring it here with: docent models fetch {id}")));
        }
    }
    Ok(())
}

async fn new_workspace(engine: &Engine, name: &str) -> Result<WorkspaceScope, Failure> {
    let created = engine.create_workspace(name, None).await?;
    Ok(WorkspaceScope::new(created.id))
}
