//! What following a large folder costs: comparing 200,000 files with their rows, against walking over
//! them alone, and watching them while nothing happens. No file is read.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use docent_api::error::Code;
use docent_domain::{FolderPatterns, WorkspaceScope};
use docent_engine::{Engine, EngineOptions, Watch};

use super::report::{Report, Row};
use super::rounds::Paired;
use super::{Stage, machine, new_workspace};
use crate::failure::Failure;

const FOLDERS: usize = 2_000;
const FILES_EACH: usize = 100;

/// What follows the first scan has ended after this.
const SETTLED: Duration = Duration::from_secs(10);

/// For so long nothing happens. Roots are checked every ten seconds, models and indexes every thirty.
const IDLE: Duration = Duration::from_mins(1);

/// Between two looks at whether the folder is watched.
const LOOK: Duration = Duration::from_millis(50);

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let scratch = stage.scratch()?;
    let tree = scratch.path().join("tree");
    write_tree(&tree).map_err(|error| {
        Failure::new(
            Code::BadRequest,
            format!("the files cannot be written: {error}"),
        )
    })?;
    let mut rows = scans(stage, &scratch.path().join("data"), &tree).await?;
    rows.extend(idle(stage, &scratch.path().join("idle"), &tree).await?);
    let setting = format!(
        "{} files in {FOLDERS} folders, median of {}",
        FOLDERS * FILES_EACH,
        stage.rounds
    );
    Ok(Report::new(setting, rows)
        .note("Memory is all that the process held at most during a scan."))
}

fn write_tree(tree: &Path) -> std::io::Result<()> {
    for folder in 0..FOLDERS {
        let folder = tree.join(format!("{:02}/{folder:04}", folder % 50));
        std::fs::create_dir_all(&folder)?;
        for file in 0..FILES_EACH {
            std::fs::write(folder.join(format!("{file:03}.txt")), "x")?;
        }
    }
    Ok(())
}

async fn open(stage: &Stage, data: &Path, run_jobs: bool) -> Result<Arc<Engine>, Failure> {
    let mut options = EngineOptions::new(data, &stage.models_dir);
    options.config = stage.config.clone();
    options.run_jobs = run_jobs;
    Ok(Engine::open(options).await?)
}

async fn scans(stage: &Stage, data: &Path, tree: &Path) -> Result<Vec<Row>, Failure> {
    // Without jobs nothing is read, and scans are made when they are asked for.
    let engine = open(stage, data, false).await?;
    let scope = new_workspace(&engine, "folder").await?;
    let folder = engine.add_folder(&scope, tree).await?;
    let walk = async || {
        let begun = Instant::now();
        engine.walk(tree).await?;
        Ok::<f64, Failure>(begun.elapsed().as_secs_f64())
    };
    walk().await?;
    let walked = walk().await?;
    let begun = Instant::now();
    engine.scan_now(&scope, folder.id).await?;
    let first = begun.elapsed().as_secs_f64();
    let known = engine.counts(&scope).await?.queued;
    if known != (FOLDERS * FILES_EACH) as u64 {
        return Err(Failure::internal(format!("{known} files were found")));
    }
    let mut memory = 0.0_f64;
    let paired = Paired::run(
        stage.rounds,
        async |_| {
            let is_known = machine::forget_peak_memory();
            let begun = Instant::now();
            engine.scan_now(&scope, folder.id).await?;
            let took = begun.elapsed().as_secs_f64();
            if let (true, Some(peak)) = (is_known, machine::peak_memory()) {
                memory = memory.max(peak as f64 / 1e6);
            }
            Ok(took)
        },
        async |_| walk().await,
    )
    .await?;
    engine.shutdown().await;
    Ok(vec![
        Row::new("first scan", first, "s").against("walking alone", walked, first / walked),
        Row::new("unchanged, scanned again", paired.figure(|s| *s), "s")
            .against(
                "walking alone",
                paired.baseline(|s| *s),
                paired.ratio(|s| *s),
            )
            .at_most(5.0),
        Row::new("memory meanwhile", memory, "MB").at_most(200.0),
    ])
}

/// All are walked over and watched, and none is wanted, so that there is nothing to read.
async fn idle(stage: &Stage, data: &Path, tree: &Path) -> Result<Vec<Row>, Failure> {
    let engine = open(stage, data, true).await?;
    let scope = new_workspace(&engine, "folder").await?;
    let patterns = FolderPatterns {
        include: vec!["none".to_owned()],
        exclude: Vec::new(),
    };
    engine
        .add_folder_with(&scope, tree, Some(&patterns))
        .await?;
    let watch = watched(&engine, &scope).await?;
    engine.wait_idle(&scope, |_| {}).await?;
    let unknown = || {
        Failure::new(
            Code::Unsupported,
            "this system does not tell processor time",
        )
    };
    tokio::time::sleep(SETTLED).await;
    let before = machine::processor_time().ok_or_else(unknown)?;
    tokio::time::sleep(IDLE).await;
    let after = machine::processor_time().ok_or_else(unknown)?;
    engine.shutdown().await;
    let share = after.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
    let name = match watch {
        Watch::Events => "a core, watching by events",
        Watch::Polling { .. } | Watch::No => "a core, watching by the clock",
    };
    Ok(vec![Row::new(name, share * 100.0, "%").at_most(1.0)])
}

async fn watched(engine: &Engine, scope: &WorkspaceScope) -> Result<Watch, Failure> {
    loop {
        let folders = engine.folder_statuses(scope).await?;
        if let Some(folder) = folders.first()
            && folder.watch != Watch::No
            && folder.folder.last_scan.is_some()
        {
            return Ok(folder.watch.clone());
        }
        tokio::time::sleep(LOOK).await;
    }
}
