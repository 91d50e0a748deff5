//! Which units (words or tokens) of a document are dropped, given a key for each: those below a threshold, and the least
//! of each window without such a one, so that no longer run is kept.
//!
//! Windows that choose their least key are *winnowing* ([Schleimer, Wilkerson and Aiken, SIGMOD
//! 2003](https://doi.org/10.1145/872757.872770)), or minimizers ([Roberts et al.
//! 2004](https://doi.org/10.1093/bioinformatics/bth408)).

use std::collections::VecDeque;

use crate::{LongestRunOption, MAX_LONGEST_RUN, MaskError};

/// A key is not below the threshold if one of so many keys before it is equal: text that repeats itself (a row of zeros)
/// is neither dropped nor kept whole.
pub(crate) const RECENT: usize = 8;

/// The most units in a row that are kept unless an option says otherwise.
pub(crate) fn default_longest_run(k: u32) -> u32 {
    k.saturating_mul(4).saturating_sub(2).min(MAX_LONGEST_RUN)
}

/// The most units in a row that an option allows, or the default.
pub(crate) fn given_longest_run(option: Option<LongestRunOption>, k: u32) -> Option<u32> {
    option.map_or_else(|| Some(default_longest_run(k)), LongestRunOption::most)
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

/// The least of every `width` consecutive values, 256 at most: that of `values[i..i + width]` is afterwards the less of number `i` and
/// number `i + offset`, with the offset that is returned.
#[inline(always)]
pub(crate) fn least_in_row<T: Ord + Copy>(values: &mut [T], width: usize) -> usize {
    // Each becomes the least of as many from it on as a power of two, the largest one in `width` in the end. The powers are
    // constants, so that the loops become vector instructions although they read what they write.
    let mut reach = 1;
    if width >= 4 {
        least_of_four::<1, T>(values);
        reach = 4;
    }
    if width >= 16 {
        least_of_four::<4, T>(values);
        reach = 16;
    }
    if width >= 64 {
        least_of_four::<16, T>(values);
        reach = 64;
    }
    if width >= 2 * reach {
        match reach {
            1 => least_of_two::<1, T>(values),
            4 => least_of_two::<4, T>(values),
            16 => least_of_two::<16, T>(values),
            _ => least_of_two::<64, T>(values),
        }
        reach *= 2;
    }
    width - reach
}

#[inline(always)]
fn least_of_two<const APART: usize, T: Ord + Copy>(values: &mut [T]) {
    for at in 0..values.len().saturating_sub(APART) {
        values[at] = values[at].min(values[at + APART]);
    }
}

#[inline(always)]
fn least_of_four<const APART: usize, T: Ord + Copy>(values: &mut [T]) {
    for at in 0..values.len().saturating_sub(3 * APART) {
        let (a, b) = (values[at].min(values[at + APART]), values[at + 2 * APART].min(values[at + 3 * APART]));
        values[at] = a.min(b);
    }
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

/// Keys that are looked at together.
pub(crate) const BLOCK: usize = 1024;

/// Units for which memory is kept after an unusual document.
const KEPT_UNITS: usize = 1 << 16;

/// Keys that are compared with the threshold together.
const BITS: usize = 64;

/// Keys of earlier blocks that are kept, so that a run that is too short for a window need not be looked at.
const KEPT: usize = 256;

/// The least of the last units, as many as a window has.
#[derive(Debug)]
pub(crate) struct Least {
    window: usize,
    /// Units so far.
    count: usize,
    /// Key, number modulo the window, and number of those that can still become the least, with rising keys.
    candidates: VecDeque<(u64, usize, usize)>,
}

impl Least {
    /// Of windows of so many units, 0 for none.
    pub(crate) fn new(window: usize) -> Self {
        Self { window, count: 0, candidates: VecDeque::new() }
    }

    /// Forgets all units.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.candidates.clear();
    }

    /// Takes the next unit: its key, its number in the document modulo the window, and any number that rises with it. Gives the
    /// latter of the least unit of the window that ends here, if there are enough units.
    #[inline]
    pub(crate) fn push(&mut self, key: u64, residue: usize, number: usize) -> Option<usize> {
        while self.candidates.back().is_some_and(|last| (last.0, last.1) > (key, residue)) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((key, residue, number));
        self.count += 1;
        if self.count < self.window {
            return None;
        }
        while self.candidates.front().is_some_and(|first| first.2 + self.window <= number) {
            self.candidates.pop_front();
        }
        self.first()
    }

    /// Number of the first unit that may still become the least.
    pub(crate) fn first(&self) -> Option<usize> {
        self.candidates.front().map(|first| first.2)
    }
}

/// The longest run of kept units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LongestKept {
    pub(crate) units: usize,
    /// Number of its first unit.
    pub(crate) start: usize,
}

