//! Samples of bounded size that don't depend on the order in which they are drawn.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The documents of a sample: those whose ids hash low.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DocumentSample {
    seed: u64,
    last: u64,
}

impl DocumentSample {
    /// Documents with about `wanted` of all `tokens`.
    pub(crate) fn new(wanted: u64, tokens: u64, seed: u64) -> Self {
        let last = if wanted >= tokens {
            u64::MAX
        } else {
            (u128::from(u64::MAX) * u128::from(wanted) / u128::from(tokens)) as u64
        };
        Self { seed, last }
    }

    pub(crate) fn contains(&self, doc_id: &str) -> bool {
        xxh3_64_with_seed(doc_id.as_bytes(), self.seed) <= self.last
    }
}

/// Keys that are hashes already.
#[derive(Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys come in, by the method below.
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A map from hashes that keeps all below a limit, which falls as the map fills: the kept hashes are a fair sample of
/// the different ones (the distinct sampling of Gibbons, VLDB 2001), each with all that was noted of it.
#[derive(Debug)]
pub(crate) struct KeySample<V> {
    most: usize,
    limit: u64,
    entries: HashMap<u64, V, BuildHasherDefault<Hashed>>,
}

impl<V> KeySample<V> {
    /// A sample of at most `most` different hashes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, limit: u64::MAX, entries: HashMap::default() }
    }

    /// Whether nothing was left out so far.
    pub(crate) fn is_complete(&self) -> bool {
        self.limit == u64::MAX
    }

    /// Notes a hash, unless it is outside of the sample.
    pub(crate) fn note(&mut self, hash: u64, new: impl FnOnce() -> V, again: impl FnOnce(&mut V)) {
        if hash > self.limit {
            return;
        }
        self.entries.entry(hash).and_modify(again).or_insert_with(new);
        while self.entries.len() > self.most {
            self.limit /= 2;
            self.entries.retain(|&hash, _| hash <= self.limit);
        }
    }

    /// The hashes and what was noted, in the order of the hashes.
    pub(crate) fn into_sorted(self) -> Vec<(u64, V)> {
        let mut entries: Vec<_> = self.entries.into_iter().collect();
        entries.sort_unstable_by_key(|entry| entry.0);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes() -> Vec<u64> {
        (0..30_000u64).map(|i| xxh3_64_with_seed(&(i % 9000).to_le_bytes(), 1)).collect()
    }

    #[test]
    fn the_sample_is_bounded_complete_in_what_it_keeps_and_free_of_order() {
        let draw = |hashes: &mut dyn Iterator<Item = u64>| {
            let mut sample = KeySample::new(1000);
            hashes.for_each(|hash| sample.note(hash, || 1u32, |n| *n += 1));
            assert!(!sample.is_complete());
            sample.into_sorted()
        };
        let forward = draw(&mut hashes().into_iter());
        assert_eq!(forward, draw(&mut hashes().into_iter().rev()));
        assert!((500..=1000).contains(&forward.len()), "{}", forward.len());
        // 30,000 draws of 9000 values: each occurs three or four times.
        assert!(forward.iter().all(|&(_, n)| n == 3 || n == 4));
    }

    #[test]
    fn documents_are_sampled_by_their_share() {
        let sample = DocumentSample::new(1000, 10_000, 7);
        let chosen = (0..10_000).filter(|i| sample.contains(&format!("doc {i}"))).count();
        assert!((900..1100).contains(&chosen), "{chosen}");
        assert!(DocumentSample::new(5, 5, 0).contains("all"));
    }
}
