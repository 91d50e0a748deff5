//! SentencePiece BPE: spaces are written `▁`, and a character without a token becomes a token for each byte.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use aho_corasick::AhoCorasick;
use serde_json::Value;
use tokenizers::AddedToken;

use crate::file::{File, Vocab, kinds, parts};
use crate::merges::Merges;
use crate::segments::{Added, Declined, Family, Pool, Sink, finder, split_off};
use crate::tokens::{Tokens, no_token};
use crate::words::{Map, Mix, Words};

/// What stands for a space.
const MARK: char = '▁';

/// No token.
const NONE: u32 = u32::MAX;

/// A SentencePiece BPE tokenizer of which every part is known.
///
/// The exact path has no words here: it merges a whole text at once. But merges are made in order of rank, then of
/// place, and each looks at two neighbours only; so the two sides of a place that no merge crosses do not affect
/// each other, and can be merged one after the other. A merge that crosses the place between two characters joins a token
/// that ends with the first to one that starts with the second. Where no merge of the model has such parts (see
/// `Joins`), the text is cut.
pub(crate) struct SentencePiece {
    spaces: Spaces,
    symbols: Symbols,
    merges: Merges,
    joins: Joins,
    /// How many characters a token has, with `▁` for one; 0 if it stands for a byte.
    token_chars: Vec<u32>,
    /// What text has that holds added tokens that are found after normalization.
    normalized: Option<AhoCorasick>,
    scratch: Pool<Scratch>,
}

/// What becomes of spaces besides `▁`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spaces {
    prefix: Prefix,
    /// Whether each `▁` opens a word.
    split: bool,
}

/// Where a `▁` is put before the text, or a part of it between added tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Never,
    /// Before every part.
    Always,
    /// Before parts that don't begin with a space.
    UnlessThere,
    /// The same, and only before the first part.
    First,
}

#[derive(Default)]
struct Scratch {
    words: Words,
    buffers: Buffers,
    /// The first word with a prefix.
    first: String,
}

#[derive(Default)]
struct Buffers {
    symbols: Vec<u32>,
    candidates: Vec<(u32, u32)>,
}

impl SentencePiece {
    /// Whether the file looks like one of these, so that the reason why it isn't fast is worth telling.
    pub(crate) fn resembles(file: &File<'_>) -> bool {
        let text = [&file.normalizer, &file.pre_tokenizer].map(Value::to_string).concat();
        file.model.fields.kind.as_deref() == Some("BPE") && text.contains(MARK)
    }

    /// The tokenizer of a file, or why it is not one of these. `normalized` are the added tokens that are found after
    /// normalization.
    pub(crate) fn new(file: &File<'_>, normalized: &[(u32, &AddedToken)]) -> Result<Self, String> {
        let spaces = spaces(file)?;
        let (model, fields) = (&file.model, &file.model.fields);
        let (Some(merges), Vocab::Ids(vocab)) = (model.merges, &model.vocab) else {
            return Err("its model has no merges".to_owned());
        };
        if fields.marks_words() {
            return Err("its model marks the parts of words".to_owned());
        }
        if fields.ignore_merges {
            return Err("its model takes words from the vocabulary without merges".to_owned());
        }
        let symbols = Symbols::new(vocab, fields.byte_fallback)?;
        let bytes: HashSet<u32> =
            symbols.bytes.iter().flat_map(|bytes| bytes.iter().copied().filter(|id| *id != NONE)).collect();
        let mut joins = Joins::default();
        let merges = Merges::read(merges, vocab, |left, right, joined| {
            // A byte's token ends with `>` in the vocabulary, but with no character in the text.
            if [left.id, right.id, joined].iter().any(|id| bytes.contains(id)) {
                return Err("one of its merges has the token of a byte".to_owned());
            }
            let (Some(before), Some(after)) = (left.text.chars().next_back(), right.text.chars().next())
            else {
                return Err("one of its merges has an empty part".to_owned());
            };
            joins.insert(before, after);
            Ok(())
        })?;
        let mut token_chars = Vec::new();
        for (token, id) in vocab.iter() {
            let at = id as usize;
            token_chars.resize(token_chars.len().max(at + 1), 0);
            token_chars[at] = if bytes.contains(&id) { 0 } else { token.chars().count() as u32 };
        }
        let normalized = cores(normalized)?;
        Ok(Self { spaces, symbols, merges, joins, token_chars, normalized, scratch: Pool::default() })
    }

