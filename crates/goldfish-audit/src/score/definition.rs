//! What a score is.

use super::observation::Observation;

/// A score of a probe: one entry of [`SCORES`](super::SCORES), from which tables, summaries, comparisons, gates and reports
/// are derived.
#[derive(Debug)]
pub struct Score {
    /// Name in files.
    pub name: &'static str,
    /// Name in reports and terminal tables.
    pub label: &'static str,
    /// What it measures, as a sentence.
    pub meaning: &'static str,
    /// The values it can take.
    pub scale: Scale,
    /// Whether a higher value means more memorization.
    pub higher_is_worse: bool,
    /// What a summary says of it.
    pub statistics: &'static [Statistic],
    /// Where its value comes from.
    pub source: Source,
}

/// The values that a score can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0 to 1.
    Fraction,
    /// From 0 to the number of tokens in the suffix.
    Tokens,
    /// Any number.
    Unbounded,
}

/// What a summary says of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The rate of probes with value 1.
    Rate,
    /// The mean over probes.
    Mean,
    /// Differences between sets and between runs.
    Difference,
    /// How well it separates audited from control probes.
    Membership,
}

/// Where a score's value comes from.
#[derive(Debug)]
pub enum Source {
    /// The verdict: whether the continuation is the true suffix.
    ExactMatch,
    /// The verdict: tokens before the first divergence.
    MatchLength,
    /// A column that is null where the value can't be computed.
    Value(fn(&Observation<'_>) -> Option<f64>),
    /// A column without nulls.
    Required(fn(&Observation<'_>) -> f64),
    /// Several columns, one of which has the score's name, with a function that fills them.
    Columns(&'static [Column], fn(&Observation<'_>, &mut [Option<f64>])),
}

/// A column of `results.parquet`.
#[derive(Debug)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// What it holds, as a sentence.
    pub meaning: &'static str,
}

impl Score {
    /// Whether a summary has this statistic of the score.
    #[must_use]
    pub fn has(&self, statistic: Statistic) -> bool {
        self.statistics.contains(&statistic)
    }

    /// Whether the score serves nothing but to separate audited from control probes.
    pub(crate) fn is_membership_only(&self) -> bool {
        self.statistics == [Statistic::Membership]
    }

    /// Number of its columns.
    pub(super) const fn width(&self) -> usize {
        match self.source {
            Source::ExactMatch | Source::MatchLength => 0,
            Source::Value(_) | Source::Required(_) => 1,
            Source::Columns(columns, _) => columns.len(),
        }
    }

    /// Names and meanings of its columns, and whether they may be null.
    pub(super) fn columns(&self) -> Vec<(&'static str, &'static str, bool)> {
        match self.source {
            Source::ExactMatch | Source::MatchLength => Vec::new(),
            Source::Value(_) => vec![(self.name, self.meaning, true)],
            Source::Required(_) => vec![(self.name, self.meaning, false)],
            Source::Columns(columns, _) => {
                columns.iter().map(|column| (column.name, column.meaning, true)).collect()
            }
        }
    }
}
