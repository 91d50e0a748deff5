//! From answers to rows.

use crate::backend::{Caveat, TokenScore};
use crate::control::Decode;
use crate::evidence::{Evidence, EvidenceTokens};
use crate::options::AuditOptions;
use crate::probe::{Probe, ProbeTable};
use crate::rows::ResultRow;
use crate::score::divergence::divergence;
use crate::score::{Observation, ScoreValues, match_length, trivial};

/// What is known of a probe before it becomes a row.
pub(crate) struct Measured<'a> {
    pub(crate) table: &'a ProbeTable,
    pub(crate) probe: &'a Probe,
    /// Scores of the suffix, unless continuations decide.
    pub(crate) tokens: Option<&'a [TokenScore]>,
    /// The first divergence by the ranks.
    pub(crate) match_length: Option<usize>,
    /// Natural log of the suffix's probability after unrelated prefixes, where it was asked for.
    pub(crate) after_others: Option<Vec<f64>>,
    /// Natural log of a lower bound on the probability of a continuation near the suffix, where it was asked for.
    pub(crate) near_log_p: Option<f64>,
    /// The greedy continuation, where it is known.
    pub(crate) continuation: Option<Vec<u32>>,
    /// Its caveats.
    pub(crate) caveats: Vec<Caveat>,
    /// The exchange with a server.
    pub(crate) exchange: Option<String>,
}

/// Computes every score of a probe.
pub(crate) fn result_row(
    measured: &Measured<'_>,
    options: &AuditOptions,
    decode: Option<&Decode<'_>>,
) -> ResultRow {
    let Measured { table, probe, tokens, .. } = measured;
    let start = &table.starts[probe.start];
    let (prefix, truth) = table.tokens(probe);
    let text = decode.map(|decode| decode(truth));
    let continuation = measured.continuation.as_deref();
    let compared = continuation.filter(|_| options.continuations);
    let by_continuation = || continuation.map_or(0, |g| match_length::match_length(g, truth));
    let match_length = measured.match_length.unwrap_or_else(by_continuation);
    let trivial = trivial::trivialities(prefix, truth, text.as_deref());
    let mut row = ResultRow {
        probe_id: probe.id.to_string(),
        set: table.set.name().into(),
        passage: start.passage().name().into(),
        doc_id: start.doc_id.clone(),
        cluster: table.cluster(probe.start).to_owned(),
        stratum: start.stratum.clone(),
        offset: start.offset,
        prefix_tokens: probe.prefix,
        suffix_tokens: probe.suffix,
        copies: probe.copies,
        trivial: trivial.iter().map(|t| t.name()).collect::<Vec<_>>().join(","),
        caveats: measured.caveats.iter().map(|caveat| caveat.name()).collect::<Vec<_>>().join(","),
        decided_by: options.decide.name().into(),
        exact_match: match_length == truth.len(),
        match_length: match_length as u32,
        ..ResultRow::default()
    };
    let mask = table.mask(probe);
    let continuation_text = decode.zip(compared).map(|(decode, g)| decode(g));
    let observation = Observation {
        truth,
        continuation: compared,
        tokens: *tokens,
        mask: mask.map(|mask| &mask[prefix.len()..]),
        truth_text: text.as_deref(),
        continuation_text: continuation_text.as_deref(),
        after_others: measured.after_others.as_deref(),
        near_log_p: measured.near_log_p,
        min_k: options.min_k,
        extraction: options.extraction.map(|extraction| extraction.p),
    };
    row.scores = ScoreValues::compute(&observation, options.membership);
    if let Some(tokens) = tokens {
        let decisive = &tokens[..tokens.len().min(match_length + 1)];
        let margins = decisive.iter().map(|token| Some((token.log_prob - token.rival?).abs()));
        row.margin = margins.collect::<Option<Vec<_>>>().map(|m| m.into_iter().fold(f64::INFINITY, f64::min));
        let rank = |(token, id): (&TokenScore, &u32)| match token.greedy {
            // Equally likely, but the model takes the other one.
            Some(greedy) if greedy != *id => token.rank.max(2),
            _ => token.rank,
        };
        row.ranks = Some(tokens.iter().zip(truth).map(rank).collect());
        row.log_probs = Some(tokens.iter().map(|token| token.log_prob).collect());
    }
    dropped_columns(&mut row, mask, prefix.len(), match_length);
    if !options.redact {
        row.generated = measured.continuation.clone();
    }
    row
}

/// Fills in what follows from the mask of prefix and suffix and the first divergence.
pub(crate) fn dropped_columns(row: &mut ResultRow, mask: Option<&[u8]>, prefix: usize, match_length: usize) {
    let Some(mask) = mask else { return };
    let suffix = &mask[prefix..];
    let divergence = divergence(mask, suffix.len(), match_length);
    row.dropped = Some(suffix.iter().filter(|kept| **kept == 0).count() as u32);
    row.divergence_at_dropped = divergence.map(|d| d.at_dropped);
    row.divergence_nearest = divergence.and_then(|d| d.nearest);
    row.divergence_since_dropped = divergence.and_then(|d| d.since_dropped);
}

/// What proves a positive.
pub(crate) fn evidence(
    measured: &Measured<'_>,
    row: &ResultRow,
    options: &AuditOptions,
    decode: Option<&Decode<'_>>,
) -> Evidence {
    let (prefix, truth) = measured.table.tokens(measured.probe);
    let before = &measured.table.starts[measured.probe.start].before;
    let tokens = || EvidenceTokens {
        prompt: options.bos.iter().chain(before).chain(prefix).copied().collect(),
        expected: truth.to_vec(),
        prompt_text: decode.map(|decode| decode(&[before, prefix].concat())),
        expected_text: decode.map(|decode| decode(truth)),
        exchange: measured.exchange.clone(),
    };
    Evidence {
        probe_id: row.probe_id.clone(),
        set: row.set.clone(),
        passage: row.passage.clone(),
        doc_id: row.doc_id.clone(),
        offset: row.offset,
        decided_by: row.decided_by.clone(),
        log_probs: row.log_probs.clone(),
        ranks: row.ranks.clone(),
        tokens: (!options.redact).then(tokens),
    }
}
