//! Fits the logistic model that turns evidence into a confidence, and says how well it does.
//!
//! A question is an example of "answerable" when an expected passage stands among the first few
//! that a prompt would hold, and of "not answerable" when the documents do not answer it. Answerable
//! questions whose passage was not found are left out: no evidence could tell them.
//!
//! Both kinds weigh the same in sum, whatever the file's mix of them, so a confidence of one half is
//! where both are equally likely for even odds.

use std::collections::BTreeMap;
use std::fmt::Write;

use docent_engine::{CALIBRATION, Calibration, Evidence, SIGNS as SIGN_COUNT};
use serde::Serialize;

use super::metrics::{Outcome, Retrieval, is_within, ratio};

/// Passages of a prompt.
const PROMPT_PASSAGES: usize = 5;

/// Parts of the cross-validation.
const FOLDS: usize = 5;

/// Ridge on the standardised weights, which keeps a sign that separates a small file by chance from
/// growing without bound.
const RIDGE: f64 = 0.02;

const STEPS: usize = 4000;
const RATE: f64 = 0.5;

const SIGNS: [&str; SIGN_COUNT] = ["dense_z", "coverage", "best_coverage"];

#[derive(Clone, Debug)]
struct Example {
    signs: [f64; SIGNS.len()],
    is_answerable: bool,
    kind: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub answerable: usize,
    pub unanswerable: usize,
    /// Answerable questions whose passage was not among the first five.
    pub left_out: usize,
    /// Area under the curve of each sign alone.
    pub signs: BTreeMap<&'static str, f64>,
    /// Of the calibration in use.
    pub present: Quality,
    /// Of one fitted here, each question judged by a model that has not seen it.
    pub fitted: Quality,
    /// Fitted on all questions.
    pub calibration: Calibration,
}

#[derive(Clone, Debug, Serialize)]
pub struct Quality {
    /// Area under the ROC curve.
    pub auc: f64,
    /// Share of each kind of question that is refused at a confidence under one half.
    pub refused: BTreeMap<String, f64>,
    /// Best F1 of refusing over all thresholds, with its threshold.
    pub best_f1: f64,
    pub best_threshold: f64,
}

/// `None` when the questions are all of one kind.
pub fn calibrate(outcomes: &[Outcome]) -> Option<Report> {
    let mut left_out = 0;
    let mut examples = Vec::new();
    for outcome in outcomes {
        let Some((_, found)) = outcome.found.range(Retrieval::Hybrid..).next_back() else {
            continue;
        };
        if outcome.answerable && !is_within(found.rank, PROMPT_PASSAGES) {
            left_out += 1;
            continue;
        }
        examples.push(Example {
            signs: signs(&found.evidence),
            is_answerable: outcome.answerable,
            kind: outcome.kind.clone().unwrap_or_else(|| "all".to_owned()),
        });
    }
    let answerable = examples.iter().filter(|one| one.is_answerable).count();
    let unanswerable = examples.len() - answerable;
    if answerable < FOLDS || unanswerable < FOLDS {
        return None;
    }
    // Neighbours in the file are alike; every fold gets its share of both kinds.
    examples.sort_by_key(|one| one.is_answerable);
    let present: Vec<f64> = examples
        .iter()
        .map(|one| probability(&CALIBRATION, &one.signs))
        .collect();
    let mut fitted = vec![0.0; examples.len()];
    for fold in 0..FOLDS {
        let others: Vec<&Example> = examples
            .iter()
            .enumerate()
            .filter(|(number, _)| number % FOLDS != fold)
            .map(|(_, one)| one)
            .collect();
        let calibration = fit(&others);
        for number in (fold..examples.len()).step_by(FOLDS) {
            fitted[number] = probability(&calibration, &examples[number].signs);
        }
    }
    let all: Vec<&Example> = examples.iter().collect();
    Some(Report {
        answerable,
        unanswerable,
        left_out,
        signs: SIGNS
            .iter()
            .enumerate()
            .map(|(sign, name)| {
                let scores: Vec<f64> = examples.iter().map(|one| one.signs[sign]).collect();
                (*name, auc(&scores, &examples))
            })
            .collect(),
        present: quality(&present, &examples),
        fitted: quality(&fitted, &examples),
        calibration: fit(&all),
    })
}

