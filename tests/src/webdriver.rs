//! As much of the WebDriver protocol as a test of a window needs, and a virtual display for it.
//!
//! Waiting is done inside the page: a condition is looked at again whenever the document changes,
//! so a test neither polls nor sleeps, and ends at the deadline it gives.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// What the protocol calls the field that holds a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Time for a program to show its window.
const OPENING: Duration = Duration::from_mins(1);

/// A child process that ends with the test.
pub struct Running(Child);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A virtual display of its own, so that tests don't meet each other or a person's windows.
pub struct Display {
    _server: Running,
    pub name: String,
}

impl Display {
    pub fn start(width: u32, height: u32) -> Result<Self> {
        let mut server = Command::new("Xvfb")
            // The server chooses a free number and writes it when it is ready.
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("Xvfb could not be started; `cargo xtask test` installs it")?;
        let output = server.stdout.take().context("Xvfb's output is piped")?;
        let server = Running(server);
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number)?;
        ensure!(!number.trim().is_empty(), "Xvfb ended without a display");
        Ok(Self {
            _server: server,
            name: format!(":{}", number.trim()),
        })
    }
}

/// A driver of WebKitGTK windows, or of Chromium.
pub struct Driver {
    process: Running,
    http: reqwest::Client,
    address: String,
}

impl Driver {
    /// For programs with a WebKitGTK window. `environment` is seen by the driver and by the programs
    /// it starts.
    pub async fn start(environment: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new("WebKitWebDriver");
        command
            // Without it the window doesn't offer itself, and a session is never answered.
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .envs(environment.iter().map(|(name, value)| (name, value)));
        Self::spawn(command).await
    }

    /// For [`Driver::browse`].
    pub async fn start_chromium() -> Result<Self> {
        let mut command = Command::new("chromedriver");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = command.get_program().to_string_lossy().into_owned();
        let process = Running(command.arg(format!("--port={port}")).spawn().with_context(
            || format!("{name} could not be started; `cargo xtask test` installs it"),
        )?);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let driver = Self {
            process,
            http,
            address: format!("http://127.0.0.1:{port}"),
        };
        driver.ready().await?;
        Ok(driver)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The driver says nothing when it listens; asking is the only way to know.
    async fn ready(&self) -> Result<()> {
        let listening = async {
            let mut often = tokio::time::interval(Duration::from_millis(20));
            loop {
                often.tick().await;
                if self
                    .http
                    .get(format!("{}/status", self.address))
                    .send()
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(90), listening)
            .await
            .context("the driver does not listen")
    }

    /// Starts a program and takes control of its window.
    pub async fn open(&self, program: &Path, arguments: &[&str]) -> Result<Window> {
        self.session(&json!({
            "webkitgtk:browserOptions": { "binary": program, "args": arguments },
        }))
        .await
    }

    /// Opens an address in Chromium without a display, in a window of that many CSS pixels and with a
    /// profile of its own.
    pub async fn browse(&self, url: &str, width: u32, height: u32) -> Result<Window> {
        let window = self
            .session(&json!({
                "goog:chromeOptions": { "args": [
                    "--headless=new",
                    format!("--window-size={width},{height}"),
                    // With its sandbox Chromium refuses to run as root. It sees no page but ours.
                    "--no-sandbox",
                ]},
            }))
            .await?;
        window.post("url", &json!({ "url": url })).await?;
        Ok(window)
    }

    async fn session(&self, wanted: &Value) -> Result<Window> {
        let capabilities = json!({ "capabilities": { "alwaysMatch": wanted } });
        let url = format!("{}/session", self.address);
        // A program that doesn't offer its window to the driver is waited for without end.
        let request = self.http.post(&url).json(&capabilities).timeout(OPENING);
        let session = call(request).await?;
        let id = session["sessionId"]
            .as_str()
            .context("a session has an id")?;
        Ok(Window {
            http: self.http.clone(),
            session: format!("{url}/{id}"),
        })
    }
}

/// One window under control. [`Window::close`] ends its program.
pub struct Window {
    http: reqwest::Client,
    session: String,
}

/// An element of the page.
pub struct Element<'a> {
    window: &'a Window,
    id: String,
}

impl Window {
    pub async fn close(self) -> Result<()> {
        call(self.http.delete(&self.session)).await.map(drop)
    }

