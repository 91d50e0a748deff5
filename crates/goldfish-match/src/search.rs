//! The search of a document.

use std::ops::Range;

use goldfish_mask::TextWords;

use crate::extend::{Edge, Extension, Run};
use crate::join::join;
use crate::passage::{Block, Passage};
use crate::table::COMMON;
use crate::winnow::{Fingerprint, Winnow, run_hash};
use crate::{Index, Parameters};

/// Words of a document whose scratch memory is kept for the next one.
const KEPT_WORDS: usize = 1 << 22;

/// What a thread needs to search documents, one after the other.
///
/// Memory beside that of [`TextWords`]: a byte for each word of a document that has a passage, and in passages some 70 bytes for
/// each edit at most.
#[derive(Debug)]
pub struct Search<'a> {
    index: &'a Index,
    winnow: Winnow,
    /// Fingerprints of the document that may be in the index.
    candidates: Vec<Fingerprint>,
    seeds: Seeds<'a>,
    passages: Vec<Passage>,
}

impl<'a> Search<'a> {
    /// Of an index.
    #[must_use]
    pub fn new(index: &'a Index) -> Self {
        let (candidates, passages) = Default::default();
        Self { index, winnow: Winnow::new(index.parameters), candidates, seeds: Seeds::new(index), passages }
    }

    /// The passages of a document that copy works, of those that have words of the document in common the preferred first: the
    /// one with the most words in common, then that of the first work, and of the first place in it.
    pub fn find(&mut self, words: &TextWords) -> &[Passage] {
        self.find_but(words, None)
    }

    /// The passages of a document that is work `own` itself: as [`find`](Self::find), but not that its words are those of the work in the
    /// same place. What it repeats elsewhere in itself is found, once in each direction.
    pub fn find_elsewhere(&mut self, words: &TextWords, own: u32) -> &[Passage] {
        self.find_but(words, Some(own))
    }

    fn find_but(&mut self, words: &TextWords, own: Option<u32>) -> &[Passage] {
        self.seeds.own = own;
        self.choose(words);
        self.passages.clear();
        if !self.candidates.is_empty() {
            self.seeds.start(words.len());
            for &candidate in &self.candidates {
                follow(self.index, &mut self.seeds, words, candidate);
            }
            self.passages = join(std::mem::take(&mut self.seeds.passages), &self.index.parameters);
            self.passages.sort_by_key(Passage::rank);
            self.passages.dedup();
        }
        &self.passages
    }

    /// Chooses the fingerprints that may be in the index.
    fn choose(&mut self, words: &TextWords) {
        let Self { index, winnow, candidates, .. } = self;
        candidates.clear();
        candidates.shrink_to(KEPT_WORDS);
        // For the vector instructions of this processor; the outcome is the same with any.
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                winnow.fingerprints(
                    words.len(),
                    #[inline(always)]
                    |first, hashes| words.hashes(first, hashes),
                    #[inline(always)]
                    |found| {
                        // Each look is into other memory. Without branches the processor does many at a time.
                        let mut end = candidates.len();
                        candidates.extend_from_slice(found);
                        for &fingerprint in found {
                            if let Some(candidate) = candidates.get_mut(end) {
                                *candidate = fingerprint;
                            }
                            end += usize::from(index.grams.may_contain(fingerprint.hash));
                        }
                        candidates.truncate(end);
                    },
                );
            },
        );
    }
}

/// Looks for the places of a fingerprint.
fn follow(index: &Index, seeds: &mut Seeds<'_>, words: &TextWords, candidate: Fingerprint) {
    let Fingerprint { hash, word } = candidate;
    let parameters = index.parameters;
    let mut common = false;
    for place in index.grams.places(hash) {
        if place == COMMON {
            common = true;
        } else {
            seeds.add(words, word, place, parameters.gram as usize);
        }
    }
    if !common {
        return;
    }
    // The runs that may have chosen it.
    let run = parameters.guaranteed() as usize;
    let first = word.saturating_sub(parameters.window as usize - 1);
    let end = words.len().min(word + run);
    let mut hashes = std::mem::take(&mut seeds.hashes);
    hashes.resize(end - first, 0);
    words.hashes(first, &mut hashes);
    for (start, run_words) in hashes.windows(run).enumerate() {
        let hash = run_hash(run_words, parameters);
        if index.runs.may_contain(hash) {
            for place in index.runs.places(hash) {
                seeds.add(words, first + start, place, run);
            }
        }
    }
    seeds.hashes = hashes;
}

