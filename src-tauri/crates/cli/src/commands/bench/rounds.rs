//! Rounds of two measurements in turn, and what is made of them.

use crate::failure::Failure;

/// What was measured and its baseline, round by round.
#[derive(Debug)]
pub struct Paired<T> {
    pub rounds: Vec<(T, T)>,
}

impl<T> Paired<T> {
    /// Runs both `rounds` times. Which one goes first changes from round to round, so that neither
    /// profits when the machine gets faster or slower.
    pub async fn run(
        rounds: usize,
        mut measured: impl AsyncFnMut(usize) -> Result<T, Failure>,
        mut baseline: impl AsyncFnMut(usize) -> Result<T, Failure>,
    ) -> Result<Self, Failure> {
        let mut done = Vec::with_capacity(rounds);
        for round in 0..rounds {
            done.push(if round % 2 == 0 {
                let first = measured(round).await?;
                (first, baseline(round).await?)
            } else {
                let first = baseline(round).await?;
                (measured(round).await?, first)
            });
        }
        Ok(Self { rounds: done })
    }

    pub fn figure(&self, value: impl Fn(&T) -> f64) -> f64 {
        median(self.rounds.iter().map(|(measured, _)| value(measured)))
    }

    pub fn baseline(&self, value: impl Fn(&T) -> f64) -> f64 {
        median(self.rounds.iter().map(|(_, baseline)| value(baseline)))
    }

    /// The median of the rounds' ratios, which is not the ratio of the medians.
    pub fn ratio(&self, value: impl Fn(&T) -> f64) -> f64 {
        let ratios = self.rounds.iter();
        median(ratios.map(|(measured, baseline)| value(measured) / value(baseline)))
    }
}

/// Of an even number of values the mean of the two in the middle; of none, not a number.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let Some(&upper) = values.get(values.len() / 2) else {
        return f64::NAN;
    };
    if values.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(values[values.len() / 2 - 1], upper)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median([3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert!(median([]).is_nan());
    }

    #[tokio::test]
    async fn rounds_alternate_and_ratios_are_taken_within_them() {
        let order = RefCell::new(String::new());
        // Times on a machine that is ten times as slow in the second of three rounds.
        let slowness = [1.0, 10.0, 1.0];
        let paired = Paired::run(
            3,
            async |round| {
                order.borrow_mut().push('m');
                Ok(slowness[round] * 3.0)
            },
            async |round| {
                order.borrow_mut().push('b');
                Ok(slowness[round] * 2.0)
            },
        )
        .await
        .unwrap();
        assert_eq!(order.into_inner(), "mbbmmb");
        assert_eq!(paired.rounds, [(3.0, 2.0), (30.0, 20.0), (3.0, 2.0)]);
        assert!((paired.ratio(|time| *time) - 1.5).abs() < 1e-12);
    }
}
