//! The bootstrap over clusters.

use rand_mt::Mt64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clusters::Clusters;
use super::estimate::{Difference, Mean};
use super::interval::{normal_cdf, normal_quantile, rule_of_three, t_quantile};

/// Values that a score can take, for the intervals of scores that are the same in every probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest possible value.
    pub lowest: f64,
    /// Largest possible value.
    pub highest: f64,
}

impl Range {
    /// From 0 to 1.
    pub const UNIT: Self = Self { lowest: 0.0, highest: 1.0 };

    /// From 0 to a length.
    #[must_use]
    pub fn up_to(length: u32) -> Self {
        Self { lowest: 0.0, highest: f64::from(length) }
    }

    /// What differences of two values of this range can be.
    #[must_use]
    pub fn differences(self) -> Self {
        let width = self.highest - self.lowest;
        Self { lowest: -width, highest: width }
    }
}

/// Resamples clusters with replacement, seeded.
///
/// Intervals are bias-corrected and accelerated (Efron, "Better Bootstrap Confidence Intervals", JASA 1987), with the
/// tails widened as Student's t widens the normal (Hesterberg, "What Teachers Should Know About the Bootstrap",
/// The American Statistician 2015), because a resample of few clusters varies too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Seed of the resampling; the same seed gives the same interval.
    pub seed: u64,
    /// Number of resamples.
    pub resamples: usize,
}

impl Bootstrap {
    /// 2,000 resamples.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, resamples: 2000 }
    }

    /// Mean over probes with its 95% interval.
    ///
    /// Where every probe has the same value, resampling sees no spread. With a `range` the interval then
    /// reaches as far as a share of other values could hide: the [rule of three](rule_of_three) over clusters.
    #[must_use]
    pub fn mean(&self, clusters: &Clusters, range: Option<Range>) -> Mean {
        let mean = clusters.mean();
        let interval = self.interval(clusters, range);
        Mean {
            mean,
            lower: interval.map(|(lower, _)| lower),
            upper: interval.map(|(_, upper)| upper),
            n: clusters.n(),
            clusters: clusters.clusters() as u64,
        }
    }

    fn interval(&self, clusters: &Clusters, range: Option<Range>) -> Option<(f64, f64)> {
        let (mean, m) = (clusters.mean()?, clusters.clusters());
        if m < 2 {
            return None;
        }
        if clusters.lowest == clusters.highest {
            let hidden = rule_of_three(m as f64, 0.95);
            return Some(range.map_or((mean, mean), |range| {
                (mean - hidden * (mean - range.lowest), mean + hidden * (range.highest - mean))
            }));
        }
        let mut means = self.resampled_means(clusters, self.seed);
        means.sort_by(f64::total_cmp);
        Some(accelerated(&means, mean, acceleration(&[clusters]), m))
    }

    /// The mean of one set less that of another, independent one, with its 95% interval.
    ///
    /// Where every probe of a set has the set's one value, resampling sees no spread. With the `range` of the values the interval
    /// is then put together from those of the two means (Zou and Donner, "Construction of confidence limits about effect
    /// measures", Statistics in Medicine 2008).
    #[must_use]
    pub fn difference(&self, first: &Clusters, second: &Clusters, range: Option<Range>) -> Difference {
        let difference = first.mean().zip(second.mean()).map(|(a, b)| a - b);
        let smaller = first.clusters().min(second.clusters());
        let Some(center) = difference.filter(|_| smaller >= 2) else {
            return Difference { difference, lower: None, upper: None };
        };
        let constant = |clusters: &Clusters| clusters.lowest == clusters.highest;
        if constant(first)
            && constant(second)
            && let Some((a, b)) = self.interval(first, range).zip(self.interval(second, range))
        {
            let (x, y) = (first.mean().unwrap_or(0.0), second.mean().unwrap_or(0.0));
            let (lower, upper) = (center - (x - a.0).hypot(b.1 - y), center + (a.1 - x).hypot(y - b.0));
            return Difference { difference, lower: Some(lower), upper: Some(upper) };
        }
        // Another stream of numbers, so that two sets of one size are not resampled in step.
        let other = self.resampled_means(second, self.seed ^ 0x9E37_79B9_7F4A_7C15);
        let pairs = self.resampled_means(first, self.seed).into_iter().zip(other);
        let mut differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        differences.sort_by(f64::total_cmp);
        let (lower, upper) = accelerated(&differences, center, acceleration(&[first, second]), smaller);
        Difference { difference, lower: Some(lower), upper: Some(upper) }
    }

    /// Mean of the paired differences of two runs on the same probes: give it `Clusters` of the differences, and the range that
    /// a difference can have, if it has one.
    #[must_use]
    pub fn paired(&self, differences: &Clusters, range: Option<Range>) -> Difference {
        let Mean { mean, lower, upper, .. } = self.mean(differences, range);
        Difference { difference: mean, lower, upper }
    }

    fn resampled_means(&self, clusters: &Clusters, seed: u64) -> Vec<f64> {
        let mut random = Mt64::new(seed);
        let m = clusters.clusters();
        let resample = |_| {
            let (mut sum, mut count) = (0.0, 0.0);
            for _ in 0..m {
                let i = below(&mut random, m);
                sum += clusters.sums[i];
                count += clusters.counts[i];
            }
            sum / count
        };
        (0..self.resamples).map(resample).collect()
    }
}

