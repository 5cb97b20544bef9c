//! `docent jobs …`

use std::fs::File;
use std::io::Write;
use std::path::Path;

use docent_api::dto::{Job, JobCounts, JobList, JobsChanged, WorkProgress};
use docent_api::error::Code;
use docent_domain::{JobState, JobType, WorkspaceScope};
use docent_engine::{Engine, Export, ExportFormat, JobFilter, Over};

use super::{Jobs as Background, with_engine};
use crate::args::{ExportChoice, Jobs, Settings};
use crate::failure::Failure;
use crate::output::{Output, counted, piece};

/// The largest page that the engine gives.
const PAGE: usize = 500;

pub async fn run(settings: &Settings, output: Output, command: Jobs) -> Result<(), Failure> {
    with_engine(settings, Background::Rest, async |engine| match command {
        Jobs::List {
            workspace,
            state,
            kind,
            limit,
        } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let list = list(engine, &scope, state, kind, limit as usize).await?;
            output.result(&list, text)
        }
        Jobs::Pause { workspace } => {
            let scope = engine.scope(&workspace.workspace).await?;
            engine.pause_work(&scope).await?;
            control(engine, &scope, output).await
        }
        Jobs::Resume { workspace } => {
            let scope = engine.scope(&workspace.workspace).await?;
            engine.resume_work(&scope).await?;
            control(engine, &scope, output).await
        }
        Jobs::Cancel {
            workspace,
            id,
            all: _,
        } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let jobs = match id {
                Some(id) => {
                    engine.cancel_job(&scope, id).await?;
                    1
                }
                None => engine.cancel_all_jobs(&scope).await?,
            };
            output.result(&JobsChanged { jobs }, |changed| {
                format!("{} cancelled", counted(changed.jobs, "job"))
            })
        }
        Jobs::Retry {
            workspace,
            id,
            failed: _,
            cancelled,
        } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let jobs = match id {
                Some(id) => {
                    engine.retry_job(&scope, id).await?;
                    1
                }
                None if cancelled => engine.retry_jobs(&scope, Over::Cancelled).await?,
                None => engine.retry_jobs(&scope, Over::Dead).await?,
            };
            output.result(&JobsChanged { jobs }, |changed| {
                format!("{} queued again", counted(changed.jobs, "job"))
            })
        }
        Jobs::Export {
            workspace,
            format,
            output: file,
        } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let format = match format {
                ExportChoice::Csv => ExportFormat::Csv,
                ExportChoice::Json => ExportFormat::Json,
            };
            export(engine, Export::new(scope, format), file.as_deref()).await
        }
    })
    .await
}

/// The first `limit` jobs, page by page.
async fn list(
    engine: &Engine,
    scope: &WorkspaceScope,
    state: Option<JobState>,
    kind: Option<JobType>,
    limit: usize,
) -> Result<JobList, Failure> {
    let mut list: Option<JobList> = None;
    loop {
        let (listed, cursor) = list.as_mut().map_or((0, None), |list| {
            (list.items.len(), list.next_cursor.take())
        });
        let filter = JobFilter {
            state,
            kind,
            cursor,
            limit: (limit - listed).min(PAGE),
        };
        let mut page = JobList::from(engine.jobs(scope, filter).await?);
        if let Some(before) = list {
            page.items.splice(0..0, before.items);
        }
        if page.next_cursor.is_none() || page.items.len() >= limit {
            return Ok(page);
        }
        list = Some(page);
    }
}

async fn control(engine: &Engine, scope: &WorkspaceScope, output: Output) -> Result<(), Failure> {
    let filter = JobFilter {
        limit: 1,
        ..JobFilter::default()
    };
    let page = JobList::from(engine.jobs(scope, filter).await?);
    output.result(&page.progress, |progress| summary(progress, &page.counts))
}

async fn export(engine: &Engine, mut export: Export, file: Option<&Path>) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        let name = file.map_or_else(String::new, |file| file.display().to_string());
        Failure::new(
            Code::BadRequest,
            format!("{name} cannot be written: {error}"),
        )
    };
    let mut written = file.map(File::create).transpose().map_err(cannot)?;
    while let Some(text) = export.next(engine).await? {
        match &mut written {
            Some(file) => file.write_all(text.as_bytes()).map_err(cannot)?,
            None => piece(&text)?,
        }
    }
    if let Some(file) = written {
        file.sync_all().map_err(cannot)?;
    }
    Ok(())
}

fn text(list: &JobList) -> String {
    let mut lines = vec![summary(&list.progress, &list.counts)];
    lines.extend(list.items.iter().map(line));
    if list.next_cursor.is_some() {
        lines.push("… (--limit shows more)".to_owned());
    }
    lines.join("\n")
}

fn summary(progress: &WorkProgress, counts: &JobCounts) -> String {
    let state = if progress.paused {
        "paused"
    } else if counts.queued + counts.running == 0 {
        "nothing to do"
    } else {
        "at work when Docent runs"
    };
    format!(
        "{state}: {} of {} done; {} waiting, {} failed, {} cancelled",
        progress.files_done,
        counted(progress.files_total, "file"),
        counts.queued,
        counts.dead,
        counts.cancelled
    )
}

fn line(job: &Job) -> String {
    let state = JobState::from(job.state).as_str();
    let kind = JobType::from(job.kind).as_str();
    let mut line = format!("{state:<9} {kind:<5} {}  {}", job.id, job.path);
    if job.attempts > 1 {
        line = format!(
            "{line}  ({} of {} attempts)",
            job.attempts, job.max_attempts
        );
    }
    if let Some(reason) = &job.reason {
        line = format!("{line}\n          {reason}");
    }
    line
}