/// Selects among the units of a document, which are numbered in the order in which their keys come.
#[derive(Debug)]
pub(crate) struct Selector {
    threshold: u64,
    /// Units of a window; 0 for no bound.
    window: usize,
    /// Drops every unit.
    all: bool,
    /// The last few keys of earlier blocks, then those of this block, then room.
    keys: Box<[u64; KEPT + BLOCK + BITS]>,
    /// How many keys of earlier blocks these are.
    known: usize,
    /// How many keys there are in all.
    filled: usize,
    /// Number of the first unit of this block.
    start: usize,
    /// The units since the last one that is dropped for its key, up to `fed`.
    least: Least,
    /// Number after the last unit that is dropped for its key.
    since: usize,
    /// Number of the first unit that `least` does not know.
    fed: usize,
    /// Number after the last dropped unit.
    run_start: usize,
    longest: LongestKept,
}

impl Selector {
    /// A selector with this threshold and window; `all` drops every unit instead. It takes the memory of an earlier one.
    pub(crate) fn new(threshold: u64, window: Option<usize>, all: bool, earlier: Option<Self>) -> Self {
        let window = window.unwrap_or(0);
        let (keys, mut least) = match earlier {
            Some(Self { keys, least, .. }) => (keys, Least { window, ..least }),
            None => (Box::new([0; _]), Least::new(window)),
        };
        least.clear();
        least.candidates.shrink_to(KEPT_UNITS);
        Self {
            threshold,
            window,
            all,
            keys,
            known: 0,
            filled: 0,
            start: 0,
            least,
            since: 0,
            fed: 0,
            run_start: 0,
            longest: LongestKept::default(),
        }
    }

    /// Takes the key of the next unit; says whether the block is full, so that [`block`](Self::block) must be called.
    #[inline(always)]
    #[must_use]
    pub(crate) fn push(&mut self, key: u64) -> bool {
        self.keys[self.filled] = key;
        self.filled += 1;
        self.filled == self.known + BLOCK
    }

    /// Selects among the units whose keys came since the last call: calls `drop` with the number of each that is now known to be
    /// dropped, in order.
    #[inline(always)]
    pub(crate) fn block(&mut self, mut drop: impl FnMut(usize)) {
        let end = self.start + self.filled - self.known;
        if self.all {
            (self.start..end).for_each(drop);
            (self.run_start, self.since, self.fed) = (end, end, end);
            return self.next_block(end);
        }
        let mut at = self.known;
        while at < self.filled {
            let count = (self.filled - at).min(BITS);
            let mut bits = 0;
            for (i, eight) in self.keys[at..at + BITS].as_chunks::<8>().0.iter().enumerate() {
                let below = |bit: usize| u64::from(eight[bit] < self.threshold) << bit;
                bits |= (0..8).map(below).fold(0, |byte, bit| byte | bit) << (8 * i);
            }
            bits &= u64::MAX >> (BITS - count);
            while bits != 0 {
                let key = at + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let number = self.start + key - self.known;
                if self.repeats(key) {
                    continue;
                }
                if self.window > 0 && number - self.since >= self.window {
                    self.feed(number, &mut drop);
                }
                drop(number);
                self.ends_run(number);
                self.least.clear();
                (self.since, self.fed) = (number + 1, number + 1);
            }
            at += count;
        }
        // A shorter run is looked at once it has grown.
        if self.window > 0 && (end - self.since >= self.window || end - self.fed > KEPT) {
            self.feed(end, &mut drop);
        }
        self.next_block(end);
    }

    /// Whether one of the keys just before this one is equal.
    #[inline(always)]
    fn repeats(&self, key: usize) -> bool {
        let own = self.keys[key];
        let before = &self.keys[key.saturating_sub(RECENT)..key];
        match before.first_chunk::<RECENT>() {
            Some(before) => before.iter().fold(false, |found, &other| found | (other == own)),
            None => before.contains(&own),
        }
    }

    #[inline(always)]
    fn next_block(&mut self, start: usize) {
        let unknown = if self.window > 0 { start - self.fed } else { 0 };
        let known = self.filled.min(RECENT.max(unknown));
        self.keys.copy_within(self.filled - known..self.filled, 0);
        (self.known, self.filled, self.start) = (known, known, start);
    }

