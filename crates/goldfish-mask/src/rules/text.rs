//! The rule `text-v2`: decisions for words, from two of the words before them.

use std::cell::RefCell;
use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{
    Granularity, ShortContext, WORD_CONTEXT, check_anchor_context, check_k, longest_run_name,
};
use crate::rule::{MaskRule, TokenSpan, check_text};
use crate::rules::lanes::simd_dispatch;
use crate::rules::text_keys::{BlockKeys, Decision};
use crate::rules::text_tokens::by_token;
use crate::runs::LongestRun;
use crate::selection::{
    Selector, Units, check_longest_run, default_longest_run, given_longest_run, threshold,
};
use crate::text::{AsciiWords, Marks, Part, Receive, Stream, Words, scan};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, RunUnit, UniformTable};

/// Scratch memory that a thread keeps, in bytes of text and in tokens.
const KEPT_BYTES: usize = 1 << 24;
const KEPT_TOKENS: usize = 1 << 20;

/// What a thread reuses from document to document.
#[derive(Default)]
struct Scratch {
    stream: Stream,
    words: Option<WordScratch>,
    /// The bytes of dropped words.
    dropped: Marks,
    order: Vec<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Drops about one word in `k`, chosen by a hash of the word before it and of an *anchor*, the word that ranks least among
/// the `context` words before it; and never keeps more than [`longest_run`](Self::longest_run) words in a row. Independent
/// of white space, case, punctuation and tokenizer, and an edited word changes few decisions beside its own.
///
/// - *Words* are those of [`TextV1`](crate::rules::TextV1), except in scripts that put no spaces between words (Thai, Lao,
///   Khmer, Burmese and related ones): a run of their letters is cut before each letter, with its marks, whose hash is below
///   that of the letter before it and not above that of the letter after it; and after 24 normalized characters.
/// - *Hash of a word*: `xxh3_64(seed, its first 5 normalized characters as UTF-8)`, cut or filled up with zeros to 16 bytes.
/// - *Rank of a word*: the upper 32 bits of its hash, times a weight. The weight is `2^32` for one normalized character
///   and three quarters (rounded down) of the previous weight for each further one up to 16.
/// - *Key of a word*: `xxh3_64(seed, the least rank of the context words before it ++ the hash of the word before it)`, both
///   little-endian u64.
/// - *Selection*: a word is dropped if its key is below [`threshold`](Self::threshold) and none of the 8 decided words
///   before it has the same key; or if in some `longest_run + 1` consecutive decided words, none of which is dropped for
///   that reason, it has the least key (of equal ones that whose number, counted from the first decided word, is least
///   modulo `longest_run + 1`).
/// - *Not decided* are words with fewer than `context` words before them. With [`ShortContext::Short`] these are decided by
///   the words that there are, but for the first word of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct Text {
    /// One word in `k` is dropped.
    pub k: u32,
    /// Words before a word among which its anchor is.
    pub context: u32,
    /// The most decided words in a row that are kept; without it there is no bound.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub longest_run: Option<u32>,
    /// Keys below this one are dropped: what makes the rate `1/k`.
    pub threshold: u64,
    /// Whether words or tokens are decided.
    #[cfg_attr(feature = "serde", serde(rename = "unit"))]
    pub granularity: Granularity,
    /// What happens where fewer than `context` words come before.
    #[cfg_attr(feature = "serde", serde(rename = "head"))]
    pub short_context: ShortContext,
    /// Seed of the hashes.
    pub seed: u64,
}

impl Text {
    /// Drops one word in `k` with anchors among [`WORD_CONTEXT`] words, keeps at most `4k - 2` words in a row, keeps words
    /// with a short context, seed 0.
    #[must_use]
    pub fn new(k: u32) -> Self {
        let (granularity, short_context) = (Granularity::Word, ShortContext::Keep);
        let rule = Self {
            k,
            context: WORD_CONTEXT,
            longest_run: None,
            threshold: 0,
            granularity,
            short_context,
            seed: 0,
        };
        rule.longest_run(Some(default_longest_run(k)))
    }

    /// Sets the words among which an anchor is.
    #[must_use]
    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Sets the most words in a row that are kept, at least `2k - 2`, or that there is no bound; and the threshold with it.
    #[must_use]
    pub fn longest_run(self, longest_run: Option<u32>) -> Self {
        Self { longest_run, threshold: threshold(self.k, longest_run), ..self }
    }

    /// Sets whether words or tokens are decided.
    #[must_use]
    pub fn granularity(self, granularity: Granularity) -> Self {
        Self { granularity, ..self }
    }

    /// Sets what happens where fewer than `context` words come before.
    #[must_use]
    pub fn short_context(self, short_context: ShortContext) -> Self {
        Self { short_context, ..self }
    }

    /// Sets the seed of the hashes.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    fn kernel(&self) -> Result<Kernel, MaskError> {
        let window = check_longest_run(check_k(self.k)?, self.longest_run)?;
        let context = check_anchor_context(self.context)?;
        let needed = self.short_context.needed(context);
        let decision =
            Decision { threshold: self.threshold, window, context, needed, seed: self.seed, all: false };
        Ok(Kernel { decision, granularity: self.granularity })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, head) = (self.granularity.name(), self.short_context.name());
        let run = longest_run_name(self.longest_run);
        write!(
            f,
            "by {unit}, context {} words, longest run {run}, head {head}, seed {}",
            self.context, self.seed
        )
    }
}

impl FromOptions for Text {
    const OPTIONS: &'static [RuleOption] = &[RuleOption::Granularity, RuleOption::LongestRun];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        let RuleOptions { k, context, granularity, short_context, seed, longest_run, .. } = *options;
        let rule = Self::new(k)
            .context(context.unwrap_or(WORD_CONTEXT))
            .granularity(granularity.unwrap_or_default())
            .short_context(short_context);
        Ok(rule.seed(seed).longest_run(given_longest_run(longest_run, k)))
    }
}

