//! The index of works.

use std::ops::Range;

use goldfish_mask::TextWords;

use crate::table::Table;
use crate::winnow::{Winnow, run_hash, those_of};
use crate::works::Works;
use crate::{MatchError, Parameters};

/// Collects works.
#[derive(Debug)]
pub struct IndexBuilder {
    parameters: Parameters,
    words: TextWords,
    works: Works,
}

impl IndexBuilder {
    /// Without works.
    ///
    /// # Errors
    ///
    /// If a parameter is out of its range.
    pub fn new(parameters: Parameters) -> Result<Self, MatchError> {
        let parameters = parameters.check()?;
        Ok(Self { parameters, words: TextWords::default(), works: Works::default() })
    }

    /// Adds a work. Works are numbered in the order in which they are added; an id may recur, and a text may be empty.
    ///
    /// # Errors
    ///
    /// If there is no room for the work, or its text is too long. The works before it are kept.
    pub fn add(&mut self, id: &str, text: &str) -> Result<(), MatchError> {
        let mut words = std::mem::take(&mut self.words);
        let added = words.read(text).map_err(MatchError::from).and_then(|()| self.add_words(id, &words));
        self.words = words;
        added
    }

    /// Adds a work by its words, as [`add`](Self::add) does by its text.
    ///
    /// # Errors
    ///
    /// If there is no room for it. The works before it are kept.
    pub fn add_words(&mut self, id: &str, words: &TextWords) -> Result<(), MatchError> {
        self.works.add(id, words).ok_or_else(|| MatchError::TooLarge { id: id.into() })
    }

    /// Indexes the works.
    #[must_use]
    pub fn build(self) -> Index {
        let Self { parameters, mut works, .. } = self;
        works.shrink();
        let mut winnow = Winnow::new(parameters);
        let mut hashes = Vec::new();
        let grams = Table::new(
            &mut |each| {
                for work in 0..works.count() {
                    works.hashes(work, &mut hashes);
                    let first = works.range(work).0;
                    winnow.fingerprints(hashes.len(), those_of(&hashes), |found| {
                        found.iter().for_each(|found| each(found.hash, first + found.word as u32));
                    });
                }
            },
            true,
        );
        let runs = common_runs(&works, &grams, parameters);
        Index { parameters, works, grams, runs }
    }
}

/// Runs to hold before those beyond the first places of each are left out.
const HELD_RUNS: usize = 1 << 20;

/// The runs of words whose fingerprint is common.
fn common_runs(works: &Works, grams: &Table, parameters: Parameters) -> Table {
    let mut runs: Vec<(u64, u32)> = Vec::new();
    if grams.has_common() {
        let mut winnow = Winnow::new(parameters);
        let run = parameters.guaranteed() as usize;
        let (mut hashes, mut held) = (Vec::new(), HELD_RUNS);
        for work in 0..works.count() {
            works.hashes(work, &mut hashes);
            let first = works.range(work).0;
            winnow.windows(hashes.len(), those_of(&hashes), |start, found| {
                let words = hashes.get(start..start + run).filter(|_| grams.is_common(found.hash));
                if let Some(words) = words {
                    runs.push((run_hash(words, parameters), first + start as u32));
                }
                if runs.len() > held {
                    keep_first(&mut runs);
                    held = HELD_RUNS.max(2 * runs.len());
                }
            });
        }
        keep_first(&mut runs);
        // Places in their order.
        runs.sort_unstable_by_key(|run| run.1);
    }
    Table::new(&mut |each| runs.iter().for_each(|&(hash, place)| each(hash, place)), false)
}

/// Keeps the first places of each run.
fn keep_first(runs: &mut Vec<(u64, u32)>) {
    runs.sort_unstable();
    let (mut last, mut count) = (None, 0);
    runs.retain(|run| {
        count = if last == Some(run.0) { count + 1 } else { 1 };
        last = Some(run.0);
        count <= crate::table::MOST_PLACES
    });
}

/// Works, indexed by the fingerprints of their words. Threads share it; it is the same whatever built it.
#[derive(Debug)]
pub struct Index {
    pub(crate) parameters: Parameters,
    pub(crate) works: Works,
    /// The first words of fingerprints.
    pub(crate) grams: Table,
    /// The first words of runs whose fingerprint is common.
    pub(crate) runs: Table,
}

impl Index {
    /// What it was built with.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// How many works there are.
    #[must_use]
    pub fn works(&self) -> usize {
        self.works.count()
    }

    /// The id of a work, if there is one of that number.
    #[must_use]
    pub fn id(&self, work: u32) -> Option<&str> {
        self.works.id(work as usize)
    }

    /// The words of a work among those of all works in their order; none if there is no work of that number.
    #[must_use]
    pub fn range(&self, work: u32) -> Range<usize> {
        let (start, end) = self.works.range(work as usize);
        start as usize..end as usize
    }

    /// How many words a work has; 0 if there is none of that number.
    #[must_use]
    pub fn words(&self, work: u32) -> u32 {
        self.range(work).len() as u32
    }

    /// The normalized characters of a word of a work, as UTF-8, if there is one of that number.
    #[must_use]
    pub fn word(&self, work: u32, word: u32) -> Option<&[u8]> {
        let (start, end) = self.works.range(work as usize);
        let place = start.checked_add(word).filter(|&place| place < end)? as usize;
        Some(self.works.bytes(self.works.start(place), self.works.length(place)))
    }

    /// How many words all works have together.
    #[must_use]
    pub fn all_words(&self) -> u64 {
        self.works.words() as u64
    }

    /// Words of the longest work.
    #[must_use]
    pub fn longest(&self) -> u32 {
        (0..self.works() as u32).map(|work| self.words(work)).max().unwrap_or(0)
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.works.memory_bytes() + self.grams.memory_bytes() + self.runs.memory_bytes()
    }
}
