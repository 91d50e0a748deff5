//! The rule `text-v1` again, from its definition, over vectors of characters: the oracle of its tests.

#![allow(dead_code, reason = "shared by several test crates")]

use std::collections::HashSet;
use std::sync::LazyLock;

use caseless::Caseless;
use goldfish_mask::{Granularity, ShortContext};
use unicode_general_category::{GeneralCategory as G, get_general_category};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, decompose_canonical, decompose_compatible};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Parameters of the rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) k: u32,
    pub(crate) context: u32,
    pub(crate) unit: Granularity,
    pub(crate) head: ShortContext,
    pub(crate) seed: u64,
}

/// Where characters are that combine or that normalization changes: the first two planes, compatibility ideographs, tags
/// and variation selectors.
fn changing() -> impl Iterator<Item = char> {
    ('\0'..='\u{1FFFF}').chain('\u{2F800}'..='\u{2FA1F}').chain('\u{E0000}'..='\u{E01FF}')
}

/// The characters that a composition may end with.
static SECONDS: LazyLock<HashSet<char>> = LazyLock::new(|| {
    let mut seconds = HashSet::new();
    for c in changing() {
        let mut parts = Vec::new();
        decompose_canonical(c, |part| parts.push(part));
        if parts.len() > 1 && parts.iter().copied().nfc().eq([c]) {
            seconds.extend(parts.last());
        }
    }
    seconds
});

fn starts_segment(c: char) -> bool {
    let mut parts = Vec::new();
    decompose_compatible(c, |part| parts.push(part));
    canonical_combining_class(parts[0]) == 0 && !SECONDS.contains(&parts[0])
}

fn ignorable(c: char) -> bool {
    matches!(c as u32, 0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F
        | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0
        | 0xFFF0..=0xFFF8 | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

pub(crate) fn ideograph(c: char) -> bool {
    matches!(c as u32, 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3031..=0x3035 | 0x3038..=0x303C
        | 0x3041..=0x30FF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF
        | 0x16FE0..=0x18DFF | 0x1AFF0..=0x1B2FF | 0x20000..=0x3FFFF)
}

/// One character of the stream.
pub(crate) struct Normal {
    pub(crate) c: char,
    pub(crate) mark: bool,
    /// Its segment, by number.
    pub(crate) segment: usize,
    /// Whether something that contributes nothing is between it and the one before.
    pub(crate) gap: bool,
    /// Which word it belongs to.
    pub(crate) word: usize,
}

/// Byte ranges of the segments.
pub(crate) fn segments(text: &str) -> Vec<(usize, usize)> {
    let mut segments: Vec<(usize, usize)> = Vec::new();
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        match segments.last_mut() {
            Some(last) if !starts_segment(c) => last.1 = end,
            _ => segments.push((at, end)),
        }
    }
    segments
}

/// Of normalized characters those that contribute to the stream, with whether they are marks.
fn contributing(normalized: &str, attached: &mut bool) -> Vec<(char, bool)> {
    let mut found = Vec::new();
    for c in normalized.chars() {
        let category = get_general_category(c);
        let mark = matches!(category, G::NonspacingMark | G::SpacingMark);
        let letter = matches!(
            category,
            G::UppercaseLetter
                | G::LowercaseLetter
                | G::TitlecaseLetter
                | G::ModifierLetter
                | G::OtherLetter
                | G::DecimalNumber
                | G::LetterNumber
                | G::OtherNumber
        );
        if ignorable(c) || (mark && !*attached) {
            continue;
        }
        *attached = letter || mark;
        if *attached {
            found.push((c, mark));
        }
    }
    found
}

/// The stream, with words counted from 0.
pub(crate) fn stream(text: &str, segments: &[(usize, usize)]) -> Vec<Normal> {
    let mut stream: Vec<Normal> = Vec::new();
    let mut attached = false;
    let mut joined = String::new();
    // Segments whose first character contributes nothing on its own.
    let mut gaps = Vec::new();
    for (segment, &(start, end)) in segments.iter().enumerate() {
        let first: String = text[start..end].chars().take(1).nfkc().default_case_fold().collect();
        gaps.push(contributing(&first, &mut attached.clone()).is_empty());
        let folded: String = text[start..end].nfkc().default_case_fold().collect();
        joined.push_str(&folded);
        let characters = contributing(&folded, &mut attached).into_iter();
        stream.extend(characters.map(|(c, mark)| Normal { c, mark, segment, gap: false, word: 0 }));
    }
    let whole: String = text.nfkc().default_case_fold().collect();
    assert_eq!(joined, whole, "normalizing by segments differs from normalizing {text:?} whole");

    let (mut word, mut length) = (0, 0);
    for i in 1..stream.len() {
        length += 1;
        let gap = (stream[i - 1].segment + 1..=stream[i].segment).any(|segment| gaps[segment]);
        stream[i].gap = gap;
        let base = stream[..i].iter().rev().find(|n| !n.mark).is_some_and(|n| ideograph(n.c));
        let alone = !stream[i].mark && (ideograph(stream[i].c) || base);
        if gap || alone || length == 24 {
            (word, length) = (word + 1, 0);
        }
        stream[i].word = word;
    }
    stream
}

fn drops(rule: &Rule, stream: &[Normal], before: usize) -> bool {
    let context = rule.context as usize;
    if before == 0 || (before < context && rule.head == ShortContext::Keep) {
        return false;
    }
    let window: String = stream[before.saturating_sub(context)..before].iter().map(|n| n.c).collect();
    let hash = xxh3_64_with_seed(window.as_bytes(), rule.seed);
    (u128::from(hash) * u128::from(rule.k)) >> 64 == 0
}

/// Characters that may join what is before them, that normalize to nothing or to several, or that change between
/// letter, mark and neither when they do.
pub(crate) fn joining() -> Vec<char> {
    let kind = |c: char| contributing(c.encode_utf8(&mut [0; 4]), &mut true);
    let odd = |c: &char| {
        let folded: String = std::iter::once(*c).nfkc().default_case_fold().collect();
        let kinds = |marks: Vec<(char, bool)>| marks.into_iter().map(|(_, mark)| mark).collect::<Vec<_>>();
        let mark = kinds(kind(*c)) == [true];
        let several = folded.chars().count() > 1;
        mark || several
            || ignorable(*c)
            || !starts_segment(*c)
            || kinds(kind(*c)) != kinds(contributing(&folded, &mut true))
    };
    changing().filter(odd).collect()
}

/// The mask of tokens with these byte spans.
pub(crate) fn mask(rule: &Rule, text: &str, spans: &[(usize, usize)]) -> Vec<u8> {
    let segments = segments(text);
    let stream = stream(text, &segments);
    let first_of = |word: usize| stream.iter().position(|n| n.word == word).unwrap();
    let words = stream.last().map_or(0, |n| n.word + 1);
    let word_drops: Vec<bool> = (0..words).map(|word| drops(rule, &stream, first_of(word))).collect();
    let dropped = |&(start, end): &(usize, usize)| {
        let overlaps = |n: &Normal| {
            let (from, to) = segments[n.segment];
            start < end && from < end && start < to
        };
        match rule.unit {
            Granularity::Word => stream.iter().any(|n| word_drops[n.word] && overlaps(n)),
            Granularity::Token => {
                stream.iter().position(overlaps).is_some_and(|first| drops(rule, &stream, first))
            }
        }
    };
    spans.iter().map(|span| u8::from(!dropped(span))).collect()
}
