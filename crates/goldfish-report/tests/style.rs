//! The style of all pages: contrast in both schemes, and no color of a chart without its counterpart.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

const STYLE: &str = include_str!("../templates/style.css");

/// The colors of the light scheme, and those of the dark one.
fn schemes() -> [BTreeMap<String, String>; 2] {
    let colours = |block: &str| -> BTreeMap<String, String> {
        let declarations = block.split([';', '{', '}']).filter_map(|line| line.trim().split_once(": "));
        let colours = declarations.filter(|(name, value)| name.starts_with("--") && value.starts_with('#'));
        colours.map(|(name, value)| (name[2..].to_owned(), value.to_owned())).collect()
    };
    let mut blocks = STYLE.split(":root {").skip(1).map(|block| colours(block.split('}').next().unwrap()));
    [blocks.next().unwrap(), blocks.next().unwrap()]
}

/// Relative luminance by WCAG 2.2.
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
    a.max(b) / a.min(b)
}

#[test]
fn both_schemes_have_the_same_colours_with_enough_contrast() {
    let [light, dark] = schemes();
    assert_eq!(light.keys().collect::<Vec<_>>(), dark.keys().collect::<Vec<_>>());
    let pairs = [
        // Text: 4.5 to 1.
        ("text", "page", 4.5),
        ("text", "raised", 4.5),
        ("muted", "page", 4.5),
        ("muted", "raised", 4.5),
        ("data", "page", 4.5),
        ("reference", "page", 4.5),
        ("reference", "reference-soft", 3.0),
        ("text", "reference-soft", 4.5),
        ("text", "data-soft", 4.5),
        ("muted", "data-soft", 4.5),
        ("third", "page", 4.5),
        ("fourth", "page", 4.5),
        ("good", "page", 4.5),
        ("good", "good-soft", 4.5),
        ("text", "good-soft", 4.5),
        ("warn", "warn-soft", 4.5),
        ("text", "warn-soft", 4.5),
        // Marks: 3 to 1.
        ("data", "data-soft", 3.0),
        ("quiet-1", "page", 3.0),
    ];
    for scheme in [&light, &dark] {
        for (a, b, least) in pairs {
            let found = contrast(&scheme[a], &scheme[b]);
            assert!(found >= least, "{a} {} on {b} {}: {found:.2}, less than {least}", scheme[a], scheme[b]);
        }
    }
}

/// The deepest color of a mark in a text leaves the text and the mark's line enough contrast.
#[test]
fn marks_in_texts_have_enough_contrast() {
    let part = STYLE.split(".m.w4 { --part: ").nth(1).unwrap().split('%').next().unwrap();
    let part: f64 = part.parse::<f64>().unwrap() / 100.0;
    for scheme in schemes() {
        let channel =
            |colour: &str, at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap());
        let mixed = [1, 3, 5].map(|at| {
            let mixed = part * channel(&scheme["data"], at) + (1.0 - part) * channel(&scheme["page"], at);
            format!("{:02x}", mixed.round() as u8)
        });
        let ground = format!("#{}", mixed.concat());
        for (colour, least) in [("text", 4.5), ("data", 3.0)] {
            let found = contrast(&scheme[colour], &ground);
            assert!(found >= least, "{colour} on {ground}: {found:.2}, less than {least}");
        }
    }
}

#[test]
fn every_colour_of_a_chart_follows_the_scheme() {
    let (inspection, manifest) = common::healthy();
    let html = common::plain_page(&inspection, &manifest);
    let (style, body) = html.split_once("</style>").unwrap();
    let mut used = BTreeSet::new();
    for attribute in ["fill=\"#", "stroke=\"#"] {
        used.extend(
            body.match_indices(attribute)
                .map(|(at, _)| body[at..].split_inclusive('"').take(2).collect::<String>()),
        );
    }
    assert!(used.len() >= 5, "{used:?}");
    for colour in used {
        assert!(style.contains(&format!("svg.chart [{colour}]")), "{colour} is not in style.css");
    }
}
