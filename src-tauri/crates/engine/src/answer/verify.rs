//! Holds a written answer against its passages, sentence by sentence.
//!
//! A sentence without a number gets that of the passage that supports it. An answer in which no
//! sentence is supported, or that is nothing but numbers, is replaced by a verbatim quotation of
//! the passage it points to: small models choose well and write badly.

use std::sync::Arc;

use docent_domain::{Citation, Language, TITLE_SEPARATOR};
use docent_inference::{EmbedKind, Embedder};

use super::{citations, evidence, prompt, support};
use crate::error::Result;
use crate::retrieve::fuse::Background;
use crate::retrieve::{self, language};

/// Wording that a supporting passage shares with a sentence. Paraphrases by small models keep more
/// than half of a passage's word stems; unrelated passages of one manual share up to a fifth.
const SUPPORTED_WORDING: f32 = 0.45;

/// What wording that a passage's document has counts beside its own.
const DOCUMENT_SHARE: f32 = 0.9;

/// Cosine, in standard deviations above that of unrelated sentences, that counts as support where
/// the sentence and the passage are in different languages.
const SUPPORTED_Z: f32 = 3.0;

/// Wording that a sentence shares with its question and then only repeats it.
const ECHOED_WORDING: f32 = 0.95;

/// Shorter pieces ("Da.", a list's bullet) claim nothing by themselves.
const SHORTEST_CLAIM_CHARS: usize = 18;

/// Characters of a quotation.
const QUOTE_CHARS: usize = 420;

/// A heading covers a question well and answers nothing; what is shorter goes on with what follows.
const SHORTEST_QUOTE_CHARS: usize = 120;

pub(super) struct Checker<'a> {
    pub embedder: &'a Arc<dyn Embedder>,
    /// The vectors of sentences about nothing in particular.
    pub general: Arc<Vec<Vec<f32>>>,
    /// As the model was asked, in `language`.
    pub question: &'a str,
    /// The language of the user's question, which a quotation is introduced in.
    pub asked_in: Language,
    pub language: Language,
    /// The prompt's passages under their numbers.
    pub citations: &'a [Citation],
}

/// An answer as it may be shown.
#[derive(Debug, PartialEq)]
pub(super) enum Checked {
    /// The model's, with a number on every supported sentence.
    Written(String),
    Quotation(String),
}

