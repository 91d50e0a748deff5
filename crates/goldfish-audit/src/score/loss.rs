//! The loss of the true suffix.

use super::definition::{Column, Scale, Score, Source, Statistic};
use crate::backend::TokenScore;

/// Loss, with that of dropped and of kept tokens.
pub const SCORE: Score = Score {
    name: "loss",
    label: "loss",
    meaning: "Mean negative log-probability of the true suffix, in nats a token.",
    scale: Scale::Unbounded,
    higher_is_worse: false,
    statistics: &[Statistic::Mean, Statistic::Difference, Statistic::Membership],
    source: Source::Columns(
        &[
            Column {
                name: "loss",
                meaning: "Mean negative log-probability of the true suffix, in nats a token.",
            },
            Column { name: "loss_dropped", meaning: "The same over its dropped tokens." },
            Column { name: "loss_kept", meaning: "The same over its kept tokens." },
        ],
        |o, values| losses(o.tokens, o.mask, values),
    ),
};

/// Fills in the losses over all tokens, over the dropped and over the kept ones.
pub(crate) fn losses(tokens: Option<&[TokenScore]>, mask: Option<&[u8]>, values: &mut [Option<f64>]) {
    let Some(tokens) = tokens else { return };
    values[0] = loss(tokens.iter().map(|token| token.log_prob));
    if let Some(mask) = mask {
        values[1] = loss_where(tokens, mask, false);
        values[2] = loss_where(tokens, mask, true);
    }
}

/// Mean negative log-probability in nats a token; `None` for no tokens.
#[must_use]
pub fn loss(log_probs: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, n) = log_probs.into_iter().fold((0.0, 0u64), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| -sum / n as f64)
}

/// The loss over the kept or over the dropped tokens of a mask.
fn loss_where(tokens: &[TokenScore], mask: &[u8], kept: bool) -> Option<f64> {
    let chosen = tokens.iter().zip(mask).filter(|(_, value)| (**value != 0) == kept);
    loss(chosen.map(|(token, _)| token.log_prob))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses() {
        assert_eq!(loss([-1.0, -2.0]), Some(1.5));
        assert_eq!(loss([]), None);
    }

    #[test]
    fn losses_of_dropped_and_kept_tokens() {
        let tokens = [-4.0, -1.0, -2.0, -8.0].map(|log_prob| TokenScore::of(log_prob, 1, 0));
        let found = |tokens, mask| (loss_where(tokens, mask, false), loss_where(tokens, mask, true));
        assert_eq!(found(&tokens, &[0, 1, 1, 0]), (Some(6.0), Some(1.5)));
        assert_eq!(found(&tokens[1..3], &[1, 1]), (None, Some(1.5)));
    }
}
