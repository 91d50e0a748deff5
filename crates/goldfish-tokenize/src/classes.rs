//! Which characters are letters, numbers, white space: the tables of the regex engine itself.
//!
//! The exact path splits text with `fancy-regex`, which hands `\p{L}`, `\p{N}`, `\s` and their like to
//! `regex-syntax`. Asking the same crate for the same classes makes the splitters of [`crate::split`]
//! agree with it about every character, whatever version of Unicode it carries.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// `\p{L}`.
pub(crate) const LETTER: u8 = 1;
/// `\p{N}`.
pub(crate) const NUMBER: u8 = 1 << 1;
/// `\s`, line ends included.
pub(crate) const SPACE: u8 = 1 << 2;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may open a capitalised word in the o200k pattern.
pub(crate) const UPPER: u8 = 1 << 3;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may close one.
pub(crate) const LOWER: u8 = 1 << 4;
/// `[\r\n]`.
pub(crate) const NEWLINE: u8 = 1 << 5;

const PATTERNS: [(u8, &str); 6] = [
    (LETTER, r"\p{L}"),
    (NUMBER, r"\p{N}"),
    (SPACE, r"\s"),
    (UPPER, r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"),
    (LOWER, r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"),
    (NEWLINE, r"[\r\n]"),
];

const BLOCK: usize = 256;
const BLOCKS: usize = (char::MAX as usize + 1) / BLOCK;

/// A set of class bits for every code point, in blocks that equal ones share.
pub(crate) struct Classes {
    ascii: [u8; 128],
    block_of: Vec<u16>,
    blocks: Vec<[u8; BLOCK]>,
}

impl Classes {
    /// The tables, or `None` if the engine was built without its Unicode data.
    pub(crate) fn get() -> Option<&'static Self> {
        static CLASSES: LazyLock<Option<Classes>> = LazyLock::new(Classes::build);
        CLASSES.as_ref()
    }

    fn build() -> Option<Self> {
        let mut flat = vec![0u8; BLOCK * BLOCKS];
        for (bit, pattern) in PATTERNS {
            let hir = regex_syntax::parse(pattern).ok()?;
            let HirKind::Class(Class::Unicode(class)) = hir.kind() else { return None };
            for range in class.ranges() {
                for bits in &mut flat[range.start() as usize..=range.end() as usize] {
                    *bits |= bit;
                }
            }
        }
        let mut ascii = [0; 128];
        ascii.copy_from_slice(&flat[..128]);
        let mut blocks: Vec<[u8; BLOCK]> = Vec::new();
        let mut block_of = Vec::with_capacity(BLOCKS);
        for chunk in flat.chunks_exact(BLOCK) {
            let block: [u8; BLOCK] = chunk.try_into().ok()?;
            let index = blocks.iter().position(|known| *known == block).unwrap_or_else(|| {
                blocks.push(block);
                blocks.len() - 1
            });
            block_of.push(u16::try_from(index).ok()?);
        }
        Some(Self { ascii, block_of, blocks })
    }

    /// The class bits of a character.
    #[inline]
    pub(crate) fn of(&self, c: char) -> u8 {
        let code = c as usize;
        self.blocks[usize::from(self.block_of[code / BLOCK])][code % BLOCK]
    }

    /// The class bits of the character at byte `at` of `text`, and its length in bytes; `(0, 0)` at the end.
    #[inline(always)]
    pub(crate) fn at(&self, text: &str, at: usize) -> (u8, usize) {
        match text.as_bytes().get(at) {
            None => (0, 0),
            Some(&byte) if byte < 0x80 => (self.ascii[usize::from(byte)], 1),
            Some(_) => match text[at..].chars().next() {
                Some(c) => (self.of(c), c.len_utf8()),
                None => (0, 0),
            },
        }
    }
}
