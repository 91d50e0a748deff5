//! Unigram: the ids and spans of the `tokenizers` crate, by the fast path.
//!
//! `common/unigram.json` was made by the trainer of `sentencepiece` 0.2 on Python sources and licenses, with 600 tokens and
//! a short table of characters: some of each kind that the table `nmt_nfkc` has (dropped, made a space, full width,
//! ligatures, characters that become several, clusters with marks, Hangul).

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Pair, Random, nasty};
use goldfish_tokenize::EncodePath;
use serde_json::{Value, json};

/// Random strings a variant; `GOLDFISH_TOKENIZE_STRINGS=100000` for the long run.
fn strings() -> usize {
    std::env::var("GOLDFISH_TOKENIZE_STRINGS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

fn variant(change: impl FnOnce(&mut Value)) -> Pair {
    let mut json: Value = serde_json::from_str(include_str!("common/unigram.json")).unwrap();
    change(&mut json);
    Pair::from_json(&serde_json::to_vec(&json).unwrap())
}

fn add(json: &mut Value, content: &str, flag: &str) {
    let vocab = json["model"]["vocab"].as_array().unwrap();
    let known = vocab.iter().position(|entry| entry[0] == content);
    let size = vocab.len();
    let added = json["added_tokens"].as_array_mut().unwrap();
    let next = added.iter().map(|token| token["id"].as_u64().unwrap() as usize + 1).max().unwrap();
    let id = known.unwrap_or(next.max(size));
    let mut token = json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false});
    token[flag] = json!(true);
    added.push(token);
}

fn push(json: &mut Value, token: &str, score: f64) {
    json["model"]["vocab"].as_array_mut().unwrap().push(json!([token, score]));
}

fn variants() -> Vec<Pair> {
    let pairs = vec![
        variant(|_| {}),
        variant(|json| json["normalizer"] = Value::Null),
        variant(|json| {
            json["model"]["byte_fallback"] = json!(true);
            (0..=u8::MAX).for_each(|byte| push(json, &format!("<0x{byte:02X}>"), -1000.0));
        }),
        variant(|json| {
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
        variant(|json| {
            add(json, "[x]", "normalized");
            add(json, "<mask>", "lstrip");
            add(json, "<extra>", "special");
        }),
        variant(|json| {
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
    for (seed, pair) in variants().iter().enumerate() {
        let mut random = Random(seed as u64);
        for _ in 0..strings() {
            pair.assert_equal(&nasty(&mut random));
            pair.assert_equal(&clustered(&mut random));
        }
    }
}

#[test]
fn spans() {
    for (seed, pair) in variants().iter().enumerate() {
        let mut random = Random(100 + seed as u64);
        for _ in 0..strings().min(20_000) {
            pair.assert_spans_equal(&nasty(&mut random));
            pair.assert_spans_equal(&clustered(&mut random));
        }
    }
}

#[test]
fn every_character() {
    let all = strings() > 500;
    for pair in variants() {
        let mut text = String::new();
        for c in ('\0'..=char::MAX).filter(|&c| all || c < '\u{3000}' || u32::from(c) % 61 == 0) {
            let probe: String = ['a', c, 'b', ' ', c, c, 'A', c, '1', c, ' ', '!', c, '?', 'e', '\u{301}', c]
                .iter()
                .collect();
            if pair.ours.encode_into(&probe, &mut Vec::new()).unwrap() == EncodePath::Exact {
                pair.assert_equal(&probe);
                continue;
            }
            text.push_str(&probe);
            text.push('\n');
            if text.len() > 2_000 {
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
    for pair in variants() {
        for len in 1..100 {
            let word: String = (0..len).map(|_| char::from(random.pick(b"aeinorst"))).collect();
            for text in [word.as_str(), &format!("{word} {word}."), &"é".repeat(len), &"漢".repeat(len)] {
                pair.assert_equal(text);
                pair.assert_spans_equal(text);
            }
        }
        pair.assert_equal(&"a".repeat(30_000));
        pair.assert_equal(&" a\n".repeat(10_000));
        pair.assert_equal(&"▁".repeat(1_000));
    }
}

#[test]
fn documents_that_take_the_exact_path() {
    let path = |pair: &Pair, text: &str| pair.ours.encode_into(text, &mut Vec::new()).unwrap();
    let pair = variant(|_| {});
    assert_eq!(path(&pair, "Grüße, ﬁne 漢字…"), EncodePath::Fast);
    // A mark on a space, and a sign that takes the space after it into its cluster.
    assert_eq!(path(&pair, "a \u{301}b"), EncodePath::Exact);
    assert_eq!(path(&pair, "a\u{600} b"), EncodePath::Exact);
    let pair = variant(|json| add(json, "[x]", "normalized"));
    assert_eq!(path(&pair, "a [x] b"), EncodePath::Exact);
    assert_eq!(path(&pair, "a ［x］ b"), EncodePath::Exact);
    assert_eq!(path(&pair, "a x b"), EncodePath::Fast);
}

#[test]
fn what_is_not_fast() {
    let reason = |change: &dyn Fn(&mut Value)| {
        let pair = variant(change);
        let mut random = Random(5);
        (0..200).for_each(|_| pair.assert_equal(&clustered(&mut random)));
        pair.ours.fast_path().to_string()
    };
    let no_fast_path = |reason: &str| format!("no fast path: {reason}");
    assert_eq!(
        reason(&|json| json["normalizer"] = json!({"type": "NFKC"})),
        no_fast_path("its normalizer is NFKC")
    );
    assert_eq!(
        reason(&|json| json["pre_tokenizer"] = json["pre_tokenizer"]["pretokenizers"][1].clone()),
        no_fast_path("its pre-tokenizer is Metaspace")
    );
    assert_eq!(
        reason(&|json| add(json, "a b", "normalized")),
        no_fast_path("an added token becomes white space under its normalizer")
    );
}
