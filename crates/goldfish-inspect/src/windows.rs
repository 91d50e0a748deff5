//! Windows that a rule can't distinguish.

use std::collections::HashMap;

use goldfish_mask::diagnostics::WindowKeys;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::report::{Windows, WorstKey};
use crate::sample::KeySample;

/// Different windows that are kept, of some 150 bytes each.
const MOST_WINDOWS: usize = 1 << 19;

/// Keys that are named.
const WORST: usize = 10;

/// Chance that a fair hash shows a degenerate key at all.
const CHANCE: f64 = 1e-9;

/// Seed of the hashes that distinguish windows: none that a rule would use.
const SEED: u64 = 0x676F_6C64_6669_7368;

struct Seen {
    key: u64,
    positions: u64,
    dropped: bool,
    example: Box<[u32]>,
}

/// A sample of the windows.
pub(crate) struct WindowSample<'a> {
    keys: WindowKeys<'a>,
    seen: KeySample<Seen>,
}

/// Ids that an example shows at most.
const SHOWN: usize = 16;

impl<'a> WindowSample<'a> {
    pub(crate) fn new(keys: WindowKeys<'a>) -> Self {
        Self { keys, seen: KeySample::new(MOST_WINDOWS) }
    }

    /// Notes the windows of a document. `decided` is 0 where the rule decided.
    pub(crate) fn add(&mut self, ids: &[u32], mask: &[u8], decided: &[u8]) {
        for position in (0..ids.len()).filter(|&position| decided[position] == 0) {
            let Some(window) = self.keys.window(ids, position) else { continue };
            let hash = xxh3_64_with_seed(bytemuck::cast_slice(window), SEED);
            let new = || Seen {
                key: self.keys.key(window),
                positions: 1,
                dropped: mask[position] == 0,
                example: window[..window.len().min(SHOWN)].into(),
            };
            self.seen.note(hash, new, |seen| seen.positions += 1);
        }
    }

    pub(crate) fn report(self) -> Windows {
        let complete = self.seen.is_complete();
        let seen = self.seen.into_sorted();
        let mut by_key: HashMap<u64, (u64, u64, usize)> = HashMap::new();
        for (index, (_, seen)) in seen.iter().enumerate() {
            let entry = by_key.entry(seen.key).or_insert((0, 0, index));
            entry.0 += 1;
            entry.1 += seen.positions;
        }
        let distinct = seen.len() as u64;
        let threshold = threshold(distinct as f64, self.keys.space() as f64);
        let mut degenerate: Vec<_> =
            by_key.iter().filter(|(_, (windows, ..))| *windows >= threshold).collect();
        degenerate.sort_unstable_by_key(|&(&key, &(windows, positions, _))| {
            (std::cmp::Reverse((windows, positions)), key)
        });
        let positions: u64 = seen.iter().map(|(_, seen)| seen.positions).sum();
        let degenerate_positions: u64 = degenerate.iter().map(|(_, (_, positions, _))| positions).sum();
        let worst = degenerate.iter().take(WORST).map(|&(&key, &(windows, positions, index))| {
            let Seen { dropped, example, .. } = &seen[index].1;
            WorstKey { key, windows, positions, dropped: *dropped, example: example.to_vec() }
        });
        Windows {
            distinct,
            positions,
            complete,
            distinct_keys: by_key.len() as u64,
            key_space: self.keys.space(),
            threshold,
            degenerate_keys: degenerate.len() as u64,
            degenerate_positions,
            degenerate_share: if positions == 0 {
                0.0
            } else {
                degenerate_positions as f64 / positions as f64
            },
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
        let mut sample = WindowSample::new(keys);
        sample.add(ids, &vec![1; ids.len()], &vec![0; ids.len()]);
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
