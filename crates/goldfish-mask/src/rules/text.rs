//! The rule `text-v2`: decisions for words, from two of the words before them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{
    Granularity, ShortContext, WORD_CONTEXT, check_anchor_context, check_k, longest_run_name,
};
use crate::rule::{MaskRule, TokenSpan, check_text};
use crate::rules::lanes::simd_dispatch;
use crate::rules::xxh3::SixteenHash;
use crate::runs::LongestRun;
use crate::selection::{Last, LongestKept, Selector, check_longest_run, default_longest_run, threshold};
use crate::text::{Class, Marks, Sink, Stream, scan, width};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, RunUnit, UniformTable};

/// Longest word, in normalized characters; longer runs are cut.
const WORD: usize = 24;

/// Normalized characters by which words are told apart: an error further into a word changes nothing.
const IDENTITY: usize = 5;

/// Normalized characters from which on longer words don't win more often.
const LONGEST_WEIGHED: usize = 16;

/// What the ranks of words are multiplied by, for each length: three quarters of that of the next shorter words, so that
/// long words win more often than short ones, which are in every sentence.
const WEIGHTS: [u64; LONGEST_WEIGHED + 1] = {
    let mut weights = [1 << 32; LONGEST_WEIGHED + 1];
    let mut length = 2;
    while length <= LONGEST_WEIGHED {
        weights[length] = weights[length - 1] * 3 / 4;
        length += 1;
    }
    weights
};

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
        let needed = match self.short_context {
            ShortContext::Keep => context,
            ShortContext::Short => 1,
        };
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
            .short_context(short_context)
            .seed(seed);
        Ok(match longest_run {
            Some(longest_run) => rule.longest_run(longest_run.most()),
            None => rule,
        })
    }
}

impl RuleDefinition for Text {
    fn name(&self) -> &'static str {
        "text-v2"
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

#[derive(Debug, Clone, Copy)]
struct Decision {
    threshold: u64,
    /// Units of a window.
    window: Option<usize>,
    /// Words among which an anchor is.
    context: usize,
    /// Words that must come before a word for it to be decided.
    needed: usize,
    seed: u64,
    /// Drops everything that is decided.
    all: bool,
}

impl Decision {
    fn selector(&self) -> Selector {
        Selector::new(self.threshold, self.window, self.all)
    }
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
                    by_token(self.decision, text, all, (start, mask), scratch)
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

/// The keys of words, one after the other.
#[derive(Debug)]
struct Keys {
    decision: Decision,
    hash: SixteenHash,
    /// Ranks of the words so far.
    ranks: Last,
    /// Hash of the latest word.
    previous: u64,
    /// Words so far.
    words: usize,
}

impl Keys {
    fn new(decision: Decision) -> Self {
        let (hash, ranks) = (SixteenHash::new(decision.seed), Last::new(decision.context));
        Self { decision, hash, ranks, previous: 0, words: 0 }
    }

    /// Whether the next word is decided.
    #[inline(always)]
    fn decides(&self) -> bool {
        self.words >= self.decision.needed
    }

    #[inline(always)]
    fn anchor(&self) -> u64 {
        self.ranks.values().iter().copied().fold(u64::MAX, u64::min)
    }

    /// The key of the next word.
    #[inline(always)]
    fn key(&self) -> u64 {
        self.hash.hash(self.anchor(), self.previous)
    }

    /// The key of a token inside of the next word, after these of its characters.
    fn key_inside(&self, before: &[u8]) -> u64 {
        let mut key = [0; 2 * 8 + 4 * WORD];
        key[..8].copy_from_slice(&self.anchor().to_le_bytes());
        key[8..16].copy_from_slice(&self.previous.to_le_bytes());
        let end = key.len().min(16 + before.len());
        key[16..end].copy_from_slice(&before[..end - 16]);
        xxh3_64_with_seed(&key[..end], self.decision.seed)
    }

