//! Which texts are shown.

use std::cmp::Ordering;
use std::collections::HashMap;

use goldfish_trace::{Group, SpanRow, TextRow, Trace};
use serde::Serialize;

use super::marks::{Mark, Piece, marks, pieces};
use crate::ReportError;

/// The texts of a group that are shown.
#[derive(Serialize)]
pub(super) struct Shown {
    /// Those with a place in the corpus, shown or not.
    found: u64,
    list: Vec<ShownText>,
}

/// Whether a text is one that others are compared with.
pub(super) fn is_control(group: &str) -> bool {
    group == Group::Control.name()
}

/// The texts of a group with the largest parts in the corpus.
pub(super) struct Chosen {
    most: usize,
    /// Texts with a place in the corpus.
    found: u64,
    rows: Vec<TextRow>,
}

impl Chosen {
    pub(super) fn new(most: usize) -> Self {
        Self { most, found: 0, rows: Vec::new() }
    }

    pub(super) fn offer(&mut self, row: TextRow) {
        if row.places + row.edited_places == 0 {
            return;
        }
        self.found += 1;
        self.rows.push(row);
        if self.rows.len() >= 2 * self.most {
            self.keep_most();
        }
    }

    fn keep_most(&mut self) {
        self.rows.sort_by(compare);
        self.rows.truncate(self.most);
    }
}

/// The largest verbatim share first, then the most words in spans or edited passages, then the longest span.
fn compare(a: &TextRow, b: &TextRow) -> Ordering {
    let largest = |of: fn(&TextRow) -> f64| of(b).total_cmp(&of(a));
    largest(|row| row.verbatim_share)
        .then_with(|| largest(TextRow::covered_share))
        .then_with(|| b.longest_words.cmp(&a.longest_words))
}

/// A text on the page.
#[derive(Serialize)]
pub(super) struct ShownText {
    text_id: String,
    characters: u64,
    words: u64,
    verbatim_share: f64,
    covered_share: f64,
    longest_words: u64,
    longest_places: u64,
    spans: u64,
    edited_places: u64,
    pieces: Vec<Piece>,
    /// Characters after the last piece.
    cut: u64,
    marks: Vec<Mark>,
}

impl ShownText {
    /// `first` is the number of its first mark on the page.
    fn new(row: TextRow, places: Vec<SpanRow>, first: usize) -> Self {
        let mut marks = marks(&row.text, places);
        let (pieces, cut) = pieces(&row.text, &mut marks, first);
        Self {
            covered_share: row.covered_share(),
            text_id: row.text_id,
            characters: row.characters,
            words: row.words,
            verbatim_share: row.verbatim_share,
            longest_words: row.longest_words,
            longest_places: row.longest_places,
            spans: row.spans,
            edited_places: row.edited_places,
            pieces,
            cut,
            marks,
        }
    }

    fn bytes(&self) -> usize {
        let pieces = self.pieces.iter().map(Piece::bytes).sum::<usize>();
        pieces + self.marks.iter().map(Mark::bytes).sum::<usize>()
    }
}

/// The chosen texts with their places: of each group as many as fit into so many bytes, one at least.
pub(super) fn with_places(
    mut groups: [Chosen; 2],
    most_bytes: [usize; 2],
    trace: &Trace,
) -> Result<[Shown; 2], ReportError> {
    groups.iter_mut().for_each(Chosen::keep_most);
    let all = || groups.iter().flat_map(|group| &group.rows);
    let at: HashMap<(bool, &str), usize> =
        all().zip(0..).map(|(row, at)| ((is_control(&row.group), row.text_id.as_str()), at)).collect();
    let mut places: Vec<Vec<SpanRow>> = all().map(|_| Vec::new()).collect();
    for row in trace.spans()? {
        let row = row?;
        if let Some(&at) = at.get(&(is_control(&row.group), row.text_id.as_str())) {
            places[at].push(row);
        }
    }
    let mut places = places.into_iter();
    let mut first = 0;
    Ok(std::array::from_fn(|group| {
        let Chosen { found, rows, .. } = std::mem::replace(&mut groups[group], Chosen::new(0));
        let mut list: Vec<ShownText> = Vec::new();
        let mut bytes = 0;
        for (row, places) in rows.into_iter().zip(places.by_ref()) {
            if bytes > most_bytes[group] {
                continue;
            }
            let text = ShownText::new(row, places, first);
            bytes += text.bytes();
            first += text.marks.len();
            list.push(text);
        }
        Shown { found, list }
    }))
}
