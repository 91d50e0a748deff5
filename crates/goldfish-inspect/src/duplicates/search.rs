//! The search: some documents are indexed, and all are searched for copies of what they hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use goldfish_mask::{MaskError, TextWords};
use goldfish_match::{Index, IndexBuilder, MatchError, Parameters, Passage};
use goldfish_pipeline::{PipelineError, ShardText};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::compare::{Comparison, compared};
use super::excerpt::{Document, Excerpts, by_document};
use super::grain::Grain;
use super::groups::Groups;
use super::location::{Location, Pair};
use super::rules::{Against, ComparedRule, Masks};
use crate::options::DuplicateOptions;
use crate::report::{CopyBucket, Duplicates};

/// Pairs that are compared before they are added up.
const BATCH: usize = 1024;

/// Words of an indexed document of which one pair is compared at most.
const PIECE: u32 = 100;

/// Documents that are indexed.
pub(crate) struct Needles {
    builder: IndexBuilder,
    grain: Grain,
    /// Their numbers, rising.
    documents: Vec<u64>,
    letters: u64,
}

impl Needles {
    /// None yet. Their words are those of texts, or else token ids.
    pub(crate) fn new(by_text: bool) -> Result<Self, MatchError> {
        let grain = if by_text { Grain::Letters } else { Grain::Ids };
        Ok(Self {
            builder: IndexBuilder::new(Parameters::default())?,
            grain,
            documents: Vec::new(),
            letters: 0,
        })
    }

    /// Adds a document; they come in order.
    pub(crate) fn add(&mut self, document: u64, words: &TextWords) -> Result<(), MatchError> {
        self.builder.add_words("", words)?;
        self.documents.push(document);
        self.letters +=
            (0..words.len()).map(|word| self.grain.letters(words.bytes(word)) as u64).sum::<u64>();
        Ok(())
    }

    pub(crate) fn build(self, options: DuplicateOptions, seed: u64) -> Search {
        let Self { builder, grain, documents, letters } = self;
        let index = builder.build();
        let mut pieces = 0;
        let first_pieces = (0..index.works() as u32).map(|work| {
            let first = pieces;
            pieces += index.words(work).div_ceil(PIECE) as usize;
            first
        });
        let first_pieces = first_pieces.collect();
        let words = index.all_words() as usize;
        Search {
            options,
            seed,
            grain,
            documents,
            letters,
            first_pieces,
            pairs: vec![None; pieces],
            copies: vec![0; words],
            repeats: vec![0; words],
            searched: 0,
            index,
        }
    }
}

/// What is found of the indexed documents in all of them.
pub(crate) struct Search {
    options: DuplicateOptions,
    seed: u64,
    grain: Grain,
    index: Index,
    /// The number of each indexed document.
    documents: Vec<u64>,
    letters: u64,
    /// The number of each indexed document's first piece.
    first_pieces: Vec<usize>,
    /// For each piece the pair with the least lot.
    pairs: Vec<Option<(Lot, Pair)>>,
    /// For each indexed word in how many other places it was found.
    copies: Vec<u32>,
    /// For each indexed word at how many other indexed places its own document found it. Of a passage in more documents than a
    /// search returns, each finds the same few places, and `copies` counts only for these.
    repeats: Vec<u8>,
    searched: u64,
}

/// What a document copies.
pub(crate) struct Copies {
    /// The number of the document among those that are indexed.
    own: Option<u32>,
    passages: Vec<Passage>,
    seeds: Vec<Seed>,
}

/// A number by chance, and one that decides between equal ones.
type Lot = (u64, u32);

/// A word that a document has in common with a piece.
struct Seed {
    piece: usize,
    /// The least of many is chosen.
    lot: Lot,
    pair: Pair,
}

/// The words of documents, one after the other.
pub(crate) struct DocumentWords<'a> {
    reader: Option<&'a ShardText>,
    words: TextWords,
    text: String,
    spans: Vec<(usize, usize)>,
}

impl<'a> DocumentWords<'a> {
    /// Of texts, or else of token ids.
    pub(crate) fn new(reader: Option<&'a ShardText>) -> Self {
        Self { reader, words: TextWords::default(), text: String::new(), spans: Vec::new() }
    }

    pub(crate) fn read(&mut self, ids: &[u32]) -> Result<&TextWords, PipelineError> {
        let Self { reader, words, text, spans } = self;
        match reader {
            Some(reader) => {
                reader.read(ids, text, spans)?;
                words.read(text)?;
            }
            None => words.read_ids(ids)?,
        }
        Ok(words)
    }

