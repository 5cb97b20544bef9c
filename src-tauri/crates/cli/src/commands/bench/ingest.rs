//! Folders of help pages and of PDF manuals until all of it is searchable, against embedding their
//! passages alone: the same texts through the same process, in the same batches and in as large ones as
//! it takes. Then the folder is compared with its rows, unchanged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use docent_engine::parts::{EmbedKind, Embedder};
use docent_engine::{AddedFolders, DocumentQuery, Engine};

use super::report::{Report, Row};
use super::rounds::{Paired, median};
use super::{Stage, new_workspace};
use crate::commands::documents;
use crate::failure::Failure;

/// Of the corpus.
const PAGES: &str = "help/en";
const MANUALS: &str = "manuals";

/// Manuals up to this size are taken, so that a round takes half a minute.
const MANUAL_BYTES: u64 = 500_000;

/// The same files, each set with its own target.
struct Set {
    name: &'static str,
    again: &'static str,
    files: Vec<PathBuf>,
    /// Of the time to embed its passages alone.
    at_most: f64,
}

struct Seconds {
    total: f64,
    /// Of an ingest, until every file was read; nothing is embedded before. Of embedding alone, the
    /// same with all texts in one call.
    other: f64,
    /// Of an ingest, comparing the folder with its rows when nothing has changed.
    again: f64,
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let manuals = stage
        .documents(MANUALS, "pdf")?
        .into_iter()
        .filter(|path| path.metadata().is_ok_and(|file| file.len() < MANUAL_BYTES));
    let sets = [
        Set {
            name: "help pages until all is searchable",
            again: "help pages, unchanged, once more",
            files: stage.documents(PAGES, "html")?,
            at_most: 1.10,
        },
        Set {
            name: "PDF manuals until all is searchable",
            again: "PDF manuals, unchanged, once more",
            files: manuals.collect(),
            at_most: 1.15,
        },
    ];
    let scratch = stage.scratch()?;
    let models = [&*stage.config.embedder, "onnxruntime", "pdfium"];
    stage
        .with_engine(&models, async |engine| {
            let mut rows = Vec::new();
            let mut settings = Vec::new();
            let mut notes = Vec::new();
            for (number, set) in sets.iter().enumerate() {
                let folder = scratch.path().join(number.to_string());
                copy(&set.files, &folder).map_err(|error| {
                    Failure::internal(format!("the files cannot be copied: {error}"))
                })?;
                let (passages, paired) = rounds(stage, engine, &folder).await?;
                let rounds = &paired.rounds;
                let total = |seconds: &Seconds| seconds.total;
                let at_once = median(rounds.iter().map(|(_, alone)| alone.other));
                let to_at_once = rounds
                    .iter()
                    .map(|(ingest, alone)| ingest.total / alone.other);
                let row = || Row::new(set.name, paired.figure(total), "s");
                rows.push(
                    row()
                        .against(
                            "for embedding alone",
                            paired.baseline(total),
                            paired.ratio(total),
                        )
                        .ratio_at_most(set.at_most),
                );
                rows.push(row().against("for embedding in one call", at_once, median(to_at_once)));
                let faster = rounds.iter().map(|(ingest, _)| ingest.total / ingest.again);
                rows.push(
                    Row::new(set.again, paired.figure(|ingest| ingest.again * 1e3), "ms")
                        .against(
                            "the first time",
                            paired.figure(|ingest| ingest.total * 1e3),
                            median(faster),
                        )
                        .ratio_at_least(200.0),
                );
                settings.push(format!("{} files, {passages} passages", set.files.len()));
                let reading = median(rounds.iter().map(|(ingest, _)| ingest.other));
                notes.push(format!("{reading:.2} s"));
            }
            let setting = format!("{}, median of {}", settings.join(" and "), stage.rounds);
            Ok(Report::new(setting, rows).note(format!(
                "The first vector was there after {}, when every file was read and searchable by \
                 words.",
                notes.join(" and ")
            )))
        })
        .await
}

fn copy(files: &[PathBuf], folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir(folder)?;
    for file in files {
        std::fs::copy(file, folder.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// How many passages the folder gives, and the rounds.
async fn rounds(
    stage: &Stage,
    engine: &Arc<Engine>,
    folder: &Path,
) -> Result<(usize, Paired<Seconds>), Failure> {
    // Loads the embedder, and gives the texts.
    let scope = new_workspace(engine, "first").await?;
    engine
        .add_paths(&scope, vec![folder.to_owned()], AddedFolders::Watch)
        .await?;
    engine.wait_idle(&scope, |_| {}).await?;
    let embedder = engine.embedder(&scope).await?;
    let mut batches = Vec::new();
    for document in documents::all(engine, &scope, DocumentQuery::default()).await? {
        batches.extend(engine.embedded_texts(&scope, document.id).await?);
    }
    engine.delete_workspace(&scope).await?;

    let paired = Paired::run(
        stage.rounds,
        async |round| {
            let scope = new_workspace(engine, &format!("round {round}")).await?;
            let begun = Instant::now();
            engine
                .add_paths(&scope, vec![folder.to_owned()], AddedFolders::Watch)
                .await?;
            let mut reading = 0.0;
            engine
                .wait_idle(&scope, |counts| {
                    if counts.embedded_chunks == 0 {
                        reading = begun.elapsed().as_secs_f64();
                    }
                })
                .await?;
            let total = begun.elapsed().as_secs_f64();
            let watched = engine.folder_statuses(&scope).await?;
            let watched = watched
                .first()
                .ok_or_else(|| Failure::internal("the folder is not watched"))?;
            let begun = Instant::now();
            engine.scan_now(&scope, watched.folder.id).await?;
            let again = begun.elapsed().as_secs_f64();
            engine.delete_workspace(&scope).await?;
            Ok(Seconds {
                total,
                other: reading,
                again,
            })
        },
        async |_| {
            let begun = Instant::now();
            for batch in &batches {
                embed(&embedder, batch.clone()).await?;
            }
            let total = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            embed(&embedder, batches.concat()).await?;
            Ok(Seconds {
                total,
                other: begun.elapsed().as_secs_f64(),
                again: 0.0,
            })
        },
    )
    .await?;
    Ok((batches.iter().map(Vec::len).sum(), paired))
}

async fn embed(embedder: &Arc<dyn Embedder>, texts: Vec<String>) -> Result<(), Failure> {
    embedder
        .embed(EmbedKind::Passage, texts)
        .await
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok(())
}
