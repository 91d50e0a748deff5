//! From what was found to tables and the summary.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use goldfish_audit::stat::Bootstrap;
use goldfish_pipeline::ScanState;

use crate::hits::{CONTEXT_BYTES, EditedPlace, Hits, Place, Places, join_ranges};
use crate::needles::Needles;
use crate::search::Searched;
use crate::spans::{Span, Starts};
use crate::summary::{
    CorpusCounts, DocumentSummary, Shares, SourceSummary, TraceSummary, of_group, recited_by_copies,
    source_summary,
};
use crate::tables::{SpanRow, TextRow, share};
use crate::texts::{Group, Least, Text, Texts, TextsKind};

/// Sources that a summary lists.
const LISTED_SOURCES: usize = 64;

/// Version of the files of a trace.
pub const TRACE_VERSION: u32 = 1;

/// Texts, and what was found of them.
pub(crate) struct Results<'a> {
    texts: &'a [Text],
    needles: &'a Needles,
    hits: &'a Hits,
    starts: Starts<'a>,
    kind: TextsKind,
    least: Least,
    seed: u64,
}

impl<'a> Results<'a> {
    pub(crate) fn new(texts: &'a Texts, searched: &'a Searched, hits: &'a Hits, least: Least) -> Self {
        let Searched { needles, seed, .. } = searched;
        let (starts, kind) = (Starts::new(needles, hits), texts.kind);
        Self { texts: &texts.all, needles, hits, starts, kind, least, seed: *seed }
    }

    /// Whether a run of words is long enough to be a span of a text.
    fn is_span(&self, text: &Text, run: (u32, u32)) -> bool {
        match self.least {
            _ if run.1 < self.least.words() => false,
            Least::Words(_) => true,
            Least::Characters(least) => text.characters(self.part_of(text, run)) >= u64::from(least),
        }
    }

    /// The spans of a text: the first position of each, and its words.
    fn spans_of(&self, longest: &[u32], text: &Text) -> Vec<(u32, u32)> {
        self.starts.spans(text.same as usize, longest, &|run| self.is_span(text, run))
    }

    fn first(&self, text: &Text) -> u32 {
        self.needles.range(text.same as usize).start
    }

    /// Where a run, given by its first position and its words, is among the words of a text.
    fn words_of(&self, text: &Text, (position, words): (u32, u32)) -> (u32, u32) {
        let start = position - self.first(text);
        (start, start + words)
    }

    /// The part of a text that a run is, in bytes.
    fn part_of(&self, text: &Text, run: (u32, u32)) -> Range<usize> {
        let (start, end) = self.words_of(text, run);
        text.part(start as usize..end as usize)
    }