    /// Takes the next word: where it is in the stream, and how many characters it has.
    #[inline(always)]
    fn push(&mut self, stream: &Stream, from: usize, to: usize, chars: usize) {
        let (first, last) = identity(stream, from, to);
        let hash = self.hash.hash(first, last);
        self.ranks.push((hash >> 32) * WEIGHTS[chars.min(LONGEST_WEIGHED)]);
        self.previous = hash;
        self.words += 1;
    }
}

/// The first characters of a word as UTF-8, in sixteen bytes.
#[inline(always)]
fn identity(stream: &Stream, from: usize, to: usize) -> (u64, u64) {
    const HIGH: u64 = 0x80_8080_8080;
    let bits = 8 * (to - from).min(IDENTITY);
    match stream.eight_bytes(from).map(|eight| eight & ((1 << bits) - 1)) {
        Some(first) if first & HIGH == 0 => (first, 0),
        _ => wide_identity(stream.bytes(from, to)),
    }
}

#[inline(never)]
fn wide_identity(word: &[u8]) -> (u64, u64) {
    let mut end = 0;
    for _ in 0..IDENTITY {
        let Some(&lead) = word.get(end) else { break };
        end += width(lead);
    }
    let mut bytes = [0; 16];
    let end = end.min(bytes.len());
    bytes[..end].copy_from_slice(&word[..end]);
    let [first, last] = bytemuck::cast::<_, [u64; 2]>(bytes);
    (first, last)
}

/// A part of the stream that grows: a word, or a letter with its marks.
///
/// What is written when it starts and what when it grows are not adjacent: they would be read in one load just after each
/// was written, which stalls the processor.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Part {
    /// Where it comes from in the text, in bytes: from here to `source_end`.
    source_start: usize,
    /// Where it is in the stream, in bytes: from here to `stream_end`.
    stream_start: usize,
    /// Its normalized characters; 0 for none.
    chars: usize,
    source_end: usize,
    stream_end: usize,
}

impl Part {
    #[inline(always)]
    fn starting(stream: &Stream, start: usize) -> Self {
        Self { stream_start: stream.end().bytes, source_start: start, source_end: start, chars: 0, stream_end: 0 }
    }

    fn joined(self, next: Self) -> Self {
        let chars = self.chars + next.chars;
        Self { source_end: next.source_end, stream_end: next.stream_end, chars, ..self }
    }
}

/// What the letters of a word are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letters,
    Ideograph,
    /// Letters of a script without spaces between words.
    Spaceless,
}

/// Receives words: which one, and the stream, of which it is a part.
trait Receive {
    fn word(&mut self, word: Part, stream: &Stream);
}

/// Cuts the stream into words.
struct Words<R> {
    receiver: R,
    kind: Kind,
    word: Part,
    /// Whether the word ended, and whatever comes next starts another one.
    ended: bool,
    /// Of a spaceless run: the letter that grows, and the one before it, with its hash, which may start a word.
    letter: Part,
    waiting: Option<(Part, u64)>,
    /// Hash of the letter before that one.
    before: Option<u64>,
}

impl<R: Receive> Words<R> {
    fn new(receiver: R) -> Self {
        let (word, letter) = Default::default();
        Self { receiver, kind: Kind::Letters, word, ended: true, letter, waiting: None, before: None }
    }

    /// Ends what grows; the next character of the stream starts a word.
    #[inline(always)]
    fn end(&mut self, stream: &Stream) {
        if self.kind == Kind::Spaceless {
            self.end_run(stream);
        } else {
            self.word.stream_end = stream.end().bytes;
        }
        self.emit(stream);
    }

    #[inline(always)]
    fn emit(&mut self, stream: &Stream) {
        if self.word.chars > 0 {
            self.receiver.word(self.word, stream);
            self.word.chars = 0;
        }
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind, start: usize, stream: &Stream) {
        self.end(stream);
        self.kind = kind;
        self.ended = false;
        self.word = Part::starting(stream, start);
    }

