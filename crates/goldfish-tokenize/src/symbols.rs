//! Characters as the regular expressions of one tokenizer see them.
//!
//! Two characters that are in the same classes of all expressions are the same symbol. There are a few dozens, so that
//! the automata of [`crate::automaton`] need small tables only. Classes are those of `regex-syntax`, the crate
//! that compiles the expressions of the exact path.

use std::collections::HashMap;

use regex_syntax::hir::ClassUnicode;

use crate::tokens::{Tokens, in_utf8, no_token};

const BLOCK: usize = 64;
const BLOCKS: usize = (char::MAX as usize + 1) / BLOCK;

/// Most classes that the expressions of a tokenizer may have.
const MAX_CLASSES: usize = 128;

/// Most symbols.
const MAX_SYMBOLS: usize = 255;

/// Where automata find the symbol at a byte of a text.
pub(crate) trait Units {
    /// The symbol at byte `at` of `text`, and its length in bytes. `at` is the start of a symbol.
    fn at(&self, text: &[u8], at: usize) -> (u8, usize);
}

/// The symbol of every character.
pub(crate) struct Symbols {
    ascii: [u8; 128],
    /// Code points in blocks that equal ones share.
    block_of: Vec<u16>,
    blocks: Vec<[u8; BLOCK]>,
    /// For each symbol, one bit for each class that it is in.
    classes: Vec<u128>,
}

impl Symbols {
    /// The symbols of some classes, or `None` if there are too many of either.
    pub(crate) fn new(classes: &[ClassUnicode]) -> Option<Self> {
        if classes.len() > MAX_CLASSES {
            return None;
        }
        // Where characters enter and leave a class.
        let mut changes: Vec<(u32, u128)> = Vec::new();
        for (index, class) in classes.iter().enumerate() {
            for range in class.ranges() {
                changes.push((u32::from(range.start()), 1 << index));
                changes.push((u32::from(range.end()) + 1, 1 << index));
            }
        }
        changes.push((0, 0));
        changes.sort_unstable();
        let end = u32::from(char::MAX) + 1;
        let mut known: HashMap<u128, u8> = HashMap::new();
        let mut of_symbol = Vec::new();
        let mut flat = vec![0; BLOCK * BLOCKS];
        let mut inside = 0u128;
        for (index, &(from, change)) in changes.iter().enumerate() {
            inside ^= change;
            let to = changes.get(index + 1).map_or(end, |next| next.0);
            if from >= to {
                continue;
            }
            let symbol = match known.get(&inside) {
                Some(&symbol) => symbol,
                None => {
                    let symbol =
                        u8::try_from(of_symbol.len()).ok().filter(|_| of_symbol.len() < MAX_SYMBOLS)?;
                    known.insert(inside, symbol);
                    of_symbol.push(inside);
                    symbol
                }
            };
            flat[from as usize..to as usize].fill(symbol);
        }
        Some(Self::pack(&flat, of_symbol))
    }

    fn pack(flat: &[u8], classes: Vec<u128>) -> Self {
        let mut ascii = [0; 128];
        ascii.copy_from_slice(&flat[..128]);
        let mut blocks: Vec<[u8; BLOCK]> = Vec::new();
        let mut known: HashMap<&[u8], u16> = HashMap::new();
        let block_of = flat
            .chunks_exact(BLOCK)
            .map(|chunk| {
                *known.entry(chunk).or_insert_with(|| {
                    let mut block = [0; BLOCK];
                    block.copy_from_slice(chunk);
                    blocks.push(block);
                    // There are fewer blocks than `u16` counts.
                    (blocks.len() - 1) as u16
                })
            })
            .collect();
        Self { ascii, block_of, blocks, classes }
    }

    /// How many symbols there are.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether a symbol is in a class, by the index of the class.
    pub(crate) fn is_in(&self, symbol: usize, class: usize) -> bool {
        self.classes[symbol] >> class & 1 == 1
    }

    /// The symbol of a character.
    pub(crate) fn of(&self, c: char) -> u8 {
        self.of_code(c as usize)
    }

    #[inline(always)]
    fn of_code(&self, code: usize) -> u8 {
        self.blocks[usize::from(self.block_of[code / BLOCK])][code % BLOCK]
    }
}

impl Units for Symbols {
    #[inline(always)]
    fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        let first = text[at];
        if first < 0x80 {
            return (self.ascii[usize::from(first)], 1);
        }
        let next = |offset: usize| usize::from(text[at + offset] & 0x3F);
        let first = usize::from(first);
        if first < 0xE0 {
            (self.of_code((first & 0x1F) << 6 | next(1)), 2)
        } else if first < 0xF0 {
            (self.of_code((first & 0x0F) << 12 | next(1) << 6 | next(2)), 3)
        } else {
            (self.of_code((first & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3)), 4)
        }
    }
}

/// The symbol of every byte: that of the character that stands for it.
pub(crate) struct ByteSymbols(pub(crate) [u8; 256]);

impl Units for ByteSymbols {
    #[inline(always)]
    fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        (self.0[usize::from(text[at])], 1)
    }
}

/// The byte-level alphabet of GPT-2 (`bytes_to_unicode` in openai/gpt-2, src/encoder.py): visible Latin-1
/// characters stand for themselves, the other 68 bytes for U+0100 onwards in order.
pub(crate) struct ByteAlphabet([Option<u8>; 0x144]);

impl ByteAlphabet {
    pub(crate) fn new() -> Self {
        let visible = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let mut bytes = [None; 0x144];
        let mut others = 0x100..;
        for byte in 0..=u8::MAX {
            let at = if visible(byte) { Some(usize::from(byte)) } else { others.next() };
            if let Some(entry) = at.and_then(|at| bytes.get_mut(at)) {
                *entry = Some(byte);
            }
        }
        Self(bytes)
    }

    /// The byte that a character stands for.
    pub(crate) fn byte(&self, c: char) -> Option<u8> {
        *self.0.get(c as usize)?
    }

    /// The bytes that a token stands for, if all of its characters are in the alphabet.
    pub(crate) fn bytes(&self, token: &str) -> Option<Box<[u8]>> {
        token.chars().map(|c| self.byte(c)).collect()
    }

    /// The tokens of single bytes, 0 for bytes that UTF-8 never uses, which some vocabularies lack; or which one is missing.
    pub(crate) fn ids(&self, vocab: &Tokens) -> Result<[u32; 256], String> {
        let mut ids = [0; 256];
        for (c, byte) in self.iter().filter(|(_, byte)| in_utf8(*byte)) {
            let id = vocab.id(c.encode_utf8(&mut [0; 4]));
            ids[usize::from(byte)] = id.ok_or_else(|| no_token(byte))?;
        }
        Ok(ids)
    }

    /// All characters and bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (char, u8)> {
        ('\0'..).zip(&self.0).filter_map(|(c, byte)| Some((c, (*byte)?)))
    }
}
