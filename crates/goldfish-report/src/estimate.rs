//! Estimates with their intervals, as text.

use goldfish_audit::score::{Scale, Score};
use goldfish_audit::stat::{Difference, Mean, Rate};
use serde::Serialize;

use crate::number::{decimal, percent, points, signed};

/// A number with its interval.
#[derive(Debug, Serialize)]
pub(crate) struct Estimate {
    pub(crate) value: String,
    pub(crate) interval: Option<String>,
}

impl Estimate {
    fn new(value: Option<f64>, ends: Option<(f64, f64)>, format: fn(f64) -> String) -> Self {
        Self {
            value: value.map_or("–".into(), format),
            // The value has the unit.
            interval: ends
                .filter(|_| value.is_some())
                .map(|(low, high)| format!("{} to {}", format(low), format(high)).replace(" points", "")),
        }
    }

    pub(crate) fn rate(rate: &Rate) -> Self {
        Self::new((rate.n > 0).then_some(rate.rate), Some((rate.lower, rate.upper)), percent)
    }

    /// The mean of a score.
    pub(crate) fn mean(score: &Score, mean: &Mean) -> Self {
        let format = if score.scale == Scale::Fraction { percent } else { decimal };
        Self::new(mean.mean, mean.lower.zip(mean.upper), format)
    }

    /// A mean of shares.
    pub(crate) fn share(mean: &Mean) -> Self {
        Self::new(mean.mean, mean.lower.zip(mean.upper), percent)
    }

    /// The difference of two shares.
    pub(crate) fn points(difference: &Difference) -> Self {
        Self::new(difference.difference, difference.lower.zip(difference.upper), points)
    }

    /// The difference of two means or rates of a score.
    pub(crate) fn difference(score: &Score, difference: &Difference) -> Self {
        let format = if score.scale == Scale::Fraction { points } else { signed };
        Self::new(difference.difference, difference.lower.zip(difference.upper), format)
    }
}
