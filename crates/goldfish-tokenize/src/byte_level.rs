//! Byte-level BPE after a known pattern.

use std::collections::HashMap;
use std::mem;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::bpe::{Bpe, Scratch as BpeScratch};
use crate::classes::Classes;
use crate::fast::{Added, Declined, Pool, Sink, split_off};
use crate::file::{File, Vocab, flatten};
use crate::merges::Merges;
use crate::nfc;
use crate::split::{Pattern, SpaceRunTooLong};

/// A byte-level tokenizer of which every part is known.
pub(crate) struct ByteLevel {
    pattern: Pattern,
    classes: &'static Classes,
    nfc: bool,
    bpe: Bpe,
    /// Added tokens that are found after normalization.
    normalized: Option<Added>,
    scratch: Pool<Scratch>,
}

impl From<SpaceRunTooLong> for Declined {
    fn from(_: SpaceRunTooLong) -> Self {
        Self
    }
}

#[derive(Default)]
struct Scratch {
    bpe: BpeScratch,
    composed: String,
}

impl ByteLevel {
    /// The tokenizer of a file, or why it is not one of these. `normalized` are the added tokens that are found after
    /// normalization.
    pub(crate) fn new(file: &File, normalized: Vec<(u32, &AddedToken)>) -> Result<Self, String> {
        let classes = Classes::get().ok_or("the regex engine was built without Unicode classes")?;
        let nfc = normalizes_to_nfc(&file.normalizer)?;
        let pattern = pattern(&file.pre_tokenizer)?;
        let bpe = bpe(file)?;
        if nfc && normalized.iter().any(|(_, token)| !nfc::is_inert(&token.content)) {
            return Err("an added token changes under the normalizer".to_owned());
        }
        let normalized = Added::new(normalized)?;
        Ok(Self { pattern, classes, nfc, bpe, normalized, scratch: Pool::default() })
    }

    /// What the tokenizer was recognised as.
    pub(crate) fn name(&self) -> &'static str {
        match (self.pattern, self.nfc) {
            (Pattern::Gpt2, false) => "GPT-2 pattern",
            (Pattern::Gpt2, true) => "GPT-2 pattern after NFC",
            (Pattern::Cl100k { digits: 1 }, false) => "cl100k pattern, single digits",
            (Pattern::Cl100k { digits: 1 }, true) => "cl100k pattern, single digits, after NFC",
            (Pattern::Cl100k { .. }, false) => "cl100k pattern",
            (Pattern::Cl100k { .. }, true) => "cl100k pattern after NFC",
            (Pattern::O200k, false) => "o200k pattern",
            (Pattern::O200k, true) => "o200k pattern after NFC",
        }
    }

    /// Appends the ids of `text` after its raw added tokens; after an error, a part of them.
    pub(crate) fn encode(
        &self,
        text: &str,
        raw: Option<&Added>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Declined> {
        self.scratch.with(|scratch| {
            split_off(raw, text, 0, sink, |segment, start, sink| {
                if !self.nfc || nfc::is_inert(segment) {
                    return self.encode_normalized(segment, start, &mut scratch.bpe, sink);
                }
                if sink.spans.is_some() {
                    // Only the exact path knows which characters were composed.
                    return Err(Declined);
                }
                let mut composed = mem::take(&mut scratch.composed);
                nfc::compose(segment, &mut composed);
                let done = self.encode_normalized(&composed, start, &mut scratch.bpe, sink);
                scratch.composed = composed;
                done
            })
        })
    }

    fn encode_normalized(
        &self,
        text: &str,
        start: usize,
        scratch: &mut BpeScratch,
        sink: &mut Sink<'_>,
    ) -> Result<(), Declined> {
        split_off(self.normalized.as_ref(), text, start, sink, |segment, start, sink| {
            let before = sink.ids.len();
            self.pattern.split(self.classes, segment, |from, to| {
                self.bpe.encode(segment.as_bytes(), (from, to), scratch, sink.ids);
            })?;
            if let Some(spans) = &mut sink.spans {
                self.push_spans(segment, start, &sink.ids[before..], spans);
            }
            Ok(())
        })
    }

    /// The spans of the tokens of a segment that starts at byte `start` of the text.
    fn push_spans(&self, segment: &str, start: usize, ids: &[u32], spans: &mut Vec<(usize, usize)>) {
        if segment.is_ascii() {
            let mut at = start;
            spans.extend(ids.iter().map(|&id| {
                let from = at;
                at += self.bpe.token_bytes(id);
                (from, at)
            }));
            return;
        }
        let (mut from, mut at) = (0, 0);
        for &id in ids {
            at += self.bpe.token_bytes(id);
            // A token that ends within a character shares it with the next one.
            let (floor, ceil) = if segment.is_char_boundary(at) {
                (at, at)
            } else {
                (segment.floor_char_boundary(at), segment.ceil_char_boundary(at))
            };
            spans.push((start + from, start + ceil));
            from = floor;
        }
    }
}

