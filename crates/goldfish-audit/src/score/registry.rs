//! Every score, and a probe's values of them.

use std::ops::{Index, IndexMut};

use super::definition::{Score, Source};
use super::observation::Observation;
#[cfg(test)]
use super::toy;
use super::{
    edit_similarity, exact_match, extraction, longest_run, loss, match_length, min_k, min_k_plus_plus,
    positional_accuracy, prior, rouge_l, rouge_l_words, type_token_ratio, zlib_ratio,
};

/// Every score, in the order of columns and fields. A score's file and its line here are all that it needs.
pub const SCORES: &[&Score] = &[
    &exact_match::SCORE,
    &match_length::SCORE,
    &positional_accuracy::SCORE,
    &rouge_l::SCORE,
    &rouge_l_words::SCORE,
    &longest_run::SCORE,
    &edit_similarity::SCORE,
    &type_token_ratio::GENERATED,
    &type_token_ratio::TRUTH,
    &loss::SCORE,
    &extraction::SCORE,
    &prior::SCORE,
    &zlib_ratio::SCORE,
    &min_k::SCORE,
    &min_k_plus_plus::SCORE,
    #[cfg(test)]
    &toy::SCORE,
];

/// The score of a name.
#[must_use]
pub fn score(name: &str) -> Option<&'static Score> {
    SCORES.iter().copied().find(|score| score.name == name)
}

/// Columns of all scores.
const WIDTH: usize = {
    let (mut width, mut i) = (0, 0);
    while i < SCORES.len() {
        width += SCORES[i].width();
        i += 1;
    }
    width
};

/// Columns of all scores in order: name, meaning, and whether it may be null.
pub(crate) fn columns() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    SCORES.iter().flat_map(|score| score.columns())
}

/// The position of a column among those of all scores, for code that reads it of many rows.
///
/// # Panics
///
/// If no score has such a column; as a constant that is an error of the build.
#[must_use]
pub const fn position(column: &str) -> usize {
    let (mut position, mut i) = (0, 0);
    while i < SCORES.len() {
        match SCORES[i].source {
            Source::ExactMatch | Source::MatchLength => {}
            Source::Value(_) | Source::Required(_) => {
                if equal(SCORES[i].name, column) {
                    return position;
                }
            }
            Source::Columns(columns, _) => {
                let mut j = 0;
                while j < columns.len() {
                    if equal(columns[j].name, column) {
                        return position + j;
                    }
                    j += 1;
                }
            }
        }
        position += SCORES[i].width();
        i += 1;
    }
    panic!("no score has a column of this name")
}

const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// A probe's values, one a column of all scores: `None` where a value was not computed.
///
/// ```
/// use goldfish_audit::score::ScoreValues;
///
/// let mut values = ScoreValues::default();
/// values["rouge_l"] = Some(0.5);
/// assert_eq!((values["rouge_l"], values["loss"]), (Some(0.5), None));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreValues([Option<f64>; WIDTH]);

impl Default for ScoreValues {
    fn default() -> Self {
        Self([None; WIDTH])
    }
}

impl ScoreValues {
    /// Computes every score; those that serve membership alone if `membership`.
    #[must_use]
    pub fn compute(observation: &Observation<'_>, membership: bool) -> Self {
        let mut values = Self::default();
        let mut rest = values.0.as_mut_slice();
        for score in SCORES {
            let (own, others) = rest.split_at_mut(score.width());
            rest = others;
            if score.is_membership_only() && !membership {
                continue;
            }
            match score.source {
                Source::ExactMatch | Source::MatchLength => {}
                Source::Value(compute) => own[0] = compute(observation),
                Source::Required(compute) => own[0] = Some(compute(observation)),
                Source::Columns(_, compute) => compute(observation, own),
            }
        }
        values
    }

    /// The values in the order of the columns.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [Option<f64>] {
        &mut self.0
    }
}

/// By [`position`].
impl Index<usize> for ScoreValues {
    type Output = Option<f64>;

    fn index(&self, position: usize) -> &Option<f64> {
        &self.0[position]
    }
}

/// By the column's name. Panics if no score has such a column.
impl Index<&str> for ScoreValues {
    type Output = Option<f64>;

    fn index(&self, column: &str) -> &Option<f64> {
        &self.0[position(column)]
    }
}

impl IndexMut<&str> for ScoreValues {
    fn index_mut(&mut self, column: &str) -> &mut Option<f64> {
        &mut self.0[position(column)]
    }
}
