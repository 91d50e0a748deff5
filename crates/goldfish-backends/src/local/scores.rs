//! Scores of tokens from hidden states.

use candle_core::{Result, bail};
use goldfish_audit::backend::{ScoreRequest, Scored, Wants};

use super::read::score;
use super::vocabulary::Vocabulary;

/// A token whose score is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The row that predicts it.
    pub(super) row: u32,
    /// The request.
    pub(super) request: usize,
    pub(super) token: u32,
}

/// Answers without scores.
pub(super) fn unanswered(requests: &[&ScoreRequest<'_>]) -> Vec<Scored> {
    let none = |request: &&ScoreRequest<'_>| Scored {
        evaluated: Some(request.ids.len() as u64),
        ..Scored::default()
    };
    requests.iter().map(none).collect()
}

/// The rows that are asked for, ascending; sorts what is asked by them.
pub(super) fn rows_of(asked: &mut [Asked]) -> Vec<u32> {
    asked.sort_by_key(|asked| asked.row);
    let mut rows: Vec<u32> = asked.iter().map(|asked| asked.row).collect();
    rows.dedup();
    rows
}

/// Appends scores to the answers, from the hidden states of [`rows_of`].
pub(super) fn append_scores(
    vocabulary: &Vocabulary,
    hidden: &[f32],
    asked: &[Asked],
    wants: &Wants,
    answers: &mut [Scored],
) -> Result<()> {
    let by_row: Vec<&[Asked]> = asked.chunk_by(|a, b| a.row == b.row).collect();
    let scored = vocabulary.each_logits(hidden, |row, logits| {
        let candidates = wants.scheme.filter(|_| wants.candidates > 0);
        let candidates = candidates.map(|scheme| scheme.candidates(logits, wants.candidates as usize));
        let of_token = |asked: &Asked| Some((score(logits, asked.token, wants)?, candidates.clone()));
        by_row[row].iter().map(of_token).collect::<Vec<_>>()
    });
    // Rows of one sequence ascend, so that its scores come in order.
    for (asked, score) in asked.iter().zip(scored.into_iter().flatten()) {
        let Some((score, candidates)) = score else {
            bail!("a logit is not a number; is the checkpoint damaged?")
        };
        answers[asked.request].tokens.push(score);
        answers[asked.request].candidates.extend(candidates);
    }
    Ok(())
}
