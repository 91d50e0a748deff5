//! The rule `text-v2` by token.

use std::collections::VecDeque;

use crate::rules::lanes::simd_dispatch;
use crate::rules::text_keys::{Decision, Keys};
use crate::runs::LongestRun;
use crate::selection::{Selector, Units};
use crate::text::{Class, Part, Receive, Sink, Stream, Words, scan};

/// What a segment of the text contributes first, and where it comes from, in bytes; or of so many ASCII characters in a row, each of
/// which is a segment, the first one.
#[derive(Debug, Clone, Copy)]
struct Segment {
    stream: usize,
    source: (usize, usize),
    count: usize,
}

impl Segment {
    /// Takes the segments before a place in the stream out of it, of which there is one at least.
    fn before(&mut self, stream: usize) -> Self {
        let count = self.count.min(stream - self.stream);
        let taken = Self { count, ..*self };
        self.count -= count;
        self.stream += count;
        self.source = (self.source.0 + count, self.source.1 + count);
        taken
    }

    /// The bytes of the text that it comes from.
    fn bytes(self) -> (usize, usize) {
        (self.source.0, self.source.1 + self.count - 1)
    }
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
    /// The next tokens that overlap one of these segments first, all those of one segment.
    fn overlapping(&mut self, segments: Segment) -> Option<Unit> {
        let (start, end) = segments.bytes();
        let mut unit: Option<Unit> = None;
        while self.next < self.spans.len() {
            let (from, to) = self.spans[self.order.get(self.next).copied().unwrap_or(self.next)];
            if from >= end {
                break;
            }
            // No earlier segment ends after the token's start, so this is the first that it can overlap.
            if to > start && from < to {
                // Of several segments each is a byte.
                let segment = if segments.count > 1 { from.max(start) } else { start };
                let first = match unit {
                    Some(unit) if unit.segment != segment => break,
                    Some(unit) => unit.from,
                    None => self.next,
                };
                unit = Some(Unit { from: first, to: self.next + 1, segment });
            }
            self.next += 1;
        }
        unit
    }

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
}

impl Receive for TokensOfWords<'_> {
    fn word(&mut self, word: Part, stream: &Stream) {
        let decides = self.keys.decides();
        let (from, to) = (word.stream_start, word.stream_end);
        while let Some(front) = self.segments.front_mut().filter(|segment| segment.stream < to) {
            let segments = front.before(to);
            if front.count == 0 {
                self.segments.pop_front();
            }
            while let Some(unit) = self.overlapping(segments) {
                if !decides {
                    continue;
                }
                let inside = (segments.stream + unit.segment - segments.source.0).saturating_sub(from);
                let before = stream.bytes(from, from + inside);
                let key = if inside == 0 { self.keys.key() } else { self.keys.key_inside(before) };
                self.units.push(unit);
                if self.selector.push(key) {
                    self.select();
                }
            }
        }
        self.keys.push(stream, &word);
    }
}

/// Notes segments, and cuts the stream into words.
struct Segments<'a>(Words<TokensOfWords<'a>>);

impl Sink for Segments<'_> {
    fn char(&mut self, class: Class, start: usize, end: usize, first: bool, stream: &mut Stream) {
        if first {
            let segment = Segment { stream: stream.end().bytes, source: (start, end), count: 1 };
            self.0.receiver.segments.push_back(segment);
        }
        self.0.char(class, start, end, first, stream);
    }

    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        let segment = Segment { stream: stream.end().bytes, source: (start, start + 1), count: end - start };
        self.0.receiver.segments.push_back(segment);
        self.0.ascii(text, start, end, stream);
    }

    fn gap(&mut self) {
        self.0.gap();
    }
}

/// Decides the tokens from position `start` on, of which `mask` has one byte each.
pub(crate) fn by_token(
    decision: Decision,
    text: &str,
    spans: &[(usize, usize)],
    (start, mask): (usize, &mut [u8]),
    (stream, order): (&mut Stream, &mut Vec<usize>),
) -> LongestRun {
    mask.fill(1);
    if !spans.is_sorted_by_key(|span| span.0) {
        order.extend(0..spans.len());
        order.sort_by_key(|&index| spans[index].0);
    }
    let mut longest = None;
    simd_dispatch(
        #[inline(always)]
        || {
            let (keys, selector, segments) = (Keys::new(decision), decision.selector(None), VecDeque::new());
            let units = Units::new();
            let receiver =
                TokensOfWords { keys, selector, units, segments, spans, order, next: 0, start, mask };
            let mut words = Segments(Words::new(receiver));
            scan(text, stream, &mut words);
            words.0.end(stream);
            words.0.receiver.select();
            let TokensOfWords { mut selector, mut units, .. } = words.0.receiver;
            longest = units.finish(&mut selector);
        },
    );
    let Some((units, (first, last))) = longest else { return LongestRun::default() };
    let start = first.positions(spans, order).min().unwrap_or_default() as u64;
    let end = last.positions(spans, order).max().map_or(start, |last| last as u64 + 1);
    LongestRun { units: units as u64, start, end }
}
