//! The desktop program: the window, or one of its own child processes.

// A release on Windows would otherwise open a console beside the window.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker is this same binary; it must not touch a display, a window or the data folder.
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next()) {
        (Some("worker"), Some(role)) => {
            docent_engine::worker::run(&role).map_err(|error| error.to_string())
        }
        _ => docent_desktop::run().map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("docent: {message}");
            ExitCode::FAILURE
        }
    }
}
