//! What all families of the fast path have in common: documents in segments between added tokens.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::AddedToken;

use crate::special::SpecialInText;

/// Tokenizers of one kind, of which every part is known.
pub(crate) trait Family: Send + Sync {
    /// What the tokenizer was recognised as.
    fn name(&self) -> &'static str;

    /// Whether the tokens of a text are its bytes, cut into pieces, unless the document is declined: nothing is left
    /// out, and spans are exact.
    fn is_byte_level(&self) -> bool {
        false
    }

    /// Appends the ids of `text` around `raw`, the added tokens that are found before normalization, and theirs; after
    /// an error, a part of them.
    fn encode(&self, text: &str, raw: Option<&Added>, sink: &mut Sink<'_>) -> Result<(), Declined>;
}

/// A document that only the exact path may tokenize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Declined;

/// One scratch for each thread that encodes at the same time.
#[derive(Default)]
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Calls `work` with a scratch that no other thread uses meanwhile.
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

/// What finds strings of added tokens in a text: the leftmost, the longest of those that start there. `None` without any.
pub(crate) fn finder(strings: &[impl AsRef<[u8]>]) -> Result<Option<AhoCorasick>, String> {
    if strings.is_empty() {
        return Ok(None);
    }
    let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(strings);
    finder.map(Some).map_err(|error| format!("its added tokens make no automaton: {error}"))
}

/// Added tokens that are found anywhere in a text.
pub(crate) struct Added {
    finder: AhoCorasick,
    meanings: Vec<Meaning>,
}

/// What the string of an added token is in a text.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// This id.
    Token(u32),
    /// Text like any other.
    Text,
    /// Its flags take more than finding it.
    Unclear,
}

impl Added {
    /// What finds these tokens with their ids; `None` without any. Special ones may be text like any other, but they are still found: as in
    /// the exact path, no other token is then found in them.
    pub(crate) fn new(tokens: &[(u32, &AddedToken)], special: SpecialInText) -> Result<Option<Self>, String> {
        let contents: Vec<&str> = tokens.iter().map(|(_, token)| token.content.as_str()).collect();
        let Some(finder) = finder(&contents)? else { return Ok(None) };
        let plain = |token: &AddedToken| !(token.lstrip || token.rstrip || token.single_word);
        let meaning = |(id, token): &(u32, &AddedToken)| match special {
            SpecialInText::Text if token.special => Meaning::Text,
            _ if plain(token) => Meaning::Token(*id),
            _ => Meaning::Unclear,
        };
        Ok(Some(Self { finder, meanings: tokens.iter().map(meaning).collect() }))
    }

    /// The tokens in a text, with where they are.
    fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Result<(u32, Range<usize>), Declined>> + 'a {
        self.finder.find_iter(text).filter_map(|found| match self.meanings[found.pattern().as_usize()] {
            Meaning::Token(id) => Some(Ok((id, found.range()))),
            Meaning::Text => None,
            Meaning::Unclear => Some(Err(Declined)),
        })
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
    let mut found = added.into_iter().flat_map(|added| added.find(text));
    let mut done = 0;
    loop {
        let token = found.next().transpose()?;
        let end = token.as_ref().map_or(text.len(), |(_, range)| range.start);
        if done < end {
            other(&text[done..end], start + done, sink)?;
        }
        let Some((id, range)) = token else { return Ok(()) };
        sink.ids.push(id);
        if let Some(spans) = &mut sink.spans {
            spans.push((start + range.start, start + range.end));
        }
        done = range.end;
    }
}
