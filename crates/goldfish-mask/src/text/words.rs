//! Cuts the normalized stream into the words of `text-v2`.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::scan::{BLOCK, runs};
use super::{Class, Sink, Stream};

/// Longest word, in normalized characters; longer runs are cut.
pub(crate) const WORD: usize = 24;

/// A part of the stream that grows: a word, or a letter with its marks.
///
/// What is written when it starts and what when it grows are not adjacent: they would be read in one load just after each
/// was written, which stalls the processor.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Part {
    /// Where it comes from in the text, in bytes: from here to `source_end`.
    pub(crate) source_start: usize,
    /// Where it is in the stream, in bytes: from here to `stream_end`.
    pub(crate) stream_start: usize,
    /// Its normalized characters; 0 for none.
    pub(crate) chars: usize,
    pub(crate) source_end: usize,
    pub(crate) stream_end: usize,
}

impl Part {
    #[inline(always)]
    fn starting(stream: &Stream, start: usize) -> Self {
        Self {
            stream_start: stream.end().bytes,
            source_start: start,
            source_end: start,
            chars: 0,
            stream_end: 0,
        }
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
pub(crate) trait Receive {
    /// Whether words of ASCII letters and digits come by [`ascii_words`](Self::ascii_words) where that is possible.
    const TAKES_ASCII: bool = false;

    fn word(&mut self, word: Part, stream: &Stream);

    /// The next words, from the block of a text at byte `at`: where each starts in the block, 63 at most, and how many bytes it has,
    /// [`WORD`] at most. They are ASCII letters and digits, in any case, and not in the stream.
    fn ascii_words(&mut self, _text: &[u8], _at: usize, _words: AsciiWords) {}
}

/// Words of a block: runs of letters, as bits, none of which reaches the last bit.
pub(crate) struct AsciiWords {
    letters: u64,
}

impl AsciiWords {
    /// The most that there are.
    pub(crate) const MOST: usize = BLOCK / 2 + BLOCK / WORD;
}

impl Iterator for AsciiWords {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.letters == 0 {
            return None;
        }
        let start = self.letters.trailing_zeros() as usize;
        let run = (!(self.letters >> start)).trailing_zeros() as usize;
        let length = run.min(WORD);
        self.letters &= u64::MAX << (start + length);
        Some((start, length))
    }
}

/// Cuts the stream into words.
pub(crate) struct Words<R> {
    pub(crate) receiver: R,
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
    pub(crate) fn new(receiver: R) -> Self {
        let (word, letter) = Default::default();
        Self { receiver, kind: Kind::Letters, word, ended: true, letter, waiting: None, before: None }
    }

    /// Ends what grows; the next character of the stream starts a word.
    #[inline(always)]
    pub(crate) fn end(&mut self, stream: &Stream) {
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
    const WHOLE_RUNS: bool = R::TAKES_ASCII;

    #[inline(always)]
    fn block(&mut self, text: &[u8], at: usize, (letters, len): (u64, usize), stream: &mut Stream) {
        if !R::TAKES_ASCII {
            return runs(self, text, at, (letters, len), stream);
        }
        // The first letters may continue a word, and the last ones be continued. Those between are whole words.
        let first = if self.ended { 0 } else { letters.trailing_ones() as usize };
        if first > 0 {
            self.ascii(text, at, at + first, stream);
            if first == len {
                return;
            }
        }
        self.end(stream);
        (self.ended, self.kind) = (true, Kind::Letters);
        let last = len - (letters << (BLOCK - len)).leading_ones() as usize;
        let whole = letters & (u64::MAX << first) & !(u64::MAX.checked_shl(last as u32).unwrap_or(0));
        self.receiver.ascii_words(text, at, AsciiWords { letters: whole });
        if last < len {
            self.ascii(text, at + last, at + len, stream);
        }
    }

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
