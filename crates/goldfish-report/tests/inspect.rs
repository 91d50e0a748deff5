//! The page of an inspection, read as a browser reads it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::dom::{Element, Page};
use common::optional::without_each;
use goldfish_inspect::Inspection;
use goldfish_report::{InspectPage, inspect_page};
use goldfish_shard::Manifest;
use proptest::prelude::*;

fn page_of((inspection, manifest): &(Inspection, Manifest)) -> String {
    let token_text: &dyn Fn(u32) -> Option<String> = &common::token_text;
    let input = InspectPage {
        inspection,
        manifest,
        input_bytes: common::input_bytes(manifest),
        folder: "corpus/masked",
        command: common::COMMAND,
        token_text: Some(token_text),
    };
    inspect_page(&input).unwrap()
}

/// Every shape of page: all parts, a rule with faults, and an inspection without its optional parts.
fn samples() -> Vec<(Inspection, Manifest)> {
    let (mut bare, manifest) = common::healthy();
    bare.tally = None;
    bare.groups = None;
    bare.duplicates = None;
    bare.gaps.survival.clear();
    bare.ids.histogram = vec![0; 20];
    vec![common::healthy(), common::unsound(), (bare, manifest)]
}

/// The cells of the row that starts with `name`, below the element with `id`.
fn row(page: &Page, id: &str, name: &str) -> Vec<String> {
    let rows = page.by_id(id).unwrap().inside().into_iter().filter(|element| element.name() == "tr");
    let cells = |row: Element| -> Vec<String> {
        let cells = row.inside().into_iter().filter(|cell| ["td", "th"].contains(&cell.name().as_str()));
        cells.map(|cell| cell.line()).collect()
    };
    let found = rows.map(cells).find(|cells| cells.first().is_some_and(|first| first.starts_with(name)));
    found.unwrap_or_else(|| panic!("no row {name} in {id}"))
}

/// The elements with a class inside of the element with an id.
fn with_class(page: &Page, id: &str, class: &str) -> Vec<Element> {
    page.by_id(id).unwrap().inside().into_iter().filter(|element| element.has_class(class)).collect()
}

fn number(element: &Element, attribute: &str) -> f64 {
    element.attribute(attribute).unwrap().trim_end_matches('%').parse().unwrap()
}

#[test]
fn a_conforming_parser_finds_no_fault() {
    for sample in samples() {
        let page = Page::parse(&page_of(&sample));
        assert_eq!(page.errors, Vec::<String>::new());
        let ids: Vec<String> = page.elements().iter().filter_map(|element| element.attribute("id")).collect();
        let known: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(known.len(), ids.len(), "an id stands twice");
        for element in page.elements() {
            for id in element.attribute("aria-labelledby").iter().flat_map(|ids| ids.split(' ')) {
                assert!(known.contains(&id.to_owned()), "{id} names nothing");
            }
        }
        let headings = page.elements().into_iter().filter(|element| element.name() == "h2");
        assert_eq!(
            headings.map(|heading| heading.line()).collect::<Vec<_>>(),
            [
                "What was inspected",
                "Where the tokens went",
                "Gaps between dropped tokens",
                "Rates by group",
                "Token ids",
                "Degenerate windows",
                "Duplicates",
                "How to reproduce"
            ]
        );
    }
}

