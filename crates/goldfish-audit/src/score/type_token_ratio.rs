//! How varied a text is.

use std::collections::HashSet;

use super::definition::{Scale, Score, Source, Statistic};

/// The type-token ratio of the continuation.
pub const GENERATED: Score = Score {
    name: "ttr_generated",
    label: "type-token ratio, continuation",
    meaning: "Different tokens over tokens of the continuation; low where it repeats itself.",
    scale: Scale::Fraction,
    higher_is_worse: false,
    statistics: &[Statistic::Mean],
    source: Source::Value(|o| Some(type_token_ratio(o.continuation?))),
};

/// The type-token ratio of the truth.
pub const TRUTH: Score = Score {
    name: "ttr_truth",
    label: "type-token ratio, truth",
    meaning: "Different tokens over tokens of the true suffix.",
    scale: Scale::Fraction,
    higher_is_worse: false,
    statistics: &[Statistic::Mean],
    source: Source::Required(|o| type_token_ratio(o.truth)),
};

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
    use super::type_token_ratio;

    #[test]
    fn worked_example() {
        assert_eq!(type_token_ratio(&[]), 1.0);
        assert_eq!(type_token_ratio(&[7, 7, 7, 8]), 0.5);
    }
}
