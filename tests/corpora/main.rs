//! The questions over public documents, held against the corpus that `cargo xtask corpus` makes: a
//! question whose document is missing, or whose passage is not in the text that is extracted from
//! it, would count as a failure of retrieval.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use docent_domain::Format;
use docent_ingest::{Bounds, extract_here};
use serde::Deserialize;

#[derive(Deserialize)]
struct Question {
    id: String,
    answerable: bool,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    path: PathBuf,
    contains: Option<String>,
}

fn questions() -> Result<Vec<Question>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora/questions.jsonl");
    fs::read_to_string(file)?
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Where the corpus has an expected path. Help pages lie in a folder for each language, everything
/// else under `manuals`.
fn document(path: &Path) -> PathBuf {
    let natural = docent_tests::corpus_dir().join("natural");
    if path.starts_with("en") || path.starts_with("hr") {
        natural.join(path)
    } else {
        natural.join("manuals").join(path)
    }
}

#[test]
fn every_answerable_question_expects_a_document_of_the_corpus() -> Result<()> {
    let questions = questions()?;
    let (answerable, unanswerable): (Vec<_>, Vec<_>) =
        questions.iter().partition(|question| question.answerable);
    ensure!(answerable.len() >= 100 && unanswerable.len() >= 30);
    for question in unanswerable {
        ensure!(question.expected.is_empty(), "{}", question.id);
    }
    for question in answerable {
        ensure!(!question.expected.is_empty(), "{}", question.id);
        for expected in &question.expected {
            let document = document(&expected.path);
            ensure!(
                document.is_file(),
                "{} expects {}, which `cargo xtask corpus` did not make",
                question.id,
                document.display()
            );
        }
    }
    Ok(())
}

#[test]
fn every_expected_passage_is_in_the_text_of_its_document() -> Result<()> {
    let mut wanted: BTreeMap<PathBuf, Vec<(String, String)>> = BTreeMap::new();
    for question in questions()? {
        for expected in question.expected {
            if let Some(contains) = expected.contains {
                wanted
                    .entry(expected.path)
                    .or_default()
                    .push((question.id.clone(), contains));
            }
        }
    }
    let pdfium = docent_tests::models_dir().join("pdfium");
    let mut missing = Vec::new();
    for (path, passages) in wanted {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("pdf") => Format::Pdf,
            Some("html") => Format::Html,
            _ => bail!("{} is of no format that is asked about", path.display()),
        };
        let extracted = extract_here(&document(&path), format, Bounds::default(), Some(&pdfium))
            .with_context(|| format!("reading {}", path.display()))?;
        let text = folded(&extracted.text);
        for (question, contains) in passages {
            if !text.contains(&folded(&contains)) {
                missing.push(format!("{question}: {contains:?} in {}", path.display()));
            }
        }
    }
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

/// As `docent eval` compares: white space and case don't count.
fn folded(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}
