//! The desktop shell: one window over the API's router. Wiring only; what Docent does is in the
//! crates below, and this is the only code that names Tauri.
//!
//! The window appears at once and the engine opens beside it; requests that come earlier wait in
//! [`opening`]. No port is opened: the window reaches the router through [`tunnel`].

mod commands;
mod device_state;
mod opening;
pub mod tunnel;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use docent_cli::folders;
use docent_engine::{Config, Engine, EngineOptions};
use tauri::async_runtime::{self, JoinHandle};
use tauri::webview::PageLoadEvent;
use tauri::{Manager, RunEvent, WindowEvent};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use device_state::DeviceState;
use tunnel::Tunnel;

/// Time that closing may take to finish what is half done. Nothing that was acknowledged depends on
/// it, so a hanging disk doesn't keep the process alive.
const CLOSING: Duration = Duration::from_secs(10);

/// Opens the window and returns when it is closed.
pub fn run() -> tauri::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let (sender, opened) = watch::channel(None);
    let opening = async_runtime::spawn(open(Folders::from_env(), sender));
    tauri::Builder::default()
        // Before the window: its page may ask as soon as it is there.
        .manage(Tunnel::new(opening::router_once(opened)))
        .manage(Opening {
            task: Mutex::new(Some(opening)),
        })
        .plugin(tauri_plugin_dialog::init())
        .plugin(DeviceState::new())
        .invoke_handler(tauri::generate_handler![
            commands::api_call,
            commands::api_read,
            commands::api_write,
            commands::api_cancel,
            commands::open_external,
            commands::save_text,
            commands::notify,
        ])
        // A page that is replaced or gone can't read what it asked for.
        .on_page_load(|webview, page| {
            if page.event() == PageLoadEvent::Started {
                webview.state::<Tunnel>().cancel_window(webview.label());
            }
        })
        .on_window_event(|window, event| {
            if let WindowEvent::Destroyed = event {
                window.state::<Tunnel>().cancel_window(window.label());
            }
        })
        .build(tauri::generate_context!())?
        .run(|app, event| {
            if let RunEvent::Exit = event {
                app.state::<Opening>().close();
            }
        });
    Ok(())
}

/// Opens the engine and lets the waiting requests through, to it or to the reason why not.
async fn open(folders: Folders, opened: watch::Sender<Option<Router>>) -> Option<Arc<Engine>> {
    let engine = match open_engine(folders).await {
        Ok(engine) => engine,
        Err(error) => {
            tracing::error!(%error, "the engine did not open");
            let hint = error.hint().map(str::to_owned);
            opened.send_replace(Some(opening::router_of_failure(
                error.message().into(),
                hint,
            )));
            return None;
        }
    };
    opened.send_replace(Some(docent_api::router(engine.clone())));
    Some(engine)
}

async fn open_engine(folders: Folders) -> docent_engine::Result<Arc<Engine>> {
    let mut options = EngineOptions::new(folders.data, folders.models);
    // A window opened right after one was closed comes while that one still puts its work away.
    options.patience = CLOSING + Duration::from_secs(5);
    options.config = Config::load(&options.data_dir.join("config.toml"))?;
    Engine::open(options).await
}

/// The engine, which may still be opening.
struct Opening {
    task: Mutex<Option<JoinHandle<Option<Arc<Engine>>>>>,
}

impl Opening {
    /// Ends the engine's work in order. Called once, when the last window is gone.
    fn close(&self) {
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(task) = task else { return };
        let closed = async_runtime::block_on(tokio::time::timeout(CLOSING, async {
            if let Ok(Some(engine)) = task.await {
                engine.shutdown().await;
            }
        }));
        if closed.is_err() {
            tracing::warn!("closing took more than {CLOSING:?} and was cut short");
        }
    }
}

/// Where this installation keeps its things: the same places as the command line's.
struct Folders {
    data: PathBuf,
    models: PathBuf,
}

impl Folders {
    fn from_env() -> Self {
        let chosen = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let data = chosen("DOCENT_DATA_DIR").unwrap_or_else(folders::default_data_dir);
        let models =
            chosen("DOCENT_MODELS_DIR").unwrap_or_else(|| folders::default_models_dir(&data));
        Self { data, models }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).expect("it is JSON")
    }

    /// A permission that is added here is one that a page gets; it should be seen in a review.
    #[test]
    fn the_window_may_do_exactly_this() {
        let capability = json(include_str!("../capabilities/main.json"));
        assert_eq!(capability["windows"], serde_json::json!(["main"]));
        assert_eq!(
            capability.get("remote"),
            None,
            "no page from elsewhere may do anything"
        );
        assert_eq!(
            capability["permissions"],
            serde_json::json!([
                "allow-api-call",
                "allow-api-read",
                "allow-api-write",
                "allow-api-cancel",
                "allow-open-external",
                "allow-save-text",
                "allow-notify",
                "core:event:allow-listen",
                "core:event:allow-unlisten",
                "dialog:allow-open",
                "sql:allow-load",
                "sql:allow-select",
                "sql:allow-execute"
            ])
        );
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src-tauri/capabilities");
        assert_eq!(std::fs::read_dir(folder).expect("it is there").count(), 1);
    }

    #[test]
    fn the_page_may_load_nothing_from_elsewhere() {
        let config = json(include_str!("../../tauri.conf.json"));
        let security = &config["app"]["security"];
        let keys: Vec<&String> = security.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["csp"], "no weakening beside the policy");
        for (directive, sources) in security["csp"].as_object().expect("an object") {
            for source in sources.as_str().expect("text").split(' ') {
                let allowed = match directive.as_str() {
                    "img-src" | "worker-src" => ["'self'", "blob:", "data:"].contains(&source),
                    "style-src" => ["'self'", "'unsafe-inline'"].contains(&source),
                    "connect-src" => ["'self'", "ipc:", "http://ipc.localhost"].contains(&source),
                    "frame-src" | "object-src" | "base-uri" | "form-action" => source == "'none'",
                    "script-src" => ["'self'", "'wasm-unsafe-eval'"].contains(&source),
                    _ => source == "'self'",
                };
                assert!(allowed, "{directive} {source}");
            }
        }
    }
}