    #[cold]
    fn spaceless(&mut self, joins: bool, start: usize, end: usize, stream: &Stream) {
        if self.ended || self.kind != Kind::Spaceless {
            self.open(Kind::Spaceless, start, stream);
            self.letter = Part::starting(stream, start);
        } else if !joins || self.letter.chars == WORD {
            self.end_letter(stream);
            self.letter = Part::starting(stream, start);
        }
        self.letter.chars += 1;
        self.letter.source_end = end;
    }

    /// The letter that grew is complete; the one before it starts a word if its hash is less than those around it.
    fn end_letter(&mut self, stream: &Stream) {
        self.letter.stream_end = stream.end().bytes;
        let letter = stream.bytes(self.letter.stream_start, self.letter.stream_end);
        let hash = xxh3_64_with_seed(letter, 0);
        if let Some((letter, own)) = self.waiting.replace((self.letter, hash)) {
            let starts = self.before.is_some_and(|before| own < before) && own <= hash;
            self.place(letter, starts, stream);
            self.before = Some(own);
        }
    }

    fn end_run(&mut self, stream: &Stream) {
        if self.letter.chars > 0 {
            self.end_letter(stream);
            self.letter.chars = 0;
        }
        if let Some((letter, _)) = self.waiting.take() {
            self.place(letter, false, stream);
        }
        self.before = None;
    }

    /// Adds a letter to the word, or starts another one with it.
    fn place(&mut self, letter: Part, starts: bool, stream: &Stream) {
        if starts || self.word.chars + letter.chars > WORD {
            self.emit(stream);
        }
        self.word = if self.word.chars == 0 { letter } else { self.word.joined(letter) };
    }
}

impl<R: Receive> Sink for Words<R> {
    #[inline]
    fn char(&mut self, class: Class, start: usize, end: usize, _first: bool, stream: &mut Stream) {
        let kind = match class {
            Class::Mark => self.kind,
            Class::Ideograph => Kind::Ideograph,
            Class::Spaceless => Kind::Spaceless,
            _ => Kind::Letters,
        };
        let mark = class == Class::Mark;
        if kind == Kind::Spaceless {
            return self.spaceless(mark, start, end, stream);
        }
        let joins = mark || kind == Kind::Letters && self.kind == Kind::Letters;
        if self.ended || !joins || self.word.chars == WORD {
            self.open(kind, start, stream);
        }
        self.word.chars += 1;
        self.word.source_end = end;
    }

    #[inline(always)]
    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        let mut at = start;
        while at < end {
            if self.ended || self.word.chars == WORD || self.kind != Kind::Letters {
                self.open(Kind::Letters, at, stream);
            }
            let taken = (WORD - self.word.chars).min(end - at);
            stream.push_ascii(&text[at..], taken);
            self.word.chars += taken;
            at += taken;
            self.word.source_end = at;
        }
    }

    fn gap(&mut self) {
        self.ended = true;
    }
}

/// Decides words, and marks the bytes of those that are dropped.
struct WholeWords<'a> {
    keys: Keys,
    selector: Selector,
    /// Where decided words come from in the text, and from how many bytes.
    sources: Sources,
    dropped: &'a mut Marks,
}

/// What units are, by their numbers, as long as it is asked for.
struct Units<U> {
    units: VecDeque<U>,
    /// Number of the first.
    first: usize,
    longest: LongestKept,
    /// First and last unit of the longest run.
    ends: Option<(U, U)>,
}

type Sources = Units<(usize, usize)>;

impl<U: Copy> Units<U> {
    fn new() -> Self {
        Self { units: VecDeque::new(), first: 0, longest: LongestKept::default(), ends: None }
    }

    #[inline(always)]
    fn get(&self, number: usize) -> U {
        self.units[number - self.first]
    }

