//! Whether the loss on the audited text is one that a language model can have.
//!
//! Ids that are not the model's own, or a model without its weights, look like text that was never recited. Their loss gives
//! them away: it is as high as that of guessing, or much higher than on the control.

use crate::backend::{Backend, ScoreRequest, Wants};
use crate::error::AuditError;
use crate::score::loss::loss;
use crate::selftest::{Check, CheckName, Outcome};

/// Sequences of each set that are scored.
pub const SEQUENCES: usize = 16;

/// A loss of at least this share of that of guessing, which is the natural log of the number of token ids, is not a language
/// model's. Text of a foreign language has about half of it.
const SHARE_OF_GUESSING: f64 = 0.9;

/// The audited text may have this many nats a token more than the control.
const ABOVE_CONTROL: f64 = 2.0;

/// Fewer tokens show nothing.
const FEWEST_TOKENS: usize = 32;

/// Checks the loss over the second half of some audited and some control sequences, a BOS included.
///
/// # Errors
///
/// If the backend doesn't answer.
pub fn plausible_loss(
    backend: &dyn Backend,
    audited: &[Vec<u32>],
    control: &[Vec<u32>],
) -> Result<Check, AuditError> {
    let check = |outcome, detail: String, measured| Check {
        name: CheckName::PlausibleLoss,
        outcome,
        detail,
        measured,
    };
    if !backend.capabilities().score {
        let detail = "the backend doesn't score given sequences".into();
        return Ok(check(Outcome::Skipped, detail, None));
    }
    let Some(found) = mean_loss(backend, audited)? else {
        return Ok(check(Outcome::Skipped, format!("fewer than {FEWEST_TOKENS} tokens"), None));
    };
    let guessing = backend.describe()?.vocab_size.map(|size| f64::from(size).ln());
    let beside = mean_loss(backend, control)?;
    let mut detail = format!("the audited text has a loss of {found:.2} nats a token");
    let mut outcome = Outcome::Passed;
    if let Some(guessing) = guessing {
        detail += &format!(", guessing has {guessing:.2}");
        if found >= SHARE_OF_GUESSING * guessing {
            outcome = Outcome::Failed;
        }
    }
    if let Some(beside) = beside {
        detail += &format!(", the control {beside:.2}");
        if found > beside + ABOVE_CONTROL {
            outcome = Outcome::Failed;
        }
    }
    if outcome == Outcome::Failed {
        detail += ": no trained model has that on text of its own tokens, so the ids are another tokenizer's, or the model is not trained";
    }
    Ok(check(outcome, detail, None))
}

/// Mean loss in nats a token over the second half of each sequence; `None` for too few tokens, or if there are other answers than
/// asked for, which another check finds.
fn mean_loss(backend: &dyn Backend, sequences: &[Vec<u32>]) -> Result<Option<f64>, AuditError> {
    let long: Vec<ScoreRequest<'_>> = sequences
        .iter()
        .filter(|ids| ids.len() >= 2)
        .map(|ids| ScoreRequest { ids, from: (ids.len() / 2).max(1) })
        .collect();
    let asked: usize = long.iter().map(|request| request.ids.len() - request.from).sum();
    if asked < FEWEST_TOKENS {
        return Ok(None);
    }
    let scored = backend.score(&long, &Wants::default())?;
    let log_probs: Vec<f64> =
        scored.iter().flat_map(|scored| &scored.tokens).map(|token| token.log_prob).collect();
    Ok(if log_probs.len() == asked { loss(log_probs) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeModel;

    #[test]
    fn a_model_that_knows_its_text_is_plausible_and_guessing_is_not() {
        let texts: Vec<Vec<u32>> =
            (0..4).map(|i| (0..40).map(|j| (i * 13 + j * j * 7 + j) % 500).collect()).collect();
        let others: Vec<Vec<u32>> = texts.iter().map(|ids| ids.iter().map(|id| 499 - id).collect()).collect();
        let model = FakeModel::reciting(500, &texts, 3, 12.0);
        let outcome = |audited, control| plausible_loss(&model, audited, control).unwrap();
        assert_eq!(outcome(&texts, &[]).outcome, Outcome::Passed);
        let other = outcome(&others, &[]);
        assert_eq!(other.outcome, Outcome::Failed, "{}", other.detail);
        // Below the loss of guessing, but far above that of the control.
        let mixed: Vec<Vec<u32>> =
            (0..4).map(|i| if i < 2 { others[i].clone() } else { texts[i].clone() }).collect();
        let beside = outcome(&mixed, &texts);
        assert_eq!(beside.outcome, Outcome::Failed, "{}", beside.detail);
        assert_eq!(outcome(&mixed, &[]).outcome, Outcome::Passed);
        assert_eq!(outcome(&texts[..1][..], &others).outcome, Outcome::Skipped);
    }
}
