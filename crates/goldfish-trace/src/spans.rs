//! From what was found to the spans of each text.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hits::{Hits, KEPT_PLACES, Place, Run, order};
use crate::needles::Needles;

/// A part of a text that appears in the corpus word for word, and is not in a longer one.
#[derive(Debug, Clone)]
pub(crate) struct Span<'a> {
    /// Its first position.
    pub(crate) position: u32,
    /// How many words it has.
    pub(crate) words: u32,
    /// The places of the corpus that have it.
    pub(crate) places: Arc<SpanPlaces<'a>>,
}

impl Span<'_> {
    /// Its first position, and its words.
    pub(crate) fn run(&self) -> (u32, u32) {
        (self.position, self.words)
    }
}

/// The places of the corpus that have a span.
#[derive(Debug)]
pub(crate) struct SpanPlaces<'a> {
    /// How many there are.
    pub(crate) count: u64,
    /// Some of them, chosen by chance, each with the number of its word that starts the span.
    pub(crate) kept: Vec<(&'a Place, usize)>,
}

/// A word of the corpus from which on a text's words follow.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Where its suffix is in the order.
    rank: u32,
    /// How many words follow that a text has too.
    words: u32,
    /// The number of its run among those that were found, and of its word in that.
    run: (u32, u32),
}

/// What is known of every position.
pub(crate) struct Starts<'a> {
    needles: &'a Needles,
    hits: &'a Hits,
    /// The runs that were found, in a fixed order.
    runs: Vec<&'a Run>,
    ranks: Vec<u32>,
    common: Vec<u32>,
    /// By rank.
    starts: Vec<Start>,
}

impl<'a> Starts<'a> {
    pub(crate) fn new(needles: &'a Needles, hits: &'a Hits) -> Self {
        let ranks = needles.ranks();
        let common = needles.common_with_previous(&ranks);
        let mut runs: Vec<_> = hits.runs.keys().collect();
        runs.sort_unstable();
        let mut starts: Vec<Start> = (0..)
            .zip(&runs)
            .flat_map(|(number, run)| {
                let ranks = &ranks;
                (0..run.starts).map(move |word| Start {
                    rank: ranks[(run.position + word) as usize],
                    words: run.words - word,
                    run: (number, word),
                })
            })
            .collect();
        starts.sort_unstable_by_key(|start| (start.rank, start.words, start.run));
        Self { needles, hits, runs, ranks, common, starts }
    }

    /// For every position, how many words from it on the corpus has in a row; only what was found `where_found` counts, a number of a
    /// source or any.
    pub(crate) fn longest(&self, where_found: Option<u32>) -> Vec<u32> {
        let mut longest = vec![0; self.needles.len()];
        for start in &self.starts {
            let is_found = where_found.is_none_or(|source| {
                let places = &self.hits.runs[self.runs[start.run.0 as usize]];
                places.sources.iter().any(|found| found.0 == source)
            });
            if is_found {
                longest[start.rank as usize] = longest[start.rank as usize].max(start.words);
            }
        }
        // A suffix has what another one has of the corpus, as far as both begin alike.
        let mut before = 0;
        for (words, common) in longest.iter_mut().zip(&self.common) {
            before = (*words).max(before.min(*common));
            *words = before;
        }
        for rank in (1..longest.len()).rev() {
            let after = longest[rank].min(self.common[rank]);
            longest[rank - 1] = longest[rank - 1].max(after);
        }
        self.ranks.iter().map(|rank| longest[*rank as usize]).collect()
    }

    /// The longest spans of a text, in order: none is in another one. `is_span` says whether a run of words from a position on
    /// is long enough.
    pub(crate) fn spans(
        &self,
        text: usize,
        longest: &[u32],
        is_span: &dyn Fn((u32, u32)) -> bool,
    ) -> Vec<(u32, u32)> {
        let mut spans = Vec::new();
        let mut end = 0;
        for position in self.needles.range(text) {
            let words = longest[position as usize];
            if words > 0 && position + words > end {
                end = position + words;
                if is_span((position, words)) {
                    spans.push((position, words));
                }
            }
        }
        spans
    }

    /// The places of a span. `known` has those of spans that were asked for before.
    pub(crate) fn places(
        &self,
        (position, words): (u32, u32),
        known: &mut HashMap<(usize, u32), Arc<SpanPlaces<'a>>>,
    ) -> Span<'a> {
        let ranks = self.needles.places(self.needles.run(position, words));
        let places = known.entry((ranks.start, words)).or_insert_with(|| {
            let from = self.starts.partition_point(|start| (start.rank as usize) < ranks.start);
            let to = self.starts.partition_point(|start| (start.rank as usize) < ranks.end);
            let mut places = SpanPlaces { count: 0, kept: Vec::new() };
            for start in self.starts[from..to].iter().filter(|start| start.words >= words) {
                let (run, word) = start.run;
                let found = &self.hits.runs[self.runs[run as usize]];
                places.count += found.count();
                places.kept.extend(found.kept.iter().map(|place| (place, word as usize)));
            }
            places.kept.sort_by(|a, b| (order(a.0), a.1).cmp(&(order(b.0), b.1)));
            places.kept.truncate(KEPT_PLACES);
            places.into()
        });
        Span { position, words, places: places.clone() }
    }
}
