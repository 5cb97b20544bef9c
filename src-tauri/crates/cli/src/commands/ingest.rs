//! `docent ingest`: from paths to searchable documents, with an account of every file.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use docent_api::error::Code;
use docent_domain::{
    Document, DocumentCounts, DocumentId, DocumentStatus, Folder, FolderState, WorkspaceScope,
};
use docent_engine::{
    AddedFolders, AddedPaths, Code as EngineCode, DocumentQuery, Engine, ModelState, SkippedPath,
};
use serde::Serialize;

use super::{Jobs, documents, with_engine};
use crate::args::{Ingest, Settings};
use crate::failure::Failure;
use crate::output::{Output, counted};

/// The reason given for a file that did not come to rest.
const STILL_CHANGING: &str = "it is still being written to. What could be read of it is searchable; \
    the window and docent serve go on following it, or ingest it again";

#[derive(Serialize)]
struct Report {
    workspace: String,
    workspace_id: String,
    files: Vec<Account>,
    totals: Totals,
    /// From the first look at the paths until everything was searchable.
    seconds: f64,
    /// Of the files that were indexed now.
    chunks: u64,
    chunks_per_second: f64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Account {
    path: String,
    document: Option<String>,
    outcome: Outcome,
    reason: Option<String>,
    chunks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Indexed,
    Unchanged,
    Skipped,
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Indexed => "indexed",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Totals {
    files: u64,
    indexed: u64,
    unchanged: u64,
    skipped: u64,
    failed: u64,
}

pub async fn run(settings: &Settings, output: Output, command: Ingest) -> Result<(), Failure> {
    let paths = existing(&command.paths)?;
    let named = paths.clone();
    let report = with_engine(settings, Jobs::Run, async |engine| {
        let scope = scope_or_new(engine, &command.workspace.workspace).await?;
        let workspace = engine.workspace(&scope).await?.workspace;
        embedder_is_here(engine, &workspace.embedder).await?;
        let before = settled(&documents::all(engine, &scope, DocumentQuery::default()).await?);

        let begun = Instant::now();
        let folders = if command.once {
            AddedFolders::Once
        } else {
            AddedFolders::Watch
        };
        let added = engine.add_paths(&scope, paths.clone(), folders).await?;
        let changing = searchable(engine, &scope, output).await?;
        let seconds = begun.elapsed().as_secs_f64();

        let after = documents::all(engine, &scope, DocumentQuery::default()).await?;
        let concerned = after.iter().filter(|document| {
            paths
                .iter()
                .any(|path| Path::new(&document.path).starts_with(path))
        });
        let mut files = accounts(&before, concerned, &added, &changing);
        files.extend(unscanned(&engine.folders(&scope).await?, &paths));
        let chunks = files
            .iter()
            .filter(|file| file.outcome == Outcome::Indexed)
            .map(|file| u64::from(file.chunks))
            .sum();
        Ok(Report {
            workspace: workspace.name.to_string(),
            workspace_id: workspace.id.to_string(),
            totals: totals(&files),
            files,
            seconds,
            chunks,
            chunks_per_second: if seconds > 0.0 {
                chunks as f64 / seconds
            } else {
                0.0
            },
        })
    })
    .await?;
    output.result(&report, text)?;
    match report.totals.failed + left_out(&report.files, &named) {
        0 => Ok(()),
        failed => Err(
            Failure::reported(format!("{} could not be read", counted(failed, "file")))
                .with_hint("Everything else is searchable."),
        ),
    }
}

/// How many of the files that were asked for by name were left out. Those found in a folder may be.
fn left_out(files: &[Account], named: &[PathBuf]) -> u64 {
    files
        .iter()
        .filter(|file| file.outcome == Outcome::Skipped)
        .filter(|file| named.iter().any(|path| path == Path::new(&file.path)))
        .count() as u64
}

/// The paths in full, before anything is begun: a misspelt one must not be found out at the end.
fn existing(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    paths
        .iter()
        .map(|path| {
            path.canonicalize().map_err(|error| {
                let code = match error.kind() {
                    std::io::ErrorKind::NotFound => Code::NotFound,
                    _ => Code::BadRequest,
                };
                Failure::new(
                    code,
                    format!("{} cannot be opened: {error}", path.display()),
                )
                .with_hint("Nothing was read.")
            })
        })
        .collect()
}

pub(super) async fn scope_or_new(engine: &Engine, name: &str) -> Result<WorkspaceScope, Failure> {
    match engine.scope(name).await {
        Err(error) if error.code() == EngineCode::NotFound => {
            let created = engine.create_workspace(name, None).await?;
            Ok(WorkspaceScope::new(created.id))
        }
        scope => Ok(scope?),
    }
}

/// Without its embedder a workspace would wait for vectors for ever.
async fn embedder_is_here(engine: &Engine, embedder: &str) -> Result<(), Failure> {
    let status = engine.status().await.embedder;
    if status.model != embedder {
        return Ok(());
    }
    match status.state {
        ModelState::Idle | ModelState::Ready => Ok(()),
        ModelState::Missing | ModelState::Loading | ModelState::Failed => {
            let trouble = status
                .message
                .unwrap_or_else(|| "it is not on this machine".to_owned());
            let message = format!("the embedder {embedder} cannot be used: {trouble}");
            Err(Failure::new(Code::ModelMissing, message)
                .with_hint("Bring it here with: docent models fetch"))
        }
    }
}

/// Waits until everything is searchable. Returns the documents of files that are still being written
/// to, which are not waited for without end.
pub(super) async fn searchable(
    engine: &Engine,
    scope: &WorkspaceScope,
    output: Output,
) -> Result<HashSet<DocumentId>, Failure> {
    let bar = output.progress("{bar:40} {msg}");
    let shown = bar.clone();
    let result = engine
        .wait_idle(scope, move |counts: DocumentCounts| {
            let unread = counts.queued + counts.reading;
            // A file that is not read yet counts as one step, a chunk without its vector as well.
            shown.set_length(counts.chunks + unread);
            shown.set_position(counts.embedded_chunks);
            shown.set_message(format!(
                "{} to read, {}/{} chunks searchable by meaning",
                unread, counts.embedded_chunks, counts.chunks
            ));
        })
        .await;
    bar.finish_and_clear();
    Ok(result?)
}

/// Content of the documents that were searchable before, by path.
fn settled(documents: &[Document]) -> HashMap<String, String> {
    documents
        .iter()
        .filter(|document| document.status == DocumentStatus::Ready)
        .filter_map(|document| {
            Some((
                document.path.clone(),
                document.content_hash.as_ref()?.to_string(),
            ))
        })
        .collect()
}

fn accounts<'a>(
    before: &HashMap<String, String>,
    documents: impl Iterator<Item = &'a Document>,
    added: &AddedPaths,
    changing: &HashSet<DocumentId>,
) -> Vec<Account> {
    let mut accounts: Vec<Account> = documents
        .map(|document| {
            let same = document
                .content_hash
                .as_ref()
                .is_some_and(|hash| before.get(&document.path) == Some(&hash.0));
            let is_changing = changing.contains(&document.id);
            let outcome = match document.status {
                // It was never the same from one end of its reading to the other.
                _ if is_changing && document.content_hash.is_none() => Outcome::Failed,
                DocumentStatus::Failed => Outcome::Failed,
                DocumentStatus::Skipped => Outcome::Skipped,
                DocumentStatus::Queued
                | DocumentStatus::Reading
                | DocumentStatus::Words
                | DocumentStatus::Ready => {
                    if same {
                        Outcome::Unchanged
                    } else {
                        Outcome::Indexed
                    }
                }
            };
            Account {
                path: document.path.clone(),
                document: Some(document.id.to_string()),
                outcome,
                reason: if is_changing {
                    Some(STILL_CHANGING.to_owned())
                } else {
                    document.reason.clone()
                },
                chunks: document.chunk_count,
            }
        })
        .collect();
    let noted = |outcome| {
        move |noted: &SkippedPath| Account {
            path: noted.path.to_string_lossy().into_owned(),
            document: None,
            outcome,
            reason: Some(noted.reason.clone()),
            chunks: 0,
        }
    };
    accounts.extend(added.skipped.iter().map(noted(Outcome::Skipped)));
    accounts.extend(added.unreadable.iter().map(noted(Outcome::Failed)));
    accounts.sort_by(|a, b| a.path.cmp(&b.path));
    accounts
}

/// Of the folders given, those that could not be read to the end.
fn unscanned(folders: &[Folder], paths: &[PathBuf]) -> Vec<Account> {
    folders
        .iter()
        .filter(|folder| folder.state != FolderState::Watching)
        .filter(|folder| paths.iter().any(|path| path == Path::new(&folder.path)))
        .map(|folder| Account {
            path: folder.path.clone(),
            document: None,
            outcome: Outcome::Failed,
            reason: folder.reason.clone(),
            chunks: 0,
        })
        .collect()
}

fn totals(files: &[Account]) -> Totals {
    let mut totals = Totals {
        files: files.len() as u64,
        ..Totals::default()
    };
    for file in files {
        match file.outcome {
            Outcome::Indexed => totals.indexed += 1,
            Outcome::Unchanged => totals.unchanged += 1,
            Outcome::Skipped => totals.skipped += 1,
            Outcome::Failed => totals.failed += 1,
        }
    }
    totals
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for file in &report.files {
        let _ = write!(text, "{:<9} {}", file.outcome.as_str(), file.path);
        if file.outcome == Outcome::Indexed {
            let _ = write!(text, " ({})", counted(file.chunks.into(), "chunk"));
        }
        let _ = match &file.reason {
            Some(reason) => writeln!(text, ": {reason}"),
            None => writeln!(text),
        };
    }
    let Totals {
        files,
        indexed,
        unchanged,
        skipped,
        failed,
    } = report.totals;
    let _ = writeln!(
        text,
        "{}: {indexed} indexed, {unchanged} unchanged, {skipped} skipped, {failed} failed",
        counted(files, "file"),
    );
    let _ = writeln!(
        text,
        "{} in {:.1} s, {:.1} chunks/s",
        counted(report.chunks, "chunk"),
        report.seconds,
        report.chunks_per_second,
    );
    text
}

#[cfg(test)]
mod tests {
    use docent_domain::{ContentHash, Origin, Timestamp, WorkspaceId};

