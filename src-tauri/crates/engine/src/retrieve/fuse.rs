//! One ranking from two: by meaning and by words.
//!
//! Scores of different kinds cannot be added as they are. A dense score is counted in standard
//! deviations above what an unrelated chunk of the same language scores for the same question, so
//! that the embedder's liking for its question's own language cancels out; a word score is counted
//! against the best one of its language. Their weighted sum, about 0.7 to 0.3, beat reciprocal ranks
//! and every single leg on parallel English and Croatian help pages.

use std::collections::HashMap;

use docent_domain::ChunkKey;
use docent_index::Hit;

/// What an unrelated chunk scores for a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Background {
    pub mean: f32,
    pub deviation: f32,
}

/// What one language's part of a workspace found.
#[derive(Clone, Debug)]
pub struct Group {
    pub dense: Vec<Hit>,
    pub words: Vec<Hit>,
    pub background: Background,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    pub dense: f32,
    pub words: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            dense: 0.7,
            words: 0.3,
        }
    }
}

/// A chunk with its fused score and what that was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    pub key: ChunkKey,
    pub score: f32,
    /// Cosine; the lowest of its list where the chunk was found by words alone.
    pub dense: f32,
    /// Standard deviations above the background.
    pub dense_z: f32,
    /// BM25.
    pub words: f32,
}

/// Standard deviations that count as a full dense score. Unrelated text lies around 0 and a clear
/// match between 3 and 5.
const FULL_DENSE_Z: f32 = 4.0;

/// Share of a learned sparse score in the fused one, where the embedder gives one. From BGE-M3's
/// paper, which weighs short passages 1 : 0.3 (arXiv 2402.03216); not measured here.
const SPARSE_WEIGHT: f32 = 0.3;

impl Background {
    /// Mean and standard deviation of a sample. With fewer than two scores there is no background
    /// to measure against, and cosine itself decides.
    #[must_use]
    pub fn of(scores: &[f32]) -> Self {
        if scores.len() < 2 {
            return Self {
                mean: 0.0,
                deviation: 0.25,
            };
        }
        let count = scores.len() as f32;
        let mean = scores.iter().sum::<f32>() / count;
        let variance = scores
            .iter()
            .map(|score| (score - mean).powi(2))
            .sum::<f32>()
            / count;
        // Embedders spread unrelated text by 0.02 to 0.08; a handful of near-equal chunks would
        // otherwise turn noise into certainty.
        Self {
            mean,
            deviation: variance.sqrt().max(0.02),
        }
    }
}

/// Best first. `dense_of` gives the cosine of chunks that only the words found; `None` for those
/// whose vector is not made yet.
#[must_use]
pub fn fuse(
    groups: &[Group],
    weights: Weights,
    mut dense_of: impl FnMut(&[ChunkKey]) -> Vec<Option<f32>>,
) -> Vec<Scored> {
    let mut fused = Vec::new();
    for group in groups {
        let mut found: HashMap<ChunkKey, (Option<f32>, f32)> = HashMap::new();
        for hit in &group.dense {
            found.entry(hit.key).or_insert((None, 0.0)).0 = Some(hit.score);
        }
        for hit in &group.words {
            found.entry(hit.key).or_insert((None, 0.0)).1 = hit.score;
        }
        let mut unscored: Vec<ChunkKey> = found
            .iter()
            .filter(|(_, (dense, _))| dense.is_none())
            .map(|(key, _)| *key)
            .collect();
        unscored.sort_unstable();
        for (key, score) in unscored.iter().zip(dense_of(&unscored)) {
            if let Some(entry) = found.get_mut(key) {
                entry.0 = score;
            }
        }
        // Against the best of its own language: a question shares few words with texts in another
        // one, and those few are the telling ones.
        let best_words = group
            .words
            .iter()
            .map(|hit| hit.score)
            .fold(f32::MIN_POSITIVE, f32::max);
        let deviation = group.background.deviation.max(1e-6);
        for (key, (dense, words)) in found {
            // Without a vector a chunk counts as unrelated by meaning.
            let dense = dense.unwrap_or(group.background.mean);
            let dense_z = (dense - group.background.mean) / deviation;
            let score =
                weights.dense * (dense_z / FULL_DENSE_Z) + weights.words * (words / best_words);
            fused.push(Scored {
                key,
                score,
                dense,
                dense_z,
                words,
            });
        }
    }
    sort(&mut fused);
    fused
}

