use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use docent_domain::{self as domain, FolderId};
use uuid::Uuid;

use crate::ApiState;
use crate::dto::{Folder, FolderPatch, NewFolder, all};
use crate::error::ApiError;
use crate::extract::{Body, Segments};

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/folders",
    tag = "folders",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = Vec<Folder>))
)]
pub(super) async fn list_folders(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<Vec<Folder>>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(all(state.engine.folder_statuses(&scope).await?)))
}

/// Watches a folder: its documents follow the disk from now on.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/folders",
    tag = "folders",
    params(("workspace" = String, Path, description = "Id or name")),
    request_body = NewFolder,
    responses((status = 201, body = Folder))
)]
pub(super) async fn add_folder(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Body(new): Body<NewFolder>,
) -> Result<(StatusCode, Json<Folder>), ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let patterns = new.patterns.map(domain::FolderPatterns::from);
    let folder = state
        .engine
        .add_folder_with(&scope, Path::new(&new.path), patterns.as_ref())
        .await?;
    let status = state.engine.folder_status(&scope, folder.id).await?;
    Ok((StatusCode::CREATED, Json(status.into())))
}

/// Changes which files of the folder are mirrored. It is scanned then: what is left out now leaves
/// the workspace, however much that is, and what is wanted again comes back.
#[utoipa::path(
    patch,
    path = "/workspaces/{workspace}/folders/{folder}",
    tag = "folders",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("folder" = Uuid, Path),
    ),
    request_body = FolderPatch,
    responses((status = 200, body = Folder))
)]
pub(super) async fn change_folder(
    State(state): State<ApiState>,
    Segments((workspace, folder)): Segments<(String, Uuid)>,
    Body(patch): Body<FolderPatch>,
) -> Result<Json<Folder>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let id = FolderId::from_uuid(folder);
    state
        .engine
        .set_folder_patterns(&scope, id, &patch.patterns.into())
        .await?;
    let status = state.engine.folder_status(&scope, id).await?;
    Ok(Json(status.into()))
}

/// Stops watching the folder and takes its documents out of the workspace. The files stay.
#[utoipa::path(
    delete,
    path = "/workspaces/{workspace}/folders/{folder}",
    tag = "folders",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("folder" = Uuid, Path),
    ),
    responses((status = 204))
)]
pub(super) async fn remove_folder(
    State(state): State<ApiState>,
    Segments((workspace, folder)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .remove_folder(&scope, FolderId::from_uuid(folder))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Compares the folder with the disk now.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/folders/{folder}/scan",
    tag = "folders",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("folder" = Uuid, Path),
    ),
    responses((status = 204))
)]
pub(super) async fn scan_folder(
    State(state): State<ApiState>,
    Segments((workspace, folder)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .scan_folder(&scope, FolderId::from_uuid(folder))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a paused folder go on: what vanished from the disk is taken out of the workspace.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/folders/{folder}/resume",
    tag = "folders",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("folder" = Uuid, Path),
    ),
    responses((status = 204))
)]
pub(super) async fn resume_folder(
    State(state): State<ApiState>,
    Segments((workspace, folder)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .resume_folder(&scope, FolderId::from_uuid(folder))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
