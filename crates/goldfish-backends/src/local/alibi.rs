//! ALiBi ([Press et al. 2022](https://arxiv.org/abs/2108.12409)): a score falls with the distance of its key, faster in some heads than in others.

use half::bf16;

/// How much the score of a key falls a position, of each head.
#[derive(Debug, Clone, PartialEq)]
pub struct Alibi {
    /// One for each head.
    pub slopes: Vec<f32>,
    /// The factor of the products of positions and slopes, all three rounded to `bf16`; `None` if nothing is rounded.
    pub rounded: Option<f32>,
}

impl Alibi {
    /// The slopes of the paper: powers of `2^(-8 / heads)`, and where the number of heads is no power of 2, those of the power of 2 below, and
    /// every other one of the power of 2 above.
    pub(super) fn of(heads: usize) -> Self {
        let below = 1 << heads.max(1).ilog2();
        let slope = |of: usize, number: usize| (-8.0 * number as f64 / of as f64).exp2() as f32;
        let first = (1..=below).map(|number| slope(below, number));
        let others = (0..heads - below).map(|number| slope(2 * below, 2 * number + 1));
        Self { slopes: first.chain(others).collect(), rounded: None }
    }

    /// Adds what a head gives to the scores of consecutive keys, of which the first is at position `first`, for a query at `position`.
    #[inline(always)]
    pub(super) fn add(&self, head: usize, first: usize, position: usize, scores: &mut [f32]) {
        let slope = self.slopes[head];
        match self.rounded {
            // Weights depend on differences of scores alone.
            None => {
                for (key, score) in (first..).zip(scores.iter_mut()) {
                    *score -= slope * (position - key) as f32;
                }
            }
            Some(factor) => {
                let slope = bf16::from_f32(slope).to_f32();
                for (key, score) in (first..).zip(scores.iter_mut()) {
                    let place = bf16::from_f32(key as f32).to_f32();
                    *score += factor * bf16::from_f32(slope * place).to_f32();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_paper() {
        assert_eq!(Alibi::of(8).slopes, [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
        let twelve = Alibi::of(12).slopes;
        assert_eq!(twelve[..8], Alibi::of(8).slopes);
        let every_other: Vec<f32> = Alibi::of(16).slopes.into_iter().step_by(2).take(4).collect();
        assert_eq!(twelve[8..], every_other);
    }
}
