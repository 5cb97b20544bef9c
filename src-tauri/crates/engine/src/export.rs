//! What happened to every file, for a spreadsheet or a program: all documents with their final
//! status and reason, and all jobs.
//!
//! The text is made page by page, so that a long list costs no more memory than a short one. The
//! CSV is that of RFC 4180: a header, commas, CRLF, quotes where they are needed, UTF-8 with a byte
//! order mark, without which Excel takes it for the system's code page. A cell that a spreadsheet
//! would take for a formula gets an apostrophe in front.

use std::fmt::Write as _;

use docent_domain::{
    Document, DocumentStatus, Job, JobType, Origin, Problem, Timestamp, WorkspaceScope,
};
use docent_store::{DocumentQuery, JobQuery, ListedJob};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// Rows that are read and written at a time.
const PAGE: u32 = 500;

const BYTE_ORDER_MARK: char = '\u{feff}';

const COLUMNS: [&str; 19] = [
    "record",
    "path",
    "title",
    "status",
    "problem",
    "reason",
    "kind",
    "stage",
    "done",
    "total",
    "attempts",
    "max_attempts",
    "origin",
    "format",
    "size_bytes",
    "chunks",
    "embedded_chunks",
    "created_at",
    "updated_at",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Csv,
    Json,
}

/// An export on its way. [`Export::next`] gives its text, piece by piece.
#[derive(Debug)]
pub struct Export {
    scope: WorkspaceScope,
    format: ExportFormat,
    at: At,
}

#[derive(Debug)]
enum At {
    Start,
    Documents { cursor: Option<String>, first: bool },
    Jobs { cursor: Option<String>, first: bool },
    End,
}

#[derive(Serialize)]
struct DocumentRecord<'a> {
    id: String,
    path: &'a str,
    title: &'a str,
    status: DocumentStatus,
    problem: Option<Problem>,
    reason: Option<&'a str>,
    origin: Origin,
    format: Option<&'static str>,
    size_bytes: u64,
    chunks: u32,
    embedded_chunks: u32,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct JobRecord<'a> {
    id: String,
    path: &'a str,
    title: Option<&'a str>,
    kind: JobType,
    state: &'static str,
    stage: Option<&'static str>,
    done: u64,
    total: u64,
    attempts: u32,
    max_attempts: u32,
    reason: Option<&'a str>,
    created_at: String,
    updated_at: String,
}

impl Export {
    #[must_use]
    pub fn new(scope: WorkspaceScope, format: ExportFormat) -> Self {
        Self {
            scope,
            format,
            at: At::Start,
        }
    }

    /// The next piece of the text; `None` after the last.
    pub async fn next(&mut self, engine: &Engine) -> Result<Option<String>> {
        let mut text = String::new();
        self.at = match std::mem::replace(&mut self.at, At::End) {
            At::Start => {
                match self.format {
                    ExportFormat::Csv => {
                        text.push(BYTE_ORDER_MARK);
                        csv_line(&mut text, COLUMNS.map(Cell::Text));
                    }
                    ExportFormat::Json => text.push_str("{\"documents\":["),
                }
                At::Documents {
                    cursor: None,
                    first: true,
                }
            }
            At::Documents { cursor, first } => {
                let query = DocumentQuery {
                    cursor,
                    limit: PAGE,
                    ..DocumentQuery::default()
                };
                let page = engine.store().documents().list(&self.scope, &query).await?;
                for (index, document) in page.items.iter().enumerate() {
                    match self.format {
                        ExportFormat::Csv => document_line(&mut text, document),
                        ExportFormat::Json => {
                            json_item(&mut text, first && index == 0, &record_of(document))?;
                        }
                    }
                }
                if page.next_cursor.is_some() {
                    At::Documents {
                        cursor: page.next_cursor,
                        first: false,
                    }
                } else {
                    if self.format == ExportFormat::Json {
                        text.push_str("\n],\"jobs\":[");
                    }
                    At::Jobs {
                        cursor: None,
                        first: true,
                    }
                }
            }
            At::Jobs { cursor, first } => {
                let query = JobQuery {
                    cursor,
                    limit: PAGE,
                    ..JobQuery::default()
                };
                let page = engine.store().jobs().list(&self.scope, &query).await?;
                for (index, listed) in page.items.iter().enumerate() {
                    match self.format {
                        ExportFormat::Csv => job_line(&mut text, listed),
                        ExportFormat::Json => {
                            json_item(&mut text, first && index == 0, &record_of_job(listed))?;
                        }
                    }
                }
                if page.next_cursor.is_some() {
                    At::Jobs {
                        cursor: page.next_cursor,
                        first: false,
                    }
                } else {
                    if self.format == ExportFormat::Json {
                        text.push_str("\n]}\n");
                    }
                    At::End
                }
            }
            At::End => return Ok(None),
        };
        Ok(Some(text))
    }
}

