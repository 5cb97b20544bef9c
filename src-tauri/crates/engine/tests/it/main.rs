//! The engine over real files, rows and indexes, with stand-ins for the models.
//!
//! There is no standard harness: this binary starts itself as the worker that reads files, and the
//! harness would print to the standard output that the worker's frames travel on.

mod documents;
mod embedder;
mod indexes;
mod jobs;
mod mirror;
mod models;
#[cfg(unix)]
mod recognition;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

type Test = (&'static str, fn());

const TESTS: &[&[Test]] = &[
    documents::TESTS,
    embedder::TESTS,
    indexes::TESTS,
    jobs::TESTS,
    mirror::TESTS,
    models::TESTS,
    #[cfg(unix)]
    recognition::TESTS,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, role] = args.as_slice()
        && first == "worker"
    {
        support::meddle();
        return match docent_engine::worker::run(role) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let orders = tempfile::tempdir().unwrap();
    support::prepare_meddling(orders.path());
    #[cfg(unix)]
    recognition::prepare(orders.path());
    let list = args.iter().any(|arg| arg == "--list");
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in TESTS.iter().copied().flatten() {
        if list {
            println!("{name}: test");
            continue;
        }
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(*filter)) {
            continue;
        }
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    if failed > 0 {
        println!("{failed} failed");
    }
    ExitCode::from(failed)
}
