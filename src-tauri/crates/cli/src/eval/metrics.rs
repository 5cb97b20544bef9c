//! The figures, from what was found and answered.
//!
//! Any one of the expected passages suffices, so a question has one rank: that of the first right
//! hit. With one relevant result nDCG is the discount of that rank (Järvelin and Kekäläinen 2002,
//! with log2(rank + 1)).

use std::collections::BTreeMap;

use docent_api::dto::Expansion;
use docent_engine::Evidence;
use serde::Serialize;

/// The rank, from 1, of the first right hit.
#[must_use]
pub fn first_right(hits: impl IntoIterator<Item = bool>) -> Option<usize> {
    hits.into_iter()
        .position(|is_right| is_right)
        .map(|index| index + 1)
}

#[must_use]
pub fn is_within(rank: Option<usize>, k: usize) -> bool {
    rank.is_some_and(|rank| rank <= k)
}

#[must_use]
pub fn reciprocal_rank(rank: Option<usize>) -> f64 {
    rank.map_or(0.0, |rank| 1.0 / rank as f64)
}

#[must_use]
pub fn discounted_gain(rank: Option<usize>, k: usize) -> f64 {
    rank.filter(|rank| *rank <= k)
        .map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0).log2())
}

/// The mean, or `None` of nothing.
#[must_use]
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The smallest value that at least this share of the values does not exceed.
#[must_use]
pub fn percentile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

/// A way to retrieve, each measured on the same questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retrieval {
    /// By cosine alone: the baseline.
    Dense,
    /// By meaning and words, as asked.
    Hybrid,
    /// The same with the question widened by the local model.
    Widened,
}

/// What became of one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub id: String,
    pub language: String,
    pub kind: Option<String>,
    pub answerable: bool,
    pub expects_passages: bool,
    pub found: BTreeMap<Retrieval, Found>,
    pub answer: Option<AnswerOutcome>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Of the first right hit, from 1; `null` where none was found. Questions that cannot be
    /// answered, or that expect no passage, have none.
    pub rank: Option<usize>,
    /// From the question's embedding to the hits.
    pub retrieval_ms: f64,
    /// How likely the documents are to answer it, 0 to 1, and the signs that say so.
    pub confidence: f32,
    pub evidence: Evidence,
    pub expansion: Option<Expansion>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerOutcome {
    pub answer: String,
    pub refused: bool,
    pub confidence: f32,
    /// Passages that the answer refers to.
    pub cited: u64,
    /// Of those, the ones that were expected.
    pub cited_rightly: u64,
    /// Whether all that the answer must contain is in it; `null` when nothing must.
    pub contains_all: Option<bool>,
    pub total_ms: u64,
}

/// The figures of a set of questions. `null` is a figure of nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub questions: u64,
    /// Questions that the retrieval figures are about: answerable ones that expect a passage.
    pub ranked: u64,
    /// As an answer would retrieve: widened where that was asked for, else hybrid.
    #[serde(flatten)]
    pub main: RetrievalFigures,
    /// Every way that was measured.
    pub retrieval: BTreeMap<Retrieval, RetrievalFigures>,
    /// Of all citations of ranked questions, the share that was expected.
    pub citation_precision: Option<f64>,
    /// Of the ranked questions, the share whose answer cites an expected passage.
    pub citation_recall: Option<f64>,
    /// Of refusing: right when the question cannot be answered.
    pub refusal_precision: Option<f64>,
    pub refusal_recall: Option<f64>,
    pub refusal_f1: Option<f64>,
    /// Of the answerable questions that say what the answer must contain, the share whose answer
    /// does.
    pub answer_correct: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RetrievalFigures {
    pub recall_at_1: Option<f64>,
    pub recall_at_5: Option<f64>,
    pub recall_at_10: Option<f64>,
    pub mrr: Option<f64>,
    pub ndcg_at_10: Option<f64>,
    pub retrieval_ms_p50: Option<f64>,
    pub retrieval_ms_p95: Option<f64>,
}

