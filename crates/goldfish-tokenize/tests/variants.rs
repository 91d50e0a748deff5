//! Settings of a tokenizer.json that change the ids or the path, and the ends of documents.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::sync::LazyLock;

use common::{FAST, Pair, Random, add, fixture, nasty, variant};
use goldfish_tokenize::{EncodePath, TokenizeError, Tokenizer};
use proptest::prelude::*;
use serde_json::json;

fn check(pair: &Pair, fast: bool) {
    assert_eq!(pair.ours.fast_path().is_on(), fast, "{}", pair.ours.fast_path());
    let mut random = Random(11);
    for _ in 0..2_000 {
        pair.assert_equal(&nasty(&mut random));
    }
}

#[test]
fn flags_of_added_tokens() {
    for family in ["gpt2", "qwen2"] {
        let pair = variant(family, |json| {
            add(json, "hello", &["single_word"]);
            add(json, "World", &["lstrip", "rstrip", "special"]);
            add(json, "The", &["normalized"]);
            add(json, "TheX", &["normalized"]);
            add(json, "...", &[]);
        });
        check(&pair, true);
        for text in [
            "hello hellohello hello",
            "a  World  b",
            "TheTheXThe",
            ".... ..",
            "The\u{301}",
            "<|endoftext|>World ",
        ] {
            pair.assert_equal(text);
        }
        let path = |text: &str| pair.ours.encode_into(text, &mut Vec::new()).unwrap();
        assert_eq!(path("say hello"), EncodePath::Exact);
        assert_eq!(path("say The..."), EncodePath::Fast);
    }
}

#[test]
fn an_added_token_that_normalizes_differently() {
    check(&variant("qwen2", |json| add(json, "e\u{301}", &["normalized"])), false);
}

