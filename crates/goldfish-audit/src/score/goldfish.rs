//! Diagnostics of probes that carry a loss mask: did the model lose the chain where a token was dropped?

use super::likelihood::loss;

/// What a probe's mask tells about its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goldfish {
    /// Dropped tokens in the suffix.
    pub dropped: usize,
    /// Loss in nats over the suffix's dropped tokens, if there are any and log-probabilities are at hand.
    pub loss_dropped: Option<f64>,
    /// Loss in nats over its kept tokens, likewise.
    pub loss_kept: Option<f64>,
    /// Where the first divergence stands; `None` where the continuation is the truth.
    pub divergence: Option<Divergence>,
}

/// The first divergence beside the dropped tokens of prefix and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    /// Whether the first token that differs is a dropped one.
    pub at_dropped: bool,
    /// Signed distance in tokens to the nearest dropped token: 0 at one, positive behind it, negative before
    /// it. Of two as near, the one before the divergence counts. `None` if no token is dropped.
    pub nearest: Option<i64>,
    /// Distance to the last dropped token at or before the divergence, 0 or more.
    pub since_dropped: Option<u64>,
}

/// Reads a probe's mask.
///
/// `mask` covers prefix and suffix (1 kept, 0 dropped), `suffix` is how many of its values belong to the suffix.
/// `match_length` is the length of the common prefix of continuation and truth, and `log_probs`, if any, has
/// one value for each token of the suffix.
///
/// Dropped tokens of the prefix count for the distances: what diverges at the suffix's first token may follow
/// a drop just before it. Tokens behind the suffix are not looked at.
#[must_use]
pub fn diagnose(mask: &[u8], suffix: usize, match_length: usize, log_probs: Option<&[f64]>) -> Goldfish {
    let start = mask.len().saturating_sub(suffix);
    let suffix_mask = &mask[start..];
    let side = |keep: bool| {
        let values = log_probs?.iter().zip(suffix_mask);
        loss(values.filter(|(_, m)| (**m != 0) == keep).map(|(value, _)| *value))
    };
    Goldfish {
        dropped: suffix_mask.iter().filter(|m| **m == 0).count(),
        loss_dropped: side(false),
        loss_kept: side(true),
        divergence: (match_length < suffix).then(|| divergence(mask, start + match_length)),
    }
}

fn divergence(mask: &[u8], at: usize) -> Divergence {
    let before = mask[..=at].iter().rposition(|m| *m == 0).map(|i| (at - i) as u64);
    let behind = mask[at..].iter().position(|m| *m == 0).map(|i| i as u64);
    let nearest = match (before, behind) {
        (Some(before), Some(behind)) if behind < before => Some(-(behind as i64)),
        (Some(before), _) => Some(before as i64),
        (None, behind) => behind.map(|n| -(n as i64)),
    };
    Divergence { at_dropped: mask[at] == 0, nearest, since_dropped: before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_on_either_side() {
        let mask = [1, 1, 0, 1, 1, 0];
        let g = diagnose(&mask, 4, 4, Some(&[-4.0, -1.0, -2.0, -8.0]));
        assert_eq!((g.dropped, g.loss_dropped, g.loss_kept, g.divergence), (2, Some(6.0), Some(1.5), None));
        let g = diagnose(&[1, 1], 2, 2, Some(&[-1.0, -3.0]));
        assert_eq!((g.dropped, g.loss_dropped, g.loss_kept), (0, None, Some(2.0)));
        assert_eq!(diagnose(&mask, 4, 4, None).loss_kept, None);
    }

    #[test]
    fn distances() {
        //           p  p  s  s  s  s  s  s
        let mask = [1, 0, 1, 1, 1, 1, 0, 1];
        let at = |match_length| {
            let d = diagnose(&mask, 6, match_length, None).divergence;
            d.map(|d| (d.at_dropped, d.nearest, d.since_dropped))
        };
        assert_eq!(at(0), Some((false, Some(1), Some(1))));
        assert_eq!(at(1), Some((false, Some(2), Some(2))));
        assert_eq!(at(2), Some((false, Some(-2), Some(3))));
        assert_eq!(at(3), Some((false, Some(-1), Some(4))));
        assert_eq!(at(4), Some((true, Some(0), Some(0))));
        assert_eq!(at(5), Some((false, Some(1), Some(1))));
        assert_eq!(at(6), None);
        let none = diagnose(&[1, 1, 1], 2, 0, None).divergence;
        assert_eq!(none, Some(Divergence { at_dropped: false, nearest: None, since_dropped: None }));
        let only_behind = diagnose(&[1, 1, 0], 2, 0, None).divergence;
        assert_eq!(
            only_behind,
            Some(Divergence { at_dropped: false, nearest: Some(-1), since_dropped: None })
        );
    }
}
