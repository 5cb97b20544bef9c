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

#[tokio::test]
async fn the_embedder_is_changed_and_changed_back() {
    let api = Api::at_work().await;
    let workspace = api.workspace("Ured").await;
    let embedder = format!("{workspace}/embedder");
    let before = api.get(&embedder).await.json();
    let original = before["embedder"].as_str().unwrap().to_owned();
    assert_eq!(
        (&before["change"], &before["previous"]),
        (&json!(null), &json!(null))
    );

    let plan = api.get(&format!("{embedder}/plan?to=fake-64")).await.json();
    assert_eq!(
        (&plan["from"], &plan["to"]),
        (&json!(original), &json!("fake-64"))
    );
    assert_eq!(
        (&plan["chunks"], &plan["seconds"]),
        (&json!(0), &json!(null))
    );
    assert_eq!(
        (&plan["installed"], &plan["obstacle"]),
        (&json!(true), &json!(null))
    );
    let own = api
        .get(&format!("{embedder}/plan?to={original}"))
        .await
        .json();
    assert!(own["obstacle"].is_string(), "{own}");
    let nothing = api.get(&format!("{embedder}/plan")).await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);

    for (path, refused) in [
        (
            "pause",
            api.post(&format!("{embedder}/pause"), &json!({})).await,
        ),
        (
            "resume",
            api.post(&format!("{embedder}/resume"), &json!({})).await,
        ),
        (
            "rollback",
            api.post(&format!("{embedder}/rollback"), &json!({})).await,
        ),
        ("change", api.delete(&format!("{embedder}/change")).await),
        (
            "previous",
            api.delete(&format!("{embedder}/previous")).await,
        ),
    ] {
        assert_eq!(refused.status, StatusCode::CONFLICT, "{path}");
    }

    let change = format!("{embedder}/change");
    let own = api.post(&change, &json!({ "to": original })).await;
    assert_eq!(own.error_code(), "CONFLICT");
    let begun = api.post(&change, &json!({ "to": "fake-64" })).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED);
    let changed = loop {
        let status = api.get(&embedder).await.json();
        if status["change"].is_null() {
            break status;
        }
        assert_eq!(status["change"]["to"], "fake-64");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(changed["embedder"], "fake-64");
    assert_eq!(changed["previous"]["embedder"], original);
    assert_eq!(api.get(&workspace).await.json()["embedder"], "fake-64");
    let back = api
        .post(&format!("{embedder}/rollback"), &json!({}))
        .await
        .json();
    assert_eq!(back["embedder"], original);
    assert_eq!(back["previous"]["embedder"], "fake-64");
    let alone = api.delete(&format!("{embedder}/previous")).await.json();
    assert_eq!(alone["previous"], json!(null));
}
