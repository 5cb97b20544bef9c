//! The commands a window may invoke: four for the tunnel, one that opens a link, one that saves a
//! text where the person says, and one that tells of something through the system.
//!
//! `COMMANDS` in `build.rs` lists them for the access control; a command that isn't listed there
//! can't be invoked by any window.

use bytes::Bytes;
use tauri::ipc::{InvokeBody, Request, Response};
use tauri::{AppHandle, State, Url, Webview, async_runtime};
use tauri_plugin_dialog::DialogExt;

use crate::tunnel::{Head, Refusal, Tunnel};

/// A command rejects with a sentence; the window shows its own words and logs these.
type Answer<T> = Result<T, String>;

/// Sends one API request; see [`crate::tunnel`] for the layout of both directions.
#[tauri::command]
pub async fn api_call(
    webview: Webview,
    tunnel: State<'_, Tunnel>,
    request: Request<'_>,
) -> Answer<Response> {
    let head = Head::decode(header(&request, "x-api-head")?).map_err(refused)?;
    let body = raw_body(&request)?;
    tunnel
        .call(webview.label(), head, body)
        .await
        .map(Response::new)
        .map_err(refused)
}

/// Pulls the next frame of a long answer.
#[tauri::command]
pub async fn api_read(webview: Webview, tunnel: State<'_, Tunnel>, id: String) -> Answer<Response> {
    Ok(Response::new(
        tunnel.read(webview.label(), &id).await.encode(),
    ))
}

/// Pushes the next piece of a long request body.
#[tauri::command]
pub async fn api_write(
    webview: Webview,
    tunnel: State<'_, Tunnel>,
    request: Request<'_>,
) -> Answer<()> {
    let id = header(&request, "x-api-id")?;
    let last = header(&request, "x-api-last")? == "1";
    let piece = raw_body(&request)?;
    tunnel
        .write(webview.label(), id, piece, last)
        .await
        .map_err(refused)
}

/// Ends a request at whatever point it is.
#[tauri::command]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Tauri hands arguments over by value"
)]
pub fn api_cancel(webview: Webview, tunnel: State<'_, Tunnel>, id: &str) {
    tunnel.cancel(webview.label(), id);
}

/// Opens a link in the system's browser or mail program. The window shows the whole address and
/// asks first; this end makes sure that nothing but a link can be opened.
#[tauri::command]
pub async fn open_external(url: String) -> Answer<()> {
    let url = external_url(&url)?;
    let (program, arguments) = opener();
    tokio::process::Command::new(program)
        .args(arguments)
        .arg(url.as_str())
        .stdin(std::process::Stdio::null())
        .spawn()
        .map(drop)
        .map_err(|error| format!("{program} could not be started to open the link: {error}"))
}

/// Saves a text under a path that the person chooses in the system's dialog; the name is only
/// proposed. `false` when they changed their mind.
#[tauri::command]
pub async fn save_text(app: AppHandle, name: String, text: String) -> Answer<bool> {
    let (chosen, choice) = tokio::sync::oneshot::channel();
    app.dialog()
        .file()
        .set_file_name(plain_name(&name))
        .save_file(move |path| {
            let _ = chosen.send(path);
        });
    let Ok(Some(path)) = choice.await else {
        return Ok(false);
    };
    let path = path
        .into_path()
        .map_err(|error| format!("this is no place for a file: {error}"))?;
    tokio::fs::write(&path, text)
        .await
        .map_err(|error| format!("{} could not be written: {error}", path.display()))?;
    Ok(true)
}

/// A name without anything that leads to another folder.
fn plain_name(name: &str) -> String {
    name.replace(['/', '\\', ':', '\0'], "-")
}

/// Tells of something through the system, for who looks elsewhere.
#[tauri::command]
pub async fn notify(title: String, body: String) -> Answer<()> {
    // Where no service takes notifications, asking for one may block until it gives up.
    async_runtime::spawn_blocking(move || {
        notify_rust::Notification::new()
            .appname("Docent")
            .summary(&title)
            .body(&body)
            .show()
            .map(drop)
    })
    .await
    .map_err(|error| error.to_string())?
    .map_err(|error| format!("the system takes no notifications: {error}"))
}

/// The link as it is handed on: parsed and written again, so that it can't be an option or a path.
fn external_url(text: &str) -> Answer<Url> {
    let url = Url::parse(text).map_err(|error| format!("this is not a link: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        "mailto" => Ok(url),
        scheme => Err(format!(
            "Docent opens web and mail links only, not {scheme}: links"
        )),
    }
}

fn opener() -> (&'static str, &'static [&'static str]) {
    if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(target_os = "windows") {
        // `start` would have the link read by cmd.exe, which gives `&` a meaning.
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    }
}

fn header<'a>(request: &'a Request<'_>, name: &str) -> Answer<&'a str> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| refused(Refusal::Malformed(format!("{name} is missing"))))
}

/// The payload's bytes. Tauri falls back to messages of JSON arrays for the rest of a page's life
/// when one of its requests fails, so both forms are read.
fn raw_body(request: &Request<'_>) -> Answer<Bytes> {
    match request.body() {
        InvokeBody::Raw(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        InvokeBody::Json(serde_json::Value::Array(numbers)) => numbers
            .iter()
            .map(|number| number.as_u64().and_then(|byte| u8::try_from(byte).ok()))
            .collect::<Option<Vec<u8>>>()
            .map(Bytes::from)
            .ok_or_else(|| refused(Refusal::Malformed("the payload isn't bytes".into()))),
        InvokeBody::Json(serde_json::Value::Null) => Ok(Bytes::new()),
        InvokeBody::Json(serde_json::Value::Object(fields)) if fields.is_empty() => {
            Ok(Bytes::new())
        }
        InvokeBody::Json(_) => Err(refused(Refusal::Malformed(
            "the payload isn't bytes".into(),
        ))),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is used as a function in map_err"
)]
fn refused(refusal: Refusal) -> String {
    refusal.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_and_mail_links_leave_the_window() {
        for allowed in [
            "https://example.org/a?b=c#d",
            "http://127.0.0.1:8080/",
            "mailto:someone@example.org",
        ] {
            assert!(external_url(allowed).is_ok(), "{allowed}");
        }
        for refused in [
            "",
            "--help",
            "/etc/passwd",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "smb://host/share",
            "ssh://-oProxyCommand=x",
            "vscode://x",
            "tauri://localhost/",
        ] {
            assert!(external_url(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_proposed_name_leads_nowhere_else() {
        assert_eq!(plain_name("docent-Ured.csv"), "docent-Ured.csv");
        assert_eq!(plain_name("../C:\\x/y.csv"), "..-C--x-y.csv");
    }

    #[test]
    fn a_link_is_handed_on_as_a_link_whatever_stood_around_it() {
        let url = external_url("  HTTPS://Example.ORG/a b\"&calc  ").unwrap();
        assert_eq!(url.as_str(), "https://example.org/a%20b%22&calc");
    }
}
