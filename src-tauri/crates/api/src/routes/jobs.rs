use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use docent_domain::JobId;
use docent_engine::{Export, JobFilter, Over};
use futures::StreamExt;
use uuid::Uuid;

use crate::ApiState;
use crate::dto::{
    ExportFormat, ExportParameters, JobList, JobListParameters, JobState, JobsChanged,
    RetryParameters,
};
use crate::error::{ApiError, Code};
use crate::extract::{Parameters, Segments};

/// The longest page.
const MAX_LIMIT: usize = 500;

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
    let limit = parameters.limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let message = format!("`limit` is 1 to {MAX_LIMIT}, not {limit}");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let scope = state.engine.scope(&workspace).await?;
    let filter = JobFilter {
        state: parameters.state.map(Into::into),
        kind: parameters.kind.map(Into::into),
        cursor: parameters.cursor,
        limit,
    };
    Ok(Json(state.engine.jobs(&scope, filter).await?.into()))
}

/// What happened to every file: all documents with their status and reason, and all jobs.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/jobs/export",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name"), ExportParameters),
    responses((status = 200, content_type = "text/csv", body = String))
)]
pub(super) async fn export_jobs(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Parameters(parameters): Parameters<ExportParameters>,
) -> Result<Response, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let format = parameters.format.unwrap_or_default();
    let mut export = Export::new(scope, format.into());
    // What can fail at once is answered with an error; what fails later breaks the body off.
    let begun = export.next(&state.engine).await?;
    let rest =
        futures::stream::try_unfold((export, state.engine), |(mut export, engine)| async move {
            match export.next(&engine).await {
                Ok(Some(text)) => Ok(Some((text, (export, engine)))),
                Ok(None) => Ok(None),
                Err(error) => {
                    tracing::error!(%error, "an export broke off");
                    Err(error)
                }
            }
        });
    let body = futures::stream::iter(begun.map(Ok)).chain(rest);
    let (media_type, name) = match format {
        ExportFormat::Csv => (
            "text/csv; charset=utf-8; header=present",
            "docent-files.csv",
        ),
        ExportFormat::Json => ("application/json", "docent-files.json"),
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    Ok((
        [
            (CONTENT_TYPE, media_type.to_owned()),
            (CONTENT_DISPOSITION, disposition),
        ],
        Body::from_stream(body),
    )
        .into_response())
}

/// Stops the workspace's background work, also across restarts. What is under way is put back and
/// costs no attempt.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/jobs/pause",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 204))
)]
pub(super) async fn pause_jobs(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state.engine.pause_work(&scope).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/jobs/resume",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 204))
)]
pub(super) async fn resume_jobs(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state.engine.resume_work(&scope).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels everything that is queued or running. What was indexed before stays.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/jobs/cancel",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = JobsChanged))
)]
pub(super) async fn cancel_all_jobs(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<JobsChanged>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let jobs = state.engine.cancel_all_jobs(&scope).await?;
    Ok(Json(JobsChanged { jobs }))
}

/// Tries everything again that was given up, or that was cancelled.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/jobs/retry",
    tag = "jobs",
    params(("workspace" = String, Path, description = "Id or name"), RetryParameters),
    responses((status = 200, body = JobsChanged))
)]
pub(super) async fn retry_jobs(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Parameters(parameters): Parameters<RetryParameters>,
) -> Result<Json<JobsChanged>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let over = match parameters.state {
        JobState::Dead => Over::Dead,
        JobState::Cancelled => Over::Cancelled,
        JobState::Queued | JobState::Running | JobState::Done => {
            let message = "`state` is `dead` or `cancelled`: other jobs cannot be tried again";
            return Err(ApiError::new(Code::BadRequest, message));
        }
    };
    let jobs = state.engine.retry_jobs(&scope, over).await?;
    Ok(Json(JobsChanged { jobs }))
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
