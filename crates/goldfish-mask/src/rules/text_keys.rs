//! The keys of words of the rule `text-v2`.

use crate::rules::xxh3::SixteenHash;
use crate::selection::{BLOCK, Last, Selector, least_in_row};
use crate::text::{Part, Stream, WORD, width};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Normalized characters by which words are told apart: an error further into a word changes nothing.
const IDENTITY: usize = 5;

/// Normalized characters from which on longer words don't win more often.
const LONGEST_WEIGHED: usize = 16;

/// What the ranks of words are multiplied by, for each length: three quarters of that of the next shorter words, so that
/// long words win more often than short ones, which are in every sentence.
const WEIGHTS: [u64; LONGEST_WEIGHED + 1] = {
    let mut weights = [1 << 32; LONGEST_WEIGHED + 1];
    let mut length = 2;
    while length <= LONGEST_WEIGHED {
        weights[length] = weights[length - 1] * 3 / 4;
        length += 1;
    }
    weights
};

/// How words are decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    pub(crate) threshold: u64,
    /// Units of a window.
    pub(crate) window: Option<usize>,
    /// Words among which an anchor is.
    pub(crate) context: usize,
    /// Words that must come before a word for it to be decided.
    pub(crate) needed: usize,
    pub(crate) seed: u64,
    /// Drops everything that is decided.
    pub(crate) all: bool,
}

impl Decision {
    /// A selector for a new document, in the memory of an earlier one.
    pub(crate) fn selector(&self, earlier: Option<Selector>) -> Selector {
        Selector::new(self.threshold, self.window, self.all, earlier)
    }
}

/// Hashes and ranks of words.
#[derive(Debug, Clone, Copy)]
struct Hashing(SixteenHash);

impl Hashing {
    /// Hash and rank of a word.
    #[inline(always)]
    fn word(self, stream: &Stream, word: &Part) -> (u64, u64) {
        self.ranked(identity(stream, word.stream_start, word.stream_end), word.chars)
    }

    /// The same of so many ASCII letters and digits from byte `start`, 63 at most, on.
    #[inline(always)]
    fn ascii_word(self, bytes: &[u8; BLOCK_BYTES], start: usize, length: usize) -> (u64, u64) {
        /// In lower case; digits have that bit too.
        const LOWER: u64 = 0x20_2020_2020;
        let eight = bytes[start % 64..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
        let bits = 8 * length.min(IDENTITY);
        self.ranked(((eight | LOWER) & ((1 << bits) - 1), 0), length)
    }

    #[inline(always)]
    fn ranked(self, (first, last): (u64, u64), chars: usize) -> (u64, u64) {
        let hash = self.0.hash(first, last);
        (hash, (hash >> 32) * WEIGHTS[chars.min(LONGEST_WEIGHED)])
    }
}

/// The keys of many words, a block at a time: what depends on one another is done in steps.
#[derive(Debug)]
pub(crate) struct BlockKeys {
    decision: Decision,
    hashing: Hashing,
    /// Ranks of the words, after those of the context before them; the greatest for words that there are not.
    ranks: Box<[u64; CONTEXT + BLOCK]>,
    /// Hashes of the words, after that of the word before them.
    hashes: Box<[u64; 1 + BLOCK]>,
    /// For the least ranks among the words before each.
    least: Box<[u64; CONTEXT + BLOCK]>,
    /// Words in the block.
    count: usize,
    /// Words before the block.
    before: usize,
}

const CONTEXT: usize = crate::MAX_ANCHOR_CONTEXT as usize;

/// A block of a text, and as much after it as is read with its last word.
const BLOCK_BYTES: usize = 64 + 8;

impl BlockKeys {
    /// Of a new document, in the memory of an earlier one.
    pub(crate) fn new(decision: Decision, earlier: Option<Self>) -> Self {
        let hashing = Hashing(SixteenHash::new(decision.seed));
        let (mut ranks, mut hashes, least) = match earlier {
            Some(Self { ranks, hashes, least, .. }) => (ranks, hashes, least),
            None => (Box::new([0; _]), Box::new([0; _]), Box::new([0; _])),
        };
        ranks[..CONTEXT].fill(u64::MAX);
        hashes[0] = 0;
        Self { decision, hashing, ranks, hashes, least, count: 0, before: 0 }
    }

    /// Words that the block has room for.
    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        BLOCK - self.count
    }

    /// How many of the next words are not decided.
    #[inline(always)]
    pub(crate) fn undecided(&self) -> usize {
        self.decision.needed.saturating_sub(self.before + self.count)
    }

