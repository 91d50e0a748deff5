//! The statistics: intervals that know that probes of one document are not independent.

mod bootstrap;
mod compare;
mod interval;
mod plan;
mod roc;

use std::collections::HashMap;

pub use bootstrap::{Bootstrap, Range};
pub use compare::{McNemar, excess_rate, mcnemar};
pub use interval::{Effective, RateMethod, clopper_pearson, rate, rule_of_three, t_quantile, wilson};
pub use plan::{PlanRequest, probes_needed};
pub use roc::auc;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A share of probes with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// `positives / n`; 0 where there are no probes.
    pub rate: f64,
    /// Lower end of the 95% interval.
    pub lower: f64,
    /// Upper end of the 95% interval; for no positives the bound that the rate stays below with 95%
    /// confidence.
    pub upper: f64,
    /// Probes that count.
    pub positives: u64,
    /// Probes.
    pub n: u64,
    /// Documents that they come from.
    pub documents: u64,
    /// How the interval was made.
    pub method: RateMethod,
}

/// A mean over probes with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The mean; absent where there are no probes.
    pub mean: Option<f64>,
    /// Lower end of the 95% interval; absent where there are fewer than two documents.
    pub lower: Option<f64>,
    /// Upper end of the 95% interval; absent where there are fewer than two documents.
    pub upper: Option<f64>,
    /// Probes that have the value.
    pub n: u64,
    /// Documents that they come from.
    pub documents: u64,
}

/// A difference of two rates or means with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The first less the second; absent where one of them is.
    pub difference: Option<f64>,
    /// Lower end of the 95% interval; absent where one side has fewer than two documents.
    pub lower: Option<f64>,
    /// Upper end of the 95% interval; likewise.
    pub upper: Option<f64>,
}

/// Values of probes, summed by document: all that clustered statistics need to know.
///
/// Documents stand in the order in which they first occurred, so that seeded resampling is the same in every run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clusters {
    sums: Vec<f64>,
    counts: Vec<f64>,
    lowest: f64,
    highest: f64,
}

impl Clusters {
    /// Groups `(document, value)` pairs.
    #[must_use]
    pub fn new<D: std::hash::Hash + Eq>(values: impl IntoIterator<Item = (D, f64)>) -> Self {
        let mut clusters = Self { lowest: f64::INFINITY, highest: f64::NEG_INFINITY, ..Self::default() };
        let mut places = HashMap::new();
        for (document, value) in values {
            let next = clusters.sums.len();
            let place = *places.entry(document).or_insert(next);
            if place == next {
                clusters.sums.push(0.0);
                clusters.counts.push(0.0);
            }
            clusters.sums[place] += value;
            clusters.counts[place] += 1.0;
            clusters.lowest = clusters.lowest.min(value);
            clusters.highest = clusters.highest.max(value);
        }
        clusters
    }

    /// Number of documents.
    #[must_use]
    pub fn documents(&self) -> usize {
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

    /// Whether every document has one probe.
    #[must_use]
    pub fn are_single(&self) -> bool {
        self.counts.iter().all(|n| *n == 1.0)
    }
}
