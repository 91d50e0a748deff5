//! Occurrences with the same fingerprint.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use goldfish_mask::MaskError;
use goldfish_pipeline::{PipelineError, ShardText};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::compare::{Comparison, compared};
use super::excerpt::{Document, Excerpts, by_document};
use super::fingerprint::Fingerprints;
use super::grain::Grain;
use super::groups::Groups;
use super::location::{Location, Pair};
use super::rules::{Against, ComparedRule, Masks};
use crate::options::DuplicateOptions;
use crate::report::{CopyBucket, Duplicates};
use crate::sample::KeySample;

/// Pairs that are compared before they are added up.
const BATCH: usize = 1024;

/// Different fingerprints that are kept.
const MOST_FINGERPRINTS: usize = 1 << 21;

/// The locations of a fingerprint: the first, another one chosen by lot, and how many there are.
struct Occurrences {
    first: Location,
    other: Option<Location>,
    count: u64,
}

/// Collects fingerprints.
pub(crate) struct Search<'a> {
    options: DuplicateOptions,
    seed: u64,
    /// The text of ids; without one, ids are compared.
    text: Option<&'a ShardText>,
    grain: Grain,
    locations: KeySample<Occurrences>,
    documents: u64,
    letters: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(options: DuplicateOptions, seed: u64, text: Option<&'a ShardText>) -> Self {
        let locations = KeySample::new(MOST_FINGERPRINTS);
        let grain = if text.is_some() { Grain::Letters } else { Grain::Ids };
        Self { options, seed, text, grain, locations, documents: 0, letters: 0 }
    }

    /// Notes the fingerprints of a document.
    pub(crate) fn note(&mut self, document: u64, fingerprints: &Fingerprints) {
        self.documents += 1;
        self.letters += fingerprints.letters;
        let apart = self.grain.of_letters(self.options.least_characters) as u64;
        for &(hash, position) in &fingerprints.found {
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

    /// Chooses the passages to compare.
    pub(crate) fn found(self, masks: &Masks<'_>, which: Against) -> Result<Found<'a>, MaskError> {
        let Self { options, seed, text, grain, locations, documents, letters } = self;
        let complete = locations.is_complete();
        let locations = locations.into_sorted();
        let (all, recurring) = locations.iter().fold((0, 0), |(all, recurring), (_, locations)| {
            (all + locations.count, recurring + if locations.count > 1 { locations.count } else { 0 })
        });
        let pairs = chosen(&locations, options.pairs, seed, grain.radius() as u64);
        let rules = if pairs.is_empty() { Vec::new() } else { masks.compared(text.is_some(), which)? };
        let comparison = Comparison::new(masks.rule, options, &rules);
        let summary = Duplicates {
            documents,
            characters: letters,
            recurring_share: if all == 0 { 0.0 } else { recurring as f64 / all as f64 },
            copies: buckets(locations.iter().map(|(_, locations)| locations.count)),
            complete,
            least_characters: options.least_characters as u64,
            ..Comparison::new(masks.rule, options, &[]).report()
        };
        let wanted = by_document(&pairs);
        let least = grain.of_letters(options.least_characters);
        Ok(Found {
            summary,
            comparison,
            least,
            grain,
            text,
            rules,
            pairs,
            wanted,
            excerpts: Excerpts::default(),
        })
    }
}

/// The passages to compare, which are in documents that are read again.
pub(crate) struct Found<'a> {
    summary: Duplicates,
    comparison: Comparison,
    /// Least letters in common.
    least: usize,
    grain: Grain,
    text: Option<&'a ShardText>,
    rules: Vec<ComparedRule>,
    pairs: Vec<Pair>,
    /// Positions by document.
    wanted: BTreeMap<u64, BTreeSet<usize>>,
    excerpts: Excerpts,
}

impl Found<'_> {
    /// How many pairs there are.
    pub(crate) fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Whether passages of this document are compared.
    pub(crate) fn wants(&self, document: u64) -> bool {
        self.wanted.contains_key(&document)
    }

    /// Reads the passages of some documents.
    pub(crate) fn read(&mut self, documents: &[Document<'_>]) -> Result<(), PipelineError> {
        let read = |document: &Document<'_>| {
            let Some(positions) = self.wanted.get(&document.number) else { return Ok(Vec::new()) };
            document.excerpts(positions, self.text, &self.rules)
        };
        let found: Vec<_> = documents.par_iter().map(read).collect::<Result<_, _>>()?;
        self.excerpts.extend(found.into_iter().flatten());
        Ok(())
    }

    /// Compares all passages that were read.
    pub(crate) fn compare(self) -> Duplicates {
        let Self { summary, mut comparison, least, grain, rules, pairs, excerpts, .. } = self;
        let passages = passages(&pairs, grain.radius() as u64);
        let numbered: Vec<(usize, Pair)> = passages.into_iter().zip(pairs).collect();
        for batch in numbered.chunks(BATCH) {
            let compare = |&(passage, pair): &(usize, Pair)| {
                let [a, b] = pair.locations;
                let found = compared(excerpts.get(a)?, excerpts.get(b)?, rules.len() + 1, least)?;
                Some((passage, found))
            };
            let found: Vec<_> = batch.par_iter().map(compare).collect();
            found.into_iter().flatten().for_each(|(passage, found)| comparison.add(passage, found));
        }
        let Duplicates { documents, characters, recurring_share, copies, complete, least_characters, .. } =
            summary;
        Duplicates {
            documents,
            characters,
            recurring_share,
            copies,
            complete,
            least_characters,
            ..comparison.report()
        }
    }
}

/// For each pair the number of its passage. Pairs that overlap in a document are copies of the same one.
fn passages(pairs: &[Pair], radius: u64) -> Vec<usize> {
    let mut passages = Groups::new(pairs.len());
    let ends = pairs.iter().enumerate().flat_map(|(index, pair)| pair.locations.map(|at| (at, index)));
    let mut ends: Vec<(Location, usize)> = ends.collect();
    ends.sort_unstable();
    for two in ends.windows(2) {
        let [(before, one), (after, other)] = [two[0], two[1]];
        if before.document == after.document && after.position - before.position < 2 * radius {
            passages.join(one, other);
        }
    }
    passages.into_numbers()
}

/// One pair a passage, at most `most`: the fingerprints of a passage are near each other in both documents.
fn chosen(locations: &[(u64, Occurrences)], most: usize, seed: u64, radius: u64) -> Vec<Pair> {
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
            let near = |to: u64, from: u64| to.abs_diff(from) < radius;
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
            (3, two(location(0, 1040), location(5, 11040))),
            (4, two(location(0, 12), location(6, 90))),
            (5, Occurrences { first: location(9, 9), other: None, count: 1 }),
        ];
        let found = chosen(&locations, 10, 0, 1000);
        assert_eq!(found.len(), 3);
        let mut found_passages = passages(&found, 1000);
        found_passages.sort_unstable();
        assert_eq!(found_passages, [0, 0, 0], "all share text of the same document");
        let apart = [(0, 10, 5, 110), (0, 2010, 6, 0), (7, 0, 8, 0)]
            .map(|(a, x, b, y)| Pair { locations: [location(a, x), location(b, y)] });
        assert_eq!(passages(&apart, 1000), [0, 1, 2]);
        assert_eq!(passages(&apart, 1001), [0, 0, 2]);
        assert_eq!(chosen(&locations, 2, 0, 1000), found[..2]);
    }
}
