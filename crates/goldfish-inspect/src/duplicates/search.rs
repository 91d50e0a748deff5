//! Occurrences with the same fingerprint.

use std::collections::HashMap;
use std::path::Path;

use goldfish_pipeline::ShardText;
use goldfish_shard::Manifest;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::compare::Comparison;
use super::excerpt::Excerpts;
use super::location::{Location, Pair, RADIUS};
use crate::error::InspectError;
use crate::options::DuplicateOptions;
use crate::report::{CopyBucket, Duplicates};
use crate::sample::KeySample;

/// Different fingerprints that are kept.
const MOST_FINGERPRINTS: usize = 1 << 21;

/// The locations of a fingerprint: the first, another one chosen by lot, and how many there are.
struct Occurrences {
    first: Location,
    other: Option<Location>,
    count: u64,
}

/// Collects fingerprints, and compares what they lead to.
pub(crate) struct Search<'a> {
    options: DuplicateOptions,
    seed: u64,
    text: &'a ShardText,
    locations: KeySample<Occurrences>,
    documents: u64,
    characters: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(options: DuplicateOptions, seed: u64, text: &'a ShardText) -> Self {
        let locations = KeySample::new(MOST_FINGERPRINTS);
        Self { options, seed, text, locations, documents: 0, characters: 0 }
    }

    /// Notes the fingerprints of a document.
    pub(crate) fn note(&mut self, document: u64, fingerprints: &[(u64, usize)], characters: u64) {
        self.documents += 1;
        self.characters += characters;
        let apart = self.options.least_characters as u64;
        for &(hash, position) in fingerprints {
            let location = Location { document, position: position as u64 };
            let new = || Occurrences { first: location, other: None, count: 1 };
            self.locations.note(hash, new, |locations| {
                locations.count += 1;
                let overlaps = locations.first.document == document
                    && location.position - locations.first.position < apart;
                // The n-th location takes the seat with a chance of 1/(n - 1).
                let lot = xxh3_64_with_seed(&locations.count.to_le_bytes(), hash ^ self.seed);
                if !overlaps && (locations.other.is_none() || lot.is_multiple_of(locations.count - 1)) {
                    locations.other = Some(location);
                }
            });
        }
    }

    /// Reads the locations again and compares them. `observe` is called with the number of documents read.
    pub(crate) fn compare(
        self,
        folder: &Path,
        manifest: &Manifest,
        observe: &mut dyn FnMut(u64),
    ) -> Result<Duplicates, InspectError> {
        let Self { options, seed, text, locations, documents, characters } = self;
        let complete = locations.is_complete();
        let locations = locations.into_sorted();
        let (all, recurring) = locations.iter().fold((0, 0), |(all, recurring), (_, locations)| {
            (all + locations.count, recurring + if locations.count > 1 { locations.count } else { 0 })
        });
        let copies = buckets(locations.iter().map(|(_, locations)| locations.count));
        let pairs = chosen(&locations, options.pairs, seed);
        drop(locations);
        let excerpts = Excerpts::read(folder, manifest, text, &pairs, observe)?;
        let mut comparison = Comparison::new(manifest, options, excerpts.rules());
        for pair in &pairs {
            if let [Some(a), Some(b)] = pair.locations.map(|location| excerpts.get(location)) {
                comparison.add(a, b);
            }
        }
        Ok(Duplicates {
            documents,
            characters,
            recurring_share: if all == 0 { 0.0 } else { recurring as f64 / all as f64 },
            copies,
            complete,
            least_characters: options.least_characters as u64,
            ..comparison.report()
        })
    }
}

/// One pair a passage, at most `most`: the fingerprints of a passage are near each other in both documents.
fn chosen(locations: &[(u64, Occurrences)], most: usize, seed: u64) -> Vec<Pair> {
    let mut pairs: Vec<(Pair, u64)> = locations
        .iter()
        .filter_map(|(hash, locations)| {
            let mut ends = [locations.first, locations.other?];
            ends.sort_unstable();
            Some((Pair { locations: ends }, xxh3_64_with_seed(&hash.to_le_bytes(), seed)))
        })
        .collect();
    pairs.sort_unstable();
    let mut last: HashMap<(u64, u64), Pair> = HashMap::new();
    pairs.retain(|(pair, _)| {
        let [a, b] = pair.locations;
        let near = last.get(&(a.document, b.document)).is_some_and(|kept| {
            let [from_a, from_b] = kept.locations;
            let near = |to: u64, from: u64| to.abs_diff(from) < RADIUS as u64;
            near(a.position, from_a.position) && near(b.position, from_b.position)
        });
        if !near {
            last.insert((a.document, b.document), *pair);
        }
        !near
    });
    pairs.sort_unstable_by_key(|&(pair, lot)| (lot, pair));
    pairs.truncate(most);
    pairs.into_iter().map(|(pair, _)| pair).collect()
}

/// Recurring fingerprints by the number of their locations.
fn buckets(counts: impl Iterator<Item = u64>) -> Vec<CopyBucket> {
    let mut buckets: Vec<CopyBucket> = Vec::new();
    for count in counts.filter(|&count| count > 1) {
        // 2, 3 to 4, 5 to 8, ...
        let index = (count - 1).ilog2() as usize;
        while buckets.len() <= index {
            let to = 2 << buckets.len();
            buckets.push(CopyBucket { from: to / 2 + 1, to, fingerprints: 0 });
        }
        buckets[index].fingerprints += 1;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_places_fall_into_doubling_buckets() {
        let found = buckets([1, 2, 2, 3, 4, 5, 8, 9, 1].into_iter());
        let found: Vec<_> =
            found.iter().map(|bucket| (bucket.from, bucket.to, bucket.fingerprints)).collect();
        assert_eq!(found, [(2, 2, 2), (3, 4, 2), (5, 8, 2), (9, 16, 1)]);
    }

    #[test]
    fn one_pair_a_passage_is_chosen() {
        let location = |document, position| Location { document, position };
        let two = |a, b| Occurrences { first: a, other: Some(b), count: 2 };
        let locations = vec![
            (1, two(location(0, 10), location(5, 110))),
            (2, two(location(0, 40), location(5, 140))),
            (3, two(location(0, 40 + RADIUS as u64), location(5, 140 + RADIUS as u64))),
            (4, two(location(0, 12), location(6, 90))),
            (5, Occurrences { first: location(9, 9), other: None, count: 1 }),
        ];
        let found = chosen(&locations, 10, 0);
        assert_eq!(found.len(), 3);
        assert_eq!(chosen(&locations, 2, 0), found[..2]);
    }
}
