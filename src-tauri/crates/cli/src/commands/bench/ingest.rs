//! A folder of help pages until all of it is searchable, against embedding its passages alone: the
//! same texts through the same process.

use std::time::Instant;

use docent_engine::parts::EmbedKind;

use super::report::{Report, Row};
use super::rounds::{Paired, median};
use super::{Stage, new_workspace};
use crate::commands::documents;
use crate::failure::Failure;

/// Of the corpus.
const FOLDER: &str = "help/en";

struct Seconds {
    total: f64,
    /// Until every file was read; nothing is embedded before. 0 for embedding alone.
    reading: f64,
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let files = stage.documents(FOLDER, "html")?.len();
    let folder = stage.corpus_dir.join(FOLDER);
    let models = [&*stage.config.embedder, "onnxruntime"];
    stage
        .with_engine(&models, async |engine| {
            // Loads the embedder, and gives the texts.
            let scope = new_workspace(engine, "first").await?;
            engine.add_paths(&scope, vec![folder.clone()]).await?;
            engine.wait_idle(&scope, |_| {}).await?;
            let embedder = engine.embedder(&scope).await?;
            let mut texts = Vec::new();
            for document in documents::all(engine, &scope, None).await? {
                texts.extend(engine.embedded_texts(&scope, document.id).await?);
            }
            engine.delete_workspace(&scope).await?;

            let paired = Paired::run(
                stage.rounds,
                async |round| {
                    let scope = new_workspace(engine, &format!("round {round}")).await?;
                    let begun = Instant::now();
                    engine.add_paths(&scope, vec![folder.clone()]).await?;
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
                    Ok(Seconds { total, reading })
                },
                async |_| {
                    let texts = texts.clone();
                    let begun = Instant::now();
                    embedder
                        .embed(EmbedKind::Passage, texts)
                        .await
                        .map_err(|error| Failure::internal(error.to_string()))?;
                    Ok(Seconds {
                        total: begun.elapsed().as_secs_f64(),
                        reading: 0.0,
                    })
                },
            )
            .await?;
            let total = |seconds: &Seconds| seconds.total;
            let reading = median(paired.rounds.iter().map(|(ingest, _)| ingest.reading));
            let setting = format!(
                "{files} help pages, {} passages, median of {}",
                texts.len(),
                stage.rounds
            );
            let row = Row::new("until all is searchable", paired.figure(total), "s").against(
                "for embedding alone",
                paired.baseline(total),
                paired.ratio(total),
            );
            Ok(
                Report::new(setting, vec![row.ratio_at_most(1.15)]).note(format!(
                    "The first vector was there after {reading:.2} s, when every file was read and \
                     searchable by words."
                )),
            )
        })
        .await
}