#[test]
fn truncation_and_padding_are_ignored() {
    for family in ["gpt2", "wordpiece"] {
        let mut pair = variant(family, |json| {
            json["truncation"] =
                json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
            json["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
        });
        pair.plain.with_truncation(None).unwrap();
        pair.plain.with_padding(None);
        check(&pair, true);
    }
}

#[test]
fn settings_of_the_model_and_the_pre_tokenizer() {
    // A token that no merge reaches counts only with `ignore_merges`.
    for ignore in [false, true] {
        let pair = variant("gpt2", |json| {
            json["model"]["ignore_merges"] = json!(ignore);
            json["model"]["vocab"]["hello"] = json!(2457);
            json["model"]["vocab"]["ĠWorld"] = json!(2458);
        });
        check(&pair, true);
        pair.assert_equal("hello World hello");
    }
    let prefix = variant("gpt2", |json| json["pre_tokenizer"]["add_prefix_space"] = json!(true));
    check(&prefix, true);
    let nested = variant("gpt2", |json| {
        json["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]});
    });
    check(&nested, true);
    let lower = variant("gpt2", |json| json["normalizer"] = json!({"type": "Lowercase"}));
    check(&lower, false);
    let inverted = variant("o200k", |json| {
        json["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed");
        json["pre_tokenizer"]["pretokenizers"][0]["invert"] = json!(true);
    });
    check(&inverted, true);
    let merged = variant("o200k", |json| {
        json["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("MergedWithNext");
    });
    check(&merged, false);
    let other = variant("llama3", |json| {
        let regex = &mut json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
        *regex = json!(regex.as_str().unwrap().replace("{1,3}", "{1,2}"));
    });
    check(&other, true);
    let no_byte = variant("gpt2", |json| {
        json["model"]["vocab"].as_object_mut().unwrap().remove("ĉ").unwrap();
        json["model"]["merges"].as_array_mut().unwrap().retain(|merge| !merge.to_string().contains('ĉ'));
    });
    check(&no_byte, false);
    let old_spelling = variant("gpt2", |json| {
        for merge in json["model"]["merges"].as_array_mut().unwrap() {
            if let Some(pair) = merge.as_array() {
                *merge = json!(format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
            }
        }
    });
    check(&old_spelling, true);
}

#[test]
fn unigram() {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "NFKC"},
        "added_tokens": [{"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
            "vocab": [["<unk>", 0.0], ["▁", -2.0], ["a", -3.0], ["b", -3.1], ["ab", -4.0], ["▁a", -4.5], ["the", -5.0]]},
    });
    check(&Pair::from_json(&serde_json::to_vec(&json).unwrap()), false);
}

#[test]
fn ends_of_documents() {
    let ends = |tokenizer: &Tokenizer| {
        let name = |id: Option<u32>| id.map(|id| tokenizer.token(id).unwrap());
        (name(tokenizer.bos_id()), name(tokenizer.eos_id()))
    };
    let pair = |bos: Option<&str>, eos: Option<&str>| (bos.map(str::to_owned), eos.map(str::to_owned));
    let load = |family| Tokenizer::from_file(&fixture(family)).unwrap();
    assert_eq!(ends(&load("gpt2")), pair(Some("<|endoftext|>"), Some("<|endoftext|>")));
    assert_eq!(ends(&load("llama3")), pair(Some("<|begin_of_text|>"), Some("<|end_of_text|>")));
    assert_eq!(ends(&load("sentencepiece")), pair(Some("<s>"), Some("</s>")));
    assert_eq!(ends(&load("wordpiece")), pair(Some("[CLS]"), Some("[SEP]")));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    fs::copy(fixture("qwen2"), &path).unwrap();
    let config = directory.path().join("tokenizer_config.json");
    let map = directory.path().join("special_tokens_map.json");
    fs::write(&config, r#"{"bos_token": null, "eos_token": {"content": "<|im_end|>", "lstrip": false}}"#)
        .unwrap();
    assert_eq!(ends(&Tokenizer::from_file(&path).unwrap()), pair(None, Some("<|im_end|>")));
    fs::write(&map, r#"{"bos_token": "<|im_start|>", "eos_token": "<|endoftext|>"}"#).unwrap();
    assert_eq!(ends(&Tokenizer::from_file(&path).unwrap()), pair(Some("<|im_start|>"), Some("<|im_end|>")));
    fs::write(&config, r#"{"eos_token": "</nowhere>"}"#).unwrap();
    let error = Tokenizer::from_file(&path).unwrap_err();
    assert!(matches!(error, TokenizeError::UnknownToken { role: "eos_token", .. }), "{error}");
    fs::write(&config, "{").unwrap();
    let error = Tokenizer::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("tokenizer_config.json"), "{error}");
}

#[test]
fn facts_about_a_tokenizer() {
    let tokenizer = Tokenizer::from_file(&fixture("llama3")).unwrap();
    let ids = tokenizer.special_ids();
    assert!(ids.is_sorted() && !ids.is_empty());
    assert_eq!(ids.last().copied().map(|id| id + 1), Some(tokenizer.vocab_size()));
    assert_eq!(tokenizer.sha256().len(), 64);
    let mut ids = Vec::new();
    tokenizer.encode_into("<|begin_of_text|>Ünï ✓", &mut ids).unwrap();
    assert_eq!(ids[0], tokenizer.bos_id().unwrap());
    assert_eq!(tokenizer.decode(&ids).unwrap(), "<|begin_of_text|>Ünï ✓");
}

/// One tokenizer, eight threads, the same ids.
#[test]
fn shared_by_threads() {
    let pair = Pair::load("qwen2");
    let mut random = Random(12);
    let texts: Vec<String> = (0..500).map(|_| nasty(&mut random)).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| texts.iter().for_each(|text| pair.assert_equal(text)));
        }
    });
}

#[test]
fn offsets() {
    for family in FAST {
        let pair = Pair::load(family);
        let mut random = Random(13);
        for _ in 0..1_000 {
            pair.assert_spans_equal(&nasty(&mut random));
        }
        // The exact path says where the space is that it adds.
        if family != "roberta" {
            let path = pair.ours.encode_with_offsets_into("Grüße, 漢字.", &mut vec![], &mut vec![]).unwrap();
            assert_eq!(path, EncodePath::Fast);
        }
        for text in ["", " ", "漢字 <|endoftext|> é e\u{301}", "<|endoftext|>"] {
            pair.assert_spans_equal(text);
        }
    }
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| FAST.map(Pair::load).into());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text(text in any::<String>(), more in "[a-zA-Z'ſs \\n\\r\\t.,/0-9é\u{301}漢]{0,80}") {
        for pair in PAIRS.iter() {
            for text in [&text, &more, &format!("{more}{text}{more}")] {
                let (ours, theirs) = pair.ids(text);
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
