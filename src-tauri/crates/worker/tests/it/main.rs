//! Black-box tests of the supervisor with real processes: this binary starts itself as a worker.
//!
//! It has no standard harness, because that prints to the standard output that frames travel on.
//! Nothing here waits by the clock: what must have happened is seen through a reply, the end of a
//! call, or a file lock that the kernel releases with its holder.

mod supervisor;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, rest @ ..] = args.as_slice()
        && role == "worker"
    {
        worker::run(name, rest);
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in supervisor::TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in supervisor::TESTS {
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
