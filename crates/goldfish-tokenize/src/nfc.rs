//! Normalization form C with the tables of the exact path.
//!
//! The `tokenizers` crate normalizes with `unicode-normalization-alignments`, whose tables are those of Unicode 9.
//! The same crate is used here, after a check that most texts need no normalization.

use std::sync::LazyLock;

use unicode_normalization_alignments::UnicodeNormalization;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

/// One bit a code point: the character is unchanged by NFC in any context.
static INERT: LazyLock<Vec<u64>> = LazyLock::new(inert);

/// Below this code point (COMBINING GRAVE ACCENT) every character is inert, which a test checks.
const FIRST_COMBINING: char = '\u{300}';

fn inert() -> Vec<u64> {
    let mut set = vec![u64::MAX; (char::MAX as usize + 1) / 64];
    let mut clear = |c: char| set[c as usize / 64] &= !(1 << (c as usize % 64));
    for c in '\0'..=char::MAX {
        let mut composed = std::iter::once(c).nfc().map(|(c, _)| c);
        if composed.next() != Some(c) || composed.next().is_some() || canonical_combining_class(c) != 0 {
            clear(c);
        }
        // What follows the first character of a decomposition may compose with what precedes it.
        let mut first = true;
        decompose_canonical(c, |part| {
            if !first {
                clear(part);
            }
            first = false;
        });
    }
    set
}

/// Whether the text is its own NFC for the simple reason that all of its characters are inert.
pub(crate) fn is_inert(text: &str) -> bool {
    text.is_ascii()
        || text.chars().all(|c| c < FIRST_COMBINING || INERT[c as usize / 64] >> (c as usize % 64) & 1 != 0)
}

/// Writes the NFC of `text` to `into`.
pub(crate) fn compose(text: &str, into: &mut String) {
    into.clear();
    into.extend(text.nfc().map(|(c, _)| c));
}

#[cfg(test)]
mod tests {
    use super::{FIRST_COMBINING, INERT, compose};

    #[test]
    fn low_characters_are_inert() {
        for c in '\0'..FIRST_COMBINING {
            assert!(INERT[c as usize / 64] >> (c as usize % 64) & 1 != 0, "{c:?}");
        }
    }

    #[test]
    fn inert_characters_do_not_compose_with_any_mark() {
        let inert = |c: char| INERT[c as usize / 64] >> (c as usize % 64) & 1 != 0;
        let mut composed = String::new();
        for c in ('\0'..=char::MAX).filter(|&c| inert(c)) {
            for before in ["a", "\u{1100}", "\u{AC00}", "\u{915}", "\u{9C7}", "\u{11131}"] {
                let text = format!("{before}{c}");
                compose(&text, &mut composed);
                assert_eq!(composed, text);
            }
        }
    }
}
