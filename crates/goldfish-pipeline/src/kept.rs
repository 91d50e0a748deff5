//! The longest runs that a rule keeps in packed sequences.

use goldfish_mask::LongestRun;

/// The longest run of decided tokens that are all kept, in a document after `before` tokens of others. Windows start anew
/// in each block of `length` targets, and a run ends with its block. `decided` is 0 for each token that the rule decided.
pub(crate) fn longest_in_sequences(before: u64, length: u32, decided: &[u8], mask: &[u8]) -> LongestRun {
    let length = u64::from(length.max(1));
    let (mut longest, mut start) = (LongestRun::default(), 0);
    while start < mask.len() {
        let left = match (before + start as u64).checked_sub(1) {
            // Token 0 of all is no target.
            None => 1,
            Some(target) => length - target % length,
        };
        let end = mask.len().min(start.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
        let run = LongestRun::among(&decided[start..end], &mask[start..end]);
        if run.units > longest.units {
            longest = LongestRun { start: run.start + start as u64, end: run.end + start as u64, ..run };
        }
        start = end;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_its_sequence() {
        let run = |before, tokens| {
            let longest = longest_in_sequences(before, 10, &vec![0; tokens], &vec![1; tokens]);
            (longest.units, longest.start, longest.end)
        };
        assert_eq!(run(0, 0), (0, 0, 0));
        assert_eq!(run(0, 8), (7, 1, 8));
        assert_eq!(run(0, 100), (10, 1, 11));
        // Tokens 0..5 are before, of which four are targets: six are left.
        assert_eq!(run(5, 6), (6, 0, 6));
        assert_eq!(run(5, 14), (8, 6, 14));
        let (decided, mask) = ([0, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1]);
        let longest = longest_in_sequences(1, 10, &decided, &mask);
        assert_eq!(longest, LongestRun { units: 3, start: 0, end: 4 });
    }
}
