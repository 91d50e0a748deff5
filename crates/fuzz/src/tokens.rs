//! Tokenizers, compared with the `tokenizers` crate.

use std::sync::LazyLock;

use goldfish_tokenize::{TextMap, Tokenizer};

use crate::harness::guarded;

const TEXTS: [&str; 4] = ["abba é <s>", " The  lamp's 123\n\n", "\u{301}漢字🄰\u{200d}", "aaaaaaaaaaaaaaaa"];

/// A tokenizer.json: it is an error, or the ids are those of the `tokenizers` crate.
pub fn tokenizer(data: &[u8]) {
    let Some(Ok(ours)) = guarded(|| Tokenizer::from_bytes(data)) else { return };
    let plain = guarded(|| tokenizers::Tokenizer::from_bytes(data).ok()).flatten();
    let mut plain = plain.expect("the crate loads what goldfish loads");
    plain.with_truncation(None).expect("no truncation");
    plain.with_padding(None);
    // goldfish ignores templates; a template may even leave out the text.
    plain.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
    let map = guarded(|| ours.text_map()).expect("no panic");
    let (mut text_of_ids, mut spans) = (String::new(), Vec::new());
    for text in TEXTS {
        let mut ids = vec![];
        let encoded =
            guarded(|| ours.encode_into(text, &mut ids)).expect("goldfish turns panics into errors");
        let theirs = guarded(|| plain.encode_fast(text, false).ok()).flatten();
        match (encoded, theirs) {
            (Ok(_), Some(theirs)) => assert_eq!(ids, theirs.get_ids(), "{text:?}"),
            (Ok(_), None) => panic!("only goldfish encodes {text:?}"),
            (Err(_), Some(_)) => panic!("only the crate encodes {text:?}"),
            (Err(_), None) => continue,
        }
        let mut with_offsets = Vec::new();
        let path =
            guarded(|| ours.encode_with_offsets_into(text, &mut with_offsets, &mut spans)).expect("no panic");
        if path.is_ok() {
            assert_eq!(with_offsets, ids);
            assert!(spans.iter().all(|&(start, end)| start <= end && end <= text.len()));
            spans.clear();
        }
        if let Ok(map) = &map {
            let _ = guarded(|| map.decode_into(&ids, &[], &mut text_of_ids, &mut spans)).expect("no panic");
            spans.clear();
        }
    }
}

struct Pair {
    ours: Tokenizer,
    plain: tokenizers::Tokenizer,
    map: Option<TextMap>,
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    ["gpt2", "llama3", "qwen2", "o200k", "neox", "sentencepiece", "wordpiece"]
        .map(|family| {
            let path = format!("{}/../../fixtures/tokenizers/{family}.json", env!("CARGO_MANIFEST_DIR"));
            let json = std::fs::read(path).expect("the fixture");
            let ours = Tokenizer::from_bytes(&json).expect("a valid tokenizer");
            let map = ours.text_map().ok();
            Pair { ours, plain: tokenizers::Tokenizer::from_bytes(&json).expect("a valid tokenizer"), map }
        })
        .into()
});

/// Arbitrary text, with the tokenizers of the fixtures.
pub fn encode(data: &[u8]) {
    // The peer is slow, and there are seven tokenizers.
    let text = String::from_utf8_lossy(&data[..data.len().min(300)]);
    for Pair { ours, plain, map } in &*PAIRS {
        let mut ids = Vec::new();
        ours.encode_into(&text, &mut ids).expect("fixtures encode every text");
        let theirs = plain.encode_fast(&*text, false).expect("fixtures encode every text");
        assert_eq!(ids, theirs.get_ids());
        let (mut again, mut spans) = (Vec::new(), Vec::new());
        ours.encode_with_offsets_into(&text, &mut again, &mut spans).expect("fixtures encode every text");
        assert_eq!((again, spans.len()), (ids.clone(), ids.len()));
        // Byte-level tokenizers without a normalizer are lossless.
        if let (Some(map), false) = (map, text.contains('<'))
            && plain.get_normalizer().is_none()
        {
            let (mut back, mut spans) = (String::new(), Vec::new());
            map.decode_into(&ids, &[], &mut back, &mut spans).expect("ids of the vocabulary");
            assert_eq!(back, text);
            assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "a gap between tokens");
        }
    }
}

/// Arbitrary ids: their text, compared with that of their tokens one by one.
pub fn text_map(data: &[u8]) {
    let ids: Vec<u32> =
        data.chunks_exact(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1] & 15) << 8).collect();
    for Pair { ours, map, .. } in &*PAIRS {
        let Some(map) = map else { continue };
        let (mut text, mut spans) = (String::new(), Vec::new());
        let outside = ids.iter().any(|&id| ours.token(id).is_none());
        let decoded = map.decode_into(&ids, &[], &mut text, &mut spans);
        if outside {
            assert!(decoded.is_err(), "an id without a token was decoded");
            continue;
        }
        if decoded.is_err() {
            assert!(!map.is_lossless());
            continue;
        }
        assert_eq!(spans.len(), ids.len());
        assert!(spans.iter().all(|&(start, end)| start <= end && end <= text.len()));
        assert!(spans.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        // Tokens decoded one by one give the same text, unless one ends within a character.
        let mut joined = String::new();
        let mut cut = false;
        for &id in &ids {
            let (mut one, mut span) = (String::new(), Vec::new());
            map.decode_into(&[id], &[], &mut one, &mut span).expect("an id that was decoded before");
            cut |= one.contains('\u{FFFD}');
            joined.push_str(&one);
        }
        assert!(cut || joined == text);
    }
}
