//! `docent ask`: one question, answered with citations.

use std::fmt::Write;

use docent_api::dto::{Language, Timings};
use docent_domain::{Citation, Place};
use docent_engine::{QueryEvent, QueryOutcome, QueryRequest};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Jobs, with_engine};
use crate::args::{Ask, Settings};
use crate::failure::Failure;
use crate::output::{self, Output};

#[derive(Serialize)]
struct Answered {
    answer: String,
    confidence: f32,
    sources: Vec<String>,
    query_id: String,
    language_detected: Language,
    /// The passages that the answer refers to, under their numbers.
    citations: Vec<Passage>,
    refused: bool,
    interrupted: bool,
    /// Of a refused question: the closest passages.
    nearest: Vec<Passage>,
    /// All passages that stood in the prompt.
    passages: Vec<Passage>,
    chat_id: String,
    message_id: String,
    timings: Timings,
}

#[derive(Serialize)]
struct Passage {
    n: u32,
    document: String,
    path: String,
    title: String,
    text: String,
    start: u32,
    end: u32,
    page: Option<u32>,
    place: Option<Place>,
    score: f32,
}

impl From<&Citation> for Passage {
    fn from(citation: &Citation) -> Self {
        Self {
            n: citation.n,
            document: citation.document_id.to_string(),
            path: citation.path.clone(),
            title: citation.title.clone(),
            text: citation.text.clone(),
            start: citation.span.start,
            end: citation.span.end,
            page: citation.page,
            place: citation.place.clone(),
            score: citation.score,
        }
    }
}

impl From<QueryOutcome> for Answered {
    fn from(outcome: QueryOutcome) -> Self {
        let used = outcome.citations.iter().filter(|citation| citation.used);
        Self {
            citations: used.map(Passage::from).collect(),
            passages: outcome.citations.iter().map(Passage::from).collect(),
            nearest: outcome.nearest.iter().map(Passage::from).collect(),
            answer: outcome.answer,
            confidence: outcome.confidence,
            sources: outcome.sources,
            query_id: outcome.query_id.to_string(),
            language_detected: outcome.language_detected.into(),
            refused: outcome.refused,
            interrupted: outcome.interrupted,
            chat_id: outcome.chat_id.to_string(),
            message_id: outcome.message_id.to_string(),
            timings: outcome.timings.into(),
        }
    }
}

/// Room for pieces that the terminal has not shown yet.
const PIECES_IN_FLIGHT: usize = 64;

pub async fn run(settings: &Settings, output: Output, command: Ask) -> Result<(), Failure> {
    let answered = with_engine(settings, Jobs::Rest, async |engine| {
        let scope = engine.scope(&command.workspace.workspace).await?;
        let request = QueryRequest {
            text: command.question,
            language: command.language.into(),
            max_results: command.max_results.into(),
            chat: command.chat,
        };
        let cancel = CancellationToken::new();
        let (events, received) = mpsc::channel(PIECES_IN_FLIGHT);
        let answering = engine.query(&scope, request, events, cancel.clone());
        let showing = show(output, received, &cancel);
        // The answer ends, then its channel closes and showing ends.
        let both = async { tokio::join!(answering, showing) };
        tokio::pin!(both);
        let (outcome, shown) = tokio::select! {
            both = &mut both => both,
            _ = tokio::signal::ctrl_c() => {
                cancel.cancel();
                both.await
            }
        };
        shown?;
        Ok(Answered::from(outcome?))
    })
    .await?;
    output.result(&answered, |answered| text(answered, output.is_watched()))?;
    if answered.interrupted {
        return Err(Failure::reported(
            "the answer was stopped; what there was of it is kept",
        ));
    }
    Ok(())
}

/// Shows the answer as it is written, where somebody watches.
async fn show(
    output: Output,
    mut received: mpsc::Receiver<QueryEvent>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let mut result = Ok(());
    while let Some(event) = received.recv().await {
        if !output.is_watched() || result.is_err() {
            continue;
        }
        result = match event {
            QueryEvent::Token { text } => output::piece(&text),
            QueryEvent::Revised { text } => output::piece(&format!("\n\nRevised:\n{text}")),
            QueryEvent::Started { .. } | QueryEvent::Retrieved { .. } | QueryEvent::Done(_) => {
                Ok(())
            }
        };
        if result.is_err() {
            cancel.cancel();
        }
    }
    result
}

/// What stands under an answer that was shown already, or all of it.
fn text(answered: &Answered, was_shown: bool) -> String {
    let mut text = if was_shown {
        String::new()
    } else {
        answered.answer.clone()
    };
    text.push_str("\n\n");
    if answered.refused {
        text.push_str("Nearest:\n");
    }
    let passages = if answered.refused {
        &answered.nearest
    } else {
        &answered.citations
    };
    for passage in passages {
        let place = passage
            .place
            .as_ref()
            .map(|place| format!(", {place}"))
            .unwrap_or_default();
        let number = if answered.refused {
            "-".to_owned()
        } else {
            format!("[{}]", passage.n)
        };
        let _ = writeln!(text, "{number} {}{place}: {}", passage.title, passage.path);
    }
    let timings = &answered.timings;
    let speed = timings
        .tokens_per_second
        .map(|speed| format!(", {speed:.1} tokens/s"));
    let _ = writeln!(
        text,
        "confidence {:.0} %, {:.1} s{}, chat {}",
        answered.confidence * 100.0,
        timings.total_ms as f64 / 1000.0,
        speed.unwrap_or_default(),
        answered.chat_id,
    );
    text
}
