//! One-bit codes: what of every vector is kept in memory, and how a question is scored by it.
//!
//! The embedders' vectors all point the same way (the mean of multilingual-e5-small's unit
//! vectors has a length of 0.90), so the signs of raw values say little. A code is taken from the
//! difference r = x − μ to the mean μ of the workspace's first vectors: the signs of r, and two
//! factors that undo what signs lose (after RaBitQ, Gao and Long 2024):
//!
//!   q·x = (q − μ)·r + x·μ + (q − μ)·μ ≈ Σ (q − μ)ᵢ sign(rᵢ) · |r|² / |r|₁ + x·μ + constant
//!
//! The question is kept at four bits a dimension, as bit planes, so that the sum is four
//! population counts a word. Recall of the ten nearest among the rescored 500:
//!
//! | vectors | raw signs | centred signs | as above |
//! |---|---|---|---|
//! | 7,243 of multilingual-e5-small (English and Croatian passages), 300 of its questions | 0.538 | 0.965 | 1.000 |
//! | 100,000 drawn with the mean and covariance of those, no clusters | – | 0.577 | 0.983 |
//! | the same, rescoring 1,000 | – | 0.714 | 0.996 |
//! | the same with half of the variance in clusters | – | 0.975 | 1.000 |
//!
//! Before the signs are taken, r is turned by a fixed random rotation. It changes nothing for
//! multilingual-e5-small (0.979 for 0.983), whose dimensions vary alike; where a few dimensions
//! hold most of the variance, signs alone lose it (0.88 for 12,000 vectors with variances from
//! 64 to 1; 0.997 with the rotation).
//!
//! Eight bits a dimension find them all among the first 20, at six times the memory and several
//! times the time; rescoring makes that needless.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::kernels;

/// Bits a dimension of the question. Three cost 0.005 of recall, more gain nothing.
pub(crate) const PLANES: usize = 4;
const LEVELS: f32 = ((1 << PLANES) - 1) as f32;

/// Rows scored at a time; their scores stay in the first-level cache.
const BLOCK: usize = 1024;

/// Where the codes' zero is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Centre {
    pub mean: Vec<f32>,
    /// How many vectors the index had when the mean was taken.
    pub taken_at: u64,
}

/// What a code is scaled and shifted by to estimate a dot product.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Factors {
    /// |r|² / |r|₁
    pub scale: f32,
    /// x·μ
    pub shift: f32,
    /// Set bits of the code.
    pub ones: f32,
}

/// The code of one vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Code {
    pub factors: Factors,
    pub bits: Vec<u64>,
}

pub(crate) const fn words(dimensions: usize) -> usize {
    dimensions.div_ceil(64)
}

impl Code {
    pub fn of(vector: &[f32], centre: &Centre) -> Self {
        let mut bits = vec![0_u64; words(vector.len())];
        let (mut squares, mut sum) = (0.0_f32, 0.0_f32);
        for (index, r) in residual(vector, centre).into_iter().enumerate() {
            squares += r * r;
            sum += r.abs();
            if r > 0.0 {
                bits[index / 64] |= 1 << (index % 64);
            }
        }
        Self {
            factors: Factors {
                scale: if sum > 0.0 { squares / sum } else { 0.0 },
                shift: kernels::dot(vector, &centre.mean),
                ones: ones(&bits),
            },
            bits,
        }
    }
}

/// The rotated difference to the centre.
fn residual(vector: &[f32], centre: &Centre) -> Vec<f32> {
    let mut values: Vec<f32> = vector
        .iter()
        .zip(&centre.mean)
        .map(|(x, mean)| x - mean)
        .collect();
    rotate(&mut values);
    values
}

/// A fixed rotation that mixes all dimensions: flips of signs, then Walsh–Hadamard transforms of
/// the first and of the last so many dimensions, which overlap, three times. Part of the codes' format.
fn rotate(values: &mut [f32]) {
    if values.is_empty() {
        return;
    }
    let block = 1 << values.len().ilog2();
    let last = values.len() - block;
    let mut state = 0x243F_6A88_85A3_08D3_u64;
    for _ in 0..3 {
        for value in values.iter_mut() {
            // xorshift64; the top bit decides.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state >> 63 == 1 {
                *value = -*value;
            }
        }
        hadamard(&mut values[..block]);
        if last > 0 {
            hadamard(&mut values[last..]);
        }
    }
}

/// The orthonormal Walsh–Hadamard transform of a power of two of values.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let norm = (values.len() as f32).sqrt().recip();
    for value in values {
        *value *= norm;
    }
}

pub(crate) fn ones(bits: &[u64]) -> f32 {
    bits.iter().map(|word| word.count_ones()).sum::<u32>() as f32
}

/// A question as the scan wants it.
pub(crate) struct Planes {
    /// For each word of a code, the words of the planes, least significant first.
    pub bits: Vec<[u64; PLANES]>,
    /// Of q − μ: the least value, the size of a level, and the sum of all levels' values.
    least: f32,
    step: f32,
    sum: f32,
}