    use super::*;

    fn document(path: &str, status: DocumentStatus, hash: &str) -> Document {
        Document {
            id: DocumentId::generate(),
            workspace_id: WorkspaceId::generate(),
            folder_id: None,
            origin: Origin::File,
            path: path.to_owned(),
            title: path.to_owned(),
            format: None,
            size_bytes: 0,
            modified_at: None,
            content_hash: Some(ContentHash(hash.to_owned())),
            status,
            problem: None,
            reason: None,
            language: None,
            page_count: None,
            chunk_count: 2,
            embedded_count: 2,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn every_file_is_accounted_for() {
        let before = settled(&[
            document("/same", DocumentStatus::Ready, "1"),
            document("/changed", DocumentStatus::Ready, "1"),
            document("/was-failed", DocumentStatus::Failed, "1"),
        ]);
        let after = [
            document("/same", DocumentStatus::Ready, "1"),
            document("/changed", DocumentStatus::Ready, "2"),
            document("/was-failed", DocumentStatus::Ready, "1"),
            document("/new", DocumentStatus::Ready, "3"),
            document("/broken", DocumentStatus::Failed, "4"),
            document("/image", DocumentStatus::Skipped, "5"),
        ];
        let added = AddedPaths {
            skipped: vec![SkippedPath {
                path: "/pipe".into(),
                reason: "it is not a regular file".into(),
            }],
            unreadable: vec![SkippedPath {
                path: "/zlocked".into(),
                reason: "permission denied".into(),
            }],
            ..AddedPaths::default()
        };
        let accounts = accounts(&before, after.iter(), &added, &HashSet::new());
        let outcomes: Vec<_> = accounts
            .iter()
            .map(|file| (file.path.as_str(), file.outcome))
            .collect();
        assert_eq!(
            outcomes,
            [
                ("/broken", Outcome::Failed),
                ("/changed", Outcome::Indexed),
                ("/image", Outcome::Skipped),
                ("/new", Outcome::Indexed),
                ("/pipe", Outcome::Skipped),
                ("/same", Outcome::Unchanged),
                ("/was-failed", Outcome::Indexed),
                ("/zlocked", Outcome::Failed),
            ]
        );
        assert_eq!(
            totals(&accounts),
            Totals {
                files: 8,
                indexed: 3,
                unchanged: 1,
                skipped: 2,
                failed: 2
            }
        );
        let log = document("/log", DocumentStatus::Queued, "6");
        let torn = Document {
            content_hash: None,
            ..document("/torn", DocumentStatus::Queued, "")
        };
        let changing = HashSet::from([log.id, torn.id]);
        let none = AddedPaths::default();
        let written = super::accounts(&before, [&log, &torn].into_iter(), &none, &changing);
        assert_eq!(
            written.iter().map(|file| file.outcome).collect::<Vec<_>>(),
            [Outcome::Indexed, Outcome::Failed]
        );
        assert!(
            written
                .iter()
                .all(|file| file.reason.as_deref() == Some(STILL_CHANGING))
        );
        let named = ["/pipe", "/same"].map(PathBuf::from);
        assert_eq!(left_out(&accounts, &named), 1);
        assert_eq!(left_out(&accounts, &["/".into()]), 0);
    }
}
