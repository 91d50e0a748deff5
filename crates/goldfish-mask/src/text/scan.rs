//! The walk over a text: segment by segment into the stream.
//!
//! NFKC composes and reorders across characters, so a text is normalised in *segments*: each starts with a character
//! that nothing before it can combine with, and goes on as long as characters can (a letter with its combining
//! marks, the jamo of a syllable). The normalised segments, one after the other, are the normalised text. Most
//! segments are one character, whose way is looked up in a table; the others go through the normaliser, in time
//! linear in their length up to the sorting of marks.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use super::classes::{ASCII, Class, Single, classify, entry};
use super::stream::{Stream, width};

/// What wants to know about the stream as it grows.
pub(crate) trait Sink {
    /// The next character of the stream, of class `Letter`, `Ideograph` or `Mark`, comes from bytes
    /// `start..end` of the text. Called before it is in the stream; `first` for the first one of its segment.
    fn char(&mut self, class: Class, start: usize, end: usize, first: bool, stream: &mut Stream);

    /// Bytes `start..end` of the text are ASCII letters and digits; pushes them.
    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        for at in start..end {
            self.char(Class::Letter, at, at + 1, true, stream);
            stream.push_ascii(&text[at..], 1);
        }
    }

    /// Something that contributes nothing stands here.
    fn gap(&mut self) {}
}

fn is_letter(byte: u8) -> bool {
    byte < 0x80 && ASCII[usize::from(byte)] != 0
}

/// Pushes the whole text through the stream, telling the sink.
pub(crate) fn scan(text: &str, stream: &mut Stream, sink: &mut impl Sink) {
    let bytes = text.as_bytes();
    // Whether a mark here belongs to a letter or number before it.
    let mut attached = false;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(letters) = ascii_block(&bytes[at..]) {
            block(bytes, at, letters, stream, sink);
            attached = letters >> (BLOCK - 1) == 1;
            at += BLOCK;
            continue;
        }
        let run = bytes[at..].iter().position(|&byte| !is_letter(byte)).map_or(bytes.len(), |n| at + n);
        // A character that may combine with its predecessor is not ASCII: leave it that one.
        let plain =
            if bytes.get(run).is_some_and(|&byte| byte >= 0x80) { run.saturating_sub(1) } else { run };
        if plain > at {
            sink.ascii(bytes, at, plain, stream);
            attached = true;
            at = plain;
            continue;
        }
        if bytes[at] < 0x80 && bytes.get(at + 1).is_none_or(|&byte| byte < 0x80) {
            sink.gap();
            attached = false;
            at += 1;
            continue;
        }
        at = segment(text, at, &mut attached, stream, sink);
    }
}

/// Bytes that are looked at together where a text is ASCII.
const BLOCK: usize = 64;

/// One bit for each of the first 64 bytes that is a letter or digit, if all are ASCII and so is the byte behind
/// them: what follows a block must not combine with it.
fn ascii_block(bytes: &[u8]) -> Option<u64> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (block, rest) = bytes.split_first_chunk::<BLOCK>()?;
    if rest.first().is_none_or(|&byte| byte >= 0x80) {
        return None;
    }
    let mut letters = 0;
    for (i, eight) in block.as_chunks::<8>().0.iter().enumerate() {
        let x = u64::from_le_bytes(*eight);
        if x & HIGH != 0 {
            return None;
        }
        // In bytes below 0x80 nothing carries over; the highest bit tells `byte >= bound`.
        let at_least = |x: u64, bound: u8| x + EACH * u64::from(0x80 - bound);
        let small = x | (EACH * 0x20);
        let letter = at_least(small, b'a') & !at_least(small, b'z' + 1);
        let digit = at_least(x, b'0') & !at_least(x, b'9' + 1);
        // Gathers the eight highest bits in the highest byte.
        let bits = ((letter | digit) & HIGH) >> 7;
        letters |= (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    Some(letters)
}

/// The runs of letters in a block.
fn block(bytes: &[u8], at: usize, letters: u64, stream: &mut Stream, sink: &mut impl Sink) {
    let mut done = 0;
    while done < BLOCK {
        let gap = (letters >> done).trailing_zeros() as usize;
        if gap > 0 {
            sink.gap();
            done += gap;
        }
        if done >= BLOCK {
            return;
        }
        let run = (!(letters >> done)).trailing_zeros() as usize;
        // Behind the block the shifted bits are 0, so that no run reaches beyond it, but for the full block.
        sink.ascii(bytes, at + done, at + done + run, stream);
        done += run;
    }
}

/// The segment at byte `start`; returns its end.
fn segment(
    text: &str,
    start: usize,
    attached: &mut bool,
    stream: &mut Stream,
    sink: &mut impl Sink,
) -> usize {
    let lead = width(text.as_bytes()[start]);
    let mut end = start + lead;
    let follows = |at: usize| text[at..].chars().next().filter(|&c| !entry(c).starts_segment());
    while let Some(c) = follows(end) {
        end += c.len_utf8();
    }
    let segment = &text[start..end];
    let mut first = true;
    let mut push = |c: char, class: Class, attached: &mut bool| {
        match class {
            Class::Letter | Class::Ideograph => *attached = true,
            Class::Mark if *attached => {}
            Class::Mark | Class::Ignorable => return,
            Class::Other => {
                *attached = false;
                return;
            }
        }
        sink.char(class, start, end, first, stream);
        stream.push(c);
        first = false;
    };
    let single = segment.chars().next().filter(|_| segment.len() == lead).map(|c| entry(c).single());
    if let Some(Single::Char(c, class)) = single {
        push(c, class, attached);
    } else {
        for c in segment.nfkc().default_case_fold() {
            push(c, classify(c), attached);
        }
    }
    if first {
        sink.gap();
    }
    end
}
