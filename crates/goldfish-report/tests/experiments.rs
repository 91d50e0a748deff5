//! The pages of experiments.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::dom::{Element, Page};
use common::{axes, experiments};

fn pages() -> [(Page, usize); 4] {
    let of = |html: String| {
        let page = Page::parse(&html);
        assert_eq!(page.errors, Vec::<String>::new());
        page
    };
    [
        (of(experiments::sweep()), 7),
        (of(experiments::copy()), 2),
        (of(experiments::memory()), 2),
        (of(experiments::repair()), 4),
    ]
}

fn with_class(page: &Page, class: &str) -> Vec<Element> {
    page.elements().into_iter().filter(|element| element.has_class(class)).collect()
}

#[test]
fn axes_have_different_ticks_and_say_what_they_are() {
    for (page, charts) in pages() {
        assert_eq!(axes::check(&page), charts);
    }
}

#[test]
fn the_verdict_is_a_line_with_the_statistics_below() {
    let verdicts = pages().map(|(page, _)| {
        let [verdict] = &with_class(&page, "verdict")[..] else { panic!("one verdict") };
        assert!(verdict.line().chars().count() < 100, "{}", verdict.line());
        (verdict.line(), with_class(&page, "statistics")[0].line())
    });
    let told = |verdict: &str, statistics: &str| (verdict.to_owned(), statistics.to_owned());
    assert_eq!(
        verdicts,
        [
            told(
                "Equal copies: with k = 4 the rule text recites 4 of 160 passages, the standard loss 160.",
                "Equal copies, recited of 160 passages with k = 4 unless said: standard loss 160, text 4, text-v1 5, anchor 6, hash 7, random 160, never seen 0."
            ),
            told(
                "At length 200, nope gets most characters right, 24.50%, and hard-alibi fewest, 0%.",
                "llama: 90.00% of the characters at length 20, 22.50% of the characters at length 200."
            ),
            told(
                "Letters of facts right after 4 later ones: standard 60.00%, masked 30.00%.",
                "standard: 90.00% of the letters after 0 later facts, 60.00% of the letters after 4 later facts."
            ),
            told(
                "Of 192 passages that were recited, preference leaves 120, mask leaves 40.",
                "preference: 192 of 192 passages recited before, 120 after 20 steps; loss on other text 2.03 before, 2.03 after (+0.2%)."
            ),
        ]
    );
}

#[test]
fn a_sweep_says_what_is_more_and_less_in_words_after_a_sign() {
    let (page, _) = &pages()[0];
    let equal = page.by_id("equal").unwrap();
    let row = |name: &str| {
        let rows = equal.inside().into_iter().filter(|row| row.name() == "tr");
        let mut rows = rows.filter(|row| row.inside()[1].line() == name);
        let cells = rows.next().unwrap().inside().into_iter().filter(|cell| cell.name() == "td");
        cells.map(|cell| cell.line()).next().unwrap()
    };
    assert_eq!(row("standard"), "160 of 16094.00% to 100.00%");
    assert_eq!(row("text, k = 4"), "4 of 1600% to 8.50%▼ recites less");
    assert_eq!(row("random, k = 4"), "160 of 16094.00% to 100.00%● may be chance");
}

#[test]
fn a_dash_is_explained_once_in_the_first_section_that_has_one() {
    let (sweep, _) = &pages()[0];
    let notes = with_class(sweep, "dash");
    assert_eq!(notes.len(), 1);
    assert!(notes[0].line().starts_with("A dash (–) stands for"));
    let equal = sweep.by_id("equal").unwrap();
    assert!(equal.inside().iter().any(|element| element.has_class("dash")));
    // No number is missing on the page of a copy task.
    assert!(with_class(&pages()[1].0, "dash").is_empty());
}
