use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use docent_api::ApiOptions;
use serde_json::json;

use crate::support::{Answer, Api};

const BOUNDARY: &str = "docent-boundary";

/// A form of (field, file name, content).
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, name, content) in parts {
        let name = name
            .map(|name| format!("; filename=\"{name}\""))
            .unwrap_or_default();
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{field}\"{name}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn send(api: &Api, path: &str, body: Body) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    api.send(
        Request::post(path)
            .header(CONTENT_TYPE, kind)
            .body(body)
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn the_published_upload() {
    let api = Api::open().await;
    let parts: [(&str, Option<&str>, &[u8]); 2] = [
        ("user_id", None, b"default_user"),
        ("file", Some("ugovor.txt"), "Čl. 1".as_bytes()),
    ];
    let answer = send(&api, "/api/v1/documents/upload", Body::from(form(&parts))).await;
    let receipt = answer.json();
    assert_eq!(
        (answer.status, &receipt["status"]),
        (StatusCode::OK, &json!("success")),
        "{receipt}"
    );
    let id = receipt["document_id"].as_str().unwrap();
    // Nobody had made a workspace: there is one now.
    let document = api
        .get(&format!("/api/v1/workspaces/default/documents/{id}"))
        .await
        .json();
    assert_eq!(
        (&document["path"], &document["origin"]),
        (&json!("ugovor.txt"), &json!("upload"))
    );
    let file = api
        .get(&format!("/api/v1/workspaces/default/documents/{id}/file"))
        .await;
    assert_eq!(file.body, "Čl. 1".as_bytes());

    let elsewhere = "/api/v1/documents/upload?workspace=no-such";
    let answer = send(&api, elsewhere, Body::from(form(&parts))).await;
    assert_eq!(
        answer.error_code(),
        "NOT_FOUND",
        "a workspace that is named is not made"
    );
}

#[tokio::test]
async fn many_files_at_once_without_their_folders() {
    let api = Api::open().await;
    let documents = format!("{}/documents", api.workspace("W").await);
    let parts: [(&str, Option<&str>, &[u8]); 2] = [
        ("file", Some("../../a.txt"), b"one"),
        ("file", Some("b.md"), b"two"),
    ];
    let answer = send(&api, &documents, Body::from(form(&parts))).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let names: Vec<_> = answer.json()["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| document["name"].clone())
        .collect();
    assert_eq!(names, ["a.txt", "b.md"]);
}

#[tokio::test]
async fn an_upload_beyond_the_limit_ends_there_and_leaves_nothing() {
    let options = ApiOptions {
        upload_bytes: 1 << 20,
        ..ApiOptions::default()
    };
    let api = Api::open_with(options).await;
    let documents = format!("{}/documents", api.workspace("W").await);
    // A body without an end and without a length: only a limit that counts can stop it.
    let head = form(&[
        ("file", Some("a.txt"), b"kept"),
        ("file", Some("big.txt"), b""),
    ]);
    let head = head[..head.len() - format!("\r\n--{BOUNDARY}--\r\n").len()].to_vec();
    let endless = futures::stream::iter(std::iter::repeat_with(|| Ok(vec![b'x'; 64 << 10])));
    let body = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::io::Error>(head)]),
        endless,
    );
    let answer = send(&api, &documents, Body::from_stream(body)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.error_code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(
        answer.json()["error"]["hint"],
        "The file before it was kept."
    );
    let listed = api.get(&documents).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let incoming = api.folder.path().join("data/incoming");
    assert_eq!(
        std::fs::read_dir(incoming).unwrap().count(),
        0,
        "no half file stays"
    );
}

#[tokio::test]
async fn what_is_no_file_has_its_limit_too() {
    let api = Api::open().await;
    let documents = format!("{}/documents", api.workspace("W").await);
    let endless = |head: String| {
        let head = futures::stream::iter([Ok::<_, std::io::Error>(head.into_bytes())]);
        let rest = futures::stream::iter(std::iter::repeat_with(|| Ok(vec![b'x'; 64 << 10])));
        Body::from_stream(futures::StreamExt::chain(head, rest))
    };
    for head in [
        format!("--{BOUNDARY}\r\nx-endless: "),
        format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\n"),
        String::new(),
    ] {
        let answer = send(&api, &documents, endless(head.clone())).await;
        assert!(
            answer.status.is_client_error(),
            "{} for {head:?}",
            answer.status
        );
        assert_eq!(answer.error_code(), "PAYLOAD_TOO_LARGE", "{head:?}");
    }
}

#[tokio::test]
async fn forms_that_are_none() {
    let api = Api::open().await;
    let documents = format!("{}/documents", api.workspace("W").await);
    for parts in [
        form(&[]),
        form(&[("other", Some("a.txt"), b"x")]),
        form(&[("file", None, b"x")]),
        form(&[("file", Some("a.txt"), b"x")])[..60].to_vec(),
        b"nonsense".to_vec(),
    ] {
        let what = String::from_utf8_lossy(&parts).into_owned();
        let answer = send(&api, &documents, Body::from(parts)).await;
        assert!(
            answer.status.is_client_error(),
            "{} for {what}",
            answer.status
        );
        answer.error_code();
    }
    let many = vec![("other", None, b"".as_slice()); 1001];
    let answer = send(&api, &documents, Body::from(form(&many))).await;
    assert_eq!(answer.error_code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(api.get(&documents).await.json()["items"], json!([]));
}
