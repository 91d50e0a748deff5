//! The axes of the charts of a page.

use std::collections::HashSet;

use super::dom::{Element, Page};

/// A text of a chart with its place.
struct Text {
    x: i32,
    y: i32,
    anchor: String,
    text: String,
}

/// Checks that no two ticks of an axis have the same label, that each axis has ticks, and that one whose ticks are not evenly
/// spaced by their values says that it is logarithmic. Gives the number of charts.
pub(crate) fn check(page: &Page) -> usize {
    let svgs = page.named("svg").into_iter();
    let charts: Vec<Element> = svgs.filter(|svg| svg.has_class("chart")).collect();
    for chart in &charts {
        let id = chart.attribute("aria-labelledby").unwrap();
        let texts: Vec<Text> = chart.inside().iter().filter(|part| part.name() == "text").map(text).collect();
        let lowest = texts.iter().map(|text| text.y).max().unwrap();
        // The title of the axis across is the lowest text, that of the axis upwards the last one that starts at the left edge.
        let across = texts.iter().find(|text| text.y == lowest).unwrap();
        let up = texts.iter().rfind(|text| text.x == 0 && text.anchor == "start").unwrap();
        let labels = |of: &dyn Fn(&&Text) -> bool| texts.iter().filter(of).collect::<Vec<_>>();
        let upwards = labels(&|text| text.anchor == "end");
        let row =
            texts.iter().filter(|text| text.y < lowest && text.anchor == "middle").map(|text| text.y).max();
        let sideways = labels(&|text| text.anchor == "middle" && Some(text.y) == row);
        for (title, ticks, at) in
            [(across, sideways, (|text: &Text| text.x) as fn(&Text) -> i32), (up, upwards, |text| text.y)]
        {
            let names: HashSet<&str> = ticks.iter().map(|tick| tick.text.as_str()).collect();
            let all: Vec<&str> = ticks.iter().map(|tick| tick.text.as_str()).collect();
            assert!(ticks.len() >= 2, "{id}: {} has the ticks {all:?}", title.text);
            assert_eq!(names.len(), ticks.len(), "{id}: {} repeats ticks: {all:?}", title.text);
            assert!(!names.contains("-0%") && !names.contains("-0.0") && !names.contains("-0"), "{all:?}");
            let values: Option<Vec<(f64, f64)>> =
                ticks.iter().map(|tick| Some((value(&tick.text)?, f64::from(at(tick))))).collect();
            // Of categories there is nothing to say.
            let Some(values) = values.filter(|_| !title.text.contains("up to the next bar")) else {
                continue;
            };
            assert!(even(&values) || title.text.contains("log scale"), "{id}: {}: {all:?}", title.text);
        }
    }
    charts.len()
}

fn text(element: &Element) -> Text {
    let number = |name| element.attribute(name).unwrap().parse().unwrap();
    Text {
        x: number("x"),
        y: number("y"),
        anchor: element.attribute("text-anchor").unwrap(),
        text: element.line(),
    }
}

/// The value that a label names.
fn value(label: &str) -> Option<f64> {
    let plain = label.replace([',', '%'], "");
    let units = [("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
    let unit = units.into_iter().find_map(|(unit, of)| Some((plain.strip_suffix(unit)?, of)));
    let (digits, of) = unit.unwrap_or((&plain, 1.0));
    Some(digits.parse::<f64>().ok()? * of)
}

/// Whether places are those of the values on a line, but for rounding.
fn even(values: &[(f64, f64)]) -> bool {
    let (first, last) = (values[0], values[values.len() - 1]);
    values.iter().all(|(value, at)| {
        let wanted = first.1 + (last.1 - first.1) * (value - first.0) / (last.0 - first.0);
        (at - wanted).abs() < 3.0
    })
}
