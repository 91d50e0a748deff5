//! A text in pieces, with marks where it appears in the corpus.

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

/// A part of a text that appears in the corpus, and where.
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

/// Words of a document, and those that a text has in their place.
#[derive(Serialize)]
struct Words {
    #[serde(flatten)]
    cut: Cut,
    of: Of,
}

/// What has some words.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Both,
    Document,
    Text,
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
                vec![Words { cut: Cut::new(&row.doc_text), of: Of::Both }]
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

/// The words of a document with the edits that make those of a text of them.
fn compared(document: &str, text: &str) -> Vec<Words> {
    let words = |text| str::split_inclusive(text, char::is_whitespace).collect::<Vec<_>>();
    let [document_words, text_words] = [document, text].map(words);
    if document_words.len().max(text_words.len()) > MOST_COMPARED {
        return vec![Words { cut: Cut::new(document), of: Of::Both }];
    }
    let [old, new] =
        [&document_words, &text_words].map(|words| words.iter().map(|word| folded(word)).collect::<Vec<_>>());
    let mut runs: Vec<(String, Of)> = Vec::new();
    let mut add = |words: &[&str], of: Of| {
        for word in words {
            // What has no letters and digits is no word.
            let of = match of {
                of if !folded(word).is_empty() => of,
                Of::Text => continue,
                _ => Of::Both,
            };
            match runs.last_mut() {
                Some((run, last)) if *last == of => run.push_str(word),
                _ => runs.push(((*word).into(), of)),
            }
        }
    };
    for change in capture_diff_slices(Algorithm::Myers, &old, &new) {
        if matches!(change, DiffOp::Equal { .. }) {
            add(&document_words[change.old_range()], Of::Both);
        } else {
            add(&document_words[change.old_range()], Of::Document);
            add(&text_words[change.new_range()], Of::Text);
        }
    }
    runs.into_iter().map(|(run, of)| Words { cut: Cut::new(&run), of }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, part: &str, document: &str, edits: u32, places: Option<u64>) -> SpanRow {
        let start = text.find(part).unwrap();
        let words = part.split_whitespace().count() as u32;
        SpanRow {
            text_id: "t".into(),
            group: "text".into(),
            text_start: start as u64,
            text_end: (start + part.len()) as u64,
            doc_id: document.into(),
            source: "s".into(),
            doc_start: 0,
            doc_end: 0,
            words,
            edits,
            places,
            doc_before: String::new(),
            doc_text: part.into(),
            doc_after: String::new(),
        }
    }

    /// Pieces as `[text|marks|band|places]`, those with edits in braces.
    fn flat(pieces: &[Piece]) -> String {
        let piece = |Piece { cut, mark }: &Piece| match mark {
            None => cut.start.clone(),
            Some(Marked { edited, band, numbers, starts, places }) => {
                let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
                let said = format!("{}|{}|{band}|{places}|{starts}", cut.start, numbers.join(" "));
                if *edited { format!("{{{said}}}") } else { format!("[{said}]") }
            }
        };
        pieces.iter().map(piece).collect()
    }

    #[test]
    fn overlapping_spans_are_told_apart() {
        let text = "a b c d e f g";
        let rows = vec![
            row(text, "b c d", "one", 0, Some(3)),
            row(text, "b c d", "two", 0, Some(3)),
            row(text, "c d e", "three", 0, Some(1)),
            row(text, "a b c d", "four", 1, None),
            row(text, "d e f", "five", 2, None),
        ];
        let mut marks = marks(text, rows);
        let (pieces, cut) = pieces(text, &mut marks, 7);
        assert_eq!(
            flat(&pieces),
            "{a |7|1|0|true}[b |8 7|1|0|true][c d|8 9 7|1|0|true][ e|9 7|1|3|false]{ f|7|1|0|false} g"
        );
        assert_eq!(cut, 0);
        let listed: Vec<_> = marks.iter().map(|mark| (mark.number, mark.places, mark.listed.len())).collect();
        assert_eq!(listed, [(7, 2, 2), (8, 3, 2), (9, 1, 1)]);
    }

    #[test]
    fn rows_that_do_not_fit_the_text_are_left_out() {
        let text = "é b";
        let mut rows = vec![row(text, "b", "one", 0, Some(1)); 5];
        (rows[0].text_start, rows[0].text_end) = (1, 3);
        (rows[1].text_start, rows[1].text_end) = (2, 1);
        (rows[2].text_start, rows[2].text_end) = (0, 99);
        (rows[3].text_start, rows[3].text_end) = (u64::MAX, u64::MAX);
        let mut marks = marks(text, rows);
        assert_eq!(flat(&pieces(text, &mut marks, 0).0), "é [b|0|1|1|true]");
    }

    #[test]
    fn long_texts_are_cut() {
        let text = format!("{} here it is {}", "é".repeat(5_000), "x y ".repeat(20_000));
        let mut rows = vec![row(&text, "here it is", "one", 0, Some(1))];
        let words = text.find("x y").unwrap();
        for at in 0..15_000 {
            let mut row = row(&text, "x y", "two", 0, Some(1));
            (row.text_start, row.text_end) = ((words + 4 * at) as u64, (words + 4 * at + 3) as u64);
            rows.push(row);
        }
        let mut marks = marks(&text, rows);
        let (pieces, cut) = pieces(&text, &mut marks, 0);
        assert_eq!(pieces[0].cut.more, 5_000 + 1 - 2 * END_CHARACTERS as u64);
        let shown: usize = pieces.iter().map(|piece| piece.cut.characters()).sum();
        assert!((TEXT_CHARACTERS..TEXT_CHARACTERS + 4).contains(&shown), "{shown}");
        assert_eq!(shown as u64 + pieces[0].cut.more + cut, text.chars().count() as u64);
        assert!(marks.len() < 6_000, "marks of what is cut off go");
    }

    #[test]
    fn edits_show_the_words_of_both() {
        let said = |document, text| -> String {
            let words = |Words { cut, of }: &Words| match of {
                Of::Both => cut.start.clone(),
                Of::Document => format!("<{}>", cut.start),
                Of::Text => format!("[{}]", cut.start),
            };
            compared(document, text).iter().map(words).collect()
        };
        assert_eq!(said("One two, three -- four", "one TWO 3 four"), "One two, <three >-- [3 ]four");
        assert_eq!(said("a b", "a x b"), "a [x ]b");
        assert_eq!(said("", ""), "");
        assert_eq!(compared(&"a ".repeat(MOST_COMPARED + 1), "b").len(), 1);
    }
}