    fn encode_part(
        &self,
        text: &str,
        prefixed: bool,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<(), Declined> {
        let mut from = 0;
        if prefixed {
            let first = text.chars().next().ok_or(Declined)?;
            if self.cuts(MARK, first) {
                self.symbols.push(MARK, ids)?;
            } else {
                from = self.word_end(text, 0);
                let mut word = std::mem::take(&mut scratch.first);
                word.clear();
                word.push(' ');
                word.push_str(&text[..from]);
                let done = self.encode_word(&word, (0, word.len()), scratch, ids);
                scratch.first = word;
                done?;
            }
        }
        while from < text.len() {
            let end = self.word_end(text, from);
            match self.symbols.ascii.get(usize::from(text.as_bytes()[from])) {
                Some(&id) if end == from + 1 && id != NONE => ids.push(id),
                _ => self.encode_word(text, (from, end), scratch, ids)?,
            }
            from = end;
        }
        Ok(())
    }

    /// Whether no token can hold both of two characters that follow each other.
    #[inline(always)]
    fn cuts(&self, before: char, after: char) -> bool {
        !self.joins.contains(before, after) || self.spaces.split && matches!(after, ' ' | MARK)
    }

    /// The first place after `from` where the text is cut.
    #[inline(always)]
    fn word_end(&self, text: &str, from: usize) -> usize {
        let bytes = text.as_bytes();
        let mut at = from;
        loop {
            // ASCII.
            while let (Some(&before), Some(&after)) = (bytes.get(at), bytes.get(at + 1)) {
                if before >= 0x80 || after >= 0x80 {
                    break;
                }
                at += 1;
                if !self.joins.contains_ascii(before, after) || self.spaces.split && after == b' ' {
                    return at;
                }
            }
            let mut chars = text[at..].chars();
            let (Some(before), Some(after)) = (chars.next(), chars.next()) else { return text.len() };
            at += before.len_utf8();
            if self.cuts(before, after) {
                return at;
            }
        }
    }

    /// Appends the ids of `text[start..end]`, where the text is cut at both ends.
    #[inline(always)]
    fn encode_word(
        &self,
        text: &str,
        (start, end): (usize, usize),
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<(), Declined> {
        let Scratch { words, buffers, .. } = scratch;
        words.get_or_encode(text.as_bytes(), (start, end), ids, |ids| {
            self.merge_word(&text[start..end], buffers, ids)
        })
    }

    #[inline(never)]
    fn merge_word(&self, word: &str, buffers: &mut Buffers, ids: &mut Vec<u32>) -> Result<(), Declined> {
        let Buffers { symbols, candidates } = buffers;
        symbols.clear();
        for c in word.chars() {
            self.symbols.push(c, symbols)?;
        }
        self.merges.apply(symbols, candidates);
        ids.extend_from_slice(symbols);
        Ok(())
    }

    /// The spans of the tokens of a part that starts at byte `start` of the text.
    fn push_spans(
        &self,
        text: &str,
        start: usize,
        prefixed: bool,
        ids: &[u32],
        spans: &mut Vec<(usize, usize)>,
    ) {
        // The prefix has the span of the first character.
        let mut prefix = usize::from(prefixed);
        let mut chars = text.char_indices().map(|(at, c)| (start + at, start + at + c.len_utf8())).peekable();
        // How many bytes of the next character have had their tokens.
        let mut bytes = 0;
        for &id in ids {
            let next = chars.peek().copied().unwrap_or((start, start));
            let mut count = self.token_chars.get(id as usize).map_or(0, |&count| count as usize);
            let mut span = next;
            if count == 0 {
                bytes += 1;
                if bytes == next.1 - next.0 {
                    bytes = 0;
                    chars.next();
                }
            } else {
                count -= prefix;
                prefix = 0;
                for _ in 0..count {
                    span.1 = chars.next().unwrap_or(next).1;
                }
            }
            spans.push(span);
        }
    }
}

impl Family for SentencePiece {
    fn name(&self) -> &'static str {
        match self.spaces {
            Spaces { split: true, .. } => "SentencePiece BPE by words",
            Spaces { prefix: Prefix::Never, .. } => "SentencePiece BPE",
            Spaces { .. } => "SentencePiece BPE after a space",
        }
    }

    fn encode(&self, text: &str, raw: Option<&Added>, sink: &mut Sink<'_>) -> Result<(), Declined> {
        self.scratch.with(|scratch| {
            split_off(raw, text, 0, sink, |segment, start, sink| {
                if self.normalized.as_ref().is_some_and(|cores| cores.is_match(segment)) {
                    return Err(Declined);
                }
                let prefixed = match self.spaces.prefix {
                    Prefix::Never => false,
                    Prefix::Always => true,
                    Prefix::UnlessThere => !segment.starts_with([' ', MARK]),
                    Prefix::First => start == 0 && !segment.starts_with([' ', MARK]),
                };
                let before = sink.ids.len();
                self.encode_part(segment, prefixed, scratch, sink.ids)?;
                if let Some(spans) = &mut sink.spans {
                    self.push_spans(segment, start, prefixed, &sink.ids[before..], spans);
                }
                Ok(())
            })
        })
    }
}

/// The tokens of single characters, with which merging begins.
struct Symbols {
    /// `NONE` for characters without a token.
    ascii: [u32; 128],
    others: Map<u32, u32>,
    /// With byte fallback the tokens of bytes.
    bytes: Option<Box<[u32; 256]>>,
}

impl Symbols {
    fn new(vocab: &Tokens, byte_fallback: bool) -> Result<Self, String> {
        let mut symbols = Self { ascii: [NONE; 128], others: Map::default(), bytes: None };
        for (token, id) in vocab.iter() {
            let mut chars = token.chars();
            let (Some(c), None) = (chars.next(), chars.next()) else { continue };
            match symbols.ascii.get_mut(c as usize) {
                Some(ascii) => *ascii = id,
                None => drop(symbols.others.insert(c.into(), id)),
            }
        }
        // All spaces are `▁` before the model sees them.
        symbols.ascii[usize::from(b' ')] = symbols.others.get(&MARK.into()).copied().unwrap_or(NONE);
        if byte_fallback {
            if let Some(byte) = vocab.missing_byte() {
                return Err(no_token(byte));
            }
            let mut bytes = Box::new([NONE; 256]);
            for (byte, id) in (0..=u8::MAX).zip(bytes.iter_mut()) {
                *id = vocab.byte(byte).unwrap_or(NONE);
            }
            symbols.bytes = Some(bytes);
        }
        Ok(symbols)
    }