    /// Runs a function body in the page; `arguments` are its arguments, `return` its value.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        self.post(
            "execute/sync",
            &json!({ "script": script, "args": arguments }),
        )
        .await
    }

    /// Performs input as a person's devices would give it: a list of the protocol's input sources
    /// with their actions. Returns when the page has received all of it.
    pub async fn act(&self, sources: &Value) -> Result<()> {
        let actions = json!({ "actions": sources });
        self.post("actions", &actions).await.map(drop)
    }

    /// Waits until an expression of the page is truthy, and returns its value. `what` names it in
    /// the failure.
    pub async fn wait(&self, what: &str, expression: &str, within: Duration) -> Result<Value> {
        let milliseconds = within.as_millis() as u64;
        self.post("timeouts", &json!({ "script": milliseconds + 10_000 }))
            .await?;
        let script = format!(
            "const done = arguments[1];
             let observer, timer;
             const look = () => {{
               const value = ({expression});
               if (!value) return false;
               observer?.disconnect(); clearTimeout(timer); done({{ value }});
               return true;
             }};
             if (!look()) {{
               observer = new MutationObserver(look);
               observer.observe(document, {{
                 subtree: true, childList: true, attributes: true, characterData: true
               }});
               timer = setTimeout(() => {{ observer.disconnect(); done(null); }}, arguments[0]);
             }}"
        );
        let found = self
            .post(
                "execute/async",
                &json!({ "script": script, "args": [milliseconds] }),
            )
            .await
            .with_context(|| format!("waiting for {what}"))?;
        if found.is_null() {
            let text = self.run("return document.body.innerText", &[]).await?;
            bail!(
                "no {what} within {within:?}; the window shows:\n{}",
                text.as_str().unwrap_or("")
            );
        }
        Ok(found["value"].clone())
    }

    /// Waits for the first element that a selector matches.
    pub async fn find(&self, css: &str, within: Duration) -> Result<Element<'_>> {
        let expression = format!("document.querySelector({})", json!(css));
        self.element(css, &expression, within).await
    }

    /// Waits for a button that can be used and says just that.
    pub async fn button(&self, label: &str, within: Duration) -> Result<Element<'_>> {
        let expression = format!(
            "[...document.querySelectorAll('button')].findLast((button) =>
               !button.disabled && button.textContent.trim() === {})",
            json!(label)
        );
        self.element(label, &expression, within).await
    }

    /// Waits until an expression of the page is an element. `what` names it in the failure.
    pub async fn element(
        &self,
        what: &str,
        expression: &str,
        within: Duration,
    ) -> Result<Element<'_>> {
        let found = self.wait(what, expression, within).await?;
        let id = found[ELEMENT]
            .as_str()
            .with_context(|| format!("{what} is no element"))?;
        Ok(Element {
            window: self,
            id: id.to_owned(),
        })
    }

    /// How many elements a selector matches now.
    pub async fn count(&self, css: &str) -> Result<u64> {
        let count = self
            .run(
                "return document.querySelectorAll(arguments[0]).length",
                &[json!(css)],
            )
            .await?;
        count.as_u64().context("a count is a number")
    }

    /// Saves what the window shows as a PNG, once it is painted and its movements have ended.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let settled = "const done = arguments[0];
             const moving = document.getAnimations()
               .filter((one) => Number.isFinite(one.effect?.getComputedTiming().endTime))
               .map((one) => one.finished.catch(() => {}));
             Promise.all(moving).then(() =>
               requestAnimationFrame(() => requestAnimationFrame(() => done(null))));";
        let settled = json!({ "script": settled, "args": [] });
        self.post("execute/async", &settled)
            .await
            .context("waiting for the picture to settle")?;
        let encoded = call(self.http.get(format!("{}/screenshot", self.session))).await?;
        let png = decode_base64(encoded.as_str().context("a screenshot is text")?)?;
        std::fs::write(file, png).with_context(|| format!("writing {}", file.display()))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        call(
            self.http
                .post(format!("{}/{path}", self.session))
                .json(body),
        )
        .await
    }
}

impl Element<'_> {
    pub async fn click(&self) -> Result<()> {
        self.post("click", &json!({})).await
    }

    /// Types into the element. Code points from U+E000 are keys, for instance U+E007 Enter.
    pub async fn keys(&self, text: &str) -> Result<()> {
        self.post("value", &json!({ "text": text })).await
    }

    pub async fn text(&self) -> Result<String> {
        let text = call(self.window.http.get(self.url("text"))).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    pub async fn attribute(&self, name: &str) -> Result<Option<String>> {
        let value = call(self.window.http.get(self.url(&format!("attribute/{name}")))).await?;
        Ok(value.as_str().map(str::to_owned))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<()> {
        call(self.window.http.post(self.url(path)).json(body))
            .await
            .map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/element/{}/{path}", self.window.session, self.id)
    }
}

/// Sends a command and takes its value, or its error, out of the envelope.
async fn call(request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request.send().await.context("the driver is gone")?;
    let failed = !answer.status().is_success();
    let mut envelope: Value = answer.json().await.context("the driver's answer")?;
    let value = envelope["value"].take();
    if failed {
        bail!(
            "{}: {}",
            value["error"].as_str().unwrap_or("error"),
            value["message"].as_str().unwrap_or_default()
        );
    }
    Ok(value)
}

fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text
        .bytes()
        .filter(|byte| !matches!(byte, b'=' | b'\n' | b'\r'))
    {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("not base64"),
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        assert_eq!(decode_base64("").unwrap(), b"");
        assert_eq!(decode_base64("RG9jZW50").unwrap(), b"Docent");
        assert_eq!(decode_base64("RG8=").unwrap(), b"Do");
        assert_eq!(decode_base64("//79").unwrap(), [0xff, 0xfe, 0xfd]);
        assert!(decode_base64("a*").is_err());
    }
}
