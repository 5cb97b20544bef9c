use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

use crate::support::{Answer, Api};

/// A workspace with one local file of the digits 0 to 9; gives its path in the API.
async fn digits(api: &Api) -> String {
    let workspace = api.workspace("W").await;
    let file = api.folder.path().join("znamenke č.txt");
    std::fs::write(&file, "0123456789").unwrap();
    let import = json!({ "paths": [file, api.folder.path().join("missing.txt")] });
    let imported = api
        .post(&format!("{workspace}/documents/import"), &import)
        .await
        .json();
    assert_eq!(
        imported["skipped"].as_array().unwrap().len(),
        1,
        "{imported}"
    );
    let id = imported["documents"][0]
        .as_str()
        .unwrap_or_else(|| panic!("{imported}"));
    format!("{workspace}/documents/{id}")
}

#[tokio::test]
async fn an_imported_file_is_listed_shown_and_removed() {
    let api = Api::open().await;
    let path = digits(&api).await;
    let document = api.get(&path).await.json();
    assert_eq!(document["status"], "queued");
    assert_eq!(document["origin"], "file");
    assert_eq!(document["size_bytes"], 10);
    let (list, _) = path.rsplit_once('/').unwrap();
    let listed = api
        .get(&format!("{list}?status=queued&sort=name&limit=1"))
        .await
        .json();
    assert_eq!(listed["items"][0]["id"], document["id"]);
    assert_eq!(listed["counts"]["queued"], 1);
    let none = api
        .get(&format!("{list}?status=ready&query=nema"))
        .await
        .json();
    assert_eq!(none["items"], json!([]));
    for wrong in [
        "limit=0",
        "limit=501",
        "limit=x",
        "status=lost",
        "sort=size",
        "color=red",
    ] {
        assert_eq!(
            api.get(&format!("{list}?{wrong}")).await.error_code(),
            "BAD_REQUEST",
            "{wrong}"
        );
    }
    let jobs = list.replace("documents", "jobs");
    let jobs = api.get(&format!("{jobs}?state=queued")).await.json();
    assert_eq!(jobs["items"][0]["kind"], "read");
    assert_eq!(jobs["items"][0]["document_id"], document["id"]);
    assert_eq!(jobs["counts"]["queued"], 1);
    assert_eq!(api.get(&format!("{path}/chunks")).await.json(), json!([]));
    assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&path).await.error_code(), "NOT_FOUND");
}

