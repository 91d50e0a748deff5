//! Which passages count as near-copies: edited and reformatted ones, and none that share a part.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use goldfish_inspect::{Passage, near_copies};
use goldfish_lab::corpus::{Formatting, passages};
use goldfish_lab::edits::{Edit, Material, edited};
use goldfish_tokenize::Tokenizer;

/// Tokens of a passage.
const TOKENS: usize = 100;

/// Passages that are different, and as many copies.
const COUNT: usize = 100;

fn tokenizer() -> Tokenizer {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tokenizers/gpt2.json");
    Tokenizer::from_file(path.as_ref()).unwrap()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode_into(text, &mut ids).unwrap();
    ids.truncate(TOKENS);
    ids
}

/// The group of each text's first tokens.
fn grouped(tokenizer: &Tokenizer, texts: &[String], by_text: bool) -> Vec<usize> {
    let ids: Vec<Vec<u32>> = texts.iter().map(|text| ids(tokenizer, text)).collect();
    let passages: Vec<Passage<'_>> =
        ids.iter().enumerate().map(|(group, ids)| Passage { ids, group }).collect();
    let decode = |ids: &[u32]| tokenizer.decode(ids).unwrap();
    near_copies(&passages, by_text.then_some(&decode))
}

/// Different passages, as real as generated ones get, and of real documentation.
fn originals() -> Vec<String> {
    let page = include_str!("../../../docs/limits.md");
    let words: Vec<&str> = page.split_whitespace().collect();
    let mut originals: Vec<String> = words.chunks_exact(100).map(|words| words.join(" ")).collect();
    originals.extend(passages(0, (COUNT - originals.len()) as u64));
    originals
}

/// How many copies are found, and how many groups there are of passages that have none.
#[track_caller]
fn found(copy: impl Fn(&str, u64) -> String, by_text: bool) -> usize {
    let originals = originals();
    let copies = originals.iter().zip(0..).map(|(text, key)| copy(text, key));
    let texts: Vec<String> = originals.iter().cloned().chain(copies).collect();
    let groups = grouped(&tokenizer(), &texts, by_text);
    let apart: BTreeSet<usize> = groups[..COUNT].iter().copied().collect();
    // Many tokens of a layout are its own, and leave few for the text: two generated passages, or two parts of a table, can then be alike.
    assert!(apart.len() + 2 >= COUNT, "{} of {COUNT} are apart", apart.len());
    (0..COUNT).filter(|at| groups[*at] == groups[COUNT + at]).count()
}

fn with(edits: &[Edit]) -> impl Fn(&str, u64) -> String {
    move |text, key| edited(text, edits, &Material::default(), &[key]).text
}

#[test]
fn edited_copies_are_found() {
    let mixed = [Edit::WordsReplaced(0.04), Edit::WordsInserted(0.03), Edit::WordsDeleted(0.03)];
    for by_text in [true, false] {
        for edits in [&[Edit::WordsReplaced(0.05)][..], &[Edit::WordsReplaced(0.1)], &mixed] {
            assert_eq!(found(with(edits), by_text), COUNT, "{edits:?}, {by_text}");
        }
    }
    for edits in [[Edit::Characters(0.02)], [Edit::Pages(40)]] {
        assert_eq!(found(with(&edits), true), COUNT, "{edits:?}");
    }
}

#[test]
fn reformatted_copies_are_found() {
    let formats = [
        Formatting::Wrapped(40),
        Formatting::Wrapped(60),
        Formatting::Indented(72),
        Formatting::Commented(72),
        Formatting::Capitals,
    ];
    // Of 2,200 tokens, capitals take one a letter, so that few letters are compared.
    for by_text in [true, false] {
        for format in formats.iter().filter(|format| by_text || **format != Formatting::Capitals) {
            let found = found(|text, _| format.apply(text), by_text);
            assert!(found + 1 >= COUNT, "{format:?}, {by_text}: {found}");
        }
    }
    assert_eq!(found(|text, _| text.replace(' ', "  "), true), COUNT);
    // Ids of capitals are others altogether.
    assert_eq!(found(|text, _| text.to_uppercase(), false), 0);
}

/// A header, or a sentence in the middle, that takes a third of every passage. The passages share the shapes of their sentences too, and
/// rather count as one than as two.
#[test]
fn passages_that_share_a_part_are_different() {
    let license = "Licensed under the terms in the file beside this one; use it in compliance with them.";
    let tokenizer = tokenizer();
    let length = ids(&tokenizer, license).len();
    assert!((TOKENS / 4..TOKENS / 3).contains(&length), "{length}");
    let passages = passages(7_000, 500);
    for by_text in [true, false] {
        let before: Vec<String> = passages.iter().map(|text| format!("{license}\n\n{text}")).collect();
        let within = passages.iter().map(|text| {
            let (start, rest) = text.split_once(". ").unwrap();
            format!("{start}. {license} {rest}")
        });
        for texts in [before, within.collect()] {
            let groups: BTreeSet<usize> = grouped(&tokenizer, &texts, by_text).into_iter().collect();
            let least = if by_text { 498 } else { 480 };
            assert!(groups.len() >= least, "{} of {}, {by_text}", groups.len(), texts.len());
        }
    }
}

/// Copies of copies, each edited further, and groups that are given.
#[test]
fn near_copies_of_near_copies_are_one_group() {
    let tokenizer = tokenizer();
    let mut texts: Vec<String> = passages(50, 3);
    for key in 0..60 {
        texts.push(
            edited(&texts[3 * key], &[Edit::WordsReplaced(0.1)], &Material::default(), &[key as u64]).text,
        );
        texts.extend(passages(900 + 2 * key as u64, 2));
    }
    let groups = grouped(&tokenizer, &texts, true);
    assert!((0..texts.len()).all(|at| groups[at] == if at % 3 == 0 { 0 } else { at }), "{groups:?}");

    let ids: Vec<Vec<u32>> = texts.iter().map(|text| ids(&tokenizer, text)).collect();
    let given = |(number, ids)| Passage { ids, group: if number == 4 || number == 6 { 4 } else { number } };
    let passages: Vec<Passage<'_>> = ids.iter().map(Vec::as_slice).enumerate().map(given).collect();
    let joined = near_copies(&passages, None);
    assert_eq!((joined[0], joined[4], joined[6], joined[5]), (0, 0, 0, 5));
    assert_eq!(near_copies(&[], None), Vec::<usize>::new());
}
