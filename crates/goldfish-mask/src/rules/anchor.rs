//! The rule `anchor`: decisions for tokens, from two of the tokens before them.

use std::fmt;
use std::ops::Range;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{ANCHOR_CONTEXT, ShortContext, check_anchor_context, check_k, longest_run_name};
use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::AfterPrefix;
use crate::rules::anchor_keys::Keys;
use crate::rules::anchor_runs::{
    LONGEST_WINDOW, MEDIUM, Modulo, PIECE, SHORT, dropped_bits, ends_of_runs, greatest_of_least,
    index_of_least,
};
use crate::rules::lanes::{TOGETHER, simd_dispatch};
use crate::runs::LongestRun;
use crate::selection::{Least, RECENT, check_longest_run, default_longest_run, given_longest_run, threshold};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, RunUnit, UniformTable};

/// Drops about one token in `k`, chosen by a hash of the token before it and of an *anchor*, the one that ranks least among
/// the `context` tokens before it; and never keeps more than [`longest_run`](Self::longest_run) tokens in a row. It is
/// [`Text`](crate::rules::Text) over token ids: an edited token changes few decisions beside its own.
///
/// - *Rank of a token*, in wrapping u32 arithmetic: `x = (id ^ low half of seed ^ high half of seed) * 0x9E3779B1 +
///   0x165667B1`, then `x ^= x >> 15`, `x *= 0x85EBCA77`, `x ^= x >> 13`, and a shift right by one for each of 256, 1024,
///   4096, 16384 and 65536 that the id is not below: large ids, which are rare tokens in most vocabularies, win more often.
/// - *Key of a token*: the upper 32 bits of `xxh3_64(seed, the least rank of the context tokens before it ++ the id before
///   it)`, both little-endian u32.
/// - *Selection*: a token is dropped if its key is below [`threshold`](Self::threshold) and none of the 8 decided tokens
///   before it has the same key; or if in some `longest_run + 1` consecutive decided tokens, none of which is dropped for
///   that reason, it has the least key (of equal ones that whose position in the document is least modulo `longest_run + 1`).
///   Exempt tokens are members of windows and have keys, but are never dropped, and count as if their key were the greatest.
/// - *Not decided* are tokens with fewer than `context` tokens before them. With [`ShortContext::Short`] these are decided by
///   the tokens that there are, but for the first token of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct Anchor {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Tokens before a token among which its anchor is.
    pub context: u32,
    /// The most decided tokens in a row that are kept; without it there is no bound.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub longest_run: Option<u32>,
    /// Keys below this one are dropped: what makes the rate `1/k`.
    pub threshold: u32,
    /// What happens where fewer than `context` tokens come before.
    #[cfg_attr(feature = "serde", serde(rename = "head"))]
    pub short_context: ShortContext,
    /// Seed of ranks and keys.
    pub seed: u64,
}

impl Anchor {
    /// Drops one token in `k` with anchors among [`ANCHOR_CONTEXT`] tokens, keeps at most `4k - 2` tokens in a row, keeps
    /// tokens with a short context, seed 0.
    #[must_use]
    pub fn new(k: u32) -> Self {
        let short_context = ShortContext::Keep;
        let rule =
            Self { k, context: ANCHOR_CONTEXT, longest_run: None, threshold: 0, short_context, seed: 0 };
        rule.longest_run(Some(default_longest_run(k)))
    }

    /// Sets the tokens among which an anchor is.
    #[must_use]
    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Sets the most tokens in a row that are kept, at least `2k - 2`, or that there is no bound; and the threshold with it.
    #[must_use]
    pub fn longest_run(self, longest_run: Option<u32>) -> Self {
        Self { longest_run, threshold: (threshold(self.k, longest_run) >> 32) as u32, ..self }
    }

    /// Sets what happens where fewer than `context` tokens come before.
    #[must_use]
    pub fn short_context(self, short_context: ShortContext) -> Self {
        Self { short_context, ..self }
    }

    /// Sets the seed of ranks and keys.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Tokens that must come before a token for it to be decided.
    fn needed(&self) -> usize {
        self.short_context.needed(self.context as usize)
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (run, head) = (longest_run_name(self.longest_run), self.short_context.name());
        write!(f, "context {} tokens, longest run {run}, head {head}, seed {}", self.context, self.seed)
    }
}

impl FromOptions for Anchor {
    const OPTIONS: &'static [RuleOption] = &[RuleOption::LongestRun];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        let RuleOptions { k, context, short_context, seed, longest_run, .. } = *options;
        let rule = Self::new(k).context(context.unwrap_or(ANCHOR_CONTEXT)).short_context(short_context);
        Ok(rule.seed(seed).longest_run(given_longest_run(longest_run, k)))
    }
}