/// A number below `n`, each as likely up to 2^-64 of its chance.
pub(super) fn below(random: &mut Mt64, n: usize) -> usize {
    ((u128::from(random.next_u64()) * n as u128) >> 64) as usize
}

/// The acceleration constant from the influence of each cluster on the mean, or on a difference of two.
fn acceleration(sets: &[&Clusters]) -> f64 {
    let (mut squares, mut cubes) = (0.0, 0.0);
    for (sign, set) in [1.0, -1.0].iter().zip(sets) {
        let n: f64 = set.counts.iter().sum();
        let mean = set.total() / n;
        for (sum, count) in set.sums.iter().zip(&set.counts) {
            let influence = sign * (sum - mean * count) / n;
            squares += influence.powi(2);
            cubes += influence.powi(3);
        }
    }
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

/// The 95% interval from sorted resampled values.
fn accelerated(sorted: &[f64], center: f64, acceleration: f64, clusters: usize) -> (f64, f64) {
    let resamples = sorted.len() as f64;
    let below = sorted.partition_point(|value| *value < center) as f64;
    let equal = sorted.partition_point(|value| *value <= center) as f64 - below;
    let share = ((below + equal / 2.0) / resamples).clamp(0.5 / resamples, 1.0 - 0.5 / resamples);
    let bias = normal_quantile(share);
    let m = clusters as f64;
    let wide = t_quantile(0.975, m - 1.0) * (m / (m - 1.0)).sqrt();
    let end = |z: f64| {
        let shifted = bias + z;
        let level = normal_cdf(bias + shifted / (1.0 - acceleration * shifted).max(1e-3));
        quantile(sorted, level)
    };
    (end(-wide), end(wide))
}

/// Linear between the order statistics.
fn quantile(sorted: &[f64], level: f64) -> f64 {
    let position = level.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (position - position.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: u32) -> Clusters {
        Clusters::new((0..n).map(|i| (i, f64::from(i * 7 % 10))))
    }

    #[test]
    fn near_the_t_interval_for_plain_values() {
        let clusters = values(200);
        let found = Bootstrap::new(1).mean(&clusters, None);
        // Mean 4.5, standard deviation 2.8795, t 1.972: 4.5 -+ 0.4015.
        assert_eq!(found.mean, Some(4.5));
        let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
        assert!((lower - 4.0985).abs() < 0.05 && (upper - 4.9015).abs() < 0.05, "{lower} {upper}");
    }

    #[test]
    fn seeded() {
        let a = Bootstrap::new(7).mean(&values(30), None);
        assert_eq!(a, Bootstrap::new(7).mean(&values(30), None));
        assert_ne!(a, Bootstrap::new(8).mean(&values(30), None));
    }

    #[test]
    fn few_documents() {
        let none = Bootstrap::new(0).mean(&values(0), None);
        assert_eq!((none.mean, none.lower, none.n), (None, None, 0));
        let one = Bootstrap::new(0).mean(&Clusters::new([(1, 3.0), (1, 4.0)]), None);
        assert_eq!((one.mean, one.lower, one.upper, one.clusters), (Some(3.5), None, None, 1));
    }

    #[test]
    fn constant_scores_keep_a_bound() {
        let zeros = Clusters::new((0..300).map(|i| (i, 0.0)));
        let found = Bootstrap::new(0).mean(&zeros, Some(Range::UNIT));
        assert_eq!((found.mean, found.lower), (Some(0.0), Some(0.0)));
        assert_eq!(found.upper, Some(rule_of_three(300.0, 0.95)));
        assert_eq!(Bootstrap::new(0).mean(&zeros, None).upper, Some(0.0));
    }

    #[test]
    fn differences_of_independent_sets() {
        let shifted = Clusters::new((0..200).map(|i| (i, f64::from(i * 7 % 10) + 1.0)));
        let found = Bootstrap::new(3).difference(&shifted, &values(200), None);
        assert_eq!(found.difference, Some(1.0));
        // Twice the variance of one mean: 1 -+ 0.568.
        assert!((found.lower.unwrap() - 0.432).abs() < 0.06 && (found.upper.unwrap() - 1.568).abs() < 0.06);
        let alone = Bootstrap::new(3).difference(&shifted, &values(1), None);
        assert_eq!((alone.difference, alone.lower), (Some(5.5), None));
    }
}
