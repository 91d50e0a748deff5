//! From ids back to text: the bytes of each token.

use serde_json::Value;

use crate::error::TokenizeError;
use crate::file::{File, kind, parts};
use crate::symbols::ByteAlphabet;
use crate::tokens::{Tokens, no_token};

/// How a tokenizer's tokens represent text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// Vocabulary strings spell bytes in the alphabet of GPT-2.
    ByteLevel,
    /// `▁` stands for a space, and `<0xAB>` for a byte.
    ByteFallback,
    /// Words without the white space between them; `##` continues a word.
    WordPiece,
}

/// The text of every token of a tokenizer, to the byte.
///
/// Made by [`Tokenizer::text_map`](crate::Tokenizer::text_map).
pub struct TextMap {
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// For each id where its bytes are, and `None` for ids without a token.
    ranges: Vec<Option<(u32, u32)>>,
    /// Ids that continue the word before them; empty except for WordPiece.
    continues: Vec<bool>,
    /// The token for lost text, if tokenizing can lose some.
    unknown: Option<u32>,
    kind: TextKind,
    origin: String,
}

impl TextMap {
    /// Builds the map. `added` gives the content of an added token, `token` the vocabulary's string of an id.
    pub(crate) fn new<'a>(
        kind: TextKind,
        origin: &str,
        vocab_size: u32,
        unknown: Option<u32>,
        added: impl Fn(u32) -> Option<&'a str>,
        token: impl Fn(u32) -> Option<&'a str>,
    ) -> Self {
        let alphabet = ByteAlphabet::new();
        let mut map = Self {
            bytes: Vec::new(),
            ranges: Vec::with_capacity(vocab_size as usize),
            continues: Vec::new(),
            unknown: unknown.filter(|_| kind == TextKind::WordPiece),
            kind,
            origin: origin.to_owned(),
        };
        for id in 0..vocab_size {
            let start = map.bytes.len();
            let mut continues = false;
            let string = if let Some(content) = added(id) {
                map.bytes.extend_from_slice(content.as_bytes());
                Some(content)
            } else {
                let string = token(id);
                continues = string.is_some_and(|string| map.push(string, &alphabet));
                string
            };
            if kind == TextKind::WordPiece {
                map.continues.push(continues);
            }
            // The file is not larger than MAX_TOKENIZER_BYTES, so that its tokens fit.
            map.ranges.push(string.map(|_| (start as u32, map.bytes.len() as u32)));
        }
        map
    }

    /// Appends the bytes of a vocabulary string; whether it continues the word before it.
    fn push(&mut self, token: &str, alphabet: &ByteAlphabet) -> bool {
        match self.kind {
            TextKind::ByteLevel => {
                // A token that the alphabet does not spell is decoded as written.
                let spelled = alphabet.bytes(token);
                self.bytes.extend_from_slice(spelled.as_deref().unwrap_or(token.as_bytes()));
                false
            }
            TextKind::ByteFallback => {
                match byte_token(token) {
                    Some(byte) => self.bytes.push(byte),
                    None => self.bytes.extend(token.replace('▁', " ").into_bytes()),
                }
                false
            }
            TextKind::WordPiece => {
                let rest = token.strip_prefix("##");
                self.bytes.extend_from_slice(rest.unwrap_or(token).as_bytes());
                rest.is_some()
            }
        }
    }

    /// Whether every text can be recovered from its ids, up to normalization and white space. With WordPiece it can't: words
    /// that it cannot spell become one unknown token.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.unknown.is_none() && self.kind != TextKind::WordPiece
    }

    /// Writes the text of `ids` to `text`, and the start and end of each id, in bytes of it, to `spans`.
    ///
    /// Ids in `silent` (sorted) become a space, whatever they are called: tokens such as an end of sequence are
    /// not text. Spans may cut characters. Bytes that are not UTF-8, as where a document was cut within a
    /// character, become U+FFFD, and the spans of their tokens cover it.
    ///
    /// # Errors
    /// [`TokenizeError::Decode`] if an id is not in the vocabulary, or is the unknown token of a WordPiece model,
    /// which replaces text that is lost. `text` and `spans` are not to be used then.
    pub fn decode_into(
        &self,
        ids: &[u32],
        silent: &[u32],
        text: &mut String,
        spans: &mut Vec<(usize, usize)>,
    ) -> Result<(), TokenizeError> {
        let mut bytes = std::mem::take(text).into_bytes();
        bytes.clear();
        spans.clear();
        let error = |position: usize, id: u32, problem: &str| TokenizeError::Decode {
            origin: self.origin.clone(),
            count: ids.len(),
            problem: format!("the id {id} at position {position} {problem}"),
        };
        for (position, &id) in ids.iter().enumerate() {
            if self.unknown == Some(id) {
                return Err(error(position, id, "is the unknown token, whose text is lost"));
            }
            if self.kind == TextKind::WordPiece
                && !self.continues.get(id as usize).is_some_and(|&continues| continues)
            {
                bytes.push(b' ');
            }
            let start = bytes.len();
            if silent.binary_search(&id).is_ok() {
                bytes.push(b' ');
            } else {
                let range = self.ranges.get(id as usize).copied().flatten();
                let (from, to) = range.ok_or_else(|| error(position, id, "is not in the vocabulary"))?;
                bytes.extend_from_slice(&self.bytes[from as usize..to as usize]);
            }
            spans.push((start, bytes.len()));
        }
        *text = String::from_utf8(bytes).unwrap_or_else(|error| replace_invalid(error.as_bytes(), spans));
        Ok(())
    }
}

