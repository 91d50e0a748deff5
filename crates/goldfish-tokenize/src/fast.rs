//! The fast path: the ids of the exact path without its allocations, for tokenizers of which every part is known.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::AddedToken;

use crate::byte_level::ByteLevel;
use crate::file::File;
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

/// A document that only the exact path may tokenize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Declined;

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

/// One scratch for each thread that encodes at the same time.
#[derive(Default)]
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Lends a scratch that nobody else uses.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = pooled.unwrap_or_default();
        let result = work(&mut scratch);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        result
    }
}

/// Where ids, and spans if they are asked for, go.
pub(crate) struct Sink<'a> {
    pub(crate) ids: &'a mut Vec<u32>,
    pub(crate) spans: Option<&'a mut Vec<(usize, usize)>>,
}

/// Added tokens, found anywhere in a text: the leftmost, the longest of those that start there.
pub(crate) struct Added {
    matcher: AhoCorasick,
    /// Id of each pattern, `None` for those whose flags take more than finding them.
    ids: Vec<Option<u32>>,
}

impl Added {
    pub(crate) fn new(tokens: Vec<(u32, &AddedToken)>) -> Result<Option<Self>, String> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|(_, token)| token.content.as_bytes()))
            .map_err(|error| format!("its added tokens make no automaton: {error}"))?;
        let plain = |token: &AddedToken| !(token.lstrip || token.rstrip || token.single_word);
        let ids = tokens.iter().map(|(id, token)| plain(token).then_some(*id)).collect();
        Ok(Some(Self { matcher, ids }))
    }
}

/// Pushes the added tokens in `text`, which starts at byte `start` of the document, and calls `other` with the text
/// around them and its start, all in order.
pub(crate) fn split_off(
    added: Option<&Added>,
    text: &str,
    start: usize,
    sink: &mut Sink<'_>,
    mut other: impl FnMut(&str, usize, &mut Sink<'_>) -> Result<(), Declined>,
) -> Result<(), Declined> {
    let mut done = 0;
    if let Some(added) = added {
        for found in added.matcher.find_iter(text) {
            if done < found.start() {
                other(&text[done..found.start()], start + done, sink)?;
            }
            sink.ids.push(added.ids[found.pattern().as_usize()].ok_or(Declined)?);
            if let Some(spans) = &mut sink.spans {
                spans.push((start + found.start(), start + found.end()));
            }
            done = found.end();
        }
    }
    if done < text.len() { other(&text[done..], start + done, sink) } else { Ok(()) }
}
