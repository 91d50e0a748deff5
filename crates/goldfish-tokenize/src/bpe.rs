//! Byte-level byte-pair encoding of one word: merges of the lowest rank first, the leftmost among equals.
//!
//! Every lookup compares whole keys; nothing is decided by a hash alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Words of more bytes than this are merged with a queue instead of repeated sweeps.
const SWEEP_BYTES: usize = 48;
/// Longest word, in bytes, that the cache holds.
const CACHED_BYTES: usize = 31;
/// Most ids of one word that the cache holds.
const CACHED_IDS: usize = 7;
const CACHE_SLOTS: usize = 1 << 15;

const NO_MERGE: u32 = u32::MAX;

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

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// The merges of a byte-level model over its 256 byte symbols.
pub(crate) struct Bpe {
    byte_ids: [u32; 256],
    /// `left << 32 | right` to (rank, id of the joined token).
    merges: Map<u64, (u32, u32)>,
    /// With `ignore_merges`, the words that are tokens as written.
    whole_words: Option<Map<Box<[u8]>, u32>>,
    /// For each id the length of its token.
    token_bytes: Vec<u32>,
}

impl Bpe {
    /// `merges` are (left, right, joined) ids in order of rank, no pair twice; `whole_words` the vocabulary in
    /// bytes for a model with `ignore_merges`; `token_bytes` ids with the lengths of their tokens.
    pub(crate) fn new(
        byte_ids: [u32; 256],
        merges: impl Iterator<Item = (u32, u32, u32)>,
        whole_words: Option<impl Iterator<Item = (Box<[u8]>, u32)>>,
        token_bytes: impl Iterator<Item = (u32, u32)>,
    ) -> Self {
        let mut lengths = Vec::new();
        for (id, bytes) in token_bytes {
            let id = id as usize;
            if lengths.len() <= id {
                lengths.resize(id + 1, 0);
            }
            lengths[id] = bytes;
        }
        Self {
            byte_ids,
            merges: (0u32..)
                .zip(merges)
                .map(|(rank, (left, right, joined))| (pair(left, right), (rank, joined)))
                .collect(),
            whole_words: whole_words.map(Iterator::collect),
            token_bytes: lengths,
        }
    }

    /// How many bytes of text a token has.
    pub(crate) fn token_bytes(&self, id: u32) -> usize {
        self.token_bytes.get(id as usize).map_or(0, |&len| len as usize)
    }

    /// Appends the ids of the word `text[start..end]` to `ids`.
    #[inline]
    pub(crate) fn encode(
        &self,
        text: &[u8],
        (start, end): (usize, usize),
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) {
        let Some(key) = Key::of(text, start, end) else {
            self.encode_uncached(&text[start..end], scratch, ids);
            return;
        };
        let slot = key.slot();
        let cached = &scratch.cache[slot];
        if cached.key == key {
            match cached.count {
                1 => ids.push(cached.ids[0]),
                count => ids.extend_from_slice(&cached.ids[..usize::from(count)]),
            }
            return;
        }
        let from = ids.len();
        self.encode_uncached(&text[start..end], scratch, ids);
        let new = &ids[from..];
        if new.len() <= CACHED_IDS {
            let mut entry = Cached { key, ids: [0; CACHED_IDS], count: new.len() as u8 };
            entry.ids[..new.len()].copy_from_slice(new);
            scratch.cache[slot] = entry;
        }
    }

    fn encode_uncached(&self, word: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if let Some(&id) = self.whole_words.as_ref().and_then(|words| words.get(word)) {
            ids.push(id);
        } else if word.len() <= SWEEP_BYTES {
            self.merge_by_sweeps(word, scratch, ids);
        } else {
            self.merge_by_queue(word, ids);
        }
    }

    #[inline(always)]
    fn merge(&self, left: u32, right: u32) -> (u32, u32) {
        self.merges.get(&pair(left, right)).copied().unwrap_or((NO_MERGE, 0))
    }

