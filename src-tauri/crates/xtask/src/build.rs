//! Cargo builds. One set of packages and features for everything, so that nothing compiles twice.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::repo::{Repo, announce, run};

/// The window shows the UI that is built into the program, not a development server's.
const FEATURES: [&str; 2] = ["--features", "docent-desktop/custom-protocol"];

/// Builds every program. xtask itself is left out: it is running.
pub fn programs(repo: &Repo, release: bool) -> Result<()> {
    let mut cargo = repo.cargo();
    cargo
        .args(["build", "--locked", "--workspace", "--exclude", "xtask"])
        .args(FEATURES);
    if release {
        cargo.arg("--release");
    }
    run(&mut cargo)
}

/// Builds the command-line program alone, as part of the same set.
pub fn cli(repo: &Repo) -> Result<()> {
    run(repo
        .cargo()
        .args(["build", "--locked", "--package", "docent-cli"]))
}

/// Builds every program and every test and fails on a warning of our own code. Unlike clippy, this
/// costs nothing beyond the build that the tests need anyway.
pub fn everything_without_warnings(repo: &Repo) -> Result<()> {
    let mut warnings = 0;
    for arguments in [
        &["build", "--exclude", "xtask"][..],
        &["test", "--no-run"][..],
    ] {
        let mut cargo = repo.cargo();
        cargo
            .args(arguments)
            .args([
                "--locked",
                "--workspace",
                "--message-format=json-render-diagnostics",
            ])
            .args(FEATURES)
            .stdout(Stdio::piped());
        announce(&cargo);
        let mut child = cargo.spawn().context("cargo could not be started")?;
        let messages = child.stdout.take().context("cargo's messages are piped")?;
        for line in BufReader::new(messages).lines() {
            warnings += usize::from(is_warning(&line?));
        }
        if !child.wait()?.success() {
            bail!("the build failed");
        }
    }
    if warnings > 0 {
        bail!("the build gave {warnings} warnings; they are printed above");
    }
    Ok(())
}

/// Cargo caps the lints of packages from elsewhere, so every warning that comes is ours; it repeats
/// those of fresh packages too.
fn is_warning(line: &str) -> bool {
    let Ok(message) = serde_json::from_str::<Value>(line) else {
        return false;
    };
    message["reason"] == "compiler-message" && message["message"]["level"] == "warning"
        // Summary lines such as "2 warnings emitted" have no place in a source.
        && message["message"]["spans"].as_array().is_some_and(|spans| !spans.is_empty())
}

/// Without backtraces: those of the test harness push the message of a failure out of a log's tail.
pub fn tests(repo: &Repo) -> Result<()> {
    run(repo
        .cargo()
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(FEATURES)
        .env("RUST_BACKTRACE", "0"))
}

pub fn format_check(repo: &Repo) -> Result<()> {
    run(repo.cargo().args(["fmt", "--all", "--check"]))
}

pub fn clippy(repo: &Repo) -> Result<()> {
    run(repo
        .cargo()
        .args(["clippy", "--locked", "--workspace", "--all-targets"])
        .args(FEATURES)
        .args(["--", "-D", "warnings"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_from_errors_artifacts_and_summaries() {
        let at = r#"[{"file_name":"a.rs"}]"#;
        let message = |level: &str, spans: &str| {
            format!(
                r#"{{"reason":"compiler-message","message":{{"level":"{level}","spans":{spans}}}}}"#
            )
        };
        assert!(is_warning(&message("warning", at)));
        assert!(!is_warning(&message("warning", "[]")));
        assert!(!is_warning(&message("error", at)));
        assert!(!is_warning(r#"{"reason":"compiler-artifact"}"#));
        assert!(!is_warning("not json"));
    }
}
