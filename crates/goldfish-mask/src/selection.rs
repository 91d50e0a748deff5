//! Which units (words or tokens) of a document are dropped, given a key for each: those below a threshold, and the least
//! of each window without such a one, so that no longer run is kept.
//!
//! Windows that choose their least key are *winnowing* ([Schleimer, Wilkerson and Aiken, SIGMOD
//! 2003](https://doi.org/10.1145/872757.872770)), or minimizers ([Roberts et al.
//! 2004](https://doi.org/10.1093/bioinformatics/bth408)).

use std::collections::VecDeque;

use crate::{MAX_LONGEST_RUN, MaskError};

/// A key is not below the threshold if one of so many keys before it is equal: text that repeats itself (a row of zeros)
/// is neither dropped nor kept whole.
pub(crate) const RECENT: usize = 8;

/// The most units in a row that are kept unless an option says otherwise.
pub(crate) fn default_longest_run(k: u32) -> u32 {
    k.saturating_mul(4).saturating_sub(2).min(MAX_LONGEST_RUN)
}

/// Checks a bound on the run of kept units, and gives the length of a window.
pub(crate) fn check_longest_run(k: u32, longest_run: Option<u32>) -> Result<Option<usize>, MaskError> {
    let Some(run) = longest_run else { return Ok(None) };
    let least = k.saturating_mul(2).saturating_sub(2);
    if run < least || run > MAX_LONGEST_RUN {
        return Err(MaskError::LongestRun { run, k, least, most: MAX_LONGEST_RUN });
    }
    Ok(Some(run as usize + 1))
}

/// One, in fixed point with 62 fractional bits.
const ONE: u128 = 1 << 62;

/// The threshold with which one unit in `k` is dropped in all, of keys that are independent and uniform in 0..2^64: with a
/// bound of `run` and `w = run + 1` the largest `T` (as a fraction of 2^64) with
/// `T + (1 - T)^w (1 - (w - 1)(1 - T) / (w + 1)) <= 1/k`.
///
/// The second summand is the share of units that are the least of a window of `w` without one below the threshold. Computed
/// in integers, so that every machine finds the same one.
pub(crate) fn threshold(k: u32, longest_run: Option<u32>) -> u64 {
    let k = u128::from(k.max(1));
    // The formula is flat there: windows alone drop one in k.
    if longest_run.is_some_and(|run| u128::from(run) <= 2 * k - 2) {
        return 0;
    }
    let Some(run) = longest_run else {
        return u64::try_from((1u128 << 64).div_ceil(k)).unwrap_or(u64::MAX);
    };
    let w = u128::from(run) + 1;
    let rate = |t: u128| {
        let kept = ONE - t;
        // kept^w, by squaring.
        let (mut power, mut square, mut exponent) = (ONE, kept, w);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = (power * square) >> 62;
            }
            square = (square * square) >> 62;
            exponent >>= 1;
        }
        t + ((power * (ONE - (w - 1) * kept / (w + 1))) >> 62)
    };
    let (mut low, mut high) = (0, ONE / k);
    while high - low > 1 {
        let middle = u128::midpoint(low, high);
        if rate(middle) <= ONE / k {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low << 2) as u64
}

/// The last few values of a sequence, side by side in memory.
#[derive(Debug)]
pub(crate) struct Last {
    values: Box<[u64]>,
    end: usize,
    most: usize,
    count: usize,
}

impl Last {
    /// The last `most` values.
    pub(crate) fn new(most: usize) -> Self {
        Self { values: vec![0; 4 * most + 64].into(), end: 0, most, count: 0 }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, value: u64) {
        if self.end == self.values.len() {
            self.values.copy_within(self.end - self.most.., 0);
            self.end = self.most;
        }
        self.values[self.end] = value;
        self.end += 1;
        self.count = self.most.min(self.count + 1);
    }

    /// The last values, as many as there are; the latest one is the last.
    #[inline(always)]
    pub(crate) fn values(&self) -> &[u64] {
        &self.values[self.end - self.count..self.end]
    }
}

/// A unit whose key is the least of those after it in its window.
#[derive(Debug, Clone, Copy)]
struct Candidate<U> {
    /// The key, then the index modulo the window's length: distinct in every window.
    order: (u64, usize),
    index: u64,
    dropped: bool,
    unit: U,
    before: Option<U>,
    after: Option<U>,
}

/// The longest run of kept units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongestKept<U> {
    pub(crate) units: u64,
    /// Its first and its last unit.
    pub(crate) ends: Option<(U, U)>,
}

/// Selects units as their keys come, each at the latest when the window that starts with it is complete.
#[derive(Debug)]
pub(crate) struct Selector<U> {
    threshold: u64,
    /// Units of a window; 0 for no bound.
    window: usize,
    /// Drops every unit.
    all: bool,
    recent: Last,
    /// Units since the last one below the threshold that can be the least of a window, with rising keys.
    least: VecDeque<Candidate<U>>,
    /// Units since the last one below the threshold.
    gap: usize,
    /// Units so far, and the same modulo the window.
    index: u64,
    residue: usize,
    previous: Option<U>,
    /// Index after the last dropped unit, and the first unit of the run since.
    run_start: u64,
    run_first: Option<U>,
    longest: LongestKept<U>,
}

impl<U: Copy> Selector<U> {
    /// A selector with this threshold and window; `all` drops every unit instead.
    pub(crate) fn new(threshold: u64, window: Option<usize>, all: bool) -> Self {
        Self {
            threshold,
            window: window.unwrap_or(0),
            all,
            recent: Last::new(RECENT),
            least: VecDeque::new(),
            gap: 0,
            index: 0,
            residue: 0,
            previous: None,
            run_start: 0,
            run_first: None,
            longest: LongestKept { units: 0, ends: None },
        }
    }