    /// Notes the longest run so far, and forgets the units before number `needed`.
    fn settle(&mut self, longest: LongestKept, needed: usize) {
        if longest != self.longest {
            let last = longest.start + longest.units - 1;
            (self.longest, self.ends) = (longest, Some((self.get(longest.start), self.get(last))));
        }
        self.units.drain(..needed - self.first);
        self.first = needed;
    }
}

impl WholeWords<'_> {
    /// Selects among the words that came.
    #[inline(never)]
    fn select(&mut self) {
        let Self { selector, sources, dropped, .. } = self;
        selector.block(|number| {
            let (start, length) = sources.get(number);
            dropped.mark(start, start + length, true);
        });
        sources.settle(selector.longest(), selector.needed());
    }

    fn finish(mut self) -> Option<(usize, Ends)> {
        self.select();
        self.selector.end();
        self.sources.settle(self.selector.longest(), self.sources.first);
        self.sources.ends.map(|ends| (self.sources.longest.units, ends))
    }
}

/// First and last word of a run: where each comes from in the text, and from how many bytes.
type Ends = ((usize, usize), (usize, usize));

impl Receive for WholeWords<'_> {
    #[inline(always)]
    fn word(&mut self, word: Part, stream: &Stream) {
        if self.keys.decides() {
            let length = word.source_end - word.source_start;
            self.sources.units.push_back((word.source_start, length));
            if self.selector.push(self.keys.key()) {
                self.select();
            }
        }
        self.keys.push(stream, word.stream_start, word.stream_end, word.chars);
    }
}

fn by_word(
    decision: Decision,
    text: &str,
    spans: &[(usize, usize)],
    mask: &mut [u8],
    scratch: &mut Scratch,
) -> LongestRun {
    let Scratch { stream, dropped, .. } = scratch;
    dropped.clear(text.len());
    let mut longest = None;
    simd_dispatch(
        #[inline(always)]
        || {
            let (keys, selector, sources) = (Keys::new(decision), decision.selector(), Units::new());
            let mut words = Words::new(WholeWords { keys, selector, sources, dropped: &mut *dropped });
            scan(text, stream, &mut words);
            words.end(stream);
            longest = words.receiver.finish();
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

/// What a segment of the text contributes first, and where it comes from, in bytes.
#[derive(Debug, Clone, Copy)]
struct Segment {
    stream: usize,
    source: (usize, usize),
}

/// Decides tokens, each with the key of its word and the characters of the word before it.
struct TokensOfWords<'a> {
    keys: Keys,
    selector: Selector,
    units: Units<Unit>,
    /// Segments that are in no complete word yet.
    segments: VecDeque<Segment>,
    spans: &'a [(usize, usize)],
    /// Indices of the tokens in the order of their starts, if that is not their own; else empty.
    order: &'a [usize],
    next: usize,
    /// Position of the first token of the mask.
    start: usize,
    mask: &'a mut [u8],
}

/// Tokens whose first contributing segment is the same: those of `from..to`, in the order of their starts, that end after
/// the segment's start.
#[derive(Debug, Clone, Copy)]
struct Unit {
    from: usize,
    to: usize,
    segment: usize,
}

impl Unit {
    /// Positions of its tokens.
    fn positions(self, spans: &[(usize, usize)], order: &[usize]) -> impl Iterator<Item = usize> {
        let position = move |number: usize| order.get(number).copied().unwrap_or(number);
        let overlaps = move |&position: &usize| {
            let (from, to) = spans[position];
            from < to && to > self.segment
        };
        (self.from..self.to).map(position).filter(overlaps)
    }
}

impl TokensOfWords<'_> {
    /// The tokens that overlap this segment and none before it.
    fn overlapping(&mut self, (start, end): (usize, usize)) -> Option<Unit> {
        let mut unit: Option<Unit> = None;
        while self.next < self.spans.len() {
            let (from, to) = self.spans[self.order.get(self.next).copied().unwrap_or(self.next)];
            if from >= end {
                break;
            }
            // No earlier segment ends after the token's start, so this is the first that it can overlap.
            if to > start && from < to {
                let first = unit.map_or(self.next, |unit| unit.from);
                unit = Some(Unit { from: first, to: self.next + 1, segment: start });
            }
            self.next += 1;
        }
        unit
    }
}

impl TokensOfWords<'_> {
    /// Selects among the tokens that came.
    fn select(&mut self) {
        let Self { selector, units, spans, order, start, mask, .. } = self;
        selector.block(|number| {
            for position in units.get(number).positions(spans, order) {
                if let Some(keep) = position.checked_sub(*start).and_then(|index| mask.get_mut(index)) {
                    *keep = 0;
                }
            }
        });
        units.settle(selector.longest(), selector.needed());
    }

    fn finish(mut self) -> Option<(usize, (Unit, Unit))> {
        self.select();
        self.selector.end();
        self.units.settle(self.selector.longest(), self.units.first);
        self.units.ends.map(|ends| (self.units.longest.units, ends))
    }
}

