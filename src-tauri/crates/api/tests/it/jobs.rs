//! The job list, its control and its export. The engine runs no jobs here, so they stay queued.

use axum::http::StatusCode;
use docent_engine::BatchReport;
use serde_json::{Value, json};

use crate::support::Api;

/// A workspace with so many files that wait to be read.
async fn waiting(api: &Api, files: usize) -> String {
    let workspace = api.workspace("Ured").await;
    let paths: Vec<_> = (0..files)
        .map(|n| {
            let path = api.folder.path().join(format!("spis-{n}.txt"));
            std::fs::write(&path, "Rečenica.").unwrap();
            path
        })
        .collect();
    let import = format!("{workspace}/documents/import");
    let imported = api.post(&import, &json!({ "paths": paths })).await;
    assert_eq!(imported.status, StatusCode::OK);
    workspace
}

async fn page(api: &Api, workspace: &str, query: &str) -> Value {
    api.get(&format!("{workspace}/jobs?{query}")).await.json()
}

#[tokio::test]
async fn jobs_are_listed_by_file_in_pages_with_the_progress_of_all() {
    let api = Api::open().await;
    let workspace = waiting(&api, 5).await;
    let first = page(&api, &workspace, "state=queued&limit=2").await;
    let job = &first["items"][0];
    assert_eq!(job["title"], "spis-0");
    assert!(job["path"].as_str().unwrap().ends_with("spis-0.txt"));
    assert_eq!(
        (&job["kind"], &job["attempts"], &job["eta_seconds"]),
        (&json!("read"), &json!(0), &Value::Null)
    );
    assert_eq!(
        first["counts"],
        json!({ "queued": 5, "running": 0, "done": 0, "dead": 0, "cancelled": 0 })
    );
    assert_eq!(
        first["progress"],
        json!({
            "files_done": 0, "files_read": 0, "files_total": 5, "files_failed": 0, "chunks_done": 0,
            "chunks_total": 0, "eta_seconds": null, "paused": false
        })
    );
    let mut titles = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = page(&api, &workspace, &format!("state=queued&limit=2{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        titles.extend(
            items
                .iter()
                .map(|job| job["title"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(titles, ["spis-0", "spis-1", "spis-2", "spis-3", "spis-4"]);
    let none = page(&api, &workspace, "kind=embed").await;
    assert_eq!(none["items"], json!([]));
    for wrong in [
        "state=lost",
        "kind=x",
        "limit=0",
        "limit=501",
        "cursor=x",
        "color=red",
    ] {
        let refused = api.get(&format!("{workspace}/jobs?{wrong}")).await;
        assert_eq!(refused.error_code(), "BAD_REQUEST", "{wrong}");
    }
    api.engine.shutdown().await;
}

#[tokio::test]
async fn work_is_paused_cancelled_and_retried() {
    let api = Api::open().await;
    let workspace = waiting(&api, 3).await;
    let post = async |path: &str| {
        api.post(&format!("{workspace}/jobs/{path}"), &json!(null))
            .await
    };
    assert_eq!(post("pause").await.status, StatusCode::NO_CONTENT);
    let paused = page(&api, &workspace, "").await;
    assert_eq!(paused["progress"]["paused"], true);
    assert_eq!(paused["counts"]["queued"], 3, "the queue is untouched");
    assert_eq!(post("resume").await.status, StatusCode::NO_CONTENT);
    let resumed = page(&api, &workspace, "").await;
    assert_eq!(resumed["progress"]["paused"], false);

    let id = resumed["items"][0]["id"].as_str().unwrap();
    let one = post(&format!("{id}/cancel")).await;
    assert_eq!(one.status, StatusCode::NO_CONTENT);
    assert_eq!(post("cancel").await.json(), json!({ "jobs": 2 }));
    let cancelled = page(&api, &workspace, "state=cancelled").await;
    assert_eq!(cancelled["counts"]["cancelled"], 3);
    assert_eq!(cancelled["progress"]["files_total"], 0);
    assert_eq!(
        post("retry").await.json(),
        json!({ "jobs": 0 }),
        "none failed"
    );
    let retried = post(&format!("{id}/retry")).await;
    assert_eq!(retried.status, StatusCode::NO_CONTENT);
    assert_eq!(page(&api, &workspace, "").await["counts"]["queued"], 1);
    for path in ["pause", "resume", "cancel", "retry"] {
        let unknown = format!("/api/v1/workspaces/none/jobs/{path}");
        let refused = api.post(&unknown, &json!(null)).await;
        assert_eq!(refused.error_code(), "NOT_FOUND", "{path}");
    }
    api.engine.shutdown().await;
}

#[tokio::test]
async fn the_list_can_be_taken_away() {
    let api = Api::open().await;
    let workspace = waiting(&api, 2).await;
    let csv = api
        .get(&format!("{workspace}/jobs/export?format=csv"))
        .await;
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert_eq!(
        csv.header("content-disposition"),
        Some("attachment; filename=\"docent-files.csv\"")
    );
    let text = String::from_utf8(csv.body).unwrap();
    assert_eq!(text.split_terminator("\r\n").count(), 1 + 2 + 2, "{text}");
    let json = api.get(&format!("{workspace}/jobs/export")).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let json = json.json();
    assert_eq!(json["documents"][1]["title"], "spis-1");
    assert_eq!(json["jobs"][0]["state"], "queued");
    let wrong = api
        .get(&format!("{workspace}/jobs/export?format=xls"))
        .await;
    assert_eq!(wrong.error_code(), "BAD_REQUEST");
    api.engine.shutdown().await;
}

#[test]
fn the_end_of_a_batch_is_told_in_numbers() {
    let report = BatchReport {
        workspace_id: docent_domain::WorkspaceId::generate(),
        indexed: 5,
        failed: 2,
        skipped: 1,
        took: std::time::Duration::from_millis(1500),
    };
    let event = docent_api::dto::BatchEvent::from(report);
    assert_eq!(
        serde_json::to_value(event).unwrap(),
        json!({
            "workspace_id": report.workspace_id.to_string(),
            "indexed": 5, "failed": 2, "skipped": 1, "took_ms": 1500
        })
    );
}
