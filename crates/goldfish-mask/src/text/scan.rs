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

    /// Bytes `start..start + letters.len()` of the text are ASCII letters and digits; pushes them.
    fn ascii(&mut self, letters: &[u8], start: usize, stream: &mut Stream) {
        for (i, &byte) in letters.iter().enumerate() {
            self.char(Class::Letter, start + i, start + i + 1, true, stream);
            stream.push_ascii(&[byte], lower);
        }
    }

    /// Something that contributes nothing stands here.
    fn gap(&mut self) {}
}

/// The stream's form of an ASCII letter or digit.
pub(crate) fn lower(byte: u8) -> u8 {
    ASCII[usize::from(byte & 0x7F)]
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
        let run = bytes[at..].iter().position(|&byte| !is_letter(byte)).map_or(bytes.len(), |n| at + n);
        // A character that may combine with its predecessor is not ASCII: leave it that one.
        let plain =
            if bytes.get(run).is_some_and(|&byte| byte >= 0x80) { run.saturating_sub(1) } else { run };
        if plain > at {
            sink.ascii(&bytes[at..plain], at, stream);
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
