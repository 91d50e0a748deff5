use crate::backend::TokenScore;

/// What is known of a probe when its scores are computed.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The true suffix.
    pub truth: &'a [u32],
    /// The greedy continuation, unless continuations are not compared.
    pub continuation: Option<&'a [u32]>,
    /// Token scores of the true suffix, unless continuations decide exact match.
    pub tokens: Option<&'a [TokenScore]>,
    /// Mask of the true suffix, 1 kept and 0 dropped, where the corpus has masks.
    pub mask: Option<&'a [u8]>,
    /// The true suffix as text.
    pub truth_text: Option<&'a str>,
    /// The continuation as text.
    pub continuation_text: Option<&'a str>,
    /// Natural log of the suffix's probability after each of some unrelated prefixes, if it was asked for.
    pub after_others: Option<&'a [f64]>,
    /// Natural log of a lower bound on the probability of a continuation near the suffix, if it was asked for.
    pub near_log_p: Option<f64>,
    /// Fraction of tokens that Min-K% and Min-K%++ take.
    pub min_k: f64,
    /// The probability of n(p), if sampled extraction is asked about.
    pub extraction: Option<f64>,
}
