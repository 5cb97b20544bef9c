//! `docent search`: passages without an answer.

use std::fmt::Write;

use docent_api::dto::{Expansion, Language};
use docent_domain::Place;
use docent_engine::{Legs, SearchHit, SearchRequest};
use serde::Serialize;

use super::{Jobs, with_engine};
use crate::args::{Search, Settings};
use crate::failure::Failure;
use crate::output::Output;

/// Characters of a passage shown on a terminal.
const EXCERPT: usize = 300;

#[derive(Serialize)]
struct Found {
    question: String,
    language_detected: Language,
    expansion: Option<Expansion>,
    hits: Vec<Hit>,
    /// How likely it is that the documents answer the question, 0 to 1.
    confidence: f32,
    embed_ms: f64,
    retrieval_ms: f64,
}

#[derive(Serialize)]
struct Hit {
    rank: usize,
    document: String,
    path: String,
    title: String,
    text: String,
    score: f32,
    start: u32,
    end: u32,
    page: Option<u32>,
    place: Option<Place>,
    dense_score: f32,
    word_score: f32,
}

impl Hit {
    fn ranked(rank: usize, hit: SearchHit) -> Self {
        let SearchHit {
            citation,
            dense_score,
            word_score,
        } = hit;
        Self {
            rank,
            document: citation.document_id.to_string(),
            path: citation.path,
            title: citation.title,
            text: citation.text,
            score: citation.score,
            start: citation.span.start,
            end: citation.span.end,
            page: citation.page,
            place: citation.place,
            dense_score,
            word_score,
        }
    }
}

pub async fn run(settings: &Settings, output: Output, command: Search) -> Result<(), Failure> {
    let found = with_engine(settings, Jobs::Rest, async |engine| {
        let scope = engine.scope(&command.workspace.workspace).await?;
        let request = SearchRequest {
            text: command.question.clone(),
            k: command.k.into(),
            expand: command.expand,
            language: command.language.into(),
            legs: Legs::Hybrid,
        };
        let response = engine.search(&scope, request).await?;
        Ok(Found {
            question: command.question,
            language_detected: response.language_detected.into(),
            expansion: response.expansion.map(Expansion::from),
            hits: (1..)
                .zip(response.hits)
                .map(|(rank, hit)| Hit::ranked(rank, hit))
                .collect(),
            confidence: response.confidence,
            embed_ms: response.embed_ms,
            retrieval_ms: response.retrieval_ms,
        })
    })
    .await?;
    output.result(&found, text)
}

fn text(found: &Found) -> String {
    let mut text = String::new();
    if let Some(expansion) = &found.expansion {
        for widened in [&expansion.translation, &expansion.hypothetical]
            .into_iter()
            .flatten()
        {
            let _ = writeln!(text, "also: {widened}");
        }
    }
    for hit in &found.hits {
        let place = hit
            .place
            .as_ref()
            .map(|place| format!(", {place}"))
            .unwrap_or_default();
        let _ = writeln!(text, "{}. {} ({:.3})", hit.rank, hit.title, hit.score);
        let _ = writeln!(
            text,
            "   {}{place}, characters {}–{}",
            hit.path, hit.start, hit.end
        );
        let _ = writeln!(text, "   {}\n", excerpt(&hit.text));
    }
    if found.hits.is_empty() {
        text.push_str("nothing found\n");
    }
    text
}

/// The beginning of a passage on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