    /// For short words: find the lowest rank, merge there, look again.
    fn merge_by_sweeps(&self, word: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let Scratch { symbols, merges, .. } = scratch;
        symbols.clear();
        symbols.extend(word.iter().map(|&byte| self.byte_ids[usize::from(byte)]));
        merges.clear();
        merges.extend(symbols.windows(2).map(|two| self.merge(two[0], two[1])));
        loop {
            let mut lowest = NO_MERGE;
            let mut at = 0;
            for (here, &(rank, _)) in merges.iter().enumerate() {
                if rank < lowest {
                    (lowest, at) = (rank, here);
                }
            }
            if lowest == NO_MERGE {
                break;
            }
            symbols[at] = merges[at].1;
            symbols.remove(at + 1);
            merges.remove(at);
            if at > 0 {
                merges[at - 1] = self.merge(symbols[at - 1], symbols[at]);
            }
            if at < merges.len() {
                merges[at] = self.merge(symbols[at], symbols[at + 1]);
            }
        }
        ids.extend_from_slice(symbols);
    }

    /// For long words: a queue of candidate merges over a linked list of symbols.
    ///
    /// A candidate is `rank << 32 | position`, so that the smallest is due next. Those that the word starts with are
    /// sorted once; only those that merges create need a heap.
    fn merge_by_queue(&self, word: &[u8], ids: &mut Vec<u32>) {
        /// The position of no symbol; words are shorter than `u32::MAX` bytes (see `Fast::encode_into`).
        const NONE: u32 = u32::MAX;
        struct Symbol {
            id: u32,
            /// Whether the symbol has become part of the one before it.
            joined: bool,
            previous: u32,
            next: u32,
        }
        let mut symbols: Vec<Symbol> = (0u32..)
            .zip(word)
            .map(|(at, &byte)| Symbol {
                id: self.byte_ids[usize::from(byte)],
                joined: false,
                previous: at.checked_sub(1).unwrap_or(NONE),
                next: at + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let candidate = |left: &Symbol, right: &Symbol, at: u32| match self.merge(left.id, right.id) {
            (NO_MERGE, _) => None,
            (rank, _) => Some(pair(rank, at)),
        };
        let mut first: Vec<u64> = (0u32..)
            .zip(symbols.windows(2))
            .filter_map(|(at, two)| candidate(&two[0], &two[1], at))
            .collect();
        first.sort_unstable();
        let mut first = first.into_iter().peekable();
        let mut later: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        loop {
            let due = match (first.peek(), later.peek()) {
                (Some(one), Some(Reverse(other))) if one <= other => first.next(),
                (_, Some(_)) => later.pop().map(|Reverse(due)| due),
                _ => first.next(),
            };
            let Some(due) = due else { break };
            let (rank, position) = ((due >> 32) as u32, due as u32);
            let at = position as usize;
            let next = symbols[at].next;
            if symbols[at].joined || next == NONE {
                continue;
            }
            let next = next as usize;
            // A rank names one pair; another rank here means that the pair of this candidate is gone.
            let (now, id) = self.merge(symbols[at].id, symbols[next].id);
            if now != rank {
                continue;
            }
            symbols[next].joined = true;
            let (before, after) = (symbols[at].previous, symbols[next].next);
            symbols[at].id = id;
            symbols[at].next = after;
            if after != NONE {
                symbols[after as usize].previous = position;
                later.extend(candidate(&symbols[at], &symbols[after as usize], position).map(Reverse));
            }
            if before != NONE {
                later.extend(candidate(&symbols[before as usize], &symbols[at], before).map(Reverse));
            }
        }
        ids.extend(symbols.iter().filter(|symbol| !symbol.joined).map(|symbol| symbol.id));
    }
}

#[inline(always)]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// A word of up to 31 bytes, padded with zeros, its length in the last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u128; 2]);

impl Key {
    #[inline(always)]
    fn of(text: &[u8], start: usize, end: usize) -> Option<Self> {
        let len = end - start;
        if len > CACHED_BYTES {
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
        (mix.finish() >> 20) as usize % CACHE_SLOTS
    }
}

#[derive(Clone, Copy)]
struct Cached {
    key: Key,
    ids: [u32; CACHED_IDS],
    count: u8,
}

/// What one thread needs while it encodes: buffers, and the ids of words seen before.
pub(crate) struct Scratch {
    cache: Box<[Cached]>,
    symbols: Vec<u32>,
    merges: Vec<(u32, u32)>,
}

impl Default for Scratch {
    fn default() -> Self {
        // No word has length 0, so that the empty key is never looked up.
        let empty = Cached { key: Key([0; 2]), ids: [0; CACHED_IDS], count: 0 };
        Self { cache: vec![empty; CACHE_SLOTS].into_boxed_slice(), symbols: Vec::new(), merges: Vec::new() }
    }
}
