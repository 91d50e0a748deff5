//! The rule `text-v2` again, from its definition, over vectors of characters: the oracle of its tests.

use goldfish_mask::rules::Text;
use goldfish_mask::{Granularity, ShortContext};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::naive_selection::select;
use super::naive_text::{Normal, ideograph, segments, stream};

fn spaceless(c: char) -> bool {
    matches!(c as u32, 0xE00..=0xEFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x1950..=0x19FF | 0x1A20..=0x1AAF
        | 0xA9E0..=0xA9FF | 0xAA60..=0xAADF | 0x11700..=0x1174F)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Letters,
    Ideograph,
    Spaceless,
}

fn utf8(stream: &[Normal]) -> String {
    stream.iter().map(|normal| normal.c).collect()
}

/// The words, as ranges of the stream.
pub(crate) fn words(stream: &[Normal]) -> Vec<std::ops::Range<usize>> {
    let mut kinds: Vec<Kind> = Vec::new();
    for normal in stream {
        kinds.push(match normal.c {
            _ if normal.mark => kinds.last().copied().unwrap_or(Kind::Letters),
            c if ideograph(c) => Kind::Ideograph,
            c if spaceless(c) => Kind::Spaceless,
            _ => Kind::Letters,
        });
    }
    // Runs of one kind without a gap; an ideograph is one with its marks.
    let mut runs = Vec::new();
    let mut start = 0;
    for i in 1..=stream.len() {
        let ends = i == stream.len()
            || stream[i].gap
            || kinds[i] != kinds[i - 1]
            || (kinds[i] == Kind::Ideograph && !stream[i].mark);
        if ends {
            runs.push(start..i);
            start = i;
        }
    }
    let mut words = Vec::new();
    for run in runs.into_iter().filter(|run| !run.is_empty()) {
        if kinds[run.start] != Kind::Spaceless {
            words.extend(run.clone().step_by(24).map(|at| at..run.end.min(at + 24)));
            continue;
        }
        let mut letters: Vec<std::ops::Range<usize>> = Vec::new();
        for i in run {
            match letters.last_mut() {
                Some(last) if stream[i].mark && last.len() < 24 => last.end = i + 1,
                _ => letters.push(i..i + 1),
            }
        }
        let hash = |letter: usize| xxh3_64_with_seed(utf8(&stream[letters[letter].clone()]).as_bytes(), 0);
        let mut word = letters[0].clone();
        for letter in 1..letters.len() {
            let least = letter + 1 < letters.len()
                && hash(letter) < hash(letter - 1)
                && hash(letter) <= hash(letter + 1);
            if least || letters[letter].end - word.start > 24 {
                words.push(word);
                word = letters[letter].clone();
            }
            word.end = letters[letter].end;
        }
        words.push(word);
    }
    words
}

/// Key of what follows word `number - 1` and `inside` characters of word `number`.
fn key(
    rule: &Text,
    stream: &[Normal],
    words: &[std::ops::Range<usize>],
    number: usize,
    inside: usize,
) -> u64 {
    let hash = |word: &std::ops::Range<usize>| {
        let first = word.start..word.end.min(word.start + 5);
        let mut bytes = utf8(&stream[first]).into_bytes();
        bytes.resize(16, 0);
        xxh3_64_with_seed(&bytes, rule.seed)
    };
    let weight = |length: usize| (1..length.min(16)).fold(1u64 << 32, |weight, _| weight * 3 / 4);
    let context = &words[number.saturating_sub(rule.context as usize)..number];
    let anchor = context.iter().map(|word| (hash(word) >> 32) * weight(word.len())).min().unwrap_or(u64::MAX);
    let previous = context.last().map_or(0, hash);
    let mut bytes = [anchor.to_le_bytes(), previous.to_le_bytes()].concat();
    bytes.extend(utf8(&stream[words[number].start..words[number].start + inside]).bytes());
    xxh3_64_with_seed(&bytes, rule.seed)
}

/// The mask of tokens with these byte spans.
pub(crate) fn mask(rule: &Text, text: &str, spans: &[(usize, usize)]) -> Vec<u8> {
    let segments = segments(text);
    let stream = stream(text, &segments);
    let words = words(&stream);
    let needed = if rule.short_context == ShortContext::Keep { rule.context as usize } else { 1 };
    let overlaps = |&(start, end): &(usize, usize), i: usize| {
        let (from, to) = segments[stream[i].segment];
        start < end && from < end && start < to
    };
    let mut mask = vec![1; spans.len()];
    match rule.granularity {
        Granularity::Word => {
            let decided: Vec<usize> = (needed..words.len()).collect();
            let keys: Vec<u64> = decided.iter().map(|&word| key(rule, &stream, &words, word, 0)).collect();
            let dropped = select(&keys, &vec![false; keys.len()], (rule.threshold, rule.longest_run), 0);
            for (word, _) in decided.iter().zip(dropped).filter(|(_, dropped)| *dropped) {
                for (keep, span) in mask.iter_mut().zip(spans) {
                    if words[*word].clone().any(|i| overlaps(span, i)) {
                        *keep = 0;
                    }
                }
            }
        }
        Granularity::Token => {
            // Tokens by the first character that they overlap.
            let first = |span| (0..stream.len()).find(|&i| overlaps(span, i));
            let firsts: Vec<Option<usize>> = spans.iter().map(first).collect();
            let mut units: Vec<usize> = firsts.iter().flatten().copied().collect();
            units.sort_unstable();
            units.dedup();
            let of = |at: usize| words.iter().position(|word| word.contains(&at)).unwrap();
            units.retain(|&at| of(at) >= needed);
            let keys: Vec<u64> = units
                .iter()
                .map(|&at| key(rule, &stream, &words, of(at), at - words[of(at)].start))
                .collect();
            let dropped = select(&keys, &vec![false; keys.len()], (rule.threshold, rule.longest_run), 0);
            for (at, _) in units.iter().zip(dropped).filter(|(_, dropped)| *dropped) {
                for (keep, first) in mask.iter_mut().zip(&firsts) {
                    if *first == Some(*at) {
                        *keep = 0;
                    }
                }
            }
        }
    }
    mask
}
