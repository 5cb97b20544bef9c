//! A folder of help pages until all of it is searchable, against embedding its passages alone: the
//! same texts through the same process, in the same batches and in as large ones as it takes.

use std::sync::Arc;
use std::time::Instant;

use docent_engine::parts::{EmbedKind, Embedder};
use docent_engine::{AddedFolders, DocumentQuery};

use super::report::{Report, Row};
use super::rounds::{Paired, median};
use super::{Stage, new_workspace};
use crate::commands::documents;
use crate::failure::Failure;

/// Of the corpus.
const FOLDER: &str = "help/en";

struct Seconds {
    total: f64,
    /// Of an ingest, until every file was read; nothing is embedded before. Of embedding alone, the
    /// same with all texts in one call.
    other: f64,
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let files = stage.documents(FOLDER, "html")?.len();
    let folder = stage.corpus_dir.join(FOLDER);
    let models = [&*stage.config.embedder, "onnxruntime"];
    stage
        .with_engine(&models, async |engine| {
            // Loads the embedder, and gives the texts.
            let scope = new_workspace(engine, "first").await?;
            engine
                .add_paths(&scope, vec![folder.clone()], AddedFolders::Watch)
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
                        .add_paths(&scope, vec![folder.clone()], AddedFolders::Watch)
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
                    engine.delete_workspace(&scope).await?;
                    Ok(Seconds {
                        total,
                        other: reading,
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
                    })
                },
            )
            .await?;
            let total = |seconds: &Seconds| seconds.total;
            let rounds = &paired.rounds;
            let reading = median(rounds.iter().map(|(ingest, _)| ingest.other));
            let at_once = median(rounds.iter().map(|(_, alone)| alone.other));
            let to_at_once = rounds
                .iter()
                .map(|(ingest, alone)| ingest.total / alone.other);
            let setting = format!(
                "{files} help pages, {} passages, median of {}",
                batches.iter().map(Vec::len).sum::<usize>(),
                stage.rounds
            );
            let row = || Row::new("until all is searchable", paired.figure(total), "s");
            let rows = vec![
                row()
                    .against(
                        "for embedding alone",
                        paired.baseline(total),
                        paired.ratio(total),
                    )
                    .ratio_at_most(1.15),
                row().against("for embedding in one call", at_once, median(to_at_once)),
            ];
            Ok(Report::new(setting, rows).note(format!(
                "The first vector was there after {reading:.2} s, when every file was read and \
                 searchable by words."
            )))
        })
        .await
}

async fn embed(embedder: &Arc<dyn Embedder>, texts: Vec<String>) -> Result<(), Failure> {
    embedder
        .embed(EmbedKind::Passage, texts)
        .await
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok(())
}
