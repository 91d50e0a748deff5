//! Rows of the run's tables.

use crate::columns::{Row, row};

row! {
    /// One probe in `probes.parquet`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ProbeRow {
        /// Stable name of the probe: 32 hex digits.
        probe_id: String,
        /// `audited` or `control`.
        set: String,
        /// The document's id.
        doc_id: String,
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
        /// `audited` or `control`.
        set: String,
        /// The document's id.
        doc_id: String,
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
        /// What a text-only server could not promise for the continuation, with commas between: `cut_moved`, `prompt_changed`, `reencoded`, `ended_early`; empty if nothing.
        caveats: String,
        /// Whether the greedy continuation is the true suffix.
        exact_match: bool,
        /// Tokens before the first divergence: the suffix length if there is none.
        match_length: u32,
        /// Smallest distance in log-probability, up to the first divergence, between the true token and the likeliest other one; near 0 the verdict hangs on rounding.
        margin: Option<f64>,
        /// Share of positions with the true token.
        positional_accuracy: Option<f64>,
        /// Rouge-L precision over token ids.
        rouge_l_precision: Option<f64>,
        /// Rouge-L recall over token ids.
        rouge_l_recall: Option<f64>,
        /// Rouge-L F1 over token ids.
        rouge_l: Option<f64>,
        /// Rouge-L F1 over words, as `rouge_score` without stemmer.
        rouge_l_words: Option<f64>,
        /// Longest common run of token ids over the suffix length.
        longest_run: Option<f64>,
        /// 1 less the edit distance over the larger length.
        edit_similarity: Option<f64>,
        /// Different tokens over tokens, of the continuation.
        ttr_generated: Option<f64>,
        /// Different tokens over tokens, of the true suffix.
        ttr_truth: f64,
        /// Mean negative log-probability of the suffix, in nats a token.
        loss: Option<f64>,
        /// The same over its dropped tokens.
        loss_dropped: Option<f64>,
        /// The same over its kept tokens.
        loss_kept: Option<f64>,
        /// Natural log of the probability of drawing the suffix under the sampling scheme; minus infinity if it can't be drawn.
        log_p_z: Option<f64>,
        /// Natural log of the draws after which the suffix was seen with probability p; infinity if never.
        ln_draws: Option<f64>,
        /// Loss over the bytes of the suffix's zlib stream.
        zlib_ratio: Option<f64>,
        /// Min-K%: mean negative log-probability of the least likely tokens.
        min_k: Option<f64>,
        /// Min-K%++: the same of standardised log-probabilities.
        min_k_plus_plus: Option<f64>,
        /// Dropped tokens in the suffix; null without a mask.
        dropped: Option<u32>,
        /// Whether the first divergence is at a dropped token; null without a mask or a divergence.
        divergence_at_dropped: Option<bool>,
        /// Signed distance in tokens from the nearest dropped token of prefix and suffix to the first divergence, positive behind it.
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

/// The columns of both tables as a document.
#[must_use]
pub fn tables_reference() -> String {
    let mut text = String::from("# Tables of an audit run\n\nWritten by `cargo xtask generate`.\n");
    let tables = [
        ("probes.parquet: one row a probe", ProbeRow::describe()),
        ("results.parquet: one row a probe, in the order of probes.parquet", ResultRow::describe()),
    ];
    for (title, columns) in tables {
        text += &format!("\n## {title}\n\n| column | type | null | meaning |\n|---|---|---|---|\n");
        for (name, data_type, nullable, meaning) in columns {
            let null = if nullable { "yes" } else { "no" };
            text += &format!("| `{name}` | `{}` | {null} | {meaning} |\n", type_name(&data_type));
        }
    }
    text
}

fn type_name(data_type: &arrow::datatypes::DataType) -> String {
    match data_type {
        arrow::datatypes::DataType::List(item) => format!("list<item: {}>", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}
