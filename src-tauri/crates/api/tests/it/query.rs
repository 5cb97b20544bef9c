use axum::body::Body;
use axum::http::header::ACCEPT;
use axum::http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Api, request};

/// The events of a stream, as (name, data).
pub fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).unwrap();
    text.split("\n\n")
        .filter_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let data = serde_json::from_str(field("data: ")?).unwrap();
            Some((field("event: ")?.to_owned(), data))
        })
        .collect()
}

fn asking_for_events(body: &Value) -> axum::http::Request<Body> {
    let mut request = request(Method::POST, "/api/v1/query", Some(body));
    request
        .headers_mut()
        .insert(ACCEPT, "text/event-stream".parse().unwrap());
    request
}

#[tokio::test]
async fn the_published_query() {
    let api = Api::open().await;
    api.workspace("Jedini").await;
    let answer = api
        .post("/api/v1/query", &json!({ "text": "Koliki je polog?" }))
        .await;
    let body = answer.json();
    assert_eq!(answer.status, StatusCode::OK, "{body}");
    assert!(body["answer"].is_string() && body["confidence"].is_number());
    assert!(body["sources"].is_array() && body["query_id"].is_string());
    assert_eq!(body["language_detected"], "hr");
    assert_eq!(body["refused"], true, "an empty workspace says nothing");
    assert!(body["timings"]["total_ms"].is_number());
}

#[tokio::test]
async fn without_a_workspace_the_default_or_the_only_one_is_meant() {
    let api = Api::open().await;
    let ask = json!({ "text": "Koliki je polog?" });
    assert_eq!(
        api.post("/api/v1/query", &ask).await.error_code(),
        "NOT_FOUND"
    );
    api.workspace("A").await;
    assert_eq!(api.post("/api/v1/query", &ask).await.status, StatusCode::OK);
    api.workspace("B").await;
    assert_eq!(
        api.post("/api/v1/query", &ask).await.error_code(),
        "BAD_REQUEST"
    );
    let named = json!({ "text": "Koliki je polog?", "workspace": "b" });
    assert_eq!(
        api.post("/api/v1/query", &named).await.status,
        StatusCode::OK
    );
    api.workspace("Default").await;
    assert_eq!(api.post("/api/v1/query", &ask).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_as_events() {
    let api = Api::open().await;
    let workspace = api.workspace("W").await;
    let answer = api
        .send(asking_for_events(
            &json!({ "text": "What is the deposit?" }),
        ))
        .await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = events(&answer.body);
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"started"), "{names:?}");
    assert_eq!(names.last(), Some(&"done"), "{names:?}");
    let started = &events[0].1;
    let done = &events.last().unwrap().1;
    assert_eq!(started["chat_id"], done["chat_id"]);
    assert_eq!(started["message_id"], done["message_id"]);
    let chat = done["chat_id"].as_str().unwrap();
    let messages = api
        .get(&format!("{workspace}/chats/{chat}/messages"))
        .await
        .json();
    assert_eq!(messages.as_array().unwrap().len(), 2, "{messages}");
    assert_eq!(messages[1]["content"], done["answer"]);
    assert_eq!(messages[1]["status"], "complete");
}

#[tokio::test]
async fn a_failure_before_the_first_event_has_its_status() {
    let api = Api::open().await;
    api.workspace("W").await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let answer = api
        .send(asking_for_events(
            &json!({ "text": "Q?", "chat_id": unknown }),
        ))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.error_code(), "NOT_FOUND");
}

#[tokio::test]
async fn questions_that_are_none() {
    let api = Api::open().await;
    api.workspace("W").await;
    for wrong in [
        json!({}),
        json!({ "text": " " }),
        json!({ "text": "x".repeat(16_001) }),
        json!({ "text": "Q?", "max_results": 0 }),
        json!({ "text": "Q?", "max_results": 51 }),
        json!({ "text": "Q?", "language": "de" }),
        json!({ "text": "Q?", "chat_id": "1" }),
    ] {
        assert_eq!(
            api.post("/api/v1/query", &wrong).await.error_code(),
            "BAD_REQUEST",
            "{wrong}"
        );
    }
    let more = json!({ "text": "Q?", "unknown": 1 });
    let answer = api.post("/api/v1/query", &more).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "clients may send more than is published"
    );
}

#[tokio::test]
async fn hanging_up_leaves_a_message_that_is_not_streaming() {
    let api = Api::open().await;
    let workspace = api.workspace("W").await;
    let request = asking_for_events(&json!({ "text": "What is the deposit?" }));
    let mut body = api
        .router
        .clone()
        .oneshot(request)
        .await
        .unwrap()
        .into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    // The engine waits for its answers when it closes, so afterwards the message is settled.
    let chats = api.get(&format!("{workspace}/chats")).await.json();
    let chat = chats[0]["id"].as_str().unwrap().to_owned();
    let messages = loop {
        let messages = api
            .get(&format!("{workspace}/chats/{chat}/messages"))
            .await
            .json();
        if messages[1]["status"] != "streaming" {
            break messages;
        }
        tokio::task::yield_now().await;
    };
    let status = messages[1]["status"].as_str().unwrap();
    assert!(["complete", "interrupted"].contains(&status), "{messages}");
}

#[tokio::test]
async fn searching() {
    let api = Api::open().await;
    let workspace = api.workspace("W").await;
    let found = api.get(&format!("{workspace}/search?q=polog&k=3")).await;
    assert_eq!(found.json()["hits"], json!([]));
    assert!(found.json()["expansion"].is_null());
    for wrong in [
        "",
        "q=",
        "q=a&k=0",
        "q=a&k=201",
        "q=a&expand=maybe",
        "q=a&language=de",
    ] {
        let answer = api.get(&format!("{workspace}/search?{wrong}")).await;
        assert_eq!(answer.error_code(), "BAD_REQUEST", "{wrong}");
    }
}
