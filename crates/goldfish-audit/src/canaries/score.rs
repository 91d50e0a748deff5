//! The losses of passages.

use std::sync::atomic::{AtomicBool, Ordering};

use super::error::CanaryError;
use crate::answers::Answers;
use crate::backend::{Backend, ScoreRequest, Wants};
use crate::error::AuditError;
use crate::score::loss::loss;
use crate::stat::OutOfRange;

/// Losses of the twins of each pair, in the order of the plan and in nats a token. Which of two twins is planted is not known here.
#[derive(Debug, Clone, PartialEq)]
pub struct Losses(pub Vec<[f64; 2]>);

/// Scores the twins of each pair, given as token ids.
///
/// A passage's loss is the mean over its tokens but the first, or over all of them after `bos`. `progress` gets the number of pairs
/// that are scored.
///
/// # Errors
///
/// If a passage has fewer than two tokens, the model doesn't answer as asked, or `stop` is set.
pub fn score(
    backend: &dyn Backend,
    pairs: &[[Vec<u32>; 2]],
    bos: Option<u32>,
    batch: usize,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<Losses, CanaryError> {
    let mut losses = Vec::with_capacity(pairs.len());
    let check = Answers(backend);
    for pairs in pairs.chunks((batch / 2).max(1)) {
        if stop.load(Ordering::Relaxed) {
            return Err(AuditError::Interrupted.into());
        }
        let sequences: Vec<Vec<u32>> =
            pairs.iter().flatten().map(|ids| bos.iter().chain(ids).copied().collect()).collect();
        if let Some(short) = sequences.iter().find(|ids| ids.len() < 2) {
            let (name, value) = ("the number of tokens of a passage", short.len() as f64);
            return Err(OutOfRange { name, value, range: "at least 2" }.into());
        }
        let requests: Vec<ScoreRequest<'_>> =
            sequences.iter().map(|ids| ScoreRequest { ids, from: 1 }).collect();
        let answers = backend.score(&requests, &Wants::default()).map_err(AuditError::from)?;
        check.check_scores(&requests, &answers)?;
        let mut means = Vec::with_capacity(answers.len());
        for answer in &answers {
            let mean = loss(answer.tokens.iter().map(|token| token.log_prob));
            let mean = mean.filter(|mean| mean.is_finite());
            means.push(mean.ok_or_else(|| check.bad("a probability of 0".into(), "probabilities above 0"))?);
        }
        losses.extend(means.chunks_exact(2).map(|twins| [twins[0], twins[1]]));
        progress(losses.len());
    }
    Ok(Losses(losses))
}
