//! `docent workspaces …`

use docent_api::dto::Workspace;
use docent_api::error::Code;
use docent_domain::WorkspaceScope;
use serde_json::json;

use super::{Jobs, with_engine};
use crate::args::{Settings, Workspaces};
use crate::failure::Failure;
use crate::output::{Output, counted};

pub async fn run(settings: &Settings, output: Output, command: Workspaces) -> Result<(), Failure> {
    let command = match command {
        Workspaces::Embedder(embedder) => {
            return super::embedder::run(settings, output, embedder).await;
        }
        command => command,
    };
    with_engine(settings, Jobs::Rest, async |engine| match command {
        Workspaces::Embedder(_) => unreachable!("BUG: it was run before"),
        Workspaces::List => {
            let workspaces: Vec<Workspace> = engine
                .workspaces()
                .await?
                .into_iter()
                .map(Workspace::from)
                .collect();
            output.result(&workspaces, |workspaces| {
                let lines: Vec<String> = workspaces.iter().map(line).collect();
                if lines.is_empty() {
                    "no workspace yet".to_owned()
                } else {
                    lines.join("\n")
                }
            })
        }
        Workspaces::Create { name } => {
            let created = engine.create_workspace(&name, None).await?;
            let summary = engine.workspace(&WorkspaceScope::new(created.id)).await?;
            output.result(&Workspace::from(summary), |workspace| {
                format!("created {} ({})", workspace.name, workspace.id)
            })
        }
        Workspaces::Delete { name, yes } => {
            let scope = engine.scope(&name).await?;
            let workspace = Workspace::from(engine.workspace(&scope).await?);
            if !yes {
                let message = format!("{} is kept: deleting needs --yes", workspace.name);
                return Err(Failure::new(Code::BadRequest, message).with_hint(format!(
                    "It has {} and their chats. Files in watched folders would stay.",
                    counted(documents(&workspace), "document")
                )));
            }
            engine.delete_workspace(&scope).await?;
            output.result(
                &json!({ "deleted": workspace.id, "name": workspace.name }),
                |_| format!("deleted {}", workspace.name),
            )
        }
    })
    .await
}

fn documents(workspace: &Workspace) -> u64 {
    let counts = &workspace.counts;
    counts.queued + counts.reading + counts.words + counts.ready + counts.failed + counts.skipped
}

fn line(workspace: &Workspace) -> String {
    format!(
        "{}  {}  {}, {} searchable  {}",
        workspace.id,
        workspace.name,
        counted(documents(workspace), "document"),
        workspace.counts.words + workspace.counts.ready,
        workspace.embedder,
    )
}