impl Checker<'_> {
    pub(super) async fn check(&self, answer: &str) -> Result<Checked> {
        let pieces = citations::sentences(answer);
        let mut checked = String::with_capacity(answer.len() + 16);
        let mut supported = 0;
        let mut said: Vec<String> = Vec::new();
        for piece in &pieces {
            let (_, numbers) = citations::resolve(piece, self.numbers());
            if !is_claim(piece) && numbers.is_empty() {
                checked.push_str(piece);
                continue;
            }
            let bare = citations::folded(piece);
            if said.contains(&bare) {
                continue;
            }
            if self.is_heading(&bare) || self.is_echo(piece) {
                checked.push_str(piece);
                continue;
            }
            said.push(bare);
            let best = self.best_support(piece).await?;
            let holding = |best: &Support| -> Vec<u32> {
                let also = |n: &&u32| **n == best.n || best.also.contains(n);
                numbers.iter().filter(also).copied().collect()
            };
            let cited_holds = best.as_ref().is_some_and(|best| !holding(best).is_empty());
            match best {
                Some(best) if numbers.is_empty() => {
                    supported += 1;
                    checked.push_str(&with_reference(piece, best.n));
                }
                Some(best) if cited_holds => {
                    supported += 1;
                    let (kept, _) = citations::resolve(piece, holding(&best));
                    checked.push_str(&kept);
                    checked.push_str(&piece[piece.trim_end().len()..]);
                }
                // The model pointed at the wrong passage while another one says it.
                Some(best) => {
                    supported += 1;
                    checked.push_str(&with_reference(&support::without_references(piece), best.n));
                }
                None if is_of_example(piece) => {}
                // Whoever reads it sees that nothing stands behind it.
                None => {
                    let (bare, _) = citations::resolve(piece, []);
                    checked.push_str(&bare);
                    checked.push_str(&piece[piece.trim_end().len()..]);
                }
            }
        }
        let written = language::of_document(answer);
        let is_foreign = written != Language::Undetermined && written != self.language;
        if !said.is_empty() && supported * 2 >= said.len() && !is_foreign {
            return Ok(Checked::Written(checked.trim().to_owned()));
        }
        Ok(Checked::Quotation(self.quotation(answer)))
    }

    /// Whether a sentence only names a passage: true, and no answer.
    fn is_heading(&self, folded: &str) -> bool {
        self.citations
            .iter()
            .flat_map(|citation| citation.title.split(TITLE_SEPARATOR))
            .any(|heading| citations::folded(heading) == folded)
    }

    /// Whether a sentence only repeats what was asked. To a question for yes or no the same words are
    /// an answer.
    fn is_echo(&self, sentence: &str) -> bool {
        const OPEN: &[&str] = &[
            "how", "what", "which", "who", "where", "when", "why", "kako", "koji", "koja", "koje",
            "koliko", "gdje", "što", "sto", "tko", "kada", "kad", "zašto", "zasto", "čime", "čemu",
        ];
        let lower = self.question.to_lowercase();
        let is_open = lower
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| OPEN.contains(&word));
        let bare = support::without_references(sentence);
        is_open
            && is_claim(sentence)
            && support::wording(&bare, self.question) >= ECHOED_WORDING
            && support::foreign_numbers(&bare, self.question).is_empty()
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.citations.iter().map(|citation| citation.n)
    }

    /// The passage that supports a sentence best, if any does.
    async fn best_support(&self, sentence: &str) -> Result<Option<Support>> {
        let bare = support::without_references(sentence);
        let example = support::wording(&bare, &prompt::example_text());
        let scored: Vec<(u32, f32)> = self
            .citations
            .iter()
            .filter_map(|citation| {
                // A sentence may be spread over two passages of a document.
                let document: String = self
                    .citations
                    .iter()
                    .filter(|other| other.document_id == citation.document_id)
                    .flat_map(|other| [other.title.as_str(), "\n", other.text.as_str(), "\n"])
                    .collect();
                let stands = support::foreign_numbers(&bare, &document).is_empty();
                let own = support::wording(&bare, &citation.text);
                let whole = support::wording(&bare, &document);
                stands.then_some((citation.n, own.max(whole * DOCUMENT_SHARE)))
            })
            .filter(|(_, wording)| *wording > example)
            .collect();
        if scored.is_empty() && example >= SUPPORTED_WORDING {
            return Ok(None);
        }
        if let Some(best) = Support::of(&scored, SUPPORTED_WORDING) {
            return Ok(Some(best));
        }
        let foreign: Vec<(&Citation, Language)> = self
            .citations
            .iter()
            .map(|citation| (citation, language::of_document(&citation.text)))
            .filter(|(_, passage)| *passage != Language::Undetermined && *passage != self.language)
            .filter(|(citation, _)| support::foreign_numbers(&bare, &citation.text).is_empty())
            .collect();
        if foreign.is_empty() {
            return Ok(None);
        }
        let mut texts = vec![bare];
        texts.extend(foreign.iter().map(|(citation, _)| citation.text.clone()));
        let vectors = self.embedder.embed(EmbedKind::Passage, texts).await?;
        let Some((sentence, passages)) = vectors.split_first() else {
            return Ok(None);
        };
        let scored: Vec<(u32, f32)> = foreign
            .iter()
            .zip(passages)
            .map(|((citation, language), passage)| {
                let unrelated: Vec<f32> = retrieve::general_of(&self.general, *language)
                    .iter()
                    .map(|general| dot(&sentence.dense, general))
                    .collect();
                let background = Background::of(&unrelated);
                let cosine = dot(&sentence.dense, &passage.dense);
                (
                    citation.n,
                    (cosine - background.mean) / background.deviation,
                )
            })
            .collect();
        tracing::debug!(?scored, "support across languages");
        Ok(Support::of(&scored, SUPPORTED_Z))
    }

    /// Verbatim from a passage that the answer points to, or else from any: the one that covers the
    /// question best. Where the words say nothing, as across languages, the ranking decides.
    fn quotation(&self, answer: &str) -> String {
        let fitness = |citation: &&Citation| {
            evidence::coverage(self.question, &citation.text) + citation.score
        };
        let best_of = |among: &mut dyn Iterator<Item = &Citation>| -> Option<Citation> {
            among
                .max_by(|a, b| fitness(a).total_cmp(&fitness(b)))
                .cloned()
        };
        let (_, pointed) = citations::resolve(answer, self.numbers());
        let best = best_of(
            &mut self
                .citations
                .iter()
                .filter(|citation| pointed.contains(&citation.n)),
        )
        .or_else(|| best_of(&mut self.citations.iter()));
        match best {
            Some(citation) => {
                let quoted = quote(self.question, &citation.text);
                prompt::quotation(
                    self.asked_in,
                    &citations::without_own_references(without_heading(&quoted, &citation.title)),
                    citation.n,
                )
            }
            None => answer.to_owned(),
        }
    }
}

