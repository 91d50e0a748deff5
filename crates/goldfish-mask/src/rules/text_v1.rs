//! The rule `text-v1`: decisions for words, from the normalized characters before them.

use std::cell::RefCell;
use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{Granularity, ShortContext, TEXT_CONTEXT, check_context, check_k, drop_threshold};
use crate::rule::{MaskRule, TokenSpan, check_text};
use crate::rules::lanes::simd_dispatch;
use crate::text::{Class, Marks, Position, Sink, Stream, WORD, scan};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, UniformTable};

/// Scratch memory that a thread keeps, in bytes of text and in tokens.
const KEPT_BYTES: usize = 1 << 24;
const KEPT_TOKENS: usize = 1 << 20;

/// What a thread reuses from document to document.
#[derive(Default)]
struct Scratch {
    stream: Stream,
    /// The bytes of dropped words.
    dropped: Marks,
    order: Vec<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Drops a word iff `xxh3_64(seed, the last context normalized characters before it, as UTF-8)` is in the
/// first `1/k` of its range, and every token that overlaps the word: independent of white space, case,
/// punctuation and tokenizer.
///
/// - *Normalized characters*: NFKC, then full case folding, then letters and numbers (general categories
///   `L*`, `N*`) with the marks (`Mn`, `Mc`) that follow them. Marks after anything else, enclosing marks and
///   default-ignorable characters (joiners, variation selectors, soft hyphens, fillers) contribute nothing.
///   All tables are those of [`UNICODE_VERSION`](crate::UNICODE_VERSION), 16.0.0.
/// - *Where they come from*: a character and those after it that normalization may compose with it or
///   reorder (its combining marks, the jamo of a syllable) count as one, a segment: what it contributes comes
///   from all of its bytes. If its first character contributes nothing on its own, it ends the word before it.
/// - *Words*: what contributes without a gap; an ideograph or kana with its marks is a word on its own;
///   a word ends after 24 normalized characters. A segment that contributes to several words overlaps each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct TextV1 {
    /// One word in `k` is dropped.
    pub k: u32,
    /// Normalized characters that the hash sees.
    pub context: u32,
    /// Whether words or tokens are decided.
    #[cfg_attr(feature = "serde", serde(rename = "unit"))]
    pub granularity: Granularity,
    /// What happens where fewer than `context` characters come before. With nothing before it, a word
    /// is always kept.
    #[cfg_attr(feature = "serde", serde(rename = "head"))]
    pub short_context: ShortContext,
    /// Seed of the hash.
    pub seed: u64,
}

impl TextV1 {
    /// Drops one word in `k` by the [`TEXT_CONTEXT`] normalized characters before it, keeps words with a short
    /// context, seed 0.
    #[must_use]
    pub fn new(k: u32) -> Self {
        let (granularity, short_context) = (Granularity::Word, ShortContext::Keep);
        Self { k, context: TEXT_CONTEXT, granularity, short_context, seed: 0 }
    }

    /// Sets the normalized characters that the hash sees.
    #[must_use]
    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Sets whether words or tokens are decided.
    #[must_use]
    pub fn granularity(self, granularity: Granularity) -> Self {
        Self { granularity, ..self }
    }

    /// Sets what happens where fewer than `context` characters come before.
    #[must_use]
    pub fn short_context(self, short_context: ShortContext) -> Self {
        Self { short_context, ..self }
    }

    /// Sets the seed of the hash.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    fn kernel(&self) -> Result<Kernel, MaskError> {
        let last_dropped = drop_threshold(check_k(self.k)?);
        let context = check_context(self.context)?;
        let needed = self.short_context.needed(context);
        let decision = Decision { last_dropped, context, needed, seed: self.seed };
        Ok(Kernel { decision, granularity: self.granularity })
    }
}

impl fmt::Display for TextV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, head) = (self.granularity.name(), self.short_context.name());
        write!(f, "by {unit}, context {} characters, head {head}, seed {}", self.context, self.seed)
    }
}

