//! `docent documents …`

use docent_api::dto::Document;
use docent_domain::WorkspaceScope;
use docent_engine::{DocumentQuery, Engine};

use super::{Jobs, with_engine};
use crate::args::{Documents, Settings};
use crate::failure::Failure;
use crate::output::{Output, counted};

/// The largest page that the engine gives.
const PAGE: usize = 500;

pub async fn run(settings: &Settings, output: Output, command: Documents) -> Result<(), Failure> {
    let Documents::List { workspace, status } = command;
    with_engine(settings, Jobs::Rest, async |engine| {
        let scope = engine.scope(&workspace.workspace).await?;
        let documents = all(engine, &scope, status).await?;
        let documents: Vec<Document> = documents.into_iter().map(Document::from).collect();
        output.result(&documents, |documents| {
            documents.iter().map(line).collect::<Vec<_>>().join("\n")
        })
    })
    .await
}

/// Every document of a workspace, page by page.
pub async fn all(
    engine: &Engine,
    scope: &WorkspaceScope,
    status: Option<docent_domain::DocumentStatus>,
) -> Result<Vec<docent_domain::Document>, Failure> {
    let mut documents = Vec::new();
    let mut cursor = None;
    loop {
        let query = DocumentQuery {
            status,
            cursor,
            limit: PAGE,
            ..DocumentQuery::default()
        };
        let page = engine.documents(scope, query).await?;
        documents.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
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
