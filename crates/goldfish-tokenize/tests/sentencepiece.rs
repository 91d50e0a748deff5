//! SentencePiece BPE in its spellings: the ids and spans of the `tokenizers` crate, by the fast path.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Pair, Random, add, nasty, variant};
use goldfish_tokenize::EncodePath;
use serde_json::{Value, json};

/// Random strings a variant; `GOLDFISH_TOKENIZE_STRINGS=100000` for the long run.
fn strings() -> usize {
    std::env::var("GOLDFISH_TOKENIZE_STRINGS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

fn replace() -> Value {
    json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
}

/// A merge at the end of the list, with its token.
fn add_merge(json: &mut Value, left: &str, right: &str) {
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let mut next = vocab.values().map(|id| id.as_u64().unwrap()).max().unwrap() + 1;
    for token in [left.to_owned(), right.to_owned(), format!("{left}{right}")] {
        if !vocab.contains_key(&token) {
            vocab.insert(token, json!(next));
            next += 1;
        }
    }
    json["model"]["merges"].as_array_mut().unwrap().push(json!([left, right]));
}

/// As Gemma has it: no space before the text, a pre-tokenizer that finds nothing, line ends and runs of `▁` as added
/// tokens, and a token with a space between other characters.
fn gemma(json: &mut Value) {
    json["normalizer"] = replace();
    json["pre_tokenizer"] = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
        "invert": false});
    add_merge(json, "▁", "</");
    add_merge(json, ">", "▁</");
    for token in ["\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "<table>", "<td>"] {
        add(json, token, &[]);
    }
}

