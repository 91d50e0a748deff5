//! From ids back to text: exact where it is offered, refused where it cannot be.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FAST, Random, fixture, nasty};
use goldfish_tokenize::{TokenizeError, Tokenizer};
use serde_json::{Value, json};

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> (String, Vec<(usize, usize)>) {
    let (mut text, mut spans) = (String::new(), Vec::new());
    tokenizer.text_map().unwrap().decode_into(ids, &[], &mut text, &mut spans).unwrap();
    (text, spans)
}

fn variant(family: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    Tokenizer::from_bytes(&common::changed(family, change)).unwrap()
}

#[test]
fn ids_give_their_text_back() {
    // Not the one that puts a space before the text, and not the one that loses spaces.
    for family in FAST.into_iter().filter(|family| !["roberta", "wordpiece"].contains(family)) {
        // Without NFC, so that the text must come back as it was.
        let tokenizer = variant(family, |json| {
            if json["normalizer"]["type"] == "NFC" {
                json["normalizer"] = Value::Null;
            }
        });
        let map = tokenizer.text_map().unwrap();
        assert!(map.is_lossless());
        let (mut text, mut spans) = (String::new(), Vec::new());
        let mut random = Random(5);
        for _ in 0..3_000 {
            let original = nasty(&mut random).replace('▁', " ");
            let mut ids = Vec::new();
            tokenizer.encode_into(&original, &mut ids).unwrap();
            map.decode_into(&ids, &[], &mut text, &mut spans).unwrap();
            // Prepended to every part between added tokens, where there are parts.
            if family == "sentencepiece" {
                assert_eq!(text.replace(' ', ""), original.replace(' ', ""));
            } else {
                assert_eq!(text, original, "{family}");
            }
            let mut at = 0;
            for &(start, end) in &spans {
                assert_eq!(start, at);
                at = end;
            }
            assert_eq!((at, spans.len()), (text.len(), ids.len()));
        }
    }
}

#[test]
fn pieces_of_a_character_have_their_own_bytes() {
    for family in ["gpt2", "sentencepiece"] {
        let tokenizer = Tokenizer::from_file(&fixture(family)).unwrap();
        let mut ids = Vec::new();
        tokenizer.encode_into("🄰", &mut ids).unwrap();
        assert!(ids.len() >= 4, "{family} has no token of its own for it");
        let (text, spans) = decode(&tokenizer, &ids);
        let start = text.len() - "🄰".len();
        assert_eq!(spans[spans.len() - 4..], [0, 1, 2, 3].map(|i| (start + i, start + i + 1)));
        // Cut within the character.
        let (text, spans) = decode(&tokenizer, &ids[..ids.len() - 2]);
        assert_eq!(text.trim_start(), "\u{FFFD}");
        let whole = (start, text.len());
        assert_eq!(spans[spans.len() - 2..], [whole, whole], "{family}");
    }
}

#[test]
fn silent_and_unknown_ids() {
    let tokenizer = Tokenizer::from_file(&fixture("gpt2")).unwrap();
    let end = tokenizer.eos_id().unwrap();
    let mut ids = Vec::new();
    tokenizer.encode_into("one<|endoftext|>two", &mut ids).unwrap();
    assert_eq!(decode(&tokenizer, &ids).0, "one<|endoftext|>two");
    let map = tokenizer.text_map().unwrap();
    let (mut text, mut spans) = (String::new(), Vec::new());
    map.decode_into(&ids, &[end], &mut text, &mut spans).unwrap();
    assert_eq!(text, "one two");
    let refused = map.decode_into(&[99_999], &[], &mut text, &mut spans);
    assert!(matches!(refused, Err(TokenizeError::Decode { .. })));
}

#[test]
fn word_piece_without_stripped_accents() {
    let reason = |tokenizer: &Tokenizer| tokenizer.text_map().unwrap_err().to_string();
    assert!(reason(&Tokenizer::from_file(&fixture("wordpiece")).unwrap()).contains("strips accents"));
    let tokenizer = variant("wordpiece", |json| json["normalizer"]["strip_accents"] = json!(false));
    let map = tokenizer.text_map().unwrap();
    assert!(!map.is_lossless());
    let mut ids = Vec::new();
    tokenizer.encode_into("The  sailors' don't,", &mut ids).unwrap();
    let (text, _) = decode(&tokenizer, &ids);
    assert_eq!(text, " the sailors ' don ' t ,");
    ids.clear();
    tokenizer.encode_into("a 🄰 b", &mut ids).unwrap();
    let refused = map.decode_into(&ids, &[], &mut String::new(), &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("unknown token"), "{refused}");
}

#[test]
fn what_is_not_exact_is_refused() {
    let reason = |tokenizer: Tokenizer| match tokenizer.text_map() {
        Err(TokenizeError::NoText { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    let nfkc = variant("gpt2", |json| json["normalizer"] = json!({"type": "NFKC"}));
    assert!(reason(nfkc).contains("NFKC"));
    let accents = variant("gpt2", |json| json["normalizer"] = json!({"type": "StripAccents"}));
    assert!(reason(accents).contains("StripAccents"));
    let no_fallback = variant("sentencepiece", |json| json["model"]["byte_fallback"] = json!(false));
    assert!(reason(no_fallback).contains("byte fallback"));
    let white = variant("gpt2", |json| {
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers":
            [{"type": "WhitespaceSplit"}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": false}]});
    });
    assert!(reason(white).contains("WhitespaceSplit"));
}
