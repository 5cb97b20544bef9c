//! An engine in a folder of its own, and a way to ask its router.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use docent_api::{ApiOptions, router_with};
use docent_engine::{Engine, EngineOptions, ModelSource};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

pub struct Api {
    pub engine: Arc<Engine>,
    pub router: Router,
    pub options: ApiOptions,
    pub folder: TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code of an error, whose shape is checked on the way.
    pub fn error_code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().expect("errors have one shape");
        let mut fields: Vec<_> = error.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "hint", "message"]);
        assert!(!error["message"].as_str().unwrap().is_empty());
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Api {
    pub async fn open() -> Self {
        Self::open_with(ApiOptions::default()).await
    }

    pub async fn open_with(options: ApiOptions) -> Self {
        Self::open_engine(options, false).await
    }

    /// With jobs and what else goes on in the background.
    pub async fn at_work() -> Self {
        Self::open_engine(ApiOptions::default(), true).await
    }

    async fn open_engine(options: ApiOptions, run_jobs: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut engine =
            EngineOptions::new(folder.path().join("data"), folder.path().join("models"));
        engine.models = ModelSource::Fakes;
        engine.run_jobs = run_jobs;
        let engine = Engine::open(engine).await.unwrap();
        let router = router_with(Arc::clone(&engine), options.clone());
        Self {
            engine,
            router,
            options,
            folder,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, None)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(request(Method::POST, path, Some(body))).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(request(Method::PATCH, path, Some(body))).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, None)).await
    }

    /// A new workspace's path.
    pub async fn workspace(&self, name: &str) -> String {
        let created = self
            .post("/api/v1/workspaces", &serde_json::json!({ "name": name }))
            .await;
        assert_eq!(created.status, StatusCode::CREATED, "{:?}", created.json());
        format!(
            "/api/v1/workspaces/{}",
            created.json()["id"].as_str().unwrap()
        )
    }
}

pub fn request(method: Method, path: &str, body: Option<&Value>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    match body {
        Some(body) => request
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}
