//! What each character contributes to the normalized stream, from pinned Unicode tables.

use std::sync::OnceLock;

use caseless::Caseless;
use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The version of Unicode of the rule `text-v1`: normalization, case folding and general categories.
///
/// The standard library's own tables follow the compiler and are therefore never used.
pub const UNICODE_VERSION: (u8, u8, u8) = (16, 0, 0);

/// What a character of the normalized and case-folded text is to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A letter or number (general categories `L*` and `N*`): contributes.
    Letter,
    /// A letter or number that is a word on its own: an ideograph or kana.
    Ideograph,
    /// A mark (`Mn`, `Mc`): contributes if it belongs to a letter or number before it.
    Mark,
    /// Invisible (`Default_Ignorable_Code_Point`): contributes nothing, and leaves a mark after it its letter.
    Ignorable,
    /// Anything else: contributes nothing.
    Other,
    /// A letter of a script that puts no spaces between words: contributes.
    Spaceless,
}

/// Classifies a character that went through normalization and case folding.
pub(crate) fn classify(c: char) -> Class {
    use GeneralCategory::*;
    if is_default_ignorable(c) {
        return Class::Ignorable;
    }
    match get_general_category(c) {
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter
        | DecimalNumber | LetterNumber | OtherNumber => {
            if is_ideograph_or_kana(c) {
                Class::Ideograph
            } else if is_spaceless(c) {
                Class::Spaceless
            } else {
                Class::Letter
            }
        }
        NonspacingMark | SpacingMark => Class::Mark,
        _ => Class::Other,
    }
}

/// The property `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), which is stable by policy except for
/// the ranges set aside for it, and these are included.
fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Ideographs (Han, Tangut, Nüshu, Khitan) and kana, by their blocks; asked of letters and numbers only.
fn is_ideograph_or_kana(c: char) -> bool {
    matches!(c,
        '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{3035}'
        | '\u{3038}'..='\u{303C}' | '\u{3041}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{16FE0}'..='\u{18DFF}' | '\u{1AFF0}'..='\u{1B2FF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Scripts of Southeast Asia that put no spaces between words, by their blocks: Thai, Lao, Myanmar, Khmer, Tai Le, New Tai
/// Lue, Tai Tham, Tai Viet, Ahom, and the blocks that extend them; asked of letters and numbers only.
fn is_spaceless(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{1950}'..='\u{19FF}'
        | '\u{1A20}'..='\u{1AAF}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AADF}' | '\u{11700}'..='\u{1174F}')
}

/// What one character contributes to the stream when nothing that follows can combine with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(u32);

/// What an [`Entry`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Single {
    /// One character of the stream, or none where the class says so.
    Char(char, Class),
    /// Several characters: normalize it like a longer segment.
    Complex,
}

const CHAR_BITS: u32 = 21;
const COMPLEX: u32 = 6;
const STARTS: u32 = 1 << 31;

impl Entry {
    fn new(c: char) -> Self {
        let mut output = std::iter::once(c).nfkc().default_case_fold();
        let first = output.next().unwrap_or(c);
        let single = if output.next().is_none() {
            first as u32 | (classify(first) as u32) << CHAR_BITS
        } else {
            COMPLEX << CHAR_BITS
        };
        Self(single | if starts_segment(c) { STARTS } else { 0 })
    }

    /// Whether nothing before this character can combine with it or be reordered against it.
    pub(crate) fn starts_segment(self) -> bool {
        self.0 & STARTS != 0
    }

    pub(crate) fn single(self) -> Single {
        let class = match self.0 >> CHAR_BITS & 7 {
            0 => Class::Letter,
            1 => Class::Ideograph,
            2 => Class::Mark,
            3 => Class::Ignorable,
            4 => Class::Other,
            5 => Class::Spaceless,
            _ => return Single::Complex,
        };
        // The bits were taken from a character.
        Single::Char(char::from_u32(self.0 & ((1 << CHAR_BITS) - 1)).unwrap_or('\0'), class)
    }
}

/// Whether the compatibility decomposition of `c` starts with a character that is never reordered and never the
/// second of a composition.
fn starts_segment(c: char) -> bool {
    let mut first = None;
    decompose_compatible(c, |part| {
        first.get_or_insert(part);
    });
    let first = first.unwrap_or(c);
    canonical_combining_class(first) == 0 && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}

/// Pages of 256 characters, each filled when it is first asked for.
static PAGES: [OnceLock<Box<[Entry; 256]>>; 0x1100] = [const { OnceLock::new() }; 0x1100];

/// The entry of a character.
pub(crate) fn entry(c: char) -> Entry {
    let page = PAGES[c as usize >> 8].get_or_init(|| {
        let start = c as u32 & !0xFF;
        Box::new(std::array::from_fn(|i| {
            // Surrogates are no characters and are never looked up.
            char::from_u32(start + i as u32).map_or(Entry(0), Entry::new)
        }))
    });
    page[c as usize & 0xFF]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_of_the_documented_version() {
        let (major, minor, patch) = UNICODE_VERSION;
        let wide = (u64::from(major), u64::from(minor), u64::from(patch));
        assert_eq!(unicode_normalization::UNICODE_VERSION, UNICODE_VERSION);
        assert_eq!(unicode_general_category::UNICODE_VERSION, wide);
        assert_eq!(caseless::UNICODE_VERSION, wide);
    }

    #[test]
    fn ascii_agrees_with_the_tables() {
        for byte in 0..128u8 {
            let alphanumeric = byte.is_ascii_alphanumeric();
            let Single::Char(c, class) = entry(char::from(byte)).single() else { panic!("{byte}") };
            assert_eq!(class, if alphanumeric { Class::Letter } else { Class::Other }, "{byte}");
            assert!(!alphanumeric || c == char::from(byte.to_ascii_lowercase()));
            assert!(entry(char::from(byte)).starts_segment());
        }
    }
}
