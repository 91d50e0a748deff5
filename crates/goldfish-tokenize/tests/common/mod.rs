//! Strings to trip tokenizers up, and the plain `tokenizers` crate as the judge.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by several test crates")]

use std::ops::Range;
use std::path::PathBuf;

use goldfish_tokenize::{EncodePath, Tokenizer};
use serde_json::{Value, json};

/// Tokenizers with a fast path: the fixtures, and those of `pre_tokenizers.json`.
pub(crate) const FAST: [&str; 21] = [
    "gpt2",
    "llama3",
    "qwen2",
    "o200k",
    "neox",
    "sentencepiece",
    "wordpiece",
    "tekken",
    "deepseek-v3",
    "deepseek-llm",
    "kimi-k2",
    "qwen3.5",
    "starcoder2",
    "command-r",
    "falcon",
    "bloom",
    "poro",
    "roberta",
    "two-patterns",
    "no-pattern",
    "digit-bytes",
];

pub(crate) fn fixture(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/tokenizers/{family}.json"))
}

/// How many random strings a tokenizer gets: `short`, or as many as `GOLDFISH_TOKENIZE_STRINGS` says, 100000 for the long
/// run.
pub(crate) fn strings(short: usize) -> usize {
    std::env::var("GOLDFISH_TOKENIZE_STRINGS").ok().and_then(|n| n.parse().ok()).unwrap_or(short)
}

/// The `tokenizer.json` of `unigram`, see `tests/unigram.rs`, or of a name in [`FAST`]: a fixture, or a fixture with the
/// pre-tokenizer of another model.
pub(crate) fn json(name: &str) -> Vec<u8> {
    if name == "unigram" {
        return include_bytes!("unigram.json").to_vec();
    }
    let others: Value = serde_json::from_str(include_str!("pre_tokenizers.json")).unwrap();
    let Some(other) = others.get(name) else {
        return std::fs::read(fixture(name)).unwrap();
    };
    let mut json: Value =
        serde_json::from_slice(&std::fs::read(fixture(other["fixture"].as_str().unwrap())).unwrap()).unwrap();
    json["pre_tokenizer"] = serde_json::json!({"type": "Sequence", "pretokenizers": other["pretokenizers"]});
    serde_json::to_vec(&json).unwrap()
}

/// A tokenizer of this crate beside the one that it must equal.
pub(crate) struct Pair {
    pub(crate) ours: Tokenizer,
    pub(crate) plain: tokenizers::Tokenizer,
}

impl Pair {
    pub(crate) fn load(family: &str) -> Self {
        Self::from_json(&json(family))
    }

    pub(crate) fn from_json(json: &[u8]) -> Self {
        let mut plain = tokenizers::Tokenizer::from_bytes(json).unwrap();
        // It would only trim the offsets.
        plain.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let ours = Tokenizer::from_bytes(json).unwrap();
        let size = plain.get_vocab(true).into_values().max().unwrap() + 1;
        assert_eq!(ours.vocab_size(), size);
        (0..=size).for_each(|id| assert_eq!(ours.token(id), plain.id_to_token(id), "{id}"));
        Self { ours, plain }
    }

    /// Both ids of a text: ours, theirs.
    pub(crate) fn ids(&self, text: &str) -> (Vec<u32>, Vec<u32>) {
        let mut ours = vec![7];
        self.ours.encode_into(text, &mut ours).unwrap();
        let theirs = self.plain.encode_fast(text, false).unwrap();
        (ours.split_off(1), theirs.get_ids().to_vec())
    }

    pub(crate) fn assert_equal(&self, text: &str) {
        let (ours, theirs) = self.ids(text);
        if ours != theirs {
            let short: String = text.chars().take(200).collect();
            let at = ours.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
            let some = |ids: &[u32]| ids[at..].iter().take(20).copied().collect::<Vec<_>>();
            panic!(
                "{short:?} ({} bytes): from id {at} on ours {:?}, theirs {:?}",
                text.len(),
                some(&ours),
                some(&theirs)
            );
        }
    }

    /// Ids and spans are those of the plain crate, and spans end between characters.
    pub(crate) fn assert_spans_equal(&self, text: &str) {
        let (mut ids, mut spans) = (Vec::new(), Vec::new());
        self.ours.encode_with_offsets_into(text, &mut ids, &mut spans).unwrap();
        let theirs = self.plain.encode(text, false).unwrap();
        assert_eq!(ids, theirs.get_ids(), "{text:?}");
        assert_eq!(spans, theirs.get_offsets(), "{text:?}");
        assert!(spans.iter().all(|&(start, end)| text.get(start..end).is_some()), "{text:?}: {spans:?}");
    }
}

/// The `tokenizer.json` of a name with something changed.
pub(crate) fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(&json(name)).unwrap();
    change(&mut json);
    serde_json::to_vec(&json).unwrap()
}

/// A tokenizer with something changed.
pub(crate) fn variant(name: &str, change: impl FnOnce(&mut Value)) -> Pair {
    Pair::from_json(&changed(name, change))
}

