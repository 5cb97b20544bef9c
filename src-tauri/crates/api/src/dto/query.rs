//! Questions, answers and searches. `QueryRequest` and the first five fields of `QueryResponse`
//! are a contract that programs outside rely on.

use docent_domain as domain;
use docent_engine as engine;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Language, PageBox, Span, all};

/// The language to answer in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum LanguageChoice {
    /// That of the question.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "hr")]
    Croatian,
    #[serde(rename = "en")]
    English,
}

impl From<LanguageChoice> for Option<domain::Language> {
    fn from(choice: LanguageChoice) -> Self {
        match choice {
            LanguageChoice::Auto => None,
            LanguageChoice::Croatian => Some(domain::Language::Croatian),
            LanguageChoice::English => Some(domain::Language::English),
        }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct QueryRequest {
    pub text: String,
    #[serde(default)]
    #[schema(default = "auto")]
    pub language: LanguageChoice,
    /// How many passages the answer may stand on.
    #[serde(default = "default_max_results")]
    #[schema(default = 5, minimum = 1, maximum = 20)]
    pub max_results: usize,
    /// Accepted for programs that send it; on one's own machine there is one user.
    #[serde(default = "default_user")]
    #[schema(default = "default_user")]
    pub user_id: String,
    /// Name or id. Absent: the workspace called "default", else the only one there is.
    #[serde(default)]
    pub workspace: Option<String>,
    /// Continues this chat; absent begins a new one.
    #[serde(default)]
    pub chat_id: Option<Uuid>,
}

fn default_max_results() -> usize {
    5
}

fn default_user() -> String {
    "default_user".to_owned()
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueryResponse {
    pub answer: String,
    /// Calibrated chance, 0 to 1, that the documents answer the question.
    pub confidence: f32,
    /// Paths of the cited documents, each once, in order of first citation.
    pub sources: Vec<String>,
    pub query_id: Uuid,
    pub language_detected: Language,
    pub citations: Vec<Citation>,
    /// The documents don't say; `nearest` then holds the closest passages.
    pub refused: bool,
    pub nearest: Vec<Citation>,
    /// It was stopped; `answer` is what there was.
    pub interrupted: bool,
    pub chat_id: Uuid,
    pub message_id: Uuid,
    pub timings: Timings,
}

impl From<engine::QueryOutcome> for QueryResponse {
    fn from(outcome: engine::QueryOutcome) -> Self {
        Self {
            answer: outcome.answer,
            confidence: outcome.confidence,
            sources: outcome.sources,
            query_id: *outcome.query_id.as_uuid(),
            language_detected: outcome.language_detected.into(),
            citations: all(outcome.citations),
            refused: outcome.refused,
            nearest: all(outcome.nearest),
            interrupted: outcome.interrupted,
            chat_id: *outcome.chat_id.as_uuid(),
            message_id: *outcome.message_id.as_uuid(),
            timings: outcome.timings.into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Timings {
    pub retrieval_ms: u64,
    #[schema(required)]
    pub first_token_ms: Option<u64>,
    pub total_ms: u64,
    #[schema(required)]
    pub tokens_per_second: Option<f32>,
    pub prompt_tokens: u32,
    /// Of the prompt's tokens, those whose state was kept from the turn before.
    pub reused_tokens: u32,
    pub generated_tokens: u32,
}

impl From<domain::Timings> for Timings {
    fn from(timings: domain::Timings) -> Self {
        let domain::Timings {
            retrieval_ms,
            first_token_ms,
            total_ms,
            tokens_per_second,
            prompt_tokens,
            reused_tokens,
            generated_tokens,
        } = timings;
        Self {
            retrieval_ms,
            first_token_ms,
            total_ms,
            tokens_per_second,
            prompt_tokens,
            reused_tokens,
            generated_tokens,
        }
    }
}

/// Where a passage stands. Pages, slides, rows and columns count from 1; the last one is within.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Place {
    /// Of a PDF.
    Pages { first: u32, last: u32 },
    /// Of a presentation.
    Slides { first: u32, last: u32 },
    /// Of a spreadsheet.
    Cells {
        /// `null` in CSV.
        #[schema(required)]
        sheet: Option<String>,
        /// Such as `A5:F12`; `null` for a document that was read before ranges were kept.
        #[schema(required)]
        range: Option<String>,
        first_row: u32,
        last_row: u32,
    },
    /// The text of a mail message itself.
    Message,
    /// A file in a mail message.
    Attachment { name: String },
}

impl From<domain::Place> for Place {
    fn from(place: domain::Place) -> Self {
        match place {
            domain::Place::Pages { first, last } => Self::Pages { first, last },
            domain::Place::Slides { first, last } => Self::Slides { first, last },
            domain::Place::Cells {
                sheet,
                range,
                first_row,
                last_row,
            } => Self::Cells {
                sheet,
                range,
                first_row,
                last_row,
            },
            domain::Place::Message => Self::Message,
            domain::Place::Attachment { name } => Self::Attachment { name },
        }
    }
}

/// A passage that stood in the prompt under number `n`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Citation {
    pub n: u32,
    /// Whether the answer's text refers to it; the others are context that was read.
    pub used: bool,
    pub document_id: Uuid,
    pub chunk: u32,
    pub title: String,
    pub path: String,
    pub text: String,
    pub span: Span,
    /// From 1, for paged formats.
    #[schema(required)]
    pub page: Option<u32>,
    pub boxes: Vec<PageBox>,
    /// Where the passage stands, in the terms of its format.
    #[schema(required)]
    pub place: Option<Place>,
    pub score: f32,
}

impl From<domain::Citation> for Citation {
    fn from(citation: domain::Citation) -> Self {
        Self {
            n: citation.n,
            used: citation.used,
            document_id: *citation.document_id.as_uuid(),
            chunk: citation.chunk.0,
            title: citation.title,
            path: citation.path,
            text: citation.text,
            span: citation.span.into(),
            page: citation.page,
            boxes: all(citation.boxes),
            place: citation.place.map(Place::from),
            score: citation.score,
        }
    }
}

mirrored! {
    /// What the bare question found, what the widened one did, and what stands in the prompt under
    /// the numbers that the answer will use.
    RetrievalStage mirrors engine::RetrievalStage {
        First = "first",
        Expanded = "expanded",
        Prompt = "prompt",
    }
}

/// Data of the event `started`, the first of an answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueryStarted {
    pub query_id: Uuid,
    pub chat_id: Uuid,
    pub user_message_id: Uuid,
    pub message_id: Uuid,
    pub language_detected: Language,
}

/// Data of the event `retrieved`, which comes at most once for each stage.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueryRetrieved {
    pub passages: Vec<Citation>,
    pub stage: RetrievalStage,
}

/// Data of the event `token`: a piece to append to the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueryToken {
    pub text: String,
}

/// Data of the event `revised`: replaces all the text so far.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueryRevised {
    pub text: String,
}

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchParameters {
    /// What to look for.
    pub q: String,
    /// How many hits.
    #[serde(default = "default_k")]
    #[param(default = 10, minimum = 1, maximum = 200)]
    pub k: usize,
    /// Let the local model widen the question first.
    #[serde(default)]
    #[param(default = false)]
    pub expand: bool,
    #[serde(default)]
    #[param(inline, default = "auto")]
    pub language: LanguageChoice,
}

