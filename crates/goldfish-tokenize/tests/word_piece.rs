//! `WordPiece` with the settings of BERT and others: the ids and spans of the `tokenizers` crate, by the fast path.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Pair, Random, add, assert_not_fast, check_every_character, check_random, check_random_spans,
    check_word_lengths, variant,
};
use goldfish_tokenize::EncodePath;
use serde_json::{Value, json};

fn strings() -> usize {
    common::strings(500)
}

fn bert(clean: bool, chinese: bool, strip: Option<bool>, lowercase: bool) -> Value {
    json!({"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": strip,
        "lowercase": lowercase})
}

fn variants() -> Vec<Pair> {
    let normalizers = [
        bert(true, true, None, true),
        bert(true, true, None, false),
        bert(true, true, Some(true), false),
        bert(true, true, Some(false), true),
        bert(false, true, None, true),
        bert(true, false, None, true),
        bert(false, false, Some(false), false),
    ];
    let with = |normalizer: &Value| variant("wordpiece", |json| json["normalizer"] = normalizer.clone());
    let mut pairs: Vec<Pair> = normalizers.iter().map(with).collect();
    pairs.push(variant("wordpiece", |json| {
        json["model"]["max_input_chars_per_word"] = json!(4);
        add(json, "mask", &["special"]);
    }));
    pairs.push(variant("wordpiece", |json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let ids = vocab.values().map(|id| id.as_u64().unwrap());
        let next = ids.max().unwrap() + 1;
        for (id, token) in
            (next..).zip(["漢字", "=", "##\u{1100}", "\u{1112}", "##é", "##", "ß", "##\u{307}", "i\u{307}"])
        {
            vocab.insert(token.to_owned(), json!(id));
        }
    }));
    for pair in &pairs {
        assert!(pair.ours.fast_path().is_on(), "{}", pair.ours.fast_path());
    }
    pairs
}

/// A mixture with many cuts, accents, and characters that become others or nothing.
fn accented(random: &mut Random) -> String {
    const PIECES: [&str; 44] = [
        " ",
        " ",
        "  ",
        "\n",
        "\t",
        "the",
        "The",
        "ING",
        "é",
        "É",
        "e\u{301}",
        "\u{301}",
        "ß",
        "İ",
        "ǅ",
        "漢",
        "字",
        "漢字",
        "한국",
        "\u{1112}\u{1161}",
        "\u{ad}",
        "\u{200d}",
        "\u{0}",
        "\u{fffd}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{3000}",
        "≠",
        "≮",
        "\u{37e}",
        "\u{1fef}",
        "。",
        "¿",
        "-",
        "'",
        "[MASK]",
        "[CLS]",
        "1",
        "𝒜",
        "\u{f900}",
        "\u{2f800}",
        "\u{302e}",
        "क्षि",
    ];
    (0..1 + random.below(12)).map(|_| random.pick(&PIECES)).collect()
}

#[test]
fn random_strings() {
    check_random(&variants(), strings(), accented);
}

#[test]
fn spans() {
    check_random_spans(&variants(), strings(), accented);
}

#[test]
fn every_character() {
    let all = strings() > 500;
    for pair in variants().iter().take(if all { 9 } else { 2 }) {
        check_every_character(pair, all, "");
    }
}

#[test]
fn word_lengths() {
    let mut random = Random(10);
    for pair in variants() {
        check_word_lengths(&pair, 1..130, &mut random);
        pair.assert_equal(&"a".repeat(100_000));
        pair.assert_equal(&"a b".repeat(30_000));
    }
}

#[test]
fn documents_that_take_the_exact_path() {
    let pair = Pair::load("wordpiece");
    let path = |text: &str| pair.ours.encode_into(text, &mut Vec::new()).unwrap();
    assert_eq!(path("Grüße, naïve 漢字!"), EncodePath::Fast);
    // A mark that is not stripped.
    assert_eq!(path("\u{302e}\u{301}"), EncodePath::Exact);
}

#[test]
fn what_is_not_fast() {
    let check = |reason: &str, change: &dyn Fn(&mut Value)| {
        assert_not_fast(&variant("wordpiece", change), reason, accented);
    };
    check("its normalizer is Lowercase", &|json| json["normalizer"] = json!({"type": "Lowercase"}));
    check("its pre-tokenizer is Whitespace", &|json| json["pre_tokenizer"] = json!({"type": "Whitespace"}));
    check("one of its added tokens is found after normalization", &|json| add(json, "Word", &["normalized"]));
}
