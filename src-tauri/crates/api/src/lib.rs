//! The one API of Docent: an axum router with its OpenAPI document.
//!
//! A browser reaches the router over HTTP through [`server`]; the desktop window reaches the same
//! router in its own process, without a port. Everything lives under [`PREFIX`]. The wire types in
//! [`dto`] belong to this crate, so that the engine may change without changing what clients see;
//! errors are one table in [`error`]. There is no logic here: handlers translate and call the
//! engine. Authentication is the host's matter, so the router itself has none.

pub mod dto;
pub mod error;
mod extract;
mod routes;
pub mod server;

use std::any::Any;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use docent_engine::Engine;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};

use crate::error::{ApiError, Code};

/// Where the router's paths begin.
pub const PREFIX: &str = "/api/v1";

/// The largest JSON body that is read. Questions and settings are small; files have their own way.
const JSON_BODY_BYTES: usize = 1 << 20;

/// What the router is built with, beside the engine.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The largest file that an upload may carry, in bytes.
    pub upload_bytes: u64,
    /// Ends the streams that never end by themselves, so that a server can stop.
    pub closing: CancellationToken,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            upload_bytes: 2 << 30,
            closing: CancellationToken::new(),
        }
    }
}

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: ApiOptions,
    /// Owns the answers being made, which outlive a client that hangs up for as long as it takes
    /// to record what there was.
    pub(crate) answers: TaskTracker,
}

/// The API over `engine`.
pub fn router(engine: Arc<Engine>) -> Router {
    router_with(engine, ApiOptions::default())
}

/// The API over `engine`, with its limits and its end chosen by the host.
pub fn router_with(engine: Arc<Engine>, options: ApiOptions) -> Router {
    let state = ApiState {
        engine: Arc::clone(&engine),
        options,
        answers: TaskTracker::new(),
    };
    let (router, _) = routes::documented().split_for_parts();
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(Extension(engine))
        .layer(DefaultBodyLimit::max(JSON_BODY_BYTES))
        .layer(middleware::from_fn(do_not_store))
        .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| {
            panicked(&panic)
        }))
        .with_state(state)
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Docent",
        description = "Answers from your own documents, on your own machine.",
        license(name = "MIT or Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(
        error::ErrorBody,
        dto::QueryStarted,
        dto::QueryRetrieved,
        dto::QueryToken,
        dto::QueryRevised,
        dto::QueryResponse,
        error::ErrorDetail,
        dto::ChangeEvent,
        dto::BatchEvent,
    ))
)]
struct Document;

/// The OpenAPI document of [`router`], which the window's TypeScript types are generated from.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(routes::documented().into_openapi());
    let error = ResponseBuilder::new()
        .description("What went wrong; branch on `error.code`.")
        .content(
            "application/json",
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ErrorBody")))
                .build(),
        )
        .build();
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            operation
                .responses
                .responses
                .insert("default".to_owned(), error.clone().into());
        }
    }
    document
}

/// The OpenAPI document as it is committed: indented, with a newline at its end.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    Ok(openapi().to_pretty_json()? + "\n")
}

async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        Code::NotFound,
        format!("There is no {method} {}", uri.path()),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        Code::BadRequest,
        format!("{} cannot be asked with {method}", uri.path()),
    )
    .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// Answers hold private text and change at any time: nothing between here and the screen keeps
/// them, unless a handler said otherwise.
async fn do_not_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "a handler panicked");
    ApiError::new(
        Code::Internal,
        "Docent could not finish this because of a fault of its own",
    )
    .with_hint("Nothing was lost. Try again; the log says more.")
    .into_response()
}
