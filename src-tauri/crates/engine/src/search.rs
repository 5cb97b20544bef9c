//! Passages for a question: ranked, read from the rows, and weighed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use docent_domain::{Citation, Language, Place, TITLE_SEPARATOR, WorkspaceScope};
use docent_inference::EmbedKind;
use docent_store::Entity;
use tokio_util::sync::CancellationToken;

use crate::answer::evidence::{self, CALIBRATION, Evidence};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::indexes::OpenIndex;
use crate::retrieve::expand::{self, Plan};
use crate::retrieve::fuse::Scored;
use crate::retrieve::{self, Probe, Wording, language};
use crate::types::{Expansion, Legs, SearchHit, SearchRequest, SearchResponse};

/// First results with less evidence than this are worth a few seconds of widening.
const WEAK_EVIDENCE: f32 = 0.6;

/// Share of a follow-up's own wording that must stand in a passage before the wording of the
/// question before it counts.
const OWN_COVERAGE: f32 = 0.3;

/// Passages that are read for their evidence, however few are asked for.
const WEIGHED_PASSAGES: usize = 3;

/// What was found for the wordings of a question.
pub(crate) struct Retrieved {
    probes: Vec<Probe>,
    /// Best first, and with them their passages: as many as were asked for.
    pub scored: Vec<Scored>,
    pub passages: Vec<Citation>,
    pub evidence: Evidence,
    embed_ms: f64,
    retrieval_ms: f64,
}

impl Engine {
    /// Ranked passages for a question, without an answer.
    pub async fn search(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        request: SearchRequest,
    ) -> Result<SearchResponse> {
        let question = request.text.trim();
        if question.is_empty() {
            return Err(Error::invalid("the question is empty"));
        }
        let open = self.open_index(scope).await?;
        let gone = self.indexes().gone(scope).await;
        tokio::select! {
            biased;
            // Its index goes with the workspace, once nobody has it any more.
            () = gone.cancelled() => Err(docent_store::Error::NotFound(Entity::Workspace).into()),
            found = self.search_in(scope, open, question, &request, &gone) => found,
        }
    }

    async fn search_in(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        open: OpenIndex,
        question: &str,
        request: &SearchRequest,
        gone: &CancellationToken,
    ) -> Result<SearchResponse> {
        let language = language_of(&open, question, request.language, None);
        let k = request.k.clamp(1, 200);
        let wording = Wording {
            words: request.legs == Legs::Hybrid,
            ..Wording::question(question)
        };
        let mut found = self.retrieve(scope, &open, vec![wording], k).await?;
        let mut expansion = None;
        if request.expand {
            let interactive = self.cores().interactive();
            interactive.ready().await;
            expansion = self.widen(&open, language, &found, gone).await;
            if let Some(expansion) = &expansion {
                found = self
                    .retrieve_widened(scope, &open, found, expansion, k)
                    .await?;
            }
        }
        let hits = found
            .passages
            .into_iter()
            .zip(&found.scored)
            .map(|(citation, scored)| SearchHit {
                citation,
                dense_score: scored.dense,
                word_score: scored.words,
            })
            .collect();
        Ok(SearchResponse {
            language_detected: language,
            expansion,
            hits,
            evidence: found.evidence,
            confidence: found.evidence.confidence(&CALIBRATION),
            retrieval_ms: found.retrieval_ms,
            embed_ms: found.embed_ms,
        })
    }

    /// The best `k` passages for a question in the given wordings.
    pub(crate) async fn retrieve(
        &self,
        scope: &WorkspaceScope,
        open: &OpenIndex,
        wordings: Vec<Wording>,
        k: usize,
    ) -> Result<Retrieved> {
        let started = Instant::now();
        let probes = retrieve::embed(&open.embedder, wordings).await?;
        self.rank(scope, open, probes, k, milliseconds(started))
            .await
    }

    /// The best `k` passages for the wordings of `found` and what a model made of them.
    pub(crate) async fn retrieve_widened(
        &self,
        scope: &WorkspaceScope,
        open: &OpenIndex,
        found: Retrieved,
        expansion: &Expansion,
        k: usize,
    ) -> Result<Retrieved> {
        let started = Instant::now();
        let added = retrieve::embed(&open.embedder, expand::wordings(expansion)).await?;
        let embed_ms = found.embed_ms + milliseconds(started);
        let probes = found.probes.into_iter().chain(added).collect();
        self.rank(scope, open, probes, k, embed_ms).await
    }

    async fn rank(
        &self,
        scope: &WorkspaceScope,
        open: &OpenIndex,
        probes: Vec<Probe>,
        k: usize,
        embed_ms: f64,
    ) -> Result<Retrieved> {
        let started = Instant::now();
        let mut scored = retrieve::rank(open, probes.clone()).await?;
        let best = scored.get(..k.max(WEIGHED_PASSAGES)).unwrap_or(&scored);
        let mut passages = self.hydrate(scope, best).await?;
        let there: HashMap<_, _> = scored.iter().map(|scored| (scored.key, *scored)).collect();
        let evidence = weigh(&probes, &scored, &passages);
        passages.truncate(k);
        // Of what was deleted in the meantime there is no passage.
        scored = passages
            .iter()
            .filter_map(|passage| there.get(&passage.chunk).copied())
            .collect();
        Ok(Retrieved {
            probes,
            scored,
            passages,
            evidence,
            embed_ms,
            retrieval_ms: milliseconds(started),
        })
    }

