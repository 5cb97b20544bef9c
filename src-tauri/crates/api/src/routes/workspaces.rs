use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use docent_domain::WorkspaceScope;

use crate::ApiState;
use crate::dto::{NewWorkspace, Workspace, WorkspacePatch, all};
use crate::error::ApiError;
use crate::extract::{Body, Segments};

#[utoipa::path(
    get,
    path = "/workspaces",
    tag = "workspaces",
    responses((status = 200, body = Vec<Workspace>))
)]
pub(super) async fn list_workspaces(
    State(state): State<ApiState>,
) -> Result<Json<Vec<Workspace>>, ApiError> {
    Ok(Json(all(state.engine.workspaces().await?)))
}

#[utoipa::path(
    post,
    path = "/workspaces",
    tag = "workspaces",
    request_body = NewWorkspace,
    responses((status = 201, body = Workspace))
)]
pub(super) async fn create_workspace(
    State(state): State<ApiState>,
    Body(new): Body<NewWorkspace>,
) -> Result<(StatusCode, Json<Workspace>), ApiError> {
    let created = state
        .engine
        .create_workspace(&new.name, new.embedder.as_deref())
        .await?;
    let summary = state
        .engine
        .workspace(&WorkspaceScope::new(created.id))
        .await?;
    Ok((StatusCode::CREATED, Json(summary.into())))
}

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = Workspace))
)]
pub(super) async fn get_workspace(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<Workspace>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(state.engine.workspace(&scope).await?.into()))
}

#[utoipa::path(
    patch,
    path = "/workspaces/{workspace}",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    request_body = WorkspacePatch,
    responses((status = 200, body = Workspace))
)]
pub(super) async fn rename_workspace(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Body(patch): Body<WorkspacePatch>,
) -> Result<Json<Workspace>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state.engine.rename_workspace(&scope, &patch.name).await?;
    Ok(Json(state.engine.workspace(&scope).await?.into()))
}

/// Deletes the workspace with everything derived from its documents. Files in watched folders are
/// not touched.
#[utoipa::path(
    delete,
    path = "/workspaces/{workspace}",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 204))
)]
pub(super) async fn delete_workspace(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state.engine.delete_workspace(&scope).await?;
    Ok(StatusCode::NO_CONTENT)
}
