//! The walk over a text: segment by segment into the stream.
//!
//! NFKC composes and reorders across characters, so a text is normalized in *segments*: each starts with a character
//! that nothing before it can combine with, and continues as long as characters can (a letter with its combining
//! marks, the jamo of a syllable). The normalized segments, one after the other, are the normalized text. Most
//! segments are one character, whose contribution is looked up in a table; the others go through the normalizer, in time
//! linear in their length up to the sorting of marks.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use super::classes::{Class, Single, classify, entry};
use super::stream::Stream;

/// Receives the characters of the stream as it grows.
pub(crate) trait Sink {
    /// Whether blocks end before a run of letters that may continue after them, where they can.
    const WHOLE_RUNS: bool = false;

    /// The next character of the stream, of class `Letter`, `Ideograph`, `Spaceless` or `Mark`, comes from bytes
    /// `start..end` of the text. Called before it is in the stream; `first` for the first one of its segment.
    fn char(&mut self, class: Class, start: usize, end: usize, first: bool, stream: &mut Stream);

    /// Bytes `start..end` of the text are ASCII letters and digits; pushes them.
    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        for at in start..end {
            self.char(Class::Letter, at, at + 1, true, stream);
            stream.push_ascii(&text[at..], 1);
        }
    }

    /// Something that contributes nothing is here.
    fn gap(&mut self) {}

    /// The bytes of the text from `at` on are ASCII: `len` of them, 1 to 64, of which `letters` has a bit for each letter or digit.
    #[inline(always)]
    fn block(&mut self, text: &[u8], at: usize, block: (u64, usize), stream: &mut Stream) {
        runs(self, text, at, block, stream);
    }
}

/// Adds the whole text to the stream, and calls the sink for each part.
#[inline(always)]
pub(crate) fn scan<S: Sink>(text: &str, stream: &mut Stream, sink: &mut S) {
    let bytes = text.as_bytes();
    // Whether a mark here belongs to a letter or number before it.
    let mut attached = false;
    let mut at = 0;
    while at < bytes.len() {
        let ascii = bytes[at] < 0x80 && bytes.get(at + 1).is_none_or(|&byte| byte < 0x80);
        if ascii {
            let AsciiBlock { mut letters, mut len } = ascii_block(&bytes[at..]);
            if S::WHOLE_RUNS && len == BLOCK {
                let run = letters.leading_ones() as usize;
                if run < BLOCK {
                    len -= run;
                    letters &= u64::MAX >> run;
                }
            }
            sink.block(bytes, at, (letters, len), stream);
            attached = letters >> (len - 1) & 1 == 1;
            at += len;
        } else {
            at = segments(text, at, &mut attached, stream, sink);
        }
    }
}

/// The runs of letters in a block, one after the other; arguments as of [`Sink::block`].
#[inline(always)]
pub(super) fn runs(
    sink: &mut (impl Sink + ?Sized),
    text: &[u8],
    at: usize,
    (letters, len): (u64, usize),
    stream: &mut Stream,
) {
    let mut done = 0;
    while done < len {
        let gap = (letters >> done).trailing_zeros() as usize;
        if gap > 0 {
            sink.gap();
            done += gap;
        }
        if done >= len {
            return;
        }
        // After the block the shifted bits are 0, so that no run extends beyond it, except in the full block.
        let run = (!(letters >> done)).trailing_zeros() as usize;
        sink.ascii(text, at + done, at + done + run, stream);
        done += run;
    }
}

/// Bytes that are looked at together where a text is ASCII.
pub(super) const BLOCK: usize = 64;

/// ASCII characters that nothing after them can combine with.
struct AsciiBlock {
    /// One bit for each that is a letter or digit.
    letters: u64,
    /// How many there are, 64 at most.
    len: usize,
}