    /// The rows of the tables, text by text: that of the text, and those of its places.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (TextRow, Vec<SpanRow>)> {
        let longest = self.starts.longest(None);
        let mut known = HashMap::new();
        self.texts.iter().map(move |text| {
            let spans = self.spans_of(&longest, text).into_iter();
            let spans: Vec<Span<'_>> = spans.map(|run| self.starts.places(run, &mut known)).collect();
            let copies = self.inner_run(text).map(|run| self.starts.places(run, &mut known).places.count);
            let mut places: Vec<SpanRow> = spans.iter().flat_map(|span| self.span_rows(text, span)).collect();
            let edited = || self.hits.edited.range((text.same, 0)..=(text.same, u32::MAX)).map(|part| part.1);
            let kept = edited().flat_map(|places| &places.kept);
            places.extend(kept.map(|found| self.edited_row(text, found)));
            let edited_places = edited().map(Places::count).sum();
            (TextRow { edited_places, copies, ..self.text_row(text, &spans) }, places)
        })
    }

    /// The words of a text without the first and the last, which may be cut, if they are enough for a span.
    fn inner_run(&self, text: &Text) -> Option<(u32, u32)> {
        let words = (text.words.len() as u32).checked_sub(2).filter(|words| *words > 0)?;
        let run = (self.first(text) + 1, words);
        self.is_span(text, run).then_some(run)
    }

    /// The row of a text, without what only its places say.
    fn text_row(&self, text: &Text, spans: &[Span<'_>]) -> TextRow {
        let first = self.first(text);
        let verbatim: Vec<_> = spans.iter().map(|span| self.words_of(text, span.run())).collect();
        let mut covered = verbatim.clone();
        let end = first + text.words.len() as u32;
        let from = self.hits.in_edited.partition_point(|range| range.1 <= first);
        let edited = self.hits.in_edited[from..].iter().take_while(|range| range.0 < end);
        covered.extend(edited.map(|range| (range.0.max(first) - first, range.1.min(end) - first)));
        let longest = spans.iter().max_by_key(|span| (span.words, Reverse(span.position)));
        let characters = text.text.chars().count() as u64;
        let (verbatim_words, verbatim_characters) = covered_by(text, verbatim);
        let (covered_words, _) = covered_by(text, covered);
        TextRow {
            text_id: text.id.clone(),
            group: text.group.name().to_owned(),
            cluster: text.cluster.clone(),
            text: text.text.clone(),
            characters,
            words: text.words.len() as u64,
            spans: spans.len() as u64,
            verbatim_characters,
            verbatim_words,
            covered_words,
            verbatim_share: share(verbatim_characters, characters),
            longest_words: longest.map_or(0, |span| u64::from(span.words)),
            longest_characters: longest.map_or(0, |span| text.characters(self.part_of(text, span.run()))),
            longest_places: longest.map_or(0, |span| span.places.count),
            places: spans.iter().map(|span| span.places.count).sum(),
            edited_places: 0,
            copies: None,
        }
    }

    fn span_rows(&self, text: &Text, span: &Span<'_>) -> Vec<SpanRow> {
        let part = self.part_of(text, span.run());
        let row = |(place, word): &(&Place, usize)| {
            let words = &place.words[*word..word + span.words as usize];
            let place = self.place(place, words);
            let (words, edits, places) = (span.words, 0, Some(span.places.count));
            row(text, (part.start, part.end), place, words, edits, places)
        };
        span.places.kept.iter().map(row).collect()
    }

    fn edited_row(&self, text: &Text, found: &EditedPlace) -> SpanRow {
        let (start, end) = found.positions;
        let part = self.part_of(text, (start, end - start));
        let place = self.place(&found.place, &found.place.words);
        row(text, (part.start, part.end), place, found.words, found.edits, None)
    }

    /// A part of a place, some of its words.
    fn place(&self, place: &'a Place, words: &[(u32, u32)]) -> DocumentPart<'a> {
        let (start, end) = (words.first().map_or(0, |word| word.0), words.last().map_or(0, |word| word.1));
        let base = place.words.first().map_or(0, |word| word.0);
        let (from, to) = ((start - base) as usize, (end - base) as usize);
        DocumentPart {
            doc_id: &place.doc_id,
            source: &self.hits.sources[place.source as usize],
            bytes: (u64::from(start), u64::from(end)),
            before: [&place.before, &place.text[..from]].concat(),
            text: &place.text[from..to],
            after: [&place.text[to..], &place.after].concat(),
        }
    }

    /// The statistics.
    pub(crate) fn summary(&self, key: &str, rows: &[TextRow], corpus: &ScanState) -> TraceSummary {
        let bootstrap = Bootstrap::new(self.seed);
        let group = |group: Group| {
            let rows = of_group(rows, group);
            rows.clone().next().map(|_| {
                let shares = Shares::new(rows.clone());
                (shares.summary(rows, bootstrap), shares)
            })
        };
        let (texts, control) = (group(Group::Text), group(Group::Control));
        let excess = texts
            .as_ref()
            .zip(control.as_ref())
            .map(|(texts, control)| texts.1.excess(&control.1, bootstrap));
        let none = || {
            let shares = Shares::new(std::iter::empty());
            shares.summary(std::iter::empty(), bootstrap)
        };
        TraceSummary {
            trace_version: TRACE_VERSION,
            key: key.to_owned(),
            least: self.least,
            corpus: CorpusCounts {
                inputs: corpus.inputs.iter().map(|input| &input.name).collect::<BTreeSet<_>>().len() as u64,
                documents: corpus.documents,
                text_bytes: corpus.text_bytes,
                rejected: corpus.rejected,
                rejects: corpus.rejects.clone(),
                documents_found: self.hits.documents_found,
            },
            texts: texts.map_or_else(none, |texts| texts.0),
            control: control.map(|control| control.0),
            excess,
            recited_by_copies: (self.kind == TextsKind::Suffixes).then(|| recited_by_copies(rows)),
            sources: self.sources(bootstrap),
            documents: self.documents(),
        }
    }

    /// What was found by source. Of many sources only those with the most places are looked at.
    fn sources(&self, bootstrap: Bootstrap) -> Vec<SourceSummary> {
        let mut places = vec![0; self.hits.sources.len()];
        for (source, count) in self.hits.runs.values().flat_map(|found| &found.sources) {
            places[*source as usize] += count;
        }
        let mut order: Vec<u32> =
            (0..places.len() as u32).filter(|source| places[*source as usize] > 0).collect();
        order.sort_by_key(|source| (Reverse(places[*source as usize]), &self.hits.sources[*source as usize]));
        let of_source = |source: &u32| {
            let longest = self.starts.longest(Some(*source));
            let texts = self.texts.iter().filter(|text| text.group == Group::Text);
            let found: Vec<(u64, u64)> = texts
                .map(|text| {
                    let spans = self.spans_of(&longest, text).into_iter();
                    let words = spans.map(|run| self.words_of(text, run)).collect();
                    (covered_by(text, words).1, text.text.chars().count() as u64)
                })
                .collect();
            source_summary(&self.hits.sources[*source as usize], &found, bootstrap)
        };
        let mut found: Vec<_> = order.iter().take(LISTED_SOURCES).map(of_source).collect();
        found.sort_by(|a, b| (b.with_span.positives, &a.source).cmp(&(a.with_span.positives, &b.source)));
        found
    }

    fn documents(&self) -> Vec<DocumentSummary> {
        let documents = self.hits.documents.iter();
        documents
            .map(|document| DocumentSummary {
                doc_id: document.doc_id.clone(),
                source: self.hits.sources[document.source as usize].clone(),
                words: document.words,
                runs: document.runs,
            })
            .collect()
    }
}

/// A part of a document.
struct DocumentPart<'a> {
    doc_id: &'a str,
    source: &'a str,
    bytes: (u64, u64),
    before: String,
    text: &'a str,
    after: String,
}