    /// Takes the units before number `end` into the windows, and drops the least of each.
    #[inline(never)]
    fn feed(&mut self, end: usize, drop: &mut impl FnMut(usize)) {
        let mut residue = self.fed % self.window;
        for number in self.fed..end {
            let key = self.keys[self.known + number - self.start];
            // Those before `run_start` were dropped already.
            if let Some(least) =
                self.least.push(key, residue, number).filter(|&least| least >= self.run_start)
            {
                drop(least);
                self.ends_run(least);
            }
            residue = if residue + 1 == self.window { 0 } else { residue + 1 };
        }
        self.fed = self.fed.max(end);
    }

    /// The unit of this number is dropped.
    #[inline(always)]
    fn ends_run(&mut self, number: usize) {
        let units = number - self.run_start;
        if units > self.longest.units {
            self.longest = LongestKept { units, start: self.run_start };
        }
        self.run_start = number + 1;
    }

    /// Ends the run of kept units, after the last block.
    fn end(&mut self) {
        self.ends_run(self.start);
    }

    /// The longest run of kept units that ended.
    pub(crate) fn longest(&self) -> LongestKept {
        self.longest
    }

    /// Number of the first unit that may still be dropped or begin the longest run.
    pub(crate) fn needed(&self) -> usize {
        self.least.first().unwrap_or(self.fed).min(self.run_start).min(self.fed)
    }
}

/// What units are, by their numbers, as long as it is asked for.
#[derive(Debug)]
pub(crate) struct Units<U> {
    units: Vec<U>,
    /// Number of the first.
    first: usize,
    longest: LongestKept,
    /// First and last unit of the longest run.
    ends: Option<(U, U)>,
}

impl<U: Copy> Units<U> {
    pub(crate) fn new() -> Self {
        Self { units: Vec::new(), first: 0, longest: LongestKept::default(), ends: None }
    }

    #[inline(always)]
    pub(crate) fn get(&self, number: usize) -> U {
        self.units[number - self.first]
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, unit: U) {
        self.units.push(unit);
    }

    /// Notes the longest run so far, and forgets the units before number `needed`.
    pub(crate) fn settle(&mut self, longest: LongestKept, needed: usize) {
        if longest != self.longest {
            let last = longest.start + longest.units - 1;
            (self.longest, self.ends) = (longest, Some((self.get(longest.start), self.get(last))));
        }
        self.units.drain(..needed - self.first);
        self.first = needed;
    }

    /// Ends the document after its last block; gives the longest run in units, with its first and last one.
    pub(crate) fn finish(&mut self, selector: &mut Selector) -> Option<(usize, (U, U))> {
        selector.end();
        self.settle(selector.longest(), self.first);
        let longest = self.ends.map(|ends| (self.longest.units, ends));
        self.units.clear();
        self.units.shrink_to(KEPT_UNITS);
        (self.first, self.longest, self.ends) = (0, LongestKept::default(), None);
        longest
    }
}

#[cfg(test)]
#[path = "../tests/naive/selection.rs"]
mod naive_selection;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::naive_selection::select;
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

    proptest! {
        #[test]
        fn selection_equals_its_definition(
            keys in prop_oneof![prop::collection::vec(0u64..40, 0..300), prop::collection::vec(0u64..900, 400..1400)],
            threshold in 0u64..12,
            window in prop_oneof![Just(0usize), 3usize..20],
        ) {
            let mut dropped = vec![false; keys.len()];
            let bound = (window > 0).then_some(window);
            let mut selector = Selector::new(threshold, bound, false, None);
            for &key in &keys {
                if selector.push(key) {
                    selector.block(|unit| dropped[unit] = true);
                }
            }
            selector.block(|unit| dropped[unit] = true);
            selector.end();
            let longest = selector.longest();
            let bound = bound.map(|window| window as u32 - 1);
            prop_assert_eq!(&dropped, &select(&keys, &vec![false; keys.len()], (threshold, bound), 0));
            let runs: Vec<&[bool]> = dropped.split(|&dropped| dropped).collect();
            prop_assert_eq!(longest.units, runs.iter().map(|run| run.len()).max().unwrap_or(0));
            prop_assert!(window == 0 || longest.units < window);
            prop_assert!(!dropped[longest.start..][..longest.units].contains(&true));
        }
    }
}