impl Planes {
    pub fn of(question: &[f32], centre: &Centre) -> Self {
        let values = residual(question, centre);
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let step = ((greatest - least) / LEVELS).max(f32::MIN_POSITIVE);
        let mut bits = vec![[0; PLANES]; words(values.len())];
        let mut sum = 0.0;
        for (index, value) in values.iter().enumerate() {
            let level = ((value - least) / step).round().clamp(0.0, LEVELS) as u64;
            sum += least + level as f32 * step;
            for (plane, word) in bits[index / 64].iter_mut().enumerate() {
                *word |= (level >> plane & 1) << (index % 64);
            }
        }
        Self {
            bits,
            least,
            step,
            sum,
        }
    }

    pub fn words(&self) -> usize {
        self.bits.len()
    }

    /// From the sum of the levels at a code's set bits.
    #[expect(clippy::inline_always, reason = "it is part of the inner loop")]
    #[inline(always)]
    pub fn score(&self, weighted: u32, factors: &Factors) -> f32 {
        let positive = self.least * factors.ones + self.step * weighted as f32;
        (2.0 * positive - self.sum) * factors.scale + factors.shift
    }
}

/// The codes of all vectors, without holes: removing one moves the last into its place.
#[derive(Default)]
pub(crate) struct Codes {
    words: usize,
    keys: Vec<u32>,
    slots: HashMap<u32, u32>,
    factors: Vec<Factors>,
    bits: Vec<u64>,
}

impl Codes {
    pub fn new(dimensions: usize) -> Self {
        Self {
            words: words(dimensions),
            ..Self::default()
        }
    }

    pub fn insert(&mut self, key: u32, code: &Code) {
        debug_assert_eq!(code.bits.len(), self.words);
        if let Some(&slot) = self.slots.get(&key) {
            let slot = slot as usize;
            self.factors[slot] = code.factors;
            self.bits[slot * self.words..][..self.words].copy_from_slice(&code.bits);
            return;
        }
        self.slots.insert(key, self.keys.len() as u32);
        self.keys.push(key);
        self.factors.push(code.factors);
        self.bits.extend_from_slice(&code.bits);
    }

    pub fn remove(&mut self, key: u32) {
        let Some(slot) = self.slots.remove(&key) else {
            return;
        };
        let slot = slot as usize;
        self.keys.swap_remove(slot);
        self.factors.swap_remove(slot);
        let last = self.keys.len();
        self.bits.copy_within(
            last * self.words..(last + 1) * self.words,
            slot * self.words,
        );
        self.bits.truncate(last * self.words);
        if let Some(&moved) = self.keys.get(slot) {
            self.slots.insert(moved, slot as u32);
        }
    }

    pub fn resident_bytes(&self) -> usize {
        self.bits.capacity() * size_of::<u64>()
            + self.factors.capacity() * size_of::<Factors>()
            + self.keys.capacity() * size_of::<u32>()
            + self.slots.capacity() * 9
    }

    /// The `depth` keys whose codes score best, in no order.
    pub fn best(&self, planes: &Planes, depth: usize, allowed: Option<&RoaringBitmap>) -> Vec<u32> {
        // A narrow filter is looked up key by key, a wide one is asked about the rows that would
        // enter the best.
        match allowed {
            Some(allowed) if allowed.len() < self.keys.len() as u64 / 8 => {
                self.best_by_key(planes, depth, allowed)
            }
            _ => self
                .best_of_each(planes, &[(depth, allowed)])
                .pop()
                .unwrap_or_default(),
        }
    }

    fn best_by_key(&self, planes: &Planes, depth: usize, allowed: &RoaringBitmap) -> Vec<u32> {
        let mut best = Best::new(depth);
        let mut score = [0.0];
        for key in allowed {
            let Some(&slot) = self.slots.get(&key) else {
                continue;
            };
            let slot = slot as usize;
            kernels::score_rows(
                planes,
                &self.bits[slot * self.words..][..self.words],
                &self.factors[slot..=slot],
                &mut score,
            );
            if score[0] > best.threshold {
                best.push(score[0], key);
            }
        }
        best.into_keys()
    }

    /// [`Self::best`] of each group, by its depth among its own keys; all in one reading of the
    /// codes.
    pub fn best_of_each(
        &self,
        planes: &Planes,
        groups: &[(usize, Option<&RoaringBitmap>)],
    ) -> Vec<Vec<u32>> {
        let mut best: Vec<Best> = groups.iter().map(|(depth, _)| Best::new(*depth)).collect();
        let mut scores = [0.0; BLOCK];
        let blocks = self
            .keys
            .chunks(BLOCK)
            .zip(self.factors.chunks(BLOCK))
            .zip(self.bits.chunks(BLOCK * self.words));
        for ((keys, factors), bits) in blocks {
            kernels::score_rows(planes, bits, factors, &mut scores[..keys.len()]);
            for ((_, allowed), best) in groups.iter().zip(&mut best) {
                for (&key, &score) in keys.iter().zip(&scores) {
                    if score > best.threshold && allowed.is_none_or(|allowed| allowed.contains(key))
                    {
                        best.push(score, key);
                    }
                }
            }
        }
        best.into_iter().map(Best::into_keys).collect()
    }
}