impl Receive for TokensOfWords<'_> {
    fn word(&mut self, word: Part, stream: &Stream) {
        let decides = self.keys.decides();
        let (from, to) = (word.stream_start, word.stream_end);
        while let Some(&segment) = self.segments.front().filter(|segment| segment.stream < to) {
            self.segments.pop_front();
            let Some(unit) = self.overlapping(segment.source).filter(|_| decides) else { continue };
            let inside = segment.stream.saturating_sub(from);
            let before = stream.bytes(from, from + inside);
            let key = if inside == 0 { self.keys.key() } else { self.keys.key_inside(before) };
            self.units.units.push_back(unit);
            if self.selector.push(key) {
                self.select();
            }
        }
        self.keys.push(stream, word.stream_start, word.stream_end, word.chars);
    }
}

/// Notes segments, and cuts the stream into words.
struct Segments<'a>(Words<TokensOfWords<'a>>);

impl Sink for Segments<'_> {
    fn char(&mut self, class: Class, start: usize, end: usize, first: bool, stream: &mut Stream) {
        if first {
            let segment = Segment { stream: stream.end().bytes, source: (start, end) };
            self.0.receiver.segments.push_back(segment);
        }
        self.0.char(class, start, end, first, stream);
    }

    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        let bytes = stream.end().bytes;
        let segments = (start..end).map(|at| Segment { stream: bytes + at - start, source: (at, at + 1) });
        self.0.receiver.segments.extend(segments);
        self.0.ascii(text, start, end, stream);
    }

    fn gap(&mut self) {
        self.0.gap();
    }
}

/// Decides the tokens from position `start` on, of which `mask` has one byte each.
fn by_token(
    decision: Decision,
    text: &str,
    spans: &[(usize, usize)],
    (start, mask): (usize, &mut [u8]),
    scratch: &mut Scratch,
) -> LongestRun {
    let Scratch { stream, order, .. } = scratch;
    mask.fill(1);
    if !spans.is_sorted_by_key(|span| span.0) {
        order.extend(0..spans.len());
        order.sort_by_key(|&index| spans[index].0);
    }
    let mut longest = None;
    simd_dispatch(
        #[inline(always)]
        || {
            let (keys, selector, segments) = (Keys::new(decision), decision.selector(), VecDeque::new());
            let units = Units::new();
            let receiver = TokensOfWords { keys, selector, units, segments, spans, order, next: 0, start, mask };
            let mut words = Segments(Words::new(receiver));
            scan(text, stream, &mut words);
            words.0.end(stream);
            longest = words.0.receiver.finish();
        },
    );
    let Some((units, (first, last))) = longest else { return LongestRun::default() };
    let start = first.positions(spans, order).min().unwrap_or_default() as u64;
    let end = last.positions(spans, order).max().map_or(start, |last| last as u64 + 1);
    LongestRun { units: units as u64, start, end }
}
