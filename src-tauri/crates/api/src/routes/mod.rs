//! The handlers, one module for each noun.

mod chats;
mod documents;
mod embedder;
mod events;
mod files;
mod folders;
mod health;
mod jobs;
mod metered;
mod models;
mod query;
mod range;
mod search;
mod uploads;
mod workspaces;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use docent_domain::WorkspaceScope;
use docent_engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, Code};
use crate::{ApiState, PREFIX};

/// The workspace that requests without one mean, when it exists.
const DEFAULT_WORKSPACE: &str = "default";

/// Every route with its documentation.
pub(crate) fn documented() -> OpenApiRouter<ApiState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(health::get_health))
        .routes(routes!(health::get_status))
        .routes(routes!(
            workspaces::list_workspaces,
            workspaces::create_workspace
        ))
        .routes(routes!(
            workspaces::get_workspace,
            workspaces::rename_workspace,
            workspaces::delete_workspace
        ))
        .routes(routes!(embedder::get_embedder))
        .routes(routes!(embedder::plan_embedder_change))
        .routes(routes!(
            embedder::change_embedder,
            embedder::cancel_embedder_change
        ))
        .routes(routes!(embedder::pause_embedder_change))
        .routes(routes!(embedder::resume_embedder_change))
        .routes(routes!(embedder::roll_back_embedder))
        .routes(routes!(embedder::discard_previous_vectors))
        .routes(routes!(folders::list_folders, folders::add_folder))
        .routes(routes!(folders::change_folder, folders::remove_folder))
        .routes(routes!(folders::scan_folder))
        .routes(routes!(folders::resume_folder))
        .routes(routes!(documents::import_documents))
        .routes(routes!(documents::list_problems))
        .routes(routes!(documents::get_document, documents::delete_document))
        .routes(routes!(documents::retry_document))
        .routes(routes!(documents::get_document_text))
        .routes(routes!(documents::list_document_chunks))
        .routes(routes!(files::get_document_file))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::export_jobs))
        .routes(routes!(jobs::pause_jobs))
        .routes(routes!(jobs::resume_jobs))
        .routes(routes!(jobs::cancel_all_jobs))
        .routes(routes!(jobs::retry_jobs))
        .routes(routes!(jobs::retry_job))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(chats::list_chats, chats::create_chat))
        .routes(routes!(
            chats::get_chat,
            chats::update_chat,
            chats::delete_chat
        ))
        .routes(routes!(chats::list_messages))
        .routes(routes!(chats::stop_message))
        .routes(routes!(events::subscribe_events))
        .routes(routes!(models::list_models))
        .routes(routes!(models::fetch_model))
        .routes(routes!(models::cancel_fetch))
        .routes(routes!(models::activate_model))
        .layer(middleware::from_fn(to_its_end));
    // Nobody needs what is found for a client that has hung up.
    let questions = OpenApiRouter::new()
        .routes(routes!(query::query))
        .routes(routes!(search::search));
    // Uploads are streamed to disk under a limit of their own.
    let uploads = OpenApiRouter::new()
        .routes(routes!(
            documents::list_documents,
            uploads::upload_documents
        ))
        .routes(routes!(uploads::upload_document))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::new().nest(PREFIX, routes.merge(questions).merge(uploads))
}

/// Carries out what changes something, even when the client hangs up, which drops the handler at
/// any await.
async fn to_its_end(
    Extension(engine): Extension<Arc<Engine>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    engine.to_its_end(next.run(request)).await
}

/// The workspace that a request names by name or id, or means by naming none: the one called
/// "default", else the only one there is.
async fn named_scope(engine: &Engine, workspace: Option<&str>) -> Result<WorkspaceScope, ApiError> {
    if let Some(name_or_id) = workspace {
        return Ok(engine.scope(name_or_id).await?);
    }
    let workspaces = engine.workspaces().await?;
    let default = workspaces
        .iter()
        .find(|summary| summary.workspace.name.folded() == DEFAULT_WORKSPACE)
        .or(match workspaces.as_slice() {
            [only] => Some(only),
            _ => None,
        });
    match default {
        Some(summary) => Ok(WorkspaceScope::new(summary.workspace.id)),
        None if workspaces.is_empty() => {
            Err(ApiError::new(Code::NotFound, "There is no workspace yet")
                .with_hint("Create one with POST /api/v1/workspaces."))
        }
        None => Err(
            ApiError::new(Code::BadRequest, "There are several workspaces")
                .with_hint("Say which one in `workspace`, by name or id."),
        ),
    }
}