impl FromOptions for TextV1 {
    const OPTIONS: &'static [RuleOption] = &[RuleOption::Granularity];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        let RuleOptions { k, context, granularity, short_context, seed, .. } = *options;
        let granularity = granularity.unwrap_or_default();
        Ok(Self { k, context: context.unwrap_or(TEXT_CONTEXT), granularity, short_context, seed })
    }
}

impl RuleDefinition for TextV1 {
    fn name(&self) -> &'static str {
        "text-v1"
    }

    fn version(&self) -> u32 {
        // 2: a character that contributes nothing ends a word, whatever combines with it.
        2
    }

    fn k(&self) -> Option<u32> {
        Some(self.k)
    }

    fn context(&self) -> Option<u32> {
        Some(self.context)
    }

    fn needs_text(&self) -> bool {
        true
    }

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(Box::new(self.kernel()?))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        let mut kernel = self.kernel()?;
        // Every hash is in the first 1/1 of its range.
        kernel.decision.last_dropped = drop_threshold(1);
        if coverage == Coverage::Present {
            kernel.decision.needed = 0;
        }
        Ok(Box::new(kernel))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        None
    }
}

#[derive(Debug)]
struct Kernel {
    decision: Decision,
    granularity: Granularity,
}

#[derive(Debug, Clone, Copy)]
struct Decision {
    last_dropped: u64,
    context: usize,
    /// Characters that must come before a word for it to be decided.
    needed: usize,
    seed: u64,
}

impl Decision {
    /// Whether what follows this position of the stream is dropped.
    #[inline(always)]
    fn drops(&self, stream: &mut Stream, position: Position) -> bool {
        position.chars >= self.needed
            && xxh3_64_with_seed(stream.context_before(position, self.context), self.seed)
                <= self.last_dropped
    }
}

impl MaskRule for Kernel {
    /// Decisions depend on the text, not on tokens.
    fn lookback(&self) -> usize {
        0
    }

    fn needs_text(&self) -> bool {
        true
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        let (text, spans) = check_text(span, mask);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.stream.clear();
            match self.granularity {
                Granularity::Word => by_word(self.decision, text, spans, mask, scratch),
                Granularity::Token => by_token(self.decision, text, spans, mask, scratch),
            }
            scratch.stream.shrink(KEPT_BYTES);
            scratch.dropped.shrink(KEPT_BYTES);
            scratch.order.clear();
            scratch.order.shrink_to(KEPT_TOKENS);
        });
    }
}

/// Words that are decided together: their contexts are hashed some time after they were written, when the processor
/// has them in its cache again, and side by side.
const TOGETHER: usize = 32;

/// The words of a text, as they are found.
struct Words<'a> {
    decision: Decision,
    /// The positions before words not yet decided, of which the last may still grow.
    words: [Position; TOGETHER],
    waiting: usize,
    dropped: &'a mut Marks,
    /// Normalized characters of the current word; 0 between words.
    chars: usize,
    /// Whether the last letter was an ideograph or kana, so that only its marks join it.
    ideograph: bool,
}

impl<'a> Words<'a> {
    fn new(decision: Decision, dropped: &'a mut Marks) -> Self {
        let words = [Position::default(); TOGETHER];
        Self { decision, words, waiting: 0, dropped, chars: 0, ideograph: false }
    }

    #[inline(always)]
    fn open(&mut self, start: usize, stream: &mut Stream) {
        if self.waiting == TOGETHER {
            self.decide(stream);
        }
        self.words[self.waiting] = Position { source: (start, start), ..stream.end() };
        self.waiting += 1;
        self.chars = 0;
    }

    /// Extends the current word to this byte of the text.
    fn extend(&mut self, end: usize) {
        self.words[self.waiting - 1].source.1 = end;
    }

    #[inline(always)]
    fn decide(&mut self, stream: &mut Stream) {
        for &word in &self.words[..self.waiting] {
            let drops = self.decision.drops(stream, word);
            self.dropped.mark(word.source.0, word.source.1, drops);
        }
        self.waiting = 0;
    }
}