impl RuleDefinition for Text {
    fn name(&self) -> &'static str {
        "text-v2"
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

    fn needs_text(&self) -> bool {
        true
    }

    fn run_unit(&self) -> Option<RunUnit> {
        Some(match self.granularity {
            Granularity::Word => RunUnit::Words,
            Granularity::Token => RunUnit::Tokens,
        })
    }

    fn longest_run(&self) -> Option<u32> {
        self.longest_run
    }

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(Box::new(self.kernel()?))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        let mut kernel = self.kernel()?;
        kernel.decision.all = true;
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

impl MaskRule for Kernel {
    /// Decisions depend on the text, not on tokens.
    fn lookback(&self) -> usize {
        0
    }

    fn lookahead(&self) -> usize {
        match self.granularity {
            Granularity::Word => 0,
            // Tokens without letters don't count in a window.
            Granularity::Token => usize::MAX,
        }
    }

    fn needs_text(&self) -> bool {
        true
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        self.decide_measuring(span, mask);
    }

    fn decide_measuring(&self, span: &TokenSpan<'_>, mask: &mut [u8]) -> Option<LongestRun> {
        let (text, spans) = check_text(span, mask);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.stream.clear();
            let longest = match self.granularity {
                Granularity::Word => by_word(self.decision, text, spans, mask, scratch),
                Granularity::Token => {
                    // Windows need the tokens around the decided ones too.
                    let (_, all) = span.text().unwrap_or((text, spans));
                    let start = usize::try_from(span.position()).unwrap_or(usize::MAX);
                    by_token(
                        self.decision,
                        text,
                        all,
                        (start, mask),
                        (&mut scratch.stream, &mut scratch.order),
                    )
                }
            };
            scratch.stream.shrink(KEPT_BYTES);
            scratch.dropped.shrink(KEPT_BYTES);
            scratch.order.clear();
            scratch.order.shrink_to(KEPT_TOKENS);
            Some(longest)
        })
    }
}

/// What decides words.
struct WordScratch {
    keys: BlockKeys,
    selector: Selector,
    /// Where decided words come from in the text, and from how many bytes.
    sources: Units<(usize, usize)>,
}

impl WordScratch {
    /// For a new document, with the memory of an earlier one.
    fn starting(earlier: Option<Self>, decision: Decision) -> Self {
        let (keys, selector, sources) = match earlier {
            Some(Self { keys, selector, sources }) => (Some(keys), Some(selector), sources),
            None => (None, None, Units::new()),
        };
        Self { keys: BlockKeys::new(decision, keys), selector: decision.selector(selector), sources }
    }
}

/// Decides words, and marks the bytes of those that are dropped.
struct WholeWords<'a> {
    words: WordScratch,
    dropped: &'a mut Marks,
}

impl WholeWords<'_> {
    /// Selects among the words that came.
    #[inline(always)]
    fn select(&mut self) {
        let Self { words: WordScratch { keys, selector, sources }, dropped } = self;
        keys.select(selector);
        selector.block(|number| {
            let (start, length) = sources.get(number);
            dropped.mark(start, start + length, true);
        });
        sources.settle(selector.longest(), selector.needed());
    }
}

impl Receive for WholeWords<'_> {
    const TAKES_ASCII: bool = true;

    #[inline(always)]
    fn ascii_words(&mut self, text: &[u8], at: usize, words: AsciiWords) {
        if self.words.keys.room() <= AsciiWords::MOST {
            self.select();
        }
        let WordScratch { keys, sources, .. } = &mut self.words;
        let mut undecided = keys.undecided();
        let sourced = words.inspect(|&(start, length)| {
            if undecided > 0 {
                undecided -= 1;
            } else {
                sources.push((at + start, length));
            }
        });
        keys.push_ascii(text, at, sourced);
    }

    #[inline(always)]
    fn word(&mut self, word: Part, stream: &Stream) {
        if self.words.keys.decides() {
            // A difference, since the ends are read together otherwise, just after one of them was written.
            self.words.sources.push((word.source_start, word.source_end - word.source_start));
        }
        if self.words.keys.push(stream, &word) {
            self.select();
        }
    }
}

fn by_word(
    decision: Decision,
    text: &str,
    spans: &[(usize, usize)],
    mask: &mut [u8],
    scratch: &mut Scratch,
) -> LongestRun {
    let Scratch { stream, dropped, words: earlier, .. } = scratch;
    dropped.clear(text.len());
    let mut longest = None;
    simd_dispatch(
        #[inline(always)]
        || {
            let words = WordScratch::starting(earlier.take(), decision);
            let mut words = Words::new(WholeWords { words, dropped: &mut *dropped });
            scan(text, stream, &mut words);
            words.end(stream);
            words.receiver.select();
            let mut words = words.receiver.words;
            longest = words.sources.finish(&mut words.selector);
            *earlier = Some(words);
            for (&(start, end), keep) in spans.iter().zip(mask) {
                *keep = u8::from(!dropped.any(start, end));
            }
        },
    );
    let Some((units, (first, last))) = longest else { return LongestRun::default() };
    // The first token of the first word, and the last one of the last.
    let overlaps = |(start, length): (usize, usize)| {
        move |span: &(usize, usize)| span.0 < start + length && span.1 > start
    };
    let first = spans.iter().position(overlaps(first)).unwrap_or_default() as u64;
    let last = spans.iter().rposition(overlaps(last)).map_or(first, |last| last as u64 + 1);
    LongestRun { units: units as u64, start: first, end: last }
}