fn signs(evidence: &Evidence) -> [f64; SIGNS.len()] {
    evidence.as_array().map(f64::from)
}

fn probability(calibration: &Calibration, signs: &[f64; SIGNS.len()]) -> f64 {
    let logit = signs
        .iter()
        .zip(calibration.weights)
        .fold(f64::from(calibration.intercept), |sum, (sign, weight)| {
            sum + sign * f64::from(weight)
        });
    1.0 / (1.0 + (-logit).exp())
}

/// Gradient descent on the standardised signs.
fn fit(examples: &[&Example]) -> Calibration {
    let count = examples.len() as f64;
    let mut means = [0.0; SIGNS.len()];
    let mut deviations = [0.0; SIGNS.len()];
    for sign in 0..SIGNS.len() {
        let values = || examples.iter().map(|one| one.signs[sign]);
        means[sign] = values().sum::<f64>() / count;
        let variance = values()
            .map(|value| (value - means[sign]).powi(2))
            .sum::<f64>()
            / count;
        deviations[sign] = variance.sqrt().max(1e-6);
    }
    let positives = examples.iter().filter(|one| one.is_answerable).count() as f64;
    let weight_of = |one: &Example| {
        0.5 / if one.is_answerable {
            positives
        } else {
            count - positives
        }
    };
    let mut intercept = 0.0;
    let mut weights = [0.0; SIGNS.len()];
    for _ in 0..STEPS {
        let mut slope = 0.0;
        let mut slopes = [0.0; SIGNS.len()];
        for one in examples {
            let standard: [f64; SIGNS.len()] =
                std::array::from_fn(|sign| (one.signs[sign] - means[sign]) / deviations[sign]);
            let logit = standard
                .iter()
                .zip(weights)
                .fold(intercept, |sum, (value, weight)| sum + value * weight);
            let target = f64::from(u8::from(one.is_answerable));
            let error = weight_of(one) * (1.0 / (1.0 + f64::exp(-logit)) - target);
            slope += error;
            for (slope, value) in slopes.iter_mut().zip(standard) {
                *slope += error * value;
            }
        }
        intercept -= RATE * slope;
        for (weight, slope) in weights.iter_mut().zip(slopes) {
            *weight -= RATE * (slope + RIDGE * *weight);
        }
    }
    let raw: [f64; SIGNS.len()] = std::array::from_fn(|sign| weights[sign] / deviations[sign]);
    let shift: f64 = raw
        .iter()
        .zip(means)
        .map(|(weight, mean)| weight * mean)
        .sum();
    Calibration {
        intercept: (intercept - shift) as f32,
        weights: raw.map(|weight| weight as f32),
    }
}

/// The chance that an answerable question scores above one that is not; ties count half.
fn auc(scores: &[f64], examples: &[Example]) -> f64 {
    let (mut above, mut pairs) = (0.0, 0.0);
    for (good, _) in scores
        .iter()
        .zip(examples)
        .filter(|(_, one)| one.is_answerable)
    {
        for (bad, _) in scores
            .iter()
            .zip(examples)
            .filter(|(_, one)| !one.is_answerable)
        {
            pairs += 1.0;
            if good > bad {
                above += 1.0;
            } else if (good - bad).abs() < f64::EPSILON {
                above += 0.5;
            }
        }
    }
    above / pairs
}

