//! Rouge-L over words, equal to the `rouge_score` package without its stemmer.

use std::collections::HashMap;

use super::definition::{Scale, Score, Source, Statistic};
use super::rouge_l::{FScore, rouge_l};

/// Rouge-L over words.
pub const SCORE: Score = Score {
    name: "rouge_l_words",
    label: "Rouge-L over words",
    meaning: "Rouge-L F1 over words, as `rouge_score` without stemmer.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference],
    source: Source::Value(|o| Some(rouge_l_words(o.continuation_text?, o.truth_text?).f1)),
};

/// The words that `rouge_score` sees: runs of `a-z` and `0-9` in the lowercased text.
///
/// Text in other scripts has none, and its score is 0: the token score is the one to look at there.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let runs = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    runs.filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// Rouge-L of two texts by words: `rouge_score.rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)`.
///
/// All 0 if either text has no words.
///
/// ```
/// use goldfish_audit::score::rouge_l_words::rouge_l_words;
///
/// let score = rouge_l_words("the cat was on the mat", "the cat sat on the mat");
/// assert!((score.f1 - 5.0 / 6.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn rouge_l_words(continuation: &str, truth: &str) -> FScore {
    let (g, s) = (words(continuation), words(truth));
    let mut numbers = HashMap::new();
    let mut number = |word: &String| {
        let next = numbers.len() as u32;
        *numbers.entry(word.clone()).or_insert(next)
    };
    let g: Vec<u32> = g.iter().map(&mut number).collect();
    let s: Vec<u32> = s.iter().map(&mut number).collect();
    rouge_l(&g, &s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        let f1 = |g, s| rouge_l_words(g, s).f1;
        assert!((f1("the cat was on the mat", "the cat sat on the mat") - 0.833_333).abs() < 1e-6);
        assert!((f1("a b b a", "a a b") - 0.571_429).abs() < 1e-6);
        assert_eq!(f1("", "a"), 0.0);
        assert_eq!(f1("…", "—"), 0.0);
        assert_eq!(f1("Ünder_score", "under score"), rouge_l_words("nder score", "under score").f1);
    }
}
