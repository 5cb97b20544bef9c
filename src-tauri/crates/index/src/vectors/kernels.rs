//! The inner loops: scoring one-bit codes against a question, and the dot product.
//!
//! Written as plain loops that the compiler vectorises, compiled a second time for what the
//! machine offers beyond the baseline; no intrinsics. The results of the two compilations of
//! [`dot`] may differ in the last bit.

use super::codes::{Factors, PLANES, Planes};

/// Scores each row of `bits` (rows of `planes.words()` words each): an estimate of the dot
/// product of its vector with the question, less a constant of the question.
pub(crate) fn score_rows(planes: &Planes, bits: &[u64], factors: &[Factors], scores: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vpopcntdq") {
        // SAFETY: the machine has the features that the function is compiled for.
        unsafe { score_rows_avx512(planes, bits, factors, scores) };
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("popcnt") {
        // SAFETY: the machine has the one feature that the function is compiled for.
        unsafe { score_rows_popcnt(planes, bits, factors, scores) };
        return;
    }
    score_rows_anywhere(planes, bits, factors, scores);
}

/// Counts the four planes of a word in one instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512vl,avx512vpopcntdq")]
fn score_rows_avx512(planes: &Planes, bits: &[u64], factors: &[Factors], scores: &mut [f32]) {
    score_rows_anywhere(planes, bits, factors, scores);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn score_rows_popcnt(planes: &Planes, bits: &[u64], factors: &[Factors], scores: &mut [f32]) {
    score_rows_anywhere(planes, bits, factors, scores);
}

#[expect(
    clippy::inline_always,
    reason = "it is compiled again inside each caller, with the caller's features"
)]
#[inline(always)]
fn score_rows_anywhere(planes: &Planes, bits: &[u64], factors: &[Factors], scores: &mut [f32]) {
    let rows = bits.chunks_exact(planes.words());
    for ((row, factors), score) in rows.zip(factors).zip(scores) {
        let mut counts = [0_u64; PLANES];
        for (&code, plane) in row.iter().zip(&planes.bits) {
            for (count, plane) in counts.iter_mut().zip(plane) {
                *count += u64::from((code & plane).count_ones());
            }
        }
        let weighted: u64 = counts
            .iter()
            .enumerate()
            .map(|(plane, count)| count << plane)
            .sum();
        *score = planes.score(weighted as u32, factors);
    }
}

/// The dot product of two vectors of the same length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the machine has both features that the function is compiled for.
        return unsafe { dot_avx2(a, b) };
    }
    dot_anywhere(a, b, |sum, x, y| sum + x * y)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_anywhere(a, b, |sum, x, y| x.mul_add(y, sum))
}

#[inline(always)]
fn dot_anywhere(a: &[f32], b: &[f32], step: impl Fn(f32, f32, f32) -> f32) -> f32 {
    // As many independent sums as fill the vector registers; the order is ours, since a compiler
    // may not reorder float additions.
    const LANES: usize = 32;
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] = step(sums[lane], a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small integers add exactly")]
mod tests {
    use super::*;
    use crate::vectors::codes::{Centre, Code};

    #[test]
    fn every_length_is_summed_whole() {
        for length in [0, 1, 31, 32, 33, 384, 1024] {
            let a: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let b = vec![2.0; length];
            let expected: f32 = a.iter().sum::<f32>() * 2.0;
            assert_eq!(dot(&a, &b), expected, "{length} numbers");
        }
    }

    #[test]
    fn codes_score_the_same_without_the_features() {
        let centre = Centre {
            mean: vec![0.01; 384],
            taken_at: 1,
        };
        let vector =
            |phase: f32| -> Vec<f32> { (0..384).map(|i| (i as f32 * phase).sin()).collect() };
        let planes = Planes::of(&vector(0.3), &centre);
        let codes: Vec<Code> = (1..40)
            .map(|i| Code::of(&vector(i as f32), &centre))
            .collect();
        let bits: Vec<u64> = codes.iter().flat_map(|code| code.bits.clone()).collect();
        let factors: Vec<Factors> = codes.iter().map(|code| code.factors).collect();
        let (mut fast, mut plain) = (vec![0.0; codes.len()], vec![0.0; codes.len()]);
        score_rows(&planes, &bits, &factors, &mut fast);
        score_rows_anywhere(&planes, &bits, &factors, &mut plain);
        assert_eq!(fast, plain);
    }

    #[test]
    fn a_machine_without_the_features_gets_the_same() {
        let a: Vec<f32> = (0..1024).map(|i| (i as f32).sin()).collect();
        let b: Vec<f32> = (0..1024).map(|i| (i as f32).cos()).collect();
        let plain = dot_anywhere(&a, &b, |sum, x, y| sum + x * y);
        assert!((dot(&a, &b) - plain).abs() < 1e-4);
    }
}
