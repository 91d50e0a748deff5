//! The axes of charts: where their ticks are, and the room that they have.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::Ranged;

use crate::number::{short_count, short_percent};

/// The library counts in whole units: so many of them make a pixel, for smooth curves.
pub(crate) const UNITS: u32 = 4;
pub(crate) const WIDTH: u32 = 600 * UNITS;
/// Height of a chart without the rows above it.
pub(crate) const HEIGHT: u32 = 296 * UNITS;
/// Width of a letter at most, and height of a line, in the size that `style.css` gives text on a small screen.
pub(crate) const LETTER: i32 = 13 * UNITS as i32;
pub(crate) const ROW: i32 = 24 * UNITS as i32;
/// Room around the axes.
pub(crate) const LEFT: u32 = 96 * UNITS;
pub(crate) const RIGHT: u32 = 22 * UNITS;
pub(crate) const ABOVE: u32 = 14 * UNITS;
pub(crate) const BELOW: u32 = 60 * UNITS;
/// Ticks are at least so far from each other, across and upwards.
const APART: [i32; 2] = [52 * UNITS as i32, 36 * UNITS as i32];
/// Space between labels, and between the entries of a legend.
pub(crate) const GAP: i32 = 12 * UNITS as i32;

/// An axis: what it says, and how its values read.
pub(crate) struct Axis<'a> {
    /// What it counts, with the unit. That a scale is logarithmic is added.
    pub(crate) title: &'a str,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) log: bool,
    /// Where ticks are, if not at round values.
    pub(crate) ticks: Option<Vec<f64>>,
    /// The label of a tick. Where it is empty, there is no tick.
    pub(crate) format: &'a dyn Fn(&f64) -> String,
}

impl Axis<'_> {
    /// What is written beside it.
    pub(crate) fn title(&self) -> String {
        match self.title.strip_suffix(')') {
            _ if !self.log => self.title.to_owned(),
            Some(unit) => format!("{unit}, log scale)"),
            None => format!("{} (log scale)", self.title),
        }
    }

    fn scale(&self, ticks: Vec<f64>) -> Scale {
        Scale { from: self.from, to: self.to, log: self.log, ticks }
    }

    /// The axis across: no label reaches the next one.
    pub(crate) fn across(&self) -> Scale {
        self.scale(self.chosen((WIDTH - LEFT - RIGHT) as i32, APART[0], |label| text_width(label) + GAP))
    }

    /// The axis upwards.
    pub(crate) fn upwards(&self) -> Scale {
        self.scale(self.chosen((HEIGHT - ABOVE - BELOW) as i32, APART[1], |_| ROW))
    }

    /// The most ticks at round values that have room and different labels. Those that are given are thinned out.
    fn chosen(&self, length: i32, apart: i32, room: impl Fn(&str) -> i32) -> Vec<f64> {
        let scale = self.scale(Vec::new());
        let placed = |values: Vec<f64>| -> Vec<(f64, i32, String)> {
            let inside = values.into_iter().map(|value| (value, scale.position(value)));
            let inside = inside.filter(|(_, at)| (-1e-9..=1.0 + 1e-9).contains(at));
            let labelled =
                inside.map(|(value, at)| (value, (at * f64::from(length)) as i32, (self.format)(&value)));
            labelled.filter(|(.., label)| !label.is_empty()).collect()
        };
        let between = |a: &str, b: &str| (room(a) + room(b)) / 2;
        if let Some(ticks) = &self.ticks {
            let mut kept: Vec<(f64, i32, String)> = Vec::new();
            for (value, at, label) in placed(ticks.clone()) {
                if kept.last().is_none_or(|last| at - last.1 >= between(&last.2, &label)) {
                    kept.push((value, at, label));
                }
            }
            return kept.into_iter().map(|(value, ..)| value).collect();
        }
        let fits = |ticks: &Vec<(f64, i32, String)>| {
            ticks.windows(2).all(|pair| pair[1].1 - pair[0].1 >= between(&pair[0].2, &pair[1].2).max(apart))
                && (1..ticks.len()).all(|at| ticks[..at].iter().all(|before| before.2 != ticks[at].2))
        };
        let sets = if self.log { log_steps(self.from, self.to) } else { linear_steps(self.from, self.to) };
        let found = sets.into_iter().map(placed).find(fits).unwrap_or_default();
        found.into_iter().map(|(value, ..)| value).collect()
    }
}

/// An axis as the library draws it.
pub(crate) struct Scale {
    from: f64,
    to: f64,
    log: bool,
    ticks: Vec<f64>,
}