/// The best of a stream: twice as many are gathered as wanted, then the worse half goes.
struct Best {
    depth: usize,
    gathered: Vec<(f32, u32)>,
    threshold: f32,
}

impl Best {
    fn new(depth: usize) -> Self {
        Self {
            depth,
            gathered: Vec::with_capacity(2 * depth),
            threshold: f32::NEG_INFINITY,
        }
    }

    fn push(&mut self, score: f32, key: u32) {
        self.gathered.push((score, key));
        if self.gathered.len() >= 2 * self.depth {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.gathered.len() > self.depth && self.depth > 0 {
            let (_, last, _) = self
                .gathered
                .select_nth_unstable_by(self.depth - 1, |a, b| b.0.total_cmp(&a.0));
            self.threshold = last.0;
        }
        self.gathered.truncate(self.depth);
    }

    fn into_keys(mut self) -> Vec<u32> {
        self.cut();
        self.gathered.into_iter().map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are exact in binary")]
mod tests {
    use super::*;

    fn centre() -> Centre {
        Centre {
            mean: vec![0.5, -0.25, 0.0],
            taken_at: 3,
        }
    }

    /// The code is a format on disk; changing it breaks data.
    #[test]
    fn the_code_of_a_vector_must_not_change() {
        let code = Code::of(&[1.0, -1.0, 0.25], &centre());
        assert_eq!(code.bits, [0b101]);
        assert_eq!(code.factors.shift, 0.75);
        assert_eq!(code.factors.ones, 2.0);
        let mut ramp: Vec<f32> = (0..70).map(|i| i as f32).collect();
        rotate(&mut ramp);
        let signs: Vec<u64> = ramp
            .chunks(64)
            .map(|part| (0..).zip(part).map(|(i, x)| u64::from(*x > 0.0) << i).sum())
            .collect();
        assert_eq!(signs, [13_783_144_502_021_354_344, 30]);
    }

    #[test]
    fn the_rotation_keeps_lengths_and_angles_and_mixes_everything() {
        for dimensions in [1, 2, 3, 100, 384, 1024] {
            let mut a: Vec<f32> = (0..dimensions).map(|i| (i as f32).sin() + 0.1).collect();
            let mut b: Vec<f32> = (0..dimensions).map(|i| (i as f32 * 0.7).cos()).collect();
            let before = [kernels::dot(&a, &a), kernels::dot(&a, &b)];
            rotate(&mut a);
            rotate(&mut b);
            let after = [kernels::dot(&a, &a), kernels::dot(&a, &b)];
            for (before, after) in before.iter().zip(after) {
                assert!(
                    (before - after).abs() < 1e-3 * before.abs().max(1.0),
                    "{dimensions}"
                );
            }
        }
        let mut axis = vec![0.0; 384];
        axis[200] = 1.0;
        rotate(&mut axis);
        let greatest = axis.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!(
            greatest < 0.3,
            "one dimension is spread over all, not {greatest} in one"
        );
    }

    #[test]
    fn the_score_is_the_estimate_it_claims_to_be() {
        let centre = centre();
        let (question, vector) = ([0.9, 0.1, -0.4], [1.0, -1.0, 0.25]);
        let planes = Planes::of(&question, &centre);
        let code = Code::of(&vector, &centre);
        let mut score = [0.0];
        kernels::score_rows(&planes, &code.bits, &[code.factors], &mut score);
        let q = residual(&question, &centre);
        let r = residual(&vector, &centre);
        let signed: f32 = q.iter().zip(&r).map(|(q, r)| q * r.signum()).sum();
        let expected = signed * code.factors.scale + code.factors.shift;
        assert!(
            (score[0] - expected).abs() < 0.05,
            "{} is not {expected} within a level",
            score[0]
        );
    }

    #[test]
    fn removing_leaves_no_hole_and_no_stale_key() {
        let centre = centre();
        let mut codes = Codes::new(3);
        for key in 0..5_u32 {
            let x = key as f32;
            codes.insert(key, &Code::of(&[x, 1.0 - x, 0.1 * x], &centre));
        }
        codes.remove(1);
        codes.remove(4);
        codes.remove(4);
        codes.remove(77);
        let planes = Planes::of(&[1.0, 0.0, 0.0], &centre);
        let mut keys = codes.best(&planes, 10, None);
        keys.sort_unstable();
        assert_eq!(keys, [0, 2, 3]);
        assert_eq!(codes.bits.len(), 3);
        let only = RoaringBitmap::from_iter([1, 3]);
        assert_eq!(codes.best(&planes, 10, Some(&only)), [3]);
        assert!(codes.best(&planes, 0, None).is_empty());
        let others = RoaringBitmap::from_iter([0, 2]);
        let groups = [(10, Some(&only)), (1, Some(&others))];
        let each = codes.best_of_each(&planes, &groups);
        assert_eq!(each, [vec![3], vec![2]], "the best one of the second");
    }
}
