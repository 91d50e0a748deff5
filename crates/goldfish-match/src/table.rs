//! Places by hashes.

use crate::filter::Filter;

/// Places of a hash that are kept; hashes with more are common.
pub(crate) const MOST_PLACES: usize = 8;

/// Entries of a bucket, on average.
const BUCKET: usize = 4;

/// In place of the places of a common hash.
pub(crate) const COMMON: u32 = u32::MAX;

/// Where each of some hashes occurs. Hashes that agree in bucket and tag are taken for the same one, so that a place that is
/// found has to be compared.
#[derive(Debug, Default)]
pub(crate) struct Table {
    filter: Filter,
    /// Where the entries of each bucket end.
    ends: Vec<u32>,
    tags: Vec<u16>,
    places: Vec<u32>,
}

/// Passes all entries to a function: hashes with their places, in the order of places, the same ones in each call.
pub(crate) type Walk<'a> = dyn FnMut(&mut dyn FnMut(u64, u32)) + 'a;

/// What a hash is in filter and table. The hashes of fingerprints are small, as the least ones of their windows.
#[inline(always)]
fn key(hash: u64) -> u64 {
    let key = (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    key ^ (key >> 32)
}

#[inline(always)]
fn tag(key: u64) -> u16 {
    (key >> 16) as u16
}

impl Table {
    /// Of all entries that a walk, which is done three times, passes. If `limited`, [`COMMON`] is in place of more than
    /// [`MOST_PLACES`] of a hash.
    pub(crate) fn new(walk: &mut Walk<'_>, limited: bool) -> Self {
        let mut count = 0;
        walk(&mut |_, _| count += 1);
        let mut table = Self {
            filter: Filter::new(count),
            ends: vec![0; (count / BUCKET).max(1)],
            tags: vec![0; count],
            places: vec![0; count],
        };
        walk(&mut |hash, _| {
            let bucket = table.bucket(key(hash));
            table.ends[bucket] += 1;
        });
        // Where each bucket starts; filling it makes that its end.
        let mut start = 0;
        for end in &mut table.ends {
            start += std::mem::replace(end, start);
        }
        walk(&mut |hash, place| {
            let key = key(hash);
            table.filter.insert(key);
            let bucket = table.bucket(key);
            let at = table.ends[bucket] as usize;
            table.ends[bucket] += 1;
            table.tags[at] = tag(key);
            table.places[at] = place;
        });
        if limited {
            table.limit();
        }
        table
    }

    /// Limits the places of each hash.
    fn limit(&mut self) {
        let mut bucket: Vec<(u16, u32)> = Vec::new();
        let (mut from, mut to) = (0, 0);
        for end in &mut self.ends {
            let range = from..*end as usize;
            from = range.end;
            if range.len() <= MOST_PLACES {
                self.tags.copy_within(range.clone(), to);
                self.places.copy_within(range.clone(), to);
                to += range.len();
            } else {
                bucket.clear();
                bucket.extend(range.map(|at| (self.tags[at], self.places[at])));
                bucket.sort_unstable();
                for same in bucket.chunk_by(|a, b| a.0 == b.0) {
                    let kept = if same.len() > MOST_PLACES { &[(same[0].0, COMMON)] } else { same };
                    for &(tag, place) in kept {
                        self.tags[to] = tag;
                        self.places[to] = place;
                        to += 1;
                    }
                }
            }
            *end = to as u32;
        }
        self.tags.truncate(to);
        self.places.truncate(to);
        if 2 * to < from {
            self.tags.shrink_to_fit();
            self.places.shrink_to_fit();
        }
    }

    #[inline(always)]
    fn bucket(&self, key: u64) -> usize {
        (((key >> 32) * self.ends.len() as u64) >> 32) as usize
    }

    /// Whether a hash may be in the table, in one access to memory.
    #[inline(always)]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.filter.may_contain(key(hash))
    }

    /// The places of a hash, in order, maybe with those of others; or [`COMMON`].
    pub(crate) fn places(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let key = key(hash);
        let bucket = self.bucket(key);
        let start =
            bucket.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&end| end as usize);
        let end = self.ends.get(bucket).map_or(0, |&end| end as usize);
        let entries = self.tags[start..end].iter().zip(&self.places[start..end]);
        entries.filter(move |entry| *entry.0 == tag(key)).map(|entry| *entry.1)
    }

    /// Whether a hash has more places than are kept.
    pub(crate) fn is_common(&self, hash: u64) -> bool {
        self.may_contain(hash) && self.places(hash).any(|place| place == COMMON)
    }

    /// Whether any hash has.
    pub(crate) fn has_common(&self) -> bool {
        self.places.contains(&COMMON)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes()
            + 4 * (self.ends.capacity() + self.places.capacity())
            + 2 * self.tags.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(u64, u32)], limited: bool) -> Table {
        Table::new(&mut |each| entries.iter().for_each(|&(hash, place)| each(hash, place)), limited)
    }

    #[test]
    fn every_place_is_found() {
        let entries: Vec<(u64, u32)> = (0..10_000).map(|i| (u64::from(i) % 5000 * 0x1234_5677, i)).collect();
        let table = table(&entries, true);
        assert!(!table.has_common());
        for &(hash, place) in &entries {
            assert!(table.may_contain(hash) && table.places(hash).any(|found| found == place));
        }
        let passed = (0..10_000u64).filter(|i| table.may_contain(i * 0x1234_5677 + 1)).count();
        assert!(passed < 400, "{passed} of 10000 pass the filter");
    }

    #[test]
    fn common_hashes_are_marked() {
        let entries: Vec<(u64, u32)> = (0..1000).map(|i| (u64::from(i % 2 * i), i)).collect();
        let found = table(&entries, true);
        assert_eq!(found.places(0).collect::<Vec<_>>(), [COMMON]);
        assert!(found.is_common(0) && !found.is_common(7) && found.has_common());
        assert_eq!(found.places(7).collect::<Vec<_>>(), [7]);
        assert_eq!(table(&entries, false).places(0).count(), 500);
    }

    #[test]
    fn an_empty_table_has_no_places() {
        let table = table(&[], true);
        assert!(!table.may_contain(5) && table.places(5).next().is_none());
    }
}
