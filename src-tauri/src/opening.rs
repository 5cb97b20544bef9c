//! The window appears at once; the engine opens beside it. Requests that come earlier wait here.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::IntoResponse;
use tokio::sync::watch;
use tower::{ServiceExt, service_fn};

/// A router that passes every request on to the one that `opened` will hold.
pub fn router_once(opened: watch::Receiver<Option<Router>>) -> Router {
    Router::new().fallback_service(service_fn(move |request: Request<Body>| {
        let mut opened = opened.clone();
        async move {
            let router = match opened.wait_for(Option::is_some).await {
                Ok(router) => router.clone(),
                // The application is closing.
                Err(_) => None,
            };
            match router {
                Some(router) => router.oneshot(request).await,
                None => Ok(unavailable("Docent is closing", None)),
            }
        }
    }))
}

/// Answers everything with the reason why the engine could not open, so that the window shows it.
pub fn router_of_failure(message: String, hint: Option<String>) -> Router {
    Router::new().fallback(move || {
        let answer = unavailable(&message, hint.as_deref());
        async move { answer }
    })
}

/// The API's own error shape.
fn unavailable(message: &str, hint: Option<&str>) -> axum::response::Response {
    let body = serde_json::json!({
        "error": { "code": "INTERNAL", "message": message, "hint": hint }
    });
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(router: Router) -> (StatusCode, String) {
        let request = Request::get("/api/v1/status").body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_early_request_waits_for_the_engine() {
        let (sender, receiver) = watch::channel(None);
        let early = tokio::spawn(ask(router_once(receiver)));
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        let ready = Router::new().route("/api/v1/status", get(|| async { "ready" }));
        sender.send(Some(ready)).unwrap();
        assert_eq!(early.await.unwrap(), (StatusCode::OK, "ready".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_to_open_reaches_every_request_with_its_reason() {
        let (status, body) = ask(router_of_failure(
            "another Docent is open".into(),
            Some("close it".into()),
        ))
        .await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            body.contains("another Docent is open") && body.contains("close it"),
            "{body}"
        );

        let (sender, receiver) = watch::channel(None);
        drop(sender);
        assert_eq!(
            ask(router_once(receiver)).await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
