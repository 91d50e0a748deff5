//! `summary.json`: what a trace found.

use std::collections::BTreeMap;

use goldfish_audit::stat::{
    Bootstrap, Clusters, Difference, Mean, Range, Rate, RateMethod, excess_rate, rate,
};
use goldfish_corpus::Reject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tables::{TextRow, share};
use crate::texts::{Group, Least};

/// What a trace found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceSummary {
    /// Version of the files of a trace.
    pub trace_version: u32,
    /// Key of its configuration.
    pub key: String,
    /// How long a span is at least.
    pub least: Least,
    /// What was searched.
    pub corpus: CorpusCounts,
    /// The texts.
    pub texts: GroupSummary,
    /// The texts that they are compared with.
    pub control: Option<GroupSummary>,
    /// The texts less the control.
    pub excess: Option<TraceExcess>,
    /// Of an audit's suffixes: how many of those with so many copies in the corpus were recited.
    pub recited_by_copies: Option<Vec<RecitedByCopies>>,
    /// By source of the documents, those with the most texts first; 64 at most.
    pub sources: Vec<SourceSummary>,
    /// The documents with the most words in spans.
    pub documents: Vec<DocumentSummary>,
}

/// What was searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CorpusCounts {
    /// Inputs.
    pub inputs: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Rows that could not become documents.
    pub rejected: u64,
    /// The first of these.
    pub rejects: Vec<Reject>,
    /// Documents with words of the texts.
    pub documents_found: u64,
}

/// Some texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupSummary {
    /// How many there are.
    pub texts: u64,
    /// Their characters.
    pub characters: u64,
    /// Their words.
    pub words: u64,
    /// Texts with a verbatim span.
    pub with_span: Rate,
    /// Mean over the texts of the share of characters that appear in the corpus verbatim.
    pub verbatim_share: Mean,
    /// The same of words, in verbatim spans or passages with edits.
    pub covered_share: Mean,
    /// Verbatim spans.
    pub spans: u64,
    /// Places of these.
    pub places: u64,
    /// Places with edits.
    pub edited_places: u64,
    /// How many texts have a span of at least so many words, for some numbers of words.
    pub longest: Vec<LongestAtLeast>,
}

/// How many texts have a long span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LongestAtLeast {
    /// Words.
    pub words: u64,
    /// Texts whose longest span has so many or more.
    pub texts: u64,
}

/// The suffixes of an audit of which the corpus has about as many copies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecitedByCopies {
    /// The fewest copies.
    pub from: u64,
    /// The most copies.
    pub to: u64,
    /// How many of these suffixes the model recited.
    pub recited: Rate,
}

/// The texts less the control.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceExcess {
    /// Of the share of texts with a verbatim span.
    pub with_span: Difference,
    /// Of the mean share of verbatim characters.
    pub verbatim_share: Difference,
    /// Of the mean share of words in spans or passages with edits.
    pub covered_share: Difference,
}

/// What was found in documents of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceSummary {
    /// The source: the name of an input, or a value of the source column.
    pub source: String,
    /// Texts with a verbatim span in this source.
    pub with_span: Rate,
    /// Mean over the texts of the share of characters that appear in this source verbatim.
    pub verbatim_share: Mean,
}

/// A document with words of the texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentSummary {
    /// Its id.
    pub doc_id: String,
    /// Its source.
    pub source: String,
    /// Its words that the texts have in runs of the least length.
    pub words: u64,
    /// Such runs, none in another one.
    pub runs: u64,
}

/// Statistics of one group's texts: each is a cluster of its own.
pub(crate) struct Shares {
    with_span: Clusters,
    verbatim: Clusters,
    covered: Clusters,
}