    /// Appends the token of a character or those of its bytes.
    #[inline(always)]
    fn push(&self, c: char, into: &mut Vec<u32>) -> Result<(), Declined> {
        let id = match self.ascii.get(c as usize) {
            Some(id) => *id,
            None => self.others.get(&c.into()).copied().unwrap_or(NONE),
        };
        if id != NONE {
            into.push(id);
            return Ok(());
        }
        let bytes = self.bytes.as_ref().ok_or(Declined)?;
        into.extend(c.encode_utf8(&mut [0; 4]).bytes().map(|byte| bytes[usize::from(byte)]));
        Ok(())
    }
}

/// Pairs of characters such that a merge joins a token that ends with the one to a token that starts with the other.
#[derive(Default)]
struct Joins {
    /// Bit `after` of entry `before`.
    ascii: Rows,
    others: HashSet<u64, BuildHasherDefault<Mix>>,
}

struct Rows([u128; 128]);

impl Default for Rows {
    fn default() -> Self {
        Self([0; 128])
    }
}

impl Joins {
    fn insert(&mut self, before: char, after: char) {
        // A space in text is a `▁` by now.
        let ascii = |c: char| match c {
            MARK => Some(b' '),
            _ => u8::try_from(c).ok().filter(|byte| *byte < 0x80 && *byte != b' '),
        };
        if let (Some(before), Some(after)) = (ascii(before), ascii(after)) {
            self.ascii.0[usize::from(before)] |= 1 << after;
        }
        self.others.insert(Self::key(before, after));
    }

