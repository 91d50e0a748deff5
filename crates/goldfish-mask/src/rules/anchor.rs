//! The rule `anchor`: decisions for tokens, from two of the tokens before them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{ANCHOR_CONTEXT, ShortContext, check_anchor_context, check_k, longest_run_name};
use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::AfterPrefix;
use crate::rules::lanes::simd_dispatch;
use crate::rules::xxh3::PairHash;
use crate::runs::LongestRun;
use crate::selection::{RECENT, check_longest_run, default_longest_run, threshold};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MAX_ANCHOR_CONTEXT, MaskError, RuleDefinition, RunUnit, UniformTable};

/// Drops about one token in `k`, chosen by a hash of the token before it and of an *anchor*, the one that ranks least among
/// the `context` tokens before it; and never keeps more than [`longest_run`](Self::longest_run) tokens in a row. It is
/// [`Text`](crate::rules::Text) over token ids: an edited token changes few decisions beside its own.
///
/// - *Rank of a token*, in wrapping u32 arithmetic: `x = (id ^ low half of seed ^ high half of seed) * 0x9E3779B1 +
///   0x165667B1`, then `x ^= x >> 15`, `x *= 0x85EBCA77`, `x ^= x >> 13`, and a shift right by one for each of 256, 1024,
///   4096, 16384 and 65536 that the id is not below: large ids, which are rare tokens in most vocabularies, win more often.
/// - *Key of a token*: `xxh3_64(seed, the least rank of the context tokens before it ++ the id before it)`, both little-endian
///   u32.
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
    pub threshold: u64,
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
        Self { longest_run, threshold: threshold(self.k, longest_run), ..self }
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
        match self.short_context {
            ShortContext::Keep => self.context as usize,
            ShortContext::Short => 1,
        }
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
        let rule =
            Self::new(k).context(context.unwrap_or(ANCHOR_CONTEXT)).short_context(short_context).seed(seed);
        Ok(match longest_run {
            Some(longest_run) => rule.longest_run(longest_run.most()),
            None => rule,
        })
    }
}

