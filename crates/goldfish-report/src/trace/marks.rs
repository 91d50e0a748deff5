//! A text in pieces, with marks where it stands in the corpus.

use std::ops::Range;

use goldfish_trace::SpanRow;
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Characters that are shown of a text.
const TEXT_CHARACTERS: usize = 20_000;

/// Characters that are shown at either end of a long piece of a text, or of a document.
const END_CHARACTERS: usize = 600;

/// Places that are listed of a span, or of a passage with edits.
const LISTED: usize = 4;

/// Words of a document that are compared with a text at most.
const MOST_COMPARED: usize = 2_000;

/// Numbers of words from which on a mark has the next color.
const BANDS: [u32; 3] = [20, 50, 100];

/// A part of a text that stands in the corpus, and where.
#[derive(Serialize)]
pub(super) struct Mark {
    /// Its number on the page.
    number: usize,
    #[serde(skip)]
    range: Range<usize>,
    words: u32,
    edited: bool,
    /// Places of the corpus; where there are edits, those in the table.
    places: u64,
    listed: Vec<Place>,
}

/// A place of the corpus.
#[derive(Serialize)]
struct Place {
    doc_id: String,
    source: String,
    start: u64,
    end: u64,
    words: u32,
    edits: u32,
    before: String,
    text: Vec<Words>,
    after: String,
}

/// Words of a document.
#[derive(Serialize)]
struct Words {
    #[serde(flatten)]
    cut: Cut,
    /// Whether the text has others there.
    edited: bool,
}

/// A stretch of text of which the middle may be left out.
#[derive(Serialize)]
pub(super) struct Cut {
    start: String,
    /// Characters that are left out.
    more: u64,
    end: String,
}

/// A piece of a text.
#[derive(Serialize)]
pub(super) struct Piece {
    #[serde(flatten)]
    cut: Cut,
    mark: Option<Marked>,
}

/// How a piece is marked.
#[derive(Serialize)]
struct Marked {
    edited: bool,
    /// By the words of its longest mark, from 1.
    band: usize,
    /// Numbers of its marks, the longest first.
    numbers: Vec<usize>,
    /// Whether a mark starts here.
    starts: bool,
    /// At the end of verbatim pieces the places of that span of them that has the most.
    places: u64,
}

impl Mark {
    pub(super) fn bytes(&self) -> usize {
        let place = |place: &Place| {
            let text: usize = place.text.iter().map(|words| words.cut.bytes()).sum();
            place.doc_id.len() + place.source.len() + place.before.len() + text + place.after.len()
        };
        self.listed.iter().map(place).sum()
    }
}

impl Piece {
    pub(super) fn bytes(&self) -> usize {
        self.cut.bytes()
    }
}

impl Cut {
    fn new(text: &str) -> Self {
        let characters = text.chars().count();
        let more = characters.saturating_sub(2 * END_CHARACTERS);
        // A few characters take less room than the words that say that they are left out.
        if more < END_CHARACTERS / 4 {
            return Self { start: text.into(), more: 0, end: String::new() };
        }
        let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
        let (start, end) = (&text[..byte(END_CHARACTERS)], &text[byte(characters - END_CHARACTERS)..]);
        Self { start: start.into(), more: more as u64, end: end.into() }
    }

    fn bytes(&self) -> usize {
        self.start.len() + self.end.len()
    }

    fn characters(&self) -> usize {
        self.start.chars().count() + self.end.chars().count()
    }
}

/// The spans of a text and, joined where they overlap, its passages with edits, in the order of their starts. Rows that don't fit
/// the text are left out.
pub(super) fn marks(text: &str, rows: Vec<SpanRow>) -> Vec<Mark> {
    let range = |row: &SpanRow| {
        let range = usize::try_from(row.text_start).ok()?..usize::try_from(row.text_end).ok()?;
        text.get(range.clone()).filter(|text| !text.is_empty()).map(|_| range)
    };
    let mut rows: Vec<(Range<usize>, SpanRow)> =
        rows.into_iter().filter_map(|row| Some((range(&row)?, row))).collect();
    rows.sort_by_key(|(range, row)| (row.places.is_none(), range.start, range.end));
    let mut marks: Vec<Mark> = Vec::new();
    for (range, row) in rows {
        let edited = row.places.is_none();
        let last = marks.last_mut().filter(|last| {
            last.edited == edited && if edited { range.start < last.range.end } else { range == last.range }
        });
        match last {
            Some(mark) => {
                mark.range.end = mark.range.end.max(range.end);
                mark.words = mark.words.max(row.words);
                mark.places += u64::from(edited);
                if mark.listed.len() < LISTED {
                    mark.listed.push(Place::new(row, &text[range]));
                }
            }
            None => marks.push(Mark {
                number: 0,
                words: row.words,
                edited,
                places: row.places.unwrap_or(1),
                listed: vec![Place::new(row, &text[range.clone()])],
                range,
            }),
        }
    }
    marks.sort_by_key(|mark| (mark.range.start, mark.edited));
    marks
}

