//! `docent models …`: works without a data folder and beside a running Docent.

use std::fmt::Write;
use std::sync::Arc;

use docent_api::error::Code;
use docent_engine::catalog::Catalog;
use docent_engine::model_files::{self, FetchProgress, FetchStep, ModelStore, Status};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::models_dir;
use crate::args::{Models, Settings};
use crate::failure::Failure;
use crate::output::{self, Output, bytes, counted};

#[derive(Serialize)]
struct Listed {
    id: String,
    role: &'static str,
    name: String,
    size_bytes: u64,
    memory_bytes: u64,
    licence: String,
    installed: &'static str,
    /// What is wrong or missing.
    trouble: Option<String>,
    note: Option<String>,
}

pub async fn run(settings: &Settings, output: Output, command: Models) -> Result<(), Failure> {
    let folder = models_dir(settings)?;
    let store = blocking(move || ModelStore::open(folder)).await?;
    match command {
        Models::List => list(output, store).await,
        Models::Fetch {
            ids,
            tests,
            starter: _,
        } => {
            let ids = if tests {
                Catalog::test_set().into_iter().map(str::to_owned).collect()
            } else if ids.is_empty() {
                Catalog::starter()
                    .iter()
                    .map(|id| (*id).to_owned())
                    .collect()
            } else {
                ids
            };
            fetch(output, &store, &ids).await
        }
        Models::Verify { ids } => verify(output, store, ids).await,
    }
}

async fn list(output: Output, store: ModelStore) -> Result<(), Failure> {
    let listed: Vec<Listed> = blocking(move || Ok(store.list()))
        .await?
        .into_iter()
        .map(|(entry, status)| Listed {
            role: entry.role.as_str(),
            size_bytes: entry.size_bytes(),
            installed: status.as_str(),
            trouble: trouble(&status),
            id: entry.id,
            name: entry.name,
            memory_bytes: entry.memory_bytes,
            licence: entry.licence,
            note: entry.note,
        })
        .collect();
    output.result(&listed, |listed| {
        let width = listed.iter().map(|model| model.id.len()).max().unwrap_or(0);
        let mut text = String::new();
        for model in listed {
            let _ = writeln!(
                text,
                "{:<8}  {:<width$}  {:<9}  {:>8}  {}",
                model.installed,
                model.id,
                model.role,
                bytes(model.size_bytes),
                model
                    .trouble
                    .as_ref()
                    .or(model.note.as_ref())
                    .map_or("", String::as_str),
            );
        }
        text
    })
}

fn trouble(status: &Status) -> Option<String> {
    match status {
        Status::Missing | Status::Verified => None,
        Status::Partial { missing } => Some(format!("still to come: {}", missing.join(", "))),
        Status::Damaged { sentence, .. } => Some(sentence.clone()),
    }
}

async fn fetch(output: Output, store: &ModelStore, ids: &[String]) -> Result<(), Failure> {
    // A misspelt name is told before anything is downloaded.
    for id in ids {
        store.entry(id).map_err(failure)?;
    }
    let cancel = CancellationToken::new();
    let mut fetched = Vec::new();
    for id in ids {
        let bar = output.progress("{prefix} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {msg}");
        bar.set_prefix(id.clone());
        let shown = bar.clone();
        let on_progress: model_files::OnProgress = Arc::new(move |progress: FetchProgress| {
            shown.set_length(progress.total);
            shown.set_position(progress.done);
            shown.set_message(match progress.step {
                FetchStep::Verifying => format!("verifying {}", progress.what),
                FetchStep::Downloading => format!("downloading {}", progress.what),
                FetchStep::Assembling => format!("putting {} together", progress.what),
                FetchStep::Converting => format!("converting {}", progress.what),
            });
        });
        let fetching = store.fetch(id, on_progress, cancel.child_token());
        tokio::pin!(fetching);
        let result = tokio::select! {
            result = &mut fetching => result,
            _ = tokio::signal::ctrl_c() => {
                cancel.cancel();
                fetching.await
            }
        };
        bar.finish_and_clear();
        result.map_err(failure)?;
        if !output.is_json() {
            output::line(format!("{id} is here and verified"))?;
        }
        fetched.push(id);
    }
    if output.is_json() {
        output.result(&serde_json::json!({ "fetched": fetched }), |_| {
            String::new()
        })?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Verified {
    id: String,
    installed: &'static str,
    trouble: Option<String>,
}

async fn verify(output: Output, store: ModelStore, ids: Vec<String>) -> Result<(), Failure> {
    let verified = blocking(move || {
        let ids = if ids.is_empty() {
            let here = store
                .list()
                .into_iter()
                .filter(|(_, status)| *status != Status::Missing);
            here.map(|(entry, _)| entry.id).collect()
        } else {
            ids
        };
        ids.into_iter()
            .map(|id| {
                let status = store.verify(&id)?;
                Ok(Verified {
                    installed: status.as_str(),
                    trouble: trouble(&status),
                    id,
                })
            })
            .collect::<Result<Vec<_>, model_files::Error>>()
    })
    .await?;
    output.result(&verified, |verified| {
        let mut text = String::new();
        for model in verified {
            let _ = write!(text, "{}: {}", model.id, model.installed);
            let _ = match &model.trouble {
                Some(trouble) => writeln!(text, ": {trouble}"),
                None => writeln!(text),
            };
        }
        if verified.is_empty() {
            text.push_str("no model is here yet\n");
        }
        text
    })?;
    match verified
        .iter()
        .filter(|model| model.installed != "verified")
        .count() as u64
    {
        0 => Ok(()),
        wrong => Err(
            Failure::reported(format!("{} not as it should be", counted(wrong, "model")))
                .with_hint("Bring it here again with: docent models fetch ID"),
        ),
    }
}

fn failure(error: model_files::Error) -> Failure {
    Failure::from(docent_engine::Error::from(error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, model_files::Error> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(Code::Internal, error.to_string()))?
        .map_err(failure)
}