impl RuleDefinition for Anchor {
    fn name(&self) -> &'static str {
        "anchor"
    }

    fn version(&self) -> u32 {
        1
    }

    fn k(&self) -> u32 {
        self.k
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
        let keys = Keys { context, seed: self.seed, hash: PairHash::new(self.seed) };
        Ok(Box::new(Kernel {
            keys,
            needed: self.needed(),
            threshold: self.threshold,
            window: window.unwrap_or(0),
        }))
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

/// How tokens are ranked, and the keys that follow.
#[derive(Debug)]
struct Keys {
    context: usize,
    seed: u64,
    hash: PairHash,
}

/// Keys that are computed together: what they are made of stays in the nearest cache.
const TOGETHER: usize = 512;

/// Ranks of a block, with those of the context before it.
type Ranks = [u32; TOGETHER + MAX_ANCHOR_CONTEXT as usize];

impl Keys {
    #[inline(always)]
    fn rank(&self, id: u32) -> u32 {
        let x = (id ^ self.seed as u32 ^ (self.seed >> 32) as u32).wrapping_mul(0x9E37_79B1);
        let x = x.wrapping_add(0x1656_67B1);
        let x = (x ^ (x >> 15)).wrapping_mul(0x85EB_CA77);
        let x = x ^ (x >> 13);
        let reaches = |bound: u32| u32::from(id >= bound);
        x >> (reaches(256) + reaches(1024) + reaches(4096) + reaches(16384) + reaches(65536))
    }

    /// The key of the token after these, at least one: of which the last `context` count.
    fn key_after(&self, before: &[u32]) -> u64 {
        let context = &before[before.len().saturating_sub(self.context)..];
        let anchor = context.iter().map(|&id| self.rank(id)).fold(u32::MAX, u32::min);
        let previous = context.last().copied().unwrap_or_default();
        xxh3_64_with_seed(bytemuck::cast_slice(&[anchor, previous]), self.seed)
    }

    /// The keys of the last `keys.len()` of `ids`, each with its whole context before it.
    #[inline(always)]
    fn all(&self, ids: &[u32], keys: &mut [u64], ranks: &mut Ranks) {
        for (block, keys) in keys.chunks_mut(TOGETHER).enumerate() {
            let ids = &ids[block * TOGETHER..][..keys.len() + self.context];
            let count = ids.len();
            let ranks = &mut ranks[..count];
            for (rank, &id) in ranks.iter_mut().zip(ids) {
                *rank = self.rank(id);
            }
            // Each becomes the least of as many from it on as the largest power of two in the context.
            let mut width = 1;
            while 2 * width <= self.context {
                for i in 0..count - width {
                    ranks[i] = ranks[i].min(ranks[i + width]);
                }
                width *= 2;
            }
            let first = &ranks[..keys.len()];
            let last = &ranks[self.context - width..][..keys.len()];
            let previous = &ids[self.context - 1..][..keys.len()];
            for (((key, &a), &b), &previous) in keys.iter_mut().zip(first).zip(last).zip(previous) {
                *key = self.hash.hash(a.min(b), previous);
            }
        }
    }
}

#[derive(Debug)]
struct Kernel {
    keys: Keys,
    /// Tokens that must come before a token for it to be decided.
    needed: usize,
    threshold: u64,
    /// Tokens of a window; 0 for no bound.
    window: usize,
}

/// Tokens whose keys are in memory together.
const BLOCK: usize = 4096;

/// What a thread reuses from document to document.
struct Scratch {
    /// Keys of a block, after the last few of the block before.
    keys: Box<[u64; RECENT + BLOCK]>,
    ranks: Box<Ranks>,
    least: VecDeque<(u64, usize, usize)>,
    mask: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        keys: Box::new([0; RECENT + BLOCK]),
        ranks: Box::new([0; TOGETHER + MAX_ANCHOR_CONTEXT as usize]),
        least: VecDeque::new(),
        mask: Vec::new(),
    });
}

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        // A window before the token, the keys that must differ from that of its first token, and their context.
        self.window.saturating_sub(1) + RECENT + self.keys.context
    }

    fn lookahead(&self) -> usize {
        self.window.saturating_sub(1)
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, self.lookback(), mask);
        if mask.is_empty() {
            return;
        }
        let around = self.window.saturating_sub(1);
        let (from, to) = (span.history() - span.history().min(around), span.history() + span.len());
        let to = to + span.following().min(around);
        SCRATCH.with_borrow_mut(|scratch| {
            if (from, to) == (span.history(), span.history() + span.len()) {
                return self.decide_range(span, (from, to), mask, scratch);
            }
            let mut whole = std::mem::take(&mut scratch.mask);
            whole.clear();
            whole.resize(to - from, 1);
            self.decide_range(span, (from, to), &mut whole, scratch);
            mask.copy_from_slice(&whole[span.history() - from..][..mask.len()]);
            scratch.mask = whole;
        });
    }

    fn decide_measuring(&self, span: &TokenSpan<'_>, mask: &mut [u8]) -> Option<LongestRun> {
        self.decide(span, mask);
        let before_decided = (self.needed as u64).saturating_sub(span.position());
        let first = usize::try_from(before_decided).map_or(mask.len(), |first| first.min(mask.len()));
        Some(span.longest_run(first, mask))
    }
}

impl Kernel {
    /// Decides the ids `from..to` of a span, as if windows began and ended there.
    fn decide_range(
        &self,
        span: &TokenSpan<'_>,
        (from, to): (usize, usize),
        mask: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let ids = span.ids();
        // Position in the document of the first id of the span.
        let base = span.position() - span.history() as u64;
        let index = |position: usize| {
            usize::try_from((position as u64).saturating_sub(base)).map_or(to, |index| index.clamp(from, to))
        };
        let (decided, full) = (index(self.needed), index(self.keys.context.max(self.needed)));
        mask[..decided - from].fill(1);
        let Scratch { keys, ranks, least, .. } = scratch;
        least.clear();
        let residue = if self.window == 0 { 0 } else { (base + from as u64) % self.window as u64 };
        let mut selection = Selection {
            kernel: self,
            span,
            from,
            residue: residue as usize,
            mask,
            least,
            since: decided,
            fed: decided,
        };
        // No key is equal to these, which are of tokens that are not decided.
        let mut known = 0;
        let before = decided.min(RECENT).min(self.recent_before(base, decided));
        for back in (1..=before).rev() {
            keys[known] = self.keys.key_after(&ids[..decided - back]);
            known += 1;
        }
        let mut start = decided;
        while start < to {
            let end = if start < full { full } else { to.min(start + BLOCK) };
            let block = &mut keys[known..known + end - start];
            if start < full {
                for (at, key) in (start..end).zip(block) {
                    *key = self.keys.key_after(&ids[..at]);
                }
            } else {
                let ids = &ids[start - self.keys.context..end];
                let (keys, mask) = (&self.keys, &mut selection.mask[start - from..end - from]);
                simd_dispatch(
                    #[inline(always)]
                    || {
                        keys.all(ids, block, ranks);
                        for (keep, &key) in mask.iter_mut().zip(&*block) {
                            *keep = u8::from(key >= self.threshold);
                        }
                    },
                );
            }
            if start < full {
                let block = &keys[known..known + end - start];
                let mask = &mut selection.mask[start - from..end - from];
                mask.iter_mut().zip(block).for_each(|(keep, &key)| *keep = u8::from(key >= self.threshold));
            }
            selection.block(&keys[..known + end - start], known, start);
            let last = (known + end - start).min(RECENT);
            keys.copy_within(known + end - start - last..known + end - start, 0);
            known = last;
            start = end;
        }
    }

