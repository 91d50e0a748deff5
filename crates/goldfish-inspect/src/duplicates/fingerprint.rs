//! Winnowing.

use std::collections::VecDeque;

use goldfish_mask::normalize;
use xxhash_rust::xxh3::xxh3_64;

/// Normalized characters that are hashed together.
pub(crate) const GRAM: usize = 32;

/// Consecutive hashes of which the least is a fingerprint.
pub(crate) const WINDOW: usize = 32;

/// Factor of the rolling hash.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The fingerprints of a text with the positions of their first characters in its normalized stream, and the
/// stream's length in characters.
pub(crate) fn fingerprint(text: &str) -> (Vec<(u64, usize)>, u64) {
    winnow(&normalize(text))
}

fn winnow(stream: &str) -> (Vec<(u64, usize)>, u64) {
    let leaving = BASE.wrapping_pow(GRAM as u32);
    let mut found: Vec<(u64, usize)> = Vec::new();
    // Hashes of the window that may still become its least, in rising order.
    let mut candidates: VecDeque<(u64, usize)> = VecDeque::new();
    let mut oldest = stream.chars();
    let mut rolling = 0u64;
    let mut characters = 0;
    for c in stream.chars() {
        characters += 1;
        rolling = rolling.wrapping_mul(BASE).wrapping_add(u64::from(c) + 1);
        if characters < GRAM {
            continue;
        }
        if characters > GRAM {
            let left = oldest.next().map_or(0, |c| u64::from(c) + 1);
            rolling = rolling.wrapping_sub(left.wrapping_mul(leaving));
        }
        let position = characters - GRAM;
        let hash = xxh3_64(&rolling.to_le_bytes());
        // Of equal hashes the last one stays, as the paper has it.
        while candidates.back().is_some_and(|last| last.0 >= hash) {
            candidates.pop_back();
        }
        candidates.push_back((hash, position));
        while candidates.front().is_some_and(|first| first.1 + WINDOW <= position) {
            candidates.pop_front();
        }
        if position + 1 >= WINDOW
            && let Some(&least) = candidates.front()
            && found.last() != Some(&least)
        {
            found.push(least);
        }
    }
    (found, characters as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(seed: u64, count: usize) -> String {
        let letter =
            |i: u64| char::from(b'a' + (xxh3_64(&[seed.to_le_bytes(), i.to_le_bytes()].concat()) % 26) as u8);
        (0..count as u64).map(letter).collect()
    }

    #[test]
    fn fingerprints_depend_on_their_surroundings_alone() {
        let long = letters(1, 500);
        let (whole, characters) = winnow(&long);
        assert_eq!(characters, 500);
        for length in [1, 31, 32, 33, 200] {
            let shifted = winnow(&(letters(2, length) + &long)).0;
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
            let (a, b) = (winnow(&a).0, winnow(&b).0);
            assert!(a.iter().any(|one| b.iter().any(|other| one.0 == other.0)), "{seed}");
        }
    }

    #[test]
    fn about_two_in_a_window_and_one_are_kept() {
        let (found, _) = winnow(&letters(5, 100_000));
        let density = found.len() as f64 / 100_000.0;
        assert!((0.055..0.067).contains(&density), "{density}");
        assert_eq!(winnow("short").0, []);
    }
}