/// Adds a token with some flags, under the id that it has or the next free one.
pub(crate) fn add(json: &mut Value, content: &str, flags: &[&str]) {
    let vocab: Vec<(&str, u64)> = match &json["model"]["vocab"] {
        Value::Array(list) => list.iter().map(|entry| entry[0].as_str().unwrap()).zip(0..).collect(),
        ids => {
            let ids = ids.as_object().unwrap();
            ids.iter().map(|(token, id)| (token.as_str(), id.as_u64().unwrap())).collect()
        }
    };
    let known = vocab.iter().find(|(token, _)| *token == content).map(|(_, id)| *id);
    let largest = vocab.iter().map(|(_, id)| *id).max().unwrap();
    let tokens = json["added_tokens"].as_array_mut().unwrap();
    let next = tokens.iter().map(|token| token["id"].as_u64().unwrap()).fold(largest, u64::max) + 1;
    let id = known.unwrap_or(next);
    let mut token = json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false});
    for flag in flags {
        token[flag] = json!(true);
    }
    tokens.push(token);
}

/// Ids of random strings: nasty ones, and those of `random_text`.
pub(crate) fn check_random<'a>(
    pairs: impl IntoIterator<Item = &'a Pair>,
    strings: usize,
    random_text: fn(&mut Random) -> String,
) {
    for_random((0..).zip(pairs), strings, random_text, Pair::assert_equal);
}

/// Spans of random strings, at most 20,000 of them.
pub(crate) fn check_random_spans<'a>(
    pairs: impl IntoIterator<Item = &'a Pair>,
    strings: usize,
    random_text: fn(&mut Random) -> String,
) {
    for_random((100..).zip(pairs), strings.min(20_000), random_text, Pair::assert_spans_equal);
}

fn for_random<'a>(
    pairs: impl Iterator<Item = (u64, &'a Pair)>,
    strings: usize,
    random_text: fn(&mut Random) -> String,
    check: fn(&Pair, &str),
) {
    for (seed, pair) in pairs {
        let mut random = Random(seed);
        for _ in 0..strings {
            check(pair, &nasty(&mut random));
            check(pair, &random_text(&mut random));
        }
    }
}

/// Every character, between letters and beside marks, many in a text with `separator` between them; each in a text of its
/// own where it would take others to the exact path. Unless `all`, a part of those above U+3000.
pub(crate) fn check_every_character(pair: &Pair, all: bool, separator: &str) {
    let mut text = String::new();
    for c in ('\0'..=char::MAX).filter(|&c| all || c < '\u{3000}' || u32::from(c) % 61 == 0) {
        let probe: String =
            ['a', c, 'b', ' ', c, c, 'A', c, '1', c, ' ', '!', c, '?', 'e', '\u{301}', c].iter().collect();
        if pair.ours.encode_into(&probe, &mut Vec::new()).unwrap() == EncodePath::Exact {
            pair.assert_equal(&probe);
            continue;
        }
        text.push_str(&probe);
        text.push_str(separator);
        if text.len() > 2_000 {
            pair.assert_equal(&text);
            pair.assert_spans_equal(&text);
            text.clear();
        }
    }
    pair.assert_equal(&text);
}

/// Ids and spans of words of every length, of characters of one, two and three bytes.
pub(crate) fn check_word_lengths(pair: &Pair, lengths: Range<usize>, random: &mut Random) {
    for len in lengths {
        let word: String = (0..len).map(|_| char::from(random.pick(b"aeinorst"))).collect();
        for text in [word.as_str(), &format!("{word} {word}."), &"é".repeat(len), &"漢".repeat(len)] {
            pair.assert_equal(text);
            pair.assert_spans_equal(text);
        }
    }
}

/// A tokenizer has no fast path, for this reason; its ids are right.
pub(crate) fn assert_not_fast(pair: &Pair, reason: &str, random_text: fn(&mut Random) -> String) {
    let mut random = Random(5);
    (0..200).for_each(|_| pair.assert_equal(&random_text(&mut random)));
    assert_eq!(pair.ours.fast_path().to_string(), format!("no fast path: {reason}"));
}

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn char_in(&mut self, low: u32, high: u32) -> char {
        loop {
            if let Some(c) = char::from_u32(low + self.below((high - low + 1) as usize) as u32) {
                return c;
            }
        }
    }
}