impl Shares {
    pub(crate) fn new<'a>(rows: impl Iterator<Item = &'a TextRow> + Clone) -> Self {
        let clusters = |value: &dyn Fn(&TextRow) -> f64| {
            Clusters::new(rows.clone().map(|row| (&row.cluster, value(row))))
        };
        Self {
            with_span: clusters(&|row| f64::from(u8::from(row.spans > 0))),
            verbatim: clusters(&|row| row.verbatim_share),
            covered: clusters(&TextRow::covered_share),
        }
    }

    pub(crate) fn excess(&self, control: &Self, bootstrap: Bootstrap) -> TraceExcess {
        let difference =
            |one: &Clusters, other: &Clusters| bootstrap.difference(one, other, Some(Range::UNIT));
        TraceExcess {
            with_span: excess_rate(&self.with_span, &control.with_span),
            verbatim_share: difference(&self.verbatim, &control.verbatim),
            covered_share: difference(&self.covered, &control.covered),
        }
    }

    pub(crate) fn summary<'a>(
        &self,
        rows: impl Iterator<Item = &'a TextRow>,
        bootstrap: Bootstrap,
    ) -> GroupSummary {
        let mut longest = BTreeMap::new();
        let mut sums = [0; 6];
        for row in rows {
            let values = [1, row.characters, row.words, row.spans, row.places, row.edited_places];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            *longest.entry(row.longest_words).or_insert(0u64) += 1;
        }
        let [texts, characters, words, spans, places, edited_places] = sums;
        GroupSummary {
            texts,
            characters,
            words,
            with_span: rate(&self.with_span, RateMethod::Wilson),
            verbatim_share: bootstrap.mean(&self.verbatim, Some(Range::UNIT)),
            covered_share: bootstrap.mean(&self.covered, Some(Range::UNIT)),
            spans,
            places,
            edited_places,
            longest: at_least(&longest),
        }
    }
}

/// What was found in a source: for each text the characters there, and how many it has.
pub(crate) fn source_summary(source: &str, found: &[(u64, u64)], bootstrap: Bootstrap) -> SourceSummary {
    let numbered = || (0u64..).zip(found);
    let with_span =
        Clusters::new(numbered().map(|(text, (there, _))| (text, f64::from(u8::from(*there > 0)))));
    let shares = Clusters::new(numbered().map(|(text, (there, all))| (text, share(*there, *all))));
    SourceSummary {
        source: source.to_owned(),
        with_span: rate(&with_span, RateMethod::Wilson),
        verbatim_share: bootstrap.mean(&shares, Some(Range::UNIT)),
    }
}

/// Suffixes by the copies that the corpus has of them: those with none, those with one, and then by powers of two. Suffixes that are too
/// short to be found are in none.
pub(crate) fn recited_by_copies(rows: &[TextRow]) -> Vec<RecitedByCopies> {
    let mut groups: BTreeMap<(u64, u64), Vec<&TextRow>> = BTreeMap::new();
    for row in rows {
        if let Some(copies) = row.copies {
            // 0, 1, 2, 3 to 4, 5 to 8 and so on.
            let to = if copies < 2 { copies } else { copies.next_power_of_two() };
            groups.entry((if to < 2 { to } else { to / 2 + 1 }, to)).or_default().push(row);
        }
    }
    let recited = |rows: Vec<&TextRow>| {
        let recited = |row: &TextRow| f64::from(u8::from(row.group == Group::Text.name()));
        rate(&Clusters::new(rows.iter().map(|row| (&row.cluster, recited(row)))), RateMethod::Wilson)
    };
    groups
        .into_iter()
        .map(|((from, to), rows)| RecitedByCopies { from, to, recited: recited(rows) })
        .collect()
}

/// Numbers of words for which texts are counted: each longest span is one, but not more than some a power of two.
fn at_least(longest: &BTreeMap<u64, u64>) -> Vec<LongestAtLeast> {
    let mut found: Vec<LongestAtLeast> = Vec::new();
    let mut texts = 0;
    for (&words, &count) in longest.iter().rev() {
        texts += count;
        let is_close = found.last().is_some_and(|last| last.words - words < last.words / 16);
        if words > 0 && !is_close {
            found.push(LongestAtLeast { words, texts });
        }
    }
    found.reverse();
    found
}

/// Which rows are of a group.
pub(crate) fn of_group(rows: &[TextRow], group: Group) -> impl Iterator<Item = &TextRow> + Clone {
    rows.iter().filter(move |row| row.group == group.name())
}