    /// What the local model makes of the question, where that pays: its translation into the
    /// workspace's other language, or else, after weak first results, a passage such as might
    /// answer it. `None` without a model.
    pub(crate) async fn widen(
        self: &Arc<Self>,
        open: &OpenIndex,
        language: Language,
        found: &Retrieved,
        cancel: &CancellationToken,
    ) -> Option<Expansion> {
        let question = &found.probes.first()?.wording.text;
        let translate_to = other_language(open, language);
        let weak = found.evidence.confidence(&CALIBRATION) < WEAK_EVIDENCE;
        let plan = Plan {
            translate_to,
            hypothetical: (weak && translate_to.is_none()).then_some(language),
        };
        if plan.is_empty() {
            return None;
        }
        let generator = self.model_set().generator().await.ok()?;
        self.expander()
            .expand(&generator, question, plan, cancel)
            .await
    }

    /// The passages of ranked chunks, in their order, numbered from 1. Chunks whose document was
    /// deleted in the meantime are left out.
    async fn hydrate(&self, scope: &WorkspaceScope, scored: &[Scored]) -> Result<Vec<Citation>> {
        let keys: Vec<_> = scored.iter().map(|scored| scored.key).collect();
        let passages = self.store().chunks().get_many(scope, &keys).await?;
        let mut by_key: HashMap<_, _> = passages
            .into_iter()
            .map(|passage| (passage.chunk.key, passage))
            .collect();
        let mut citations = Vec::with_capacity(scored.len());
        for scored in scored {
            let Some(passage) = by_key.remove(&scored.key) else {
                continue;
            };
            let format = passage.format;
            let mut content = passage.chunk.content;
            let place = format.and_then(|format| Place::of(format, &content));
            content.keep_pages_of(format);
            citations.push(Citation {
                n: citations.len() as u32 + 1,
                used: false,
                document_id: passage.chunk.document_id,
                chunk: scored.key,
                title: header(&passage.title, &content.heading_path),
                path: passage.path,
                text: content.text,
                span: content.span,
                page: content.page,
                boxes: content.boxes,
                place,
                score: scored.score,
            });
        }
        Ok(citations)
    }
}

/// The signs for and against an answer in what was found for any of the wordings.
fn weigh(probes: &[Probe], scored: &[Scored], passages: &[Citation]) -> Evidence {
    let Some(top) = scored
        .iter()
        .map(|scored| scored.dense_z)
        .max_by(f32::total_cmp)
    else {
        return Evidence::default();
    };
    let best_three: String = passages
        .iter()
        .take(WEIGHED_PASSAGES)
        .map(|passage| passage.title.clone() + "\n" + &passage.text + "\n")
        .collect();
    let covered = |passage: &str, leans: bool| {
        probes
            .iter()
            .filter(|probe| probe.wording.kind == EmbedKind::Query && probe.wording.leans == leans)
            .map(|probe| evidence::coverage(&probe.wording.text, passage))
            .fold(0.0, f32::max)
    };
    let says_something = probes
        .iter()
        .any(|probe| !probe.wording.leans && evidence::has_content(&probe.wording.text));
    let over_wordings = |passage: &str| {
        let own = covered(passage, false);
        // What the question itself asks for must be there too, or any question would be answered
        // after one that the documents answer.
        if own < OWN_COVERAGE && says_something {
            own
        } else {
            own.max(covered(passage, true))
        }
    };
    Evidence {
        dense_z: top,
        coverage: over_wordings(&best_three),
        best_coverage: passages
            .iter()
            .take(WEIGHED_PASSAGES)
            .map(|passage| over_wordings(&format!("{}\n{}", passage.title, passage.text)))
            .fold(0.0, f32::max),
    }
}

fn other_language(open: &OpenIndex, language: Language) -> Option<Language> {
    retrieve::present_languages(&open.index)
        .into_iter()
        .find(|present| *present != language)
}

/// Title and headings, outermost first, each once.
pub(crate) fn header(title: &str, heading_path: &[String]) -> String {
    let mut parts = vec![title];
    for heading in heading_path {
        if parts.last() != Some(&heading.as_str()) {
            parts.push(heading);
        }
    }
    parts.join(TITLE_SEPARATOR)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The language to answer in.
pub(crate) fn language_of(
    open: &OpenIndex,
    question: &str,
    asked_for: Option<Language>,
    before: Option<Language>,
) -> Language {
    let detected = asked_for.unwrap_or_else(|| language::of_question(question));
    if detected != Language::Undetermined {
        return detected;
    }
    // "HP 1320?" tells nothing: the chat's language, else the documents', else English.
    before
        .or_else(|| retrieve::present_languages(&open.index).first().copied())
        .unwrap_or(Language::English)
}