impl Place {
    fn new(row: SpanRow, text: &str) -> Self {
        Self {
            text: if row.edits == 0 {
                vec![Words { cut: Cut::new(&row.doc_text), edited: false }]
            } else {
                compared(&row.doc_text, text)
            },
            doc_id: row.doc_id,
            source: row.source,
            start: row.doc_start,
            end: row.doc_end,
            words: row.words,
            edits: row.edits,
            before: row.doc_before,
            after: row.doc_after,
        }
    }
}

/// The words of a document, by whether a text has them too.
fn compared(document: &str, text: &str) -> Vec<Words> {
    let words =
        |text: &str| -> Vec<String> { text.split_inclusive(char::is_whitespace).map(folded).collect() };
    let (of_document, of_text) = (words(document), words(text));
    if of_document.len().max(of_text.len()) > MOST_COMPARED {
        return vec![Words { cut: Cut::new(document), edited: false }];
    }
    let mut runs: Vec<(String, bool)> = Vec::new();
    let mut document = document.split_inclusive(char::is_whitespace);
    for change in capture_diff_slices(Algorithm::Myers, &of_document, &of_text) {
        let edited = !matches!(change, DiffOp::Equal { .. });
        for word in document.by_ref().take(change.old_range().len()) {
            // A word of marks alone is no word.
            let edited = edited && !folded(word).is_empty();
            match runs.last_mut() {
                Some((run, last)) if *last == edited => run.push_str(word),
                _ => runs.push((word.into(), edited)),
            }
        }
    }
    runs.into_iter().map(|(run, edited)| Words { cut: Cut::new(&run), edited }).collect()
}

/// A word without its case and punctuation.
fn folded(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A text in pieces, each with the same marks, and the characters that are cut off. Marks get numbers from `first` on; those that
/// are cut off go.
pub(super) fn pieces(text: &str, marks: &mut Vec<Mark>, first: usize) -> (Vec<Piece>, u64) {
    let ends = |mark: &Mark| [mark.range.start, mark.range.end];
    let mut bounds: Vec<usize> = [0, text.len()].into_iter().chain(marks.iter().flat_map(ends)).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let (mut pieces, mut shown) = (Vec::new(), 0);
    let (mut next, mut open): (usize, Vec<usize>) = (0, Vec::new());
    let mut cut = 0;
    for bound in bounds.windows(2) {
        let (start, end) = (bound[0], bound[1]);
        if shown >= TEXT_CHARACTERS {
            cut = text[start..].chars().count() as u64;
            break;
        }
        open.retain(|&mark| marks[mark].range.end > start);
        let before = next;
        while marks.get(next).is_some_and(|mark| mark.range.start == start) {
            open.push(next);
            next += 1;
        }
        let mark = marked(marks, &open, first, next > before);
        let piece = Piece { cut: Cut::new(&text[start..end]), mark };
        shown += piece.cut.characters();
        pieces.push(piece);
    }
    marks.truncate(next);
    (first..).zip(marks.iter_mut()).for_each(|(number, mark)| mark.number = number);
    at_ends(&mut pieces);
    (pieces, cut)
}

/// The mark of a piece that has these marks.
fn marked(marks: &[Mark], open: &[usize], first: usize, starts: bool) -> Option<Marked> {
    let edited = open.iter().all(|&mark| marks[mark].edited);
    let kind = || open.iter().map(|&mark| &marks[mark]).filter(|mark| mark.edited == edited);
    let words = kind().map(|mark| mark.words).max()?;
    let mut order = open.to_vec();
    order.sort_by_key(|&mark| (marks[mark].edited, std::cmp::Reverse(marks[mark].words)));
    Some(Marked {
        edited,
        band: 1 + BANDS.iter().filter(|&&least| words >= least).count(),
        numbers: order.into_iter().map(|mark| first + mark).collect(),
        starts,
        places: if edited { 0 } else { kind().map(|mark| mark.places).max().unwrap_or(0) },
    })
}

/// Leaves the number of places to the last of verbatim pieces side by side: the largest.
fn at_ends(pieces: &mut [Piece]) {
    let mut most = 0;
    for at in 0..pieces.len() {
        let is_verbatim = |piece: &Piece| piece.mark.as_ref().is_some_and(|mark| !mark.edited);
        let goes_on = pieces.get(at + 1).is_some_and(is_verbatim);
        let Some(mark) = pieces[at].mark.as_mut().filter(|mark| !mark.edited) else { continue };
        most = most.max(mark.places);
        mark.places = if goes_on { 0 } else { std::mem::take(&mut most) };
    }
}