const SPACES: [char; 22] = [
    ' ', ' ', ' ', '\t', '\n', '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{85}', '\u{a0}', '\u{1680}',
    '\u{2003}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}', '\u{200b}', '\u{feff}',
    '\u{180e}',
];
const ODD: [char; 40] = [
    // Case folding: long s, Kelvin, Angstrom, dotted and dotless i, sharp s, final sigma, ligatures, titlecase.
    'ſ',
    '\u{212a}',
    '\u{212b}',
    'İ',
    'ı',
    'ß',
    'ẞ',
    'ς',
    'ﬁ',
    'ﬆ',
    'ǅ',
    'ẛ',
    'ǰ',
    'ŉ', // Modifiers, marks, joiners.
    'ʰ',
    'ʼ',
    '\u{301}',
    '\u{307}',
    '\u{323}',
    '\u{345}',
    '\u{3099}',
    '\u{20dd}',
    '\u{200d}',
    '\u{200c}',
    '\u{fe0f}',
    // Numbers that are no digits, symbols, tag and variation characters, the ends of planes.
    '½',
    'Ⅷ',
    '〇',
    '㊿',
    '²',
    '…',
    '’',
    '\u{e0041}',
    '\u{e0100}',
    '\u{fffe}',
    '\u{ffff}',
    '\u{1fffe}',
    '\u{10ffff}',
    '\u{fdd0}',
    '\u{f8ff}',
];
const WORDS: [&str; 42] = [
    "'s",
    "'S",
    "'t",
    "'RE",
    "'ve",
    "'m",
    "'LL",
    "'ll",
    "'d",
    "'ſ",
    "'lL",
    "’s",
    "''s",
    "'re'",
    "don't",
    "HE'S",
    "a'ſ",
    "'rE",
    "the",
    "The",
    "THE",
    "hello",
    " World",
    "camelCase",
    "XMLHttp",
    "foo_bar",
    "1234567",
    "3.14",
    "0x1F",
    "//",
    "/\n",
    "!!\r\n",
    "...",
    "<|endoftext|>",
    "<|im_start|>",
    "<tool_call>",
    "<s>",
    "[MASK]",
    "[CLS]",
    "<|begin_of_text|>",
    "    ",
    "\n\n",
];
/// Blocks worth visiting: Latin, Greek, Cyrillic, Hebrew, Arabic, Indic, Thai, Tibetan, Hangul, kana, CJK, emoji,
/// mathematical letters, and those that newer versions of Unicode filled or changed.
const BLOCKS: [(u32, u32); 48] = [
    (0x00, 0x1f),
    (0x20, 0x7e),
    (0x20, 0x7e),
    (0x7f, 0xff),
    (0x100, 0x24f),
    (0x250, 0x2ff),
    (0x300, 0x36f),
    (0x370, 0x3ff),
    (0x400, 0x52f),
    (0x530, 0x5ff),
    (0x600, 0x6ff),
    (0x750, 0x8ff),
    (0x900, 0xdff),
    (0xe00, 0xfff),
    (0x1000, 0x109f),
    (0x10a0, 0x10ff),
    (0x1100, 0x11ff),
    (0x1780, 0x18af),
    (0x1ab0, 0x1aff),
    (0x1b00, 0x1bff),
    (0x1c80, 0x1cff),
    (0x1d00, 0x1dff),
    (0x1e00, 0x1fff),
    (0x2000, 0x206f),
    (0x2070, 0x218f),
    (0x2190, 0x2bff),
    (0x2c00, 0x2dff),
    (0x3000, 0x30ff),
    (0x3100, 0x33ff),
    (0x4dc0, 0x9fff),
    (0xa000, 0xa7ff),
    (0xa800, 0xabff),
    (0xac00, 0xd7ff),
    (0xe000, 0xf8ff),
    (0xf900, 0xfaff),
    (0xfb00, 0xfdff),
    (0xfe00, 0xffff),
    (0x10000, 0x107ff),
    (0x10800, 0x10fff),
    (0x11000, 0x11fff),
    (0x12000, 0x143ff),
    (0x16100, 0x16fff),
    (0x1bc00, 0x1d3ff),
    (0x1d400, 0x1d7ff),
    (0x1e000, 0x1efff),
    (0x1f000, 0x1faff),
    (0x20000, 0x323af),
    (0xe0000, 0x10ffff),
];

/// An adversarial mixture of up to about 60 characters.
pub(crate) fn nasty(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..1 + random.below(8) {
        match random.below(12) {
            0 => (0..random.below(6)).for_each(|_| text.push(random.pick(&SPACES))),
            1 | 2 => text.push_str(random.pick(&WORDS)),
            3 => (0..1 + random.below(3)).for_each(|_| text.push(random.pick(&ODD))),
            4 => text.push(random.char_in(0, 0x10_ffff)),
            5 => {
                // A base with marks, in any order of their classes.
                text.push(random.char_in(0x41, 0x3ff));
                (0..random.below(4)).for_each(|_| text.push(random.char_in(0x300, 0x36f)));
            }
            6 => (0..random.below(5)).for_each(|_| text.push(random.char_in(0x1100, 0x11ff))),
            7 => {
                let family = ["👨\u{200d}👩\u{200d}👧", "👍🏽", "🇩🇪", "❤\u{fe0f}", "☎"];
                text.push_str(random.pick(&family));
            }
            8 => {
                let zero = random.pick(&[0x30, 0x660, 0x966, 0xff10, 0x1d7ce, 0x1e950]);
                (0..random.below(7)).for_each(|_| text.push(random.char_in(zero, zero + 9)));
            }
            _ => {
                let (low, high) = random.pick(&BLOCKS);
                for _ in 0..random.below(10) {
                    text.push(random.char_in(low, high));
                    if random.below(6) == 0 {
                        text.push(random.pick(&[' ', '\'', '\u{301}', '\n']));
                    }
                }
            }
        }
    }
    text
}
