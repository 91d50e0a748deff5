//! What of one work a model recites: probes that slide over a document, merged into the parts that were recited.
//!
//! After "Extracting memorized pieces of (copyrighted) books from open-weight language models" (arXiv 2505.12546), which slides over whole
//! books, and the near-verbatim recall of arXiv 2601.02671, which merges blocks and bridges small gaps between them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rows::ResultRow;
use crate::score::position;

/// A document with fewer starts is not shown as a work.
const FEWEST_STARTS: u64 = 8;

/// Works that are described, those with the most recited tokens first.
const MOST_WORKS: usize = 20;

/// Parts of a work that are listed, the longest first.
const MOST_PARTS: usize = 100;

/// A continuation is near the suffix if its edit similarity is at least this.
const NEAR: f64 = 0.9;

/// Tokens between two near parts that make no difference.
const BRIDGED: u64 = 10;

const EDIT_SIMILARITY: usize = position("edit_similarity");
const LOSS: usize = position("loss");

/// What of a work was recited. Tokens are counted from the start of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkSummary {
    /// The document's id.
    pub doc_id: String,
    /// Starts that were probed.
    pub starts: u64,
    /// Tokens that are in a suffix.
    pub probed_tokens: u64,
    /// Of these, tokens in suffixes that were recited. Suffixes that show nothing, as the filters find them, are not counted.
    pub verbatim_tokens: u64,
    /// Tokens in suffixes that were recited, or of which at most one token in ten was edited, and up to ten tokens between two of
    /// them. Null without continuations.
    pub near_tokens: Option<u64>,
    /// Parts that were recited, in order; of many the 100 longest.
    pub verbatim: Vec<WorkPart>,
    /// The same of near-verbatim ones. Empty without continuations.
    pub near: Vec<WorkPart>,
}

/// A part of a work: suffixes that overlap or touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkPart {
    /// Its first token.
    pub from: u64,
    /// The token after its last one.
    pub to: u64,
    /// Whether each of its suffixes is likelier, by token, than every suffix of the control; null without a control.
    pub above_control: Option<bool>,
}

impl WorkPart {
    /// Its tokens.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.to - self.from
    }
}

/// Describes the documents that were probed at several starts.
pub(crate) fn works(audited: &[&ResultRow], control: Option<&[&ResultRow]>) -> Vec<WorkSummary> {
    let mut documents: HashMap<&str, Vec<&ResultRow>> = HashMap::new();
    for row in audited {
        documents.entry(&row.doc_id).or_default().push(row);
    }
    let lowest_loss = control.map(|rows| {
        let losses = rows.iter().filter_map(|row| row.scores[LOSS]);
        losses.fold(f64::INFINITY, f64::min)
    });
    let of_document = |(_, rows): (&str, Vec<&ResultRow>)| work(&rows, lowest_loss);
    let mut works: Vec<WorkSummary> = documents.into_iter().filter_map(of_document).collect();
    works.sort_by(|a, b| {
        let key = |work: &WorkSummary| (work.verbatim_tokens, work.near_tokens, work.probed_tokens);
        key(b).cmp(&key(a)).then_with(|| a.doc_id.cmp(&b.doc_id))
    });
    works.truncate(MOST_WORKS);
    works
}

