//! Long runs that two texts share.

use std::collections::HashMap;

/// Base of the polynomial hash: odd, so that multiplying by it loses nothing.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// Finds which of some texts share a run of at least so many symbols with anything that is shown later.
///
/// Holds the texts and, of each, a hash of the `seed` symbols at every `stride`-th position, with `stride = ceil(run / 2)`
/// and `seed = run - stride + 1`: any run of `run` symbols contains one of those windows. A hash that occurs
/// again is compared symbol by symbol and extended to both sides, so that the answer is exact.
#[derive(Debug)]
pub struct RunIndex {
    run: usize,
    texts: Vec<Vec<u32>>,
    /// Window hash -> (text, position) of each indexed window.
    windows: HashMap<u64, Vec<(u32, u32)>>,
    /// A bit for each hash that may be in `windows`, by its lowest bits: most symbols end here.
    filter: Vec<u64>,
    found: Vec<bool>,
}

impl RunIndex {
    /// Indexes texts for runs of at least `run` symbols, 1 or more. A text shorter than that shares none.
    #[must_use]
    pub fn new(texts: Vec<Vec<u32>>, run: usize) -> Self {
        let run = run.max(1);
        let stride = run.div_ceil(2);
        let seed = run - stride + 1;
        let mut windows: HashMap<u64, Vec<(u32, u32)>> = HashMap::new();
        for (number, text) in texts.iter().enumerate() {
            let last = text.len().saturating_sub(seed - 1);
            for start in (0..last).step_by(stride) {
                let hash = text[start..start + seed].iter().fold(0, |hash, id| push(hash, *id));
                windows.entry(hash).or_default().push((number as u32, start as u32));
            }
        }
        let bits = (windows.len() * 16).next_power_of_two().max(64);
        let mut filter = vec![0u64; bits / 64];
        for hash in windows.keys() {
            let bit = fold(*hash) as usize % bits;
            filter[bit / 64] |= 1 << (bit % 64);
        }
        let found = vec![false; texts.len()];
        Self { run, texts, windows, filter, found }
    }

    /// Shows a text; those of the indexed ones that share a run with it are marked.
    pub fn show(&mut self, text: &[u32]) {
        let stride = self.run.div_ceil(2);
        let seed = self.run - stride + 1;
        if text.len() < self.run || self.windows.is_empty() {
            return;
        }
        // What the symbol that leaves the window has become worth.
        let leaving = (0..seed).fold(1u64, |power, _| power.wrapping_mul(BASE));
        let bits = self.filter.len() * 64;
        let mut hash = 0u64;
        for (end, id) in text.iter().enumerate() {
            hash = push(hash, *id);
            if end >= seed {
                hash = hash.wrapping_sub(leaving.wrapping_mul(u64::from(text[end - seed]) + 1));
            }
            let bit = fold(hash) as usize % bits;
            if end + 1 >= seed && self.filter[bit / 64] >> (bit % 64) & 1 == 1 {
                self.compare(text, end + 1 - seed, seed, hash);
            }
        }
    }

    fn compare(&mut self, text: &[u32], at: usize, seed: usize, hash: u64) {
        let Some(locations) = self.windows.get(&hash) else { return };
        for (number, start) in locations {
            let (number, start) = (*number as usize, *start as usize);
            let own = &self.texts[number];
            if self.found[number] || own[start..start + seed] != text[at..at + seed] {
                continue;
            }
            let before = own[..start].iter().rev().zip(text[..at].iter().rev());
            let after = own[start + seed..].iter().zip(&text[at + seed..]);
            let same = |(a, b): &(&u32, &u32)| a == b;
            let shared = before.take_while(same).count() + seed + after.take_while(same).count();
            if shared >= self.run {
                self.found[number] = true;
            }
        }
    }

    /// For each indexed text whether it shares a run with anything that was shown.
    #[must_use]
    pub fn found(&self) -> &[bool] {
        &self.found
    }
}

/// Appends a symbol. Symbols count from 1, so that leading zeros change the hash.
fn push(hash: u64, id: u32) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(u64::from(id) + 1)
}

/// Brings the high bits, which depend on every symbol, to the low ones.
fn fold(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(BASE) >> 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::score::longest_run::longest_common_run;

    #[test]
    fn a_run_is_found_at_every_position() {
        let text: Vec<u32> = (0..200).collect();
        for start in 0..100 {
            let mut other = vec![9999; 30];
            other.extend(&text[start..start + 50]);
            other.push(8888);
            let mut index = RunIndex::new(vec![text.clone(), vec![7; 300]], 50);
            index.show(&other);
            assert_eq!(index.found(), [true, false], "{start}");
            let mut index = RunIndex::new(vec![text.clone()], 51);
            index.show(&other);
            assert_eq!(index.found(), [false], "{start}");
        }
    }

    proptest! {
        /// Few symbols, so that runs of every length occur.
        #[test]
        fn as_the_longest_common_run_says(
            texts in prop::collection::vec(prop::collection::vec(0u32..3, 0..60), 1..5),
            shown in prop::collection::vec(prop::collection::vec(0u32..3, 0..60), 1..4),
            run in 1usize..14,
        ) {
            let expected: Vec<bool> = texts
                .iter()
                .map(|text| shown.iter().any(|other| longest_common_run(text, other) >= run))
                .collect();
            let mut index = RunIndex::new(texts, run);
            shown.iter().for_each(|text| index.show(text));
            prop_assert_eq!(index.found(), expected);
        }
    }
}