    /// The words of one document.
    pub(crate) fn into_words(mut self, ids: &[u32]) -> Result<TextWords, PipelineError> {
        self.read(ids)?;
        Ok(self.words)
    }
}

/// What a thread needs to search documents.
pub(crate) struct Finder<'a> {
    search: &'a Search,
    matcher: goldfish_match::Search<'a>,
}

impl Finder<'_> {
    /// What a document copies.
    pub(crate) fn find(&mut self, document: u64, words: &TextWords) -> Copies {
        let Self { search, matcher } = self;
        let own = search.documents.binary_search(&document).ok().map(|work| work as u32);
        let found = match own {
            Some(own) => matcher.find_elsewhere(words, own),
            None => matcher.find(words),
        };
        let least = search.grain.of_letters(search.options.least_characters);
        let long = found.iter().filter(|passage| {
            let copied = passage.blocks.iter().flat_map(|block| block.doc_start..block.doc_end());
            copied.map(|word| search.grain.letters(words.bytes(word as usize))).sum::<usize>() >= least
        });
        let passages: Vec<Passage> = long.cloned().collect();
        // The first indexed document that has a word: all copies of a passage are compared with the same one.
        let mut first = vec![u32::MAX; if passages.is_empty() { 0 } else { words.len() }];
        for passage in &passages {
            for word in passage.doc_words() {
                first[word as usize] = first[word as usize].min(passage.work);
            }
        }
        let seeds =
            passages.iter().flat_map(|passage| search.seeds(passage, document, own, &first)).collect();
        Copies { own, passages, seeds }
    }
}

