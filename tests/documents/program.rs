//! Runs the program against a data folder of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// The small model: these tests judge what is found and cited, not how well it is put.
const GENERATOR: &str = "qwen2.5-coder-0.5b-instruct";

/// A data folder, and a folder for documents beside it.
pub struct Docent {
    home: TempDir,
}

impl Docent {
    pub fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir(home.path().join("documents"))?;
        Ok(Self { home })
    }

    pub fn documents(&self) -> PathBuf {
        self.home.path().join("documents")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(docent_testkit::docent_binary());
        command
            .arg("--data-dir")
            .arg(self.home.path().join("data"))
            .arg("--models-dir")
            .arg(docent_tests::models_dir())
            .args(["--json", "--model", GENERATOR])
            .args(arguments)
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
}

/// The outcome of each file of an ingest, by the file's name.
pub fn outcome<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    report["files"]
        .as_array()
        .and_then(|files| {
            files.iter().find(|file| {
                file["path"]
                    .as_str()
                    .is_some_and(|path| Path::new(path).ends_with(name))
            })
        })
        .with_context(|| format!("{name} is missing from {report}"))
}
