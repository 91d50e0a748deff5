//! Rows of the run's tables.

use arrow::datatypes::DataType;

use crate::columns::{Column, Row, row};
use crate::score::{Score, ScoreValues, Source, position};
use crate::set::{Passage, Set};

row! {
    /// One probe in `probes.parquet`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ProbeRow {
        /// Stable name of the probe: 32 hex digits.
        probe_id: String,
        /// `audited`, `control` or `canary`.
        set: String,
        /// `in_prompt` where the prompt has the whole passage (prefix and suffix) and a separator before the prefix, as for the control of copying; else `absent`.
        passage: String,
        /// The document's id.
        doc_id: String,
        /// The cluster of documents that depend on each other: the id of its first document in this table. Rows of different clusters count as independent.
        cluster: String,
        /// The document's stratum, empty without one.
        stratum: String,
        /// Tokens in the document.
        document_tokens: u64,
        /// Where the prefix starts in the document, in tokens from 0.
        offset: u64,
        /// Tokens of prefix.
        prefix_tokens: u32,
        /// Tokens of suffix.
        suffix_tokens: u32,
        /// Starts of the corpus that have the same tokens, this one included.
        copies: u64,
        /// Token ids of the prefix; null if redacted.
        prefix: Option<Vec<u32>>,
        /// Token ids of the true suffix; null if redacted.
        suffix: Option<Vec<u32>>,
        /// Positions of dropped tokens, counted from the prefix's first token on; null without a mask.
        dropped: Option<Vec<u32>>,
    }
}

row! {
    /// The result of one probe in `results.parquet`.
    #[derive(Debug, Clone, PartialEq, Default)]
    pub struct ResultRow {
        /// Stable name of the probe: 32 hex digits.
        probe_id: String,
        /// `audited`, `control` or `canary`.
        set: String,
        /// `in_prompt` where the prompt has the whole passage (prefix and suffix) and a separator before the prefix, as for the control of copying; else `absent`.
        passage: String,
        /// The document's id.
        doc_id: String,
        /// The cluster of documents that depend on each other: the id of its first document in this table. Rows of different clusters count as independent.
        cluster: String,
        /// The document's stratum, empty without one.
        stratum: String,
        /// Where the prefix starts in the document, in tokens from 0.
        offset: u64,
        /// Tokens of prefix.
        prefix_tokens: u32,
        /// Tokens of suffix.
        suffix_tokens: u32,
        /// Starts of the corpus that have the same tokens, this one included.
        copies: u64,
        /// Why an exact match would show nothing: names of triviality filters with commas between; empty if none applies.
        trivial: String,
        /// `score` if a teacher-forced pass decided the exact match, `generate` if a continuation did.
        decided_by: String,
        /// What a text-only server could not promise for the continuation, with commas between: `cut_moved`, `prompt_changed`, `reencoded`, `ended_early`, `prefix_repeated`, `refused`; empty if nothing.
        caveats: String,
        /// Whether the greedy continuation is the true suffix.
        exact_match: bool,
        /// Tokens before the first divergence: the suffix length if there is none.
        match_length: u32,
        /// Smallest distance in log-probability, up to the first divergence, between the true token and the likeliest other one; near 0 the verdict hangs on rounding.
        margin: Option<f64>,
        /// The values of the scores.
        scores: ScoreValues,
        /// Dropped tokens in the suffix; null without a mask.
        dropped: Option<u32>,
        /// Whether the first divergence is at a dropped token; null without a mask or a divergence.
        divergence_at_dropped: Option<bool>,
        /// Signed distance in tokens from the nearest dropped token of prefix and suffix to the first divergence, positive after it.
        divergence_nearest: Option<i64>,
        /// Distance in tokens from the last dropped token at or before the first divergence.
        divergence_since_dropped: Option<u64>,
        /// Log-probability of each token of the suffix.
        log_probs: Option<Vec<f64>>,
        /// Rank of each token of the suffix; 1 is the greedy choice.
        ranks: Option<Vec<u32>>,
        /// Token ids of the greedy continuation, where it was made or is known; null if redacted.
        generated: Option<Vec<u32>>,
    }
}

impl ProbeRow {
    /// What comes before the prefix in the prompt, a BOS apart; `None` if the row has no tokens.
    pub(crate) fn before(&self, separator: &[u32]) -> Option<Vec<u32>> {
        let passage =
            if self.passage == Passage::InPrompt.name() { Passage::InPrompt } else { Passage::Absent };
        Some(passage.before(self.prefix.as_ref()?, self.suffix.as_ref()?, separator))
    }

    /// The mask of prefix and suffix, 1 kept and 0 dropped, where the corpus has masks.
    pub(crate) fn mask(&self) -> Option<Vec<u8>> {
        let dropped = self.dropped.as_ref()?;
        let mut mask = vec![1; self.prefix_tokens as usize + self.suffix_tokens as usize];
        for at in dropped {
            if let Some(kept) = mask.get_mut(*at as usize) {
                *kept = 0;
            }
        }
        Some(mask)
    }
}

impl ResultRow {
    /// Whether it is one of a set, with or without the passage in the prompt.
    #[must_use]
    pub fn is_of(&self, set: Set, passage: Passage) -> bool {
        self.set == set.name() && self.passage == passage.name()
    }

    /// Where the values of a score are, for statistics over many rows.
    pub(crate) fn reader(score: &'static Score) -> impl Fn(&Self) -> Option<f64> + Copy {
        let column = match score.source {
            Source::ExactMatch | Source::MatchLength => 0,
            Source::Value(_) | Source::Required(_) | Source::Columns(..) => position(score.name),
        };
        move |row| match score.source {
            Source::ExactMatch => Some(f64::from(u8::from(row.exact_match))),
            Source::MatchLength => Some(f64::from(row.match_length)),
            Source::Value(_) | Source::Required(_) | Source::Columns(..) => row.scores[column],
        }
    }
}

/// The columns of both tables as a document.
#[must_use]
pub fn tables_reference() -> String {
    reference(
        "Tables of an audit run",
        &[
            ("probes.parquet: one row a probe", ProbeRow::describe()),
            ("results.parquet: one row a probe, in the order of probes.parquet", ResultRow::describe()),
        ],
    )
}

/// The columns of tables as a document.
#[must_use]
pub fn reference(title: &str, tables: &[(&str, Vec<Column>)]) -> String {
    let mut text = format!("# {title}\n\nWritten by `cargo xtask generate`.\n");
    for (title, columns) in tables {
        text += &format!("\n## {title}\n\n| column | type | null | meaning |\n|---|---|---|---|\n");
        for Column { name, data_type, nullable, meaning } in columns {
            let null = if *nullable { "yes" } else { "no" };
            text += &format!("| `{name}` | `{}` | {null} | {meaning} |\n", type_name(data_type));
        }
    }
    text
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("list<item: {}>", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}