    /// Takes the next words, of which there must be fewer than there is room for, from the block of a text at byte `at`: where each
    /// starts in the block, and how many ASCII letters and digits it has.
    #[inline(always)]
    pub(crate) fn push_ascii(&mut self, text: &[u8], at: usize, words: impl Iterator<Item = (usize, usize)>) {
        let ranks = &mut self.ranks[CONTEXT + self.count..];
        let hashes = &mut self.hashes[1 + self.count..];
        let mut padded = [0; BLOCK_BYTES];
        let bytes = &text[at..];
        let bytes = match bytes.first_chunk() {
            Some(bytes) => bytes,
            None => {
                padded[..bytes.len()].copy_from_slice(bytes);
                &padded
            }
        };
        let mut count = 0;
        for ((rank, hash), (start, length)) in ranks.iter_mut().zip(hashes).zip(words) {
            (*hash, *rank) = self.hashing.ascii_word(bytes, start, length);
            count += 1;
        }
        self.count += count;
    }

    /// Takes the next word; says whether the block is full, so that [`select`](Self::select) must be called.
    #[inline(always)]
    #[must_use]
    pub(crate) fn push(&mut self, stream: &Stream, word: &Part) -> bool {
        let (hash, rank) = self.hashing.word(stream, word);
        self.ranks[CONTEXT + self.count] = rank;
        self.count += 1;
        self.hashes[self.count] = hash;
        self.count == BLOCK
    }

    /// Whether the next word is decided.
    #[inline(always)]
    pub(crate) fn decides(&self) -> bool {
        self.before + self.count >= self.decision.needed
    }

    /// Gives the keys of the block to a selector, and begins another one.
    #[inline(always)]
    pub(crate) fn select(&mut self, selector: &mut Selector) {
        let Self { decision, ranks, hashes, least, count, .. } = self;
        let context = decision.context;
        let ranks_before = &ranks[CONTEXT - context..CONTEXT + *count];
        let least = &mut least[..ranks_before.len()];
        least.copy_from_slice(ranks_before);
        let offset = least_in_row(least, context);
        let undecided = decision.needed.saturating_sub(self.before).min(*count);
        for word in undecided..*count {
            let anchor = least[word].min(least[word + offset]);
            // There is room: blocks are emptied together.
            let _full = selector.push(self.hashing.0.hash(anchor, hashes[word]));
        }
        ranks.copy_within(*count..*count + CONTEXT, 0);
        hashes[0] = hashes[*count];
        self.before += *count;
        *count = 0;
    }
}

/// The keys of words and tokens, one after the other.
#[derive(Debug)]
pub(crate) struct Keys {
    decision: Decision,
    hashing: Hashing,
    /// Ranks of the words so far, and the least of them.
    ranks: Last,
    anchor: u64,
    /// Hash of the latest word.
    previous: u64,
    /// Words so far.
    words: usize,
}

impl Keys {
    pub(crate) fn new(decision: Decision) -> Self {
        let hashing = Hashing(SixteenHash::new(decision.seed));
        let ranks = Last::new(decision.context);
        Self { decision, hashing, ranks, anchor: u64::MAX, previous: 0, words: 0 }
    }

    /// Whether the next word is decided.
    #[inline(always)]
    pub(crate) fn decides(&self) -> bool {
        self.words >= self.decision.needed
    }

    /// The key of the next word.
    #[inline(always)]
    pub(crate) fn key(&self) -> u64 {
        self.hashing.0.hash(self.anchor, self.previous)
    }

    /// The key of a token inside of the next word, after these of its characters.
    pub(crate) fn key_inside(&self, before: &[u8]) -> u64 {
        let mut key = [0; 2 * 8 + 4 * WORD];
        key[..8].copy_from_slice(&self.anchor.to_le_bytes());
        key[8..16].copy_from_slice(&self.previous.to_le_bytes());
        let end = key.len().min(16 + before.len());
        key[16..end].copy_from_slice(&before[..end - 16]);
        xxh3_64_with_seed(&key[..end], self.decision.seed)
    }

    /// Takes the next word.
    #[inline(always)]
    pub(crate) fn push(&mut self, stream: &Stream, word: &Part) {
        let (hash, rank) = self.hashing.word(stream, word);
        self.ranks.push(rank);
        self.anchor = self.ranks.values().iter().copied().fold(u64::MAX, u64::min);
        self.previous = hash;
        self.words += 1;
    }
}

/// The first characters of a word as UTF-8, in sixteen bytes.
#[inline(always)]
fn identity(stream: &Stream, from: usize, to: usize) -> (u64, u64) {
    const HIGH: u64 = 0x80_8080_8080;
    let bits = 8 * (to - from).min(IDENTITY);
    match stream.eight_bytes(from).map(|eight| eight & ((1 << bits) - 1)) {
        Some(first) if first & HIGH == 0 => (first, 0),
        _ => wide_identity(stream.bytes(from, to)),
    }
}

#[inline(never)]
fn wide_identity(word: &[u8]) -> (u64, u64) {
    let mut end = 0;
    for _ in 0..IDENTITY {
        let Some(&lead) = word.get(end) else { break };
        end += width(lead);
    }
    let mut bytes = [0; 16];
    let end = end.min(bytes.len());
    bytes[..end].copy_from_slice(&word[..end]);
    let [first, last] = bytemuck::cast::<_, [u64; 2]>(bytes);
    (first, last)
}
