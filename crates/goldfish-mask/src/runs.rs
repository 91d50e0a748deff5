//! Runs of tokens that are all kept: what a model trains on in one piece.

use std::fmt;
use std::ops::Range;

/// What the runs of a rule are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum RunUnit {
    /// Words that the rule decides. A word counts once, whatever tokens it has.
    Words,
    /// Tokens that the rule decides.
    Tokens,
}

impl fmt::Display for RunUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "words",
            Self::Tokens => "tokens",
        })
    }
}

/// The longest run of [units](RunUnit) that a rule decided and all kept; of several the first one. What it does not
/// decide (special tokens, tokens without letters) neither counts nor ends a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LongestRun {
    /// How many units; 0 if none was decided and kept.
    pub units: u64,
    /// Position in the document of the first token of the first unit.
    pub start: u64,
    /// Position after the last token of the last unit.
    pub end: u64,
}

impl LongestRun {
    /// The longest run of tokens that are all kept, in a slice that starts at position 0. `decided` has one byte a token,
    /// 0 if the rule decided it, as [`Coverage::Decided`](crate::Coverage::Decided) writes it.
    ///
    /// # Panics
    ///
    /// If `decided` is shorter than `mask`.
    #[must_use]
    pub fn among(decided: &[u8], mask: &[u8]) -> Self {
        Self::found(longest_counted(mask, 0, |position| decided[position] == 0), 0)
    }

    /// What was found in a mask that starts at this position.
    pub(crate) fn found(found: Option<(usize, Range<usize>)>, position: u64) -> Self {
        let (units, range) = found.unwrap_or_default();
        let (start, end) = (position + range.start as u64, position + range.end as u64);
        if units == 0 { Self::default() } else { Self { units: units as u64, start, end } }
    }
}

/// The longest stretch of ones in `mask` that has more than `longer_than`; of several the first one.
///
/// It looks for a zero from the far end of each place where such a stretch could be, so that it reads a few bytes for
/// each `longer_than` of the mask.
///
/// ```
/// use goldfish_mask::longest_stretch;
///
/// let mask = [1, 0, 1, 1, 1, 0, 1, 1, 1];
/// assert_eq!(longest_stretch(&mask, 2), Some(2..5));
/// assert_eq!(longest_stretch(&mask, 3), None);
/// ```
#[must_use]
pub fn longest_stretch(mask: &[u8], longer_than: usize) -> Option<Range<usize>> {
    longest_counted(mask, longer_than, |_| true).map(|(_, range)| range)
}

/// The longest run of kept tokens that `counts`, if more than `longer_than` count; of several the first one. Other tokens
/// neither count nor end a run, unless they are dropped. Gives how many count, and the range from the first to the last
/// of them.
pub(crate) fn longest_counted(
    mask: &[u8],
    longer_than: usize,
    counts: impl Fn(usize) -> bool,
) -> Option<(usize, Range<usize>)> {
    let (mut most, mut longest) = (longer_than, None);
    let mut start = 0;
    while mask.len() - start > most {
        if let Some(dropped) = mask[start..=start + most].iter().rposition(|&keep| keep == 0) {
            start += dropped + 1;
            continue;
        }
        let rest = &mask[start + most + 1..];
        let end = mask.len() - rest.len() + rest.iter().position(|&keep| keep == 0).unwrap_or(rest.len());
        let mut counted = (start..end).filter(|&position| counts(position));
        if let Some(first) = counted.next() {
            let (more, last) = counted.fold((0, first), |(more, _), position| (more + 1, position));
            if 1 + more > most {
                (most, longest) = (1 + more, Some((1 + more, first..last + 1)));
            }
        }
        start = end;
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From the definition, with no thought of speed.
    fn naive(mask: &[u8], longer_than: usize, counts: &[bool]) -> Option<(usize, Range<usize>)> {
        let mut longest = None;
        let mut most = longer_than;
        for start in (0..mask.len()).filter(|&start| counts[start]) {
            let mut units = 0;
            for end in start..mask.len() {
                if mask[end] == 0 {
                    break;
                }
                units += usize::from(counts[end]);
                if counts[end] && units > most {
                    (most, longest) = (units, Some((units, start..end + 1)));
                }
            }
        }
        longest
    }

    proptest! {
        #[test]
        fn runs_are_those_of_a_plain_loop(
            tokens in prop::collection::vec((0u32..8, 0u32..8), 0..200),
            dropped in 0u32..4,
            uncounted in 0u32..8,
            longer_than in 0usize..12,
        ) {
            let mask: Vec<u8> = tokens.iter().map(|&(coin, _)| u8::from(coin >= dropped)).collect();
            let counts: Vec<bool> = tokens.iter().map(|&(_, coin)| coin >= uncounted).collect();
            let found = longest_counted(&mask, longer_than, |position| counts[position]);
            prop_assert_eq!(found, naive(&mask, longer_than, &counts));
            let all = vec![true; mask.len()];
            let stretch = naive(&mask, longer_than, &all).map(|(_, range)| range);
            prop_assert_eq!(longest_stretch(&mask, longer_than), stretch);
        }
    }
}
