//! Samples of bounded size that don't depend on the order in which they are drawn.

use rayon::prelude::*;
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

/// Notes of hashes up to a limit, which falls as they become many: the hashes that are left are a fair sample of the
/// different ones (the distinct sampling of Gibbons, VLDB 2001), each with all that was noted of it.
pub(crate) struct KeySample<V> {
    /// Different hashes at most.
    most: usize,
    /// Notes at most, of which several can be of one hash.
    room: usize,
    limit: u64,
    notes: Vec<(u64, V)>,
    /// Adds a note to an earlier one of the same hash.
    join: fn(&mut V, &V),
    /// One bit for each hash, by its last bits; some share one. There is a power of two of them.
    marks: Vec<u64>,
    /// Bits that are set: there are at least so many different hashes.
    marked: usize,
}

impl<V: Copy + Send + Sync> KeySample<V> {
    /// A sample of at most `most` different hashes.
    pub(crate) fn new(most: usize, join: fn(&mut V, &V)) -> Self {
        let marks = vec![0; (4 * most).next_power_of_two().div_ceil(64)];
        let room = most + most / 2;
        Self { most, room, limit: u64::MAX, notes: Vec::with_capacity(room), join, marks, marked: 0 }
    }

    /// Hashes above this are outside of the sample.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Notes a hash, unless it is outside of the sample.
    pub(crate) fn note(&mut self, hash: u64, value: impl FnOnce() -> V) {
        if hash > self.limit {
            return;
        }
        self.notes.push((hash, value()));
        self.mark(hash);
        while self.marked > self.most {
            self.lower();
        }
        if self.notes.len() >= self.room {
            self.settle();
        }
    }

    fn mark(&mut self, hash: u64) {
        let last = self.marks.len() - 1;
        let (word, bit) = (&mut self.marks[(hash >> 6) as usize & last], 1 << (hash % 64));
        self.marked += usize::from(*word & bit == 0);
        *word |= bit;
    }

    /// Halves the limit.
    fn lower(&mut self) {
        self.limit /= 2;
        self.notes.retain(|(hash, _)| *hash <= self.limit);
        self.marks.fill(0);
        self.marked = 0;
        (0..self.notes.len()).for_each(|index| self.mark(self.notes[index].0));
    }

    /// Joins the notes of equal hashes, and sorts them by hash.
    fn settle(&mut self) {
        let mut order: Vec<(u64, usize)> =
            self.notes.iter().enumerate().map(|(index, (hash, _))| (*hash, index)).collect();
        order.par_sort_unstable();
        self.notes = order.par_iter().map(|&(_, index)| self.notes[index]).collect();
        self.notes.dedup_by(|(hash, value), (first, all)| {
            let again = hash == first;
            if again {
                (self.join)(all, value);
            }
            again
        });
        while self.notes.len() > self.most {
            self.lower();
        }
    }

    /// The hashes and what was noted, in the order of the hashes, and whether nothing was left out.
    pub(crate) fn into_sorted(mut self) -> (Vec<(u64, V)>, bool) {
        self.settle();
        (self.notes, self.limit == u64::MAX)
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
            let mut sample = KeySample::new(1000, |all: &mut u32, n| *all += n);
            hashes.for_each(|hash| sample.note(hash, || 1));
            let (sorted, complete) = sample.into_sorted();
            assert!(!complete);
            sorted
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
