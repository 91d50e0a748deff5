//! How the values of many probes are spread, in memory that doesn't grow with their number.

use std::collections::BTreeMap;

use goldfish_audit::ResultRow;
use goldfish_audit::score::position;

const ROUGE_L: usize = position("rouge_l");
const LOG_P_Z: usize = position("log_p_z");
const LOSS_DROPPED: usize = position("loss_dropped");
const LOSS_KEPT: usize = position("loss_kept");

/// Counts of values by steps of one width.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    step: f64,
    counts: BTreeMap<i64, u64>,
    /// Values in all.
    pub(crate) total: u64,
}

/// Values beyond this many steps from 0 count as lying there.
const MOST_STEPS: f64 = 100_000.0;

impl Histogram {
    fn new(step: f64) -> Self {
        Self { step, counts: BTreeMap::new(), total: 0 }
    }

    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let at = (value / self.step).floor().clamp(-MOST_STEPS, MOST_STEPS) as i64;
            *self.counts.entry(at).or_default() += 1;
            self.total += 1;
        }
    }

    /// First step with a value, and the end of the last one.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let (first, last) = (*self.counts.keys().next()?, *self.counts.keys().next_back()?);
        Some((first as f64 * self.step, (last + 1) as f64 * self.step))
    }

    /// `(from, to, share of the values)` for steps of `steps` of the histogram's own, between two ends.
    pub(crate) fn shares(&self, from: f64, to: f64, steps: i64) -> Vec<(f64, f64, f64)> {
        let width = self.step * steps as f64;
        let (first, last) = ((from / width).floor() as i64, (to / width).ceil() as i64);
        let share = |bin: i64| {
            let found: u64 = self.counts.range(bin * steps..(bin + 1) * steps).map(|(_, count)| count).sum();
            let share = if self.total == 0 { 0.0 } else { found as f64 / self.total as f64 };
            (bin as f64 * width, (bin + 1) as f64 * width, share)
        };
        (first..last.max(first + 1)).map(share).collect()
    }

    /// How many of its own steps make one of `bins` at most between two ends.
    pub(crate) fn steps_for(&self, from: f64, to: f64, bins: u32) -> i64 {
        (((to - from) / self.step / f64::from(bins)).ceil() as i64).max(1)
    }
}

/// The values of a set of probes.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    /// Probes.
    pub(crate) probes: u64,
    match_lengths: BTreeMap<u32, u64>,
    /// Rouge-L F1 in steps of 0.05; 1 has a step of its own.
    pub(crate) rouge_l: Histogram,
    /// Base-10 log of the probability of drawing the suffix.
    pub(crate) log10_p: Histogram,
    /// Suffixes that can't be drawn.
    pub(crate) never_drawn: u64,
    /// Loss on dropped tokens.
    pub(crate) loss_dropped: Histogram,
    /// Loss on kept tokens, in probes with a mask.
    pub(crate) loss_kept: Histogram,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            probes: 0,
            match_lengths: BTreeMap::new(),
            rouge_l: Histogram::new(0.05),
            log10_p: Histogram::new(0.25),
            never_drawn: 0,
            loss_dropped: Histogram::new(0.05),
            loss_kept: Histogram::new(0.05),
        }
    }
}

impl Spread {
    /// Counts a probe.
    pub(crate) fn add(&mut self, row: &ResultRow) {
        let log_p_z = row.scores[LOG_P_Z];
        self.probes += 1;
        *self.match_lengths.entry(row.match_length).or_default() += 1;
        // A value on an edge belongs to the step that it opens, whichever way its last bit was rounded.
        self.rouge_l.add(row.scores[ROUGE_L].map(|value| value + 1e-9));
        self.log10_p.add(log_p_z.map(|log_p| log_p.min(0.0) / std::f64::consts::LN_10 - 1e-9));
        self.never_drawn += u64::from(log_p_z == Some(f64::NEG_INFINITY));
        self.loss_dropped.add(row.scores[LOSS_DROPPED]);
        self.loss_kept.add(row.scores[LOSS_KEPT]);
    }

    /// `(length, share of the probes whose match is at least that long)`, from 0 on.
    pub(crate) fn survival(&self) -> Vec<(u32, f64)> {
        let mut left = self.probes;
        let mut points = vec![(0, 1.0)];
        for (length, count) in &self.match_lengths {
            if *length > 0 && self.probes > 0 {
                points.push((*length, left as f64 / self.probes as f64));
            }
            left -= count;
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(match_length: u32, rouge_l: f64, log_p_z: f64) -> ResultRow {
        let mut row = ResultRow { match_length, ..ResultRow::default() };
        row.scores["rouge_l"] = Some(rouge_l);
        row.scores["log_p_z"] = Some(log_p_z);
        row
    }

    #[test]
    fn by_hand() {
        let mut spread = Spread::default();
        for row in [row(0, 0.1, -23.1), row(3, 0.15, f64::NEG_INFINITY), row(3, 0.2, 0.0), row(8, 1.0, -2.4)]
        {
            spread.add(&row);
        }
        assert_eq!(spread.survival(), [(0, 1.0), (3, 0.75), (8, 0.25)]);
        assert_eq!(spread.never_drawn, 1);
        let filled = |shares: Vec<(f64, f64, f64)>| -> Vec<(String, f64)> {
            let filled = shares.into_iter().filter(|(.., share)| *share > 0.0);
            filled.map(|(from, _, share)| (format!("{from:.2}"), share)).collect()
        };
        let quarter = |from: &str| (from.to_owned(), 0.25);
        let rouge = filled(spread.rouge_l.shares(0.0, 1.05, 1));
        assert_eq!(rouge, ["0.10", "0.15", "0.20", "1.00"].map(quarter));
        // Of the three that can be drawn: 10^-10.03, 1 and 10^-1.04, in whole decades.
        let (from, to) = spread.log10_p.range().unwrap();
        let decades: Vec<String> =
            filled(spread.log10_p.shares(from, to, 4)).into_iter().map(|(from, _)| from).collect();
        assert_eq!(decades, ["-11.00", "-2.00", "-1.00"]);
    }
}
