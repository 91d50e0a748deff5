//! Unigram: of all ways to write a word with tokens, the one with the highest sum of scores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::normalizers::Precompiled;
use unicode_segmentation::UnicodeSegmentation;

use crate::file::{File, Vocab, kind, kinds, parts};
use crate::segments::{Added, Declined, Family, Pool, Sink, finder, split_off};
use crate::trie::Trie;
use crate::words::Words;

/// What opens a word.
const MARK: char = '▁';

/// No token.
const NONE: u32 = u32::MAX;

/// How much less likely an unknown character is than any token (`kUnkPenalty` in `SentencePiece`).
const UNKNOWN_PENALTY: f64 = 10.0;

/// A Unigram tokenizer that splits at white space, and of which every other part is known too.
///
/// The normalizer replaces clusters of characters by others. Between two ASCII characters a cluster always ends, unless
/// they are `\r\n`. So text is cut, before it is normalized, at ASCII white space; where the character on the other side
/// may belong to the cluster of a space, it is left to the exact path.
pub(crate) struct Unigram {
    model: Model,
    precompiled: Option<Precompiled>,
    /// What the normalizer makes of each ASCII character.
    ascii: Vec<String>,
    /// Bytes that become white space.
    spaces: [bool; 256],
    edges: Edges,
    /// What normalized words have that are, or hold, added tokens that are found after normalization.
    normalized: Option<AhoCorasick>,
    scratch: Pool<Scratch>,
}

#[derive(Default)]
struct Scratch {
    words: Words,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    normalized: String,
    marked: String,
    best: Vec<Best>,
    path: Vec<(u32, (usize, usize))>,
}

impl Unigram {
    /// The tokenizer of a file, or why it is not one of these. `normalized` are the added tokens that are found after
    /// normalization.
    pub(crate) fn new(file: &File<'_>, normalized: &[(u32, &AddedToken)]) -> Result<Self, String> {
        check_pre_tokenizer(&file.pre_tokenizer)?;
        let precompiled = precompiled(&file.normalizer)?;
        let becomes = |text: &str| match &precompiled {
            None => Ok(text.to_owned()),
            Some(precompiled) => normalize(precompiled, text).ok_or("its normalizer cannot be followed"),
        };
        let ascii: Vec<String> = (0..128u8)
            .map(|byte| becomes(char::from(byte).encode_utf8(&mut [0; 4])))
            .collect::<Result<_, _>>()?;
        let is_space = |text: &str| !text.is_empty() && text.chars().all(char::is_whitespace);
        let mut spaces = [false; 256];
        for (space, text) in spaces.iter_mut().zip(&ascii) {
            *space = is_space(text);
            if *space && text.chars().count() > 1 {
                return Err("its normalizer makes one space several".to_owned());
            }
        }
        // The one cluster of two ASCII characters.
        if !(spaces[usize::from(b'\r')] && spaces[usize::from(b'\n')] && is_space(&becomes("\r\n")?)) {
            return Err("its normalizer keeps line ends".to_owned());
        }
        let mut patterns = Vec::new();
        for (_, token) in normalized {
            let pattern = becomes(&token.content)?;
            if pattern.is_empty() || pattern.contains(char::is_whitespace) {
                return Err("an added token becomes white space under its normalizer".to_owned());
            }
            patterns.push(pattern);
        }
        Ok(Self {
            model: Model::new(file)?,
            precompiled,
            ascii,
            spaces,
            edges: Edges::new(),
            normalized: finder(&patterns)?,
            scratch: Pool::default(),
        })
    }

