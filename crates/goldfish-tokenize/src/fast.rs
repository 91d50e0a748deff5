//! The fast path: the ids of the exact path without its allocations, for tokenizers of which every part is known.

use std::collections::HashMap;

use tokenizers::AddedToken;

use crate::byte_level::ByteLevel;
use crate::file::File;
use crate::segments::{Added, Declined, Family, Sink};
use crate::sentencepiece::SentencePiece;
use crate::special::SpecialInText;
use crate::unigram::Unigram;
use crate::word_piece::WordPiece;

/// A tokenizer for which this crate knows how to produce the ids of the exact path.
pub(crate) struct Fast {
    family: Box<dyn Family>,
    /// Added tokens that are found before normalization.
    raw: Option<Added>,
}

impl Fast {
    /// The fast path for a file, or the reason why it has none. `added` are the added tokens with their ids as
    /// the exact path knows them.
    pub(crate) fn new(
        file: &File<'_>,
        added: &HashMap<u32, AddedToken>,
        special: SpecialInText,
    ) -> Result<Self, String> {
        let (normalized, raw): (Vec<_>, Vec<_>) =
            added.iter().map(|(id, token)| (*id, token)).partition(|(_, token)| token.normalized);
        let family: Box<dyn Family> = match file.model.fields.kind.as_deref() {
            Some("WordPiece") => Box::new(WordPiece::new(file, &normalized)?),
            Some("Unigram") => Box::new(Unigram::new(file, &normalized)?),
            _ if SentencePiece::resembles(file) => Box::new(SentencePiece::new(file, &normalized)?),
            _ => Box::new(ByteLevel::new(file, &normalized, special)?),
        };
        Ok(Self { family, raw: Added::new(&raw, special)? })
    }

    /// What the tokenizer was recognised as.
    pub(crate) fn name(&self) -> &'static str {
        self.family.name()
    }

    /// See [`Family::is_byte_level`].
    pub(crate) fn is_byte_level(&self) -> bool {
        self.family.is_byte_level()
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
        self.family.encode(text, self.raw.as_ref(), &mut sink)
    }
}
