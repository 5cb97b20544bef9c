//! `cargo xtask eval`: retrieval, and on request answers, on real documents and questions.
//!
//! Known-item: every page of the help corpus described by its own description, which is taken out
//! of the text, in each direction between the languages. Natural: questions as people ask them,
//! `tests/corpora/questions.jsonl`, on help pages and manuals in one workspace.

use std::path::PathBuf;

use anyhow::Result;

use crate::packages::{self, Purpose};
use crate::repo::{Repo, run};
use crate::{build, corpus, models, ui};

/// Language of the questions, language of the documents.
const DIRECTIONS: [(&str, &str); 4] = [("en", "en"), ("hr", "hr"), ("hr", "en"), ("en", "hr")];

pub fn eval(repo: &Repo, expand: bool, answers: bool) -> Result<()> {
    packages::ensure(repo, Purpose::Run)?;
    ui::install(repo)?;
    ui::build(repo)?;
    build::programs(repo, false)?;
    models::fetch(repo, models::Set::Starter, false)?;
    corpus::fetch(repo)?;
    let known_item = repo.corpus_dir().join("known-item");
    for language in ["en", "hr"] {
        ingest(repo, known_item.join(language), language)?;
    }
    ingest(repo, repo.corpus_dir().join("natural"), "natural")?;
    for (questions, documents) in DIRECTIONS {
        let file = known_item.join(format!("{questions}-{documents}.jsonl"));
        run(docent(repo).arg("eval").arg(file).args([
            "--workspace",
            documents,
            "--retrieval-only",
        ]))?;
    }
    let mut natural = docent(repo);
    natural
        .args([
            "eval",
            "tests/corpora/questions.jsonl",
            "--workspace",
            "natural",
        ])
        .arg("--calibrate");
    if expand {
        natural.arg("--expand");
    }
    if !answers {
        natural.arg("--retrieval-only");
    }
    run(&mut natural)
}

/// Costs nothing for what was read by an earlier run.
fn ingest(repo: &Repo, folder: PathBuf, workspace: &str) -> Result<()> {
    // A line a file would bury the tables.
    run(docent(repo)
        .args(["ingest", "--once", "--workspace", workspace])
        .arg(folder)
        .stdout(std::process::Stdio::null()))
}

fn docent(repo: &Repo) -> std::process::Command {
    let mut docent = repo.command(repo.binary("docent", false));
    docent.arg("--data-dir").arg(repo.cache.join("eval"));
    docent
}
