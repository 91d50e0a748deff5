//! Exact tests of pairs in which a fair coin decided which of the two was treated.
//!
//! If treatment has no effect, the sign of each pair's difference is as random as the coin, whatever the sizes of the differences
//! and however they depend on each other. So the p-values assume nothing about a model or about a distribution
//! (Fisher, "The Design of Experiments", 1935, section 21).

use statrs::function::beta::beta_reg;

/// One-sided exact p-value of the sign test: how likely at least as many positive differences are, if each sign is a coin.
/// Differences of 0 are left out; 1 where nothing is left.
#[must_use]
pub fn sign_test(differences: &[f64]) -> f64 {
    let positive = differences.iter().filter(|difference| **difference > 0.0).count() as f64;
    let negative = differences.iter().filter(|difference| **difference < 0.0).count() as f64;
    // P(X >= k) for X ~ B(n, 1/2).
    if positive == 0.0 { 1.0 } else { beta_reg(positive, negative + 1.0, 0.5) }
}

/// One-sided exact p-value of Wilcoxon's signed-rank test ("Individual comparisons by ranking methods", Biometrics Bulletin
/// 1945): how likely a sum of the ranks of the positive differences at least as large is, if each sign is a coin.
///
/// Ranks are those of the sizes of the differences; equal sizes have their mean rank, and the distribution is the exact one of
/// these ranks. Differences of 0 are left out; 1 where nothing is left. Time is proportional to the cube of the number of
/// differences: 1,000 of them take about a second.
#[must_use]
pub fn signed_rank(differences: &[f64]) -> f64 {
    let mut sizes: Vec<(f64, bool)> = differences
        .iter()
        .filter(|difference| **difference != 0.0)
        .map(|difference| (difference.abs(), *difference > 0.0))
        .collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = Vec::with_capacity(sizes.len());
    let mut reached = 0;
    for tied in sizes.chunk_by(|a, b| a.0 == b.0) {
        // Twice the mean of the ranks, which is a whole number.
        let rank = 2 * ranks.len() + tied.len() + 1;
        reached += rank * tied.iter().filter(|(_, positive)| *positive).count();
        ranks.resize(ranks.len() + tied.len(), rank);
    }
    if ranks.iter().all(|rank| rank % 2 == 0) {
        ranks.iter_mut().for_each(|rank| *rank /= 2);
        reached /= 2;
    }
    upper_tail(&ranks, reached)
}

/// The probability that a sum of values, each taken or left by a fair coin, is at least `reached`.
fn upper_tail(values: &[usize], reached: usize) -> f64 {
    let mut probabilities = vec![0.0; values.iter().sum::<usize>() + 1];
    probabilities[0] = 1.0;
    let mut largest = 0;
    for &value in values {
        largest += value;
        for sum in (value..=largest).rev() {
            probabilities[sum] = (probabilities[sum] + probabilities[sum - value]) / 2.0;
        }
        probabilities[..value].iter_mut().for_each(|probability| *probability /= 2.0);
    }
    probabilities[reached..].iter().sum::<f64>().min(1.0)
}

/// Holm's adjustment of p-values, which bounds the probability of any false discovery among them ("A simple sequentially
/// rejective multiple test procedure", Scandinavian Journal of Statistics 1979).
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (before, index) in order.into_iter().enumerate() {
        highest = highest.max(p_values[index] * (p_values.len() - before) as f64).min(1.0);
        adjusted[index] = highest;
    }
    adjusted
}

/// Exposure in bits of a passage with this loss among `others` that were not trained on: `log2(candidates) - log2(rank)`, where it
/// is itself a candidate and rank 1 is the lowest loss (Carlini et al., "The Secret Sharer", USENIX Security 2019). Of equal
/// losses, its own counts as the highest. `others` is ascending.
#[must_use]
pub fn exposure(loss: f64, others: &[f64]) -> f64 {
    let before = others.partition_point(|other| *other <= loss);
    ((others.len() + 1) as f64).log2() - ((before + 1) as f64).log2()
}

/// The mean exposure in bits if every rank among `candidates` is as likely as every other: about 1.44 for many.
#[must_use]
pub fn chance_exposure(candidates: usize) -> f64 {
    let ranks: f64 = (1..=candidates).map(|rank| (rank as f64).log2()).sum();
    (candidates as f64).log2() - ranks / candidates as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Of the 16 splits of ranks 1 to 4, three have a sum of at least 8 or more: 10, 9, 8 (1 + 3 + 4).
        assert_eq!(signed_rank(&[0.5, -2.0, 3.0, 4.0]), 3.0 / 16.0);
        assert_eq!(signed_rank(&[1.0, 2.0, 3.0, 4.0]), 1.0 / 16.0);
        assert_eq!(signed_rank(&[-1.0, -2.0]), 1.0);
        // Two equal sizes with rank 1.5 each: sums 0, 1.5, 1.5, 3.
        assert_eq!(signed_rank(&[1.0, -1.0, 0.0]), 3.0 / 4.0);
        assert!((sign_test(&[1.0, 1.0, 1.0, -1.0, 0.0]) - 5.0 / 16.0).abs() < 1e-12);
        assert_eq!((signed_rank(&[]), sign_test(&[0.0]), sign_test(&[-1.0])), (1.0, 1.0, 1.0));
    }

    #[test]
    fn small_p_values_keep_their_digits() {
        let all: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert!(signed_rank(&all[..200]) == 0.5f64.powi(200), "one split of 2^200");
        assert!(signed_rank(&all) == 0.5f64.powi(1000));
        assert!((sign_test(&all[..200]) / 0.5f64.powi(200) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn adjusted() {
        assert_eq!(holm(&[0.01, 0.5, 0.02]), [0.03, 0.5, 0.04]);
        assert_eq!(holm(&[0.04, 0.03]), [0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.6]), [1.0, 1.0]);
    }

    #[test]
    fn exposures() {
        let others = [1.0, 2.0, 3.0];
        assert_eq!(exposure(0.5, &others), 2.0);
        assert_eq!(exposure(1.0, &others), 1.0, "of equals it counts as the highest");
        assert_eq!(exposure(9.0, &others), 0.0);
        // Ranks 1 and 2 of 2: 1 and 0 bits.
        assert_eq!(chance_exposure(2), 0.5);
        assert!((chance_exposure(100_000) - std::f64::consts::LOG2_E).abs() < 1e-3);
    }
}