impl std::fmt::Debug for TextMap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TextMap")
            .field("origin", &self.origin)
            .field("kind", &self.kind)
            .field("tokens", &self.ranges.len())
            .finish_non_exhaustive()
    }
}

/// The text with U+FFFD for each invalid sequence; moves the spans accordingly.
fn replace_invalid(bytes: &[u8], spans: &mut [(usize, usize)]) -> String {
    const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
    let mut text = String::with_capacity(bytes.len());
    // Start and end of each invalid sequence, and where its replacement starts.
    let mut replaced: Vec<(usize, usize, usize)> = Vec::new();
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            replaced.push((at, at + chunk.invalid().len(), text.len()));
            at += chunk.invalid().len();
            text.push(REPLACEMENT);
        }
    }
    let moved = |old: usize, is_end: bool| {
        let index = replaced.partition_point(|&(start, ..)| start < old);
        let Some(&(_, end, new)) = index.checked_sub(1).and_then(|last| replaced.get(last)) else {
            return old;
        };
        if old >= end {
            return new + REPLACEMENT.len_utf8() + (old - end);
        }
        new + if is_end { REPLACEMENT.len_utf8() } else { 0 }
    };
    for span in spans {
        *span = (moved(span.0, false), moved(span.1, true));
    }
    text
}

/// The byte of a byte-fallback token.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')))
        .then(|| u8::from_str_radix(digits, 16).ok())?
}

/// How the tokens of a file represent text, or why that is not known exactly. `gapless` says that the
/// pre-tokenizer was recognized as one that leaves nothing out.
pub(crate) fn text_kind(file: &File<'_>, gapless: bool) -> Result<TextKind, String> {
    let model = file.model.fields.kind.as_deref().unwrap_or("untyped");
    let decoders = parts(&file.decoder);
    if model == "WordPiece" {
        check_normalizer(file, TextKind::WordPiece)?;
        return match parts(&file.pre_tokenizer).as_slice() {
            [only] if kind(only) == "BertPreTokenizer" && file.model.fields.continuing_prefix() == "##" => {
                Ok(TextKind::WordPiece)
            }
            _ => Err("its model is WordPiece, but not with BertPreTokenizer and ##".to_owned()),
        };
    }
    if !(model == "BPE" && !file.model.fields.marks_words() || model == "Unigram") {
        return Err(format!("its model is {model}, or marks the parts of words"));
    }
    if model == "BPE" && decoders.iter().any(|part| kind(part) == "ByteLevel") {
        check_normalizer(file, TextKind::ByteLevel)?;
        check_byte_level(file, gapless)?;
        return Ok(TextKind::ByteLevel);
    }
    if !file.model.fields.byte_fallback {
        return Err(format!(
            "its model is {model} without byte fallback, so that unknown characters are lost"
        ));
    }
    if let Some(byte) = file.model.vocab.tokens().and_then(Tokens::missing_byte) {
        return Err(no_token(byte));
    }
    check_normalizer(file, TextKind::ByteFallback)?;
    match parts(&file.pre_tokenizer).into_iter().find(|part| kind(part) != "Metaspace") {
        Some(part) => Err(format!("its pre-tokenizer is {}", kind(part))),
        None => Ok(TextKind::ByteFallback),
    }
}