impl Search {
    /// To search documents with.
    pub(crate) fn finder(&self) -> Finder<'_> {
        Finder { search: self, matcher: goldfish_match::Search::new(&self.index) }
    }

    /// A word in common for each piece that a passage copies, if the passage is compared with this one. `first` has the first work that
    /// has each word of the document.
    fn seeds(&self, passage: &Passage, document: u64, own: Option<u32>, first: &[u32]) -> Vec<Seed> {
        let Range { start, end } = passage.work_words();
        let work = passage.work as usize;
        let mut seeds = Vec::new();
        for piece in start / PIECE..end.div_ceil(PIECE) {
            let (from, to) = (start.max(piece * PIECE), end.min((piece + 1) * PIECE));
            let middle = from + (to - from) / 2;
            let at = passage.blocks.partition_point(|block| block.work_end() <= middle);
            let Some(block) = passage.blocks.get(at) else { continue };
            let indexed = middle.max(block.work_start);
            let word = block.doc_start + (indexed - block.work_start);
            // Two places of one document are a pair once.
            let once = own != Some(passage.work) || indexed < word;
            if first[word as usize] != passage.work || !once || own.is_some_and(|own| passage.work > own) {
                continue;
            }
            let mut locations = [
                Location { document: self.documents[work], position: indexed.into() },
                Location { document, position: word.into() },
            ];
            locations.sort_unstable();
            // Of the places in one document the one with most words in common.
            let lot = (self.lot(&[locations.map(|at| at.document)]), u32::MAX - passage.words);
            seeds.push(Seed {
                piece: self.first_pieces[work] + piece as usize,
                lot,
                pair: Pair { locations },
            });
        }
        seeds
    }

    /// A number that decides between these and others.
    fn lot(&self, of: &[[u64; 2]]) -> u64 {
        let bytes: Vec<u8> = of.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        xxh3_64_with_seed(&bytes, self.seed)
    }

    /// Notes what a document copies; documents come in order.
    pub(crate) fn note(&mut self, copies: &Copies) {
        let Copies { own, passages, seeds } = copies;
        self.searched += 1;
        let own_words = own.map(|own| self.index.range(own));
        for passage in passages {
            let words = self.index.range(passage.work);
            for block in &passage.blocks {
                let indexed =
                    words.start + block.work_start as usize..words.start + block.work_end() as usize;
                self.copies[indexed].iter_mut().for_each(|copies| *copies = copies.saturating_add(1));
                if let Some(own) = &own_words {
                    let here = own.start + block.doc_start as usize..own.start + block.doc_end() as usize;
                    self.repeats[here].iter_mut().for_each(|repeats| *repeats = repeats.saturating_add(1));
                }
            }
        }
        for &Seed { piece, lot, pair } in seeds {
            let best = &mut self.pairs[piece];
            if best.is_none_or(|best| (lot, pair) < best) {
                *best = Some((lot, pair));
            }
        }
    }

    /// Chooses the passages to compare.
    pub(crate) fn found<'a>(
        self,
        masks: &Masks<'_>,
        text: Option<&'a ShardText>,
        which: Against,
    ) -> Result<Found<'a>, MaskError> {
        let lot = |(piece, best): (usize, &Option<(Lot, Pair)>)| {
            best.map(|(_, pair)| (self.lot(&[[piece as u64; 2]]), pair))
        };
        let mut chosen: Vec<(u64, Pair)> = self.pairs.iter().enumerate().filter_map(lot).collect();
        chosen.sort_unstable();
        chosen.truncate(self.options.pairs);
        let Self { options, grain, index, documents, letters, copies, repeats, searched, .. } = self;
        let pairs: Vec<Pair> = chosen.into_iter().map(|(_, pair)| pair).collect();
        let rules = if pairs.is_empty() { Vec::new() } else { masks.compared(text.is_some(), which)? };
        let others =
            copies.iter().zip(&repeats).map(|(&copies, &repeats)| u64::from(copies.max(repeats.into())));
        let recurring = others.clone().filter(|&others| others > 0).count();
        let summary = Duplicates {
            documents: documents.len() as u64,
            searched,
            characters: letters,
            recurring_share: recurring as f64 / index.all_words().max(1) as f64,
            copies: buckets(others.map(|others| others + 1)),
            least_characters: options.least_characters as u64,
            ..Comparison::new(masks.rule, options, &[]).report()
        };
        Ok(Found {
            summary,
            comparison: Comparison::new(masks.rule, options, &rules),
            least: grain.of_letters(options.least_characters),
            text,
            rules,
            wanted: by_document(&pairs),
            pairs,
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
    text: Option<&'a ShardText>,
    rules: Vec<ComparedRule>,
    pairs: Vec<Pair>,
    /// Words by document.
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
            let Some(words) = self.wanted.get(&document.number) else { return Ok(Vec::new()) };
            document.excerpts(words, self.text, &self.rules)
        };
        let found: Vec<_> = documents.par_iter().map(read).collect::<Result<_, _>>()?;
        self.excerpts.extend(found.into_iter().flatten());
        Ok(())
    }

    /// Compares all passages that were read.
    pub(crate) fn compare(self) -> Duplicates {
        let Self { summary, mut comparison, least, rules, pairs, excerpts, .. } = self;
        let mut extents: Vec<(u64, Range<usize>, usize)> = Vec::new();
        let mut compared_letters: HashMap<[u64; 2], Vec<[Range<usize>; 2]>> = HashMap::new();
        for (batch, first) in pairs.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let compare = |pair: &Pair| {
                let [a, b] = pair.locations;
                compared(excerpts.get(a)?, excerpts.get(b)?, rules.len() + 1, least)
            };
            let found: Vec<_> = batch.par_iter().map(compare).collect();
            for ((number, pair), found) in (first..).zip(batch).zip(found) {
                let Some(found) = found else { continue };
                let documents = pair.locations.map(|at| at.document);
                let compared = compared_letters.entry(documents).or_default();
                if compared.iter().any(|[a, b]| a.contains(&found.seeds[0]) && b.contains(&found.seeds[1])) {
                    // Another pair extended over this one.
                    continue;
                }
                compared.push(found.extents.clone());
                let extents_here = documents.into_iter().zip(found.extents.clone());
                extents.extend(extents_here.map(|(document, extent)| (document, extent, number)));
                comparison.add(number, found);
            }
        }
        comparison.regroup(&passages(extents, pairs.len()));
        let Duplicates { documents, searched, characters, recurring_share, copies, least_characters, .. } =
            summary;
        Duplicates {
            documents,
            searched,
            characters,
            recurring_share,
            copies,
            least_characters,
            ..comparison.report()
        }
    }
}

/// For each pair the number of its passage. Pairs with letters of a document in common are copies of the same one; `extents` are
/// those of pairs in documents.
fn passages(mut extents: Vec<(u64, Range<usize>, usize)>, pairs: usize) -> Vec<usize> {
    let mut passages = Groups::new(pairs);
    extents.sort_unstable_by_key(|(document, extent, number)| (*document, extent.start, extent.end, *number));
    let mut last: Option<(u64, usize, usize)> = None;
    for (document, extent, number) in extents {
        match &mut last {
            Some((before, end, other)) if *before == document && extent.start < *end => {
                passages.join(*other, number);
                *end = extent.end.max(*end);
            }
            _ => last = Some((document, extent.end, number)),
        }
    }
    passages.into_numbers()
}

