use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use docent_domain::{DocumentId, FolderId};
use docent_engine::{AddedFolders, DocumentQuery};
use uuid::Uuid;

use crate::ApiState;
use crate::dto::{
    Chunk, Document, DocumentList, DocumentListParameters, DocumentText, Import, Imported,
    ProblemCount, all,
};
use crate::error::{ApiError, Code};
use crate::extract::{Body, Parameters, Segments};

const MAX_LIMIT: usize = 500;

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/documents",
    tag = "documents",
    params(("workspace" = String, Path, description = "Id or name"), DocumentListParameters),
    responses((status = 200, body = DocumentList))
)]
pub(super) async fn list_documents(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Parameters(parameters): Parameters<DocumentListParameters>,
) -> Result<Json<DocumentList>, ApiError> {
    let limit = parameters.limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let message = format!("`limit` is 1 to {MAX_LIMIT}, not {limit}");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let scope = state.engine.scope(&workspace).await?;
    let query = DocumentQuery {
        status: parameters.status.map(Into::into),
        problem: parameters.problem.map(Into::into),
        text: parameters.query.filter(|text| !text.trim().is_empty()),
        folder: parameters.folder.map(FolderId::from_uuid),
        sort: parameters.sort.map(Into::into).unwrap_or_default(),
        cursor: parameters.cursor,
        limit,
    };
    Ok(Json(state.engine.documents(&scope, query).await?.into()))
}

/// What cannot be found, or not all of it, counted by what is in the way; most frequent first.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/documents/problems",
    tag = "documents",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = Vec<ProblemCount>))
)]
pub(super) async fn list_problems(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<Vec<ProblemCount>>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(all(state.engine.problems(&scope).await?)))
}

/// Adds files and folders of this machine: files are read in place, folders are watched.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/documents/import",
    tag = "documents",
    params(("workspace" = String, Path, description = "Id or name")),
    request_body = Import,
    responses((status = 200, body = Imported))
)]
pub(super) async fn import_documents(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Body(import): Body<Import>,
) -> Result<Json<Imported>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let paths = import.paths.into_iter().map(PathBuf::from).collect();
    Ok(Json(
        state
            .engine
            .add_paths(&scope, paths, AddedFolders::Watch)
            .await?
            .into(),
    ))
}

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/documents/{document}",
    tag = "documents",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("document" = Uuid, Path),
    ),
    responses((status = 200, body = Document))
)]
pub(super) async fn get_document(
    State(state): State<ApiState>,
    Segments((workspace, document)): Segments<(String, Uuid)>,
) -> Result<Json<Document>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state
            .engine
            .document(&scope, DocumentId::from_uuid(document))
            .await?
            .into(),
    ))
}

/// Takes the document out of the workspace. A file on this machine stays where it is.
#[utoipa::path(
    delete,
    path = "/workspaces/{workspace}/documents/{document}",
    tag = "documents",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("document" = Uuid, Path),
    ),
    responses((status = 204))
)]
pub(super) async fn delete_document(
    State(state): State<ApiState>,
    Segments((workspace, document)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .delete_document(&scope, DocumentId::from_uuid(document))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the document again, from the start.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/documents/{document}/retry",
    tag = "documents",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("document" = Uuid, Path),
    ),
    responses((status = 204))
)]
pub(super) async fn retry_document(
    State(state): State<ApiState>,
    Segments((workspace, document)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .retry_document(&scope, DocumentId::from_uuid(document))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/documents/{document}/text",
    tag = "documents",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("document" = Uuid, Path),
    ),
    responses((status = 200, body = DocumentText))
)]
pub(super) async fn get_document_text(
    State(state): State<ApiState>,
    Segments((workspace, document)): Segments<(String, Uuid)>,
) -> Result<Json<DocumentText>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state
            .engine
            .document_text(&scope, DocumentId::from_uuid(document))
            .await?
            .into(),
    ))
}

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/documents/{document}/chunks",
    tag = "documents",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("document" = Uuid, Path),
    ),
    responses((status = 200, body = Vec<Chunk>))
)]
pub(super) async fn list_document_chunks(
    State(state): State<ApiState>,
    Segments((workspace, document)): Segments<(String, Uuid)>,
) -> Result<Json<Vec<Chunk>>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(all(state
        .engine
        .document_chunks(&scope, DocumentId::from_uuid(document))
        .await?)))
}
