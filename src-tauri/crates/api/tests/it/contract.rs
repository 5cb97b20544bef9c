//! The OpenAPI document, which clients are generated from.

use std::path::Path;

#[test]
fn the_committed_document_is_the_routers() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ui/openapi.json");
    let committed = std::fs::read_to_string(&file).unwrap();
    assert!(
        committed == docent_api::openapi_json().unwrap(),
        "{} is out of date: run `cargo xtask codegen`",
        file.display()
    );
}

#[test]
fn every_operation_is_named_once_and_says_how_it_fails() {
    let document = serde_json::to_value(docent_api::openapi()).unwrap();
    let mut names = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path}"
            );
            assert!(path.starts_with(docent_api::PREFIX), "{path}");
            names.push(name);
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_published_fields_are_as_published() {
    let document = serde_json::to_value(docent_api::openapi()).unwrap();
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let request = schema("QueryRequest");
    assert_eq!(request["required"], serde_json::json!(["text"]));
    assert_eq!(request["properties"]["language"]["default"], "auto");
    assert_eq!(request["properties"]["max_results"]["default"], 5);
    assert_eq!(request["properties"]["user_id"]["default"], "default_user");
    let response = schema("QueryResponse");
    let types = [
        ("answer", "string"),
        ("confidence", "number"),
        ("sources", "array"),
        ("query_id", "string"),
    ];
    for (field, kind) in types {
        assert_eq!(response["properties"][field]["type"], kind, "{field}");
    }
    assert!(response["properties"]["language_detected"].is_object());
    for field in ["status", "version", "models_loaded", "vector_db_connected"] {
        assert!(schema("Health")["properties"][field].is_object(), "{field}");
    }
    for field in ["status", "document_id"] {
        assert!(
            schema("UploadReceipt")["properties"][field].is_object(),
            "{field}"
        );
    }
}