/// Makes passages of places where document and works may be the same.
#[derive(Debug)]
struct Seeds<'a> {
    index: &'a Index,
    /// The work that the document is.
    own: Option<u32>,
    extension: Extension,
    /// Of words around a common fingerprint.
    hashes: Vec<u64>,
    /// In how many passages each word of the document is.
    depths: Vec<u8>,
    /// The passages so far, and those that may reach the next seed, in the order of their works.
    passages: Vec<Passage>,
    active: Vec<Active>,
    /// The first word of the document that one of these no longer reaches.
    expiry: usize,
}

/// A passage that may reach the next seed.
#[derive(Debug, Clone, Copy)]
struct Active {
    work: u32,
    /// The words of the work among those of all.
    words: (u32, u32),
    /// The first word of the document after it.
    end: usize,
    /// Its number.
    passage: usize,
}

impl<'a> Seeds<'a> {
    fn new(index: &'a Index) -> Self {
        let (hashes, depths, passages, active) = Default::default();
        let (extension, expiry) = (Extension::default(), usize::MAX);
        Self { index, own: None, extension, hashes, depths, passages, active, expiry }
    }

    /// Starts with a document of so many words.
    fn start(&mut self, words: usize) {
        self.depths.clear();
        self.depths.shrink_to(KEPT_WORDS);
        self.depths.resize(words, 0);
        self.passages.clear();
        self.active.clear();
        self.expiry = usize::MAX;
    }

    /// Follows a seed: `length` words that may be the same, from word `doc` of the document and word `place` of all works. Seeds
    /// come in the order of the document, up to a window.
    fn add(&mut self, words: &TextWords, doc: usize, place: u32, length: usize) {
        let Parameters { most_depth, .. } = self.index.parameters;
        let reach = self.index.parameters.reach();
        // What a run that is guaranteed to be found by this seed may reach.
        let near = doc.saturating_sub(reach)..(doc + length + reach).min(words.len());
        if self.depths[near.clone()].iter().all(|&depth| depth >= most_depth) {
            return;
        }
        let works = &self.index.works;
        // Most seeds are in a passage that is there already.
        let known = self.active.get(self.active.partition_point(|active| active.words.1 <= place));
        let known = known.filter(|active| active.words.0 <= place);
        let (number, (first, end)) = match known {
            Some(active) => (active.work as usize, active.words),
            None => {
                let number = works.work_of(place);
                (number, works.range(number))
            }
        };
        let place = place as usize;
        if place + length > end as usize {
            return;
        }
        let work_word = |place: usize| (place - first as usize) as u32;
        if self.own == Some(number as u32) && work_word(place) as usize == doc {
            return;
        }
        // A passage that ends here has no word of the run.
        if self.expiry <= doc {
            self.active.retain(|active| active.end + reach > doc);
            self.expiry = self.active.iter().map(|active| active.end + reach).min().unwrap_or(usize::MAX);
        }
        // Aligned already.
        let near = near.start as u32..near.end as u32;
        let work_near = work_word(place).checked_sub(doc as u32 - near.start);
        if work_near.is_some_and(|start| self.of_work(number).any(|other| other.pairs(&near, start))) {
            return;
        }
        let bounds = (first as usize, end as usize);
        let Some((before, after)) = self.around(words, (doc, place), length, bounds) else { return };
        let core = doc - before..doc + length + after;
        if self.depths[core.clone()].iter().all(|&depth| depth >= most_depth) {
            return;
        }
        // A repetition within what is aligned already: nothing would be added.
        let same = core.start as u32..core.end as u32;
        let repeats =
            |other: &Passage| other.work_words().contains(&work_word(place)) && other.covers(same.clone());
        if self.of_work(number).any(repeats) {
            return;
        }
        let is_own = self.own == Some(number as u32);
        let blocks = self.extended(words, core, place - before, bounds, is_own);
        let passage = Passage::new(number as u32, blocks.into_iter());
        if passage.words < self.index.parameters.least_words {
            return;
        }
        for block in &passage.blocks {
            for depth in &mut self.depths[block.doc_start as usize..block.doc_end() as usize] {
                *depth = depth.saturating_add(1);
            }
        }
        let end = passage.doc_words().end as usize;
        let (work, words) = (passage.work, (first, bounds.1 as u32));
        let at = self.active.partition_point(|active| active.work <= work);
        self.active.insert(at, Active { work, words, end, passage: self.passages.len() });
        self.expiry = self.expiry.min(end + reach);
        self.passages.push(passage);
    }