    #[inline(always)]
    fn contains_ascii(&self, before: u8, after: u8) -> bool {
        self.ascii.0[usize::from(before) % 128] >> (after % 128) & 1 != 0
    }

    #[inline(always)]
    fn contains(&self, before: char, after: char) -> bool {
        let mark = |c: char| if c == ' ' { MARK } else { c };
        self.others.contains(&Self::key(mark(before), mark(after)))
    }

    #[inline(always)]
    fn key(before: char, after: char) -> u64 {
        u64::from(before) << 32 | u64::from(after)
    }
}

/// A part of each added token that text must have that holds it after spaces became `▁`.
fn cores(normalized: &[(u32, &AddedToken)]) -> Result<Option<AhoCorasick>, String> {
    let core = |token: &AddedToken| {
        let longest = token.content.split([' ', MARK]).max_by_key(|part| part.len()).unwrap_or_default();
        Some(longest.to_owned()).filter(|longest| !longest.is_empty())
    };
    let cores: Option<Vec<String>> = normalized.iter().map(|(_, token)| core(token)).collect();
    finder(&cores.ok_or("one of its added tokens is a space")?)
}

/// What normalizer and pre-tokenizer do with spaces, if that is all that they do.
fn spaces(file: &File<'_>) -> Result<Spaces, String> {
    let is = |part: &Value, pointer: &str, value: &str| {
        part.pointer(pointer).and_then(Value::as_str) == Some(value)
    };
    let prepends = |part: &Value| is(part, "/type", "Prepend") && is(part, "/prepend", "▁");
    let replaces = |part: &Value| {
        is(part, "/type", "Replace") && is(part, "/pattern/String", " ") && is(part, "/content", "▁")
    };
    // It finds nothing after all spaces were replaced.
    let splits_by_spaces = |part: &Value| {
        is(part, "/type", "Split")
            && is(part, "/pattern/String", " ")
            && part.get("invert").and_then(Value::as_bool) == Some(false)
    };
    let prefix = match parts(&file.normalizer).as_slice() {
        [] => None,
        [replace] if replaces(replace) => Some(Prefix::Never),
        [prepend, replace] if prepends(prepend) && replaces(replace) => Some(Prefix::Always),
        parts => return Err(format!("its normalizer is {}", kinds(parts))),
    };
    match (prefix, parts(&file.pre_tokenizer).as_slice()) {
        (Some(prefix), []) => Ok(Spaces { prefix, split: false }),
        (Some(prefix), [split]) if splits_by_spaces(split) => Ok(Spaces { prefix, split: false }),
        (None, [part]) if is(part, "/type", "Metaspace") && is(part, "/replacement", "▁") => {
            let prefix = match part.get("prepend_scheme").and_then(Value::as_str) {
                None | Some("always") => Prefix::UnlessThere,
                Some("first") => Prefix::First,
                Some("never") => Prefix::Never,
                Some(other) => return Err(format!("its Metaspace pre-tokenizer prepends {other}")),
            };
            Ok(Spaces { prefix, split: part.get("split").and_then(Value::as_bool).unwrap_or(true) })
        }
        (_, parts) => Err(format!("its pre-tokenizer is {}", kinds(parts))),
    }
}
