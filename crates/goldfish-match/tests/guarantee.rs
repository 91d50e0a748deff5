//! Whatever the texts: no run is missed, and nothing is reported that is not there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Which, check, find, index_of, words_of};
use goldfish_mask::TextWords;
use goldfish_match::{Parameters, Search};
use proptest::prelude::*;

fn parameters(gram: u32, window: u32, least_words: u32, most_edits: u32) -> Parameters {
    let mut parameters = Parameters::default();
    (parameters.gram, parameters.window) = (gram, window);
    (parameters.least_words, parameters.most_edits) = (least_words, most_edits);
    parameters
}

/// Words of a vocabulary of some size as text.
fn text(numbers: &[usize], vocabulary: usize) -> String {
    numbers.iter().map(|number| format!("w{} ", number % vocabulary)).collect()
}

/// Pieces of works with words between them.
fn document(works: &[Vec<usize>], pieces: &[(usize, usize, usize)], between: &[usize]) -> Vec<usize> {
    let mut document = between.to_vec();
    for &(work, from, length) in pieces {
        let work = &works[work % works.len()];
        document.extend(work.iter().skip(from).take(length));
        document.extend(between.iter().take(length % 4));
    }
    document
}

fn pieces() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    prop::collection::vec((0usize..5, 0usize..100, 0usize..60), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_of_few_different_words_are_found(
        works in prop::collection::vec(prop::collection::vec(0usize..1000, 0..150), 1..5),
        pieces in pieces(),
        between in prop::collection::vec(0usize..1000, 0..30),
        vocabulary in 1usize..7,
        (gram, window) in (2u32..7, 1u32..8),
        least in 0u32..14,
        edits in 1u32..51,
    ) {
        let doc = text(&document(&works, &pieces, &between), vocabulary);
        let works: Vec<String> = works.iter().map(|work| text(work, vocabulary)).collect();
        check(&works, &doc, parameters(gram, window, least, edits), Which::Any);
    }

    #[test]
    fn runs_of_different_words_are_found_in_every_work(
        works in prop::collection::vec(prop::collection::vec(0usize..1_000_000, 0..150), 1..5),
        shared in prop::collection::vec(0usize..1_000_000, 0..40),
        pieces in pieces(),
        between in prop::collection::vec(0usize..1_000_000, 0..30),
    ) {
        // All works end with the same words.
        let works: Vec<Vec<usize>> = works.iter().map(|work| [&work[..], &shared].concat()).collect();
        let doc = text(&document(&works, &pieces, &between), usize::MAX);
        let works: Vec<String> = works.iter().map(|work| text(work, usize::MAX)).collect();
        check(&works, &doc, Parameters::default(), Which::All);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn natural_text_is_found(pieces in prop::collection::vec((0usize..8000, 5usize..200), 1..6)) {
        let prose = include_str!("../../../fixtures/corpus/prose.jsonl");
        let words = words_of(prose);
        let (indexed, other) = words.split_at(words.len() * 2 / 3);
        let works: Vec<String> = indexed.chunks(1500).map(|work| work.join(" ")).collect();
        let mut doc = Vec::new();
        for (at, length) in pieces {
            doc.extend(indexed.iter().skip(at % indexed.len()).take(length));
            doc.extend(other.iter().skip(at % other.len()).take(length));
        }
        // Sentences of the fixture recur.
        check(&works, &doc.iter().map(|word| format!("{word}, ")).collect::<String>(), Parameters::default(), Which::Any);
    }
}

/// A run of so many words in the middle of a page.
fn quoted(length: usize) -> usize {
    let work: Vec<usize> = (0..500).collect();
    let index = index_of(&[text(&work, usize::MAX)], Parameters::default());
    let found = |from: usize| {
        let page = [&[9000; 40], &work[from..from + length], &[9001; 40]].concat();
        let passages = find(&index, &text(&page, usize::MAX));
        passages.iter().any(|passage| passage.doc_words() == (40..40 + length as u32))
    };
    (0..500 - length).filter(|&from| found(from)).count()
}

#[test]
fn twelve_words_are_found_and_eleven_are_not_reported() {
    assert_eq!(Parameters::default().guaranteed(), 12);
    assert_eq!(quoted(12), 488);
    assert_eq!(quoted(11), 0);
}

#[test]
fn layout_case_and_form_make_no_difference() {
    let work =
        "It was the best of times, it was the worst of times, it was the age of wisdom; ﬁve naïve cafés.";
    let doc = "<p>IT WAS\nthe *best* of   times – it was\tthe worst\u{a0}of times: it was the Age of Wisdom... five nai\u{308}ve cafe\u{301}s</p>";
    let passages = check(&[work.into()], doc, Parameters::default(), Which::All);
    assert_eq!(passages.len(), 1);
    assert_eq!((passages[0].words, passages[0].edits), (21, 0));
}

#[test]
fn scripts_without_spaces_are_found() {
    let chinese = "道可道非常道名可名非常名無名天地之始有名萬物之母故常無欲以觀其妙常有欲以觀其徼";
    let doc = format!("他说：「{}」。", &chinese[9..90]);
    let passages = check(&[chinese.into()], &doc, Parameters::default(), Which::All);
    assert_eq!((passages[0].work_words(), passages[0].words), (3..30, 27));
    let thai = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิต่างมีเหตุผลและมโนธรรมและควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ";
    let doc = format!("ข้อ ๑ {thai} จบ");
    let passages = check(&[thai.into()], &doc, Parameters::default(), Which::All);
    assert_eq!(passages[0].words as usize, words_of(thai).len());
}

/// A document that is one of the works is found in the others, and at the places where it repeats itself.
#[test]
fn a_document_is_searched_for_elsewhere() {
    let words = |first: usize, count: usize| (first..first + count).collect::<Vec<_>>();
    let own = [words(0, 100), words(500, 40), words(20, 30), words(600, 100)].concat();
    let other = [words(900, 50), words(610, 60)].concat();
    let works = [text(&other, usize::MAX), text(&own, usize::MAX)];
    let index = index_of(&works, Parameters::default());
    let mut doc = TextWords::default();
    doc.read(&works[1]).unwrap();
    let mut search = Search::new(&index);
    let found: Vec<_> = search
        .find_elsewhere(&doc, 1)
        .iter()
        .map(|passage| (passage.work, passage.work_words(), passage.doc_words()))
        .collect();
    assert_eq!(found, [(0, 50..110, 180..240), (1, 20..50, 140..170), (1, 140..170, 20..50)]);
    // Words that repeat themselves at once lead to places close by, but not on to the document's own ones.
    let stutter = |n: usize| {
        [words(0, 300), vec![7; n], words(400, 80), vec![7; n], words(400, 80), words(700, 300)].concat()
    };
    for n in [4, 12, 24] {
        let text = text(&stutter(n), usize::MAX);
        let index = index_of(std::slice::from_ref(&text), Parameters::default());
        let mut doc = TextWords::default();
        doc.read(&text).unwrap();
        let mut search = Search::new(&index);
        let found = search.find_elsewhere(&doc, 0);
        let own = |block: &goldfish_match::Block| block.doc_start == block.work_start;
        assert!(!found.iter().flat_map(|passage| &passage.blocks).any(own), "{n}: {found:?}");
        let long: Vec<_> = found.iter().filter(|passage| passage.words >= 80).collect();
        assert_eq!(long.len(), 2, "{n}: {found:?}");
        assert!(found.iter().all(|passage| passage.words < 80 + 2 * n as u32 + 1), "{n}: {found:?}");
    }
    let [own, ..] = search.find(&doc) else { panic!("nothing found") };
    assert_eq!((own.work, own.words), (1, 270));
}
