//! The window's files, beside the API.

use std::convert::Infallible;
use std::path::PathBuf;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::{ServeDir, ServeFile};

use crate::error::{ApiError, Code};

/// Where the build puts files whose names carry a hash of their content.
const HASHED_FILES: &str = "/assets/";

const NO_WINDOW: &str = "Docent's API is at /api/v1. The window's files have not been built.\n";

/// Whether a path belongs to the API, known to it or not.
pub(super) fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// `api`, with the window's files for every path that is not its own.
pub(super) fn beside(api: Router, ui_dir: Option<PathBuf>) -> Router {
    api.fallback(move |request: Request| {
        let ui_dir = ui_dir.clone();
        async move {
            if is_api(request.uri().path()) {
                let (method, path) = (request.method(), request.uri().path());
                let message = format!("There is no {method} {path}");
                return ApiError::new(Code::NotFound, message).into_response();
            }
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
            }
            match ui_dir {
                Some(folder) => file(folder, request).await,
                None => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], NO_WINDOW).into_response(),
            }
        }
    })
}

async fn file(folder: PathBuf, request: Request) -> Response {
    let path = request.uri().path();
    let is_hashed = path.starts_with(HASHED_FILES);
    let is_page = !path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'));
    // The window routes inside itself: a path that looks like a page is the one page there is.
    let index = ServeFile::new(folder.join("index.html"));
    let files = ServeDir::new(folder);
    let served: Result<Response, Infallible> = if is_page {
        files
            .fallback(index)
            .oneshot(request)
            .await
            .map(IntoResponse::into_response)
    } else {
        files
            .oneshot(request)
            .await
            .map(IntoResponse::into_response)
    };
    let mut response = match served {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let keep = if is_hashed && response.status().is_success() {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}
