//! Workspaces: create, rename, delete, find.

use std::sync::Arc;
use std::time::Duration;

use docent_domain::{Timestamp, Workspace, WorkspaceId, WorkspaceName, WorkspaceScope};

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::types::{Topic, WorkspaceSummary};

/// How often, and how many times, a workspace that is deleted is looked at for jobs that still run.
const JOB_LOOK: Duration = Duration::from_millis(50);
const JOB_LOOKS: u32 = 200;

impl Engine {
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceSummary>> {
        let mut summaries = Vec::new();
        for workspace in self.store().workspaces().list().await? {
            summaries.push(self.summary(workspace).await?);
        }
        Ok(summaries)
    }

    pub async fn workspace(&self, scope: &WorkspaceScope) -> Result<WorkspaceSummary> {
        let workspace = self.store().workspaces().get(scope).await?;
        self.summary(workspace).await
    }

    /// `embedder` is a catalog id; `None` takes the configured one.
    pub async fn create_workspace(&self, name: &str, embedder: Option<&str>) -> Result<Workspace> {
        let name = parse_name(name)?;
        let embedder = embedder.unwrap_or(&self.config().embedder);
        if !self.model_set().knows_embedder(embedder) {
            return Err(
                Error::invalid(format!("there is no embedder called {embedder:?}"))
                    .with_hint("`docent models list` names them"),
            );
        }
        let workspace = self
            .store()
            .workspaces()
            .create(&name, embedder, Timestamp::now())
            .await?;
        self.changed(Topic::Workspaces, Some(workspace.id));
        Ok(workspace)
    }

    pub async fn rename_workspace(&self, scope: &WorkspaceScope, name: &str) -> Result<Workspace> {
        let name = parse_name(name)?;
        let workspace = self
            .store()
            .workspaces()
            .rename(scope, &name, Timestamp::now())
            .await?;
        self.changed(Topic::Workspaces, Some(workspace.id));
        Ok(workspace)
    }

    /// Removes a workspace with all that belongs to it. The user's own files stay where they are.
    pub async fn delete_workspace(self: &Arc<Self>, scope: &WorkspaceScope) -> Result<()> {
        for folder in self.store().folders().list(scope).await? {
            self.watching().remove(folder.id);
        }
        for chat in self.store().chats().list(scope).await? {
            for message in self.store().chats().messages(scope, chat.id).await? {
                self.answering().cancel(message.id);
            }
        }
        // The rows go first: what a crash leaves after this has no owner, and the next start
        // removes it.
        self.store().workspaces().delete(scope).await?;
        self.expander().forget();
        self.wipe_removed_rows().await;
        // Whatever is still at work could open the index again, or keep it from being removed.
        for _ in 0..JOB_LOOKS {
            if !self.reader().cancel_all(scope.workspace()) {
                break;
            }
            tokio::time::sleep(JOB_LOOK).await;
        }
        {
            let mut changing = self.changes().interrupt().await;
            self.changes().forget(&mut changing, scope);
            let _committing = self.reader().committing().await;
            self.reader().forget(scope.workspace());
            self.destroy_index(scope).await;
        }
        self.remove_blobs(scope).await;
        self.changed(Topic::Workspaces, Some(scope.workspace()));
        Ok(())
    }

    /// Removes the index of a workspace that is no more, now or when nobody uses it any more.
    pub(crate) async fn destroy_index(&self, scope: &WorkspaceScope) {
        if !self.indexes().destroy(scope).await {
            self.reader().wipe_soon(scope.workspace());
        }
    }

    /// The scope of a workspace given by its name (in any case) or its id.
    pub async fn scope(&self, name_or_id: &str) -> Result<WorkspaceScope> {
        // Ids first: no name takes the place of a workspace that is asked for by its id.
        if let Ok(id) = name_or_id.parse::<WorkspaceId>() {
            let scope = WorkspaceScope::new(id);
            self.store().workspaces().get(&scope).await?;
            return Ok(scope);
        }
        if let Ok(name) = WorkspaceName::parse(name_or_id)
            && let Some(workspace) = self.store().workspaces().find_by_name(&name).await?
        {
            return Ok(WorkspaceScope::new(workspace.id));
        }
        Err(Error::new(
            Code::NotFound,
            format!("there is no workspace called {name_or_id:?}"),
        )
        .with_hint("Create it first; `docent workspaces list` names those there are"))
    }

    async fn summary(&self, workspace: Workspace) -> Result<WorkspaceSummary> {
        let scope = WorkspaceScope::new(workspace.id);
        let counts = self.store().workspaces().document_counts(&scope).await?;
        let languages = self.store().workspaces().languages(&scope).await?;
        Ok(WorkspaceSummary {
            workspace,
            counts,
            languages,
        })
    }
}

fn parse_name(name: &str) -> Result<WorkspaceName> {
    if name.trim().parse::<WorkspaceId>().is_ok() {
        return Err(Error::invalid("a workspace's name cannot look like an id"));
    }
    WorkspaceName::parse(name).map_err(|error| Error::invalid(error.to_string()))
}
