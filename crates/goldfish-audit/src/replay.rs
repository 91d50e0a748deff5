//! Asking a model again for probes of a complete run: whether it still answers as the run says.

use std::collections::BTreeSet;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::Engine;
use crate::error::AuditError;
use crate::probe::{ProbeTable, Set};
use crate::rows::{ProbeRow, ResultRow};
use crate::selftest::{CheckName, SelfTest, TOLERANCE};

/// What a model answered when it was asked again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Probes that were asked again.
    pub asked: u64,
    /// Of those, exact matches of the run.
    pub positives: u64,
    /// Largest difference of a log-probability in nats, where scores decide.
    pub largest_difference: Option<f64>,
    /// Differences up to this are rounding, by the run's self-test.
    pub tolerance: f64,
    /// The probes with another answer.
    pub changed: Vec<Changed>,
}

/// A probe with another answer than in the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// The probe.
    pub probe_id: String,
    /// The document's id.
    pub doc_id: String,
    /// Where the prefix starts in the document.
    pub offset: u64,
    /// Whether it is an exact match in the run.
    pub exact_match_then: bool,
    /// And now.
    pub exact_match_now: bool,
    /// Tokens before the first divergence in the run.
    pub match_length_then: u32,
    /// And now.
    pub match_length_now: u32,
    /// Largest difference of a log-probability in nats, where scores decide.
    pub difference: Option<f64>,
}

/// Which rows are asked again: `n` probes chosen by a seed, and every exact match.
#[must_use]
pub fn choose(results: &[ResultRow], n: usize, seed: u64) -> Vec<usize> {
    let mut keyed: Vec<(u64, usize)> = results
        .iter()
        .enumerate()
        .map(|(at, row)| (xxh3_64_with_seed(row.probe_id.as_bytes(), seed), at))
        .collect();
    keyed.sort_unstable();
    let sampled = keyed.into_iter().take(n).map(|(_, at)| at);
    let positives = results.iter().enumerate().filter(|(_, row)| row.exact_match).map(|(at, _)| at);
    sampled.chain(positives).collect::<BTreeSet<usize>>().into_iter().collect()
}

/// Asks for some rows of a run again; `separator` is that of the [run](crate::config::RunConfig::separator).
///
/// # Errors
///
/// If the run has no tokens to ask with, because it is redacted, or the backend fails.
pub fn replay(
    engine: &Engine<'_>,
    self_test: &SelfTest,
    probes: &[&ProbeRow],
    results: &[&ResultRow],
    separator: &[u32],
) -> Result<Replay, AuditError> {
    let table = ProbeTable::from_rows(Set::Audited, probes, separator).ok_or(AuditError::Redacted)?;
    let now = engine.ask(&table)?;
    let measured = |name| {
        let checks = self_test.checks.iter().filter(move |check| check.name == name);
        checks.filter_map(|check| check.measured).fold(0.0, f64::max)
    };
    let tolerance = TOLERANCE + measured(CheckName::Repeatable) + measured(CheckName::BatchInvariant);
    let mut found = Replay {
        asked: results.len() as u64,
        positives: results.iter().filter(|row| row.exact_match).count() as u64,
        largest_difference: None,
        tolerance,
        changed: Vec::new(),
    };
    for (then, now) in results.iter().zip(&now) {
        let difference = difference(then, now);
        found.largest_difference = found.largest_difference.into_iter().chain(difference).reduce(f64::max);
        // A verdict that hangs on rounding may change with it.
        let is_close = then.margin.is_some_and(|margin| margin <= tolerance);
        let other = then.exact_match != now.exact_match || then.match_length != now.match_length;
        if difference.is_some_and(|difference| difference > tolerance) || (other && !is_close) {
            found.changed.push(Changed {
                probe_id: then.probe_id.clone(),
                doc_id: then.doc_id.clone(),
                offset: then.offset,
                exact_match_then: then.exact_match,
                exact_match_now: now.exact_match,
                match_length_then: then.match_length,
                match_length_now: now.match_length,
                difference,
            });
        }
    }
    Ok(found)
}

/// Largest difference of the log-probabilities; infinite if only one has them.
fn difference(then: &ResultRow, now: &ResultRow) -> Option<f64> {
    match (&then.log_probs, &now.log_probs) {
        (None, None) => None,
        (Some(then), Some(now)) if then.len() == now.len() => {
            let pairs = then.iter().zip(now);
            Some(pairs.map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() }).fold(0.0, f64::max))
        }
        _ => Some(f64::INFINITY),
    }
}
