//! The words of passages, and a search for passages in a corpus.

use std::collections::{HashMap, HashSet, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

/// Words that passages are drawn from, at most: the most frequent ones, which every tokenizer knows.
const MOST: usize = 4096;

/// Words that it takes: fewer would make passages alike.
pub(super) const FEWEST: usize = 256;

/// Different words that are counted, so that memory has a bound.
const COUNTED: usize = 1 << 20;

/// Words in a row that no passage shares with the corpus or with another passage.
pub(super) const SHARED: usize = 8;

/// Counts words of 3 to 12 letters, none of them a capital: what a passage can be made of.
#[derive(Debug, Default)]
pub(super) struct WordCounts(HashMap<String, u64>);

impl WordCounts {
    pub(super) fn add(&mut self, text: &str) {
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            let letters = word.chars().count();
            if !(3..=12).contains(&letters) || !word.chars().all(|c| c.is_alphabetic() && !c.is_uppercase()) {
                continue;
            }
            if let Some(count) = self.0.get_mut(word) {
                *count += 1;
            } else if self.0.len() < COUNTED {
                self.0.insert(word.to_owned(), 1);
            }
        }
    }

    /// The most frequent words, sorted.
    pub(super) fn most_frequent(self) -> Vec<String> {
        let mut words: Vec<(String, u64)> = self.0.into_iter().collect();
        words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        words.truncate(MOST);
        let mut words: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
        words.sort();
        words
    }
}

/// Finds passages in text: any eight of their words in a row, whatever is between the words and whether they are capitals.
#[derive(Debug, Default)]
pub(super) struct Search(HashSet<u64>);

impl Search {
    /// Adds a passage; false if it shares eight words in a row with an earlier one.
    pub(super) fn add(&mut self, passage: &str) -> bool {
        let mut new = true;
        let own: HashSet<u64> = windows(passage).collect();
        for window in own {
            new &= self.0.insert(window);
        }
        new
    }

    /// Whether a text has eight words in a row of any passage.
    pub(super) fn finds(&self, text: &str) -> bool {
        windows(text).any(|window| self.0.contains(&window))
    }
}

/// Hashes of all windows of [`SHARED`] words.
fn windows(text: &str) -> impl Iterator<Item = u64> {
    // A polynomial in an odd constant, so that a word leaves the window by one subtraction.
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let oldest = (1..SHARED).fold(1u64, |power, _| power.wrapping_mul(BASE));
    let mut window: VecDeque<u64> = VecDeque::with_capacity(SHARED);
    let mut hash = 0u64;
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.filter_map(move |word| {
        if window.len() == SHARED {
            hash = hash.wrapping_sub(window.pop_front().unwrap_or(0).wrapping_mul(oldest));
        }
        let word = match word.chars().any(char::is_uppercase) {
            true => xxh3_64(word.to_lowercase().as_bytes()),
            false => xxh3_64(word.as_bytes()),
        };
        window.push_back(word);
        hash = hash.wrapping_mul(BASE).wrapping_add(word);
        (window.len() == SHARED).then_some(hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_is_found_however_it_is_written() {
        let mut search = Search::default();
        assert!(search.add("one two three four five six seven eight nine"));
        assert!(search.finds("Zero, ONE two\nthree-four five; six “seven” eight."));
        assert!(search.finds("two three four five six seven eight nine"));
        assert!(!search.finds("one two three four five six seven nine eight"));
        assert!(!search.finds("one two three four five six seven"));
        assert!(!search.add("and two three four five six seven eight nine"));
        assert!(search.add("one two three one two three one two three one two three"), "its own repeats");
    }

    #[test]
    fn words_of_small_letters() {
        let mut counts = WordCounts::default();
        counts.add("The ferry, the Ferry and an a2b extraordinarily ferry; été");
        assert_eq!(counts.most_frequent(), ["and", "ferry", "the", "été"]);
    }
}
