//! PDF pages until their words are searchable, against extracting their text alone in the same
//! processes. Embedding, which would follow, is held back.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use docent_api::error::Code;
use docent_domain::WorkspaceScope;
use docent_engine::{AddedFolders, Engine};

use super::report::{Report, Row};
use super::rounds::Paired;
use super::{Stage, machine, new_workspace};
use crate::failure::Failure;

const FOLDER: &str = "manuals";

/// Between two looks at whether everything is searchable.
const LOOK: Duration = Duration::from_millis(5);

/// Files that are extracted side by side, as the engine does.
const LANES: usize = 2;

struct Spent {
    wall: Duration,
    /// Processor time of all processes.
    processor: Duration,
}

impl Spent {
    async fn on(work: impl Future<Output = Result<(), Failure>>) -> Result<Self, Failure> {
        let unknown = || {
            Failure::new(
                Code::Unsupported,
                "this system does not tell processor time",
            )
        };
        let before = machine::processor_time().ok_or_else(unknown)?;
        let begun = Instant::now();
        work.await?;
        let wall = begun.elapsed();
        let after = machine::processor_time().ok_or_else(unknown)?;
        Ok(Self {
            wall,
            processor: after.saturating_sub(before),
        })
    }
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let files = stage.documents(FOLDER, "pdf")?;
    let models = [&*stage.config.embedder, "onnxruntime", "pdfium"];
    stage
        .with_engine(&models, async |engine| {
            let _held = engine.hold_embedding().await;
            // Starts the readers, and counts.
            let mut pages = 0;
            for file in &files {
                pages += engine.extract(file).await?;
            }
            let paired = Paired::run(
                stage.rounds,
                async |round| {
                    let scope = new_workspace(engine, &format!("round {round}")).await?;
                    let spent = Spent::on(searchable(engine, &scope, &files)).await?;
                    engine.delete_workspace(&scope).await?;
                    Ok(spent)
                },
                async |_| Spent::on(extracted(engine, &files)).await,
            )
            .await?;
            let per_core = |spent: &Spent| pages as f64 / spent.processor.as_secs_f64();
            let per_second = |spent: &Spent| pages as f64 / spent.wall.as_secs_f64();
            let setting = format!(
                "{} PDF manuals, {pages} pages, median of {}",
                files.len(),
                stage.rounds
            );
            Ok(Report::new(
                setting,
                vec![
                    Row::new(
                        "per second of one core",
                        paired.figure(per_core),
                        "pages/s",
                    )
                    .against(
                        "for extraction alone",
                        paired.baseline(per_core),
                        paired.ratio(per_core),
                    )
                    .at_least(500.0),
                    Row::new(
                        "per second on the clock",
                        paired.figure(per_second),
                        "pages/s",
                    )
                    .against(
                        "for extraction alone",
                        paired.baseline(per_second),
                        paired.ratio(per_second),
                    ),
                ],
            )
            .note(
                "A core's second is one of processor time, of all processes. On the clock most waits \
                 for the longest manual, which one process reads.",
            ))
        })
        .await
}

async fn searchable(
    engine: &std::sync::Arc<Engine>,
    scope: &WorkspaceScope,
    files: &[PathBuf],
) -> Result<(), Failure> {
    engine
        .add_paths(scope, files.to_vec(), AddedFolders::Watch)
        .await?;
    let index = engine.index(scope).await?;
    loop {
        let counts = engine.counts(scope).await?;
        if counts.failed + counts.skipped > 0 {
            return Err(Failure::internal("a manual could not be read"));
        }
        if counts.queued + counts.reading == 0 {
            let words = index
                .word_keys()
                .map_err(|error| Failure::internal(error.to_string()))?;
            if words.len() == counts.chunks {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn extracted(engine: &Engine, files: &[PathBuf]) -> Result<(), Failure> {
    // The engine's lanes take the next file as they come free.
    let next = std::sync::Mutex::new(files.iter());
    let lane = || async {
        loop {
            let file = next
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .next();
            let Some(file) = file else {
                return Ok::<(), Failure>(());
            };
            engine.extract(file).await?;
        }
    };
    const { assert!(LANES == 2) };
    tokio::try_join!(lane(), lane())?;
    Ok(())
}
