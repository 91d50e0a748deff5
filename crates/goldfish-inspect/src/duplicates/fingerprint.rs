//! Winnowing.

use std::collections::VecDeque;

use goldfish_mask::normalize;
use xxhash_rust::xxh3::xxh3_64;

use super::grain::Grain;

/// Factor of the rolling hash.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The fingerprints of a document with the positions of their first letters, and how many letters it has.
pub(crate) struct Fingerprints {
    pub(crate) found: Vec<(u64, usize)>,
    pub(crate) letters: u64,
}

impl Fingerprints {
    /// Of a text, by its normalized stream.
    pub(crate) fn of_text(text: &str) -> Self {
        winnow(normalize(text).chars().map(u32::from), Grain::Letters)
    }

    /// Of token ids.
    pub(crate) fn of_ids(ids: &[u32]) -> Self {
        winnow(ids.iter().copied(), Grain::Ids)
    }
}

/// Hashes of so many letters in a row, one letter after the other.
struct Rolling<I> {
    gram: usize,
    /// What the oldest letter of a hash counts.
    leaving: u64,
    oldest: I,
    hash: u64,
    count: usize,
}

impl<I: Iterator<Item = u32>> Rolling<I> {
    fn new(letters: I, gram: usize) -> Self {
        Self { gram, leaving: BASE.wrapping_pow(gram as u32), oldest: letters, hash: 0, count: 0 }
    }

    /// The hash that ends with the next letter.
    fn push(&mut self, letter: u32) -> Option<u64> {
        self.count += 1;
        self.hash = self.hash.wrapping_mul(BASE).wrapping_add(u64::from(letter) + 1);
        if self.count > self.gram {
            let left = self.oldest.next().map_or(0, |letter| u64::from(letter) + 1);
            self.hash = self.hash.wrapping_sub(left.wrapping_mul(self.leaving));
        }
        (self.count >= self.gram).then(|| xxh3_64(&self.hash.to_le_bytes()))
    }
}

/// The hash of every `gram` letters in a row, by the position of the first of them.
pub(super) fn hashes(letters: &[u32], gram: usize) -> Vec<u64> {
    let mut rolling = Rolling::new(letters.iter().copied(), gram);
    letters.iter().filter_map(|letter| rolling.push(*letter)).collect()
}

fn winnow(letters: impl Iterator<Item = u32> + Clone, grain: Grain) -> Fingerprints {
    let (gram, window) = (grain.gram(), grain.window());
    let mut found: Vec<(u64, usize)> = Vec::new();
    // Hashes of the window that may still become its least, in rising order.
    let mut candidates: VecDeque<(u64, usize)> = VecDeque::new();
    let mut rolling = Rolling::new(letters.clone(), gram);
    for letter in letters {
        let Some(hash) = rolling.push(letter) else { continue };
        let position = rolling.count - gram;
        // Of equal hashes the last one stays, as the paper has it.
        while candidates.back().is_some_and(|last| last.0 >= hash) {
            candidates.pop_back();
        }
        candidates.push_back((hash, position));
        while candidates.front().is_some_and(|first| first.1 + window <= position) {
            candidates.pop_front();
        }
        if position + 1 >= window
            && let Some(&least) = candidates.front()
            && found.last() != Some(&least)
        {
            found.push(least);
        }
    }
    Fingerprints { found, letters: rolling.count as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAM: usize = 32;
    const WINDOW: usize = 32;

    fn winnowed(text: &str) -> (Vec<(u64, usize)>, u64) {
        let Fingerprints { found, letters } = Fingerprints::of_text(text);
        (found, letters)
    }

    fn letters(seed: u64, count: usize) -> String {
        let letter =
            |i: u64| char::from(b'a' + (xxh3_64(&[seed.to_le_bytes(), i.to_le_bytes()].concat()) % 26) as u8);
        (0..count as u64).map(letter).collect()
    }

    #[test]
    fn fingerprints_depend_on_their_surroundings_alone() {
        let long = letters(1, 500);
        let (whole, characters) = winnowed(&long);
        assert_eq!(characters, 500);
        for length in [1, 31, 32, 33, 200] {
            let shifted = winnowed(&(letters(2, length) + &long)).0;
            for &(hash, position) in whole.iter().filter(|found| found.1 >= WINDOW) {
                assert!(shifted.contains(&(hash, position + length)), "{position} after {length}");
            }
        }
    }

    #[test]
    fn shared_text_of_the_guaranteed_length_shares_a_fingerprint() {
        for seed in 0..200 {
            let shared = letters(seed, GRAM + WINDOW - 1);
            let a = letters(1000 + seed, 97) + &shared + &letters(2000 + seed, 55);
            let b = letters(3000 + seed, 13) + &shared + &letters(4000 + seed, 140);
            let (a, b) = (winnowed(&a).0, winnowed(&b).0);
            assert!(a.iter().any(|one| b.iter().any(|other| one.0 == other.0)), "{seed}");
        }
    }

    #[test]
    fn about_two_in_a_window_and_one_are_kept() {
        let (found, _) = winnowed(&letters(5, 100_000));
        let density = found.len() as f64 / 100_000.0;
        assert!((0.055..0.067).contains(&density), "{density}");
        assert_eq!(winnowed("short").0, []);
    }
}
