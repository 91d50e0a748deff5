//! Two rates against each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::beta::beta_reg;

use super::clusters::Clusters;
use super::estimate::Difference;
use super::interval::{Effective, wilson};

/// The rate of one set less that of another, independent one, with its 95% interval.
///
/// Newcombe's hybrid score interval, "Interval estimation for the difference between independent proportions" (Statistics in
/// Medicine 1998, method 10), on the [effective](Effective) numbers of probes. Absent ends where a set is empty.
#[must_use]
pub fn excess_rate(first: &Clusters, second: &Clusters) -> Difference {
    let (Some(p), Some(q)) = (first.mean(), second.mean()) else {
        return Difference { difference: None, lower: None, upper: None };
    };
    let interval = |clusters: &Clusters, rate: f64| {
        let worth = Effective::of(clusters, 0.95).n_adjusted;
        wilson(rate * worth, worth, 0.95)
    };
    let ((p_low, p_high), (q_low, q_high)) = (interval(first, p), interval(second, q));
    let difference = p - q;
    Difference {
        difference: Some(difference),
        lower: Some(difference - (p - p_low).hypot(q_high - q)),
        upper: Some(difference + (p_high - p).hypot(q - q_low)),
    }
}

/// Two runs on the same probes: which of them counts where the other doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McNemar {
    /// Probes that are positive in the first run only.
    pub first_only: u64,
    /// Probes that are positive in the second run only.
    pub second_only: u64,
    /// Two-sided exact p-value, which takes probes for independent.
    pub exact: f64,
    /// p-value that lets probes of one cluster depend on each other.
    pub clustered: f64,
}

/// McNemar's test of `(cluster, first, second)`.
///
/// The exact test is binomial on the probes that differ (McNemar, Psychometrika 1947). The clustered one is Obuchowski's, "On
/// the comparison of correlated proportions for clustered data" (Statistics in Medicine 1998): with one probe a
/// document it is McNemar's chi-squared test. Both are 1 where no probe differs.
#[must_use]
pub fn mcnemar<D: std::hash::Hash + Eq>(pairs: impl IntoIterator<Item = (D, bool, bool)>) -> McNemar {
    let (mut first_only, mut second_only) = (0u64, 0u64);
    let differences: Vec<(D, f64)> = pairs
        .into_iter()
        .map(|(cluster, first, second)| {
            first_only += u64::from(first && !second);
            second_only += u64::from(second && !first);
            (cluster, f64::from(u8::from(first)) - f64::from(u8::from(second)))
        })
        .collect();
    let clusters = Clusters::new(differences);
    let squares: f64 = clusters.sums.iter().map(|sum| sum * sum).sum();
    let statistic = if squares > 0.0 { clusters.total().powi(2) / squares } else { 0.0 };
    let clustered = ChiSquared::new(1.0).map_or(f64::NAN, |chi| chi.sf(statistic));
    McNemar { first_only, second_only, exact: two_sided_half(first_only, second_only), clustered }
}

/// Two-sided p-value of a split `a : b` of fair coins.
fn two_sided_half(a: u64, b: u64) -> f64 {
    let (n, k) = ((a + b) as f64, a.min(b) as f64);
    if a == b {
        return 1.0;
    }
    // P(X <= k) for X ~ B(n, 1/2).
    (2.0 * beta_reg(n - k, k + 1.0, 0.5)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discordant_pairs() {
        let pairs = |both: u32, first: u32, second: u32| {
            let n = both + first + second;
            (0..n).map(move |i| (i, i < both + first, i < both || i >= both + first))
        };
        // statsmodels mcnemar([[20, 12], [2, 6]], exact=True): 0.012939453125; chi-squared without correction: 50/7.
        let found = mcnemar(pairs(20, 12, 2));
        assert_eq!((found.first_only, found.second_only), (12, 2));
        assert!((found.exact - 0.012_939_453_125).abs() < 1e-12);
        assert!((found.clustered - 0.007_526_314_6).abs() < 1e-8, "{}", found.clustered);
        let same = mcnemar(pairs(5, 3, 3));
        assert_eq!((same.exact, same.clustered), (1.0, 1.0));
        assert_eq!(mcnemar(pairs(5, 0, 0)).exact, 1.0);
    }

    #[test]
    fn one_document_is_one_observation() {
        let found = mcnemar((0..10).map(|_| ("the same", true, false)));
        assert!(found.exact < 0.01 && found.clustered > 0.3, "{found:?}");
    }

    #[test]
    fn excess_over_a_control() {
        let set = |positives: u32, n: u32| Clusters::new((0..n).map(move |i| (i, f64::from(i < positives))));
        // statsmodels confint_proportions_2indep(56, 70, 48, 80, method="newcomb").
        let found = excess_rate(&set(56, 70), &set(48, 80));
        assert!((found.difference.unwrap() - 0.2).abs() < 1e-12);
        assert!((found.lower.unwrap() - 0.0524).abs() < 1e-4 && (found.upper.unwrap() - 0.3339).abs() < 1e-4);
        assert_eq!(excess_rate(&set(1, 2), &set(0, 0)).difference, None);
    }
}