/// Normalizers that change nothing but white space, case and canonically equivalent characters.
fn check_normalizer(file: &File<'_>, text: TextKind) -> Result<(), String> {
    for part in parts(&file.normalizer) {
        let field = |name: &str| part.get(name);
        let string = |name: &str| field(name).and_then(Value::as_str);
        let harmless = match kind(part) {
            "NFC" | "NFD" | "Lowercase" | "Strip" => true,
            "Prepend" => matches!(string("prepend"), Some("▁" | " ")),
            "Replace" => {
                part.pointer("/pattern/String").and_then(Value::as_str) == Some(" ")
                    && string("content") == Some("▁")
                    && text == TextKind::ByteFallback
            }
            "BertNormalizer" => {
                let lowercase = field("lowercase").and_then(Value::as_bool).unwrap_or(true);
                let strips = field("strip_accents").and_then(Value::as_bool).unwrap_or(lowercase);
                if strips {
                    return Err("its normalizer (BertNormalizer) strips accents".to_owned());
                }
                true
            }
            _ => false,
        };
        if !harmless {
            return Err(format!("its normalizer ({}) changes more than white space and case", kind(part)));
        }
    }
    Ok(())
}

fn check_byte_level(file: &File<'_>, gapless: bool) -> Result<(), String> {
    let pre_tokenizers = parts(&file.pre_tokenizer);
    if !pre_tokenizers.iter().any(|part| kind(part) == "ByteLevel") {
        return Err("it decodes bytes, but its pre-tokenizer makes none".to_owned());
    }
    for part in pre_tokenizers {
        let removes = part.get("behavior").and_then(Value::as_str) == Some("Removed");
        match kind(part) {
            "ByteLevel" | "Digits" => {}
            "Split" | "Punctuation" if !removes || gapless => {}
            kind => return Err(format!("its pre-tokenizer ({kind}) may leave text out")),
        }
    }
    let vocabulary = file.model.vocab.tokens().ok_or("its model has no vocabulary")?;
    ByteAlphabet::new().ids(vocabulary).map(drop)
}

impl crate::file::Fields {
    fn continuing_prefix(&self) -> &str {
        self.continuing_subword_prefix.as_deref().unwrap_or("##")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_keep_their_spans() {
        // "a", the first two bytes of a three-byte character alone, "é" cut in two, a lone continuation byte.
        let bytes = b"a\xE6\xBC\xC3\xA9\xA9b";
        let mut spans: Vec<(usize, usize)> = (0..bytes.len()).map(|at| (at, at + 1)).collect();
        let text = replace_invalid(bytes, &mut spans);
        assert_eq!(text, "a\u{FFFD}é\u{FFFD}b");
        assert_eq!(spans, [(0, 1), (1, 4), (1, 4), (4, 5), (5, 6), (6, 9), (9, 10)]);
    }

    #[test]
    fn byte_tokens() {
        assert_eq!(byte_token("<0xE2>"), Some(0xE2));
        for other in ["<0xe2>", "<0xE2", "<0x+2>", "<0xE22>", "x"] {
            assert_eq!(byte_token(other), None, "{other}");
        }
    }
}