impl RuleDefinition for Anchor {
    fn name(&self) -> &'static str {
        "anchor"
    }

    fn version(&self) -> u32 {
        1
    }

    fn k(&self) -> Option<u32> {
        Some(self.k)
    }

    fn context(&self) -> Option<u32> {
        Some(self.context)
    }

    fn run_unit(&self) -> Option<RunUnit> {
        Some(RunUnit::Tokens)
    }

    fn longest_run(&self) -> Option<u32> {
        self.longest_run
    }

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        let window = check_longest_run(check_k(self.k)?, self.longest_run)?;
        let context = check_anchor_context(self.context)?;
        let keys = Keys::new(context, self.seed);
        Ok(Box::new(Kernel { keys, needed: self.needed(), threshold: self.threshold, window }))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        check_anchor_context(self.context)?;
        Ok(AfterPrefix::covering(coverage, self.needed() as u64))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        None
    }
}

#[derive(Debug)]
struct Kernel {
    keys: Keys,
    /// Tokens that must come before a token for it to be decided.
    needed: usize,
    threshold: u32,
    /// Tokens of a window.
    window: Option<usize>,
}

impl Kernel {
    /// Tokens before and after one that are in windows with it.
    fn around(&self) -> usize {
        self.window.map_or(0, |window| window - 1)
    }
}

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        // A window before the token, the keys that must differ from that of its first token, and their context.
        self.around() + RECENT + self.keys.context
    }

    fn lookahead(&self) -> usize {
        self.around()
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, self.lookback(), mask);
        if mask.is_empty() {
            return;
        }
        let around = self.around();
        let (from, to) = (span.history() - span.history().min(around), span.history() + span.len());
        let to = to + span.following().min(around);
        if (from, to) == (span.history(), span.history() + span.len()) {
            return self.decide_range(span, (from, to), mask);
        }
        let mut whole = vec![1; to - from];
        self.decide_range(span, (from, to), &mut whole);
        mask.copy_from_slice(&whole[span.history() - from..][..mask.len()]);
    }

    fn decide_measuring(&self, span: &TokenSpan<'_>, mask: &mut [u8]) -> Option<LongestRun> {
        self.decide(span, mask);
        let before_decided = (self.needed as u64).saturating_sub(span.position());
        let first = usize::try_from(before_decided).map_or(mask.len(), |first| first.min(mask.len()));
        Some(span.longest_run(first, mask))
    }
}

/// Keys that are compared together.
const LANES: usize = 64;

/// Keys of tokens that are decided together, after those of the tokens just before; then room.
type Block = [u32; RECENT + TOGETHER + SHORT];

impl Kernel {
    /// Decides the ids `from..to` of a span, as if windows began and ended there.
    fn decide_range(&self, span: &TokenSpan<'_>, (from, to): (usize, usize), mask: &mut [u8]) {
        // Position in the document of the first id of the span.
        let base = span.position() - span.history() as u64;
        let index = |position: usize| {
            usize::try_from((position as u64).saturating_sub(base)).map_or(to, |index| index.clamp(from, to))
        };
        let first = index(self.needed);
        let full = index(self.keys.context);
        let (short, mask) = mask.split_at_mut(first - from);
        short.fill(1);
        // Of the tokens just before the range, those that are decided have keys.
        let before = (base + first as u64).saturating_sub(self.needed as u64).min(RECENT as u64) as usize;
        let position = base + first as u64;
        simd_dispatch(
            #[inline(always)]
            || Tokens { kernel: self, span, full, first, position, mask, since: 0 }.decide(before),
        );
    }

    /// Which tokens are not dropped for their keys, which come after those of the tokens just before.
    #[inline(always)]
    fn keep(&self, keys: &[u32], mask: &mut [u8; LANES]) {
        let own: &[u32; LANES] = keys.last_chunk().unwrap_or(&[0; _]);
        let mut kept = own.map(|key| u32::from(key >= self.threshold));
        for back in 1..=RECENT {
            let before: &[u32; LANES] = keys[RECENT - back..].first_chunk().unwrap_or(&[0; _]);
            for lane in 0..LANES {
                kept[lane] |= u32::from(own[lane] == before[lane]);
            }
        }
        *mask = kept.map(|kept| kept as u8);
    }
}

/// Tokens that are decided together.
struct Tokens<'a> {
    kernel: &'a Kernel,
    span: &'a TokenSpan<'a>,
    /// Index among the ids of the first one whose context is full.
    full: usize,
    /// Index of the first one among the ids, and its position in the document.
    first: usize,
    position: u64,
    mask: &'a mut [u8],
    /// Number of the token after the last one that was dropped for its key. Numbers are those of the mask.
    since: usize,
}

