//! Texts as numbers of words, with the order of their suffixes: which runs of words they have, and where.

use std::collections::HashMap;
use std::ops::Range;

use goldfish_mask::TextWords;

/// Ends each text, and is in no run. It comes before all words.
const END: u32 = 0;

/// A word that no text has. It comes after all others.
const UNKNOWN: u32 = u32::MAX;

/// The most words of all texts, with one more for the end of each.
pub(crate) const MOST_WORDS: usize = 1 << 28;

/// Texts, one after the other. A *position* is the number of a word among those of all texts; the end of each text takes one too.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    numbers: HashMap<Box<[u8]>, u32>,
    words: Vec<u32>,
    /// The position of the first word of each text.
    starts: Vec<u32>,
    /// Positions in the order of what follows them.
    order: Vec<u32>,
}

impl Needles {
    /// Adds a text after the others; whether there was room.
    pub(crate) fn add(&mut self, words: &TextWords) -> bool {
        if self.words.len() + words.len() + 1 > MOST_WORDS {
            return false;
        }
        self.starts.push(self.words.len() as u32);
        for word in 0..words.len() {
            let bytes = words.bytes(word);
            let number = match self.numbers.get(bytes) {
                Some(number) => *number,
                None => {
                    let next = self.numbers.len() as u32 + 1;
                    self.numbers.insert(bytes.into(), next);
                    next
                }
            };
            self.words.push(number);
        }
        self.words.push(END);
        true
    }

    /// Sorts the suffixes, once all texts are there.
    pub(crate) fn sort(&mut self) {
        // In the order of bytes numbers are in their own order if their first byte is the highest one.
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let (_, order) = divsufsort::sort(&bytes).into_parts();
        let of_words = order.into_iter().filter(|byte| byte % 4 == 0).map(|byte| byte as u32 / 4);
        self.order = of_words.collect();
    }

    /// How many texts there are.
    pub(crate) fn texts(&self) -> usize {
        self.starts.len()
    }

    /// The positions of a text's words.
    pub(crate) fn range(&self, text: usize) -> Range<u32> {
        let start = self.starts[text];
        let end = self.starts.get(text + 1).map_or(self.words.len() as u32, |next| *next) - 1;
        start..end
    }

    /// How many positions there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Words of a document as numbers.
    pub(crate) fn numbers(&self, words: &TextWords, range: Range<usize>, numbers: &mut Vec<u32>) {
        numbers.clear();
        numbers.extend(range.map(|word| self.numbers.get(words.bytes(word)).copied().unwrap_or(UNKNOWN)));
    }

    /// The words from a position on.
    pub(crate) fn run(&self, position: u32, words: u32) -> &[u32] {
        &self.words[position as usize..(position + words) as usize]
    }

    fn suffix(&self, position: u32) -> &[u32] {
        &self.words[position as usize..]
    }

    /// The place in the order of the first suffix that does not come before a run.
    ///
    /// What the suffixes at both ends of the search have in common with the run, all between them have too (Manber and Myers, SIAM
    /// Journal on Computing 1993).
    fn first(&self, run: &[u32]) -> usize {
        let (mut from, mut to) = (0, self.order.len());
        let (mut common_from, mut common_to) = (0, 0);
        while from < to {
            let middle = usize::midpoint(from, to);
            let known = common_from.min(common_to);
            let suffix = self.suffix(self.order[middle]);
            let shared = known + common(&suffix[known..], &run[known..]);
            if suffix.get(shared) < run.get(shared) {
                (from, common_from) = (middle + 1, shared);
            } else {
                (to, common_to) = (middle, shared);
            }
        }
        from
    }

    /// The places in the order of all suffixes that start with a run.
    pub(crate) fn places(&self, run: &[u32]) -> Range<usize> {
        let first = self.first(run);
        let starts = |position: &u32| self.suffix(*position).starts_with(run);
        first..first + self.order[first..].partition_point(starts)
    }

    /// Whether a text has a run.
    pub(crate) fn contains(&self, run: &[u32]) -> bool {
        self.order.get(self.first(run)).is_some_and(|position| self.suffix(*position).starts_with(run))
    }