/// Words by the number of their places, of those that have more than one.
fn buckets(counts: impl Iterator<Item = u64>) -> Vec<CopyBucket> {
    let mut buckets: Vec<CopyBucket> = Vec::new();
    for count in counts.filter(|&count| count > 1) {
        // 2, 3 to 4, 5 to 8, ...
        let index = (count - 1).ilog2() as usize;
        while buckets.len() <= index {
            let to = 2 << buckets.len();
            buckets.push(CopyBucket { from: to / 2 + 1, to, words: 0 });
        }
        buckets[index].words += 1;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_places_fall_into_doubling_buckets() {
        let found = buckets([1, 2, 2, 3, 4, 5, 8, 9, 1].into_iter());
        let found: Vec<_> = found.iter().map(|bucket| (bucket.from, bucket.to, bucket.words)).collect();
        assert_eq!(found, [(2, 2, 2), (3, 4, 2), (5, 8, 2), (9, 16, 1)]);
    }

    /// Documents of ids, of which the first `indexed` are indexed.
    fn searched(documents: &[Vec<u32>], indexed: usize) -> Search {
        let mut needles = Needles::new(false).unwrap();
        let mut words = TextWords::default();
        for (number, ids) in documents[..indexed].iter().enumerate() {
            words.read_ids(ids).unwrap();
            needles.add(number as u64, &words).unwrap();
        }
        let options = DuplicateOptions { least_characters: 64, pairs: 100, shown: 0 };
        let mut search = needles.build(options, 0);
        for (number, ids) in documents.iter().enumerate() {
            words.read_ids(ids).unwrap();
            let copies = search.finder().find(number as u64, &words);
            search.note(&copies);
        }
        search
    }

    fn pairs(search: &Search) -> Vec<[(u64, u64); 2]> {
        let pairs = search.pairs.iter().flatten();
        pairs.map(|(_, pair)| pair.locations.map(|at| (at.document, at.position))).collect()
    }

    fn ids(from: u32, count: u32) -> Vec<u32> {
        (from..from + count).collect()
    }

    #[test]
    fn copies_are_found_beyond_the_indexed_documents_and_within_one() {
        let copy = [ids(9000, 50), ids(100, 40), ids(9500, 50)].concat();
        let twice = [ids(5000, 60), ids(6000, 30), ids(5000, 60)].concat();
        let search = searched(&[ids(0, 500), twice, copy], 2);
        assert_eq!(pairs(&search), [[(0, 120), (2, 70)], [(1, 30), (1, 120)]]);
        assert_eq!(search.copies[..500].iter().map(|&n| u64::from(n)).sum::<u64>(), 40);
        assert_eq!(search.copies[500..].iter().filter(|&&n| n == 1).count(), 120);
    }

    #[test]
    fn a_passage_in_many_documents_is_one() {
        let documents: Vec<_> = (0..30)
            .map(|i| [ids(1000 * i + 1000, 40), ids(0, 80), ids(1000 * i + 1500, 40)].concat())
            .collect();
        let search = searched(&documents, 20);
        // All are compared with the first one.
        let found = pairs(&search);
        assert!(
            !found.is_empty() && found.iter().all(|[first, other]| first.0 == 0 && first.1 == other.1),
            "{found:?}"
        );
        // All copies know that they are some.
        let counts: Vec<u32> =
            search.copies.iter().zip(&search.repeats).map(|(&a, &b)| a.max(b.into())).collect();
        assert_eq!(counts.iter().filter(|&&n| n > 0).count(), 20 * 80);
        assert_eq!(counts.iter().max(), Some(&29));
    }

    #[test]
    fn pairs_that_share_letters_are_of_one_passage() {
        let extents = vec![
            (0, 0..100, 0),
            (5, 0..100, 0),
            (0, 90..150, 1),
            (6, 0..60, 1),
            (0, 150..200, 2),
            (7, 0..50, 2),
        ];
        assert_eq!(passages(extents.clone(), 4), [0, 0, 2, 3]);
        let through_another = [extents, vec![(6, 50..90, 3), (7, 49..90, 3)]].concat();
        assert_eq!(passages(through_another, 4), [0; 4]);
    }

    #[test]
    fn long_copies_are_compared_in_pieces() {
        let search = searched(&[ids(0, 3000), ids(0, 3000)], 1);
        assert_eq!(pairs(&search).len(), 30);
        assert_eq!(pairs(&search)[1], [(0, 150), (1, 150)]);
    }
}