impl Tokens<'_> {
    /// The keys of the ids from index `start` on.
    #[inline(always)]
    fn keys(&self, start: usize, keys: &mut [u32]) {
        let (ids, of) = (self.span.ids(), &self.kernel.keys);
        let short = self.full.saturating_sub(start).min(keys.len());
        let (before_full, keys) = keys.split_at_mut(short);
        for (key, at) in before_full.iter_mut().zip(start..) {
            *key = of.key_after(&ids[..at]);
        }
        if !keys.is_empty() {
            let start = start + short;
            of.all(&ids[start - of.context..start + keys.len()], keys);
        }
    }

    /// Decides the tokens, after `before` decided ones.
    #[inline(always)]
    fn decide(mut self, before: usize) {
        let mut keys: Block = [0; _];
        // Keys that don't exist are equal to none that is below the threshold.
        keys[..RECENT - before].fill(u32::MAX);
        self.keys(self.first - before, &mut keys[RECENT - before..RECENT]);
        let mut start = 0;
        while start < self.mask.len() {
            let count = (self.mask.len() - start).min(TOGETHER);
            self.keys(self.first + start, &mut keys[RECENT..][..count]);
            self.below_threshold(&keys[..RECENT + count], start);
            if let Some(window) = self.kernel.window {
                self.runs(&keys[RECENT..], (start, count), window);
            }
            keys.copy_within(count..count + RECENT, 0);
            start += count;
        }
        if let Some(window) = self.kernel.window
            && start >= self.since + window
        {
            self.run(self.since..start, window);
        }
    }

    /// Drops tokens from number `start` on for their keys, which come after those of the tokens just before.
    #[inline(always)]
    fn below_threshold(&mut self, keys: &[u32], start: usize) {
        let mask = &mut self.mask[start..][..keys.len() - RECENT];
        let (many, rest) = mask.as_chunks_mut::<LANES>();
        let mut at = 0;
        for many in many {
            self.kernel.keep(&keys[at..at + RECENT + LANES], many);
            at += LANES;
        }
        if !rest.is_empty() {
            let (mut few, mut last) = ([0; RECENT + LANES], [0; LANES]);
            few[..keys.len() - at].copy_from_slice(&keys[at..]);
            self.kernel.keep(&few, &mut last);
            rest.copy_from_slice(&last[..rest.len()]);
        }
        self.span.keep_exempt(self.first + start, mask);
    }

    /// Looks for runs of kept tokens that are as long as a window and end among the `count` from number `start` on, with these
    /// keys.
    #[inline(always)]
    fn runs(&mut self, keys: &[u32], (start, count): (usize, usize), window: usize) {
        let end = start + count;
        for at in (start..end).step_by(64) {
            let dropped = dropped_bits(&self.mask[at..(at + 64).min(end)]);
            if dropped == 0 {
                continue;
            }
            let first = dropped.trailing_zeros();
            let mut ends = ends_of_runs(dropped, window);
            ends |= u64::from(at + first as usize >= self.since + window) << first;
            while ends != 0 {
                let next = ends.trailing_zeros();
                ends &= ends - 1;
                let before = dropped & ((1 << next) - 1);
                let since = if before == 0 { self.since } else { at + 64 - before.leading_zeros() as usize };
                let run = since..at + next as usize;
                let known = run.start.checked_sub(start).and_then(|at| keys[at..].first_chunk::<SHORT>());
                match known {
                    Some(keys) if run.len() <= SHORT && window <= SHORT => {
                        self.least_of_run(keys, run, window)
                    }
                    _ => self.run(run, window),
                }
            }
            self.since = at + 64 - dropped.leading_zeros() as usize;
        }
    }

    /// Drops the least token of each window of a run, of which there are few.
    #[inline(never)]
    fn run(&mut self, run: Range<usize>, window: usize) {
        simd_dispatch(
            #[inline(always)]
            || match (window, run.len()) {
                (..=SHORT, ..=SHORT) => self.whole_run::<SHORT>(run, window),
                (..=LONGEST_WINDOW, ..=MEDIUM) if run.len() <= 4 * window => {
                    self.whole_run::<MEDIUM>(run, window)
                }
                (..=LONGEST_WINDOW, _) => self.in_pieces(&run, window),
                _ => self.by_candidates(run, window),
            },
        );
    }

    /// The same for a run of `ROOM` tokens at most.
    #[inline(always)]
    fn whole_run<const ROOM: usize>(&mut self, run: Range<usize>, window: usize) {
        let mut keys = [0; ROOM];
        self.keys_of(&run, &mut keys);
        self.least_of_run(&keys, run, window);
    }

    /// The same for a run whose tokens have the first ones of these keys.
    #[inline(always)]
    fn least_of_run<const ROOM: usize>(&mut self, keys: &[u32; ROOM], run: Range<usize>, window: usize) {
        // Whether it is exempt, key, position modulo the window, and index in the run.
        let mut orders: [u64; ROOM] = [0; _];
        let (residue, modulo) = (self.residue(run.start, window) as u32, Modulo::new(window as u32));
        for (index, (order, &key)) in (0..).zip(orders.iter_mut().zip(keys)) {
            *order = u64::from(key) << 24 | u64::from(modulo.of(residue + index) << 12 | index);
        }
        if self.span.has_exempt() {
            for (order, number) in orders.iter_mut().zip(run.clone()) {
                *order |= u64::from(self.exempts(number)) << 56;
            }
        }
        // The least token of a run is that of every window that it is in; other windows are before it or after it.
        let (mut from, mut to) = (0, run.len());
        while to - from >= window {
            let least = index_of_least(&orders, from..to);
            self.mask[run.start + least] = u8::from(self.exempts(run.start + least));
            (from, to) = if least - from >= window { (from, least) } else { (least + 1, run.len()) };
        }
    }

    /// The same for windows of any length.
    fn by_candidates(&mut self, run: Range<usize>, window: usize) {
        let mut least = Least::new(window);
        let mut keys = [0; TOGETHER];
        let mut residue = self.residue(run.start, window);
        for block in run.clone().step_by(TOGETHER) {
            let keys = &mut keys[..TOGETHER.min(run.end - block)];
            self.keys(self.first + block, keys);
            for (number, &key) in (block..).zip(&*keys) {
                let key = if self.exempts(number) { u64::MAX } else { key.into() };
                if let Some(dropped) = least.push(key, residue, number) {
                    self.mask[dropped] = u8::from(self.exempts(dropped));
                }
                residue = if residue + 1 == window { 0 } else { residue + 1 };
            }
        }
    }

    /// The same for windows of [`LONGEST_WINDOW`] tokens at most.
    #[inline(always)]
    fn in_pieces(&mut self, run: &Range<usize>, window: usize) {
        // A piece is decided with the windows around it, and there must be room for one more.
        let around = window - 1;
        for start in run.clone().step_by(PIECE - 3 * around) {
            let decided = start..(start + PIECE - 3 * around).min(run.end);
            let seen = run.start.max(start.saturating_sub(around))..run.end.min(decided.end + around);
            self.piece(seen, decided, window);
        }
    }

    /// Drops those of the `decided` tokens that are the least of a window within the tokens `seen`.
    #[inline(always)]
    fn piece(&mut self, seen: Range<usize>, decided: Range<usize>, window: usize) {
        let (mut keys, mut orders) = ([0; PIECE], [0; PIECE]);
        let keys = self.keys_of(&seen, &mut keys);
        let orders = &mut orders[..keys.len()];
        let mut residue = self.residue(seen.start, window);
        for (order, &key) in orders.iter_mut().zip(keys) {
            *order = u64::from(key) << 32 | residue as u64;
            residue = if residue + 1 == window { 0 } else { residue + 1 };
        }
        if self.span.has_exempt() {
            for (order, number) in orders.iter_mut().zip(seen.clone()) {
                *order = if self.exempts(number) { u64::MAX } else { *order };
            }
        }
        let mut selected = [0; PIECE];
        let selected = greatest_of_least(orders, window, &mut selected);
        let before = decided.start - seen.start;
        let mask = &mut self.mask[decided.clone()];
        for (keep, (order, selected)) in mask.iter_mut().zip(orders.iter().zip(selected).skip(before)) {
            *keep = u8::from(order != selected);
        }
        self.span.keep_exempt(self.first + decided.start, mask);
    }

    /// The keys of the tokens with these numbers, in as much room.
    #[inline(always)]
    fn keys_of<'k>(&self, numbers: &Range<usize>, room: &'k mut [u32]) -> &'k [u32] {
        let keys = &mut room[..numbers.len()];
        for (keys, start) in keys.chunks_mut(TOGETHER).zip(numbers.clone().step_by(TOGETHER)) {
            self.keys(self.first + start, keys);
        }
        keys
    }

    /// The position in the document of the token of this number, modulo the window.
    #[inline(always)]
    fn residue(&self, number: usize, window: usize) -> usize {
        ((self.position + number as u64) % window as u64) as usize
    }

    #[inline(always)]
    fn exempts(&self, number: usize) -> bool {
        self.span.exempts(self.span.ids()[self.first + number])
    }
}