    /// The passages of a work that may reach the seed.
    fn of_work(&self, work: usize) -> impl Iterator<Item = &Passage> {
        let from = self.active.partition_point(|active| (active.work as usize) < work);
        let active = self.active[from..].iter().take_while(move |active| active.work as usize == work);
        active.filter_map(|active| self.passages.get(active.passage))
    }

    /// Compares the words of a seed. If they are the same, says how many are before and after it, up to those that a window may
    /// have: what is in common there is in any run of words that is guaranteed to be found by this seed.
    fn around(
        &self,
        words: &TextWords,
        (doc, place): (usize, usize),
        length: usize,
        (first, end): (usize, usize),
    ) -> Option<(usize, usize)> {
        let reach = self.index.parameters.reach();
        let edge = |doc, work, doc_room, work_room, forward| Edge {
            words,
            works: &self.index.works,
            doc,
            work,
            doc_room,
            work_room,
            forward,
            own: None,
            depths: &[],
            most_depth: self.index.parameters.most_depth,
        };
        let longest = (length + reach).min(words.len() - doc);
        let same = edge(doc, place, longest, end - place, true).equal(0, 0);
        let after = same.checked_sub(length)?;
        let before = edge(doc, place, reach.min(doc), place - first, false).equal(0, 0);
        Some((before, after))
    }

    /// The words in common around some that are the same: words `core` of the document and those from `place` on.
    fn extended(
        &mut self,
        words: &TextWords,
        core: Range<usize>,
        place: usize,
        (first, end): (usize, usize),
        is_own: bool,
    ) -> Vec<Block> {
        let Self { index, extension, depths, .. } = self;
        let cost = i64::from(200u32.div_ceil(index.parameters.most_edits));
        let place_end = place + core.len();
        let (works, most_depth) = (&index.works, index.parameters.most_depth);
        let own = is_own.then_some(first);
        let center = Block {
            work_start: (place - first) as u32,
            doc_start: core.start as u32,
            words: core.len() as u32,
        };
        let (doc, work, forward) = (core.start, place, false);
        let (doc_room, work_room) = (doc, place - first);
        let before = Edge { words, works, doc, work, doc_room, work_room, forward, own, depths, most_depth };
        let mut blocks: Vec<Block> = Vec::new();
        blocks.extend(extension.runs(&before, cost).iter().rev().map(|&Run { doc, work, words }| Block {
            work_start: center.work_start - work - words,
            doc_start: center.doc_start - doc - words,
            words,
        }));
        blocks.push(center);
        let (doc, work, forward) = (core.end, place_end, true);
        let (doc_room, work_room) = (words.len() - doc, end - place_end);
        let after = Edge { words, works, doc, work, doc_room, work_room, forward, own, depths, most_depth };
        blocks.extend(extension.runs(&after, cost).iter().map(|&Run { doc, work, words }| Block {
            work_start: center.work_end() + work,
            doc_start: center.doc_end() + doc,
            words,
        }));
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexBuilder, Parameters};

    #[test]
    fn nothing_is_reported_because_hashes_collide() {
        let work: Vec<String> = (0..400).map(|i| format!("w{i}")).collect();
        let other: Vec<String> = (0..400).map(|i| format!("x{i}")).collect();
        let doc = [&other[..100], &work[200..240], &other[100..]].concat().join(" ");
        for hash_bits in [0, 1, 0xF, 0xFF << 40, u64::MAX] {
            let parameters = Parameters { hash_bits, ..Parameters::default() };
            let mut builder = IndexBuilder::new(parameters).unwrap();
            builder.add("copied", &work.join(" ")).unwrap();
            builder.add("not copied", &[&work[..100], &work[300..]].concat().join(" ")).unwrap();
            let index = builder.build();
            let mut words = TextWords::default();
            words.read(&doc).unwrap();
            let mut search = Search::new(&index);
            for passage in search.find(&words) {
                assert_eq!(
                    (passage.work, passage.doc_words(), passage.work_words()),
                    (0, 100..140, 200..240)
                );
            }
            // With few different hashes most places are left out.
            assert!(hash_bits != u64::MAX || search.passages.len() == 1);
        }
    }
}
