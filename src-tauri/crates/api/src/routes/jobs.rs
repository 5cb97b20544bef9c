use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use docent_domain::JobId;
use uuid::Uuid;

use crate::ApiState;
use crate::dto::{JobList, JobListParameters};
use crate::error::ApiError;
use crate::extract::{Parameters, Segments};

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/jobs",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name"), JobListParameters),
    responses((status = 200, body = JobList))
)]
pub(super) async fn list_jobs(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Parameters(parameters): Parameters<JobListParameters>,
) -> Result<Json<JobList>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state
            .engine
            .jobs(&scope, parameters.state.map(Into::into))
            .await?
            .into(),
    ))
}

/// Tries a job again that was given up or cancelled.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/jobs/{job}/retry",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name"), ("job" = Uuid, Path)),
    responses((status = 204))
)]
pub(super) async fn retry_job(
    State(state): State<ApiState>,
    Segments((workspace, job)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .retry_job(&scope, JobId::from_uuid(job))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/jobs/{job}/cancel",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name"), ("job" = Uuid, Path)),
    responses((status = 204))
)]
pub(super) async fn cancel_job(
    State(state): State<ApiState>,
    Segments((workspace, job)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .cancel_job(&scope, JobId::from_uuid(job))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
