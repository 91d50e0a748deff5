//! Probes whose exact match shows nothing: what a model would get right without having seen the text.

use goldfish_mask::normalize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::type_token_ratio::type_token_ratio;

/// A truth whose type-token ratio is at most this is a repetition.
pub const LOW_TYPE_TOKEN_RATIO: f64 = 0.4;

/// Why an exact match of a probe would show nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Triviality {
    /// The suffix is in the prefix: copying suffices.
    SuffixInPrefix,
    /// The suffix repeats itself with a period of at most half its length, or continues the period of the
    /// prefix's end.
    Periodic,
    /// The suffix has few different tokens: a type-token ratio of at most [`LOW_TYPE_TOKEN_RATIO`].
    LowTypeTokenRatio,
    /// The suffix holds a phrase of a license, notice or placeholder that is in countless documents.
    Boilerplate,
}

impl Triviality {
    /// Every filter, in order.
    pub const ALL: [Self; 4] =
        [Self::SuffixInPrefix, Self::Periodic, Self::LowTypeTokenRatio, Self::Boilerplate];

    /// The name in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SuffixInPrefix => "suffix_in_prefix",
            Self::Periodic => "periodic",
            Self::LowTypeTokenRatio => "low_type_token_ratio",
            Self::Boilerplate => "boilerplate",
        }
    }
}

/// Phrases in their normalized form: letters and digits alone, in lower case.
const BOILERPLATE: [&str; 13] = [
    "permissionisherebygrantedfreeofcharge",
    "thesoftwareisprovidedasiswithoutwarranty",
    "licensedundertheapachelicense",
    "redistributionanduseinsourceandbinaryforms",
    "thisprogramisfreesoftwareyoucanredistribute",
    "gnugeneralpubliclicense",
    "mozillapubliclicense",
    "creativecommonsattribution",
    "allrightsreserved",
    "projectgutenberg",
    "loremipsumdolorsitamet",
    "thiswebsiteusescookies",
    "termsofserviceandprivacypolicy",
];

/// The filters that a probe falls under, in the order of [`Triviality::ALL`]. `text` is the suffix as text, without
/// which the boilerplate filter can't look.
#[must_use]
pub fn trivialities(prefix: &[u32], suffix: &[u32], text: Option<&str>) -> Vec<Triviality> {
    let mut found = Vec::new();
    if contains(prefix, suffix) {
        found.push(Triviality::SuffixInPrefix);
    }
    if is_periodic(prefix, suffix) {
        found.push(Triviality::Periodic);
    }
    if type_token_ratio(suffix) <= LOW_TYPE_TOKEN_RATIO {
        found.push(Triviality::LowTypeTokenRatio);
    }
    if text.is_some_and(is_boilerplate) {
        found.push(Triviality::Boilerplate);
    }
    found
}

/// Whether `part` is in `whole` as a run; an empty part is not.
fn contains(whole: &[u32], part: &[u32]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
}

/// Whether a text holds one of the known phrases, whatever its case, spacing and punctuation.
#[must_use]
pub fn is_boilerplate(text: &str) -> bool {
    let text = normalize(text);
    BOILERPLATE.iter().any(|phrase| text.contains(phrase))
}

/// The smallest `p >= 1` with `ids[i] == ids[i - p]` throughout: the length itself where nothing repeats.
#[must_use]
pub fn period(ids: &[u32]) -> usize {
    // borders[i]: length of the longest proper prefix of ids[..=i] that also ends it (Knuth, Morris, Pratt).
    let mut borders = vec![0usize; ids.len()];
    for i in 1..ids.len() {
        let mut border = borders[i - 1];
        while border > 0 && ids[i] != ids[border] {
            border = borders[border - 1];
        }
        borders[i] = border + usize::from(ids[i] == ids[border]);
    }
    ids.len() - borders.last().copied().unwrap_or(0)
}

/// Whether the suffix repeats itself, or continues a repetition that the prefix shows twice.
fn is_periodic(prefix: &[u32], suffix: &[u32]) -> bool {
    if suffix.len() >= 2 && period(suffix) <= suffix.len() / 2 {
        return true;
    }
    // Read backwards, a period of the window's end is one of its start: two rounds of it must be in the prefix.
    let mut window: Vec<u32> = prefix.to_vec();
    window.extend(suffix);
    let tail = |rounds: usize| suffix.len() + rounds;
    (1..=prefix.len() / 2).any(|p| {
        let start = window.len() - tail(2 * p);
        (start + p..window.len()).all(|i| window[i] == window[i - p])
    }) && !suffix.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        assert!(contains(&[1, 2, 3], &[2, 3]) && contains(&[1], &[1]));
        assert!(!contains(&[1, 2, 3], &[1, 3]) && !contains(&[1], &[1, 1]) && !contains(&[1], &[]));
    }

    #[test]
    fn periods() {
        assert_eq!(period(&[]), 0);
        assert_eq!(period(&[1]), 1);
        assert_eq!(period(&[1, 1, 1]), 1);
        assert_eq!(period(&[1, 2, 1, 2, 1]), 2);
        assert_eq!(period(&[1, 2, 3, 1]), 3);
        assert_eq!(period(&[1, 2, 3, 4]), 4);
    }

    #[test]
    fn each_filter() {
        use Triviality::*;
        let plain: Vec<u32> = (0..10).collect();
        assert_eq!(trivialities(&plain, &[20, 21, 22, 23], None), []);
        assert_eq!(trivialities(&plain, &[3, 4, 5, 6], None), [SuffixInPrefix]);
        assert_eq!(trivialities(&plain, &[1, 2, 1, 2, 1], None), [Periodic, LowTypeTokenRatio]);
        // The prefix shows 5 6 7 twice and the suffix continues it, though too short to repeat on its own.
        assert_eq!(trivialities(&[1, 5, 6, 7, 5, 6, 7], &[5, 6], None), [SuffixInPrefix, Periodic]);
        assert_eq!(trivialities(&[1, 7, 8, 9, 5, 6, 7], &[9, 5], None), [SuffixInPrefix]);
        assert_eq!(trivialities(&[1, 2], &[4, 4, 4, 5, 6], None), []);
        assert_eq!(trivialities(&[1, 2], &[4, 4, 4, 4, 6], None), [LowTypeTokenRatio]);
        let text = "# Licensed under the\n# Apache License, Version 2.0";
        assert_eq!(trivialities(&plain, &[20, 21, 22], Some(text)), [Boilerplate]);
        assert_eq!(trivialities(&plain, &[20, 21, 22], Some("a licence")), []);
    }
}
