//! Text to token ids with a Hugging Face `tokenizer.json`: always the ids of the `tokenizers` crate, version 0.23.2.
//!
//! [`Tokenizer::encode_into`] takes one of two paths. The *exact* path is that crate. The *fast* path is this crate's
//! own code, twenty to sixty times faster; it exists for tokenizers of which it knows every part, and leaves single
//! documents to the exact path where it would have to guess. [`Tokenizer::fast_path`] says whether a tokenizer has it,
//! [`EncodePath`] which path a document took. The ids do not depend on the path.
//!
//! # Which tokenizers are fast
//!
//! Four families, recognised part by part; with any other part every document takes the exact path.
//!
//! Byte-level BPE:
//! - the model is BPE over the byte alphabet of GPT-2, without dropout or marks for parts of words, with a token for
//!   each byte that UTF-8 uses and with no merge given twice;
//! - the normalizer is none or NFC;
//! - the pre-tokenizer has one `ByteLevel`, and around it `Split`, `Digits` and `Punctuation` that leave no text out.
//!   The regex of a `Split` may be any without lookaround, back references and assertions, except `\s+(?!\S)` as an
//!   alternative and `$`. A space before the text is added only by a `ByteLevel` that comes first.
//!
//! So GPT-2, GPT-NeoX, Llama-3, Qwen2 to 3.5, gpt-oss, Mistral-Nemo and Apertus (Tekken), `DeepSeek`, Kimi, GLM-4,
//! `StarCoder`, SmolLM, Falcon, BLOOM and `RoBERTa` are fast.
//!
//! `SentencePiece` BPE, as in Llama-2 and Gemma:
//! - the model is BPE without dropout, marks for parts of words, or `ignore_merges`; with byte fallback, its vocabulary
//!   has a token for each byte that may need one, which no merge uses (the first Gemma has a tab instead of its byte);
//! - spaces become `▁` by a `Replace` normalizer, after a `Prepend` or alone, or by a `Metaspace` pre-tokenizer; a
//!   `Split` at spaces, which are no more, does nothing.
//!
//! Unigram of words:
//! - the normalizer is none or `Precompiled`, and makes white space of `\r` and `\n`;
//! - the pre-tokenizer is `WhitespaceSplit` and `Metaspace` with the prefix `always`.
//!
//! `WordPiece` of BERT: the normalizer is `BertNormalizer` and the pre-tokenizer `BertPreTokenizer`.
//!
//! # Which documents of a fast tokenizer take the exact path
//!
//! - Those that contain an added token with `lstrip`, `rstrip` or `single_word`.
//! - Those larger than 4 GiB.
//! - Those with a long text in which the regex finds nothing (150,000 control characters with the regex of `DeepSeek`):
//!   `fancy-regex`, the regex engine of the exact path, gives up after a million steps back.
//! - `SentencePiece` BPE: those with a character without a token, if there is no byte fallback, and those that hold the
//!   text of an added token that is found after normalization.
//! - Unigram: those with a character beside a space that may belong to its grapheme cluster, as a combining mark.
//! - `WordPiece`: those with a combining mark that stays when accents are stripped (U+302E is one).
//! - For [`Tokenizer::encode_with_offsets_into`] only: those that NFC or `Precompiled` may change, and those before which
//!   a `ByteLevel` puts a space.
//!
//! # Why the ids are equal
//!
//! Nothing in the fast path has tables or rules of its own that could differ:
//! - character classes are those of `regex-syntax`, the crate that compiles the patterns of the exact path;
//! - NFC is that of `unicode-normalization-alignments`, the crate that the exact path normalizes with;
//! - regexes are parsed by `fancy-regex`, which compiles those of the exact path, and become tables that find the match
//!   of a backtracking engine. Where `fancy-regex` ceases to split because its stack is full, at a run of 999,999
//!   characters of white space, so does the fast path;
//! - what becomes of characters in `WordPiece` and Unigram is asked from the normalizers and pre-tokenizers of the exact
//!   path;
//! - texts without words, as `SentencePiece` BPE has them, are cut where no merge of the model joins tokens that end and
//!   start with the characters on both sides; merges on one side of such a place do not depend on the other;
//! - sums of scores are made in the order of the exact path, so that they are equal to the last bit;
//! - merges go by the lowest rank, then the leftmost; words are looked up by all their bytes, never by a hash alone;
//! - added tokens have the numbers that the exact path gives them, and are found leftmost, then longest.
//!
//! The tests compare both paths on all 1,112,064 characters in several contexts, on every short string over one
//! character of each class, and on random strings made to trip tokenizers up. With
//! `GOLDFISH_TOKENIZE_STRINGS=60000`, 1,260,000 random strings over 21 tokenizers gave no difference, and neither did
//! 25 MB of Python sources and licenses with the published tokenizers
//! of `DeepSeek` V3, Qwen3, gpt-oss, Llama-3 and Tekken.
//! Random regexes cut random texts like `fancy-regex`.
//!
//! # Why not `tokenizers` 1.0.0-rc.3
//!
//! The release candidate has a fast pipeline too. Its ids differ from those of 0.23.2 for three reasons, of which the
//! last cannot be guarded against by looking at characters:
//! - NFC: Unicode 17 there, Unicode 9 in 0.23.2. U+105D2 U+0307 is composed by the one and not by the other; U+1AB0
//!   U+1ABF is reordered by the one only.
//! - Character classes: Unicode 17 there, Unicode 16 in 0.23.2. U+1AE2 is a mark for the one and unassigned for the
//!   other, so that `U+1AE2 's` splits differently under the o200k pattern.
//! - Its vocabulary confirms a word by 32 bits of a hash: about one word in 2^32 that is not in the vocabulary is taken
//!   for one that is. In a GPT-2 tokenizer of 2,457 tokens, `TzfYakr` became the single
//!   token `ched`.
//!
//! It also treats `\p{N}{1,2}` and `\p{N}+` in the `cl100k_base` pattern like `\p{N}{1,3}`.
//!
//! # Loading
//!
//! A tokenizer.json is parsed once. The `tokenizers` crate takes seconds and hundreds of megabytes for the tables of a large vocabulary. With a fast
//! path they are made when the first document takes the exact path, or [`Tokenizer::decode`] is called; until then the file stays in memory. The crate
//! checks all other parts of the file at once, so that what it refuses is refused at once too.
//!
//! # What is refused
//!
//! Files that contradict themselves (a token or an id twice, an added token whose id is not the one that the crate
//! gives it), BPE dropout, and whatever the `tokenizers` crate refuses. Its panics become errors. A gap in the ids is
//! not an error as long as it shifts no id. `truncation`, `padding` and the post-processor of a file are ignored: a
//! corpus is never cut, and BOS and EOS are the caller's to add ([`Tokenizer::bos_id`], [`Tokenizer::eos_id`]).
//!
//! # Speed
//!
//! Processor time on a busy two-core machine, 25 MB of Python sources and licenses, documents of 4 KB, tokenizers of
//! `DeepSeek` V3, Qwen3, gpt-oss, Llama-3 and Tekken: 89 to 110 MB/s fast, 2.1 to 3.6 MB/s exact (`examples/speed.rs`;
//! `docs/performance.md` has a table). A word of 50 MB takes 3 to 7 s and 600 MB of memory. A fast tokenizer keeps
//! 3 MiB of recent words for each thread that uses it.

mod added;
mod automaton;
mod bpe;
mod byte_level;
mod error;
mod exact;
mod fast;
mod file;
mod id_set;
mod merges;
mod nfc;
mod pre_tokenizer;
mod regex;
mod segments;
mod sentencepiece;
mod special;
mod split;
mod symbols;
mod text_map;
mod tokenizer;
mod tokens;
mod trie;
mod unigram;
mod word_piece;
mod words;

pub use error::TokenizeError;
pub use file::{MAX_TOKENIZER_BYTES, MAX_VOCABULARY};
pub use id_set::IdSet;
pub use special::SpecialInText;
pub use text_map::TextMap;
pub use tokenizer::{EncodePath, FastPath, Tokenizer};