fn retrieval_figures(
    way: Retrieval,
    all: &[&Outcome],
    ranked: &[&Outcome],
) -> Option<RetrievalFigures> {
    let found = |outcome: &Outcome| outcome.found.get(&way).cloned();
    let times: Vec<f64> = all
        .iter()
        .filter_map(|outcome| Some(found(outcome)?.retrieval_ms))
        .collect();
    if times.is_empty() {
        return None;
    }
    let over_ranked = |figure: &dyn Fn(Option<usize>) -> f64| {
        mean(
            ranked
                .iter()
                .map(|outcome| figure(found(outcome).and_then(|found| found.rank))),
        )
    };
    let recall = |k| over_ranked(&|rank| share(is_within(rank, k)));
    Some(RetrievalFigures {
        recall_at_1: recall(1),
        recall_at_5: recall(5),
        recall_at_10: recall(10),
        mrr: over_ranked(&reciprocal_rank),
        ndcg_at_10: over_ranked(&|rank| discounted_gain(rank, 10)),
        retrieval_ms_p50: percentile(times.clone(), 0.5),
        retrieval_ms_p95: percentile(times, 0.95),
    })
}

#[must_use]
pub fn figures<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Figures {
    let outcomes: Vec<&Outcome> = outcomes.into_iter().collect();
    let ranked: Vec<&Outcome> = outcomes
        .iter()
        .copied()
        .filter(|outcome| outcome.answerable && outcome.expects_passages)
        .collect();
    let retrieval: BTreeMap<_, _> = [Retrieval::Dense, Retrieval::Hybrid, Retrieval::Widened]
        .into_iter()
        .filter_map(|way| Some((way, retrieval_figures(way, &outcomes, &ranked)?)))
        .collect();
    let answers = || ranked.iter().filter_map(|outcome| outcome.answer.as_ref());
    let cited: u64 = answers().map(|answer| answer.cited).sum();
    let cited_rightly: u64 = answers().map(|answer| answer.cited_rightly).sum();

    let verdicts = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.answerable, outcome.answer.as_ref()?)));
    let mut refusals = Refusals::default();
    for (answerable, answer) in verdicts {
        match (answerable, answer.refused) {
            (false, true) => refusals.right += 1,
            (true, true) => refusals.wrong += 1,
            (false, false) => refusals.missed += 1,
            (true, false) => {}
        }
    }
    Figures {
        questions: outcomes.len() as u64,
        ranked: ranked.len() as u64,
        main: retrieval
            .last_key_value()
            .map(|(_, figures)| figures.clone())
            .unwrap_or_default(),
        retrieval,
        citation_precision: ratio(cited_rightly, cited),
        citation_recall: mean(answers().map(|answer| share(answer.cited_rightly > 0))),
        refusal_precision: refusals.precision(),
        refusal_recall: refusals.recall(),
        refusal_f1: refusals.f1(),
        answer_correct: mean(
            outcomes
                .iter()
                .filter(|outcome| outcome.answerable)
                .filter_map(|outcome| outcome.answer.as_ref()?.contains_all)
                .map(share),
        ),
    }
}

const fn share(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[must_use]
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    right: u64,
    wrong: u64,
    missed: u64,
}

impl Refusals {
    fn precision(self) -> Option<f64> {
        ratio(self.right, self.right + self.wrong)
    }

    fn recall(self) -> Option<f64> {
        ratio(self.right, self.right + self.missed)
    }

