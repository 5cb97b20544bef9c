//! The question widened by the local model: translated into the workspace's other language, and as
//! a passage that might answer it.
//!
//! Always optional. It is bounded in time, remembered, and left out when no model is there; what
//! the bare question finds is shown before it arrives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docent_domain::Language;
use docent_inference::{ChatTurn, GenerationRequest, Generator};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Wording;
use crate::types::Expansion;

/// Translating fifteen tokens takes one to three seconds on two cores. Past this the user is
/// better served by what the bare question found.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Questions remembered; a few kilobytes each.
const REMEMBERED: usize = 256;

/// What to ask the model for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub translate_to: Option<Language>,
    /// The language to write the hypothetical passage in.
    pub hypothetical: Option<Language>,
}

impl Plan {
    pub(crate) const fn is_empty(self) -> bool {
        self.translate_to.is_none() && self.hypothetical.is_none()
    }
}

type Key = (String, Plan, String);

#[derive(Debug, Default)]
pub(crate) struct Expander {
    remembered: Mutex<(HashMap<Key, Expansion>, VecDeque<Key>)>,
}

impl Expander {
    /// `None` when the model failed, took too long or gave nothing usable.
    pub(crate) async fn expand(
        &self,
        generator: &Arc<dyn Generator>,
        question: &str,
        plan: Plan,
        cancel: &CancellationToken,
    ) -> Option<Expansion> {
        if plan.is_empty() {
            return None;
        }
        let key = (question.to_owned(), plan, generator.model().to_owned());
        if let Some(known) = self.lock().0.get(&key) {
            return Some(known.clone());
        }
        let limited = cancel.child_token();
        let work = async {
            let mut expansion = Expansion::default();
            if let Some(language) = plan.translate_to {
                expansion.translation =
                    write(generator, translation_request(question, language), &limited)
                        .await
                        .filter(|text| is_usable_translation(question, text));
            }
            if let Some(language) = plan.hypothetical {
                expansion.hypothetical = write(
                    generator,
                    hypothetical_request(question, language),
                    &limited,
                )
                .await;
            }
            expansion
        };
        let expansion = tokio::time::timeout(TIME_LIMIT, work).await;
        limited.cancel();
        let expansion = expansion.ok()?;
        if expansion == Expansion::default() || cancel.is_cancelled() {
            return None;
        }
        let mut remembered = self.lock();
        let (known, order) = &mut *remembered;
        if known.insert(key.clone(), expansion.clone()).is_none() {
            order.push_back(key);
        }
        while order.len() > REMEMBERED {
            if let Some(oldest) = order.pop_front() {
                known.remove(&oldest);
            }
        }
        Some(expansion)
    }

    /// Forgets every question, for when one is removed with its chat.
    pub(crate) fn forget(&self) {
        *self.lock() = Default::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (HashMap<Key, Expansion>, VecDeque<Key>)> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wordings that an expansion adds to the bare question.
#[must_use]
pub fn wordings(expansion: &Expansion) -> Vec<Wording> {
    let translation = expansion.translation.as_deref().map(Wording::translation);
    let hypothetical = expansion.hypothetical.as_deref().map(Wording::hypothetical);
    translation.into_iter().chain(hypothetical).collect()
}

async fn write(
    generator: &Arc<dyn Generator>,
    request: GenerationRequest,
    cancel: &CancellationToken,
) -> Option<String> {
    // The pieces are not needed one by one, but somebody has to take them.
    let (pieces, mut taken) = mpsc::channel(64);
    let drain = async { while taken.recv().await.is_some() {} };
    let (generation, ()) = tokio::join!(generator.generate(request, pieces, cancel.clone()), drain);
    match generation {
        Ok(generation) => {
            let text = generation.text.trim().trim_matches('"').trim().to_owned();
            (!text.is_empty()).then_some(text)
        }
        Err(error) => {
            tracing::debug!(%error, "the question was not widened");
            None
        }
    }
}

fn translation_request(question: &str, to: Language) -> GenerationRequest {
    let (system, example, answer) = match to {
        Language::Croatian => (
            "Translate the question into Croatian. Answer with the translation only.",
            "How do I change the screen resolution?",
            "Kako promijeniti razlučivost zaslona?",
        ),
        Language::English | Language::Undetermined => (
            "Translate the question into English. Answer with the translation only.",
            "Kako promijeniti razlučivost zaslona?",
            "How do I change the screen resolution?",
        ),
    };
    GenerationRequest {
        stop: vec!["\n".into()],
        auxiliary: true,
        ..GenerationRequest::greedy(
            vec![
                ChatTurn::system(system),
                ChatTurn::user(example),
                ChatTurn::assistant(answer),
                ChatTurn::user(question),
            ],
            64,
        )
    }
}

fn hypothetical_request(question: &str, language: Language) -> GenerationRequest {
    let name = match language {
        Language::Croatian => "Croatian",
        Language::English | Language::Undetermined => "English",
    };
    GenerationRequest {
        auxiliary: true,
        ..GenerationRequest::greedy(
            vec![
                ChatTurn::system(format!(
                    "Write one short passage of a manual, in {name}, that answers the question. \
                     Two sentences."
                )),
                ChatTurn::user(question),
            ],
            72,
        )
    }
}

/// Small models sometimes answer the question or talk about it. A translation is about as long as
/// what it translates.
fn is_usable_translation(question: &str, translation: &str) -> bool {
    let (from, to) = (question.chars().count(), translation.chars().count());
    to * 4 >= from && to <= from * 4 + 20 && translation.trim() != question.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_not_a_translation() {
        assert!(is_usable_translation(
            "Kako ispisati dokument?",
            "How do I print a document?"
        ));
        assert!(!is_usable_translation(
            "Rok?",
            &"The deadline is ".repeat(10)
        ));
        assert!(
            !is_usable_translation("A?", "A?"),
            "the same words add nothing"
        );
    }
}
