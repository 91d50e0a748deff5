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
use crate::runs::LongestRun;
use crate::selection::{Last, LongestKept, Selector, check_longest_run, default_longest_run, threshold};
use crate::text::{Class, Marks, Sink, Stream, scan};
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
/// - *Hash of a word*: `xxh3_64(seed, its first 5 normalized characters as UTF-8)`.
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
    fn selector<U: Copy>(&self) -> Selector<U> {
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
    /// Ranks of the words so far.
    ranks: Last,
    /// Hash of the latest word.
    previous: u64,
    /// Words so far.
    words: usize,
}

impl Keys {
    fn new(decision: Decision) -> Self {
        Self { decision, ranks: Last::new(decision.context), previous: 0, words: 0 }
    }

    /// Whether the next word is decided.
    #[inline(always)]
    fn decides(&self) -> bool {
        self.words >= self.decision.needed
    }

    /// Anchor and hash of the previous word: what the key of the next word is made of.
    #[inline(always)]
    fn next(&self) -> [u64; 2] {
        let anchor = self.ranks.values().iter().copied().fold(u64::MAX, u64::min);
        [anchor.to_le(), self.previous.to_le()]
    }

    #[inline(always)]
    fn key(&self) -> u64 {
        xxh3_64_with_seed(bytemuck::cast_slice(&self.next()), self.decision.seed)
    }

    /// The key of a token inside of the next word, after these of its characters.
    fn key_inside(&self, before: &[u8]) -> u64 {
        let mut key = [0; 2 * 8 + 4 * WORD];
        key[..16].copy_from_slice(bytemuck::cast_slice(&self.next()));
        let end = key.len().min(16 + before.len());
        key[16..end].copy_from_slice(&before[..end - 16]);
        xxh3_64_with_seed(&key[..end], self.decision.seed)
    }

    /// Takes the next word: its normalized characters as UTF-8, and how many there are.
    #[inline(always)]
    fn push(&mut self, word: &[u8], chars: usize) {
        let hash = xxh3_64_with_seed(first_chars(word, IDENTITY), self.decision.seed);
        self.ranks.push((hash >> 32) * WEIGHTS[chars.min(LONGEST_WEIGHED)]);
        self.previous = hash;
        self.words += 1;
    }
}

/// The first characters of UTF-8.
#[inline(always)]
fn first_chars(word: &[u8], chars: usize) -> &[u8] {
    let start = &word[..word.len().min(chars)];
    if start.is_ascii() {
        return start;
    }
    let continues = |byte: u8| byte & 0xC0 == 0x80;
    let mut end = 0;
    for _ in 0..chars {
        if end == word.len() {
            break;
        }
        end += 1;
        while word.get(end).copied().is_some_and(continues) {
            end += 1;
        }
    }
    &word[..end]
}

/// A part of the stream that grows: a word, or a letter with its marks.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Where it is in the stream, in bytes.
    stream: (usize, usize),
    /// Where it comes from in the text, in bytes.
    source: (usize, usize),
    /// Its normalized characters; 0 for none.
    chars: usize,
}

impl Part {
    #[inline(always)]
    fn starting(stream: &Stream, start: usize) -> Self {
        Self { stream: (stream.end().bytes, 0), source: (start, start), chars: 0 }
    }

    fn joined(self, next: Self) -> Self {
        Self {
            stream: (self.stream.0, next.stream.1),
            source: (self.source.0, next.source.1),
            chars: self.chars + next.chars,
        }
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
    fn word(&mut self, word: Part, bytes: &[u8]);
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
            self.word.stream.1 = stream.end().bytes;
        }
        self.emit(stream);
    }

    #[inline(always)]
    fn emit(&mut self, stream: &Stream) {
        if self.word.chars > 0 {
            let (from, to) = self.word.stream;
            self.receiver.word(self.word, stream.bytes(from, to));
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
        self.letter.source.1 = end;
    }

    /// The letter that grew is complete; the one before it starts a word if its hash is less than those around it.
    fn end_letter(&mut self, stream: &Stream) {
        self.letter.stream.1 = stream.end().bytes;
        let (from, to) = self.letter.stream;
        let hash = xxh3_64_with_seed(stream.bytes(from, to), 0);
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
        self.word.source.1 = end;
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
            self.word.source.1 = at;
        }
    }

    fn gap(&mut self) {
        self.ended = true;
    }
}

