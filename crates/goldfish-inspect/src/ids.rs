//! Counts by token id.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::rates::share;
use crate::report::{IdCount, IdList, IdRates};

/// One token in so many is dropped in the paper.
const PAPERS_K: u32 = 4;

/// Counts by token id.
#[derive(Default)]
pub(crate) struct IdCounts {
    /// For each id below [`DENSE`] two numbers: how often it is kept and dropped.
    dense: Vec<u64>,
    /// The same of larger ids, which only a corpus without a vocabulary has.
    sparse: HashMap<u32, [u64; 2]>,
}

/// Ids that are counted in a list: more than any vocabulary has.
const DENSE: usize = 1 << 20;

/// Steps of the histogram of rates.
const STEPS: usize = 20;

/// Ids that are named in a list.
const NAMED: usize = 20;

impl IdCounts {
    pub(crate) fn add(&mut self, ids: &[u32], mask: &[u8]) {
        for (&id, &keep) in ids.iter().zip(mask) {
            let dropped = usize::from(keep == 0);
            match self.dense.get_mut(2 * id as usize + dropped) {
                Some(count) => *count += 1,
                None => self.add_new(id, dropped),
            }
        }
    }

    /// Counts an id that the list does not have.
    #[cold]
    fn add_new(&mut self, id: u32, dropped: usize) {
        if id as usize >= DENSE {
            self.sparse.entry(id).or_default()[dropped] += 1;
            return;
        }
        self.dense.resize(2 * (id as usize + 1).next_power_of_two(), 0);
        self.dense[2 * id as usize + dropped] += 1;
    }

    /// Adds the counts of other tokens.
    pub(crate) fn join(&mut self, other: &Self) {
        self.dense.resize(self.dense.len().max(other.dense.len()), 0);
        self.dense.iter_mut().zip(&other.dense).for_each(|(count, more)| *count += more);
        for (&id, more) in &other.sparse {
            let counts = self.sparse.entry(id).or_default();
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    /// Each id with how often it occurs and how often it is dropped; the most frequent first.
    fn rows(&self) -> Vec<(u32, u64, u64)> {
        let dense = (0..).zip(self.dense.chunks_exact(2)).map(|(id, counts)| (id, counts[0], counts[1]));
        let sparse = self.sparse.iter().map(|(&id, &[kept, dropped])| (id, kept, dropped));
        let all = dense.chain(sparse).map(|(id, kept, dropped)| (id, kept + dropped, dropped));
        let mut rows: Vec<_> = all.filter(|row| row.1 > 0).collect();
        rows.sort_unstable_by_key(|&(id, tokens, _)| (Reverse(tokens), id));
        rows
    }

    /// `k`, or else the paper's, sets how often an id must occur: often enough for one that is never dropped to be no accident.
    pub(crate) fn report(self, k: Option<u32>) -> IdRates {
        // (1 - 1/k)^n falls below 1e-9 at 21 k occurrences.
        let least_tokens = 21 * u64::from(k.unwrap_or(PAPERS_K));
        let rows = self.rows();
        let mut found = IdRates {
            distinct: rows.len() as u64,
            least_tokens,
            always: IdList::default(),
            never: IdList::default(),
            histogram: vec![0; STEPS],
        };
        for (id, tokens, dropped) in rows.into_iter().take_while(|row| row.1 >= least_tokens) {
            let step = (share(dropped, tokens) * STEPS as f64) as usize;
            found.histogram[step.min(STEPS - 1)] += 1;
            let list = match dropped {
                0 => &mut found.never,
                all if all == tokens => &mut found.always,
                _ => continue,
            };
            list.count += 1;
            list.tokens += tokens;
            if list.most_frequent.len() < NAMED {
                list.most_frequent.push(IdCount { id, tokens });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn counts_by_id_are_those_of_a_plain_loop() {
        let mut counts = IdCounts::default();
        // Some in the list, and some too large for it.
        let number = |i: u64| (i * i % 101 % 60) as u32;
        let id = |i: u64| number(i) * if number(i).is_multiple_of(2) { 1000 } else { 50_000_000 };
        let keep = |i: u64| match number(i) {
            0 => 0,
            1 => 1,
            _ => u8::from(!i.is_multiple_of(3)),
        };
        let mut expected: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for start in (0..20_000).step_by(1000) {
            let ids: Vec<u32> = (start..start + 1000).map(id).collect();
            let mask: Vec<u8> = (start..start + 1000).map(keep).collect();
            for (&id, &keep) in ids.iter().zip(&mask) {
                let entry = expected.entry(id).or_default();
                entry.0 += 1;
                entry.1 += u64::from(keep == 0);
            }
            counts.add(&ids, &mask);
        }
        let found = counts.report(Some(4));
        assert_eq!(found.distinct, expected.len() as u64);
        let often = expected.values().filter(|(tokens, _)| *tokens >= found.least_tokens).count() as u64;
        assert_eq!(found.histogram.iter().sum::<u64>(), often);
        assert_eq!(found.always.most_frequent, [IdCount { id: 0, tokens: expected[&0].0 }]);
        assert_eq!(found.never.most_frequent, [IdCount { id: 50_000_000, tokens: expected[&50_000_000].0 }]);
        assert_eq!((found.always.count, found.never.count), (1, 1));
    }
}
