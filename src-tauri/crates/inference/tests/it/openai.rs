//! The HTTP client against a loopback server.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Json, Router};
use docent_inference::openai::{OpenAiEmbedder, OpenAiGenerator, OpenAiOptions};
use docent_inference::{
    ChatTurn, EmbedKind, Embedder, Error, Finish, Generation, GenerationRequest, Generator, Result,
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

type Seen = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;

/// A server that answers everything with `answer`, and what it was asked.
async fn serve(
    answer: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static,
) -> (String, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let app = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let response = answer(&body);
        log.lock()
            .unwrap()
            .push((uri.path().to_owned(), headers, body));
        async move { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (format!("http://{address}/v1/"), seen)
}

fn events(chunks: &[&str]) -> Response {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk.as_bytes())))
        .collect();
    Body::from_stream(futures::stream::iter(chunks)).into_response()
}

async fn generate(base_url: &str, key: Option<&str>) -> Result<(Generation, Vec<String>)> {
    let options = OpenAiOptions::new(base_url, key.map(str::to_owned));
    let generator = OpenAiGenerator::new(options, "some-model".into(), 4096)?;
    let (pieces, mut stream) = mpsc::channel(64);
    let request = GenerationRequest {
        stop: vec!["###".into()],
        ..GenerationRequest::greedy(
            vec![ChatTurn::system("Kratko."), ChatTurn::user("Što je čvor?")],
            99,
        )
    };
    let generation = generator
        .generate(request, pieces, CancellationToken::new())
        .await?;
    let mut collected = Vec::new();
    while let Some(piece) = stream.recv().await {
        collected.push(piece);
    }
    Ok((generation, collected))
}

#[tokio::test]
async fn answers_stream() {
    let (url, seen) = serve(|_| {
        events(&[
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\nda",
            "ta: {\"choices\":[{\"delta\":{\"content\":\"Čvor \"}}]}\n\n: keep-alive\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"je uzao.\"},\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":16}}}\n\n",
            "data: [DONE]\n\n",
        ])
    })
    .await;
    let (generation, pieces) = generate(&url, Some("the-key")).await.unwrap();
    assert_eq!(pieces, ["Čvor ", "je uzao."]);
    assert_eq!(generation.text, "Čvor je uzao.");
    assert_eq!(generation.finish, Finish::Length);
    assert_eq!(
        (
            generation.prompt_tokens,
            generation.generated_tokens,
            generation.reused_tokens
        ),
        (21, 5, 16)
    );
    let seen = seen.lock().unwrap();
    let (path, headers, body) = &seen[0];
    assert_eq!(path, "/v1/chat/completions");
    assert_eq!(headers["authorization"], "Bearer the-key");
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "Kratko." },
            { "role": "user", "content": "Što je čvor?" },
        ])
    );
    assert_eq!(
        (
            &body["model"],
            &body["max_tokens"],
            &body["stop"],
            &body["stream"]
        ),
        (
            &json!("some-model"),
            &json!(99),
            &json!(["###"]),
            &json!(true)
        )
    );
    assert_eq!(body.get("grammar"), None, "only what was asked for is sent");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let refuse = |status: StatusCode| {
        move |_: &Value| {
            (status, Json(json!({ "error": { "message": "no more" } }))).into_response()
        }
    };
    for (status, retryable) in [
        (StatusCode::UNAUTHORIZED, false),
        (StatusCode::BAD_REQUEST, false),
        (StatusCode::TOO_MANY_REQUESTS, true),
        (StatusCode::SERVICE_UNAVAILABLE, true),
    ] {
        let (url, _) = serve(refuse(status)).await;
        let error = generate(&url, Some("the-key")).await.unwrap_err();
        assert!(
            matches!(&error, Error::Endpoint { status: s, message, .. } if *s == status.as_u16() && message == "no more"),
            "{error}"
        );
        assert_eq!(error.is_retryable(), retryable, "{error}");
        assert!(!error.to_string().contains("the-key"));
    }

    let (url, _) =
        serve(|_| events(&["data: {\"choices\":[{\"delta\":{\"content\":\"Polov\"}}]}\n\n"])).await;
    let broken_off = generate(&url, None).await.unwrap_err();
    assert!(
        matches!(broken_off, Error::Malformed { .. }),
        "{broken_off}"
    );

    let (url, _) =
        serve(|_| events(&["data: {\"error\":{\"message\":\"out of memory\"}}\n\n"])).await;
    let failed = generate(&url, None).await.unwrap_err();
    assert!(failed.to_string().contains("out of memory"), "{failed}");

    let (url, _) = serve(|_| events(&["data: not json\n\n"])).await;
    assert!(matches!(
        generate(&url, None).await.unwrap_err(),
        Error::Malformed { .. }
    ));

    // A port that was free a moment ago.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = generate(&format!("http://{free}/v1"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, seen) = serve(|_| events(&["data: [DONE]\n\n"])).await;
    let (url, _) = serve(move |_| Redirect::temporary(&elsewhere).into_response()).await;
    let error = generate(&url, Some("the-key")).await.unwrap_err();
    assert!(
        matches!(error, Error::Endpoint { status: 307, .. }),
        "{error}"
    );
    assert!(
        seen.lock().unwrap().is_empty(),
        "neither key nor question went elsewhere"
    );
}

