use axum::http::StatusCode;
use serde_json::json;

use crate::support::Api;

#[tokio::test]
async fn from_creation_to_deletion() {
    let api = Api::open().await;
    let path = api.workspace("Ured Horvat").await;
    let workspace = api.get(&path).await.json();
    assert_eq!(workspace["name"], "Ured Horvat");
    assert_eq!(workspace["status"], "active");
    assert_eq!(workspace["plan"], "local");
    assert_eq!(workspace["counts"]["ready"], 0);
    assert_eq!(workspace["languages"], json!([]));

    let by_name = api.get("/api/v1/workspaces/ured%20horvat").await;
    assert_eq!(
        by_name.json()["id"],
        workspace["id"],
        "found by its name in any case"
    );

    let again = api
        .post("/api/v1/workspaces", &json!({ "name": "URED HORVAT" }))
        .await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.error_code(), "CONFLICT");

    let renamed = api.patch(&path, &json!({ "name": "Ured" })).await;
    assert_eq!(renamed.json()["name"], "Ured");
    assert_eq!(
        api.get("/api/v1/workspaces")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&path).await.error_code(), "NOT_FOUND");
}

#[tokio::test]
async fn chats_keep_their_title_and_pin() {
    let api = Api::open().await;
    let workspace = api.workspace("W").await;
    let created = api
        .post(&format!("{workspace}/chats"), &json!({ "title": "Najam" }))
        .await;
    assert_eq!(created.status, StatusCode::CREATED);
    let chat = format!(
        "{workspace}/chats/{}",
        created.json()["id"].as_str().unwrap()
    );
    let pinned = api.patch(&chat, &json!({ "pinned": true })).await.json();
    assert_eq!(
        (&pinned["title"], &pinned["pinned"]),
        (&json!("Najam"), &json!(true))
    );
    assert_eq!(api.get(&format!("{chat}/messages")).await.json(), json!([]));
    assert_eq!(api.delete(&chat).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        api.get(&format!("{workspace}/chats")).await.json(),
        json!([])
    );
}

#[tokio::test]
async fn health_status_and_models() {
    let api = Api::open().await;
    let health = api.get("/api/v1/health").await.json();
    assert!(["healthy", "degraded", "unhealthy"].contains(&health["status"].as_str().unwrap()));
    assert!(health["version"].is_string());
    assert!(health["models_loaded"].is_boolean() && health["vector_db_connected"].is_boolean());
    let status = api.get("/api/v1/status").await.json();
    assert_eq!(
        status["ready"], true,
        "stand-ins are always there: {status}"
    );
    let models = api.get("/api/v1/models").await.json();
    let model = &models.as_array().unwrap()[0];
    assert!(
        model["id"].is_string() && model["installed"] == "missing",
        "{model}"
    );
    assert!(model["progress"].is_null());
}