    /// The next unit with its key; calls `drop` for each that is now known to be dropped.
    #[inline(always)]
    pub(crate) fn push(&mut self, key: u64, unit: U, mut drop: impl FnMut(U)) {
        let below = key < self.threshold;
        let below = below && !self.recent.values().iter().fold(false, |found, &other| found | (other == key));
        if below || self.all {
            drop(unit);
            self.ends_run(self.index, self.previous, None);
            self.least.clear();
            self.gap = 0;
        } else {
            if self.run_start == self.index || self.run_first.is_none() {
                self.run_first = Some(unit);
            }
            if self.window > 0 {
                self.offer(key, unit, drop);
            }
        }
        self.recent.push(key);
        self.previous = Some(unit);
        self.index += 1;
        self.residue = if self.residue + 1 >= self.window { 0 } else { self.residue + 1 };
    }

    #[inline(always)]
    fn offer(&mut self, key: u64, unit: U, mut drop: impl FnMut(U)) {
        let (index, order) = (self.index, (key, self.residue));
        if let Some(back) = self.least.back_mut()
            && back.index + 1 == index
        {
            back.after = Some(unit);
        }
        while self.least.back().is_some_and(|back| back.order > order) {
            self.least.pop_back();
        }
        let before = self.previous;
        self.least.push_back(Candidate { order, index, dropped: false, unit, before, after: None });
        self.gap += 1;
        if self.gap < self.window {
            return;
        }
        let oldest = index + 1 - self.window as u64;
        while self.least.front().is_some_and(|front| front.index < oldest) {
            self.least.pop_front();
        }
        let Some(front) = self.least.front_mut().filter(|front| !front.dropped) else { return };
        front.dropped = true;
        let Candidate { index, unit, before, after, .. } = *front;
        drop(unit);
        self.ends_run(index, before, after);
    }

    /// Unit `index` is dropped, after the unit `last` and before `next`.
    #[inline(always)]
    fn ends_run(&mut self, index: u64, last: Option<U>, next: Option<U>) {
        let units = index - self.run_start;
        if units > self.longest.units {
            self.longest = LongestKept { units, ends: self.run_first.zip(last) };
        }
        self.run_start = index + 1;
        self.run_first = next;
    }

    /// The longest run of kept units, now that all have come.
    pub(crate) fn finish(mut self) -> LongestKept<U> {
        self.ends_run(self.index, self.previous, None);
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rate that the formula gives, in floating point.
    fn rate(t: f64, w: f64) -> f64 {
        t + (1.0 - t).powf(w) * (1.0 - (w - 1.0) * (1.0 - t) / (w + 1.0))
    }

    #[test]
    fn thresholds_solve_the_formula() {
        for k in [2, 3, 4, 8, 50, 1000] {
            for run in [2 * k - 2, 3 * k, 4 * k - 2, 8 * k - 2] {
                let t = threshold(k, Some(run)) as f64 / 2f64.powi(64);
                let found = rate(t, f64::from(run) + 1.0) * f64::from(k);
                assert!((found - 1.0).abs() < 1e-9, "k {k}, run {run}: {found}");
            }
            assert_eq!(threshold(k, Some(2 * k - 2)), 0);
            assert_eq!(threshold(k, None), (u64::MAX / u64::from(k)) + 1);
        }
        // Found with Python's fractions, to the last few bits.
        for (k, run, exact) in [(4, 14, 4_519_239_523_068_798_768), (50, 198, 358_029_794_357_696_448)] {
            assert!(threshold(k, Some(run)).abs_diff(exact) < 1 << 12, "k {k}: {}", threshold(k, Some(run)));
        }
    }

    /// From the definition, with no thought of speed.
    fn naive(keys: &[u64], threshold: u64, window: usize) -> Vec<bool> {
        let below: Vec<bool> = (0..keys.len())
            .map(|i| keys[i] < threshold && !keys[i.saturating_sub(RECENT)..i].contains(&keys[i]))
            .collect();
        let mut dropped = below.clone();
        if window > 0 {
            for start in 0..(keys.len() + 1).saturating_sub(window) {
                let within = start..start + window;
                if !below[within.clone()].contains(&true)
                    && let Some(least) = within.min_by_key(|&i| (keys[i], i % window))
                {
                    dropped[least] = true;
                }
            }
        }
        dropped
    }

    proptest! {
        #[test]
        fn selection_equals_its_definition(
            keys in prop::collection::vec(0u64..40, 0..300),
            threshold in 0u64..12,
            window in prop_oneof![Just(0usize), 3usize..20],
        ) {
            let mut dropped = vec![false; keys.len()];
            let bound = (window > 0).then_some(window);
            let mut selector = Selector::new(threshold, bound, false);
            for (i, &key) in keys.iter().enumerate() {
                selector.push(key, i, |unit| dropped[unit] = true);
            }
            prop_assert_eq!(&dropped, &naive(&keys, threshold, window));
            let longest = selector.finish();
            let runs: Vec<&[bool]> = dropped.split(|&dropped| dropped).collect();
            prop_assert_eq!(longest.units, runs.iter().map(|run| run.len() as u64).max().unwrap_or(0));
            if window > 0 {
                prop_assert!(longest.units < window as u64);
            }
            if let Some((first, last)) = longest.ends {
                prop_assert_eq!((last + 1 - first) as u64, longest.units);
                prop_assert!(!dropped[first..=last].contains(&true));
            }
        }
    }
}
