//! Words, as edits count them.

use std::ops::Range;

use unicode_general_category::{GeneralCategory as Category, get_general_category};

/// Letters of a piece of a script that is written without spaces between words.
const PIECE: usize = 5;

/// What a character does to words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Belongs to no word.
    Other,
    /// Belongs to the word before it, if there is one.
    Mark,
    /// Makes words with its neighbors.
    Letter,
    /// Makes words with its neighbors, but there are no spaces between these: Thai, Lao, Burmese, Khmer.
    Unspaced,
    /// A word on its own: an ideograph or a kana.
    Alone,
}

pub(super) fn class(c: char) -> Class {
    match get_general_category(c) {
        Category::NonspacingMark | Category::SpacingMark | Category::EnclosingMark => Class::Mark,
        Category::UppercaseLetter
        | Category::LowercaseLetter
        | Category::TitlecaseLetter
        | Category::ModifierLetter
        | Category::OtherLetter
        | Category::DecimalNumber
        | Category::LetterNumber
        | Category::OtherNumber => match c {
            '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{30FF}'
            | '\u{31F0}'..='\u{31FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{FF66}'..='\u{FF9D}'
            | '\u{1AFF0}'..='\u{1B16F}'
            | '\u{20000}'..='\u{3FFFF}' => Class::Alone,
            '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => Class::Unspaced,
            _ => Class::Letter,
        },
        _ => Class::Other,
    }
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Its bytes.
    pub(super) range: Range<usize>,
    /// The class of its first character.
    pub(super) class: Class,
    /// Its characters without marks.
    pub(super) letters: usize,
}

/// Whether words of these classes need something between them.
pub(super) fn join(one: Class, other: Class) -> bool {
    one != Class::Alone && other != Class::Alone && (one, other) != (Class::Unspaced, Class::Unspaced)
}

pub(super) fn scan(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open = false;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let class = class(c);
        let last = words.last_mut().filter(|_| open);
        match (class, last) {
            (Class::Other, _) => open = false,
            (Class::Mark, None) => {}
            (Class::Mark, Some(word)) => word.range.end = end,
            (Class::Letter, Some(word)) if word.class == class => {
                word.range.end = end;
                word.letters += 1;
            }
            (Class::Unspaced, Some(word)) if word.class == class && word.letters < PIECE => {
                word.range.end = end;
                word.letters += 1;
            }
            _ => {
                words.push(Word { range: at..end, class, letters: 1 });
                open = true;
            }
        }
    }
    words
}

/// The words of a text, as [edits](crate::edits) count them, as ranges of bytes.
///
/// A word is an unbroken run of letters, digits, and the marks on them. Each ideograph and each kana is a word; runs of Thai, Lao,
/// Burmese and Khmer are cut every five letters.
#[must_use]
pub fn words(text: &str) -> Vec<Range<usize>> {
    scan(text).into_iter().map(|word| word.range).collect()
}
