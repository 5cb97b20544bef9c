use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::ApiState;
use crate::dto::{ModelInfo, all};
use crate::error::ApiError;
use crate::extract::Segments;

#[utoipa::path(
    get,
    path = "/models",
    tag = "models",
    responses((status = 200, body = Vec<ModelInfo>))
)]
pub(super) async fn list_models(
    State(state): State<ApiState>,
) -> Result<Json<Vec<ModelInfo>>, ApiError> {
    Ok(Json(all(state.engine.models().await?)))
}

/// Begins to fetch and verify a model; its progress is in the list of models.
#[utoipa::path(
    post,
    path = "/models/{model}/fetch",
    tag = "models",
    params(("model" = String, Path, description = "Catalog id")),
    responses((status = 204))
)]
pub(super) async fn fetch_model(
    State(state): State<ApiState>,
    Segments(model): Segments<String>,
) -> Result<StatusCode, ApiError> {
    state.engine.fetch_model(&model)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops fetching a model. What has come so far is kept, and the next fetch goes on from there.
#[utoipa::path(
    post,
    path = "/models/{model}/cancel",
    tag = "models",
    params(("model" = String, Path, description = "Catalog id")),
    responses((status = 204))
)]
pub(super) async fn cancel_fetch(
    State(state): State<ApiState>,
    Segments(model): Segments<String>,
) -> Result<StatusCode, ApiError> {
    state.engine.cancel_fetch(&model)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a fetched model the one that is used.
#[utoipa::path(
    post,
    path = "/models/{model}/activate",
    tag = "models",
    params(("model" = String, Path, description = "Catalog id")),
    responses((status = 204))
)]
pub(super) async fn activate_model(
    State(state): State<ApiState>,
    Segments(model): Segments<String>,
) -> Result<StatusCode, ApiError> {
    state.engine.activate_model(&model)?;
    Ok(StatusCode::NO_CONTENT)
}
