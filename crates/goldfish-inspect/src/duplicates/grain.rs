//! What passages are compared by: letters, or token ids where there is no text.

/// What passages are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grain {
    /// Letters of the normalized stream.
    Letters,
    /// Token ids.
    Ids,
}

impl Grain {
    /// How many letters a word of these bytes has.
    pub(crate) fn letters(self, word: &[u8]) -> usize {
        match self {
            // Bytes that start a character.
            Self::Letters => word.iter().filter(|&&byte| byte & 0xC0 != 0x80).count(),
            Self::Ids => 1,
        }
    }

    /// Letters on each side of a word in common that are compared.
    pub(crate) fn radius(self) -> usize {
        match self {
            Self::Letters => 1200,
            Self::Ids => 300,
        }
    }

    /// So many letters count as this many letters of an alphabet.
    pub(crate) fn of_letters(self, letters: usize) -> usize {
        match self {
            Self::Letters => letters,
            Self::Ids => letters.div_ceil(4),
        }
    }

    /// How much an equal letter says, in letters of an alphabet.
    pub(crate) fn worth(self) -> fn(u32) -> i32 {
        match self {
            Self::Letters => |letter| if letter < FIRST_IDEOGRAPH { 1 } else { 3 },
            Self::Ids => |_| 3,
        }
    }
}

/// Before it are alphabets and the like; from it on ideographs, kana and syllables.
const FIRST_IDEOGRAPH: u32 = 0x3000;

/// Whether a character is a word on its own, as in the scripts that put no spaces between words: Thai, Lao, Tibetan,
/// Burmese, Khmer, kana and ideographs.
pub(crate) fn stands_alone(letter: u32) -> bool {
    matches!(letter, 0x0E00..=0x109F | 0x1780..=0x17FF | 0x3005..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..)
}