fn row(
    text: &Text,
    part: (usize, usize),
    place: DocumentPart<'_>,
    words: u32,
    edits: u32,
    places: Option<u64>,
) -> SpanRow {
    SpanRow {
        text_id: text.id.clone(),
        group: text.group.name().to_owned(),
        text_start: part.0 as u64,
        text_end: part.1 as u64,
        doc_id: place.doc_id.to_owned(),
        source: place.source.to_owned(),
        doc_start: place.bytes.0,
        doc_end: place.bytes.1,
        words,
        edits,
        places,
        doc_before: last(&place.before),
        doc_text: place.text.to_owned(),
        doc_after: first(&place.after),
    }
}

fn last(text: &str) -> String {
    text[text.floor_char_boundary(text.len().saturating_sub(CONTEXT_BYTES))..].to_owned()
}

fn first(text: &str) -> String {
    text[..text.ceil_char_boundary(CONTEXT_BYTES.min(text.len()))].to_owned()
}

/// The words and the characters of a text in ranges of words. What is between two ranges is in none.
fn covered_by(text: &Text, mut words: Vec<(u32, u32)>) -> (u64, u64) {
    let part = |(start, end): &(u32, u32)| {
        let part = text.part(*start as usize..*end as usize);
        (part.start as u32, part.end as u32)
    };
    let mut parts = words.iter().map(part).collect();
    join_ranges(&mut parts);
    join_ranges(&mut words);
    let characters = parts.iter().map(|(start, end)| text.characters(*start as usize..*end as usize)).sum();
    (words.iter().map(|(start, end)| u64::from(end - start)).sum(), characters)
}