struct Support {
    n: u32,
    /// Other passages that support the sentence nearly as well.
    also: Vec<u32>,
}

impl Support {
    fn of(scored: &[(u32, f32)], enough: f32) -> Option<Self> {
        let (n, best) = scored.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best >= enough).then(|| Self {
            n,
            also: scored
                .iter()
                .filter(|(_, score)| *score >= enough || *score >= best * 0.9)
                .map(|(n, _)| *n)
                .collect(),
        })
    }
}

/// Whether a sentence repeats the prompt's example, as small models sometimes do.
fn is_of_example(sentence: &str) -> bool {
    let bare = support::without_references(sentence);
    support::wording(&bare, &prompt::example_text()) >= SUPPORTED_WORDING
}

fn is_claim(piece: &str) -> bool {
    support::without_references(piece)
        .chars()
        .filter(|c| c.is_alphanumeric())
        .count()
        >= SHORTEST_CLAIM_CHARS
}

/// The sentence with `[n]` before its final punctuation, its surrounding white space kept.
fn with_reference(sentence: &str, n: u32) -> String {
    let body = sentence.trim_end();
    let tail = &sentence[body.len()..];
    let stem = body.trim_end_matches(['.', '!', '?', '…', ':']);
    let mark = &body[stem.len()..];
    format!("{} [{n}]{mark}{tail}", stem.trim_end())
}

/// A quotation that begins with a heading of its passage reads on without it.
fn without_heading<'a>(quoted: &'a str, title: &str) -> &'a str {
    title
        .split(TITLE_SEPARATOR)
        .filter_map(|heading| quoted.strip_prefix(heading))
        .map(str::trim_start)
        .find(|rest| rest.chars().next().is_some_and(char::is_uppercase))
        .unwrap_or(quoted)
}