/// Joins the rankings of several wordings of one question: a chunk's score is its best one over
/// the wordings plus a tenth of the others, so that agreement breaks ties.
#[must_use]
pub fn join(rankings: &[(f32, Vec<Scored>)]) -> Vec<Scored> {
    let mut joined: HashMap<ChunkKey, (Scored, f32)> = HashMap::new();
    for (weight, ranking) in rankings {
        for scored in ranking {
            let weighted = Scored {
                score: scored.score * weight,
                ..*scored
            };
            joined
                .entry(scored.key)
                .and_modify(|(best, rest)| {
                    if weighted.score > best.score {
                        *rest += best.score.max(0.0);
                        *best = weighted;
                    } else {
                        *rest += weighted.score.max(0.0);
                    }
                })
                .or_insert((weighted, 0.0));
        }
    }
    let mut joined: Vec<Scored> = joined
        .into_values()
        .map(|(best, rest)| Scored {
            score: best.score + 0.1 * rest,
            ..best
        })
        .collect();
    sort(&mut joined);
    joined
}

/// Adds the learned sparse leg: `scores[i]` belongs to `scored[i]`.
pub fn add_sparse(scored: &mut [Scored], scores: &[f32]) {
    let best = scores.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    for (scored, sparse) in scored.iter_mut().zip(scores) {
        scored.score = scored.score * (1.0 - SPARSE_WEIGHT) + SPARSE_WEIGHT * sparse / best;
    }
    sort(scored);
}

fn sort(scored: &mut [Scored]) {
    // Keys break ties, so that equal scores give equal rankings on every run.
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(key: u32, score: f32) -> Hit {
        Hit {
            key: ChunkKey(key),
            score,
        }
    }

    const BACKGROUND: Background = Background {
        mean: 0.7,
        deviation: 0.03,
    };

    #[test]
    fn words_lift_a_chunk_that_meaning_alone_ranks_second() {
        let group = Group {
            dense: vec![hit(1, 0.82), hit(2, 0.81)],
            words: vec![hit(2, 9.0), hit(3, 4.0)],
            background: BACKGROUND,
        };
        let fused = fuse(&[group], Weights::default(), |keys| {
            vec![Some(0.7); keys.len()]
        });
        let order: Vec<u32> = fused.iter().map(|scored| scored.key.0).collect();
        assert_eq!(order, [2, 1, 3]);
    }

    #[test]
    fn a_language_that_scores_higher_as_a_whole_gains_nothing() {
        let near = Group {
            dense: vec![hit(1, 0.80)],
            words: vec![],
            background: Background {
                mean: 0.76,
                deviation: 0.03,
            },
        };
        let far = Group {
            dense: vec![hit(2, 0.79)],
            words: vec![],
            background: Background {
                mean: 0.68,
                deviation: 0.03,
            },
        };
        let fused = fuse(&[near, far], Weights::default(), |keys| {
            vec![Some(0.7); keys.len()]
        });
        assert_eq!(
            fused[0].key,
            ChunkKey(2),
            "it stands out further in its own language"
        );
    }

    #[test]
    fn the_telling_words_of_another_language_count_in_full() {
        let own = Group {
            dense: vec![hit(1, 0.76)],
            words: vec![hit(1, 20.0)],
            background: BACKGROUND,
        };
        let other = Group {
            dense: vec![hit(2, 0.77)],
            words: vec![hit(2, 5.0)],
            background: BACKGROUND,
        };
        let fused = fuse(&[own, other], Weights::default(), |keys| {
            vec![None; keys.len()]
        });
        assert_eq!(fused[0].key, ChunkKey(2));
    }

    #[test]
    fn wordings_that_agree_come_first() {
        let scored = |key, score| Scored {
            key: ChunkKey(key),
            score,
            dense: 0.0,
            dense_z: 0.0,
            words: 0.0,
        };
        let joined = join(&[
            (1.0, vec![scored(1, 0.6), scored(2, 0.5)]),
            (1.0, vec![scored(3, 0.6), scored(1, 0.3)]),
        ]);
        let order: Vec<u32> = joined.iter().map(|scored| scored.key.0).collect();
        assert_eq!(order, [1, 3, 2]);
    }
}
