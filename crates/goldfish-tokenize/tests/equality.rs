//! The ids are those of the `tokenizers` crate, for every family and every text.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FAST, Pair, Random, json, nasty};
use goldfish_tokenize::{EncodePath, Tokenizer};

fn strings() -> usize {
    common::strings(10_000)
}

#[test]
fn random_strings() {
    for (seed, family) in FAST.into_iter().enumerate() {
        let pair = Pair::load(family);
        let mut random = Random(seed as u64);
        for _ in 0..strings() {
            pair.assert_equal(&nasty(&mut random));
        }
    }
}

#[test]
fn fast_families_are_fast() {
    for family in FAST {
        let tokenizer = Tokenizer::from_bytes(&json(family)).unwrap();
        assert!(tokenizer.fast_path().is_on(), "{family}: {}", tokenizer.fast_path());
        let path = tokenizer.encode_into("Plain text, grüße, 漢字.", &mut Vec::new()).unwrap();
        assert_eq!(path, EncodePath::Fast);
    }
}

/// Every character: alone, doubled, between letters, digits and spaces, after an apostrophe. The short run takes
/// samples of the big blocks in which all characters are alike.
#[test]
fn every_character() {
    let all = strings() > 10_000;
    let alike = |c: char| {
        matches!(u32::from(c), 0x3400..=0x4DB0 | 0x4E00..=0x9FE0 | 0xAC00..=0xD7A0 | 0xE000..=0xF8FF
            | 0x12000..=0x14600 | 0x17000..=0x18CD0 | 0x1B000..=0x1B100 | 0x20000..=0xDFFFF | 0xE0200..)
    };
    let families: &[&str] = if all { &FAST } else { &["qwen2", "o200k"] };
    for family in families {
        let pair = Pair::load(family);
        let mut text = String::new();
        for c in ('\0'..=char::MAX).filter(|&c| all || !alike(c) || u32::from(c) % 61 == 0) {
            // Spaces part the probes, so that one text can hold many of them.
            text.extend(['a', c, 'b', ' ', c, c, 'A', c, '1', c, ' ', '\'', c, ' ', '!', c, '?', ' ']);
            if text.len() > 20_000 {
                pair.assert_equal(&text);
                text.clear();
            }
        }
        pair.assert_equal(&text);
    }
}

/// Every short string over one character for each role that the patterns know.
#[test]
fn every_short_string_over_the_classes() {
    let alphabet = ['a', 'A', 'ʰ', '1', ' ', '\n', '\u{a0}', '\u{301}', '.', '/', '\'', 's', 'L'];
    for family in FAST {
        let pair = Pair::load(family);
        for len in 1..=if strings() > 10_000 { 5 } else { 4 } {
            let mut counter = vec![0; len];
            'strings: loop {
                pair.assert_equal(&counter.iter().map(|&at| alphabet[at]).collect::<String>());
                for digit in &mut counter {
                    *digit += 1;
                    if *digit < alphabet.len() {
                        continue 'strings;
                    }
                    *digit = 0;
                }
                break;
            }
        }
    }
}

#[test]
fn fixed_texts() {
    let long_run = " ".repeat(70_000);
    let nul = "\0".repeat(300);
    let texts = [
        "",
        " ",
        "\n",
        "\u{301}",
        "\u{feff}",
        &nul,
        "\u{1}\u{2}\u{7f}\u{80}\u{9f}",
        "a<|endoftext|>b <|endoftext|><|endoftext|> ",
        "<|endoftext",
        "<|endoftext|>",
        "e\u{301}<|im_start|>e\u{301}",
        "\u{105d2}\u{307}",
        "'ſ a'ſ A'ſB",
        "x                         y  z",
        &long_run,
        &format!("a{long_run}b"),
        &format!("a\n{long_run}\nb{long_run}"),
        &"\r\n".repeat(40_000),
    ];
    for family in FAST {
        let pair = Pair::load(family);
        for text in texts {
            pair.assert_equal(text);
        }
    }
}

/// The exact path ceases to split at a million spaces, and the ids are its ids even then.
#[test]
fn white_space_that_overflows_the_regex_engine() {
    // The stack of the engine has a million entries, two of which are taken when the run begins.
    for family in ["gpt2", "llama3", "deepseek-v3"] {
        let pair = Pair::load(family);
        for spaces in [999_998, 999_999, 1_100_000] {
            let spaces = " ".repeat(spaces);
            for text in [format!("a\u{1}{spaces}b the quick 12345678 brown"), format!("{spaces}\u{2003}")] {
                pair.assert_equal(&text);
                let path = pair.ours.encode_into(&text, &mut Vec::new()).unwrap();
                assert_eq!(path, EncodePath::Fast);
            }
        }
    }
}

/// So it does after a million steps back, which it takes where nothing matches.
#[test]
fn long_text_without_a_match() {
    let pair = Pair::load("deepseek-v3");
    for controls in [100_000, 140_000, 160_000, 170_000, 400_000] {
        let text = format!("a{} the quick 12345678 brown", "\u{1}".repeat(controls));
        pair.assert_equal(&text);
        let path = pair.ours.encode_into(&text, &mut Vec::new()).unwrap();
        assert_eq!(path == EncodePath::Fast, controls < 150_000, "{controls}");
    }
}

/// Long words, and long texts of every kind of repetition.
#[test]
fn long_texts() {
    let mut random = Random(9);
    let letters: String = (0..200_000).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    let mixed: String = (0..4_000).map(|_| nasty(&mut random)).collect();
    for family in FAST {
        let pair = Pair::load(family);
        for text in [letters.as_str(), mixed.as_str(), &"a".repeat(100_000), &"ab1 ".repeat(50_000)] {
            pair.assert_equal(text);
        }
    }
}

/// The words that are too long for the cache, too long for sweeps, and around both limits.
#[test]
fn word_lengths() {
    let mut random = Random(10);
    for family in FAST {
        let pair = Pair::load(family);
        for len in 1..80 {
            for _ in 0..20 {
                let word: String = (0..len).map(|_| char::from(random.pick(b"aeinorst"))).collect();
                pair.assert_equal(&word);
                pair.assert_equal(&format!("{word} {word}"));
                pair.assert_equal(&"é".repeat(len));
            }
        }
    }
}
