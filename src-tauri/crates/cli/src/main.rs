//! The `docent` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker is this same binary; it owns its standard output and reads no options.
    let mut arguments = std::env::args().skip(1);
    if let (Some("worker"), Some(role)) = (arguments.next().as_deref(), arguments.next()) {
        return match docent_engine::worker::run(&role) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("docent: {error}");
                ExitCode::FAILURE
            }
        };
    }
    docent_cli::run()
}
