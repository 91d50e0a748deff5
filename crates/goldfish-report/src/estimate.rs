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
    /// What it says, if it is a difference with an interval.
    pub(crate) reading: Option<Reading>,
}

/// What a difference says: in words, after a sign of its own, so that no reader has to tell colors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Reading {
    class: &'static str,
    sign: &'static str,
    text: &'static str,
}

impl Reading {
    pub(crate) const MORE: Self = Self { class: "up", sign: "▲", text: "recites more" };
    pub(crate) const LESS: Self = Self { class: "down", sign: "▼", text: "recites less" };
    pub(crate) const UNCLEAR: Self = Self { class: "unclear", sign: "●", text: "may be chance" };

    /// Of an interval. `more` is whether values above 0 mean more recitation.
    fn of((lower, upper): (f64, f64), more: bool) -> Self {
        match (lower > 0.0, upper < 0.0) {
            (true, _) if more => Self::MORE,
            (_, true) if !more => Self::MORE,
            (true, _) | (_, true) => Self::LESS,
            _ => Self::UNCLEAR,
        }
    }
}

impl Estimate {
    fn new(value: Option<f64>, ends: Option<(f64, f64)>, format: fn(f64) -> String) -> Self {
        Self {
            value: value.map_or("–".into(), format),
            // The value has the unit.
            interval: ends
                .filter(|_| value.is_some())
                .map(|(low, high)| format!("{} to {}", format(low), format(high)).replace(" points", "")),
            reading: None,
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
        let ends = difference.lower.zip(difference.upper);
        let copied = |reading| match reading {
            Reading::MORE => Reading { text: "more in the corpus", ..reading },
            Reading::LESS => Reading { text: "less in the corpus", ..reading },
            _ => reading,
        };
        let reading = ends.map(|ends| copied(Reading::of(ends, true)));
        Self { reading, ..Self::new(difference.difference, ends, points) }
    }

    /// The difference of two means or rates of a score.
    pub(crate) fn difference(score: &Score, difference: &Difference) -> Self {
        let format = if score.scale == Scale::Fraction { points } else { signed };
        let ends = difference.lower.zip(difference.upper);
        let reading = ends.map(|ends| Reading::of(ends, score.higher_is_worse));
        Self { reading, ..Self::new(difference.difference, ends, format) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_by_its_interval_and_the_direction_of_its_score() {
        assert_eq!(Reading::of((0.1, 0.2), true), Reading::MORE);
        assert_eq!(Reading::of((-0.2, -0.1), true), Reading::LESS);
        // A loss: less of it is more recitation.
        assert_eq!(Reading::of((0.1, 0.2), false), Reading::LESS);
        assert_eq!(Reading::of((-0.2, -0.1), false), Reading::MORE);
        assert_eq!([true, false].map(|more| Reading::of((-0.1, 0.2), more)), [Reading::UNCLEAR; 2]);
        assert_eq!(Reading::of((0.0, 0.2), true), Reading::UNCLEAR);
    }
}
