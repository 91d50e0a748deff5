//! `WordPiece` after the normalizer and the pre-tokenizer of BERT.

use std::sync::OnceLock;

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

use crate::file::{File, Vocab, kind};
use crate::segments::{Added, Declined, Family, Pool, Sink, split_off};
use crate::trie::Trie;
use crate::words::Words;

/// A `WordPiece` tokenizer of which every part is known.
///
/// The normalizer of BERT works character by character: it drops some, puts spaces in place of or around others,
/// takes marks off, and makes letters small. What becomes of each character is asked from the normalizer of the exact
/// path. Only the order of marks depends on their neighbours: text with marks that stay is left to the exact path.
///
/// So text can be cut, before it is normalized, around every character that the pre-tokenizer will separate from all
/// others; what lies between two cuts is a word here, whose ids depend on nothing else.
pub(crate) struct WordPiece {
    characters: Characters,
    /// Tokens that open a word, and those that continue it, without their mark.
    opening: Trie,
    continuing: Trie,
    unknown: Option<u32>,
    /// Words of more characters are unknown.
    most_chars: usize,
    lowercase: bool,
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
    /// For each byte of `normalized` the span of the character that it comes from.
    origins: Vec<(usize, usize)>,
}

/// What a character is to its neighbours after normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Part of a word, or nothing.
    Inner,
    /// Part of a word before a place where the pre-tokenizer cuts, or after one.
    Cut,
    /// White space.
    Space,
    /// A word of its own.
    Alone,
    /// It may change its place, or its neighbours theirs.
    Moves,
}

impl WordPiece {
    /// The tokenizer of a file, or why it is not one of these. `normalized` are the added tokens that are found after
    /// normalization.
    pub(crate) fn new(file: &File<'_>, normalized: &[(u32, &AddedToken)]) -> Result<Self, String> {
        if kind(&file.normalizer) != "BertNormalizer" {
            return Err(format!("its normalizer is {}", kind(&file.normalizer)));
        }
        if kind(&file.pre_tokenizer) != "BertPreTokenizer" {
            return Err(format!("its pre-tokenizer is {}", kind(&file.pre_tokenizer)));
        }
        if !normalized.is_empty() {
            return Err("one of its added tokens is found after normalization".to_owned());
        }
        let normalizer: BertNormalizer = serde_json::from_value(file.normalizer.clone())
            .map_err(|error| format!("its normalizer cannot be read: {error}"))?;
        let fields = &file.model.fields;
        let Vocab::Ids(vocab) = &file.model.vocab else { return Err("its vocabulary is a list".to_owned()) };
        let (Some(mark), Some(unknown), Some(most_chars)) =
            (&fields.continuing_subword_prefix, &fields.unk_token, fields.max_input_chars_per_word.as_u64())
        else {
            return Err("its model is incomplete".to_owned());
        };
        let continuing =
            vocab.iter().filter_map(|(token, id)| Some((token.strip_prefix(mark)?.as_bytes(), id)));
        Ok(Self {
            characters: Characters::new(normalizer),
            opening: Trie::new(vocab.iter().map(|(token, id)| (token.as_bytes(), id))),
            continuing: Trie::new(continuing),
            unknown: vocab.id(unknown),
            most_chars: usize::try_from(most_chars).unwrap_or(usize::MAX),
            lowercase: normalizer.lowercase,
            scratch: Pool::default(),
        })
    }

    /// The tokens of a word that starts at byte `start` of the text, with their spans.
    // Most words were seen before; what is done for new ones must not slow down the loop over them.
    #[inline(never)]
    fn split_word(
        &self,
        word: &str,
        start: usize,
        buffers: &mut Buffers,
        mut push: impl FnMut(u32, (usize, usize)),
    ) -> Result<(), Declined> {
        let Buffers { normalized, origins } = buffers;
        normalized.clear();
        origins.clear();
        let mut cut = false;
        for (at, c) in word.char_indices() {
            let (class, becomes) = self.characters.normalize(c);
            cut |= class != Class::Inner;
            normalized.push_str(becomes);
            origins.resize(normalized.len(), (start + at, start + at + c.len_utf8()));
        }
        if normalized.is_empty() {
            return Ok(());
        }
        if !cut {
            return self.split_piece(normalized, origins, push);
        }
        for (from, to) in pieces(normalized)? {
            self.split_piece(&normalized[from..to], &origins[from..to], &mut push)?;
        }
        Ok(())
    }

    fn split_piece(
        &self,
        piece: &str,
        origins: &[(usize, usize)],
        mut push: impl FnMut(u32, (usize, usize)),
    ) -> Result<(), Declined> {
        const TOKENS: usize = 64;
        let mut tokens = [(0, 0); TOKENS];
        let mut longer = Vec::new();
        let (mut at, mut count) = (0, 0);
        let mut known = piece.len() <= self.most_chars || piece.chars().count() <= self.most_chars;
        while known && at < piece.len() {
            let trie = if at == 0 { &self.opening } else { &self.continuing };
            match trie.longest_prefix(&piece.as_bytes()[at..]) {
                Some((length, id)) => {
                    at += length;
                    match tokens.get_mut(count) {
                        Some(token) => *token = (id, at),
                        None => longer.push((id, at)),
                    }
                    count += 1;
                }
                None => known = false,
            }
        }
        if !known {
            push(self.unknown.ok_or(Declined)?, (origins[0].0, origins[origins.len() - 1].1));
            return Ok(());
        }
        let mut from = 0;
        for (id, to) in tokens[..count.min(TOKENS)].iter().chain(&longer) {
            push(*id, (origins[from].0, origins[to - 1].1));
            from = *to;
        }
        Ok(())
    }
}

