//! Estimates with their intervals.

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
    /// Clusters that they come from.
    pub clusters: u64,
    /// How the interval was made.
    pub method: RateMethod,
}

/// A mean over probes with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The mean; absent where there are no probes.
    pub mean: Option<f64>,
    /// Lower end of the 95% interval; absent where there are fewer than two clusters.
    pub lower: Option<f64>,
    /// Upper end of the 95% interval; absent where there are fewer than two clusters.
    pub upper: Option<f64>,
    /// Probes that have the value.
    pub n: u64,
    /// Clusters that they come from.
    pub clusters: u64,
}

/// A difference of two rates or means with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The first less the second; absent where one of them is.
    pub difference: Option<f64>,
    /// Lower end of the 95% interval; absent where one side has fewer than two clusters.
    pub lower: Option<f64>,
    /// Upper end of the 95% interval; absent where one side has fewer than two clusters.
    pub upper: Option<f64>,
}

/// How the interval of a rate is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum RateMethod {
    /// Wilson's score interval.
    #[default]
    Wilson,
    /// Clopper and Pearson's exact interval, which never covers less than asked for, and mostly more.
    ClopperPearson,
    /// No positives: the one-sided exact bound, about 3 over the number of probes.
    #[cfg_attr(feature = "clap", value(skip))]
    RuleOfThree,
}