/// The stretch of whole sentences of a passage that covers the question best.
fn quote(question: &str, passage: &str) -> String {
    let sentences = citations::sentences(passage);
    let mut best = (0_usize, 0_usize, -1.0_f32);
    for start in 0..sentences.len() {
        let mut length = 0;
        for end in start..sentences.len() {
            length += sentences[end].chars().count();
            if length > QUOTE_CHARS && end > start {
                break;
            }
            let stretch: String = sentences[start..=end].concat();
            // Longer stretches cover more by chance; a small price keeps the quotation short.
            let score = evidence::coverage(question, &stretch) - 0.02 * (end - start) as f32;
            if score > best.2 {
                best = (start, end + 1, score);
            }
        }
    }
    let length = |to: usize| -> usize {
        sentences[best.0..to]
            .iter()
            .map(|sentence| sentence.chars().count())
            .sum()
    };
    while best.1 < sentences.len()
        && length(best.1) < SHORTEST_QUOTE_CHARS
        && length(best.1 + 1) <= QUOTE_CHARS
    {
        best.1 += 1;
    }
    let text: String = sentences
        .get(best.0..best.1)
        .map(<[&str]>::concat)
        .unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(QUOTE_CHARS * 2)
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use docent_domain::{ChunkKey, DocumentId, Span};
    use docent_inference::fake::FakeEmbedder;

    use super::*;

    async fn checked(answer: &str) -> String {
        let embedder: Arc<dyn Embedder> = Arc::new(FakeEmbedder::new());
        let text = "Frequency of backups\n\nLearn how often you should back up your files. Nightly \
                    backups may not be enough on a busy server.";
        let citations = [Citation {
            n: 3,
            used: false,
            document_id: DocumentId::generate(),
            chunk: ChunkKey(1),
            title: "Backups > Frequency of backups".into(),
            path: "/backups.html".into(),
            text: text.into(),
            span: Span { start: 0, end: 10 },
            page: None,
            boxes: Vec::new(),
            place: None,
            score: 1.0,
        }];
        let checker = Checker {
            embedder: &embedder,
            general: Arc::default(),
            question: "How often should I make backups?",
            asked_in: Language::English,
            language: Language::English,
            citations: &citations,
        };
        match checker.check(answer).await.unwrap() {
            Checked::Written(text) | Checked::Quotation(text) => text,
        }
    }

    #[tokio::test]
    async fn what_the_example_says_is_never_shown() {
        let kept = "Nightly backups may not be enough on a busy server [3].";
        let fog = "In fog the keeper rings the bell every two minutes.";
        assert_eq!(checked(&format!("{kept} {fog}")).await, kept);
        let alone = checked(fog).await;
        assert!(!alone.contains("fog") && alone.contains("[3]"), "{alone}");
    }

    #[tokio::test]
    async fn a_heading_is_no_answer() {
        let quoted = checked("Frequency of backups [3].").await;
        assert!(quoted.contains("Nightly backups"), "{quoted}");
        let answer = "Frequency of backups [3]. Nightly backups may not be enough [3].";
        assert_eq!(checked(answer).await, answer);
    }

    #[tokio::test]
    async fn the_question_said_again_is_no_answer() {
        let quoted = checked("How often should I make backups [3].").await;
        assert!(quoted.contains("Nightly backups"), "{quoted}");
    }

    #[test]
    fn a_quotation_does_not_run_a_heading_into_a_sentence() {
        let title = "Users > Change your password";
        let quoted = "Change your password Keep your account secure.";
        assert_eq!(without_heading(quoted, title), "Keep your account secure.");
        let sentence = "Change your password often.";
        assert_eq!(without_heading(sentence, title), sentence);
        assert_eq!(
            without_heading("Change your password", title),
            "Change your password"
        );
    }

    #[test]
    fn references_go_before_the_full_stop() {
        assert_eq!(
            with_reference(" The key is at the desk. ", 2),
            " The key is at the desk [2]. "
        );
        assert_eq!(with_reference("No stop", 1), "No stop [1]");
    }

    #[test]
    fn a_quotation_is_the_part_that_speaks_of_the_question() {
        let passage = "Uredi rade od osam do šesnaest sati. Ključ se dobiva na recepciji uz potpis. \
                       Parkiranje je besplatno.";
        assert_eq!(
            quote("Gdje mogu dobiti ključ?", passage),
            "Ključ se dobiva na recepciji uz potpis. Parkiranje je besplatno."
        );
        let headed = "Change your password\n\nIt is a good idea to change your password from time \
                      to time, especially if you think someone else knows your password.";
        assert!(
            quote("How do I change my password?", headed).ends_with("knows your password."),
            "a heading alone is no answer"
        );
    }
}