fn metaspace(json: &mut Value, scheme: &str, split: bool) {
    json["normalizer"] = Value::Null;
    json["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
}

fn variants() -> Vec<(String, Pair)> {
    let mut variants = vec![
        ("as it is".to_owned(), Pair::load("sentencepiece")),
        ("like Gemma".to_owned(), variant("sentencepiece", gemma)),
        (
            "without byte fallback".to_owned(),
            variant("sentencepiece", |json| {
                json["model"]["byte_fallback"] = json!(false);
            }),
        ),
        (
            "tokens across spaces".to_owned(),
            variant("sentencepiece", |json| {
                for (left, right) in
                    [("▁the", "▁"), (".", "▁"), ("é", "▁a"), ("▁▁", "▁"), ("e", "é"), ("漢", "字")]
                {
                    add_merge(json, left, right);
                }
            }),
        ),
        (
            "normalized added tokens".to_owned(),
            variant("sentencepiece", |json| {
                add(json, "World", &["normalized"]);
                add(json, "the [x]", &["normalized", "rstrip"]);
            }),
        ),
    ];
    for scheme in ["always", "first", "never"] {
        for split in [true, false] {
            let name = format!("Metaspace, {scheme}, {split}");
            variants.push((name, variant("sentencepiece", |json| metaspace(json, scheme, split))));
        }
    }
    for (name, pair) in &variants {
        assert!(pair.ours.fast_path().is_on(), "{name}: {}", pair.ours.fast_path());
    }
    variants
}

/// A mixture with many spaces, `▁`, and what the variants have tokens for.
fn spaced(random: &mut Random) -> String {
    const PIECES: [&str; 30] = [
        " ", " ", " ", "  ", "▁", "▁▁", "\n", "\n\n", "\t", "the", "The", "a", "b", ".", ">", "</", "é", "e",
        "漢", "字", "World", "the [x]", "<s>", "</s>", "<0x41>", "<0xE2>", "<table>", "<unk>", "\u{0}", "👍🏽",
    ];
    (0..1 + random.below(14)).map(|_| random.pick(&PIECES)).collect()
}

#[test]
fn random_strings() {
    for (seed, (_, pair)) in variants().iter().enumerate() {
        let mut random = Random(seed as u64);
        for _ in 0..strings() {
            pair.assert_equal(&nasty(&mut random));
            pair.assert_equal(&spaced(&mut random));
        }
    }
}

#[test]
fn spans() {
    for (seed, (_, pair)) in variants().iter().enumerate() {
        let mut random = Random(100 + seed as u64);
        for _ in 0..strings().min(20_000) {
            pair.assert_spans_equal(&nasty(&mut random));
            pair.assert_spans_equal(&spaced(&mut random));
        }
    }
}

#[test]
fn every_short_string_over_the_classes() {
    let alphabet = [" ", "▁", "\n", "a", "the", "é", "漢", "<s>", ">", "</"];
    for (_, pair) in variants() {
        for len in 1..=if strings() > 1_000 { 6 } else { 3 } {
            for number in 0..alphabet.len().pow(len) {
                let text: String =
                    (0..len).map(|at| alphabet[number / alphabet.len().pow(at) % 10]).collect();
                pair.assert_equal(&text);
                if len < 3 {
                    pair.assert_spans_equal(&text);
                }
            }
        }
    }
}

#[test]
fn every_character() {
    let step = if strings() > 1_000 { 1 } else { 17 };
    for (_, pair) in variants() {
        let mut text = String::new();
        for c in ('\0'..=char::MAX).filter(|&c| c < '\u{3000}' || u32::from(c) % step == 0) {
            text.extend(['a', c, 'b', ' ', c, c, ' ', '▁', c, '\n']);
            if text.len() > 20_000 {
                pair.assert_equal(&text);
                text.clear();
            }
        }
        pair.assert_equal(&text);
    }
}

#[test]
fn long_words() {
    let mut random = Random(9);
    let letters: String = (0..100_000).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    for (_, pair) in variants() {
        for text in [
            letters.as_str(),
            &" ".repeat(100_000),
            &"▁ ".repeat(30_000),
            &"\n".repeat(10_000),
            &"a".repeat(77),
        ] {
            pair.assert_equal(text);
        }
        for len in 1..70 {
            let word: String = (0..len).map(|_| char::from(random.pick(b"aeinorst"))).collect();
            pair.assert_equal(&word);
            pair.assert_equal(&format!("{word} {word}"));
            pair.assert_equal(&"é".repeat(len));
        }
    }
}

#[test]
fn documents_that_take_the_exact_path() {
    let path = |pair: &Pair, text: &str| pair.ours.encode_into(text, &mut Vec::new()).unwrap();
    let plain = variant("sentencepiece", |json| json["model"]["byte_fallback"] = json!(false));
    assert_eq!(path(&plain, "the \u{1F9FF} bead"), EncodePath::Exact);
    assert_eq!(path(&plain, "the bead"), EncodePath::Fast);
    let normalized = variant("sentencepiece", |json| add(json, "the [x]", &["normalized"]));
    assert_eq!(path(&normalized, "in the [x] there"), EncodePath::Exact);
    assert_eq!(path(&normalized, "in the x there"), EncodePath::Fast);
    let stripping = variant("sentencepiece", |json| add(json, "<mask>", &["lstrip"]));
    assert_eq!(path(&stripping, "in the <mask> there"), EncodePath::Exact);
}

#[test]
fn what_is_not_fast() {
    let reason = |change: &dyn Fn(&mut Value)| {
        let pair = variant("sentencepiece", change);
        let mut random = Random(5);
        (0..200).for_each(|_| pair.assert_equal(&spaced(&mut random)));
        pair.ours.fast_path().to_string()
    };
    let no_fast_path = |reason: &str| format!("no fast path: {reason}");
    assert_eq!(
        reason(&|json| {
            json["normalizer"]["normalizers"].as_array_mut().unwrap().push(json!({"type": "NFKC"}));
        }),
        no_fast_path("its normalizer is Prepend + Replace + NFKC")
    );
    assert_eq!(
        reason(&|json| {
            json["pre_tokenizer"] =
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
        }),
        no_fast_path("its pre-tokenizer is Metaspace")
    );
    assert_eq!(
        reason(&|json| json["model"]["ignore_merges"] = json!(true)),
        no_fast_path("its model takes words from the vocabulary without merges")
    );
    assert_eq!(
        reason(&|json| add_merge(json, "<0x41>", "b")),
        no_fast_path("one of its merges has the token of a byte")
    );
    assert_eq!(
        reason(&|json| add_merge(json, "<0x4", "1>")),
        no_fast_path("one of its merges has the token of a byte")
    );
    assert_eq!(
        reason(&|json| add(json, "▁", &["normalized"])),
        no_fast_path("one of its added tokens is a space")
    );
    assert_eq!(
        reason(&|json| {
            let id = json["model"]["vocab"].as_object_mut().unwrap().remove("<0x41>").unwrap();
            json["model"]["vocab"]["<0x4A1>"] = id;
        }),
        no_fast_path("its vocabulary has no token for the byte 0x41")
    );
}