#[tokio::test]
async fn a_cancelled_answer_keeps_its_text() {
    let (url, _) = serve(|_| {
        let first = "data: {\"choices\":[{\"delta\":{\"content\":\"Jedan \"}}]}\n\n";
        let first = futures::stream::iter([Ok::<_, Infallible>(Bytes::from(first))]);
        Body::from_stream(first.chain(futures::stream::pending())).into_response()
    })
    .await;
    let options = OpenAiOptions::new(&url, None);
    let generator = OpenAiGenerator::new(options, "m".into(), 4096).unwrap();
    let (pieces, mut stream) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let request = GenerationRequest::greedy(vec![ChatTurn::user("Broji.")], 9);
    let (generation, ()) =
        tokio::join!(generator.generate(request, pieces, cancel.clone()), async {
            assert_eq!(stream.recv().await.as_deref(), Some("Jedan "));
            cancel.cancel();
        });
    let generation = generation.unwrap();
    assert_eq!(
        (generation.text.as_str(), generation.finish),
        ("Jedan ", Finish::Cancelled)
    );
}

fn vectors(body: &Value, of: impl Fn(usize) -> Value) -> Response {
    let texts = body["input"].as_array().unwrap();
    // In reverse: the index counts, not the place.
    let data: Vec<Value> = (0..texts.len())
        .rev()
        .map(|index| json!({ "index": index, "embedding": of(index) }))
        .collect();
    Json(json!({ "data": data })).into_response()
}

#[tokio::test]
async fn vectors_come_back_in_order_and_of_unit_length() {
    let (url, seen) =
        serve(|body| vectors(body, |index| json!([3.0 * (index as f32 + 1.0), 4.0]))).await;
    let embedder = OpenAiEmbedder::new(OpenAiOptions::new(&url, None), "e".into(), 2)
        .unwrap()
        .with_prefixes("query: ", "passage: ");
    let texts: Vec<String> = (0..70).map(|n| format!("tekst {n}")).collect();
    let embeddings = embedder.embed(EmbedKind::Passage, texts).await.unwrap();
    assert_eq!(embeddings.len(), 70);
    assert!((embeddings[0].dense[0] - 0.6).abs() < 1e-6);
    assert!(
        (embeddings[64].dense[0] - 0.6).abs() < 1e-6,
        "a second batch began"
    );
    for embedding in &embeddings {
        let norm: f32 = embedding.dense.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].0, "/v1/embeddings");
    assert_eq!(seen[1].2["input"][5], "passage: tekst 69");
}

#[tokio::test]
async fn wrong_vectors_are_refused() {
    let answers: [fn(&Value) -> Response; 4] = [
        |body| vectors(body, |_| json!([1.0, 2.0, 3.0])),
        |body| vectors(body, |_| json!([0.0, 0.0])),
        |_| Json(json!({ "data": [] })).into_response(),
        |_| "no json".into_response(),
    ];
    for answer in answers {
        let (url, _) = serve(answer).await;
        let embedder = OpenAiEmbedder::new(OpenAiOptions::new(&url, None), "e".into(), 2).unwrap();
        let error = embedder
            .embed(EmbedKind::Query, vec!["x".into()])
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}