    fn f1(self) -> Option<f64> {
        ratio(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: Option<f64>, expected: f64) {
        let actual = actual.expect("there is a figure");
        assert!(
            (actual - expected).abs() < 1e-9,
            "{actual} is not {expected}"
        );
    }

    fn found(rank: Option<usize>) -> Outcome {
        Outcome {
            id: String::new(),
            language: "en".to_owned(),
            kind: None,
            answerable: true,
            expects_passages: true,
            found: [(Retrieval::Dense, None), (Retrieval::Hybrid, rank)]
                .map(|(way, rank)| {
                    let found = Found {
                        rank,
                        retrieval_ms: 1.0,
                        confidence: 0.5,
                        evidence: Evidence::default(),
                        expansion: None,
                    };
                    (way, found)
                })
                .into(),
            answer: None,
        }
    }

    fn answered(answerable: bool, refused: bool, cited: u64, cited_rightly: u64) -> Outcome {
        let answer = AnswerOutcome {
            answer: String::new(),
            refused,
            confidence: 0.5,
            cited,
            cited_rightly,
            contains_all: None,
            total_ms: 0,
        };
        Outcome {
            answerable,
            answer: Some(answer),
            ..found(Some(1))
        }
    }

    #[test]
    fn ranks() {
        assert_eq!(first_right([false, false, true, true]), Some(3));
        assert_eq!(first_right([false]), None);
        assert_eq!(first_right([]), None);
    }

    #[test]
    fn retrieval_by_hand() {
        // Ranks 1, 3, 10, none.
        let outcomes = [found(Some(1)), found(Some(3)), found(Some(10)), found(None)];
        let figures = figures(&outcomes);
        close(figures.main.recall_at_1, 0.25);
        close(figures.main.recall_at_5, 0.5);
        close(figures.main.recall_at_10, 0.75);
        close(figures.main.mrr, (1.0 + 1.0 / 3.0 + 0.1) / 4.0);
        // log2(2) = 1, log2(4) = 2, log2(11) = 3.459431618637297.
        close(
            figures.main.ndcg_at_10,
            (1.0 + 0.5 + 1.0 / 3.459_431_618_637_297) / 4.0,
        );
    }

    #[test]
    fn every_way_is_counted_by_itself() {
        let figures = figures(&[found(Some(1))]);
        close(figures.retrieval[&Retrieval::Dense].recall_at_10, 0.0);
        close(figures.retrieval[&Retrieval::Hybrid].recall_at_10, 1.0);
        assert!(!figures.retrieval.contains_key(&Retrieval::Widened));
    }

    #[test]
    fn what_lies_beyond_ten_counts_for_the_reciprocal_rank_alone() {
        let figures = figures(&[found(Some(20))]);
        close(figures.main.recall_at_10, 0.0);
        close(figures.main.ndcg_at_10, 0.0);
        close(figures.main.mrr, 0.05);
    }

    #[test]
    fn unanswerable_questions_are_not_ranked() {
        let unanswerable = Outcome {
            answerable: false,
            ..found(None)
        };
        let figures = figures(&[found(Some(1)), unanswerable]);
        assert_eq!((figures.questions, figures.ranked), (2, 1));
        close(figures.main.recall_at_1, 1.0);
        assert_eq!(figures.refusal_f1, None, "nothing was answered");
    }

    #[test]
    fn answers_by_hand() {
        let outcomes = [
            answered(true, false, 3, 2),
            answered(true, false, 1, 0),
            answered(true, true, 0, 0),
            answered(false, true, 0, 0),
            answered(false, true, 0, 0),
            answered(false, false, 2, 0),
        ];
        let figures = figures(&outcomes);
        close(figures.citation_precision, 0.5);
        close(figures.citation_recall, 1.0 / 3.0);
        // Right 2, wrong 1, missed 1.
        close(figures.refusal_precision, 2.0 / 3.0);
        close(figures.refusal_recall, 2.0 / 3.0);
        close(figures.refusal_f1, 2.0 / 3.0);
    }

    #[test]
    fn percentiles() {
        let values = vec![5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(percentile(values.clone(), 0.5), Some(3.0));
        assert_eq!(percentile(values.clone(), 0.95), Some(5.0));
        assert_eq!(percentile(values, 0.0), Some(1.0));
        assert_eq!(percentile(Vec::new(), 0.5), None);
    }
}