fn work(rows: &[&ResultRow], lowest_loss: Option<f64>) -> Option<WorkSummary> {
    let mut starts: Vec<u64> = rows.iter().map(|row| row.offset).collect();
    starts.sort_unstable();
    starts.dedup();
    let starts = starts.len() as u64;
    if starts < FEWEST_STARTS {
        return None;
    }
    let parts = |wanted: &dyn Fn(&ResultRow) -> bool, gap: u64| {
        let found = rows.iter().filter(|row| wanted(row));
        let suffixes = found.map(|row| {
            let from = row.offset + u64::from(row.prefix_tokens);
            let above = |lowest: f64| row.scores[LOSS].is_some_and(|loss| loss < lowest);
            let to = from + u64::from(row.suffix_tokens);
            WorkPart { from, to, above_control: lowest_loss.map(above) }
        });
        merged(suffixes.collect(), gap)
    };
    let recited = |row: &ResultRow| row.exact_match && row.trivial.is_empty();
    let is_near = |row: &ResultRow| {
        let similarity = row.scores[EDIT_SIMILARITY].unwrap_or_default();
        recited(row) || (similarity >= NEAR && row.trivial.is_empty())
    };
    let with_continuations = rows.iter().any(|row| row.scores[EDIT_SIMILARITY].is_some());
    let verbatim = parts(&recited, 0);
    let near = if with_continuations { parts(&is_near, BRIDGED) } else { Vec::new() };
    let tokens = |parts: &[WorkPart]| parts.iter().map(WorkPart::tokens).sum();
    Some(WorkSummary {
        doc_id: rows[0].doc_id.clone(),
        starts,
        probed_tokens: tokens(&parts(&|_| true, 0)),
        verbatim_tokens: tokens(&verbatim),
        near_tokens: with_continuations.then(|| tokens(&near)),
        verbatim: longest(verbatim),
        near: longest(near),
    })
}

/// Joins parts that overlap, or have at most `gap` tokens between them.
fn merged(mut parts: Vec<WorkPart>, gap: u64) -> Vec<WorkPart> {
    parts.sort_by_key(|part| (part.from, part.to));
    let mut joined: Vec<WorkPart> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.from <= last.to.saturating_add(gap) => {
                last.to = last.to.max(part.to);
                last.above_control = last.above_control.zip(part.above_control).map(|(a, b)| a && b);
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// The longest parts, in order.
fn longest(mut parts: Vec<WorkPart>) -> Vec<WorkPart> {
    parts.sort_by(|a, b| b.tokens().cmp(&a.tokens()).then(a.from.cmp(&b.from)));
    parts.truncate(MOST_PARTS);
    parts.sort_by_key(|part| part.from);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(offset: u64, exact_match: bool, similarity: f64, loss: f64) -> ResultRow {
        let mut row = ResultRow {
            doc_id: "book".into(),
            offset,
            prefix_tokens: 10,
            suffix_tokens: 20,
            exact_match,
            ..ResultRow::default()
        };
        row.scores["edit_similarity"] = Some(similarity);
        row.scores["loss"] = Some(loss);
        row
    }

    #[test]
    fn suffixes_are_merged_into_parts() {
        // Suffixes of 20 tokens from 10, 20 and so on to 130.
        let mut rows: Vec<ResultRow> = (0..13).map(|at| row(10 * at, false, 0.2, 3.0)).collect();
        for (at, similarity, exact) in [(2, 1.0, true), (3, 1.0, true), (6, 0.95, false), (10, 1.0, true)] {
            rows[at] = row(10 * at as u64, exact, similarity, 0.1 * at as f64);
        }
        // It says something else there, and something that the filters find.
        rows[12].exact_match = true;
        rows[12].trivial = "periodic".into();
        let audited: Vec<&ResultRow> = rows.iter().collect();
        let controls = [row(0, false, 0.1, 0.5), row(0, false, 0.1, 4.0)];
        let control: Vec<&ResultRow> = controls.iter().collect();
        let [work] = &works(&audited, Some(&control))[..] else { panic!("one work") };
        let part = |from, to, above| WorkPart { from, to, above_control: Some(above) };
        assert_eq!((work.starts, work.probed_tokens), (13, 140));
        // From 30 to 60, all below the control's lowest loss; from 110 to 130 not.
        assert_eq!(work.verbatim, [part(30, 60, true), part(110, 130, false)]);
        assert_eq!(work.verbatim_tokens, 50);
        // The near one from 70 to 90 is 10 tokens from the first, and 20 from the last.
        assert_eq!(work.near, [part(30, 90, false), part(110, 130, false)]);
        assert_eq!(work.near_tokens, Some(80));
        assert!(works(&audited[..7], None).is_empty());
        assert_eq!(works(&audited, None)[0].verbatim[0].above_control, None);
    }
}
