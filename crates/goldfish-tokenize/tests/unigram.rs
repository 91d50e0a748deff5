//! Unigram: the ids and spans of the `tokenizers` crate, by the fast path.
//!
//! `common/unigram.json` was made by the trainer of `sentencepiece` 0.2 on Python sources and licenses, with 600 tokens and
//! a short table of characters: some of each kind that the table `nmt_nfkc` has (dropped, made a space, full width,
//! ligatures, characters that become several, clusters with marks, Hangul).

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

fn push(json: &mut Value, token: &str, score: f64) {
    json["model"]["vocab"].as_array_mut().unwrap().push(json!([token, score]));
}

fn variants() -> Vec<Pair> {
    let pairs = vec![
        variant("unigram", |_| {}),
        variant("unigram", |json| json["normalizer"] = Value::Null),
        variant("unigram", |json| {
            json["model"]["byte_fallback"] = json!(true);
            (0..=u8::MAX).for_each(|byte| push(json, &format!("<0x{byte:02X}>"), -1000.0));
        }),
        variant("unigram", |json| {
            // Not all bytes, an unknown text that is a token, equal tokens, equal sums, marks within tokens.
            json["model"]["byte_fallback"] = json!(true);
            (0..0xE2).for_each(|byte| push(json, &format!("<0x{byte:02X}>"), -1000.0));
            for (token, score) in [
                ("漢字", -5000.0),
                ("the", -3.0),
                ("the", -7.0),
                ("th", -1.5),
                ("e", -1.5),
                ("he", -1.5),
                ("t", -1.5),
                ("a▁b", -0.5),
                ("▁▁", -0.25),
            ] {
                push(json, token, score);
            }
        }),
        variant("unigram", |json| {
            add(json, "[x]", &["normalized"]);
            add(json, "<mask>", &["lstrip"]);
            add(json, "<extra>", &["special"]);
        }),
        variant("unigram", |json| {
            json["model"]["unk_id"] = json!(0);
            json["pre_tokenizer"]["pretokenizers"][1] = json!({"type": "Metaspace", "replacement": "▁",
                "add_prefix_space": true});
        }),
    ];
    for pair in &pairs {
        assert!(pair.ours.fast_path().is_on(), "{}", pair.ours.fast_path());
    }
    pairs
}

/// A mixture of what the table has, with white space and marks around it.
fn clustered(random: &mut Random) -> String {
    const PIECES: [&str; 46] = [
        " ",
        " ",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "the",
        "The",
        "import",
        "ing",
        "▁",
        "▁▁",
        "a▁b",
        "é",
        "e\u{301}",
        "e\u{301}\u{301}",
        "\u{301}",
        "o\u{308}",
        "ﬁ",
        "™",
        "…",
        "¨",
        "½",
        "①",
        "ǆ",
        "㌔",
        "ﷺ",
        "か\u{3099}",
        "\u{3099}",
        "\u{1112}\u{1161}\u{11ab}",
        "ｆｕｌｌ",
        "＜unk＞",
        "<unk>",
        "[x]",
        "［x］",
        "<mask>",
        "\u{0}",
        "\u{1}",
        "\u{ad}",
        "\u{a0}",
        "\u{3000}",
        "\u{200b}",
        "漢字",
        "\u{600}",
    ];
    (0..1 + random.below(12)).map(|_| random.pick(&PIECES)).collect()
}

#[test]
fn random_strings() {
    check_random(&variants(), strings(), clustered);
}

#[test]
fn spans() {
    check_random_spans(&variants(), strings(), clustered);
}

#[test]
fn every_character() {
    let all = strings() > 500;
    for pair in variants() {
        check_every_character(&pair, all, "\n");
    }
}

#[test]
fn long_words() {
    let mut random = Random(9);
    for pair in variants() {
        check_word_lengths(&pair, 1..100, &mut random);
        pair.assert_equal(&"a".repeat(30_000));
        pair.assert_equal(&" a\n".repeat(10_000));
        pair.assert_equal(&"▁".repeat(1_000));
    }
}

#[test]
fn documents_that_take_the_exact_path() {
    let path = |pair: &Pair, text: &str| pair.ours.encode_into(text, &mut Vec::new()).unwrap();
    let pair = variant("unigram", |_| {});
    assert_eq!(path(&pair, "Grüße, ﬁne 漢字…"), EncodePath::Fast);
    // A mark on a space, and a sign that takes the space after it into its cluster.
    assert_eq!(path(&pair, "a \u{301}b"), EncodePath::Exact);
    assert_eq!(path(&pair, "a\u{600} b"), EncodePath::Exact);
    let pair = variant("unigram", |json| add(json, "[x]", &["normalized"]));
    assert_eq!(path(&pair, "a [x] b"), EncodePath::Exact);
    assert_eq!(path(&pair, "a ［x］ b"), EncodePath::Exact);
    assert_eq!(path(&pair, "a x b"), EncodePath::Fast);
}

#[test]
fn what_is_not_fast() {
    let check = |reason: &str, change: &dyn Fn(&mut Value)| {
        assert_not_fast(&variant("unigram", change), reason, clustered);
    };
    check("its normalizer is NFKC", &|json| json["normalizer"] = json!({"type": "NFKC"}));
    check("its pre-tokenizer is Metaspace", &|json| {
        json["pre_tokenizer"] = json["pre_tokenizer"]["pretokenizers"][1].clone()
    });
    check("an added token becomes white space under its normalizer", &|json| {
        add(json, "a b", &["normalized"])
    });
}
