//! Values of probes by cluster.

use std::collections::HashMap;

/// Values of probes, summed by cluster: all that clustered statistics need to know.
///
/// Clusters are in the order of their first probe, so that seeded resampling is the same in every run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clusters {
    pub(super) sums: Vec<f64>,
    pub(super) counts: Vec<f64>,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Clusters {
    /// Groups `(cluster, value)` pairs.
    #[must_use]
    pub fn new<D: std::hash::Hash + Eq>(values: impl IntoIterator<Item = (D, f64)>) -> Self {
        let mut clusters = Self { lowest: f64::INFINITY, highest: f64::NEG_INFINITY, ..Self::default() };
        let mut numbers = HashMap::new();
        for (cluster, value) in values {
            let next = clusters.sums.len();
            let number = *numbers.entry(cluster).or_insert(next);
            if number == next {
                clusters.sums.push(0.0);
                clusters.counts.push(0.0);
            }
            clusters.sums[number] += value;
            clusters.counts[number] += 1.0;
            clusters.lowest = clusters.lowest.min(value);
            clusters.highest = clusters.highest.max(value);
        }
        clusters
    }

    /// Probes that are clusters of their own, so many of them positive.
    #[must_use]
    pub fn single(positives: u64, n: u64) -> Self {
        Self::new((0..n).map(|number| (number, f64::from(u8::from(number < positives)))))
    }

    /// Number of clusters.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.sums.len()
    }

    /// Number of probes.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.counts.iter().sum::<f64>() as u64
    }

    /// Sum of the values.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.sums.iter().sum()
    }

    /// Mean over probes; `None` for no probes.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let n: f64 = self.counts.iter().sum();
        (n > 0.0).then(|| self.total() / n)
    }

    /// Whether every cluster has one probe.
    #[must_use]
    pub fn are_single(&self) -> bool {
        self.counts.iter().all(|n| *n == 1.0)
    }
}