fn normalizes_to_nfc(normalizer: &Value) -> Result<bool, String> {
    let mut parts = Vec::new();
    flatten(normalizer, &mut parts);
    for part in &parts {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("?");
        if kind != "NFC" {
            return Err(format!("its normalizer is {kind}"));
        }
    }
    Ok(!parts.is_empty())
}

/// The pattern of a pre-tokenizer that is `ByteLevel` with its own regex, or a `Split` followed by a `ByteLevel`
/// without one.
fn pattern(pre_tokenizer: &Value) -> Result<Pattern, String> {
    let mut parts = Vec::new();
    flatten(pre_tokenizer, &mut parts);
    let kind = |part: &Value| part.get("type").and_then(Value::as_str).unwrap_or("?").to_owned();
    let flag = |part: &Value, name| part.get(name).and_then(Value::as_bool);
    let Some((byte_level, before)) = parts.split_last().filter(|(last, _)| kind(last) == "ByteLevel") else {
        let kinds: Vec<_> = parts.iter().map(|part| kind(part)).collect();
        return Err(if kinds.is_empty() {
            "it has no pre-tokenizer".to_owned()
        } else {
            format!("its pre-tokenizer is {}", kinds.join(" + "))
        });
    };
    if flag(byte_level, "add_prefix_space") != Some(false) {
        return Err("its ByteLevel pre-tokenizer adds a space before the text".to_owned());
    }
    match (before, flag(byte_level, "use_regex").unwrap_or(true)) {
        ([], true) => Ok(Pattern::Gpt2),
        ([split], false) if kind(split) == "Split" => {
            let behavior = split.get("behavior").and_then(Value::as_str);
            // The known patterns leave no gaps, so that removing what does not match removes nothing.
            match (behavior, flag(split, "invert")) {
                (Some("Isolated"), Some(false)) | (Some("Removed"), Some(true)) => {}
                _ => return Err("its Split pre-tokenizer is neither isolating nor inverted".to_owned()),
            }
            split
                .pointer("/pattern/Regex")
                .and_then(Value::as_str)
                .and_then(Pattern::recognise)
                .ok_or_else(|| "the regex of its Split pre-tokenizer is not a known one".to_owned())
        }
        _ => {
            let kinds: Vec<_> = parts.iter().map(|part| kind(part)).collect();
            Err(format!("its pre-tokenizer is {}", kinds.join(" + ")))
        }
    }
}

fn bpe(file: &File) -> Result<Bpe, String> {
    let model = &file.model;
    let (Some("BPE"), Some(merges), Vocab::Ids(vocab)) = (model.kind.as_deref(), &model.merges, &model.vocab)
    else {
        return Err(format!("its model is {}", model.kind.as_deref().unwrap_or("untyped")));
    };
    if model.marks_words() {
        return Err("its model marks the parts of words".to_owned());
    }
    let alphabet = byte_of_char();
    let ids: HashMap<&str, u32> = vocab.iter().map(|(token, id)| (token.as_str(), *id)).collect();
    let mut byte_ids = [0; 256];
    // Some vocabularies lack the bytes that UTF-8 never uses.
    for (c, byte) in alphabet.iter().filter(|(_, byte)| !matches!(byte, 0xC0 | 0xC1 | 0xF5..)) {
        byte_ids[usize::from(*byte)] = *ids
            .get(c.encode_utf8(&mut [0; 4]) as &str)
            .ok_or_else(|| format!("its vocabulary has no token for the byte {byte:#04X}"))?;
    }
    let merges = Merges::read(merges, &ids, |_, _| Ok(()))?;
    let whole_words = model.ignore_merges.then(|| {
        vocab.iter().filter_map(|(token, id)| {
            let bytes: Option<Box<[u8]>> = token.chars().map(|c| alphabet.get(&c).copied()).collect();
            Some((bytes?, *id))
        })
    });
    let token_bytes = vocab.iter().map(|(token, id)| (*id, token.chars().count() as u32));
    Ok(Bpe::new(byte_ids, merges, whole_words, token_bytes))
}

/// The byte-level alphabet of GPT-2 (`bytes_to_unicode` in openai/gpt-2, src/encoder.py): visible Latin-1
/// characters stand for themselves, the other 68 bytes for U+0100 onwards in order.
pub(crate) fn byte_of_char() -> HashMap<char, u8> {
    let visible = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = (0x100u32..).filter_map(char::from_u32);
    (0..=u8::MAX)
        .filter_map(|byte| {
            let c = if visible(byte) { Some(char::from(byte)) } else { next.next() };
            Some((c?, byte))
        })
        .collect()
}
