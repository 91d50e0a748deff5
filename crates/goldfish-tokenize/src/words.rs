//! The ids of words that were seen before.
//!
//! Every lookup compares whole keys; nothing is decided by a hash alone.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Longest word, in bytes, that is kept.
const WORD_BYTES: usize = 31;
/// Most ids of one word that are kept.
const WORD_IDS: usize = 7;
const SLOTS: usize = 1 << 15;

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
}

pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Words seen lately and their ids; a new word takes the place of another one.
pub(crate) struct Words {
    slots: Box<[Entry]>,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    ids: [u32; WORD_IDS],
    count: u8,
}

impl Default for Words {
    fn default() -> Self {
        // No word has length 0, so that the empty key is never looked up.
        let empty = Entry { key: Key([0; 2]), ids: [0; WORD_IDS], count: 0 };
        Self { slots: vec![empty; SLOTS].into_boxed_slice() }
    }
}

impl Words {
    /// Appends the ids of a word that was seen before to `ids`; `false` if it was not.
    #[inline(always)]
    pub(crate) fn recall(&self, key: Key, ids: &mut Vec<u32>) -> bool {
        let entry = &self.slots[key.slot()];
        if entry.key != key {
            return false;
        }
        match entry.count {
            1 => ids.push(entry.ids[0]),
            count => ids.extend_from_slice(&entry.ids[..usize::from(count)]),
        }
        true
    }

    /// Keeps the ids of a word, unless they are too many.
    pub(crate) fn keep(&mut self, key: Key, ids: &[u32]) {
        if ids.len() <= WORD_IDS {
            let mut entry = Entry { key, ids: [0; WORD_IDS], count: ids.len() as u8 };
            entry.ids[..ids.len()].copy_from_slice(ids);
            self.slots[key.slot()] = entry;
        }
    }
}

/// A word of up to 31 bytes, not empty, padded with zeros, its length in the last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u128; 2]);

impl Key {
    /// The key of the word `text[start..end]`, unless it is too long.
    #[inline(always)]
    pub(crate) fn of(text: &[u8], start: usize, end: usize) -> Option<Self> {
        let len = end - start;
        if len > WORD_BYTES {
            return None;
        }
        let mut low_high = [0u128; 2];
        if let Some(window) = text[start..].first_chunk::<16>() {
            let low = u128::from_le_bytes(*window);
            low_high[0] = if len < 16 { low & ((1 << (8 * len)) - 1) } else { low };
        } else {
            let mut bytes = [0; 16];
            bytes[..len].copy_from_slice(&text[start..end]);
            low_high[0] = u128::from_le_bytes(bytes);
        }
        if len > 16 {
            let mut bytes = [0; 16];
            bytes[..len - 16].copy_from_slice(&text[start + 16..end]);
            low_high[1] = u128::from_le_bytes(bytes);
        }
        low_high[1] |= (len as u128) << 120;
        Some(Self(low_high))
    }

    #[inline(always)]
    fn slot(self) -> usize {
        let [low, high] = self.0;
        let mut mix = Mix::default();
        mix.add(low as u64);
        mix.add((low >> 64) as u64 ^ high as u64);
        mix.add((high >> 64) as u64);
        (mix.finish() >> 20) as usize % SLOTS
    }
}