    /// The tokens of a word that starts at byte `start` of the text, with their spans, which are right if the normalizer
    /// leaves the word as it is; with `sure_spans` all others are declined.
    fn split_word(
        &self,
        word: &str,
        start: usize,
        sure_spans: bool,
        buffers: &mut Buffers,
        mut push: impl FnMut(u32, (usize, usize)),
    ) -> Result<(), Declined> {
        let Buffers { normalized, marked, best, path } = buffers;
        normalized.clear();
        match &self.precompiled {
            None => normalized.push_str(word),
            Some(_) if word.is_ascii() => {
                word.bytes().for_each(|byte| normalized.push_str(&self.ascii[usize::from(byte)]));
            }
            Some(precompiled) => *normalized = normalize(precompiled, word).ok_or(Declined)?,
        }
        if sure_spans && normalized != word
            || self.normalized.as_ref().is_some_and(|patterns| patterns.is_match(normalized.as_str()))
        {
            return Err(Declined);
        }
        let mut next = 0;
        for piece in normalized.split(char::is_whitespace) {
            let at = next;
            next += piece.len() + normalized[at + piece.len()..].chars().next().map_or(0, char::len_utf8);
            let Some(first) = piece.chars().next() else { continue };
            marked.clear();
            if first != MARK {
                marked.push(MARK);
            }
            let prefix = marked.len();
            marked.push_str(piece);
            // The prefix has the span of the first character.
            let place = |to: usize| start + at + to.saturating_sub(prefix);
            let mut from = 0;
            while from < marked.len() {
                let rest = &marked[from + MARK.len_utf8()..];
                let to = rest.find(MARK).map_or(marked.len(), |found| from + MARK.len_utf8() + found);
                self.model.encode(&marked[from..to], best, path, |id, (opens, ends)| {
                    let ends =
                        (from + ends).max(prefix + if from + ends <= prefix { first.len_utf8() } else { 0 });
                    push(id, (place(from + opens), place(ends)));
                })?;
                from = to;
            }
        }
        Ok(())
    }
}

impl Family for Unigram {
    fn name(&self) -> &'static str {
        if self.precompiled.is_some() { "Unigram after a table of characters" } else { "Unigram" }
    }

    fn encode(&self, text: &str, raw: Option<&Added>, sink: &mut Sink<'_>) -> Result<(), Declined> {
        self.scratch.with(|Scratch { words, buffers }| {
            split_off(raw, text, 0, sink, |part, start, sink| {
                let bytes = part.as_bytes();
                let is_space = |at: usize| bytes.get(at).map(|&byte| self.spaces[usize::from(byte)]);
                let mut at = 0;
                loop {
                    while is_space(at) == Some(true) {
                        at += 1;
                    }
                    let from = at;
                    while is_space(at) == Some(false) {
                        at += 1;
                    }
                    if from == at {
                        return Ok(());
                    }
                    let word = &part[from..at];
                    if from > 0 && !bytes[from].is_ascii() && !self.edges.are_sharp(word.chars().next())
                        || at < part.len()
                            && !bytes[at - 1].is_ascii()
                            && !self.edges.are_sharp(word.chars().next_back())
                    {
                        return Err(Declined);
                    }
                    match &mut sink.spans {
                        None => words.get_or_encode(bytes, (from, at), sink.ids, |ids| {
                            self.split_word(word, 0, false, buffers, |id, _| ids.push(id))
                        })?,
                        Some(spans) => {
                            self.split_word(word, start + from, true, buffers, |id, span| {
                                sink.ids.push(id);
                                spans.push(span);
                            })?;
                        }
                    }
                }
            })
        })
    }
}

/// Tokens and their scores.
struct Model {
    trie: Trie,
    scores: Vec<f64>,
    unknown: Option<u32>,
    unknown_score: f64,
    /// With byte fallback the tokens of bytes, `NONE` for those without one.
    bytes: Option<Box<[u32; 256]>>,
}

/// The best way to write a word up to a place.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// Where its last token starts; `NONE` before there is a way.
    start: u32,
    id: u32,
}

impl Model {
    fn new(file: &File<'_>) -> Result<Self, String> {
        let Vocab::Scores(tokens, scores) = &file.model.vocab else {
            return Err("its vocabulary has no scores".to_owned());
        };
        let unknown = match &file.model.fields.unk_id {
            Value::Null => None,
            id => {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                Some(id.filter(|id| (*id as usize) < scores.len()).ok_or("its unk_id is no id")?)
            }
        };
        let bytes = file.model.fields.byte_fallback.then(|| {
            let mut bytes = Box::new([NONE; 256]);
            for (byte, entry) in (0..=u8::MAX).zip(bytes.iter_mut()) {
                *entry = tokens.byte(byte).unwrap_or(NONE);
            }
            bytes
        });
        Ok(Self {
            // Of equal tokens the last one has the largest id, which the trie keeps.
            trie: Trie::new(tokens.iter().map(|(token, id)| (token.as_bytes(), id))),
            scores: scores.clone(),
            unknown,
            unknown_score: scores.iter().copied().fold(f64::INFINITY, f64::min) - UNKNOWN_PENALTY,
            bytes,
        })
    }