#[test]
fn nothing_comes_from_elsewhere_and_only_the_script_of_all_pages_runs() {
    for sample in samples() {
        let html = page_of(&sample);
        for part in ["http:", "https:", "url(", "@import", "javascript:", "//cdn"] {
            assert!(!html.contains(part), "{part}");
        }
        let page = Page::parse(&html);
        for element in page.elements() {
            let name = element.name();
            let refused = ["link", "img", "image", "iframe", "object", "embed", "base", "form", "use"];
            assert!(!refused.contains(&name.as_str()), "<{name}>");
            for (attribute, value) in element.attributes() {
                assert!(!attribute.starts_with("on") && attribute != "src", "{name} {attribute}={value}");
                assert!(attribute != "href" || value.starts_with('#'), "{name} {attribute}={value}");
            }
        }
        let policy =
            page.named("meta").into_iter().find(|meta| meta.attribute("http-equiv").is_some()).unwrap();
        let policy = policy.attribute("content").unwrap();
        let source = policy
            .strip_prefix("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
            .unwrap();
        assert!(source.len() == 45 && source.ends_with("='"), "{source}");
        let [script] = &page.named("script")[..] else { panic!("one script") };
        assert_eq!(script.text(), include_str!("../templates/page.js"));
        // Each link leads to a part of the page.
        for link in page.named("a") {
            let target = link.attribute("href").unwrap();
            assert!(page.by_id(&target[1..]).is_some(), "{target}");
        }
    }
}

#[test]
fn axes_have_different_ticks_and_say_what_they_are() {
    for sample in samples() {
        common::axes::check(&Page::parse(&page_of(&sample)));
    }
}

#[test]
fn every_chart_says_what_it_shows() {
    for (sample, charts) in samples().iter().zip([4, 4, 1]) {
        let page = Page::parse(&page_of(sample));
        let mut seen = 0;
        for svg in page.named("svg") {
            if svg.attribute("aria-hidden").as_deref() == Some("true") {
                assert!(svg.has_class("bar"), "only bars beside their number need no words");
                continue;
            }
            seen += 1;
            assert_eq!(svg.attribute("role").as_deref(), Some("img"));
            let said: Vec<String> = svg
                .inside()
                .iter()
                .filter(|element| ["title", "desc"].contains(&element.name().as_str()))
                .map(Element::line)
                .collect();
            assert_eq!(said.len(), 2);
            assert!(said[0].len() > 15 && said[1].len() > 30, "{said:?}");
        }
        assert_eq!(seen, charts);
    }
}

#[test]
fn the_numbers_are_those_of_the_inspection() {
    let sample = common::healthy();
    let page = Page::parse(&page_of(&sample));
    let verdict = page.elements().into_iter().find(|element| element.has_class("verdict")).unwrap();
    assert_eq!(
        verdict.line(),
        "The rule text-v1 dropped 25.02% of the tokens that it decided about; 1/k is 25.00%."
    );
    let statistics = page.elements().into_iter().find(|element| element.has_class("statistics")).unwrap();
    assert_eq!(
        statistics.line(),
        "Of what it dropped, 1.55% leaks through copies of passages; with independent masks it would be 75.00%."
    );
    assert_eq!(row(&page, "where", "dropped")[1..], ["4,627,229", "23.00%"]);
    assert_eq!(row(&page, "where", "decided and kept")[1..], ["13,863,715", "68.91%"]);
    assert_eq!(row(&page, "where", "head")[1..], ["211,030", "1.05%"]);
    assert_eq!(row(&page, "where", "without letters")[1..], ["1,394,102", "6.93%"]);
    assert_eq!(row(&page, "where", "special")[1..], ["22,313", "0.11%"]);
    assert_eq!(row(&page, "gaps", "mean"), ["mean", "4.13", "4"]);
    assert_eq!(row(&page, "gaps", "99th percentile"), ["99th percentile", "18", "17"]);
    assert_eq!(row(&page, "gaps", "longest"), ["longest", "212", "–"]);
    assert_eq!(row(&page, "gaps", "kept"), ["kept", "260 tokens"]);
    assert_eq!(
        row(&page, "groups", "code"),
        ["code", "24.98%", "", "4,102", "4,870,114", "21.60%", "160", "9"]
    );
    assert_eq!(row(&page, "groups", "none")[1], "24.68%");
    assert_eq!(row(&page, "ids", "never dropped"), ["never dropped", "391", "160,310"]);
    assert_eq!(row(&page, "ids", "50256"), ["50256", "<|endoftext|>", "22,313"]);
    assert_eq!(
        row(&page, "duplicates", "hash, context 50"),
        ["hash, context 50", "34.40%", "", "46,021", "133,782", "-32.85 ± 2.13"]
    );
    assert_eq!(row(&page, "duplicates", "case"), ["case", "17,400", "0.35%", "70.85%", "71.99%"]);
    assert_eq!(row(&page, "duplicates", "words replaced")[1..3], ["15,210", "12.52%"]);
    assert_eq!(row(&page, "duplicates", "3 to 4"), ["3 to 4", "1,870", "28.88%", "62.04%", "61.97%"]);
    assert_eq!(row(&page, "duplicates", "33 and more, or none")[1..3], ["116,730", "0.12%"]);
    let facts: String = with_class(&page, "what", "facts").iter().map(Element::line).collect();
    for fact in
        ["22,313 of 22,316 rows; 3 rejected", "context = 50 characters", &"8f1e2a9c".repeat(8), "77.55 MiB"]
    {
        assert!(facts.contains(fact), "{fact} in {facts}");
    }
    assert_eq!(page.named("pre")[0].text(), common::COMMAND);

    let page = Page::parse(&page_of(&common::unsound()));
    assert_eq!(row(&page, "windows", "0")[..3], ["0", "2,870,112", "all dropped"]);
    assert_eq!(row(&page, "windows", "591334")[4], "4.02%");
    assert!(
        page.by_id("windows").unwrap().line().contains("59.60% of the positions have 1,204 degenerate keys")
    );
    let warnings = page.elements().into_iter().find(|element| element.has_class("warn")).unwrap();
    assert!(warnings.line().starts_with("⚠ 2 warnings hash-table with context 50 drops 50.01%"));
}

#[test]
fn bars_are_as_long_as_their_numbers() {
    let (inspection, _) = common::healthy();
    let page = Page::parse(&page_of(&common::healthy()));
    let rects = |id: &str, class: &str| -> Vec<Element> {
        let bars = with_class(&page, id, class);
        bars.iter().flat_map(Element::inside).filter(|element| element.name() == "rect").collect()
    };
    // From 0 to twice 1/k, which no group exceeds.
    let groups = &inspection.groups.as_ref().unwrap().rows;
    assert_eq!(rects("groups", "bar").len(), groups.len());
    for (bar, group) in rects("groups", "bar").iter().zip(groups) {
        assert!((number(bar, "width") - 100.0 * group.decided_drop_rate / 0.5).abs() < 1e-3);
    }
    let rules = &inspection.duplicates.as_ref().unwrap().rules;
    for (bar, rule) in rects("duplicates", "bar").iter().zip(rules) {
        assert!((number(bar, "width") - 100.0 * rule.leak.share).abs() < 1e-3);
    }
    // The parts of the stacked bar follow each other without a gap and fill it.
    let mut end = 0.0;
    for part in rects("where", "stack") {
        assert!((number(&part, "x") - end).abs() < 2e-3);
        end += number(&part, "width");
    }
    assert!((end - 100.0).abs() < 1e-2);
}

#[test]
fn charts_are_true_to_scale() {
    let (inspection, _) = common::healthy();
    let page = Page::parse(&page_of(&common::healthy()));
    let marks = |section: &str, name: &str| -> Vec<Element> {
        let charts = with_class(&page, section, "chart");
        let found = charts.iter().flat_map(Element::inside).filter(|element| element.name() == name);
        // The first one is that of the legend.
        found.skip(1).collect()
    };
    let heights: Vec<f64> = marks("ids", "rect").iter().map(|bar| number(bar, "height")).collect();
    let counts: Vec<u64> = inspection.ids.histogram.iter().copied().filter(|&n| n > 0).collect();
    assert_eq!(heights.len(), counts.len());
    let (highest, most) =
        heights.iter().zip(&counts).map(|(&height, &n)| (height, n)).max_by_key(|bar| bar.1).unwrap();
    for (height, n) in heights.iter().zip(&counts) {
        assert!((height / highest - *n as f64 / most as f64).abs() < 0.005, "{n} ids are {height} high");
    }
    // Both axes of the gaps are logarithmic: positions are linear in the logarithms.
    let points: Vec<(f64, f64)> =
        marks("gaps", "circle").iter().map(|c| (number(c, "cx"), number(c, "cy"))).collect();
    let survival = &inspection.gaps.survival;
    assert_eq!(points.len(), survival.len());
    let (first, last) = (points[0], points[points.len() - 1]);
    let (least, longest) =
        (survival[survival.len() - 1].measured.ln(), (survival[survival.len() - 1].gap as f64).ln());
    for (at, point) in points.iter().zip(survival) {
        let x = first.0 + (last.0 - first.0) * (point.gap as f64).ln() / longest;
        let y = first.1 + (last.1 - first.1) * point.measured.ln() / least;
        assert!((at.0 - x).abs() < 3.0 && (at.1 - y).abs() < 3.0, "{point:?} stands at {at:?}, not {x}, {y}");
    }
}

#[test]
fn what_is_missing_says_how_to_get_it() {
    let (mut inspection, manifest) = common::healthy();
    inspection.tally = None;
    inspection.groups = None;
    inspection.duplicates = None;
    let page = Page::parse(&common::plain_page(&inspection, &manifest));
    for (section, option) in [
        ("where", "--tokenizer"),
        ("groups", "--by COLUMN"),
        ("ids", "--tokenizer"),
        ("duplicates", "--duplicates"),
    ] {
        let missing = with_class(&page, section, "missing");
        assert!(missing[0].line().contains(option), "{section} names {option}");
    }
    let verdict = page.elements().into_iter().find(|element| element.has_class("verdict")).unwrap();
    assert_eq!(verdict.line(), "The rule text-v1 dropped 23.00% of all tokens; 1/k is 25.00%.");
}

#[test]
fn every_rule_is_shown_with_its_parameters() {
    let rules = [
        (r#"{"version": 1, "name": "static", "k": 3, "start": 2}"#, "start = 2"),
        (
            r#"{"version": 1, "name": "random", "k": 3, "seed": 18446744073709551615}"#,
            "seed = 18446744073709551615",
        ),
        (
            r#"{"version": 1, "name": "hash", "k": 3, "context": 13, "window": "preceding", "head": "keep", "seed": 1}"#,
            "context = 13 tokens",
        ),
        (
            r#"{"version": 1, "name": "hash-table", "k": 3, "context": 13, "table": {"file": "xxh3:ab"}}"#,
            "xxh3:ab",
        ),
        (r#"{"version": 1, "name": "hash-avalanche", "k": 3, "context": 4}"#, "context = 4 tokens"),
        (
            r#"{"version": 1, "name": "coefficient-sum", "k": 3, "context": 2, "coefficients": [5, -7]}"#,
            "coefficients = [5, -7]",
        ),
        (
            r#"{"version": 2, "name": "text-v1", "k": 3, "context": 9, "unit": "token", "head": "short", "seed": 0}"#,
            "context = 9 characters",
        ),
    ];
    for (rule, parameter) in rules {
        let manifest = common::manifest(serde_json::from_str(rule).unwrap(), 6_000_000);
        let name = manifest.rule.name();
        let page = Page::parse(&page_of(&(common::healthy().0, manifest)));
        let facts = page.by_id("what").unwrap().line();
        assert!(facts.contains(&format!("{name}: one token in 3 is dropped")), "{facts}");
        assert!(facts.contains("k = 3") && facts.contains(parameter), "{facts}");
    }
}

#[test]
fn a_rule_that_keeps_everything_has_no_k() {
    let (mut inspection, _) = common::healthy();
    inspection.gaps.law = None;
    let rule = serde_json::from_str(r#"{"version": 1, "name": "none"}"#).unwrap();
    let mut manifest = common::manifest(rule, 6_000_000);
    manifest.existing_mask = Some("the answers".into());
    let page = Page::parse(&page_of(&(inspection, manifest)));
    let facts = page.by_id("what").unwrap().line();
    assert!(facts.contains("none: every token is kept") && facts.contains("the answers"), "{facts}");
    let verdict = page.elements().into_iter().find(|element| element.has_class("verdict")).unwrap();
    assert!(!verdict.line().contains("1/k"), "{}", verdict.line());
    assert!(!page.by_id("gaps").unwrap().line().contains("geometric law"));
}

/// The page of a sample with `text` wherever a corpus, a folder or a command line may write.
fn hostile(text: &str) -> String {
    let (inspection, manifest) = common::hostile(text);
    let input = InspectPage {
        inspection: &inspection,
        manifest: &manifest,
        input_bytes: common::input_bytes(&manifest),
        folder: text,
        command: text,
        token_text: Some(&|_| Some(text.to_owned())),
    };
    inspect_page(&input).unwrap()
}

#[test]
fn what_a_corpus_wrote_stays_text() {
    let shape = |html: &str| -> Vec<(String, Vec<String>)> {
        let names = |element: &Element| element.attributes().into_iter().map(|(name, _)| name).collect();
        Page::parse(html).elements().iter().map(|element| (element.name(), names(element))).collect()
    };
    for text in [
        "<script>alert(1)</script>",
        "</title></style><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "]]></svg><svg onload=alert(1)>",
        "<!--",
        "{{ 7 * 7 }}{% include 'page.html' %}",
        "&lt;script&gt;&#60;b&#62;",
        "</textarea></p></td></table>",
        "\u{FFFD}`javascript:alert(1)`",
    ] {
        let html = hostile(text);
        assert_eq!(Page::parse(&html).errors, Vec::<String>::new(), "{text}");
        // Of the same length, because the page cuts long texts.
        let harmless = shape(&hostile(&"x".repeat(text.chars().count())));
        assert!(shape(&html) == harmless, "{text} changes the page's elements");
        let page = Page::parse(&html);
        assert_eq!(page.named("pre")[0].text(), text, "and can be read as it was written");
        assert_eq!(page.named("title")[0].line(), format!("goldfish inspect: {text}"));
        assert!(page.by_id("groups").unwrap().text().contains(text));
    }
}

#[test]
fn characters_that_cannot_be_seen_are_named() {
    let text = "a\u{202E}b\u{0}c\u{1B}d\u{200B}e\u{2066}f\u{85}g\u{FFFE}h";
    let html = hostile(text);
    for c in text.chars().filter(|c| !c.is_ascii_lowercase()) {
        assert!(!html.contains(c), "{c:?} stands in the page");
    }
    let page = Page::parse(&html);
    assert_eq!(page.errors, Vec::<String>::new());
    assert_eq!(page.named("pre")[0].text(), "a202Eb0000c001Bd200Be2066f0085gFFFEh");
    let codes: Vec<_> =
        page.named("pre")[0].inside().iter().filter_map(|part| part.attribute("title")).collect();
    assert_eq!(codes, ["U+202E", "U+0000", "U+001B", "U+200B", "U+2066", "U+0085", "U+FFFE"]);
    // Each foreign text keeps its direction to itself.
    for passage in page.elements().iter().filter(|element| element.has_class("passage")) {
        assert_eq!(passage.attribute("dir").as_deref(), Some("auto"));
    }
    assert!(page.named("pre")[0].inside().iter().any(|element| element.name() == "bdi"));
}

#[test]
fn long_texts_and_lists_are_cut_with_a_note() {
    let html = hostile(&"é".repeat(500_000));
    assert!(html.len() < 400_000, "{} bytes", html.len());
    let page = Page::parse(&html);
    assert!(page.named("pre")[0].line().ends_with("… 496,000 more characters"));

    let (mut inspection, manifest) = common::healthy();
    let groups = inspection.groups.as_mut().unwrap();
    groups.rows = vec![groups.rows[0].clone(); 1000];
    let tokens = &mut inspection.duplicates.as_mut().unwrap().worst[0].copies[0].tokens;
    *tokens = vec![tokens[0].clone(); 1000];
    let page = Page::parse(&page_of(&(inspection, manifest)));
    assert!(
        page.by_id("groups")
            .unwrap()
            .line()
            .ends_with("And 940 more groups with fewer tokens; --json lists all.")
    );
    assert!(page.by_id("duplicates").unwrap().line().contains("… 700 more tokens"));
}

#[test]
fn the_longest_pieces_are_shown_with_their_place_and_text() {
    let (mut inspection, manifest) = common::healthy();
    let gaps = |inspection: &Inspection| {
        Page::parse(&page_of(&(inspection.clone(), manifest.clone()))).by_id("gaps").unwrap().line()
    };
    let line = gaps(&inspection);
    for expected in [
        "The rule never keeps more than 14 decided words in a row.",
        "decided words14letters/71,905the marks of the licensor",
        "tokens260letters/71,905| 3.1 | 2.7 |…",
    ] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    inspection.longest_kept.bound = None;
    inspection.longest_kept.decided = None;
    inspection.longest_kept.tokens.text = None;
    let line = gaps(&inspection);
    assert!(!line.contains("never keeps") && !line.contains("decided words"), "{line}");
    let (_, after) = line.split_once("tokens260letters/71,905").unwrap();
    assert!(after.starts_with(" A dash (–) stands for"), "no text, and the first dash is explained: {after}");
}

#[test]
fn an_empty_folder_has_a_page() {
    let empty = serde_json::json!({
        "totals": {"documents": 0, "tokens": 0, "dropped": 0, "drop_rate": 0.0},
        "tally": {"documents": 0, "tokens": 0, "special": 0, "blank": 0, "head": 0, "decided": 0, "dropped": 0,
            "decided_drop_rate": 0.0, "too_short": 0},
        "gaps": {"count": 0, "measured": {"mean": 0.0, "p50": 0, "p99": 0, "max": null},
            "law": {"mean": 4.0, "p50": 3, "p99": 17, "max": null}, "longest_kept": 0, "longest_dropped": 0, "survival": []},
        "longest_kept": {"bound": null, "decided": null, "tokens": {"length": 0, "unit": "tokens", "tokens": 0, "document": 0,
            "doc_id": "", "position": 0, "text": null}},
        "undropped": {"documents": 0, "tokens": 0},
        "windows": {"distinct": 0, "positions": 0, "complete": true, "distinct_keys": 0, "key_space": 7, "threshold": 64,
            "degenerate_keys": 0, "degenerate_positions": 0, "degenerate_share": 0.0, "worst": []},
        "groups": {"column": "source", "rows": []},
        "ids": {"distinct": 0, "least_tokens": 20, "always": {"count": 0, "tokens": 0, "most_frequent": []},
            "never": {"count": 0, "tokens": 0, "most_frequent": []}, "histogram": []},
        "duplicates": {"documents": 0, "characters": 0, "recurring_share": 0.0, "copies": [], "searched": 0,
            "least_characters": 200, "pairs": 0, "near": 0, "passages": 0, "rules": [], "independent": 0.75, "differences": [],
            "distances": [], "worst": []},
        "warnings": []
    });
    let inspection: Inspection = serde_json::from_value(empty).unwrap();
    let html = page_of(&(inspection, common::healthy().1));
    assert_eq!(Page::parse(&html).errors, Vec::<String>::new());
    assert!(!html.contains("NaN") && !html.contains("inf%"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_numbers_make_a_page(
        histogram in prop::collection::vec(any::<u64>(), 0..24),
        survival in prop::collection::vec((any::<u64>(), any::<f64>(), any::<f64>()), 0..6),
        copies in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..40),
        share in any::<f64>(),
    ) {
        let (mut inspection, manifest) = common::healthy();
        inspection.ids.histogram = histogram;
        inspection.gaps.measured.mean = share;
        inspection.gaps.survival =
            survival.into_iter().map(|(gap, measured, law)| goldfish_inspect::GapSurvival { gap, measured, law }).collect();
        inspection.groups.as_mut().unwrap().rows[0].decided_drop_rate = share;
        let duplicates = inspection.duplicates.as_mut().unwrap();
        duplicates.rules[0].leak.share = share;
        duplicates.copies = copies
            .into_iter()
            .map(|(from, to, words)| goldfish_inspect::CopyBucket { from, to, words })
            .collect();
        let sample = (inspection, manifest);
        let html = page_of(&sample);
        prop_assert_eq!(Page::parse(&html).errors, Vec::<String>::new());
        prop_assert_eq!(html, page_of(&sample), "the same inspection makes the same bytes");
    }
}

/// Whatever an inspection or a manifest may leave out, the page says so or passes over it.
#[test]
fn no_value_that_may_be_missing_is_needed() {
    let mut tried = 0;
    for (inspection, manifest) in samples() {
        for (place, less) in without_each(&inspection) {
            let page = inspect_page(&InspectPage {
                inspection: &less,
                manifest: &manifest,
                input_bytes: common::input_bytes(&manifest),
                folder: "f",
                command: "c",
                token_text: None,
            });
            assert!(page.is_ok(), "without {place}: {}", page.unwrap_err());
            tried += 1;
        }
        for (place, less) in without_each(&manifest) {
            let page = inspect_page(&InspectPage {
                inspection: &inspection,
                manifest: &less,
                input_bytes: common::input_bytes(&less),
                folder: "f",
                command: "c",
                token_text: None,
            });
            assert!(page.is_ok(), "without {place}: {}", page.unwrap_err());
            tried += 1;
        }
    }
    assert!(tried > 15, "{tried}");
}
