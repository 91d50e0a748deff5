//! Whether the answers of a backend are of the kind that was asked for.

use crate::backend::{Backend, ScoreRequest, Scored};
use crate::error::AuditError;

/// A backend that is held to its contract.
pub(crate) struct Answers<'a>(pub(crate) &'a dyn Backend);

impl Answers<'_> {
    /// Fails unless each request has one answer, with a possible score for each position.
    pub(crate) fn check_scores(
        &self,
        requests: &[ScoreRequest<'_>],
        answers: &[Scored],
    ) -> Result<(), AuditError> {
        self.check_count(answers.len(), requests.len(), "scored sequences")?;
        for (answer, request) in answers.iter().zip(requests) {
            self.check_evaluated(answer.evaluated, request.ids.len())?;
            self.check_count(answer.tokens.len(), request.ids.len() - request.from, "token scores")?;
            let impossible =
                answer.tokens.iter().find(|token| token.log_prob.is_nan() || token.log_prob > 1e-6);
            if let Some(token) = impossible {
                return Err(self.bad(format!("the log-probability {}", token.log_prob), "at most 0"));
            }
        }
        Ok(())
    }

    /// Fails if the model saw other tokens than it was sent.
    pub(crate) fn check_evaluated(&self, evaluated: Option<u64>, sent: usize) -> Result<(), AuditError> {
        match evaluated {
            Some(evaluated) if evaluated != sent as u64 => {
                Err(self.bad(format!("{evaluated} tokens evaluated"), &format!("the {sent} that were sent")))
            }
            _ => Ok(()),
        }
    }

    /// Fails if there are more or fewer than expected.
    pub(crate) fn check_count(&self, found: usize, expected: usize, what: &str) -> Result<(), AuditError> {
        if found == expected {
            return Ok(());
        }
        Err(self.bad(format!("{found} {what}"), &expected.to_string()))
    }

    /// An answer that breaks the contract.
    pub(crate) fn bad(&self, found: String, expected: &str) -> AuditError {
        AuditError::BadAnswer { backend: self.name(), found, expected: expected.into() }
    }

    /// The backend's name.
    pub(crate) fn name(&self) -> String {
        self.0.describe().map_or_else(|_| "the backend".into(), |model| model.name)
    }
}
