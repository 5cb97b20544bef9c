//! `docent eval`: figures for retrieval and answers on a file of questions.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use docent_api::dto::Expansion;
use docent_api::error::Code;
use docent_domain::{Language, WorkspaceScope};
use docent_engine::{Engine, Legs, QueryRequest, SearchHit, SearchRequest};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Jobs, with_engine};
use crate::args::{Eval, Settings};
use crate::eval::calibrate::{self, calibrate};
use crate::eval::metrics::{
    AnswerOutcome, Figures, Found, Outcome, Retrieval, RetrievalFigures, figures, first_right,
};
use crate::eval::questions::{Question, parse};
use crate::failure::Failure;
use crate::output::Output;

/// Hits that are looked at. More than ten, because several may be of one document where documents
/// are ranked.
const DEPTH: usize = 50;

/// As many passages as a question in the window has.
const MAX_RESULTS: usize = 5;

type Figure = fn(&Figures) -> Option<f64>;
type RetrievalFigure = fn(&RetrievalFigures) -> Option<f64>;

#[derive(Serialize)]
struct Evaluation {
    workspace: String,
    expanded: bool,
    overall: Figures,
    /// By the language of the question.
    languages: BTreeMap<String, Figures>,
    /// By the question's note, where there are several.
    kinds: BTreeMap<String, Figures>,
    calibration: Option<calibrate::Report>,
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
        Ok(Evaluation {
            workspace: command.workspace.workspace.clone(),
            expanded: command.expand,
            overall: figures(&outcomes),
            languages: by(&outcomes, |outcome| Some(outcome.language.clone())),
            kinds: by(&outcomes, |outcome| outcome.kind.clone()),
            calibration: if command.calibrate {
                let report = calibrate(&outcomes).ok_or_else(|| {
                    Failure::new(
                        Code::BadRequest,
                        format!(
                            "{name} has too few questions that can be answered, or too few that \
                             cannot, to fit a confidence"
                        ),
                    )
                })?;
                Some(report)
            } else {
                None
            },
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
    let mut ways = vec![
        (Retrieval::Dense, Legs::Dense, false),
        (Retrieval::Hybrid, Legs::Hybrid, false),
    ];
    if command.expand {
        ways.push((Retrieval::Widened, Legs::Hybrid, true));
    }
    let mut found = BTreeMap::new();
    for (way, legs, expand) in ways {
        let request = SearchRequest {
            text: question.question.clone(),
            k: DEPTH,
            expand,
            language,
            legs,
        };
        let response = engine.search(scope, request).await?;
        let one = Found {
            rank: rank(question, &response.hits),
            retrieval_ms: response.retrieval_ms,
            confidence: response.confidence,
            evidence: response.evidence,
            expansion: response.expansion.map(Expansion::from),
        };
        found.insert(way, one);
    }
    let answer = if command.retrieval_only {
        None
    } else {
        Some(answer(engine, scope, question, language).await?)
    };
    Ok(Outcome {
        id: question.id.clone(),
        language: question.language.clone(),
        kind: question.note.clone(),
        answerable: question.answerable,
        expects_passages: !question.expected.is_empty(),
        found,
        answer,
    })
}

fn by(outcomes: &[Outcome], key: impl Fn(&Outcome) -> Option<String>) -> BTreeMap<String, Figures> {
    let mut groups: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        if let Some(key) = key(outcome) {
            groups.entry(key).or_default().push(outcome);
        }
    }
    groups
        .into_iter()
        .map(|(key, outcomes)| (key, figures(outcomes)))
        .collect()
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
    let kinds = (evaluation.kinds.len() > 1).then_some(&evaluation.kinds);
    let groups = evaluation
        .languages
        .iter()
        .chain(kinds.into_iter().flatten());
    let columns: Vec<(&str, &Figures)> = std::iter::once(("all", &evaluation.overall))
        .chain(groups.map(|(name, figures)| (name.as_str(), figures)))
        .collect();
    let mut text = format!("{:<20}", "");
    for (name, _) in &columns {
        let _ = write!(text, "{name:>10}");
    }
    text.push('\n');
    let mut counts = |name: &str, count: fn(&Figures) -> u64| {
        let _ = write!(text, "{name:<20}");
        for (_, figures) in &columns {
            let _ = write!(text, "{:>10}", count(figures));
        }
        text.push('\n');
    };
    counts("questions", |figures| figures.questions);
    counts("ranked", |figures| figures.ranked);

    let ways = [
        (Retrieval::Dense, "dense alone"),
        (Retrieval::Hybrid, "hybrid"),
        (Retrieval::Widened, "hybrid, widened"),
    ];
    let rows: [(&str, RetrievalFigure); 7] = [
        ("recall@1", |figures| figures.recall_at_1),
        ("recall@5", |figures| figures.recall_at_5),
        ("recall@10", |figures| figures.recall_at_10),
        ("MRR", |figures| figures.mrr),
        ("nDCG@10", |figures| figures.ndcg_at_10),
        ("ms p50", |figures| figures.retrieval_ms_p50),
        ("ms p95", |figures| figures.retrieval_ms_p95),
    ];
    for (way, title) in ways {
        if !evaluation.overall.retrieval.contains_key(&way) {
            continue;
        }
        let _ = writeln!(text, "{title}");
        for (name, figure) in rows {
            let values = columns
                .iter()
                .map(|(_, figures)| figures.retrieval.get(&way).and_then(figure));
            row(&mut text, &format!("  {name}"), values);
        }
    }
    let rows: [(&str, Figure); 6] = [
        ("citation precision", |figures| figures.citation_precision),
        ("citation recall", |figures| figures.citation_recall),
        ("refusal precision", |figures| figures.refusal_precision),
        ("refusal recall", |figures| figures.refusal_recall),
        ("refusal F1", |figures| figures.refusal_f1),
        ("answer correct", |figures| figures.answer_correct),
    ];
    for (name, figure) in rows {
        let values = columns.iter().map(|(_, figures)| figure(figures));
        if values.clone().any(|value| value.is_some()) {
            row(&mut text, name, values);
        }
    }
    if let Some(report) = &evaluation.calibration {
        text.push_str(&calibrate::text(report));
    }
    text
}

fn row(text: &mut String, name: &str, values: impl Iterator<Item = Option<f64>>) {
    let _ = write!(text, "{name:<20}");
    for value in values {
        let _ = match value {
            Some(value) => write!(text, "{value:>10.3}"),
            None => write!(text, "{:>10}", "–"),
        };
    }
    text.push('\n');
}
