//! Byte-level byte-pair encoding of one word.

use crate::merges::Merges;
use crate::pre_tokenizer::Parts;
use crate::segments::Declined;
use crate::words::{Vocabulary, Words};

/// Most symbols that a buffer has room for after a word.
const KEPT_SYMBOLS: usize = 1 << 16;

/// The merges of a byte-level model over its 256 byte symbols.
pub(crate) struct Bpe {
    byte_ids: [u32; 256],
    parts: Option<Parts>,
    merges: Merges,
    /// With `ignore_merges`, the words that are tokens as written.
    whole_words: Option<Vocabulary>,
    /// For each id the length of its token.
    token_bytes: Vec<u32>,
}

impl Bpe {
    /// `parts` cuts words up before they are merged; `whole_words` is the vocabulary in bytes for a model with
    /// `ignore_merges`, `token_bytes` ids with the lengths of their tokens.
    pub(crate) fn new(
        byte_ids: [u32; 256],
        parts: Option<Parts>,
        merges: Merges,
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
        let whole_words = whole_words.map(|words| {
            let mut vocabulary = Vocabulary::default();
            vocabulary.extend(words);
            vocabulary
        });
        Self { byte_ids, parts, merges, whole_words, token_bytes: lengths }
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
    ) -> Result<(), Declined> {
        let Scratch { words, buffers } = scratch;
        words.get_or_encode(text, (start, end), ids, |ids| {
            self.encode_uncached(&text[start..end], buffers, ids)
        })
    }

    #[inline(never)]
    fn encode_uncached(
        &self,
        word: &[u8],
        buffers: &mut Buffers,
        ids: &mut Vec<u32>,
    ) -> Result<(), Declined> {
        match &self.parts {
            None => {
                self.encode_part(word, buffers, ids);
                Ok(())
            }
            Some(parts) => parts.split(word, |from, to| self.encode_part(&word[from..to], buffers, ids)),
        }
    }

    fn encode_part(&self, part: &[u8], buffers: &mut Buffers, ids: &mut Vec<u32>) {
        if let Some(id) = self.whole_words.as_ref().and_then(|words| words.get(part)) {
            ids.push(id);
            return;
        }
        let Buffers { symbols, candidates } = buffers;
        symbols.clear();
        symbols.extend(part.iter().map(|&byte| self.byte_ids[usize::from(byte)]));
        self.merges.apply(symbols, candidates);
        ids.extend_from_slice(symbols);
        // A long word must not hold memory for ever.
        symbols.shrink_to(KEPT_SYMBOLS);
    }
}

/// What one thread needs while it encodes: buffers, and the ids of words seen before.
#[derive(Default)]
pub(crate) struct Scratch {
    words: Words,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    symbols: Vec<u32>,
    candidates: Vec<(u32, u32)>,
}
