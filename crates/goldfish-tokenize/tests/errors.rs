//! Broken files: an error that names the file and says what to do next, never a panic, never other ids.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;

use common::fixture;
use goldfish_tokenize::{TokenizeError, Tokenizer};
use serde_json::{Value, json};

fn gpt2() -> Value {
    serde_json::from_slice(&fs::read(fixture("gpt2")).unwrap()).unwrap()
}

fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json = gpt2();
    change(&mut json);
    serde_json::to_vec(&json).unwrap()
}

fn set(pointer: &str, value: Value) -> Vec<u8> {
    changed(|json| *json.pointer_mut(pointer).unwrap() = value)
}

/// The error of a file with these bytes; its message names the file and ends with advice.
fn error_of(bytes: &[u8]) -> TokenizeError {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    fs::write(&path, bytes).unwrap();
    let error = Tokenizer::from_file(&path).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(message.contains("; "), "no advice: {message}");
    assert!(Tokenizer::from_bytes(bytes).is_err());
    error
}

#[test]
fn broken_files() {
    let whole = fs::read(fixture("gpt2")).unwrap();
    let with_bom = [b"\xEF\xBB\xBF".as_slice(), &whole].concat();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = (0..5_000)
        .fold("null".to_owned(), |inner, _| format!(r#"{{"type":"Sequence","pretokenizers":[{inner}]}}"#));
    let deep_part = format!(
        r#"{{"version":"1.0","pre_tokenizer":{nested},"model":{{"type":"BPE","vocab":{{"a":0}},"merges":[]}}}}"#
    );
    let twice = br#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1,"a":2},"merges":[]}}"#;
    let latin1 = b"{\"version\":\"1.0\",\"model\":\"\xE9\"}";
    let split = |regex: &str| {
        set(
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}),
        )
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "it is empty"),
        ("not JSON", b"PK\x03\x04".to_vec(), "expected value at line 1"),
        ("text", b"hello".to_vec(), "expected value at line 1"),
        ("another JSON", b"[1, 2]".to_vec(), "invalid type"),
        ("a config", br#"{"bos_token": "<s>"}"#.to_vec(), "missing field `model`"),
        ("not UTF-8", latin1.to_vec(), "invalid"),
        ("cut short", whole[..whole.len() / 2].to_vec(), "cut short"),
        ("cut by a byte", whole[..whole.len() - 2].to_vec(), "cut short"),
        ("rubbish behind", [&whole[..], b"}"].concat(), "trailing characters"),
        ("byte order mark", with_bom, "byte order mark"),
        ("deep nesting", deep.into_bytes(), ""),
        ("deep part", deep_part.into_bytes(), "recursion limit"),
        ("unknown version", set("/version", json!("2.0")), "version"),
        ("unknown model", set("/model/type", json!("Magic")), r#"type "Magic", which is none of BPE"#),
        ("model of another type", set("/model/type", json!("Unigram")), "cannot be loaded"),
        ("model of no shape", set("/model", json!([])), ""),
        ("no vocabulary", changed(|json| remove(json, "/model", "vocab")), "no vocabulary"),
        ("empty vocabulary", set("/model/vocab", json!({})), "no tokens in its vocabulary"),
        ("no merges", changed(|json| remove(json, "/model", "merges")), "no merges"),
        ("merge of one", set("/model/merges/0", json!("ab")), ""),
        ("merge of unknown tokens", set("/model/merges/0", json!(["qqqq", "zzzz"])), "qqqq"),
        ("merge into an unknown token", set("/model/merges/0", json!(["!", "~"])), "!~"),
        ("two tokens of one id", set("/model/vocab/!", json!(7)), "gives the id 7 to"),
        ("a token twice", twice.to_vec(), r#"the token "a" twice"#),
        ("negative id", set("/model/vocab/!", json!(-1)), "invalid value"),
        ("id too large", set("/model/vocab/!", json!(1u64 << 40)), "invalid value"),
        ("id as text", set("/model/vocab/!", json!("0")), "invalid type"),
        ("added token of another id", set("/added_tokens/0/id", json!(5)), "gives the added token"),
        ("gap before the added tokens", gap(), r#""<extra>" the id 3000"#),
        ("dropout", set("/model/dropout", json!(0.1)), "BPE dropout to 0.1"),
        (
            "unknown pre-tokenizer",
            set("/pre_tokenizer", json!({"type": "Nope"})),
            r#"pre_tokenizer has the type "Nope""#,
        ),
        (
            "unknown normalizer",
            set("/normalizer", json!({"type": "Nope"})),
            r#"normalizer has the type "Nope""#,
        ),
        ("untyped pre-tokenizer", set("/pre_tokenizer", json!({})), "pre_tokenizer has no type"),
        ("bad regex", split("(unclosed"), r#"regular expression "(unclosed""#),
        ("unknown unk_token", set("/model", word_piece("[NONE]")), ""),
    ];
    for (name, bytes, expected) in cases {
        if name == "unknown unk_token" {
            // The crate finds this one only when it meets an unknown word.
            let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
            let mut ids = vec![1];
            let error = tokenizer.encode_into("unseen", &mut ids).unwrap_err();
            assert!(matches!(error, TokenizeError::Encode { bytes: 6, .. }), "{error}");
            assert_eq!(ids, [1]);
            continue;
        }
        let error = error_of(&bytes);
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

fn remove(json: &mut Value, parent: &str, key: &str) {
    json.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
}

fn gap() -> Vec<u8> {
    changed(|json| {
        let mut token = json["added_tokens"][0].clone();
        token["id"] = json!(3000);
        token["content"] = json!("<extra>");
        json["added_tokens"].as_array_mut().unwrap().push(token);
    })
}

fn word_piece(unknown: &str) -> Value {
    json!({
        "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": {"a": 0, "<|endoftext|>": 2456},
    })
}

/// A gap that moves no id is no error: the vocabularies of `cl100k_base` and `o200k_base` have such gaps.
#[test]
fn harmless_gap() {
    let bytes = changed(|json| {
        json["model"]["vocab"]["unused"] = json!(5000);
    });
    let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
    assert_eq!(tokenizer.vocab_size(), 5001);
    assert_eq!(tokenizer.token(5000).as_deref(), Some("unused"));
    assert_eq!(tokenizer.token(4999), None);
    let error = tokenizer.decode(&[4999]).unwrap_err();
    assert!(error.to_string().contains("4999"), "{error}");
}

#[test]
fn missing_file() {
    let error = Tokenizer::from_file("no/such/tokenizer.json".as_ref()).unwrap_err();
    assert!(matches!(error, TokenizeError::Read { .. }));
    assert!(error.to_string().contains("no/such/tokenizer.json"), "{error}");
    assert!(
        error.to_string().ends_with("give the path of a tokenizer.json that this user may read"),
        "{error}"
    );
    for name in ["no-such-model", "no-such-owner/Model-1.5B"] {
        let error = Tokenizer::from_file(name.as_ref()).unwrap_err().to_string();
        assert!(error.contains(&format!("`hf download {name} tokenizer.json`")), "{error}");
    }
    for path in ["no/such/folder", "/nowhere/model", "../model", "no such model", "-model"] {
        let error = Tokenizer::from_file(path.as_ref()).unwrap_err().to_string();
        assert!(!error.contains("hf download"), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Tokenizer::from_file(directory.path()), Err(TokenizeError::Read { .. })));
}

/// Every truncation and many single-byte changes of a small file: an error or a tokenizer, never a panic.
#[test]
fn damaged_files() {
    let whole = serde_json::to_vec(&json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    }))
    .unwrap();
    let try_it = |bytes: &[u8]| {
        if let Ok(tokenizer) = Tokenizer::from_bytes(bytes) {
            let _ = tokenizer.encode_into("abba é <s>", &mut Vec::new());
        }
    };
    for len in 0..whole.len() {
        assert!(Tokenizer::from_bytes(&whole[..len]).is_err());
    }
    for at in 0..whole.len() {
        for byte in [b'"', b'0', b'{', b']', b'x', 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            try_it(&bytes);
        }
    }
}
