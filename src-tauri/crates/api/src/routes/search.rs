use axum::Json;
use axum::extract::State;
use docent_engine::{Legs, SearchRequest};

use crate::ApiState;
use crate::dto::{SearchParameters, SearchResponse};
use crate::error::{ApiError, Code};
use crate::extract::{Parameters, Segments};

const MAX_HITS: usize = 200;

/// The passages nearest to a question, without an answer.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/search",
    tag = "query",
    params(("workspace" = String, Path, description = "Id or name"), SearchParameters),
    responses((status = 200, body = SearchResponse))
)]
pub(super) async fn search(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Parameters(parameters): Parameters<SearchParameters>,
) -> Result<Json<SearchResponse>, ApiError> {
    if parameters.q.trim().is_empty() {
        return Err(ApiError::new(
            Code::BadRequest,
            "`q` is empty: say what to look for",
        ));
    }
    if !(1..=MAX_HITS).contains(&parameters.k) {
        let message = format!("`k` is 1 to {MAX_HITS}, not {}", parameters.k);
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let scope = state.engine.scope(&workspace).await?;
    let request = SearchRequest {
        text: parameters.q,
        k: parameters.k,
        expand: parameters.expand,
        language: parameters.language.into(),
        legs: Legs::Hybrid,
    };
    Ok(Json(state.engine.search(&scope, request).await?.into()))
}
