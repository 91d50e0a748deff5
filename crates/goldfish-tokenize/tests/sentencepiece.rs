//! SentencePiece BPE in its spellings: the ids and spans of the `tokenizers` crate, by the fast path.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Pair, Random, add, assert_not_fast, check_random, check_random_spans, variant};
use goldfish_tokenize::EncodePath;
use serde_json::{Value, json};

fn strings() -> usize {
    common::strings(1_000)
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

/// Gives the id of a token to another one.
fn rename(json: &mut Value, token: &str, other: &str) {
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove(token).unwrap();
    vocab.insert(other.to_owned(), id);
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
            "a tab, as the first Gemma has it, instead of its byte, and none for bytes that UTF-8 never uses"
                .to_owned(),
            variant("sentencepiece", |json| {
                rename(json, "<0x09>", "\t");
                rename(json, "<0xC0>", "<0x4C0>");
                rename(json, "<0xF5>", "<0x4F5>");
            }),
        ),
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
    check_random(variants().iter().map(|(_, pair)| pair), strings(), spaced);
}

#[test]
fn spans() {
    check_random_spans(variants().iter().map(|(_, pair)| pair), strings(), spaced);
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
    let check = |reason: &str, change: &dyn Fn(&mut Value)| {
        assert_not_fast(&variant("sentencepiece", change), reason, spaced);
    };
    check("its normalizer is Prepend + Replace + NFKC", &|json| {
        json["normalizer"]["normalizers"].as_array_mut().unwrap().push(json!({"type": "NFKC"}));
    });
    check("its pre-tokenizer is Metaspace", &|json| {
        json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
    });
    check("its model takes words from the vocabulary without merges", &|json| {
        json["model"]["ignore_merges"] = json!(true)
    });
    check("one of its merges has the token of a byte", &|json| add_merge(json, "<0x41>", "b"));
    check("one of its merges has the token of a byte", &|json| add_merge(json, "<0x4", "1>"));
    check("one of its added tokens is a space", &|json| add(json, "▁", &["normalized"]));
    for byte in ["0x01", "0x20", "0xC3", "0xF4"] {
        check(&format!("its vocabulary has no token for the byte {byte}"), &|json| {
            rename(json, &format!("<{byte}>"), "<0x4A1>");
        });
    }
}
