//! One axum router with its OpenAPI document.