/// The block at the start of bytes of which the first two are ASCII, or the only one is.
#[inline(always)]
fn ascii_block(bytes: &[u8]) -> AsciiBlock {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut padded = [0; BLOCK];
    let block = match bytes.first_chunk::<BLOCK>() {
        Some(block) => block,
        None => {
            padded[..bytes.len()].copy_from_slice(bytes);
            &padded
        }
    };
    let (mut letters, mut high) = (0, 0);
    for (i, eight) in block.as_chunks::<8>().0.iter().enumerate() {
        let x = u64::from_le_bytes(*eight);
        high |= x & HIGH;
        // In bytes below 0x80 nothing carries over, and what carries over from others goes upwards only; the highest bit
        // says `byte >= bound`.
        let at_least = |x: u64, bound: u8| x.wrapping_add(EACH * u64::from(0x80 - bound));
        let small = x | (EACH * 0x20);
        let letter = at_least(small, b'a') & !at_least(small, b'z' + 1);
        let digit = at_least(x, b'0') & !at_least(x, b'9' + 1);
        // Gathers the eight highest bits in the highest byte.
        let bits = ((letter | digit) & HIGH) >> 7;
        letters |= (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    let ascii = if high == 0 { BLOCK } else { block.iter().position(|&byte| byte >= 0x80).unwrap_or(BLOCK) };
    // A character that may combine with its predecessor is not ASCII: leave it that one.
    let len = match bytes.get(ascii) {
        Some(0x80..) => ascii - 1,
        Some(_) => ascii,
        None => bytes.len(),
    };
    AsciiBlock { letters: letters & (u64::MAX >> (BLOCK - len)), len }
}

/// The segments from byte `start` on, up to the next one that starts with an ASCII character; returns its start.
fn segments(
    text: &str,
    start: usize,
    attached: &mut bool,
    stream: &mut Stream,
    sink: &mut impl Sink,
) -> usize {
    let bytes = text.as_bytes();
    // The character at a byte offset, if it isn't ASCII.
    let character = |at: usize| match bytes.get(at) {
        Some(0x80..) => text[at..].chars().next().map(|c| (c, entry(c))),
        _ => None,
    };
    let (mut start, mut lead) = (start, text[start..].chars().next().map(|c| (c, entry(c))));
    while let Some((c, way)) = lead {
        let mut end = start + c.len_utf8();
        lead = character(end);
        let alone = lead.is_none_or(|(_, next)| next.starts_segment());
        while let Some((c, _)) = lead.filter(|(_, next)| !next.starts_segment()) {
            end += c.len_utf8();
            lead = character(end);
        }
        match way.single() {
            Single::Char(c, class) if alone => single((c, class), (start, end), attached, stream, sink),
            way => several(text, (start, end), (c, way), attached, stream, sink),
        }
        start = end;
    }
    start
}

/// Whether a character of this class contributes to the stream; updates whether a mark after it would.
#[inline]
fn contributes(class: Class, attached: &mut bool) -> bool {
    match class {
        Class::Letter | Class::Ideograph | Class::Spaceless => {
            *attached = true;
            true
        }
        Class::Mark => *attached,
        Class::Ignorable => false,
        Class::Other => {
            *attached = false;
            false
        }
    }
}

/// A segment that comes to one character.
#[inline]
fn single(
    (c, class): (char, Class),
    (start, end): (usize, usize),
    attached: &mut bool,
    stream: &mut Stream,
    sink: &mut impl Sink,
) {
    if contributes(class, attached) {
        sink.char(class, start, end, true, stream);
        stream.push(c);
    } else {
        sink.gap();
    }
}

/// Any other segment, which starts with character `c`.
fn several(
    text: &str,
    (start, end): (usize, usize),
    (c, way): (char, Single),
    attached: &mut bool,
    stream: &mut Stream,
    sink: &mut impl Sink,
) {
    // A space ends the word before it, also where what combines with the space is a letter (U+0345 folds to one).
    let is_one = end - start == c.len_utf8();
    if !is_one && !contributes_alone(c, way, *attached) {
        sink.gap();
    }
    let mut first = true;
    for c in text[start..end].nfkc().default_case_fold() {
        let class = classify(c);
        if contributes(class, attached) {
            sink.char(class, start, end, first, stream);
            stream.push(c);
            first = false;
        }
    }
    // Of a single character that is known now.
    if is_one && first {
        sink.gap();
    }
}

/// Whether the first character of a segment would contribute to the stream if nothing combined with it.
fn contributes_alone(c: char, way: Single, mut attached: bool) -> bool {
    match way {
        Single::Char(_, class) => contributes(class, &mut attached),
        Single::Complex => {
            std::iter::once(c).nfkc().default_case_fold().any(|c| contributes(classify(c), &mut attached))
        }
    }
}
