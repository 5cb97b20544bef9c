use axum::Json;
use axum::extract::State;

use crate::ApiState;
use crate::dto::{Health, Status};

/// Whether every part works.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn get_health(State(state): State<ApiState>) -> Json<Health> {
    Json(state.engine.health().await.into())
}

/// Whether questions can be answered yet.
#[utoipa::path(get, path = "/status", tag = "health", responses((status = 200, body = Status)))]
pub(super) async fn get_status(State(state): State<ApiState>) -> Json<Status> {
    Json(state.engine.status().await.into())
}
