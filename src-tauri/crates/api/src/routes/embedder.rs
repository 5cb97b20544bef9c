//! A workspace's embedder: what a change costs, how it stands, and the way back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::ApiState;
use crate::dto::{EmbedderPlan, EmbedderPlanParameters, EmbedderStatus, NewEmbedder};
use crate::error::ApiError;
use crate::extract::{Body, Parameters, Segments};

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/embedder",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = EmbedderStatus))
)]
pub(super) async fn get_embedder(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<EmbedderStatus>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(state.engine.embedder_status(&scope).await?.into()))
}

/// Tells what a change would cost. Takes seconds: it embeds a few of the workspace's chunks.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/embedder/plan",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name"), EmbedderPlanParameters),
    responses((status = 200, body = EmbedderPlan))
)]
pub(super) async fn plan_embedder_change(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Parameters(parameters): Parameters<EmbedderPlanParameters>,
) -> Result<Json<EmbedderPlan>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let plan = state
        .engine
        .plan_embedder_change(&scope, &parameters.to)
        .await?;
    Ok(Json(plan.into()))
}

/// Begins to make the vectors of another embedder in the background. The old ones answer until the
/// new ones are whole, and are kept for a week then.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/embedder/change",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    request_body = NewEmbedder,
    responses((status = 202, body = EmbedderStatus))
)]
pub(super) async fn change_embedder(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Body(new): Body<NewEmbedder>,
) -> Result<(StatusCode, Json<EmbedderStatus>), ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let status = state
        .engine
        .change_embedder(&scope, &new.to, new.accept_long_passages)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(status.into())))
}

/// Gives a change up and deletes what was made for it.
#[utoipa::path(
    delete,
    path = "/workspaces/{workspace}/embedder/change",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = EmbedderStatus))
)]
pub(super) async fn cancel_embedder_change(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<EmbedderStatus>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state.engine.cancel_embedder_change(&scope).await?.into(),
    ))
}

/// Stops a change for a while; what is made is kept.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/embedder/pause",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = EmbedderStatus))
)]
pub(super) async fn pause_embedder_change(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<EmbedderStatus>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state.engine.pause_embedder_change(&scope).await?.into(),
    ))
}

/// Has a paused or failed change go on.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/embedder/resume",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = EmbedderStatus))
)]
pub(super) async fn resume_embedder_change(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<EmbedderStatus>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state.engine.resume_embedder_change(&scope).await?.into(),
    ))
}

/// Has the kept vectors answer again, within seconds, and keeps those that answered until now.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/embedder/rollback",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = EmbedderStatus))
)]
pub(super) async fn roll_back_embedder(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<EmbedderStatus>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(state.engine.roll_back_embedder(&scope).await?.into()))
}

/// Deletes the kept vectors.
#[utoipa::path(
    delete,
    path = "/workspaces/{workspace}/embedder/previous",
    tag = "workspaces",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = EmbedderStatus))
)]
pub(super) async fn discard_previous_vectors(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<EmbedderStatus>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state.engine.discard_previous_vectors(&scope).await?.into(),
    ))
}
