//! What was found of the texts in a corpus: bounded by the texts, whatever the size of the corpus.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Places that are kept of each run.
pub(crate) const KEPT_PLACES: usize = 8;

/// Words of a text in which places with edits start of which some are kept.
pub(crate) const EDITED_STEP: u32 = 64;

/// Documents that are kept, those with the most words in spans.
const KEPT_DOCUMENTS: usize = 50;

/// Sources that are told apart; those beyond count as one without a name.
const MOST_SOURCES: usize = 1 << 16;

/// A longest run of words that a document and the texts have in common, as the texts have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its first position in the order of suffixes.
    pub(crate) position: u32,
    /// How many words it has.
    pub(crate) words: u32,
    /// How many of its words start a part of it that no other run of the document extends: from the next word on, another
    /// run reaches further.
    pub(crate) starts: u32,
}

/// Bytes of a document that are kept before and after a place.
pub(crate) const CONTEXT_BYTES: usize = 160;

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The least ones are kept. It depends on the document, the place and the seed.
    pub(crate) key: u64,
    /// The document's id.
    pub(crate) doc_id: String,
    /// The number of its source.
    pub(crate) source: u32,
    /// Where each of its words starts and ends in the document, in bytes.
    pub(crate) words: Vec<(u32, u32)>,
    /// Text before it.
    pub(crate) before: String,
    /// Its text.
    pub(crate) text: String,
    /// Text after it.
    pub(crate) after: String,
}

impl Place {
    fn start(&self) -> u32 {
        self.words.first().map_or(0, |word| word.0)
    }
}

/// The key of a place.
pub(crate) fn place_key(doc_id: &str, start: usize, seed: u64) -> u64 {
    xxh3_64_with_seed(&(start as u64).to_le_bytes(), xxh3_64_with_seed(doc_id.as_bytes(), seed))
}

/// Places of which all are counted and some are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places<P> {
    /// How many there are by the number of their source.
    pub(crate) sources: Vec<(u32, u64)>,
    /// Those with the least keys.
    pub(crate) kept: Vec<P>,
}

impl<P> Default for Places<P> {
    fn default() -> Self {
        Self { sources: Vec::new(), kept: Vec::new() }
    }
}

/// A place with edits between the words that are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EditedPlace {
    /// The part of the document from the first word in common to the last.
    pub(crate) place: Place,
    /// The positions from the first word in common to the last.
    pub(crate) positions: (u32, u32),
    /// Words in common.
    pub(crate) words: u32,
    /// Words between them that are replaced, deleted or inserted.
    pub(crate) edits: u32,
}

/// A place that can be kept.
pub(crate) trait Kept {
    /// What decides which places are kept: the least ones.
    type Rank: Ord;

    fn rank(&self) -> Self::Rank;

    /// Breaks ties of the ranks.
    fn place(&self) -> &Place;

    fn place_mut(&mut self) -> &mut Place;
}

impl Kept for Place {
    type Rank = u64;

    fn rank(&self) -> u64 {
        self.key
    }

    fn place(&self) -> &Place {
        self
    }

    fn place_mut(&mut self) -> &mut Place {
        self
    }
}

impl EditedPlace {
    /// That of a place with so many words in common: the more, the better.
    pub(crate) fn rank_of(words: u32, key: u64) -> (Reverse<u32>, u64) {
        (Reverse(words), key)
    }
}

impl Kept for EditedPlace {
    type Rank = (Reverse<u32>, u64);

    fn rank(&self) -> Self::Rank {
        Self::rank_of(self.words, self.place.key)
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

/// What places are sorted by.
pub(crate) fn order<P: Kept>(place: &P) -> impl Ord + use<'_, P> {
    (place.rank(), &place.place().doc_id, place.place().start())
}

impl<P: Kept> Places<P> {
    /// How many places there are.
    pub(crate) fn count(&self) -> u64 {
        self.sources.iter().map(|source| source.1).sum()
    }

    /// Adds a place of this rank, which is only made if it is kept.
    pub(crate) fn add(&mut self, source: u32, rank: P::Rank, make: impl FnOnce() -> P) {
        add_source(&mut self.sources, source, 1);
        let is_full = self.kept.len() == KEPT_PLACES;
        if !is_full || self.kept.last().is_some_and(|last| rank <= last.rank()) {
            self.kept.push(make());
            self.trim();
        }
    }

    fn trim(&mut self) {
        self.kept.sort_by(|a, b| order(a).cmp(&order(b)));
        self.kept.truncate(KEPT_PLACES);
    }

