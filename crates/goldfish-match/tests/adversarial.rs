//! Texts that repeat themselves, and others that would make a search slow or wrong.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Which, check, covered, find, index_of, words_of};
use goldfish_match::{IndexBuilder, MatchError, Parameters};

/// Takes far too long if the work grows with a product of lengths.
const LONG: usize = 30_000;

fn found_everywhere(works: &[String], doc: &str) -> usize {
    let index = index_of(works, Parameters::default());
    let passages = find(&index, doc);
    assert!(covered(&passages, None, words_of(doc).len()).iter().all(|&covered| covered));
    passages.len()
}

#[test]
fn one_word_again_and_again() {
    let text = "la ".repeat(LONG);
    let passages = found_everywhere(&[text.clone(), text.clone()], &text);
    assert!(passages < LONG / 100, "{passages}");
    let passages = found_everywhere(&["la ".repeat(40)], &text);
    assert!(passages <= 8 * LONG / 12, "{passages}");
}

#[test]
fn short_periods() {
    for period in 2..15 {
        let word = |i: usize| format!("{} ", char::from(b'a' + (i % period) as u8));
        let text: String = (0..LONG / 4).map(word).collect();
        let shifted: String = (3..LONG / 4).map(word).collect();
        found_everywhere(&[text.clone(), shifted.clone()], &text);
        found_everywhere(&[text], &shifted);
    }
}

#[test]
fn almost_periodic_texts() {
    // Each line differs from all others in one word.
    let line =
        |i: usize| format!("we hold these truths to be self evident that all men are created equal {i} ");
    let text: String = (0..LONG / 40).map(line).collect();
    let others: String = (0..LONG / 40).map(|i| line(7 * i + 1_000_000)).collect();
    found_everywhere(&[text.clone(), others.clone()], &text);
    let index = index_of(&[text], Parameters::default());
    let passages = find(&index, &others);
    let words = words_of(&others);
    let covered = covered(&passages, None, words.len());
    assert!(
        covered.iter().zip(&words).all(|(covered, word)| *covered || word.starts_with('1') || word.len() > 6)
    );
}

#[test]
fn texts_of_two_words_in_no_order() {
    let mut state = 1u32;
    let mut text = |length: usize| -> String {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 31 == 0 { "yes " } else { "no " }
            })
            .collect()
    };
    let length = LONG / 4;
    let works = [text(LONG), text(LONG)];
    let doc = text(length);
    let index = index_of(&works, Parameters::default());
    let passages = find(&index, &doc);
    // Nearly all of the 4096 runs of twelve words are in the works.
    let count = covered(&passages, None, length).iter().filter(|&&covered| covered).count();
    assert!(count > length * 99 / 100, "{count}");
    assert!(passages.len() < 64 * length);
}

#[test]
fn many_equal_works_report_the_first_ones() {
    let work: String = (0..50).map(|i| format!("w{i} ")).collect();
    let works = vec![work.clone(); 500];
    let passages = check(&works, &work, Parameters::default(), Which::Any);
    let found: Vec<u32> = passages.iter().map(|passage| passage.work).collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(index_of(&works, Parameters::default()).memory_bytes() < 3 * works.len() * work.len());
}

#[test]
fn words_beside_common_ones_are_found_in_their_work() {
    // All works have a licence, and each has words of its own beside it.
    let licence: String = (0..40).map(|i| format!("licence{i} ")).collect();
    let own = |i: usize| -> String { (0..30).map(|j| format!("own{i}x{j} ")).collect() };
    let works: Vec<String> = (0..100).map(|i| format!("{}{licence}{}", own(i), own(1000 + i))).collect();
    let doc = format!("start {}{licence}{}end", own(77), own(1077));
    let passages = check(&works, &doc, Parameters::default(), Which::Any);
    assert_eq!((passages[0].work, passages[0].words), (77, 100));
    // Eleven words of the licence, and one of a work.
    let doc = format!("a b own42x28 own42x29 {} c d", words_of(&licence)[..10].join(" "));
    let passages = check(&works, &doc, Parameters::default(), Which::Any);
    assert_eq!((passages[0].work, passages[0].words), (42, 12));
}

#[test]
fn a_work_that_contains_itself_twice() {
    let half: String = (0..300).map(|i| format!("w{i} ")).collect();
    let passages = check(&[format!("{half}{half}")], &half, Parameters::default(), Which::All);
    let found: Vec<_> = passages.iter().map(|passage| (passage.work_words(), passage.words)).collect();
    assert_eq!(found, [(0..300, 300), (300..600, 300)]);
    let whole = format!("{half}{half}");
    let passages = check(std::slice::from_ref(&whole), &whole, Parameters::default(), Which::All);
    assert_eq!((passages[0].words, passages[0].edits), (600, 0));
}

#[test]
fn empty_and_tiny_works_and_documents() {
    let works: Vec<String> = ["", "one", "...", "just eleven words are not enough for a passage of twelve"]
        .map(String::from)
        .into();
    for doc in ["", "one", "just eleven words are not enough for a passage of twelve", "?!"] {
        assert!(check(&works, doc, Parameters::default(), Which::All).is_empty());
    }
    let index = index_of(&works, Parameters::default());
    assert_eq!((index.works(), index.words(0), index.words(1), index.words(3)), (4, 0, 1, 11));
    assert_eq!((index.id(3), index.id(4), index.words(4), index.longest()), (Some("work 3"), None, 0, 11));
    assert!(find(&index_of(&[], Parameters::default()), "a b c d e f g h i j k l m n o p").is_empty());
}

#[test]
fn huge_words_are_cut_alike() {
    let work = format!("{} and {}", "x".repeat(5000), "\u{1F150}é".repeat(3000));
    let passages = check(
        std::slice::from_ref(&work),
        &format!("before {work} after"),
        Parameters::default(),
        Which::All,
    );
    assert_eq!(passages[0].words as usize, words_of(&work).len());
}

#[test]
fn parameters_are_checked() {
    let with = |change: fn(&mut Parameters)| {
        let mut parameters = Parameters::default();
        change(&mut parameters);
        IndexBuilder::new(parameters).err()
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|p| p.gram = 1), Some(MatchError::Gram { gram: 1 }));
    assert_eq!(with(|p| p.window = 0), Some(MatchError::Window { window: 0 }));
    assert_eq!(with(|p| p.window = 65), Some(MatchError::Window { window: 65 }));
    assert_eq!(with(|p| p.most_edits = 0), Some(MatchError::Edits { percent: 0 }));
    assert_eq!(with(|p| p.most_edits = 51), Some(MatchError::Edits { percent: 51 }));
}