/// Decides words, and marks the bytes of those that are dropped.
struct WholeWords<'a> {
    keys: Keys,
    selector: Selector<(usize, usize)>,
    dropped: &'a mut Marks,
}

impl Receive for WholeWords<'_> {
    #[inline(always)]
    fn word(&mut self, word: Part, bytes: &[u8]) {
        if self.keys.decides() {
            let Self { selector, dropped, .. } = self;
            selector.push(self.keys.key(), word.source, |(start, end)| dropped.mark(start, end, true));
        }
        self.keys.push(bytes, word.chars);
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
    let mut longest = LongestKept { units: 0, ends: None };
    simd_dispatch(
        #[inline(always)]
        || {
            let keys = Keys::new(decision);
            let mut words = Words::new(WholeWords { keys, selector: decision.selector(), dropped });
            scan(text, stream, &mut words);
            words.end(stream);
            let WholeWords { selector, dropped, .. } = words.receiver;
            longest = selector.finish();
            for (&(start, end), keep) in spans.iter().zip(mask) {
                *keep = u8::from(!dropped.any(start, end));
            }
        },
    );
    let Some(((start, first_end), (last_start, end))) = longest.ends else { return LongestRun::default() };
    // The first token of the first word, and the last one of the last.
    let overlaps = |from: usize, to: usize| move |span: &&(usize, usize)| span.0 < to && span.1 > from;
    let position = |found: Option<usize>| found.map(|index| index as u64);
    let first = position(spans.iter().position(|span| overlaps(start, first_end)(&span)));
    let last = position(spans.iter().rposition(|span| overlaps(last_start, end)(&span)));
    match first.zip(last) {
        Some((first, last)) => LongestRun { units: longest.units, start: first, end: last + 1 },
        None => LongestRun { units: longest.units, start: 0, end: 0 },
    }
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
    selector: Selector<Unit>,
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

impl Receive for TokensOfWords<'_> {
    fn word(&mut self, word: Part, bytes: &[u8]) {
        let decides = self.keys.decides();
        while let Some(&segment) = self.segments.front().filter(|segment| segment.stream < word.stream.1) {
            self.segments.pop_front();
            let Some(unit) = self.overlapping(segment.source).filter(|_| decides) else { continue };
            let inside = segment.stream.saturating_sub(word.stream.0);
            let key = if inside == 0 { self.keys.key() } else { self.keys.key_inside(&bytes[..inside]) };
            let Self { selector, spans, order, start, mask, .. } = self;
            selector.push(key, unit, |unit| {
                for position in unit.positions(spans, order) {
                    if let Some(keep) = position.checked_sub(*start).and_then(|index| mask.get_mut(index)) {
                        *keep = 0;
                    }
                }
            });
        }
        self.keys.push(bytes, word.chars);
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
    let mut longest = LongestKept { units: 0, ends: None };
    simd_dispatch(
        #[inline(always)]
        || {
            let (keys, selector, segments) = (Keys::new(decision), decision.selector(), VecDeque::new());
            let receiver = TokensOfWords { keys, selector, segments, spans, order, next: 0, start, mask };
            let mut words = Segments(Words::new(receiver));
            scan(text, stream, &mut words);
            words.0.end(stream);
            longest = words.0.receiver.selector.finish();
        },
    );
    let positions = |unit: Unit| unit.positions(spans, order).map(|position| position as u64);
    let ends = longest.ends.and_then(|(first, last)| positions(first).min().zip(positions(last).max()));
    ends.map_or_else(LongestRun::default, |(first, last)| LongestRun {
        units: longest.units,
        start: first,
        end: last + 1,
    })
}