fn quality(scores: &[f64], examples: &[Example]) -> Quality {
    let mut refused: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (score, one) in scores.iter().zip(examples) {
        let (low, all) = refused.entry(one.kind.clone()).or_default();
        *low += u64::from(*score < 0.5);
        *all += 1;
    }
    let f1 = |threshold: f64| {
        let (mut right, mut wrong, mut missed) = (0, 0, 0);
        for (score, one) in scores.iter().zip(examples) {
            match (one.is_answerable, *score < threshold) {
                (false, true) => right += 1,
                (true, true) => wrong += 1,
                (false, false) => missed += 1,
                (true, false) => {}
            }
        }
        ratio(2 * right, 2 * right + wrong + missed).unwrap_or(0.0)
    };
    let (best_threshold, best_f1) = (1..100)
        .map(|percent| f64::from(percent) / 100.0)
        .map(|threshold| (threshold, f1(threshold)))
        .fold(
            (0.5, 0.0),
            |best, next| if next.1 > best.1 { next } else { best },
        );
    Quality {
        auc: auc(scores, examples),
        refused: refused
            .into_iter()
            .map(|(kind, (low, all))| (kind, ratio(low, all).unwrap_or(0.0)))
            .collect(),
        best_f1,
        best_threshold,
    }
}

#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = format!(
        "\nconfidence: {} answerable and {} unanswerable questions, {} answerable ones left out \
         whose passage was not found\n",
        report.answerable, report.unanswerable, report.left_out
    );
    for (name, auc) in &report.signs {
        let _ = writeln!(text, "{name:<20}{auc:>8.3} AUC alone");
    }
    for (name, quality) in [("in use", &report.present), ("fitted", &report.fitted)] {
        let _ = writeln!(
            text,
            "{name:<20}{:>8.3} AUC, best refusal F1 {:.3} under {:.2}",
            quality.auc, quality.best_f1, quality.best_threshold
        );
        for (kind, share) in &quality.refused {
            let _ = writeln!(text, "  refused of {kind:<14}{share:>6.3}");
        }
    }
    let weights: Vec<String> = report
        .calibration
        .weights
        .iter()
        .map(|weight| format!("{weight:.2}"))
        .collect();
    let _ = writeln!(
        text,
        "fitted on all: intercept {:.2}, weights [{}]",
        report.calibration.intercept,
        weights.join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Found;
    use super::*;

    fn outcome(dense_z: f32, answerable: bool) -> Outcome {
        let found = Found {
            rank: answerable.then_some(1),
            retrieval_ms: 1.0,
            confidence: 0.5,
            evidence: Evidence {
                dense_z,
                ..Evidence::default()
            },
            expansion: None,
        };
        Outcome {
            id: String::new(),
            language: "en".to_owned(),
            kind: None,
            answerable,
            expects_passages: answerable,
            found: [(Retrieval::Hybrid, found)].into(),
            answer: None,
        }
    }

    #[test]
    fn a_sign_that_tells_is_found_and_one_that_does_not_is_not() {
        let telling: Vec<Outcome> = (0..40)
            .map(|n| outcome(2.0 + (n % 7) as f32 / 7.0 + (n % 2) as f32, n % 2 == 1))
            .collect();
        let report = calibrate(&telling).expect("there are examples of both");
        assert!(report.fitted.auc > 0.9, "{report:?}");
        assert!(report.calibration.weights[0] > 0.5, "{report:?}");
        assert!(
            report.calibration.weights[2].abs() < 1e-3,
            "what never varies has no weight: {report:?}"
        );
        let silent: Vec<Outcome> = (0..40)
            .map(|n| outcome(2.0 + (n / 2 % 7) as f32, n % 2 == 1))
            .collect();
        let report = calibrate(&silent).expect("there are examples of both");
        assert!(report.fitted.auc < 0.6, "{report:?}");
        assert!((report.signs["dense_z"] - 0.5).abs() < 1e-9);
    }

    #[test]
    fn one_kind_alone_cannot_be_fitted() {
        let outcomes: Vec<Outcome> = (0..20).map(|_| outcome(1.0, true)).collect();
        assert!(calibrate(&outcomes).is_none());
    }
}