fn record_of(document: &Document) -> DocumentRecord<'_> {
    DocumentRecord {
        id: document.id.to_string(),
        path: &document.path,
        title: &document.title,
        status: document.status,
        problem: document.problem,
        reason: document.reason.as_deref(),
        origin: document.origin,
        format: document.format.map(docent_domain::Format::as_str),
        size_bytes: document.size_bytes,
        chunks: document.chunk_count,
        embedded_chunks: document.embedded_count,
        created_at: iso(document.created_at),
        updated_at: iso(document.updated_at),
    }
}

fn record_of_job(listed: &ListedJob) -> JobRecord<'_> {
    let job: &Job = &listed.job;
    JobRecord {
        id: job.id.to_string(),
        path: &listed.path,
        title: listed.title.as_deref(),
        kind: JobType::from(job.kind),
        state: job.state.as_str(),
        stage: job.stage.map(docent_domain::Stage::as_str),
        done: job.progress.done,
        total: job.progress.total,
        attempts: job.attempts,
        max_attempts: job.max_attempts,
        reason: job.reason.as_deref(),
        created_at: iso(job.created_at),
        updated_at: iso(job.updated_at),
    }
}

fn json_item(text: &mut String, first: bool, record: &impl Serialize) -> Result<()> {
    text.push_str(if first { "\n" } else { ",\n" });
    let item = serde_json::to_string(record)
        .map_err(|error| Error::internal("writing the list of jobs", error))?;
    text.push_str(&item);
    Ok(())
}

fn document_line(text: &mut String, document: &Document) {
    csv_line(
        text,
        [
            Cell::Text("document"),
            Cell::Text(&document.path),
            Cell::Text(&document.title),
            Cell::Text(document.status.as_str()),
            Cell::Text(document.problem.map_or("", Problem::as_str)),
            Cell::Text(document.reason.as_deref().unwrap_or_default()),
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Text(match document.origin {
                Origin::Folder => "folder",
                Origin::File => "file",
                Origin::Upload => "upload",
            }),
            Cell::Text(document.format.map_or("", docent_domain::Format::as_str)),
            Cell::Number(document.size_bytes),
            Cell::Number(document.chunk_count.into()),
            Cell::Number(document.embedded_count.into()),
            Cell::Text(&iso(document.created_at)),
            Cell::Text(&iso(document.updated_at)),
        ],
    );
}

fn job_line(text: &mut String, listed: &ListedJob) {
    let job = &listed.job;
    csv_line(
        text,
        [
            Cell::Text("job"),
            Cell::Text(&listed.path),
            Cell::Text(listed.title.as_deref().unwrap_or_default()),
            Cell::Text(job.state.as_str()),
            Cell::Empty,
            Cell::Text(job.reason.as_deref().unwrap_or_default()),
            Cell::Text(JobType::from(job.kind).as_str()),
            Cell::Text(job.stage.map_or("", docent_domain::Stage::as_str)),
            Cell::Number(job.progress.done),
            Cell::Number(job.progress.total),
            Cell::Number(job.attempts.into()),
            Cell::Number(job.max_attempts.into()),
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Text(&iso(job.created_at)),
            Cell::Text(&iso(job.updated_at)),
        ],
    );
}

enum Cell<'a> {
    Text(&'a str),
    Number(u64),
    Empty,
}

fn csv_line<const N: usize>(text: &mut String, cells: [Cell<'_>; N]) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match cell {
            Cell::Text(cell) => csv_text(text, cell),
            Cell::Number(number) => {
                let _ = write!(text, "{number}");
            }
            Cell::Empty => {}
        }
    }
    text.push_str("\r\n");
}

fn csv_text(text: &mut String, cell: &str) {
    // A tab or a carriage return in front is stripped by spreadsheets, and then it is a formula.
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_quoted = cell.contains(['"', ',', '\r', '\n']);
    if is_quoted {
        text.push('"');
    }
    if is_formula {
        text.push('\'');
    }
    if is_quoted {
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(cell);
    }
}

/// ISO 8601, in UTC, to the second; empty for a time that it cannot say.
fn iso(time: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1000))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut line = String::new();
        csv_text(&mut line, text);
        line
    }

    #[test]
    fn cells_are_quoted_where_needed_and_are_no_formulas() {
        for (text, written) in [
            ("", ""),
            ("žalba.pdf", "žalba.pdf"),
            ("a, b", "\"a, b\""),
            ("say \"da\"", "\"say \"\"da\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("=HYPERLINK(\"x\",1)", "\"'=HYPERLINK(\"\"x\"\",1)\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn times_are_dates() {
        for (ms, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso(Timestamp(ms)), date);
        }
    }
}