/// As soon as a removal has been asked for, it is carried out, at whatever point its client goes.
#[tokio::test]
async fn a_removal_outlives_its_client() {
    let api = Api::open().await;
    let path = digits(&api).await;
    let (folder, _) = path.rsplit_once('/').unwrap();
    for polls in 1..=12 {
        let file = api.folder.path().join(format!("{polls}.txt"));
        std::fs::write(&file, "0123456789").unwrap();
        let imported = api
            .post(&format!("{folder}/import"), &json!({ "paths": [file] }))
            .await
            .json();
        let id = imported["documents"][0].as_str().unwrap();
        let path = format!("{folder}/{id}");
        let mut changes = api.engine.subscribe();
        {
            let removal = api.delete(&path);
            tokio::pin!(removal);
            for _ in 0..polls {
                if futures::poll!(&mut removal).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // It says so when it is done.
        changes.recv().await.unwrap();
        assert_eq!(api.get(&path).await.error_code(), "NOT_FOUND", "{polls}");
    }
    api.engine.shutdown().await;
}

async fn file(api: &Api, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("{path}/file"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn files_come_whole_or_in_ranges() {
    let api = Api::open().await;
    let path = digits(&api).await;
    let whole = file(&api, &path, &[]).await;
    assert_eq!(
        (whole.status, whole.body.as_slice()),
        (StatusCode::OK, b"0123456789".as_slice())
    );
    assert_eq!(whole.header("content-length"), Some("10"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        whole.header("content-security-policy"),
        Some("default-src 'none'; sandbox")
    );
    let disposition = whole.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; "), "{disposition}");
    assert!(
        disposition.ends_with("filename*=UTF-8''znamenke%20%C4%8D.txt"),
        "{disposition}"
    );
    let tag = whole.header("etag").unwrap().to_owned();

    let part = file(&api, &path, &[("range", "bytes=2-5")]).await;
    assert_eq!(
        (part.status, part.body.as_slice()),
        (StatusCode::PARTIAL_CONTENT, b"2345".as_slice())
    );
    assert_eq!(part.header("content-range"), Some("bytes 2-5/10"));
    assert_eq!(part.header("content-length"), Some("4"));
    let end = file(&api, &path, &[("range", "bytes=-3")]).await;
    assert_eq!(end.body, b"789");

    let beyond = file(&api, &path, &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    assert_eq!(beyond.error_code(), "BAD_REQUEST");

    let same = file(&api, &path, &[("range", "bytes=0-0"), ("if-range", &tag)]).await;
    assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
    let other = file(
        &api,
        &path,
        &[("range", "bytes=0-0"), ("if-range", "\"old\"")],
    )
    .await;
    assert_eq!(
        (other.status, other.body.len()),
        (StatusCode::OK, 10),
        "the file has changed"
    );
    let known = file(&api, &path, &[("if-none-match", &tag)]).await;
    assert_eq!(
        (known.status, known.body.len()),
        (StatusCode::NOT_MODIFIED, 0)
    );

    let head = Request::builder()
        .method(Method::HEAD)
        .uri(format!("{path}/file"));
    let head = api.send(head.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some("10"), 0)
    );

    std::fs::remove_file(api.folder.path().join("znamenke č.txt")).unwrap();
    assert_eq!(file(&api, &path, &[]).await.error_code(), "NOT_FOUND");
}

#[tokio::test]
async fn folders_are_added_scanned_and_removed() {
    let api = Api::open().await;
    let workspace = api.workspace("W").await;
    let watched = api.folder.path().join("watched");
    std::fs::create_dir(&watched).unwrap();
    let created = api
        .post(&format!("{workspace}/folders"), &json!({ "path": watched }))
        .await;
    assert_eq!(created.status, StatusCode::CREATED, "{:?}", created.json());
    let folder = format!(
        "{workspace}/folders/{}",
        created.json()["id"].as_str().unwrap()
    );
    assert_eq!(
        api.get(&format!("{workspace}/folders")).await.json()[0]["state"],
        "watching"
    );
    for action in ["scan", "resume"] {
        let answer = api.post(&format!("{folder}/{action}"), &json!({})).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{action}");
    }
    assert_eq!(api.delete(&folder).await.status, StatusCode::NO_CONTENT);
    let missing = json!({ "path": api.folder.path().join("nowhere") });
    let refused = api.post(&format!("{workspace}/folders"), &missing).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    refused.error_code();
}

#[tokio::test]
async fn patterns_of_a_folder_are_set_and_refused() {
    let api = Api::open().await;
    let workspace = api.workspace("W").await;
    let watched = api.folder.path().join("watched");
    std::fs::create_dir(&watched).unwrap();
    let patterns = json!({ "include": ["*.pdf"], "exclude": [] });
    let new = json!({ "path": watched, "patterns": patterns });
    let created = api.post(&format!("{workspace}/folders"), &new).await;
    assert_eq!(created.status, StatusCode::CREATED, "{:?}", created.json());
    assert_eq!(created.json()["patterns"], patterns);
    let folder = format!(
        "{workspace}/folders/{}",
        created.json()["id"].as_str().unwrap()
    );

    let patterns = json!({ "include": [], "exclude": ["drafts/", "*.log"] });
    let changed = api.patch(&folder, &json!({ "patterns": patterns })).await;
    assert_eq!(changed.status, StatusCode::OK, "{:?}", changed.json());
    assert_eq!(changed.json()["patterns"], patterns);
    let again = json!({ "path": watched });
    let again = api.post(&format!("{workspace}/folders"), &again).await;
    assert_eq!(again.json()["patterns"], patterns, "adding it keeps them");

    let bad = json!({ "patterns": { "exclude": ["*.log", "[z-a]"] } });
    let refused = api.patch(&folder, &bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("[z-a]"), "{message}");
    let kept = api.get(&format!("{workspace}/folders")).await.json();
    assert_eq!(kept[0]["patterns"], patterns);
}
