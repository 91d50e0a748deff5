//! `spans.parquet` and `texts.parquet`.

use goldfish_audit::columns::Row;
use goldfish_audit::{reference, row};

row! {
    /// A place of the corpus that has a span of a text, in `spans.parquet`. A span with many places has a row for some of them.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SpanRow {
        /// The text's id.
        text_id: String,
        /// `text` or `control`.
        group: String,
        /// Where the span starts in the text, in bytes of UTF-8.
        text_start: u64,
        /// Where it ends.
        text_end: u64,
        /// The document's id.
        doc_id: String,
        /// Where the document comes from: its input, or the value of the source column.
        source: String,
        /// Where the place starts in the document's text, in bytes of UTF-8.
        doc_start: u64,
        /// Where it ends.
        doc_end: u64,
        /// Words that text and document have in common there.
        words: u32,
        /// Words between them that are replaced, deleted or inserted: 0 where the place has the span word for word.
        edits: u32,
        /// How many places of the corpus have the span word for word; null where there are edits.
        places: Option<u64>,
        /// Text of the document before the place.
        doc_before: String,
        /// The document's text there.
        doc_text: String,
        /// Text of the document after the place.
        doc_after: String,
    }
}

row! {
    /// A text, in `texts.parquet`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TextRow {
        /// The text's id.
        text_id: String,
        /// `text` or `control`.
        group: String,
        /// The cluster of texts that depend on each other, such as suffixes of copies of one document; its own id without others.
        /// Rows of different clusters count as independent.
        cluster: String,
        /// The text.
        text: String,
        /// Its characters.
        characters: u64,
        /// Its words.
        words: u64,
        /// Spans that appear in the corpus word for word, none in another one.
        spans: u64,
        /// Characters in such spans.
        verbatim_characters: u64,
        /// Words in such spans.
        verbatim_words: u64,
        /// Words in such spans, or in passages of the corpus with edits.
        covered_words: u64,
        /// Verbatim characters as a share of all; 0 in a text without characters.
        verbatim_share: f64,
        /// Words of the longest verbatim span.
        longest_words: u64,
        /// Its characters.
        longest_characters: u64,
        /// Places of the corpus that have it.
        longest_places: u64,
        /// Places of all verbatim spans together.
        places: u64,
        /// Places with edits.
        edited_places: u64,
        /// Places that have the text from its second word to the last but one, word for word: the first and the last may be parts of
        /// words. Null in a text of which that is shorter than a span.
        copies: Option<u64>,
    }
}

impl TextRow {
    /// Words in spans or passages with edits, as a share of all; 0 in a text without words.
    #[must_use]
    pub fn covered_share(&self) -> f64 {
        share(self.covered_words, self.words)
    }
}

/// A part as a share of all; 0 of nothing.
pub(crate) fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// The columns of both tables as a document.
#[must_use]
pub fn trace_tables_reference() -> String {
    reference(
        "Tables of a trace",
        &[
            ("texts.parquet: one row a text", TextRow::describe()),
            ("spans.parquet: places of the corpus, in the order of texts.parquet", SpanRow::describe()),
        ],
    )
}
