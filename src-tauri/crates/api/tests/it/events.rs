use axum::http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use crate::support::{Api, request};

#[tokio::test]
async fn a_change_is_told_until_the_host_closes() {
    let api = Api::open().await;
    let events = request(Method::GET, "/api/v1/events", None);
    let mut body = api
        .router
        .clone()
        .oneshot(events)
        .await
        .unwrap()
        .into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(
        first.starts_with(b":"),
        "a comment opens the stream: {first:?}"
    );
    let workspace = api.workspace("W").await;
    let change = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let (name, data) = crate::query::events(&change).remove(0);
    let id = workspace.rsplit('/').next().unwrap();
    assert_eq!(name, "change");
    assert_eq!(data, json!({ "topic": "workspaces", "workspace_id": id }));
    api.options.closing.cancel();
    assert!(body.collect().await.is_ok(), "the stream ends");
}

#[tokio::test]
async fn events_of_no_such_workspace() {
    let api = Api::open().await;
    assert_eq!(
        api.get("/api/v1/events?workspace=none").await.error_code(),
        "NOT_FOUND"
    );
}
