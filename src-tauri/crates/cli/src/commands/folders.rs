//! `docent folders …`

use std::path::Path;
use std::sync::Arc;

use docent_api::dto::{Folder, FolderState, ScanSummary, WatchedBy};
use docent_api::error::Code;
use docent_domain::{FolderId, FolderPatterns, WorkspaceScope};
use docent_engine::Engine;
use serde_json::json;

use super::{Jobs, with_engine};
use crate::args::{Folders, InWorkspace, Patterns, Settings};
use crate::failure::Failure;
use crate::output::{Output, counted};

pub async fn run(settings: &Settings, output: Output, command: Folders) -> Result<(), Failure> {
    match command {
        Folders::List { workspace } => {
            with_engine(settings, Jobs::Rest, async |engine| {
                let scope = engine.scope(&workspace.workspace).await?;
                let folders: Vec<Folder> = engine
                    .folder_statuses(&scope)
                    .await?
                    .into_iter()
                    .map(Folder::from)
                    .collect();
                output.result(&folders, |folders| {
                    if folders.is_empty() {
                        "no folder is watched".to_owned()
                    } else {
                        folders.iter().map(text).collect::<Vec<_>>().join("\n")
                    }
                })
            })
            .await
        }
        Folders::Add {
            folder,
            patterns,
            workspace,
        } => {
            let path = super::absolute(&folder)?;
            let chosen = FolderPatterns::from(patterns);
            let chosen = (chosen != FolderPatterns::default()).then_some(chosen);
            changed(settings, output, &workspace, async |engine, scope| {
                let added = engine.add_folder_with(scope, &path, chosen.as_ref());
                Ok(added.await?.id)
            })
            .await
        }
        Folders::Patterns {
            folder,
            patterns,
            workspace,
        } => {
            let patterns = patterns.into();
            changed(settings, output, &workspace, async |engine, scope| {
                let id = find(engine, scope, &folder).await?;
                engine.set_folder_patterns(scope, id, &patterns).await?;
                Ok(id)
            })
            .await
        }
        Folders::Scan { folder, workspace } => {
            changed(settings, output, &workspace, async |engine, scope| {
                let id = find(engine, scope, &folder).await?;
                engine.scan_folder(scope, id).await?;
                Ok(id)
            })
            .await
        }
        Folders::Resume { folder, workspace } => {
            changed(settings, output, &workspace, async |engine, scope| {
                let id = find(engine, scope, &folder).await?;
                engine.resume_folder(scope, id).await?;
                Ok(id)
            })
            .await
        }
        Folders::Remove { folder, workspace } => {
            with_engine(settings, Jobs::Rest, async |engine| {
                let scope = engine.scope(&workspace.workspace).await?;
                let id = find(engine, &scope, &folder).await?;
                engine.remove_folder(&scope, id).await?;
                output.result(&json!({ "removed": id, "folder": folder }), |_| {
                    format!("{folder} is no longer watched")
                })
            })
            .await
        }
    }
}

impl From<Patterns> for FolderPatterns {
    fn from(patterns: Patterns) -> Self {
        let Patterns { include, exclude } = patterns;
        Self { include, exclude }
    }
}

/// Does something to a folder, waits until everything follows from it, and says how it is.
async fn changed(
    settings: &Settings,
    output: Output,
    workspace: &InWorkspace,
    change: impl AsyncFnOnce(&Arc<Engine>, &WorkspaceScope) -> Result<FolderId, Failure>,
) -> Result<(), Failure> {
    let folder = with_engine(settings, Jobs::Run, async |engine| {
        let scope = super::ingest::scope_or_new(engine, &workspace.workspace).await?;
        let id = change(engine, &scope).await?;
        super::ingest::searchable(engine, &scope, output).await?;
        Ok(Folder::from(engine.folder_status(&scope, id).await?))
    })
    .await?;
    output.result(&folder, text)?;
    match folder.state {
        FolderState::Watching => Ok(()),
        FolderState::Incomplete | FolderState::Paused => {
            Err(Failure::reported(folder.reason.unwrap_or_default()))
        }
    }
}

async fn find(engine: &Engine, scope: &WorkspaceScope, name: &str) -> Result<FolderId, Failure> {
    let path = std::fs::canonicalize(name).or_else(|_| std::path::absolute(name));
    let folders = engine.folders(scope).await?;
    let found = folders.iter().find(|folder| {
        folder.id.to_string() == name
            || path
                .as_deref()
                .is_ok_and(|path| path == Path::new(&folder.path))
    });
    found.map(|folder| folder.id).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("{name} is not watched"))
            .with_hint("See those that are with: docent folders list")
    })
}

fn text(folder: &Folder) -> String {
    let state = match folder.state {
        FolderState::Watching => "watching",
        FolderState::Incomplete => "incomplete",
        FolderState::Paused => "paused",
    };
    let mut lines = vec![format!("{}  {}  {state}", folder.id, folder.path)];
    if let Some(seen) = &folder.last_scan {
        lines.push(seen_text(seen));
    }
    let list = |name: &str, patterns: &[String]| {
        (!patterns.is_empty()).then(|| format!("{name} {}", patterns.join("  ")))
    };
    lines.extend(list("only", &folder.patterns.include));
    lines.extend(list("without", &folder.patterns.exclude));
    if folder.watched_by == WatchedBy::Polling {
        let reason = folder.polling_reason.as_deref().unwrap_or_default();
        lines.push(format!("looked at by the clock: {reason}"));
    }
    lines.extend(folder.reason.clone());
    lines.join("\n    ")
}

fn seen_text(seen: &ScanSummary) -> String {
    let left_out = [
        (seen.excluded, "excluded"),
        (seen.not_included, "not included"),
        (seen.hidden, "hidden"),
        (seen.temporary, "temporary"),
        (seen.special, "no files"),
        (seen.removed, "removed by you"),
    ];
    let left_out: Vec<String> = left_out
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    let mut text = counted(seen.files, "file");
    if !left_out.is_empty() {
        text = format!("{text}; left out: {}", left_out.join(", "));
    }
    text
}