    /// How many ids before index `decided` are decided too.
    fn recent_before(&self, base: u64, decided: usize) -> usize {
        usize::try_from((base + decided as u64).saturating_sub(self.needed as u64)).unwrap_or(usize::MAX)
    }
}

/// The tokens of a range that were selected so far. Indices are those of the span's ids.
struct Selection<'a> {
    kernel: &'a Kernel,
    span: &'a TokenSpan<'a>,
    from: usize,
    /// Position of the range's start in the document, modulo the window.
    residue: usize,
    mask: &'a mut [u8],
    /// Key, position modulo the window, and index of the tokens that can be the least of a window since `since`.
    least: &'a mut VecDeque<(u64, usize, usize)>,
    /// Index after the last token that is dropped for its key.
    since: usize,
    /// Index up to which `least` knows the tokens since then.
    fed: usize,
}

impl Selection<'_> {
    /// Selects among tokens from index `start` on, whose keys are `keys[known..]`. The mask has 0 where a key is below the
    /// threshold.
    fn block(&mut self, keys: &[u64], known: usize, start: usize) {
        let end = start + keys.len() - known;
        let first = start - self.from;
        let mut at = start;
        while let Some(next) = next_zero(&self.mask[first..end - self.from], at - start) {
            let index = start + next;
            at = index + 1;
            let key = known + next;
            let before = &keys[key.saturating_sub(RECENT)..key];
            let repeated = match before.first_chunk::<RECENT>() {
                Some(before) => before.iter().fold(false, |found, &other| found | (other == keys[key])),
                None => before.contains(&keys[key]),
            };
            if repeated || self.span.exempts(self.span.ids()[index]) {
                self.mask[index - self.from] = 1;
                continue;
            }
            if self.kernel.window > 0 && index - self.since >= self.kernel.window {
                self.feed(keys, known, start, index);
            }
            self.least.clear();
            self.since = index + 1;
            self.fed = index + 1;
        }
        if self.kernel.window > 0 {
            self.feed(keys, known, start, end);
        }
    }

    /// Takes the tokens up to index `end` into the windows, and drops the least of each.
    #[cold]
    fn feed(&mut self, keys: &[u64], known: usize, start: usize, end: usize) {
        let window = self.kernel.window;
        for index in self.fed..end {
            let exempt = self.span.exempts(self.span.ids()[index]);
            let key = if exempt { u64::MAX } else { keys[known + index - start] };
            let residue = (self.residue + index - self.from) % window;
            while self.least.back().is_some_and(|&(other, its, _)| (other, its) > (key, residue)) {
                self.least.pop_back();
            }
            self.least.push_back((key, residue, index));
            if index + 1 - self.since >= window {
                while self.least.front().is_some_and(|&(.., index_of)| index_of + window <= index) {
                    self.least.pop_front();
                }
                if let Some(&(.., least)) = self.least.front() {
                    self.mask[least - self.from] = u8::from(self.span.exempts(self.span.ids()[least]));
                }
            }
        }
        self.fed = self.fed.max(end);
    }
}

/// Index of the first zero from `start` on.
#[inline(always)]
fn next_zero(mask: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(eight) = mask.get(at..).and_then(<[u8]>::first_chunk) {
        // Bytes are 0 or 1.
        let zeros = u64::from_le_bytes(*eight) ^ 0x0101_0101_0101_0101;
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    mask.get(at..)?.iter().position(|&keep| keep == 0).map(|index| at + index)
}
