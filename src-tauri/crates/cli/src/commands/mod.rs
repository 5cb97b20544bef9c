//! The commands, one module each.

pub mod ask;
pub mod bench;
pub mod doctor;
pub mod documents;
pub mod embedder;
pub mod eval;
pub mod folders;
pub mod ingest;
pub mod jobs;
pub mod models;
pub mod openapi;
pub mod search;
pub mod serve;
pub mod workspaces;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use docent_api::error::Code;
use docent_engine::{Config, Engine, EngineOptions};

use crate::args::Settings;
use crate::failure::Failure;
use crate::folders as locations;

/// Whether a command lets background work run beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jobs {
    Run,
    /// The command looks or answers; the cores are its own.
    Rest,
}

fn data_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.data_dir {
        Some(folder) => absolute(folder),
        None => absolute(&locations::default_data_dir()),
    }
}

fn models_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.models_dir {
        Some(folder) => absolute(folder),
        None => Ok(locations::default_models_dir(&data_dir(settings)?)),
    }
}

/// Folders are compared, and passed on to workers, by absolute path.
fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(folder).map_err(|error| {
        let message = format!("{} is not a folder: {error}", folder.display());
        Failure::new(Code::BadRequest, message)
    })
}

async fn open(settings: &Settings, jobs: Jobs) -> Result<Arc<Engine>, Failure> {
    let data_dir = data_dir(settings)?;
    let mut config = Config::load(&data_dir.join("config.toml"))?;
    if let Some(model) = &settings.model {
        config.generator.clone_from(model);
    }
    if let Some(embedder) = &settings.embedder {
        config.embedder.clone_from(embedder);
    }
    let mut options = EngineOptions::new(data_dir, models_dir(settings)?);
    options.config = config;
    options.run_jobs = jobs == Jobs::Run;
    Ok(Engine::open(options).await?)
}

/// Runs `work` with an engine, and closes the engine whatever came of it.
async fn with_engine<T>(
    settings: &Settings,
    jobs: Jobs,
    work: impl AsyncFnOnce(&Arc<Engine>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let engine = open(settings, jobs).await?;
    let result = work(&engine).await;
    // Where jobs run, it is one of them.
    if jobs == Jobs::Rest && !engine.wipe_rest().await {
        eprintln!("Some of what was removed is still in Docent's files. The next start wipes it.");
    }
    engine.shutdown().await;
    result
}