    /// The tokens of a text with their places in it. Sums are made in the order of the exact path, so that they are
    /// equal to the last bit, and of equal sums the first one stays.
    fn encode(
        &self,
        text: &str,
        best: &mut Vec<Best>,
        path: &mut Vec<(u32, (usize, usize))>,
        mut push: impl FnMut(u32, (usize, usize)),
    ) -> Result<(), Declined> {
        best.clear();
        best.resize(text.len() + 1, Best { score: 0.0, start: NONE, id: 0 });
        for (start, c) in text.char_indices() {
            let so_far = best[start].score;
            let mut single = false;
            let mut offer = |length: usize, id: u32, score: f64| {
                let there = &mut best[start + length];
                let score = score + so_far;
                if there.start == NONE || score > there.score {
                    *there = Best { score, start: start as u32, id };
                }
            };
            self.trie.prefixes(&text.as_bytes()[start..], |length, id| {
                offer(length, id, self.scores[id as usize]);
                single |= length == c.len_utf8();
            });
            if !single {
                offer(c.len_utf8(), self.unknown.ok_or(Declined)?, self.unknown_score);
            }
        }
        path.clear();
        let mut end = text.len();
        while end > 0 {
            let Best { start, id, .. } = best[end];
            let start = start as usize;
            match path.last_mut() {
                // Unknown characters that follow each other are one token.
                Some((after, (from, _))) if Some(id) == self.unknown && *after == id => *from = start,
                _ => path.push((id, (start, end))),
            }
            end = start;
        }
        for &(id, (start, end)) in path.iter().rev() {
            if Some(id) != self.unknown {
                push(id, (start, end));
                continue;
            }
            let unknown = &text.as_bytes()[start..end];
            let mut whole = None;
            self.trie.prefixes(unknown, |length, id| whole = Some(id).filter(|_| length == unknown.len()));
            let bytes = self.bytes.as_ref().map(|bytes| unknown.iter().map(|&byte| bytes[usize::from(byte)]));
            match (whole, bytes) {
                (Some(id), _) => push(id, (start, end)),
                (None, Some(bytes)) if !bytes.clone().any(|id| id == NONE) => {
                    bytes.for_each(|id| push(id, (start, end)));
                }
                _ => push(id, (start, end)),
            }
        }
        Ok(())
    }
}

/// Which characters never share a cluster with a space beside them, in blocks that are made when a text first has one of
/// their characters.
struct Edges(Vec<OnceLock<Box<[bool; BLOCK]>>>);

const BLOCK: usize = 256;

impl Edges {
    fn new() -> Self {
        Self((0..=char::MAX as usize / BLOCK).map(|_| OnceLock::new()).collect())
    }

    #[inline]
    fn are_sharp(&self, c: Option<char>) -> bool {
        let Some(c) = c else { return true };
        let (block, at) = (c as usize / BLOCK, c as usize % BLOCK);
        self.0[block].get_or_init(|| {
            let mut sharp = Box::new([false; BLOCK]);
            for (at, sharp) in sharp.iter_mut().enumerate() {
                let c = u32::try_from(block * BLOCK + at).ok().and_then(char::from_u32);
                *sharp = c.is_some_and(|c| format!(" {c} ").graphemes(true).count() == 3);
            }
            sharp
        })[at]
    }
}

/// What a table of characters makes of a text. Damaged tables make it panic: `None`.
fn normalize(precompiled: &Precompiled, text: &str) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| precompiled.normalize_string(text))).ok()
}

fn precompiled(normalizer: &Value) -> Result<Option<Precompiled>, String> {
    match parts(normalizer).as_slice() {
        [] => Ok(None),
        // From its text, since the table must be borrowed from it.
        [part] if kind(part) == "Precompiled" => serde_json::from_str(&part.to_string())
            .map(Some)
            .map_err(|error| format!("its normalizer cannot be read: {error}")),
        parts => Err(format!("its normalizer is {}", kinds(parts))),
    }
}

fn check_pre_tokenizer(pre_tokenizer: &Value) -> Result<(), String> {
    let always = |part: &Value| {
        kind(part) == "Metaspace"
            && part.get("replacement").and_then(Value::as_str) == Some("▁")
            && matches!(part.get("prepend_scheme").and_then(Value::as_str), None | Some("always"))
            && part.get("split").and_then(Value::as_bool).unwrap_or(true)
    };
    match parts(pre_tokenizer).as_slice() {
        [split, mark] if kind(split) == "WhitespaceSplit" && always(mark) => Ok(()),
        parts => Err(format!("its pre-tokenizer is {}", kinds(parts))),
    }
}
