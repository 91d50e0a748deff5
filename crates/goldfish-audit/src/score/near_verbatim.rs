//! How likely is a continuation that differs from the suffix in a few tokens?
//!
//! After "Near-verbatim extraction" (arXiv 2603.24917): a beam search over the tokens that the sampling scheme can draw keeps the
//! likeliest beginnings that can still end within the distance. The probabilities of those that do add up to a lower bound of the probability
//! that one draw is within it: the same bound each time, at the cost of about as many draws as there are beams.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::prior::log_sum_exp;

/// What counts as near-verbatim, and how it is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NearVerbatim {
    /// Tokens that may be inserted, deleted or replaced (Levenshtein distance) between the suffix and a continuation of its length.
    pub distance: u32,
    /// Beginnings that are kept at each position. With more the bound is higher, and the search takes longer.
    pub beams: u32,
}

/// The beams of one suffix.
#[derive(Debug)]
pub struct Beams<'a> {
    suffix: &'a [u32],
    near: NearVerbatim,
    beams: Vec<Beam>,
}

#[derive(Debug, Clone)]
struct Beam {
    ids: Vec<u32>,
    log_prob: f64,
    /// Its distance from each beginning of the suffix.
    distances: Vec<u32>,
}

impl<'a> Beams<'a> {
    /// One beam, without a token.
    #[must_use]
    pub fn new(suffix: &'a [u32], near: NearVerbatim) -> Self {
        let distances = (0..=suffix.len() as u32).collect();
        Self { suffix, near, beams: vec![Beam { ids: Vec::new(), log_prob: 0.0, distances }] }
    }

    /// The tokens of each beam so far; all have as many.
    pub fn beginnings(&self) -> impl Iterator<Item = &[u32]> {
        self.beams.iter().map(|beam| beam.ids.as_slice())
    }

    /// The suffix's token at the next position; `None` at its end.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        self.beams.first().and_then(|beam| self.suffix.get(beam.ids.len())).copied()
    }

    /// Appends tokens. For each beam these are some that can be drawn, each once, with their log-probabilities.
    pub fn advance<C: AsRef<[(u32, f64)]>>(&mut self, candidates: &[C]) {
        let mut longer = Vec::new();
        for (beam, candidates) in self.beams.iter().zip(candidates) {
            for &(id, log_prob) in candidates.as_ref() {
                let distances = self.after(&beam.distances, id);
                if log_prob > f64::NEG_INFINITY && self.can_end(&distances, beam.ids.len() + 1) {
                    let ids = beam.ids.iter().copied().chain([id]).collect();
                    longer.push(Beam { ids, log_prob: beam.log_prob + log_prob, distances });
                }
            }
        }
        longer.sort_by(|a: &Beam, b| b.log_prob.total_cmp(&a.log_prob).then_with(|| a.ids.cmp(&b.ids)));
        longer.truncate(self.near.beams as usize);
        self.beams = longer;
    }

    /// Natural log of the bound, once the beams are as long as the suffix.
    #[must_use]
    pub fn log_p(&self) -> f64 {
        let within = |beam: &&Beam| {
            beam.ids.len() == self.suffix.len()
                && beam.distances.last().is_some_and(|distance| *distance <= self.near.distance)
        };
        let log_probs: Vec<f64> = self.beams.iter().filter(within).map(|beam| beam.log_prob).collect();
        log_sum_exp(&log_probs)
    }

    /// The distances after one more token.
    fn after(&self, before: &[u32], id: u32) -> Vec<u32> {
        let mut row = Vec::with_capacity(before.len());
        row.push(before[0] + 1);
        for (at, expected) in self.suffix.iter().enumerate() {
            let replaced = before[at] + u32::from(*expected != id);
            row.push(replaced.min(before[at + 1] + 1).min(row[at] + 1));
        }
        row
    }

    /// Whether tokens can follow that end within the distance: as many are left of the continuation as make it as long as the suffix.
    fn can_end(&self, distances: &[u32], length: usize) -> bool {
        let least = |(at, distance): (usize, &u32)| distance + at.abs_diff(length) as u32;
        distances.iter().enumerate().map(least).min().is_some_and(|least| least <= self.near.distance)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VOCABULARY: u32 = 4;

    /// A model that looks at the last two tokens.
    fn next(weights: &[u8], ids: &[u32]) -> Vec<(u32, f64)> {
        let last = |back: usize| ids.len().checked_sub(back).map_or(0, |at| ids[at] as usize + 1);
        // One token can always be drawn.
        let at =
            |id: u32| weights[(last(1) * 25 + last(2) * 5 + id as usize) % weights.len()] + u8::from(id == 0);
        // A weight of 0 can't be drawn.
        let sum: f64 = (0..VOCABULARY).map(|id| f64::from(at(id))).sum();
        (0..VOCABULARY)
            .map(|id| (id, (f64::from(at(id)) / sum).ln()))
            .filter(|(_, log_p)| log_p.is_finite())
            .collect()
    }

    fn distance(a: &[u32], b: &[u32]) -> u32 {
        let mut row: Vec<u32> = (0..=b.len() as u32).collect();
        for (i, x) in a.iter().enumerate() {
            let mut next = vec![i as u32 + 1];
            for (j, y) in b.iter().enumerate() {
                next.push((row[j] + u32::from(x != y)).min(row[j + 1] + 1).min(next[j] + 1));
            }
            row = next;
        }
        row[b.len()]
    }

    /// The probability of every continuation within the distance.
    fn enumerated(weights: &[u8], suffix: &[u32], most: u32) -> f64 {
        let mut all: Vec<(Vec<u32>, f64)> = vec![(Vec::new(), 0.0)];
        for _ in 0..suffix.len() {
            let longer = |(ids, log_p): (Vec<u32>, f64)| {
                next(weights, &ids)
                    .into_iter()
                    .map(move |(id, p)| ([ids.as_slice(), &[id]].concat(), log_p + p))
            };
            all = all.into_iter().flat_map(longer).collect();
        }
        let within = all.iter().filter(|(ids, _)| distance(ids, suffix) <= most);
        within.map(|(_, log_p)| log_p.exp()).sum()
    }

    fn searched(weights: &[u8], suffix: &[u32], near: NearVerbatim) -> f64 {
        let mut beams = Beams::new(suffix, near);
        for _ in 0..suffix.len() {
            let candidates: Vec<_> = beams.beginnings().map(|ids| next(weights, ids)).collect();
            beams.advance(&candidates);
        }
        beams.log_p().exp()
    }

    proptest! {
        #[test]
        fn with_all_beams_it_is_the_probability_and_with_some_no_more(
            weights in prop::collection::vec(prop_oneof![Just(0u8), 1..9u8], 125),
            suffix in prop::collection::vec(0..VOCABULARY, 1..6),
            distance in 0..4u32,
        ) {
            let exact = enumerated(&weights, &suffix, distance);
            let all = searched(&weights, &suffix, NearVerbatim { distance, beams: 1 << 12 });
            prop_assert!((all - exact).abs() < 1e-9, "{all} {exact}");
            for beams in [1, 3, 9, 27] {
                let some = searched(&weights, &suffix, NearVerbatim { distance, beams });
                prop_assert!(some <= exact + 1e-9, "{some} {exact}");
            }
            // At distance 0 one beam is enough.
            if distance == 0 {
                let one = searched(&weights, &suffix, NearVerbatim { distance, beams: 1 });
                prop_assert!((one - exact).abs() < 1e-9);
            }
        }
    }
}
