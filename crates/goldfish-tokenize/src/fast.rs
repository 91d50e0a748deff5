//! The fast path: the ids of the exact path without its allocations, for tokenizers of which every part is known.

use std::collections::HashMap;

use tokenizers::AddedToken;

use crate::byte_level::ByteLevel;
use crate::file::File;
use crate::segments::{Added, Declined, Sink};
use crate::sentencepiece::SentencePiece;
use crate::unigram::Unigram;
use crate::word_piece::WordPiece;

/// A tokenizer for which this crate knows how to produce the ids of the exact path.
pub(crate) struct Fast {
    family: Family,
    /// Added tokens that are found before normalization.
    raw: Option<Added>,
}

enum Family {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(Box<SentencePiece>),
    Unigram(Box<Unigram>),
    WordPiece(Box<WordPiece>),
}

impl Fast {
    /// The fast path for a file, or the reason why it has none. `added` are the added tokens with their ids as
    /// the exact path knows them.
    pub(crate) fn new(file: &File, added: &HashMap<u32, AddedToken>) -> Result<Self, String> {
        let (normalized, raw): (Vec<_>, Vec<_>) =
            added.iter().map(|(id, token)| (*id, token)).partition(|(_, token)| token.normalized);
        let family = if file.model.kind.as_deref() == Some("WordPiece") {
            Family::WordPiece(Box::new(WordPiece::new(file, &normalized)?))
        } else if file.model.kind.as_deref() == Some("Unigram") {
            Family::Unigram(Box::new(Unigram::new(file, &normalized)?))
        } else if SentencePiece::resembles(file) {
            Family::SentencePiece(Box::new(SentencePiece::new(file, &normalized)?))
        } else {
            Family::ByteLevel(Box::new(ByteLevel::new(file, normalized)?))
        };
        Ok(Self { family, raw: Added::new(raw)? })
    }

    /// What the tokenizer was recognised as.
    pub(crate) fn name(&self) -> &'static str {
        match &self.family {
            Family::ByteLevel(family) => family.name(),
            Family::SentencePiece(family) => family.name(),
            Family::Unigram(family) => family.name(),
            Family::WordPiece(family) => family.name(),
        }
    }

    /// Whether the tokens of a text are its bytes, cut into pieces, unless the document is declined: nothing is left
    /// out, and spans are exact.
    pub(crate) fn is_byte_level(&self) -> bool {
        matches!(self.family, Family::ByteLevel(_))
    }

    /// Appends the ids of `text`, and their spans if they are asked for; after an error, a part of them.
    pub(crate) fn encode_into(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        spans: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<(), Declined> {
        if u32::try_from(text.len()).is_err() {
            return Err(Declined);
        }
        let mut sink = Sink { ids, spans };
        match &self.family {
            Family::ByteLevel(family) => family.encode(text, self.raw.as_ref(), &mut sink),
            Family::SentencePiece(family) => family.encode(text, self.raw.as_ref(), &mut sink),
            Family::Unigram(family) => family.encode(text, self.raw.as_ref(), &mut sink),
            Family::WordPiece(family) => family.encode(text, self.raw.as_ref(), &mut sink),
        }
    }
}