impl Family for WordPiece {
    fn name(&self) -> &'static str {
        if self.lowercase { "WordPiece of BERT, uncased" } else { "WordPiece of BERT, cased" }
    }

    fn encode(&self, text: &str, raw: Option<&Added>, sink: &mut Sink<'_>) -> Result<(), Declined> {
        self.scratch.with(|Scratch { words, buffers }| {
            split_off(raw, text, 0, sink, |part, start, sink| {
                let mut at = 0;
                while let Some((class, length)) = self.characters.at(part, at) {
                    let from = at;
                    at += length;
                    match class {
                        Class::Space => continue,
                        Class::Alone => {}
                        Class::Moves => return Err(Declined),
                        Class::Inner | Class::Cut => {
                            while let Some((class, length)) = self.characters.at(part, at) {
                                match class {
                                    Class::Inner | Class::Cut => at += length,
                                    Class::Space | Class::Alone => break,
                                    Class::Moves => return Err(Declined),
                                }
                            }
                        }
                    }
                    let word = &part[from..at];
                    match &mut sink.spans {
                        None => words.get_or_encode(part.as_bytes(), (from, at), sink.ids, |ids| {
                            self.split_word(word, 0, buffers, |id, _| ids.push(id))
                        })?,
                        Some(spans) => {
                            self.split_word(word, start + from, buffers, |id, span| {
                                sink.ids.push(id);
                                spans.push(span);
                            })?;
                        }
                    }
                }
                Ok(())
            })
        })
    }
}

/// Where the pre-tokenizer of the exact path cuts a text that was normalized.
fn pieces(normalized: &str) -> Result<Vec<(usize, usize)>, Declined> {
    let mut text = PreTokenizedString::from(normalized);
    BertPreTokenizer.pre_tokenize(&mut text).map_err(|_| Declined)?;
    let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits.into_iter().map(|(_, span, _)| span).collect())
}

/// What becomes of each character, in blocks that are made when a text first has one of their characters.
struct Characters {
    normalizer: BertNormalizer,
    blocks: Vec<OnceLock<Box<Block>>>,
    ascii: [Class; 128],
}

/// 256 characters.
struct Block {
    classes: [Class; BLOCK],
    /// Where in `text` each character ends.
    ends: [u32; BLOCK],
    text: String,
}

const BLOCK: usize = 256;

impl Characters {
    fn new(normalizer: BertNormalizer) -> Self {
        let blocks = (0..=char::MAX as usize / BLOCK).map(|_| OnceLock::new()).collect();
        let mut characters = Self { normalizer, blocks, ascii: [Class::Moves; 128] };
        let low = characters.make(0);
        characters.ascii.copy_from_slice(&low.classes[..128]);
        characters
    }

    /// The class of the character at byte `at` of `text`, and its length; `None` at the end.
    #[inline(always)]
    fn at(&self, text: &str, at: usize) -> Option<(Class, usize)> {
        let byte = *text.as_bytes().get(at)?;
        if let Some(class) = self.ascii.get(usize::from(byte)) {
            return Some((*class, 1));
        }
        let c = text[at..].chars().next()?;
        Some((self.block(c).classes[c as usize % BLOCK], c.len_utf8()))
    }

    /// The class of a character, and what the normalizer makes of it.
    fn normalize(&self, c: char) -> (Class, &str) {
        let (block, at) = (self.block(c), c as usize % BLOCK);
        let from = if at == 0 { 0 } else { block.ends[at - 1] };
        (block.classes[at], &block.text[from as usize..block.ends[at] as usize])
    }

    #[inline(always)]
    fn block(&self, c: char) -> &Block {
        let block = c as usize / BLOCK;
        self.blocks[block].get_or_init(|| Box::new(self.make(block)))
    }

    fn make(&self, block: usize) -> Block {
        let mut made = Block { classes: [Class::Moves; BLOCK], ends: [0; BLOCK], text: String::new() };
        for at in 0..BLOCK {
            if let Some(c) = u32::try_from(block * BLOCK + at).ok().and_then(char::from_u32)
                && let Some((class, becomes)) = self.ask(c)
            {
                made.classes[at] = class;
                made.text.push_str(&becomes);
            }
            made.ends[at] = made.text.len() as u32;
        }
        made
    }

    /// What the exact path makes of a character; `None` if it fails.
    fn ask(&self, c: char) -> Option<(Class, String)> {
        let mut normalized = NormalizedString::from(c.to_string());
        self.normalizer.normalize(&mut normalized).ok()?;
        let becomes = normalized.get().to_owned();
        if self.normalizer.strip_accents.unwrap_or(self.normalizer.lowercase) {
            let mut stays = false;
            decompose_canonical(c, |part| {
                let mut alone = NormalizedString::from(part.to_string());
                let kept = self.normalizer.normalize(&mut alone).is_err() || !alone.get().is_empty();
                stays |= canonical_combining_class(part) != 0 && kept;
            });
            if stays {
                return Some((Class::Moves, becomes));
            }
        }
        let between = format!("a{becomes}a");
        let pieces = pieces(&between).ok()?;
        let first_and_last = [pieces.first()?, pieces.last()?].map(|span| *span);
        let class = match pieces.len() {
            1 => Class::Inner,
            _ if first_and_last != [(0, 1), (between.len() - 1, between.len())] => Class::Cut,
            2 => Class::Space,
            _ => Class::Alone,
        };
        Some((class, becomes))
    }
}
