//! Leaks over passages as independent units.

use std::collections::BTreeMap;

use crate::rates::share;
use crate::report::{Excess, Leak};

/// What leaks of each passage, by rule, the masks' own first.
///
/// The tokens of a passage are no independent units, and neither are its copies: they have the same contexts.
#[derive(Default)]
pub(crate) struct Sums {
    passages: BTreeMap<usize, Vec<(u64, u64)>>,
}

/// Passages below which no error is given.
pub(crate) const FEWEST_PASSAGES: u64 = 10;

impl Sums {
    /// Adds what leaks between two copies of a passage.
    pub(crate) fn add(&mut self, passage: usize, leaks: impl Iterator<Item = Leak>) {
        let sums = self.passages.entry(passage).or_default();
        for (rule, leak) in leaks.enumerate() {
            if sums.len() <= rule {
                sums.push((0, 0));
            }
            sums[rule].0 += leak.dropped;
            sums[rule].1 += leak.leaked;
        }
    }

    /// Joins passages: `groups` has the new number of each.
    pub(crate) fn regroup(&mut self, groups: &[usize]) {
        for (passage, sums) in std::mem::take(&mut self.passages) {
            let all = self.passages.entry(groups[passage]).or_insert_with(|| vec![(0, 0); sums.len()]);
            for (all, sum) in all.iter_mut().zip(sums) {
                *all = (all.0 + sum.0, all.1 + sum.1);
            }
        }
    }

    pub(crate) fn passages(&self) -> u64 {
        self.passages.len() as u64
    }

    /// The leaks of so many rules.
    pub(crate) fn leaks(&self, rules: usize) -> Vec<Leak> {
        let leak = |rule: usize| {
            let of_rule = || self.passages.values().filter_map(|sums| sums.get(rule));
            let dropped = of_rule().map(|sum| sum.0).sum();
            let leaked = of_rule().map(|sum| sum.1).sum();
            Leak { dropped, leaked, share: share(leaked, dropped) }
        };
        (0..rules).map(leak).collect()
    }

    /// How much more leaks under the masks as they are than under a rule: a difference of two ratios, with the error of its
    /// linearization over passages (Cochran, Sampling Techniques, section 6.4).
    pub(crate) fn excess(&self, rule: usize) -> Excess {
        let leaks = self.leaks(rule + 1);
        let (own, other) = (leaks[0], leaks[rule]);
        let residual = |(dropped, leaked): (u64, u64), all: Leak| {
            let expected = all.share * dropped as f64;
            if all.dropped == 0 { 0.0 } else { (leaked as f64 - expected) / all.dropped as f64 }
        };
        let squares: f64 = self
            .passages
            .values()
            .map(|sums| residual(sums[0], own) - residual(sums[rule], other))
            .map(|residual| residual * residual)
            .sum();
        let passages = self.passages();
        let corrected = squares * passages as f64 / (passages.max(2) - 1) as f64;
        Excess {
            share: own.share - other.share,
            standard_error: (passages >= FEWEST_PASSAGES).then(|| corrected.sqrt()),
        }
    }
}