fn default_k() -> usize {
    10
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SearchResponse {
    pub language_detected: Language,
    #[schema(required)]
    pub expansion: Option<Expansion>,
    pub hits: Vec<SearchHit>,
    /// How likely it is that the documents answer the question, 0 to 1.
    pub confidence: f32,
    /// From the question's embedding to the hits.
    pub retrieval_ms: f64,
    /// The embedding itself.
    pub embed_ms: f64,
}

impl From<engine::SearchResponse> for SearchResponse {
    fn from(response: engine::SearchResponse) -> Self {
        Self {
            language_detected: response.language_detected.into(),
            expansion: response.expansion.map(Expansion::from),
            hits: (1..)
                .zip(response.hits)
                .map(|(rank, hit)| SearchHit::ranked(rank, hit))
                .collect(),
            confidence: response.confidence,
            retrieval_ms: response.retrieval_ms,
            embed_ms: response.embed_ms,
        }
    }
}

/// The question as the local model widened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Expansion {
    /// In the workspace's other language.
    #[schema(required)]
    pub translation: Option<String>,
    /// A passage such as the answer might stand in.
    #[schema(required)]
    pub hypothetical: Option<String>,
}

impl From<engine::Expansion> for Expansion {
    fn from(expansion: engine::Expansion) -> Self {
        Self {
            translation: expansion.translation,
            hypothetical: expansion.hypothetical,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SearchHit {
    /// From 1.
    pub rank: u32,
    pub document_id: Uuid,
    pub chunk: u32,
    pub title: String,
    pub path: String,
    pub text: String,
    pub score: f32,
    /// Characters in the document's text.
    pub start: u32,
    pub end: u32,
    #[schema(required)]
    pub page: Option<u32>,
    pub boxes: Vec<PageBox>,
    /// Where the passage stands, in the terms of its format.
    #[schema(required)]
    pub place: Option<Place>,
    pub dense_score: f32,
    pub word_score: f32,
}

impl SearchHit {
    fn ranked(rank: u32, hit: engine::SearchHit) -> Self {
        let engine::SearchHit {
            citation,
            dense_score,
            word_score,
        } = hit;
        Self {
            rank,
            document_id: *citation.document_id.as_uuid(),
            chunk: citation.chunk.0,
            title: citation.title,
            path: citation.path,
            text: citation.text,
            score: citation.score,
            start: citation.span.start,
            end: citation.span.end,
            page: citation.page,
            boxes: all(citation.boxes),
            place: citation.place.map(Place::from),
            dense_score,
            word_score,
        }
    }
}