impl Sink for Words<'_> {
    #[inline]
    fn char(&mut self, class: Class, start: usize, end: usize, _first: bool, stream: &mut Stream) {
        let joins = match class {
            Class::Mark => true,
            Class::Ideograph => false,
            _ => !self.ideograph,
        };
        if self.chars == 0 || self.chars == WORD || !joins {
            self.open(start, stream);
            // A mark keeps the kind of its letter, even where the word was cut before it.
            self.ideograph = class == Class::Ideograph || (class == Class::Mark && self.ideograph);
        }
        self.chars += 1;
        self.extend(end);
    }

    #[inline(always)]
    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        let mut at = start;
        while at < end {
            if self.chars == 0 || self.chars == WORD || self.ideograph {
                self.open(at, stream);
                self.ideograph = false;
            }
            let taken = (WORD - self.chars).min(end - at);
            stream.push_ascii(&text[at..], taken);
            self.chars += taken;
            at += taken;
            self.extend(at);
        }
    }

    fn gap(&mut self) {
        self.chars = 0;
    }
}

fn by_word(decision: Decision, text: &str, spans: &[(usize, usize)], mask: &mut [u8], scratch: &mut Scratch) {
    let Scratch { stream, dropped, .. } = scratch;
    dropped.clear(text.len());
    simd_dispatch(
        #[inline(always)]
        || {
            let mut words = Words::new(decision, dropped);
            scan(text, stream, &mut words);
            words.decide(stream);
            for (&(start, end), keep) in spans.iter().zip(mask) {
                *keep = u8::from(!dropped.any(start, end));
            }
        },
    );
}

/// Tokens in the order of their starts, decided as the stream reaches their first contributing character.
struct Tokens<'a> {
    decision: Decision,
    spans: &'a [(usize, usize)],
    /// Indices of the tokens in the order of their starts, if that is not their own; else empty.
    order: &'a [usize],
    mask: &'a mut [u8],
    next: usize,
}

impl Tokens<'_> {
    /// The next token, in the order of their starts, and its index.
    #[inline(always)]
    fn next(&self) -> Option<(usize, (usize, usize))> {
        let index = if self.order.is_empty() { self.next } else { *self.order.get(self.next)? };
        Some((index, *self.spans.get(index)?))
    }
}

impl Sink for Tokens<'_> {
    fn char(&mut self, _class: Class, start: usize, end: usize, first: bool, stream: &mut Stream) {
        if !first {
            return;
        }
        let mut drops = None;
        while let Some((index, span)) = self.next() {
            if span.0 >= end {
                break;
            }
            // No earlier segment ends after the token's start, so this is the first that it can overlap.
            if span.1 > start && span.0 < span.1 {
                let drops = *drops.get_or_insert_with(|| self.decision.drops(stream, stream.end()));
                self.mask[index] = u8::from(!drops);
            }
            self.next += 1;
        }
    }

    #[inline(always)]
    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        let mut at = start;
        while at < end {
            self.char(Class::Letter, at, at + 1, true, stream);
            // Up to the start of another token there is nothing to decide.
            let next = self.next().map_or(end, |(_, span)| span.0.min(end));
            while at < next {
                let taken = (next - at).min(WORD);
                stream.push_ascii(&text[at..], taken);
                at += taken;
            }
        }
    }
}

fn by_token(
    decision: Decision,
    text: &str,
    spans: &[(usize, usize)],
    mask: &mut [u8],
    scratch: &mut Scratch,
) {
    let Scratch { stream, order, .. } = scratch;
    mask.fill(1);
    if !spans.is_sorted_by_key(|span| span.0) {
        order.extend(0..spans.len());
        order.sort_by_key(|&index| spans[index].0);
    }
    simd_dispatch(
        #[inline(always)]
        || scan(text, stream, &mut Tokens { decision, spans, order, mask, next: 0 }),
    );
}
