//! The ids of words that were seen before.
//!
//! Every lookup compares whole keys; nothing is decided by a hash alone.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::segments::Declined;

/// Longest word, in bytes, that is kept.
const WORD_BYTES: usize = 31;
/// Most ids of one word that are kept.
const WORD_IDS: usize = 7;
const LONG_SLOTS: usize = 1 << 14;

/// Longest word, in bytes, and most ids of the entries for short words.
const SHORT_BYTES: usize = 15;
const SHORT_IDS: usize = 3;
/// Pairs of entries for short words.
const SHORT_SLOTS: usize = 1 << 15;

/// Mixes keys that a tokenizer file fixes once for all, so that no document can make them collide.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Mix {
    #[inline(always)]
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Mix {
    #[inline(always)]
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    #[inline(always)]
    fn write_u32(&mut self, word: u32) {
        self.add(u64::from(word));
    }

    #[inline(always)]
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    #[inline(always)]
    fn write_u128(&mut self, word: u128) {
        self.add(word as u64);
        self.add((word >> 64) as u64);
    }
}

pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// The ids of the words of a vocabulary.
#[derive(Default)]
pub(crate) struct Vocabulary {
    short: Map<u128, u32>,
    others: Map<Box<[u8]>, u32>,
}

impl Vocabulary {
    /// The id of a word.
    pub(crate) fn get(&self, word: &[u8]) -> Option<u32> {
        match Key::of(word, 0, word.len()) {
            Some(Key::Short(word)) => self.short.get(&word),
            _ => self.others.get(word),
        }
        .copied()
    }
}

impl Extend<(Box<[u8]>, u32)> for Vocabulary {
    fn extend<T: IntoIterator<Item = (Box<[u8]>, u32)>>(&mut self, words: T) {
        for (word, id) in words {
            match Key::of(&word, 0, word.len()) {
                Some(Key::Short(word)) => self.short.insert(word, id),
                _ => self.others.insert(word, id),
            };
        }
    }
}

/// Words seen lately and their ids; a new word takes the place of another one.
pub(crate) struct Words {
    /// Words of one line of a processor's cache: the one kept last comes first.
    short: Box<[[ShortEntry; 2]]>,
    long: Box<[Entry]>,
}

#[derive(Clone, Copy)]
struct ShortEntry {
    key: u128,
    ids: [u32; SHORT_IDS],
    count: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    key: [u128; 2],
    ids: [u32; WORD_IDS],
    count: u8,
}

impl Default for Words {
    fn default() -> Self {
        // No word has length 0, so that the empty key is never looked up.
        let short = ShortEntry { key: 0, ids: [0; SHORT_IDS], count: 0 };
        let long = Entry { key: [0; 2], ids: [0; WORD_IDS], count: 0 };
        Self {
            short: vec![[short; 2]; SHORT_SLOTS].into_boxed_slice(),
            long: vec![long; LONG_SLOTS].into_boxed_slice(),
        }
    }
}

impl Words {
    /// Appends the ids of the word `text[start..end]` to `ids`: those of the last time, or else what `encode` appends.
    #[inline(always)]
    pub(crate) fn get_or_encode(
        &mut self,
        text: &[u8],
        (start, end): (usize, usize),
        ids: &mut Vec<u32>,
        encode: impl FnOnce(&mut Vec<u32>) -> Result<(), Declined>,
    ) -> Result<(), Declined> {
        let key = Key::of(text, start, end);
        if key.is_some_and(|key| self.recall(key, ids)) {
            return Ok(());
        }
        let before = ids.len();
        encode(ids)?;
        if let Some(key) = key {
            self.keep(key, &ids[before..]);
        }
        Ok(())
    }

    /// Appends the ids of a word that was seen before to `ids`; `false` if it was not.
    #[inline(always)]
    fn recall(&self, key: Key, ids: &mut Vec<u32>) -> bool {
        if let Key::Short(word) = key {
            let [first, second] = &self.short[short_slot(word)];
            let entry = if first.key == word { first } else { second };
            if entry.key == word {
                // Copies of fixed length are short code.
                let end = ids.len() + entry.count as usize;
                ids.extend_from_slice(&entry.ids);
                ids.truncate(end);
                return true;
            }
        }
        self.recall_long(key.long(), ids)
    }

    fn recall_long(&self, word: [u128; 2], ids: &mut Vec<u32>) -> bool {
        let entry = &self.long[long_slot(word)];
        if entry.key != word {
            return false;
        }
        ids.extend_from_slice(&entry.ids[..usize::from(entry.count)]);
        true
    }

    /// Keeps the ids of a word, unless they are too many.
    fn keep(&mut self, key: Key, ids: &[u32]) {
        if let Key::Short(word) = key
            && ids.len() <= SHORT_IDS
        {
            let mut entry = ShortEntry { key: word, ids: [0; SHORT_IDS], count: ids.len() as u32 };
            entry.ids[..ids.len()].copy_from_slice(ids);
            let pair = &mut self.short[short_slot(word)];
            *pair = [entry, pair[0]];
        } else if ids.len() <= WORD_IDS {
            let word = key.long();
            let mut entry = Entry { key: word, ids: [0; WORD_IDS], count: ids.len() as u8 };
            entry.ids[..ids.len()].copy_from_slice(ids);
            self.long[long_slot(word)] = entry;
        }
    }
}

/// A word that is not empty, padded with zeros, its length in the last byte.
#[derive(Clone, Copy)]
enum Key {
    /// Up to 15 bytes.
    Short(u128),
    /// Up to 31 bytes.
    Long([u128; 2]),
}

impl Key {
    /// The key of the word `text[start..end]`, unless it is too long.
    #[inline(always)]
    fn of(text: &[u8], start: usize, end: usize) -> Option<Self> {
        let len = end - start;
        if len <= SHORT_BYTES {
            let word = match text[start..].first_chunk::<16>() {
                Some(window) => u128::from_le_bytes(*window) & BELOW[len],
                None => padded(&text[start..end]),
            };
            Some(Self::Short(word | (len as u128) << 120))
        } else if len <= WORD_BYTES {
            let (low, high) = text[start..end].split_at(16);
            Some(Self::Long([padded(low), padded(high) | (len as u128) << 120]))
        } else {
            None
        }
    }

    fn long(self) -> [u128; 2] {
        match self {
            // No long word has this length.
            Self::Short(word) => [word, 0],
            Self::Long(word) => word,
        }
    }
}

/// For each length the bytes of a word.
const BELOW: [u128; SHORT_BYTES + 1] = {
    let mut masks = [0; SHORT_BYTES + 1];
    let mut len = 1;
    while len <= SHORT_BYTES {
        masks[len] = masks[len - 1] << 8 | 0xFF;
        len += 1;
    }
    masks
};

fn padded(bytes: &[u8]) -> u128 {
    let mut all = [0; 16];
    all[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(all)
}

#[inline(always)]
fn short_slot(word: u128) -> usize {
    let (low, high) = (word as u64 ^ 0x9E37_79B9_7F4A_7C15, (word >> 64) as u64 ^ 0xD1B5_4A32_D192_ED03);
    let product = u128::from(low) * u128::from(high);
    ((product >> 64) as u64 ^ product as u64) as usize % SHORT_SLOTS
}

fn long_slot([low, high]: [u128; 2]) -> usize {
    let mut mix = Mix::default();
    mix.add(low as u64);
    mix.add((low >> 64) as u64 ^ high as u64);
    mix.add((high >> 64) as u64);
    (mix.finish() >> 20) as usize % LONG_SLOTS
}
