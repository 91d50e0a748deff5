//! How much of the true suffix stands in a continuation.

use std::collections::HashSet;

use rapidfuzz::distance::{lcs_seq, levenshtein};

use super::FScore;

/// Whether the continuation is the truth, token by token.
#[must_use]
pub fn exact_match(g: &[u32], s: &[u32]) -> bool {
    g == s
}

/// Length of the longest common prefix: where the first difference stands, or the shorter length.
#[must_use]
pub fn match_length(g: &[u32], s: &[u32]) -> usize {
    g.iter().zip(s).take_while(|(a, b)| a == b).count()
}

/// Share of the truth's positions at which the continuation has the same token; 0 for an empty truth.
///
/// The score of Biderman et al., "Emergent and Predictable Memorization" (arXiv 2304.11158). Positions that a
/// short continuation doesn't reach count as different.
#[must_use]
pub fn positional_accuracy(g: &[u32], s: &[u32]) -> f64 {
    let same = g.iter().zip(s).filter(|(a, b)| a == b).count();
    if s.is_empty() { 0.0 } else { same as f64 / s.len() as f64 }
}

/// Length of the longest common subsequence.
#[must_use]
pub fn common_subsequence(a: &[u32], b: &[u32]) -> usize {
    lcs_seq::similarity(a.iter().copied(), b.iter().copied())
}

/// Rouge-L over token ids: the longest common subsequence against both lengths.
///
/// The main score of the goldfish paper (arXiv 2406.10209, section 4), there over ids as here.
#[must_use]
pub fn rouge_l(g: &[u32], s: &[u32]) -> FScore {
    FScore::new(common_subsequence(g, s), g.len(), s.len())
}

/// Length of the longest run of tokens that both have, wherever it stands (the longest common substring).
///
/// Time is the product of the lengths, memory the length of `b`.
#[must_use]
pub fn longest_common_run(a: &[u32], b: &[u32]) -> usize {
    // ends[j]: length of the common run that ends at the current token of `a` and at b[j - 1].
    let mut ends = vec![0usize; b.len() + 1];
    let mut longest = 0;
    for x in a {
        for j in (0..b.len()).rev() {
            ends[j + 1] = if *x == b[j] { ends[j] + 1 } else { 0 };
            longest = longest.max(ends[j + 1]);
        }
    }
    longest
}

/// The longest common run as a share of the truth's length (LCCS in the Apertus report); 0 for an empty truth.
#[must_use]
pub fn longest_run(g: &[u32], s: &[u32]) -> f64 {
    if s.is_empty() { 0.0 } else { longest_common_run(g, s) as f64 / s.len() as f64 }
}

/// Number of insertions, deletions and substitutions that turn one into the other.
#[must_use]
pub fn edit_distance(a: &[u32], b: &[u32]) -> usize {
    levenshtein::distance(a.iter().copied(), b.iter().copied())
}

/// 1 less the edit distance over the larger length; 1 where both are empty.
#[must_use]
pub fn edit_similarity(g: &[u32], s: &[u32]) -> f64 {
    match g.len().max(s.len()) {
        0 => 1.0,
        longer => 1.0 - edit_distance(g, s) as f64 / longer as f64,
    }
}

/// Different tokens over tokens; 1 for no tokens, which repeat nothing.
///
/// A looping continuation has a low ratio and makes Rouge-L look low; a template has one too and makes it
/// look high.
#[must_use]
pub fn type_token_ratio(ids: &[u32]) -> f64 {
    if ids.is_empty() {
        return 1.0;
    }
    ids.iter().collect::<HashSet<_>>().len() as f64 / ids.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const B: [u32; 8] = [1, 2, 9, 4, 5, 6, 8, 7];

    #[test]
    fn worked_example() {
        assert_eq!(common_subsequence(&A, &B), 6);
        let rouge = rouge_l(&A, &B);
        assert_eq!((rouge.precision, rouge.recall, rouge.f1), (0.75, 0.75, 0.75));
        assert_eq!(edit_distance(&A, &B), 3);
        assert_eq!(edit_similarity(&A, &B), 0.625);
        assert_eq!(match_length(&A, &B), 2);
        assert_eq!(longest_common_run(&A, &B), 3);
        assert_eq!(longest_run(&A, &B), 0.375);
        assert_eq!(positional_accuracy(&A, &B), 0.625);
        assert!(!exact_match(&A, &B) && exact_match(&A, &A));
    }

    #[test]
    fn empty_and_short_continuations() {
        assert_eq!(rouge_l(&[], &A).f1, 0.0);
        assert_eq!(edit_similarity(&[], &A), 0.0);
        assert_eq!(edit_similarity(&[], &[]), 1.0);
        assert_eq!(positional_accuracy(&A[..4], &A), 0.5);
        assert_eq!(positional_accuracy(&[], &[]), 0.0);
        let half = rouge_l(&A[..4], &A);
        assert_eq!((half.precision, half.recall, half.f1), (1.0, 0.5, 2.0 / 3.0));
        assert_eq!(type_token_ratio(&[]), 1.0);
        assert_eq!(type_token_ratio(&[7, 7, 7, 8]), 0.5);
    }
}
