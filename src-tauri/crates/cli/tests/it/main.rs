//! The program as scripts see it: what it prints, where, and how it exits. Without models, so
//! commands that need one must say so.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

struct Docent {
    folder: TempDir,
}

impl Docent {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docent"));
        command
            .args(arguments)
            .env("DOCENT_DATA_DIR", self.data().join("data"))
            .env("DOCENT_MODELS_DIR", self.data().join("models"));
        for name in [
            "DOCENT_GENERATOR",
            "DOCENT_EMBEDDER",
            "DOCENT_WORKSPACE",
            "RUST_LOG",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// The value that a command prints, and whether it succeeded.
    fn json(&self, arguments: &[&str]) -> (bool, Value) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.success(), value)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn results_go_to_standard_output_and_nothing_else_does() {
    let docent = Docent::new();
    let (success, created) = docent.json(&["workspaces", "create", "Ured Horvat"]);
    assert!(success);
    assert_eq!(created["name"], "Ured Horvat");
    let (success, listed) = docent.json(&["workspaces", "list"]);
    assert!(success);
    assert_eq!(listed, json!([created]));
    let (success, documents) = docent.json(&["documents", "list", "--workspace", "ured horvat"]);
    assert!(success);
    assert_eq!(documents, json!([]));
    let text = docent.run(&["workspaces", "list"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("Ured Horvat"));
    assert_eq!(stderr(&text), "", "quiet by default");
}

#[test]
fn failures_have_a_code_a_sentence_and_what_to_do() {
    let docent = Docent::new();
    let (success, failure) = docent.json(&["search", "x", "--workspace", "none"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "NOT_FOUND");
    assert!(failure["error"]["message"].is_string() && failure["error"]["hint"].is_string());
    let text = docent.run(&["search", "x", "--workspace", "none"]);
    assert_eq!(text.status.code(), Some(1));
    assert!(text.stdout.is_empty());
    assert!(stderr(&text).starts_with("docent: "), "{}", stderr(&text));
    assert!(
        stderr(&text).lines().count() == 2,
        "the sentence and the hint: {}",
        stderr(&text)
    );
}

#[test]
fn ingesting_without_the_embedder_says_what_to_fetch() {
    let docent = Docent::new();
    let file = docent.data().join("a.txt");
    std::fs::write(&file, "text").unwrap();
    let (success, failure) = docent.json(&["ingest", file.to_str().unwrap(), "--workspace", "W"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "MODEL_MISSING");
    let hint = failure["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("docent models fetch"), "{hint}");
    let (success, failure) = docent.json(&["ingest", "/no/such/file", "--workspace", "W"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "NOT_FOUND");
}

/// The embedder of a workspace need not be the one that new workspaces get.
#[test]
fn ingesting_into_a_workspace_whose_embedder_is_gone_ends() {
    let docent = Docent::new();
    docent.json(&["workspaces", "create", "W", "--embedder", "bge-m3"]);
    let file = docent.data().join("a.txt");
    std::fs::write(&file, "text").unwrap();
    let (success, failure) = docent.json(&["ingest", file.to_str().unwrap(), "--workspace", "W"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "MODEL_MISSING");
    let message = failure["error"]["message"].as_str().unwrap();
    assert!(message.contains("1 document"), "{message}");
    let (_, listed) = docent.json(&["documents", "list", "--workspace", "W"]);
    assert_eq!(listed[0]["status"], "queued", "it waits for the model");
}

#[test]
fn the_doctor_needs_no_models() {
    let docent = Docent::new();
    docent.json(&["workspaces", "create", "W"]);
    let (success, report) = docent.json(&["doctor"]);
    assert!(success, "{report}");
    assert_eq!(report["findings"], json!([]));
    let unchecked = report["unchecked"][0].as_str().unwrap();
    assert!(unchecked.starts_with("W: its vectors"), "{unchecked}");
    let text = docent.run(&["doctor"]);
    let printed = String::from_utf8_lossy(&text.stdout);
    assert!(printed.contains("\nnot checked: W: "), "{printed}");
}

#[test]
fn a_workspace_is_deleted_only_when_meant() {
    let docent = Docent::new();
    docent.json(&["workspaces", "create", "W"]);
    let (success, failure) = docent.json(&["workspaces", "delete", "W"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "BAD_REQUEST");
    let (success, deleted) = docent.json(&["workspaces", "delete", "W", "--yes"]);
    assert!(success);
    assert_eq!(deleted["name"], "W");
    assert_eq!(docent.json(&["workspaces", "list"]), (true, json!([])));
}

#[test]
fn models_need_no_data_folder() {
    let docent = Docent::new();
    let (success, models) = docent.json(&["models", "list"]);
    assert!(success);
    assert!(
        models
            .as_array()
            .unwrap()
            .iter()
            .all(|model| model["installed"] == "missing")
    );
    assert_eq!(docent.json(&["models", "verify"]), (true, json!([])));
    let (success, failure) = docent.json(&["models", "fetch", "no-such"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "NOT_FOUND");
    assert!(!docent.data().join("data").exists());
}

#[test]
fn serving_is_for_this_machine_alone() {
    let docent = Docent::new();
    let (success, failure) = docent.json(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(!success);
    assert_eq!(failure["error"]["code"], "FORBIDDEN");
}

#[cfg(unix)]
#[test]
fn one_process_at_a_time_and_an_orderly_end() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let docent = Docent::new();
    let mut serving = docent
        .command(&["serve", "--listen", "127.0.0.1:0", "--token", "test-token"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    BufReader::new(serving.stdout.take().unwrap())
        .read_line(&mut printed)
        .unwrap();
    assert!(
        printed.starts_with("Docent is at http://127.0.0.1:"),
        "{printed}"
    );
    assert!(
        printed.trim_end().ends_with("/?token=test-token"),
        "{printed}"
    );

    let (success, failure) = docent.json(&["workspaces", "list"]);
    assert!(!success, "the data folder is in use");
    assert_eq!(failure["error"]["code"], "CONFLICT");
    assert!(failure["error"]["hint"].is_string());

    let told = Command::new("kill")
        .args(["-TERM", &serving.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
    assert!(
        serving.wait().unwrap().success(),
        "being told to end is no failure"
    );
    assert!(
        docent.json(&["workspaces", "list"]).0,
        "the folder is free again"
    );
}

#[test]
fn the_document_of_the_api() {
    let output = Docent::new().run(&["openapi"]);
    assert!(output.status.success());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/api/v1/query"].is_object());
}

#[test]
fn wrong_arguments_are_not_success() {
    let docent = Docent::new();
    for arguments in [
        &["search"][..],
        &["nonsense"],
        &["serve", "--listen", "here"],
    ] {
        let output = docent.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
    }
    assert!(docent.run(&["--version"]).status.success());
}

#[test]
fn background_work_is_listed_controlled_and_exported() {
    let docent = Docent::new();
    let workspace = ["--workspace", "Ured"];
    docent.json(&["workspaces", "create", "Ured"]);
    let jobs = |arguments: &[&str]| docent.json(&[&["jobs"], arguments, &workspace].concat());
    let (success, list) = jobs(&["list"]);
    assert!(success);
    assert_eq!(list["items"], json!([]));
    assert_eq!(list["counts"]["queued"], 0);
    let (success, progress) = jobs(&["pause"]);
    assert!(success);
    assert_eq!(progress["paused"], true);
    assert_eq!(jobs(&["list"]).1["progress"]["paused"], true, "it is kept");
    assert_eq!(jobs(&["resume"]).1["paused"], false);
    assert_eq!(jobs(&["cancel", "--all"]).1, json!({ "jobs": 0 }));
    assert_eq!(jobs(&["retry", "--failed"]).1, json!({ "jobs": 0 }));
    let (success, error) = jobs(&["cancel", "01890a5d-ac96-774b-bcce-b302099a8057"]);
    assert!(!success);
    assert_eq!(error["error"]["code"], "NOT_FOUND");

    let csv = docent.run(&["jobs", "export", "--workspace", "Ured"]);
    assert!(csv.status.success(), "{csv:?}");
    assert!(
        csv.stdout
            .starts_with("\u{feff}record,path,title,status,problem,".as_bytes())
    );
    let file = docent.data().join("files.json");
    let name = file.to_str().unwrap();
    let arguments = ["jobs", "export", "--format", "json", "--output", name];
    let written = docent.run(&[&arguments[..], &workspace].concat());
    assert!(written.status.success() && written.stdout.is_empty());
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, json!({ "documents": [], "jobs": [] }));
}