    /// Adds those of another part of the corpus, whose sources have these numbers here.
    fn merge(&mut self, mut other: Self, numbers: &[u32]) {
        for (source, count) in other.sources {
            add_source(&mut self.sources, numbers[source as usize], count);
        }
        for kept in &mut other.kept {
            let place = kept.place_mut();
            place.source = numbers[place.source as usize];
        }
        self.kept.append(&mut other.kept);
        self.trim();
    }
}

fn add_source(sources: &mut Vec<(u32, u64)>, source: u32, count: u64) {
    match sources.iter_mut().find(|found| found.0 == source) {
        Some(found) => found.1 += count,
        None => sources.push((source, count)),
    }
}

/// A document with words in spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopiedDocument {
    pub(crate) doc_id: String,
    pub(crate) source: u32,
    /// Its words that are in runs.
    pub(crate) words: u64,
    /// Runs that it has in common with texts.
    pub(crate) runs: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hits {
    /// Names of sources.
    pub(crate) sources: Vec<String>,
    /// Longest runs, with their places.
    #[serde(with = "as_list")]
    pub(crate) runs: HashMap<Run, Places<Place>>,
    /// By text, and by where in it they start, in steps of [`EDITED_STEP`] words, the places with edits.
    #[serde(with = "as_list")]
    pub(crate) edited: BTreeMap<(u32, u32), Places<EditedPlace>>,
    /// Positions that such places have in common with documents, in order, no two ranges adjacent.
    pub(crate) in_edited: Vec<(u32, u32)>,
    /// Documents with the most words in runs.
    pub(crate) documents: Vec<CopiedDocument>,
    /// Documents with words in runs or edited places.
    pub(crate) documents_found: u64,
    /// Ranges when they were last joined.
    #[serde(skip)]
    joined: usize,
    /// Numbers of sources by name.
    #[serde(skip)]
    numbers: HashMap<String, u32>,
}

impl Hits {
    /// The number of a source.
    pub(crate) fn source(&mut self, name: &str) -> u32 {
        if self.numbers.len() != self.sources.len() {
            self.numbers = (0..).zip(&self.sources).map(|(number, name)| (name.clone(), number)).collect();
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.sources.len() + 1 == MOST_SOURCES && !name.is_empty() {
            return self.source("");
        }
        let number = self.sources.len() as u32;
        self.sources.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// Notes positions that a place with edits has in common with a document.
    pub(crate) fn note_edited(&mut self, positions: Range<u32>) {
        self.in_edited.push((positions.start, positions.end));
    }

    /// Notes a document.
    pub(crate) fn note_document(&mut self, document: CopiedDocument) {
        self.documents.push(document);
        self.trim_documents();
    }

    fn trim_documents(&mut self) {
        if self.documents.len() > 2 * KEPT_DOCUMENTS {
            self.sort_documents();
        }
    }

    fn sort_documents(&mut self) {
        self.documents.sort_by(|a, b| (b.words, &a.doc_id).cmp(&(a.words, &b.doc_id)));
        self.documents.truncate(KEPT_DOCUMENTS);
    }

    /// Brings everything into its order.
    pub(crate) fn settle(&mut self) {
        self.sort_documents();
        join_ranges(&mut self.in_edited);
    }

    /// Adds what was found in another part of the corpus.
    pub(crate) fn merge(&mut self, other: Self) {
        let numbers: Vec<u32> = other.sources.iter().map(|name| self.source(name)).collect();
        for (run, places) in other.runs {
            self.runs.entry(run).or_default().merge(places, &numbers);
        }
        for (text, places) in other.edited {
            self.edited.entry(text).or_default().merge(places, &numbers);
        }
        self.documents.extend(other.documents.into_iter().map(|mut document| {
            document.source = numbers[document.source as usize];
            document
        }));
        self.trim_documents();
        self.documents_found += other.documents_found;
        if !other.in_edited.is_empty() {
            self.in_edited.extend(other.in_edited);
            if self.in_edited.len() > self.joined.saturating_mul(2).max(MOST_RANGES) {
                join_ranges(&mut self.in_edited);
                self.joined = self.in_edited.len();
            }
        }
    }
}

/// Ranges before they are joined.
const MOST_RANGES: usize = 1 << 20;

/// Sorts ranges, and joins those that overlap or touch.
pub(crate) fn join_ranges(ranges: &mut Vec<(u32, u32)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
}

/// A map as a list of pairs in the order of the keys: keys of JSON are strings.
mod as_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<'m, K, V, M, S>(map: &'m M, serializer: S) -> Result<S::Ok, S::Error>
    where
        K: Ord + Serialize + 'm,
        V: Serialize + 'm,
        &'m M: IntoIterator<Item = (&'m K, &'m V)>,
        S: Serializer,
    {
        let mut list: Vec<(&K, &V)> = map.into_iter().collect();
        list.sort_by(|a, b| a.0.cmp(b.0));
        serializer.collect_seq(list)
    }

    pub(super) fn deserialize<'de, K, V, M, D>(deserializer: D) -> Result<M, D::Error>
    where
        K: Deserialize<'de>,
        V: Deserialize<'de>,
        M: FromIterator<(K, V)>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
