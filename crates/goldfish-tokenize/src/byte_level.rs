//! Byte-level BPE after a known pattern.

use std::mem;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::bpe::{Bpe, Scratch as BpeScratch};
use crate::file::{File, Vocab, kind, parts};
use crate::merges::Merges;
use crate::nfc;
use crate::pre_tokenizer::{Parts, PreTokenizer};
use crate::segments::{Added, Declined, Family, Pool, Sink, split_off};
use crate::special::SpecialInText;
use crate::symbols::ByteAlphabet;

/// A byte-level tokenizer of which every part is known.
pub(crate) struct ByteLevel {
    pre_tokenizer: PreTokenizer,
    nfc: bool,
    bpe: Bpe,
    /// Added tokens that are found after normalization.
    normalized: Option<Added>,
    scratch: Pool<Scratch>,
}

#[derive(Default)]
struct Scratch {
    bpe: BpeScratch,
    composed: String,
    prefixed: String,
}

impl ByteLevel {
    /// The tokenizer of a file, or why it is not one of these. `normalized` are the added tokens that are found after
    /// normalization.
    pub(crate) fn new(
        file: &File<'_>,
        normalized: &[(u32, &AddedToken)],
        special: SpecialInText,
    ) -> Result<Self, String> {
        let nfc = normalizes_to_nfc(&file.normalizer)?;
        let (pre_tokenizer, parts) = PreTokenizer::new(&file.pre_tokenizer)?;
        let bpe = bpe(file, parts)?;
        if nfc && normalized.iter().any(|(_, token)| !nfc::is_inert(&token.content)) {
            return Err("an added token changes under the normalizer".to_owned());
        }
        let normalized = Added::new(normalized, special)?;
        Ok(Self { pre_tokenizer, nfc, bpe, normalized, scratch: Pool::default() })
    }

    fn encode_normalized(
        &self,
        text: &str,
        start: usize,
        scratch: &mut Scratch,
        sink: &mut Sink<'_>,
    ) -> Result<(), Declined> {
        split_off(self.normalized.as_ref(), text, start, sink, |segment, start, sink| {
            let before = sink.ids.len();
            if self.pre_tokenizer.prefix_space && !segment.starts_with(' ') {
                if sink.spans.is_some() {
                    // The exact path says where the space is.
                    return Err(Declined);
                }
                let mut prefixed = mem::take(&mut scratch.prefixed);
                prefixed.clear();
                prefixed.push(' ');
                prefixed.push_str(segment);
                let done = self.encode_segment(&prefixed, &mut scratch.bpe, sink.ids);
                scratch.prefixed = prefixed;
                return done;
            }
            self.encode_segment(segment, &mut scratch.bpe, sink.ids)?;
            if let Some(spans) = &mut sink.spans {
                self.push_spans(segment, start, &sink.ids[before..], spans);
            }
            Ok(())
        })
    }

    /// Appends the ids of text without added tokens.
    fn encode_segment(
        &self,
        text: &str,
        scratch: &mut BpeScratch,
        ids: &mut Vec<u32>,
    ) -> Result<(), Declined> {
        let mut done = Ok(());
        self.pre_tokenizer.split(text, |from, to| {
            if let Err(declined) = self.bpe.encode(text.as_bytes(), (from, to), scratch, ids) {
                done = Err(declined);
            }
        })?;
        done
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

impl Family for ByteLevel {
    fn name(&self) -> &'static str {
        if self.nfc { "byte-level BPE after NFC" } else { "byte-level BPE" }
    }

    fn is_byte_level(&self) -> bool {
        true
    }

    fn encode(&self, text: &str, raw: Option<&Added>, sink: &mut Sink<'_>) -> Result<(), Declined> {
        self.scratch.with(|scratch| {
            split_off(raw, text, 0, sink, |segment, start, sink| {
                if !self.nfc || nfc::is_inert(segment) {
                    return self.encode_normalized(segment, start, scratch, sink);
                }
                if sink.spans.is_some() {
                    // Only the exact path knows which characters were composed.
                    return Err(Declined);
                }
                let mut composed = mem::take(&mut scratch.composed);
                nfc::compose(segment, &mut composed);
                let done = self.encode_normalized(&composed, start, scratch, sink);
                scratch.composed = composed;
                done
            })
        })
    }
}

fn normalizes_to_nfc(normalizer: &Value) -> Result<bool, String> {
    let parts = parts(normalizer);
    match parts.iter().map(|part| kind(part)).find(|kind| *kind != "NFC") {
        Some(other) => Err(format!("its normalizer is {other}")),
        None => Ok(!parts.is_empty()),
    }
}

fn bpe(file: &File<'_>, parts: Option<Parts>) -> Result<Bpe, String> {
    let (model, fields) = (&file.model, &file.model.fields);
    let (Some("BPE"), Some(merges), Vocab::Ids(vocab)) = (fields.kind.as_deref(), model.merges, &model.vocab)
    else {
        return Err(format!("its model is {}", fields.kind.as_deref().unwrap_or("untyped")));
    };
    if fields.marks_words() {
        return Err("its model marks the parts of words".to_owned());
    }
    let alphabet = ByteAlphabet::new();
    let byte_ids = alphabet.ids(vocab)?;
    let merges = Merges::read(merges, vocab, |_, _, _| Ok(()))?;
    let whole_words = fields
        .ignore_merges
        .then(|| vocab.iter().filter_map(|(token, id)| Some((alphabet.bytes(token)?, id))));
    let token_bytes = vocab.iter().map(|(token, id)| (id, token.chars().count() as u32));
    Ok(Bpe::new(byte_ids, parts, merges, whole_words, token_bytes))
}
