//! From answers to rows.

use crate::ResultRow;
use crate::backend::{Caveat, TokenScore};
use crate::control::Decode;
use crate::engine::AuditOptions;
use crate::probe::{Probe, ProbeTable};
use crate::score::{goldfish, likelihood, membership, overlap, trivial, words};
use crate::selftest::Decide;
use crate::store::{Evidence, EvidenceTokens};

/// What is known of a probe before it becomes a row.
pub(crate) struct Measured<'a> {
    pub(crate) table: &'a ProbeTable,
    pub(crate) probe: &'a Probe,
    /// Scores of the suffix, unless continuations decide.
    pub(crate) tokens: Option<&'a [TokenScore]>,
    /// The first divergence by the ranks.
    pub(crate) match_length: Option<usize>,
    /// The greedy continuation, where it is known.
    pub(crate) continuation: Option<Vec<u32>>,
    /// What must be said of it.
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
    let by_continuation = || continuation.map_or(0, |g| overlap::match_length(g, truth));
    let match_length = measured.match_length.unwrap_or_else(by_continuation);
    let trivial = trivial::trivialities(prefix, truth, text.as_deref());
    let mut row = ResultRow {
        probe_id: probe.id.to_string(),
        set: table.set.name().into(),
        doc_id: start.doc_id.clone(),
        stratum: start.stratum.clone(),
        offset: start.offset,
        prefix_tokens: probe.prefix,
        suffix_tokens: probe.suffix,
        copies: probe.copies,
        trivial: trivial.iter().map(|t| t.name()).collect::<Vec<_>>().join(","),
        caveats: measured.caveats.iter().map(|caveat| caveat.name()).collect::<Vec<_>>().join(","),
        decided_by: if options.decide == Decide::Score { "score" } else { "generate" }.into(),
        exact_match: match_length == truth.len(),
        match_length: match_length as u32,
        ttr_truth: overlap::type_token_ratio(truth),
        ..ResultRow::default()
    };
    if let Some(tokens) = tokens {
        likelihoods(&mut row, tokens, options, text.as_deref());
    }
    if let Some(g) = continuation.filter(|_| options.continuations) {
        continuations(&mut row, g, truth, text.as_deref().zip(decode));
    }
    if let Some(mask) = table.mask(probe) {
        let log_probs = row.log_probs.as_deref();
        let found = goldfish::diagnose(mask, truth.len(), match_length, log_probs);
        row.dropped = Some(found.dropped as u32);
        row.loss_dropped = found.loss_dropped;
        row.loss_kept = found.loss_kept;
        row.divergence_at_dropped = found.divergence.map(|d| d.at_dropped);
        row.divergence_nearest = found.divergence.and_then(|d| d.nearest);
        row.divergence_since_dropped = found.divergence.and_then(|d| d.since_dropped);
    }
    if !options.redact {
        row.generated = measured.continuation.clone();
    }
    row
}

fn likelihoods(row: &mut ResultRow, tokens: &[TokenScore], options: &AuditOptions, text: Option<&str>) {
    let log_probs: Vec<f64> = tokens.iter().map(|token| token.log_prob).collect();
    let decisive = &tokens[..tokens.len().min(row.match_length as usize + 1)];
    let margins = decisive.iter().map(|token| Some((token.log_prob - token.rival?).abs()));
    row.margin = margins.collect::<Option<Vec<_>>>().map(|m| m.into_iter().fold(f64::INFINITY, f64::min));
    row.loss = likelihood::loss(log_probs.iter().copied());
    if let Some(extraction) = options.extraction {
        row.log_p_z = likelihood::log_p_z(tokens);
        // A sum of log-probabilities may end a rounding error above 0.
        row.ln_draws = row.log_p_z.map(|log_p| likelihood::ln_draws(log_p.min(0.0), extraction.p));
    }
    if options.membership {
        row.zlib_ratio = row.loss.zip(text).map(|(loss, text)| membership::zlib_ratio(loss, text));
        row.min_k = membership::min_k(log_probs.iter().copied(), options.min_k);
        row.min_k_plus_plus = membership::min_k_plus_plus(tokens, options.min_k);
    }
    row.ranks = Some(tokens.iter().map(|token| token.rank).collect());
    row.log_probs = Some(log_probs);
}

fn continuations(row: &mut ResultRow, g: &[u32], truth: &[u32], text: Option<(&str, &Decode<'_>)>) {
    let rouge = overlap::rouge_l(g, truth);
    row.positional_accuracy = Some(overlap::positional_accuracy(g, truth));
    row.rouge_l_precision = Some(rouge.precision);
    row.rouge_l_recall = Some(rouge.recall);
    row.rouge_l = Some(rouge.f1);
    row.rouge_l_words = text.map(|(truth, decode)| words::rouge_l_words(&decode(g), truth).f1);
    row.longest_run = Some(overlap::longest_run(g, truth));
    row.edit_similarity = Some(overlap::edit_similarity(g, truth));
    row.ttr_generated = Some(overlap::type_token_ratio(g));
}

/// What proves a positive.
pub(crate) fn evidence(
    measured: &Measured<'_>,
    row: &ResultRow,
    options: &AuditOptions,
    decode: Option<&Decode<'_>>,
) -> Evidence {
    let (prefix, truth) = measured.table.tokens(measured.probe);
    let tokens = || EvidenceTokens {
        prompt: options.bos.iter().chain(prefix).copied().collect(),
        expected: truth.to_vec(),
        prompt_text: decode.map(|decode| decode(prefix)),
        expected_text: decode.map(|decode| decode(truth)),
        exchange: measured.exchange.clone(),
    };
    Evidence {
        probe_id: row.probe_id.clone(),
        set: row.set.clone(),
        doc_id: row.doc_id.clone(),
        offset: row.offset,
        decided_by: row.decided_by.clone(),
        log_probs: row.log_probs.clone(),
        ranks: row.ranks.clone(),
        tokens: (!options.redact).then(tokens),
    }
}
