//! The four pre-tokenization patterns that nearly every byte-level tokenizer uses, written out as scanners.
//!
//! Each scanner follows its pattern alternative by alternative, in the order of the pattern, with the
//! backtracking that the alternative allows. All of them cover the whole text: every character belongs to
//! exactly one word.

use crate::classes::{Classes, LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER};

/// Longest run of white space, in bytes, that the scanners take.
///
/// The exact path matches `\s+(?!\S)` by backtracking, with a stack of a million entries, and stops splitting
/// for good when that overflows. Texts that come anywhere near it are left to the exact path, so that even
/// then the ids are its ids.
pub(crate) const MAX_SPACE_RUN: usize = 1 << 16;

/// A pre-tokenization pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// GPT-2, GPT-NeoX, and every `ByteLevel` pre-tokenizer with its own regex.
    Gpt2,
    /// `cl100k_base`: Llama-3 takes up to three digits a word, Qwen2 one.
    Cl100k { digits: usize },
    /// `o200k_base`, gpt-oss, Llama-4.
    O200k,
}

const CL100K_HEAD: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
const CL100K_TAIL: &str = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The text has a run of white space longer than [`MAX_SPACE_RUN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpaceRunTooLong;

impl Pattern {
    /// The scanner for a regular expression, if it is one of the known ones, letter for letter.
    pub(crate) fn recognise(regex: &str) -> Option<Self> {
        match regex {
            GPT2 => Some(Self::Gpt2),
            O200K => Some(Self::O200k),
            _ => match regex.strip_prefix(CL100K_HEAD)?.strip_suffix(CL100K_TAIL)? {
                r"\p{N}{1,3}" => Some(Self::Cl100k { digits: 3 }),
                r"\p{N}" => Some(Self::Cl100k { digits: 1 }),
                _ => None,
            },
        }
    }

    /// Calls `word` with the start and end of each word of `text`, in order, without gaps.
    pub(crate) fn split(
        self,
        classes: &Classes,
        text: &str,
        mut word: impl FnMut(usize, usize),
    ) -> Result<(), SpaceRunTooLong> {
        let scan = Scan { classes, text };
        match self {
            Self::Gpt2 => scan.all(|at| scan.gpt2(at), &mut word),
            Self::Cl100k { digits } => scan.all(|at| scan.cl100k(at, digits), &mut word),
            Self::O200k => scan.all(|at| scan.o200k(at), &mut word),
        }
    }
}

struct Scan<'a> {
    classes: &'a Classes,
    text: &'a str,
}

impl Scan<'_> {
    #[inline(always)]
    fn all(
        &self,
        next: impl Fn(usize) -> Result<usize, SpaceRunTooLong>,
        word: &mut impl FnMut(usize, usize),
    ) -> Result<(), SpaceRunTooLong> {
        let mut at = 0;
        while at < self.text.len() {
            let end = next(at)?;
            word(at, end);
            at = end;
        }
        Ok(())
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn class(&self, at: usize) -> (u8, usize) {
        self.classes.at(self.text, at)
    }

    /// The end of the run, from `at`, of characters of which `member` is true.
    #[inline(always)]
    fn run(&self, mut at: usize, member: impl Fn(u8) -> bool) -> usize {
        loop {
            let (class, len) = self.class(at);
            if len == 0 || !member(class) {
                return at;
            }
            at += len;
        }
    }

    /// `\p{N}{1,limit}`, the first of which is at `at`.
    #[inline(always)]
    fn digits(&self, mut at: usize, limit: usize) -> usize {
        for _ in 0..limit {
            let (class, len) = self.class(at);
            if len == 0 || class & NUMBER == 0 {
                break;
            }
            at += len;
        }
        at
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` at `at`: its end.
    #[inline(always)]
    fn contraction(&self, at: usize) -> Option<usize> {
        if self.byte(at) != b'\'' {
            return None;
        }
        match (self.byte(at + 1), self.byte(at + 2)) {
            (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
            (b'r' | b'v', b'e') | (b'l', b'l') => Some(at + 3),
            _ => None,
        }
    }

    /// The same under `(?i:)`. U+017F, the long s, is the one character beyond ASCII that folds to one of these
    /// letters.
    #[inline(always)]
    fn contraction_any_case(&self, at: usize) -> Option<usize> {
        if self.byte(at) != b'\'' {
            return None;
        }
        match (self.byte(at + 1), self.byte(at + 2)) {
            (b's' | b't' | b'm' | b'd' | b'S' | b'T' | b'M' | b'D', _) => Some(at + 2),
            (b'r' | b'v' | b'R' | b'V', b'e' | b'E') | (b'l' | b'L', b'l' | b'L') => Some(at + 3),
            (0xC5, 0xBF) => Some(at + 3),
            _ => None,
        }
    }

    /// `\s+(?!\S)|\s+`, or with `newlines` `\s*[\r\n]+|\s+(?!\S)|\s+`, for the white space at `at`.
    fn space(&self, at: usize, newlines: bool) -> Result<usize, SpaceRunTooLong> {
        let (mut end, mut last, mut after_newline) = (at, at, at);
        loop {
            let (class, len) = self.class(end);
            if len == 0 || class & SPACE == 0 {
                break;
            }
            last = end;
            end += len;
            if class & NEWLINE != 0 {
                after_newline = end;
            }
        }
        if end - at > MAX_SPACE_RUN {
            return Err(SpaceRunTooLong);
        }
        Ok(if newlines && after_newline > at {
            after_newline
        } else if end < self.text.len() && last > at {
            last
        } else {
            end
        })
    }

    fn gpt2(&self, at: usize) -> Result<usize, SpaceRunTooLong> {
        if let Some(end) = self.contraction(at) {
            return Ok(end);
        }
        let first = if self.byte(at) == b' ' { at + 1 } else { at };
        let (class, len) = self.class(first);
        Ok(if len > 0 && class & LETTER != 0 {
            self.run(first + len, |c| c & LETTER != 0)
        } else if len > 0 && class & NUMBER != 0 {
            self.run(first + len, |c| c & NUMBER != 0)
        } else if len > 0 && class & SPACE == 0 {
            self.run(first + len, |c| c & (LETTER | NUMBER | SPACE) == 0)
        } else {
            return self.space(at, false);
        })
    }

    fn cl100k(&self, at: usize, digits: usize) -> Result<usize, SpaceRunTooLong> {
        if let Some(end) = self.contraction_any_case(at) {
            return Ok(end);
        }
        let (class, len) = self.class(at);
        if class & LETTER != 0 {
            return Ok(self.run(at + len, |c| c & LETTER != 0));
        }
        if class & NUMBER != 0 {
            return Ok(self.digits(at, digits));
        }
        let (second, second_len) = self.class(at + len);
        if class & NEWLINE == 0 && second & LETTER != 0 {
            return Ok(self.run(at + len + second_len, |c| c & LETTER != 0));
        }
        match self.other(at, class, second, second_len) {
            Some(first) => {
                let end = self.run(first, |c| c & (LETTER | NUMBER | SPACE) == 0);
                Ok(self.run(end, |c| c & NEWLINE != 0))
            }
            None => self.space(at, true),
        }
    }

    /// Where ` ?[^\s\p{L}\p{N}]+` has its first character of the class, if it matches at `at`.
    #[inline(always)]
    fn other(&self, at: usize, class: u8, second: u8, second_len: usize) -> Option<usize> {
        const NOT_OTHER: u8 = LETTER | NUMBER | SPACE;
        if class & NOT_OTHER == 0 {
            Some(at)
        } else if self.byte(at) == b' ' && second_len > 0 && second & NOT_OTHER == 0 {
            Some(at + 1)
        } else {
            None
        }
    }

    fn o200k(&self, at: usize) -> Result<usize, SpaceRunTooLong> {
        let (class, len) = self.class(at);
        let (second, second_len) = self.class(at + len);
        // Both word alternatives may open with one character that is no letter, number or line end. Marks can
        // be that character and can also be part of the word, so that the way without it is tried as well.
        let prefix = class & (NEWLINE | LETTER | NUMBER) == 0;
        let after = at + len;
        let word = if prefix { self.capitalised(after, second) } else { None };
        if let Some(end) = word.or_else(|| self.capitalised(at, class)) {
            return Ok(self.contraction_any_case(end).unwrap_or(end));
        }
        // No lower case can follow here: `capitalised` would have found it.
        let upper = if prefix && second & UPPER != 0 {
            Some(self.run(after + second_len, |c| c & UPPER != 0))
        } else if class & UPPER != 0 {
            Some(self.run(at + len, |c| c & UPPER != 0))
        } else {
            None
        };
        if let Some(end) = upper {
            return Ok(self.contraction_any_case(end).unwrap_or(end));
        }
        if class & NUMBER != 0 {
            return Ok(self.digits(at, 3));
        }
        match self.other(at, class, second, second_len) {
            Some(first) => {
                let mut end = self.run(first, |c| c & (LETTER | NUMBER | SPACE) == 0);
                while matches!(self.byte(end), b'\r' | b'\n' | b'/') {
                    end += 1;
                }
                Ok(end)
            }
            None => self.space(at, true),
        }
    }

    /// `[UPPER]*[LOWER]+` at `at`, whose character has the classes `class`: its end.
    ///
    /// `[UPPER]*` takes all it can. If no lower case follows, it backtracks to the last character that is of
    /// both classes, and the match ends after that one.
    fn capitalised(&self, at: usize, class: u8) -> Option<usize> {
        if class & (UPPER | LOWER) == 0 {
            return None;
        }
        let (mut end, mut both) = (at, None);
        loop {
            let (class, len) = self.class(end);
            if len == 0 || class & UPPER == 0 {
                break if len > 0 && class & LOWER != 0 {
                    Some(self.run(end + len, |c| c & LOWER != 0))
                } else {
                    both
                };
            }
            end += len;
            if class & LOWER != 0 {
                both = Some(end);
            }
        }
    }
}
