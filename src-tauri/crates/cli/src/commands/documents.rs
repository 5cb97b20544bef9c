//! `docent documents …`

use std::path::Path;

use docent_api::dto::Document;
use docent_api::error::Code;
use docent_domain::{Problem, WorkspaceScope};
use docent_engine::{DocumentQuery, Engine};
use serde::Serialize;
use serde_json::json;

use super::{Jobs, with_engine};
use crate::args::{Documents, Settings};
use crate::failure::Failure;
use crate::output::{Output, counted};

/// The largest page that the engine gives.
const PAGE: usize = 500;

pub async fn run(settings: &Settings, output: Output, command: Documents) -> Result<(), Failure> {
    with_engine(settings, Jobs::Rest, async |engine| match &command {
        Documents::List { workspace, status } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let query = DocumentQuery {
                status: *status,
                ..DocumentQuery::default()
            };
            let documents = all(engine, &scope, query).await?;
            let documents: Vec<Document> = documents.into_iter().map(Document::from).collect();
            output.result(&documents, |documents| {
                documents.iter().map(line).collect::<Vec<_>>().join("\n")
            })
        }
        Documents::Problems { workspace } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let mut problems = Vec::new();
            for count in engine.problems(&scope).await? {
                let query = DocumentQuery {
                    problem: Some(count.problem),
                    ..DocumentQuery::default()
                };
                let documents = all(engine, &scope, query).await?;
                problems.push(Listed {
                    problem: count.problem,
                    advice: advice(count.problem),
                    documents: documents.into_iter().map(Document::from).collect(),
                });
            }
            output.result(&problems, |problems| listing(problems))
        }
        Documents::Remove {
            documents,
            workspace,
        } => {
            let scope = engine.scope(&workspace.workspace).await?;
            let known = all(engine, &scope, DocumentQuery::default()).await?;
            // All are known before the first is removed.
            let mut found: Vec<_> = documents
                .iter()
                .map(|name| find(&known, name))
                .collect::<Result<_, _>>()?;
            found.sort_by_key(|document| document.id);
            found.dedup_by_key(|document| document.id);
            for document in &found {
                engine.delete_document(&scope, document.id).await?;
            }
            let removed: Vec<_> = found
                .iter()
                .map(|document| json!({ "removed": document.id, "path": document.path }))
                .collect();
            output.result(&removed, |_| {
                let lines = found
                    .iter()
                    .map(|document| format!("{} is removed", document.path));
                lines.collect::<Vec<_>>().join("\n")
            })
        }
    })
    .await
}

fn find<'a>(
    known: &'a [docent_domain::Document],
    name: &str,
) -> Result<&'a docent_domain::Document, Failure> {
    let path = std::fs::canonicalize(name).or_else(|_| std::path::absolute(name));
    let is_it = |document: &&docent_domain::Document| {
        document.id.to_string() == name
            || document.path == name
            || path
                .as_deref()
                .is_ok_and(|path| path == Path::new(&document.path))
    };
    let found: Vec<_> = known.iter().filter(is_it).collect();
    match found[..] {
        [document] => Ok(document),
        [] => Err(
            Failure::new(Code::NotFound, format!("there is no document {name}"))
                .with_hint("Nothing was removed. See what there is with: docent documents list"),
        ),
        _ => Err(Failure::new(
            Code::Conflict,
            format!("{} documents are called {name}", found.len()),
        )
        .with_hint("Nothing was removed. Name it by its id: docent documents list --json")),
    }
}

/// The documents with one problem.
#[derive(Serialize)]
struct Listed {
    problem: Problem,
    advice: &'static str,
    documents: Vec<Document>,
}

fn listing(problems: &[Listed]) -> String {
    if problems.is_empty() {
        return "Every document can be found, and all of it.".to_owned();
    }
    let mut text = String::new();
    for listed in problems {
        let count = counted(listed.documents.len() as u64, "document");
        text += &format!("{count}: {}\n", listed.advice);
        for document in &listed.documents {
            let reason = document.reason.as_deref().unwrap_or_default();
            text += &format!("  {}: {reason}\n", document.path);
        }
        text.push('\n');
    }
    text
}

/// What is the matter, and what to do about it.
const fn advice(problem: Problem) -> &'static str {
    match problem {
        Problem::Scanned => {
            "Scanned, no text in them. Install text recognition (Debian, Ubuntu: apt install tesseract-ocr tesseract-ocr-hrv) and run Docent again, or save them as searchable PDFs."
        }
        Problem::PartlyScanned => {
            "Some pages are pictures whose text is not known. Install text recognition (Debian, Ubuntu: apt install tesseract-ocr tesseract-ocr-hrv); scan again what it cannot make out."
        }
        Problem::Empty => "Nothing in them to read. Nothing needs to be done.",
        Problem::Garbled => {
            "The text is garbled and will hardly be found. Export the documents again from their source."
        }
        Problem::Encoding => {
            "Some letters may be wrong. Save the files as UTF-8 if they look wrong when opened here."
        }
        Problem::Protected => "Protected by a password. Save copies without it and add those.",
        Problem::Damaged => "Too damaged to open. Restore them from a backup or save them again.",
        Problem::Incomplete => {
            "A part was left out. Open them in their own program to see what is missing, and save them again."
        }
        Problem::TooBig => "Too big. Split them into smaller files.",
        Problem::Unsupported => {
            "Of no format that Docent reads. Convert to PDF or text what should be found."
        }
        Problem::Unreachable => {
            "They could not be opened. See that they are there and may be read, and retry."
        }
        Problem::ReaderFailed => {
            "The reader failed on them. Retry; if it fails again, save them anew in their own program."
        }
        Problem::Cancelled => {
            "Somebody cancelled their reading. Read them again: docent jobs retry --cancelled. What was known of them before is found as it was then."
        }
        Problem::Other => "See the reasons.",
    }
}

/// Every document that the query finds, page by page.
pub async fn all(
    engine: &Engine,
    scope: &WorkspaceScope,
    mut query: DocumentQuery,
) -> Result<Vec<docent_domain::Document>, Failure> {
    let mut documents = Vec::new();
    query.limit = PAGE;
    loop {
        let page = engine.documents(scope, query.clone()).await?;
        documents.extend(page.items);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(documents);
        }
    }
}

fn line(document: &Document) -> String {
    let status = docent_domain::DocumentStatus::from(document.status).as_str();
    let chunks = counted(document.chunk_count.into(), "chunk");
    let mut line = format!("{status:<8} {}  ({chunks})", document.path);
    if let Some(reason) = &document.reason {
        line = format!("{line}: {reason}");
    }
    line
}