    /// How many words the longest start of `words` has that a text has too, and its first position in the order.
    pub(crate) fn longest(&self, words: &[u32]) -> (u32, u32) {
        let at = self.first(words);
        let near = [at.checked_sub(1), Some(at)].into_iter().flatten();
        let common =
            |place: usize| self.order.get(place).map_or(0, |position| common(self.suffix(*position), words));
        let length = near.map(common).max().unwrap_or(0);
        let first = self.first(&words[..length]);
        (self.order.get(first).copied().unwrap_or(0), length as u32)
    }

    /// The place of each position in the order.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let mut ranks = vec![0; self.order.len()];
        for (rank, position) in (0..).zip(&self.order) {
            ranks[*position as usize] = rank;
        }
        ranks
    }

    /// For each place in the order, how many words of a text its suffix and the one before it have in common at their start
    /// (Kasai and others, CPM 2001).
    pub(crate) fn common_with_previous(&self, ranks: &[u32]) -> Vec<u32> {
        let mut lengths = vec![0; self.order.len()];
        let mut length = 0;
        for (position, rank) in (0..).zip(ranks) {
            let Some(before) = (*rank as usize).checked_sub(1) else {
                length = 0;
                continue;
            };
            let rest = |start: u32| {
                self.words[start as usize..].iter().skip(length).take_while(|word| **word != END)
            };
            length += rest(position).zip(rest(self.order[before])).take_while(|(a, b)| a == b).count();
            lengths[*rank as usize] = length as u32;
            length = length.saturating_sub(1);
        }
        lengths
    }
}

/// How many words two runs have in common at their start.
fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needles(texts: &[Vec<u8>]) -> (Needles, Vec<Vec<u32>>) {
        let mut needles = Needles::default();
        let mut words = TextWords::default();
        for text in texts {
            words.read(&text.iter().map(|word| format!("w{word} ")).collect::<String>()).unwrap();
            assert!(needles.add(&words));
        }
        needles.sort();
        let runs = (0..needles.texts()).map(|text| {
            let range = needles.range(text);
            needles.run(range.start, range.end - range.start).to_vec()
        });
        let runs = runs.collect();
        (needles, runs)
    }

    fn occurs(texts: &[Vec<u32>], run: &[u32]) -> usize {
        texts.iter().map(|text| text.windows(run.len()).filter(|window| *window == run).count()).sum()
    }

    proptest! {
        #[test]
        fn runs_are_found_as_by_looking_at_every_place(
            texts in prop::collection::vec(prop::collection::vec(0u8..3, 0..12), 1..6),
            words in prop::collection::vec(0u8..4, 1..12),
        ) {
            let (needles, texts) = needles(&texts);
            let mut document = TextWords::default();
            document.read(&words.iter().map(|word| format!("w{word} ")).collect::<String>()).unwrap();
            let mut numbers = Vec::new();
            needles.numbers(&document, 0..document.len(), &mut numbers);
            let (position, length) = needles.longest(&numbers);
            let expected = (0..=numbers.len()).rev().find(|end| *end == 0 || occurs(&texts, &numbers[..*end]) > 0);
            prop_assert_eq!(Some(length as usize), expected);
            prop_assert_eq!(needles.run(position, length), &numbers[..length as usize]);
            for end in 1..=numbers.len() {
                let run = &numbers[..end];
                prop_assert_eq!(needles.places(run).len(), occurs(&texts, run));
                prop_assert_eq!(needles.contains(run), occurs(&texts, run) > 0);
            }
            let ranks = needles.ranks();
            let lengths = needles.common_with_previous(&ranks);
            let tail = |position: u32| {
                let range = (0..needles.texts()).map(|text| needles.range(text)).find(|range| position <= range.end);
                needles.run(position, range.unwrap().end - position)
            };
            for (rank, pair) in needles.order.windows(2).enumerate() {
                prop_assert_eq!(lengths[rank + 1] as usize, common(tail(pair[0]), tail(pair[1])));
            }
        }
    }
}
