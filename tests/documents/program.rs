//! Runs the program against a data folder of the test's own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The small model: these tests judge what is found and cited, not how well it is put.
const GENERATOR: &str = "qwen2.5-coder-0.5b-instruct";

/// For whatever is waited for, on two cores that may be busy with other tests. Nothing is measured
/// by it: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(5);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A data folder, and a folder for documents beside it.
pub struct Docent {
    home: TempDir,
    data: PathBuf,
    wrapper: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Docent {
    pub fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir(home.path().join("documents"))?;
        Ok(Self {
            data: home.path().join("data"),
            home,
            wrapper: Vec::new(),
            environment: Vec::new(),
        })
    }

    /// Keeps its data somewhere else.
    pub fn with_data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    /// Is started by another program, whose arguments end with the program to start.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    pub fn with_environment(mut self, variable: &'static str, value: &'static str) -> Self {
        self.environment.push((variable, value));
        self
    }

    pub fn documents(&self) -> PathBuf {
        self.home.path().join("documents")
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = docent_testkit::docent_binary();
        let mut command = match self.wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, its)) => {
                let mut command = Command::new(wrapper);
                command.args(its).arg(program);
                command
            }
        };
        command
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--models-dir")
            .arg(docent_tests::models_dir())
            .args(["--json", "--model", GENERATOR])
            .args(arguments)
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end and gives the JSON it printed, whatever its exit code.
    pub fn run(&self, arguments: &[&str]) -> Result<(Value, Output)> {
        let output = self.command(arguments).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&printed).with_context(|| {
            format!(
                "{arguments:?} printed {printed:?}; {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        Ok((value, output))
    }

    /// As [`Docent::run`], for what has to succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Result<Value> {
        let (value, output) = self.run(arguments)?;
        ensure!(
            output.status.success(),
            "{arguments:?} failed: {value} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(value)
    }

    /// Ingests the documents folder; the exit code only says whether every file could be read.
    pub fn ingest(&self) -> Result<Value> {
        let folder = self.documents();
        Ok(self
            .run(&["ingest", &folder.to_string_lossy(), "--workspace", "test"])?
            .0)
    }

    /// What doctor finds wrong.
    pub fn findings(&self) -> Result<Vec<Value>> {
        let (report, _) = self.run(&["doctor"])?;
        Ok(report["findings"]
            .as_array()
            .context("doctor lists findings")?
            .clone())
    }

    /// Starts the server, with a workspace named `test`.
    pub async fn serve(&self) -> Result<Server> {
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut printed = String::new();
        let mut lines = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        let started: Value = loop {
            let Some(line) = lines.next() else {
                bail!("the server ended ({}): {printed}", child.wait()?);
            };
            printed.push_str(&line?);
            if let Ok(value) = serde_json::from_str(&printed) {
                break value;
            }
        };
        let of = |name: &str| started[name].as_str().context("it says where it is");
        let server = Server {
            api: format!("http://{}/api/v1", of("address")?),
            token: of("token")?.to_owned(),
            http: reqwest::Client::builder().no_proxy().build()?,
            child,
        };
        let workspaces = server.get("/workspaces").await?;
        if workspaces.as_array().is_some_and(Vec::is_empty) {
            server
                .post("/workspaces", &json!({ "name": "test" }))
                .await?;
        }
        Ok(server)
    }
}

/// A running `docent serve`; it is killed when this is dropped.
pub struct Server {
    child: Child,
    api: String,
    token: String,
    http: reqwest::Client,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        let request = self.http.get(format!("{}{path}", self.api));
        answer(request.bearer_auth(&self.token)).await
    }

    /// `null` where the answer has no body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.api)).json(body);
        answer(request.bearer_auth(&self.token)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.patch(format!("{}{path}", self.api)).json(body);
        answer(request.bearer_auth(&self.token)).await
    }

    pub async fn delete(&self, path: &str) -> Result<()> {
        let request = self.http.delete(format!("{}{path}", self.api));
        answer(request.bearer_auth(&self.token)).await.map(drop)
    }

    /// Uploads a file to the workspace.
    pub async fn upload(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut body = format!(
            "--part\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
        )
        .into_bytes();
        body.extend(bytes);
        body.extend(b"\r\n--part--\r\n");
        let path = "/workspaces/test/documents";
        let request = self.http.post(format!("{}{path}", self.api)).body(body);
        let request = request.header("content-type", "multipart/form-data; boundary=part");
        answer(request.bearer_auth(&self.token)).await.map(drop)
    }

    /// Adds a file or a folder to the workspace.
    pub async fn import(&self, path: &Path) -> Result<()> {
        self.post(
            "/workspaces/test/documents/import",
            &json!({ "paths": [path] }),
        )
        .await
        .map(drop)
    }

    pub async fn documents(&self) -> Result<Vec<Value>> {
        let listed = self.get("/workspaces/test/documents?limit=500").await?;
        Ok(listed["items"]
            .as_array()
            .context("documents are listed")?
            .clone())
    }

    /// Asks and gives the events of the answer as they come.
    pub async fn ask(&self, question: &str) -> Result<Events> {
        let response = self
            .http
            .post(format!("{}/query", self.api))
            .bearer_auth(&self.token)
            .header("accept", "text/event-stream")
            .json(&json!({ "text": question, "workspace": "test" }))
            .send()
            .await?
            .error_for_status()?;
        Ok(Events {
            body: response
                .bytes_stream()
                .map(|piece| Ok(piece?.to_vec()))
                .boxed(),
            buffer: Vec::new(),
        })
    }

    /// Waits for a worker of this role, and gives its process id.
    pub async fn worker(&self, role: &str) -> Result<u32> {
        until(&format!("a running {role}"), async || {
            docent_tests::worker(self.pid(), role)
        })
        .await
    }

    /// As the system kills: at once, and without a word.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.text().await?;
    ensure!(status.is_success(), "{status}: {body}");
    if body.is_empty() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_str(&body)?)
}

/// The events of one answer.
pub struct Events {
    body: BoxStream<'static, Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl Events {
    /// Name and data of the next event; `None` when the answer is over.
    pub async fn next(&mut self) -> Result<Option<(String, Value)>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let event = String::from_utf8(event)?;
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                        .map(str::trim)
                };
                // Comments keep the connection alive.
                if let (Some(name), Some(data)) = (field("event"), field("data")) {
                    return Ok(Some((name.to_owned(), serde_json::from_str(data)?)));
                }
                continue;
            }
            match self.body.next().await {
                Some(piece) => self.buffer.extend_from_slice(&piece?),
                None => return Ok(None),
            }
        }
    }
}

/// Looks until there is something to see.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        ensure!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether documents are searchable by words, and perhaps by meaning too.
pub fn is_read(document: &Value) -> bool {
    matches!(document["status"].as_str(), Some("words" | "ready"))
}

/// The document with this file name.
pub fn named<'a>(documents: &'a [Value], name: &str) -> Option<&'a Value> {
    documents.iter().find(|document| {
        document["path"]
            .as_str()
            .is_some_and(|path| Path::new(path).ends_with(name))
    })
}

/// The outcome of each file of an ingest, by the file's name.
pub fn outcome<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    report["files"]
        .as_array()
        .and_then(|files| named(files, name))
        .with_context(|| format!("{name} is missing from {report}"))
}
