use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

use crate::support::{Api, request};

#[tokio::test]
async fn every_refusal_has_the_one_shape() {
    let api = Api::open().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let post = |path: &str, kind: &str, body: &str| {
        Request::post(path)
            .header(CONTENT_TYPE, kind)
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let json_kind = "application/json";
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    let workspaces = "/api/v1/workspaces";
    let table = [
        (
            request(Method::GET, "/api/v1/nowhere", None),
            404,
            "NOT_FOUND",
        ),
        (request(Method::GET, "/elsewhere", None), 404, "NOT_FOUND"),
        (request(Method::PUT, workspaces, None), 405, "BAD_REQUEST"),
        (
            request(Method::OPTIONS, workspaces, None),
            405,
            "BAD_REQUEST",
        ),
        (
            request(Method::GET, &format!("{workspaces}/{id}"), None),
            404,
            "NOT_FOUND",
        ),
        (
            request(Method::GET, &format!("{workspaces}/no-such"), None),
            404,
            "NOT_FOUND",
        ),
        (post(workspaces, json_kind, "{"), 400, "BAD_REQUEST"),
        (post(workspaces, json_kind, "{}"), 422, "BAD_REQUEST"),
        (
            post(workspaces, json_kind, r#"{"name":"a","nmae":"b"}"#),
            422,
            "BAD_REQUEST",
        ),
        (
            post(workspaces, json_kind, r#"{"name":"  "}"#),
            400,
            "BAD_REQUEST",
        ),
        (
            post(workspaces, json_kind, &large),
            413,
            "PAYLOAD_TOO_LARGE",
        ),
        (
            post(workspaces, "text/plain", r#"{"name":"a"}"#),
            415,
            "UNSUPPORTED",
        ),
        (
            post(workspaces, "application/x-www-form-urlencoded", "name=a"),
            415,
            "UNSUPPORTED",
        ),
        (
            post("/api/v1/documents/upload", json_kind, "{}"),
            400,
            "BAD_REQUEST",
        ),
        (
            post("/api/v1/models/no-such/fetch", json_kind, ""),
            404,
            "NOT_FOUND",
        ),
    ];
    for (request, status, code) in table {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = api.send(request).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        // An unreadable value and an unfitting one are both the client's fault.
        let statuses = if status == 422 {
            vec![400, 422]
        } else {
            vec![status]
        };
        assert!(
            statuses.contains(&answer.status.as_u16()),
            "{what}: {} {body}",
            answer.status
        );
        assert_eq!(answer.error_code(), code, "{what}: {body}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{what}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    }
}

#[tokio::test]
async fn ids_of_another_workspace_are_not_found() {
    let api = Api::open().await;
    let mine = api.workspace("Moj").await;
    let other = api.workspace("Tuđi").await;
    let chat = api.post(&format!("{mine}/chats"), &json!({})).await;
    let chat = chat.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        api.get(&format!("{mine}/chats/{chat}")).await.status,
        StatusCode::OK
    );
    for answer in [
        api.get(&format!("{other}/chats/{chat}")).await,
        api.get(&format!("{other}/chats/{chat}/messages")).await,
        api.patch(&format!("{other}/chats/{chat}"), &json!({ "title": "x" }))
            .await,
        api.delete(&format!("{other}/chats/{chat}")).await,
    ] {
        assert_eq!(answer.error_code(), "NOT_FOUND");
    }
    assert_eq!(
        api.get(&format!("{mine}/chats/{chat}")).await.status,
        StatusCode::OK
    );
}