impl Scale {
    /// Where a value is: 0 at one end, 1 at the other.
    fn position(&self, value: f64) -> f64 {
        if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let length = f64::from(limit.1 - limit.0);
        limit.0
            + (self.position(*value) * length).round().clamp(-2.0 * length.abs(), 2.0 * length.abs()) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Scale {}

/// The values at round steps within a range, for ever larger steps.
fn linear_steps(from: f64, to: f64) -> Vec<Vec<f64>> {
    let exponent = (to - from).log10().floor() as i32;
    let sizes = (exponent - 2..=exponent).flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| (digit, exponent)));
    let multiples = |(digit, exponent): (f64, i32)| {
        // 0 is added so that no label is "-0". A division by a whole number gives the decimal number that a label names.
        let value = |n: f64| {
            let ten = 10f64.powi(exponent.abs());
            if exponent < 0 { n * digit / ten } else { n * digit * ten }
        };
        let step = value(1.0);
        let (first, last) = ((from / step - 1e-9).ceil() + 0.0, (to / step + 1e-9).floor());
        std::iter::successors(Some(first), |n| Some(n + 1.0)).take_while(|n| *n <= last).map(value).collect()
    };
    sizes.map(multiples).collect()
}

/// The same on a logarithmic scale: three values a power of ten, one, or one in several.
fn log_steps(from: f64, to: f64) -> Vec<Vec<f64>> {
    let powers: Vec<i32> = (from.log10().floor() as i32..=to.log10().ceil() as i32).collect();
    let three = powers.iter().flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * power_of_ten(*power)));
    let every = |step: usize| {
        // From the upper end, which is the whole where shares are counted.
        let mut values: Vec<f64> =
            powers.iter().rev().step_by(step).map(|power| power_of_ten(*power)).collect();
        values.reverse();
        values
    };
    std::iter::once(three.collect()).chain((1..=powers.len()).map(every)).collect()
}

fn power_of_ten(power: i32) -> f64 {
    if power < 0 { 1.0 / 10f64.powi(-power) } else { 10f64.powi(power) }
}

/// The library does not measure text; few letters are wider.
pub(crate) fn text_width(text: &str) -> i32 {
    text.chars().count() as i32 * LETTER
}

/// An axis of shares, with some room above 1.
pub(crate) fn shares(title: &str) -> Axis<'_> {
    Axis { title, from: 0.0, to: 1.05, log: false, ticks: None, format: &share_label }
}

/// An axis of numbers that are counted from 0.
pub(crate) fn counted(title: &str, last: f64) -> Axis<'_> {
    Axis { title, from: 0.0, to: last * 1.03, log: false, ticks: None, format: &|n| short_count(*n) }
}

/// An axis of losses in nats.
pub(crate) fn losses(title: &str, highest: f64) -> Axis<'_> {
    Axis {
        title,
        from: 0.0,
        to: highest * 1.05,
        log: false,
        ticks: None,
        format: &|loss| format!("{loss:.1}"),
    }
}

fn share_label(share: &f64) -> String {
    if *share > 1.01 { String::new() } else { short_percent(*share) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(from: f64, to: f64, log: bool, format: &dyn Fn(&f64) -> String, up: bool) -> Vec<String> {
        let axis = Axis { title: "", from, to, log, ticks: None, format };
        let scale = if up { axis.upwards() } else { axis.across() };
        scale.ticks.iter().map(format).collect()
    }

    #[test]
    fn ticks_are_round_and_no_two_have_the_same_label() {
        let count = |n: &f64| short_count(*n);
        assert_eq!(ticks(0.0, 3.6, false, &count, true), ["0", "1", "2", "3"]);
        assert_eq!(ticks(0.0, 0.31, false, &|loss| format!("{loss:.1}"), true), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(ticks(0.0, 1.05, false, &share_label, true), ["0%", "20%", "40%", "60%", "80%", "100%"]);
        assert_eq!(ticks(0.0, 1_500_000.0, false, &count, false)[..3], ["0", "200k", "400k"]);
        assert_eq!(ticks(-5.3, 0.0, false, &|nats| format!("{nats:.1}"), true).last().unwrap(), "0.0");
        assert!(ticks(0.0, 0.004, false, &|loss| format!("{loss:.1}"), true).len() < 2);
    }

    #[test]
    fn logarithmic_axes_have_powers_of_ten_or_three_values_for_each() {
        let share = |share: &f64| short_percent(*share);
        assert_eq!(ticks(0.1, 1.0, true, &share, true), ["10%", "20%", "50%", "100%"]);
        assert_eq!(ticks(0.001, 1.0, true, &share, true), ["0.1%", "1%", "10%", "100%"]);
        let wide = ticks(1e-8, 1.0, true, &share, true);
        assert!(wide.len() >= 3 && wide.last().unwrap() == "100%", "{wide:?}");
        assert_eq!(ticks(1.0, 90.0, true, &|n| short_count(*n), false), ["1", "2", "5", "10", "20", "50"]);
        let axis = Axis { title: "k", from: 1.0, to: 10.0, log: true, ticks: None, format: &share };
        assert_eq!(axis.title(), "k (log scale)");
        assert_eq!(Axis { title: "length (letters)", ..axis }.title(), "length (letters, log scale)");
    }

    #[test]
    fn labels_across_have_room() {
        let long = |n: &f64| format!("{n:.0} or more of them");
        let at = ticks(0.0, 10.0, false, &long, false);
        assert!((2..5).contains(&at.len()), "{at:?}");
        let given = (0..40).map(f64::from).collect();
        let axis = Axis { title: "", from: 0.0, to: 40.0, log: false, ticks: Some(given), format: &long };
        assert!((2..5).contains(&axis.across().ticks.len()));
    }
}
