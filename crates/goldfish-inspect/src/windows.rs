//! Windows that a rule can't distinguish.

use std::cmp::Reverse;

use goldfish_mask::diagnostics::WindowKeys;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rates::share;
use crate::report::{Windows, WorstKey};
use crate::sample::KeySample;

/// Different windows that are kept, of some 100 bytes each.
const MOST_WINDOWS: usize = 1 << 19;

/// Keys that are named.
const WORST: usize = 10;

/// Chance that a fair hash shows a degenerate key at all.
const CHANCE: f64 = 1e-9;

/// Seed of the hashes that distinguish windows: none that a rule would use.
const SEED: u64 = 0x676F_6C64_6669_7368;

/// Ids that an example shows at most.
const SHOWN: usize = 16;

/// A window of a document that the rule decided by.
pub(crate) struct Window {
    hash: u64,
    key: u64,
    position: usize,
}

/// The windows of a document whose hash is at most `limit`. `decided` is 0 where the rule decided.
pub(crate) fn windows(keys: &WindowKeys<'_>, ids: &[u32], decided: &[u8], limit: u64) -> Vec<Window> {
    let window = |position: usize| {
        let window = keys.window(ids, position)?;
        let hash = xxh3_64_with_seed(bytemuck::cast_slice(window), SEED);
        (hash <= limit).then(|| Window { hash, key: keys.key(window), position })
    };
    (0..ids.len()).filter(|&position| decided[position] == 0).filter_map(window).collect()
}

/// What is noted of a window.
#[derive(Clone, Copy)]
struct Seen {
    key: u64,
    positions: u64,
    /// At the first position.
    dropped: bool,
    /// The first ids; zeros after a shorter window.
    example: [u32; SHOWN],
}

/// A sample of the windows.
pub(crate) struct WindowSample<'a> {
    keys: &'a WindowKeys<'a>,
    seen: KeySample<Seen>,
}

impl<'a> WindowSample<'a> {
    pub(crate) fn new(keys: &'a WindowKeys<'a>) -> Self {
        Self { keys, seen: KeySample::new(MOST_WINDOWS, |all, seen| all.positions += seen.positions) }
    }

    /// Windows whose hash is above this are outside of the sample.
    pub(crate) fn limit(&self) -> u64 {
        self.seen.limit()
    }

    /// Adds the windows of the next document.
    pub(crate) fn add(&mut self, windows: &[Window], ids: &[u32], mask: &[u8]) {
        for &Window { hash, key, position } in windows {
            self.seen.note(hash, || {
                let mut example = [0; SHOWN];
                let window = self.keys.window(ids, position).unwrap_or_default();
                example.iter_mut().zip(window).for_each(|(shown, &id)| *shown = id);
                Seen { key, positions: 1, dropped: mask[position] == 0, example }
            });
        }
    }

    pub(crate) fn report(self) -> Windows {
        let (seen, complete) = self.seen.into_sorted();
        let mut keys: Vec<(u64, usize)> =
            seen.iter().enumerate().map(|(index, (_, seen))| (seen.key, index)).collect();
        keys.par_sort_unstable();
        let distinct = seen.len() as u64;
        let threshold = threshold(distinct as f64, self.keys.space() as f64);
        let (mut distinct_keys, mut degenerate) = (0, Vec::new());
        for windows in keys.chunk_by(|a, b| a.0 == b.0) {
            distinct_keys += 1;
            if windows.len() as u64 >= threshold {
                let positions: u64 = windows.iter().map(|&(_, index)| seen[index].1.positions).sum();
                degenerate.push((windows.len() as u64, positions, windows[0]));
            }
        }
        degenerate
            .sort_unstable_by_key(|&(windows, positions, (key, _))| (Reverse((windows, positions)), key));
        let positions: u64 = seen.iter().map(|(_, seen)| seen.positions).sum();
        let degenerate_positions: u64 = degenerate.iter().map(|(_, positions, _)| positions).sum();
        let shown = self.keys.context().min(SHOWN);
        let worst = degenerate.iter().take(WORST).map(|&(windows, positions, (key, index))| {
            let Seen { dropped, example, .. } = seen[index].1;
            WorstKey { key, windows, positions, dropped, example: example[..shown].to_vec() }
        });
        Windows {
            distinct,
            positions,
            complete,
            distinct_keys,
            key_space: self.keys.space(),
            threshold,
            degenerate_keys: degenerate.len() as u64,
            degenerate_positions,
            degenerate_share: share(degenerate_positions, positions),
            worst: worst.collect(),
        }
    }
}

/// The least number of windows that a fair hash gives any key with a chance below [`CHANCE`]: the windows of a key
/// follow a Poisson law, and there are as many keys as windows at most.
fn threshold(windows: f64, space: f64) -> u64 {
    let mean = windows / space;
    let keys = windows.min(space).max(1.0);
    let (mut count, mut probability) = (0.0, (-mean).exp());
    loop {
        // Beyond the mean the tail is at most the next term over (1 - mean/(count + 1)).
        if count > mean && count >= 2.0 && probability / (1.0 - mean / (count + 1.0)) * keys < CHANCE {
            return count as u64;
        }
        count += 1.0;
        probability *= mean / count;
    }
}

#[cfg(test)]
mod tests {
    use goldfish_mask::rules::{Hash, HashTable};
    use goldfish_mask::{RuleParameters, RuleSpec};

    use super::*;

    fn report(parameters: RuleParameters, ids: &[u32]) -> Windows {
        let spec = RuleSpec::new(parameters);
        let keys = spec.window_keys().unwrap();
        let mut sample = WindowSample::new(&keys);
        sample.add(&windows(&keys, ids, &vec![0; ids.len()], sample.limit()), ids, &vec![1; ids.len()]);
        sample.report()
    }

    fn text() -> Vec<u32> {
        // Even ids are frequent, as in a real vocabulary half of them are: powers of two pile up.
        (0..60_000u64).map(|i| (xxh3_64_with_seed(&i.to_le_bytes(), 5) % 50_000) as u32).collect()
    }

    #[test]
    fn a_fair_hash_has_no_degenerate_keys() {
        let hash = RuleParameters::from(Hash::new(4));
        let found = report(hash, &text());
        assert_eq!((found.distinct, found.degenerate_keys, found.threshold), (60_000 - 13, 0, 2));
        assert!(found.complete);
    }

    #[test]
    fn products_of_wide_windows_collapse() {
        let table = |context| RuleParameters::from(HashTable::new(4).context(context));
        assert_eq!(report(table(4), &text()).degenerate_share, 0.0);
        let wide = report(table(70), &text());
        assert_eq!(wide.worst[0].key, 0);
        assert!(wide.degenerate_share > 0.5, "{}", wide.degenerate_share);
    }

    #[test]
    fn the_threshold_is_rarely_passed_by_chance() {
        assert_eq!(threshold(1e6, 1.8e19), 2);
        let crowded = threshold(1e6, 1e6);
        assert!((14..20).contains(&crowded), "{crowded}");
        assert!(threshold(1e6, 1e4) > 150);
    }
}
