//! `docent eval`: figures for retrieval and answers on a file of questions.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use docent_api::error::Code;
use docent_domain::{Language, WorkspaceScope};
use docent_engine::{Engine, QueryRequest, SearchHit, SearchRequest};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Jobs, with_engine};
use crate::args::{Eval, Settings};
use crate::eval::metrics::{AnswerOutcome, Figures, Outcome, figures, first_right};
use crate::eval::questions::{Question, parse};
use crate::failure::Failure;
use crate::output::Output;

/// Hits that are looked at. More than ten, because several may be of one document where documents
/// are ranked.
const DEPTH: usize = 50;

/// As many passages as a question in the window has.
const MAX_RESULTS: usize = 5;

type Figure = fn(&Figures) -> Option<f64>;

#[derive(Serialize)]
struct Evaluation {
    workspace: String,
    expanded: bool,
    overall: Figures,
    /// By the language of the question.
    languages: BTreeMap<String, Figures>,
    questions: Vec<Outcome>,
}

pub async fn run(settings: &Settings, output: Output, command: Eval) -> Result<(), Failure> {
    let name = command.file.display();
    let text = std::fs::read_to_string(&command.file).map_err(|error| {
        Failure::new(Code::BadRequest, format!("{name} cannot be read: {error}"))
    })?;
    let questions =
        parse(&text).map_err(|error| Failure::new(Code::BadRequest, format!("{name}: {error}")))?;
    let evaluation = with_engine(settings, Jobs::Rest, async |engine| {
        let scope = engine.scope(&command.workspace.workspace).await?;
        let bar = output.progress("{bar:40} {pos}/{len} {msg}");
        bar.set_length(questions.len() as u64);
        let mut outcomes = Vec::with_capacity(questions.len());
        for question in &questions {
            bar.set_message(question.id.clone());
            outcomes.push(outcome(engine, &scope, question, &command).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let mut languages: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
        for outcome in &outcomes {
            languages
                .entry(outcome.language.clone())
                .or_default()
                .push(outcome);
        }
        Ok(Evaluation {
            workspace: command.workspace.workspace.clone(),
            expanded: command.expand,
            overall: figures(&outcomes),
            languages: languages
                .into_iter()
                .map(|(language, outcomes)| (language, figures(outcomes)))
                .collect(),
            questions: outcomes,
        })
    })
    .await?;
    output.result(&evaluation, table)
}

async fn outcome(
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    question: &Question,
    command: &Eval,
) -> Result<Outcome, Failure> {
    let language = question
        .language
        .parse()
        .ok()
        .filter(|language| *language != Language::Undetermined);
    let request = SearchRequest {
        text: question.question.clone(),
        k: DEPTH,
        expand: command.expand,
        language,
    };
    let response = engine.search(scope, request).await?;
    let answer = if command.retrieval_only {
        None
    } else {
        Some(answer(engine, scope, question, language).await?)
    };
    Ok(Outcome {
        id: question.id.clone(),
        language: question.language.clone(),
        answerable: question.answerable,
        rank: rank(question, &response.hits),
        expects_passages: !question.expected.is_empty(),
        retrieval_ms: response.retrieval_ms,
        answer,
    })
}

fn rank(question: &Question, hits: &[SearchHit]) -> Option<usize> {
    let mut seen = HashSet::new();
    let by_document = question.ranks_documents();
    first_right(
        hits.iter()
            .map(|hit| &hit.citation)
            .filter(|citation| !by_document || seen.insert(citation.document_id))
            .map(|citation| question.is_right(&citation.path, &citation.text)),
    )
}

/// Asked as the first question of a chat, which is deleted again.
async fn answer(
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    question: &Question,
    language: Option<Language>,
) -> Result<AnswerOutcome, Failure> {
    let request = QueryRequest {
        text: question.question.clone(),
        language,
        max_results: MAX_RESULTS,
        chat: None,
    };
    let (events, _) = mpsc::channel(1);
    let outcome = engine
        .query(scope, request, events, CancellationToken::new())
        .await?;
    engine.delete_chat(scope, outcome.chat_id).await?;
    let cited = || outcome.citations.iter().filter(|citation| citation.used);
    let rightly = cited().filter(|citation| question.is_right(&citation.path, &citation.text));
    Ok(AnswerOutcome {
        cited: cited().count() as u64,
        cited_rightly: rightly.count() as u64,
        contains_all: question.is_answered_by(&outcome.answer),
        refused: outcome.refused,
        confidence: outcome.confidence,
        total_ms: outcome.timings.total_ms,
        answer: outcome.answer,
    })
}

fn table(evaluation: &Evaluation) -> String {
    let columns: Vec<(&str, &Figures)> = std::iter::once(("all", &evaluation.overall))
        .chain(
            evaluation
                .languages
                .iter()
                .map(|(language, figures)| (language.as_str(), figures)),
        )
        .collect();
    let mut text = format!("{:<20}", "");
    for (name, _) in &columns {
        let _ = write!(text, "{name:>8}");
    }
    text.push('\n');
    let mut counts = |name: &str, count: fn(&Figures) -> u64| {
        let _ = write!(text, "{name:<20}");
        for (_, figures) in &columns {
            let _ = write!(text, "{:>8}", count(figures));
        }
        text.push('\n');
    };
    counts("questions", |figures| figures.questions);
    counts("ranked", |figures| figures.ranked);
    let rows: [(&str, Figure); 13] = [
        ("recall@1", |figures| figures.recall_at_1),
        ("recall@5", |figures| figures.recall_at_5),
        ("recall@10", |figures| figures.recall_at_10),
        ("MRR", |figures| figures.mrr),
        ("nDCG@10", |figures| figures.ndcg_at_10),
        ("retrieval ms p50", |figures| figures.retrieval_ms_p50),
        ("retrieval ms p95", |figures| figures.retrieval_ms_p95),
        ("citation precision", |figures| figures.citation_precision),
        ("citation recall", |figures| figures.citation_recall),
        ("refusal precision", |figures| figures.refusal_precision),
        ("refusal recall", |figures| figures.refusal_recall),
        ("refusal F1", |figures| figures.refusal_f1),
        ("answer correct", |figures| figures.answer_correct),
    ];
    for (name, figure) in rows {
        if columns.iter().all(|(_, figures)| figure(figures).is_none()) {
            continue;
        }
        let _ = write!(text, "{name:<20}");
        for (_, figures) in &columns {
            let _ = match figure(figures) {
                Some(value) => write!(text, "{value:>8.3}"),
                None => write!(text, "{:>8}", "–"),
            };
        }
        text.push('\n');
    }
    text
}
