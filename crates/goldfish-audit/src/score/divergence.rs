//! Where a continuation diverges from the truth, relative to dropped tokens: did the model lose the thread there?

/// The first divergence and the dropped tokens of prefix and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    /// Whether the first token that differs is a dropped one.
    pub at_dropped: bool,
    /// Signed distance in tokens to the nearest dropped token: 0 at one, positive after it, negative before
    /// it. Of two as near, the one before the divergence counts. `None` if no token is dropped.
    pub nearest: Option<i64>,
    /// Distance to the last dropped token at or before the divergence, 0 or more.
    pub since_dropped: Option<u64>,
}

/// The first divergence of a probe with a mask; `None` where the continuation is the truth.
///
/// `mask` covers prefix and suffix (1 kept, 0 dropped), `suffix` is how many of its values belong to the suffix.
/// `match_length` is the length of the common prefix of continuation and truth.
///
/// Dropped tokens of the prefix count for the distances: what diverges at the suffix's first token may follow
/// a drop just before it. Tokens after the suffix are not looked at.
#[must_use]
pub fn divergence(mask: &[u8], suffix: usize, match_length: usize) -> Option<Divergence> {
    let start = mask.len().saturating_sub(suffix);
    (match_length < suffix).then(|| at(mask, start + match_length))
}

fn at(mask: &[u8], at: usize) -> Divergence {
    let before = mask[..=at].iter().rposition(|m| *m == 0).map(|i| (at - i) as u64);
    let after = mask[at..].iter().position(|m| *m == 0).map(|i| i as u64);
    let nearest = match (before, after) {
        (Some(before), Some(after)) if after < before => Some(-(after as i64)),
        (Some(before), _) => Some(before as i64),
        (None, after) => after.map(|n| -(n as i64)),
    };
    Divergence { at_dropped: mask[at] == 0, nearest, since_dropped: before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        //           p  p  s  s  s  s  s  s
        let mask = [1, 0, 1, 1, 1, 1, 0, 1];
        let at = |match_length| {
            divergence(&mask, 6, match_length).map(|d| (d.at_dropped, d.nearest, d.since_dropped))
        };
        assert_eq!(at(0), Some((false, Some(1), Some(1))));
        assert_eq!(at(1), Some((false, Some(2), Some(2))));
        assert_eq!(at(2), Some((false, Some(-2), Some(3))));
        assert_eq!(at(3), Some((false, Some(-1), Some(4))));
        assert_eq!(at(4), Some((true, Some(0), Some(0))));
        assert_eq!(at(5), Some((false, Some(1), Some(1))));
        assert_eq!(at(6), None);
        let none = divergence(&[1, 1, 1], 2, 0);
        assert_eq!(none, Some(Divergence { at_dropped: false, nearest: None, since_dropped: None }));
        let only_after = divergence(&[1, 1, 0], 2, 0);
        assert_eq!(
            only_after,
            Some(Divergence { at_dropped: false, nearest: Some(-1), since_dropped: None })
        );
    }
}
