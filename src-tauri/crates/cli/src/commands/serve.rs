//! `docent serve`: the API and the window's pages on this machine.

use docent_api::error::Code;
use docent_api::server::{ServeError, ServeOptions, Server};
use serde_json::json;

use super::{Jobs, with_engine};
use crate::args::{Serve, Settings};
use crate::failure::Failure;
use crate::folders;
use crate::output::Output;

pub async fn run(settings: &Settings, output: Output, command: Serve) -> Result<(), Failure> {
    if let Some(folder) = &command.ui_dir
        && !folder.join("index.html").is_file()
    {
        return Err(Failure::new(
            Code::BadRequest,
            format!("{} holds no index.html", folder.display()),
        )
        .with_hint("Name the folder of the built pages, or leave --ui-dir out."));
    }
    with_engine(settings, Jobs::Run, async |engine| {
        let ui_dir = command.ui_dir.or_else(folders::find_ui_dir);
        let has_window = ui_dir.is_some();
        let options = ServeOptions {
            listen: command.listen,
            token: command.token,
            ui_dir,
        };
        let server = Server::bind(engine.clone(), options)
            .await
            .map_err(|error| failure(&error))?;
        // Whoever reads the address may end the program at once.
        let stop = stop_signal();
        let started = json!({
            "url": server.url(),
            "address": server.address().to_string(),
            "token": server.token().as_str(),
        });
        output.result(&started, |_| format!("Docent is at {}", server.url()))?;
        if !has_window {
            eprintln!("docent: the window's pages are not built; this serves the API alone");
        }
        server.run(stop).await.map_err(|error| failure(&error))
    })
    .await
}

/// Ctrl-C, or being told to end; heard from this call on.
#[cfg(unix)]
fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let [interrupt, terminate] =
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    let heard = async |signal: Option<Signal>| match signal {
        Some(mut signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    };
    async move {
        tokio::select! {
            () = heard(interrupt) => {}
            () = heard(terminate) => {}
        }
    }
}

#[cfg(not(unix))]
async fn stop_signal() {
    let _ = tokio::signal::ctrl_c().await;
}

fn failure(error: &ServeError) -> Failure {
    let code = match error {
        ServeError::NotLoopback(_) => Code::Forbidden,
        ServeError::InvalidToken(_) => Code::BadRequest,
        ServeError::Bind { .. } => Code::Conflict,
        ServeError::Serve(_) => Code::Internal,
    };
    Failure::new(code, error.to_string())
}
