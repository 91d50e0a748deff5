//! Winnowing (Schleimer, Wilkerson and Aiken, SIGMOD 2003) by words: of the hashes of every `gram` words in a row, the least of
//! every `window` consecutive ones is a fingerprint; of equal ones the last.

use crate::Parameters;

/// Windows that are looked at together: what is known of them stays in the nearest cache.
const BLOCK: usize = 1024;

/// A fingerprint of a sequence of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// The hash of its words.
    pub(crate) hash: u64,
    /// Its first word.
    pub(crate) word: usize,
}

/// Scratch memory of winnowing.
#[derive(Debug)]
pub(crate) struct Winnow {
    gram: usize,
    window: usize,
    hash_bits: u64,
    words: Vec<u64>,
    grams: Vec<u64>,
    /// The least of a window from each gram on: the upper half of its hash, and where it is, backward, so that the last one is
    /// the least of equal ones.
    least: Vec<u64>,
    found: Vec<Fingerprint>,
}

impl Winnow {
    pub(crate) fn new(parameters: Parameters) -> Self {
        let (gram, window) = (parameters.gram as usize, parameters.window as usize);
        let (words, grams, least, found) = Default::default();
        Self { gram, window, hash_bits: parameters.hash_bits, words, grams, least, found }
    }

    /// The fingerprint of every window of a sequence of `count` words, in order: a window's first word, and its fingerprint.
    pub(crate) fn windows(
        &mut self,
        count: usize,
        hashes: impl Fn(usize, &mut [u64]),
        mut each: impl FnMut(usize, Fingerprint),
    ) {
        self.blocks(count, hashes, |start, block| {
            for window in 0..block.windows {
                each(start + window, block.fingerprint(start, window));
            }
        });
    }

    /// The different fingerprints of a sequence of `count` words, in order, some at a time.
    #[inline(always)]
    pub(crate) fn fingerprints(
        &mut self,
        count: usize,
        hashes: impl Fn(usize, &mut [u64]),
        mut each: impl FnMut(&[Fingerprint]),
    ) {
        let mut last = usize::MAX;
        let mut found = std::mem::take(&mut self.found);
        found.resize(BLOCK, Fingerprint { hash: 0, word: 0 });
        self.blocks(count, hashes, |start, block| {
            // Whether a window has a new one is unpredictable: all are written, and only new ones count.
            let mut end = 0;
            for window in 0..block.windows {
                let fingerprint = block.fingerprint(start, window);
                found[end] = fingerprint;
                end += usize::from(fingerprint.word != last);
                last = fingerprint.word;
            }
            each(&found[..end]);
        });
        self.found = found;
    }

    #[inline(always)]
    fn blocks(
        &mut self,
        count: usize,
        hashes: impl Fn(usize, &mut [u64]),
        mut each: impl FnMut(usize, &Block<'_>),
    ) {
        let run = self.gram + self.window - 1;
        let Some(all) = (count + 1).checked_sub(run) else { return };
        for start in (0..all).step_by(BLOCK) {
            let windows = BLOCK.min(all - start);
            self.words.resize(windows + run - 1, 0);
            hashes(start, &mut self.words);
            self.roll();
            self.lessen();
            each(start, &Block { windows, grams: &self.grams, least: &self.least });
        }
    }

    /// Hashes every gram of the words, by a cyclic polynomial (Cohen, ACM TOIS 1997).
    #[inline(always)]
    fn roll(&mut self) {
        let Self { gram, hash_bits, words, grams, .. } = self;
        let (head, tail) = words.split_at(*gram - 1);
        let mut sum = head.iter().fold(0, cyclic);
        grams.resize(tail.len(), 0);
        for ((to, enters), leaves) in grams.iter_mut().zip(tail).zip(words.iter()) {
            let gram_sum = cyclic(sum, enters);
            sum = gram_sum ^ leaves.rotate_left(*gram as u32 - 1);
            *to = scattered(gram_sum) & *hash_bits;
        }
    }

    /// Finds the least gram of every window.
    #[inline(always)]
    fn lessen(&mut self) {
        let Self { window, grams, least, .. } = self;
        least.resize(grams.len(), 0);
        for (i, (least, gram)) in least.iter_mut().zip(grams.iter()).enumerate() {
            *least = (gram & !LOW) | u64::from(!(i as u32));
        }
        // Each becomes the least of twice as many, and in the end of as many as a window has: the last step overlaps.
        let mut reach = 1;
        while reach < *window {
            let step = reach.min(*window - reach);
            let end = least.len() - step;
            for i in 0..end {
                least[i] = least[i].min(least[i + step]);
            }
            reach += step;
        }
    }
}

const LOW: u64 = u32::MAX as u64;

/// A sum with another word.
#[inline(always)]
fn cyclic(sum: u64, word: &u64) -> u64 {
    sum.rotate_left(1) ^ word
}

/// Spreads a sum over all bits.
#[inline(always)]
fn scattered(sum: u64) -> u64 {
    let x = (sum ^ (sum >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    x ^ (x >> 32)
}

/// Some windows in a row.
struct Block<'a> {
    windows: usize,
    grams: &'a [u64],
    least: &'a [u64],
}

impl Block<'_> {
    /// The fingerprint of a window of the block, whose first window starts at word `start`.
    #[inline(always)]
    fn fingerprint(&self, start: usize, window: usize) -> Fingerprint {
        let gram = !(self.least[window] as u32) as usize;
        Fingerprint { hash: self.grams[gram], word: start + gram }
    }
}

/// The hashes of words, as winnowing takes them, from a slice of all.
pub(crate) fn those_of(hashes: &[u64]) -> impl Fn(usize, &mut [u64]) {
    |first, to| to.copy_from_slice(&hashes[first..first + to.len()])
}

/// The hash of a run of words. It may be long: the cyclic sum does not see two words that change places 64 words apart.
pub(crate) fn run_hash(words: &[u64], parameters: Parameters) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    scattered(words.iter().fold(0, |sum, word| cyclic(sum, word).wrapping_mul(FACTOR))) & parameters.hash_bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition.
    fn naive(words: &[u64], gram: usize, window: usize) -> Vec<Fingerprint> {
        let sum = |words: &[u64]| words.iter().fold(0, cyclic);
        let hashes: Vec<u64> = words.windows(gram).map(|words| scattered(sum(words))).collect();
        let pick = |start: usize| {
            let least = (start..start + window).rev().min_by_key(|&i| hashes[i] >> 32).unwrap();
            Fingerprint { hash: hashes[least], word: least }
        };
        (0..(hashes.len() + 1).saturating_sub(window)).map(pick).collect()
    }

    fn check(words: &[u64], gram: u32, window: u32) {
        let mut expected = naive(words, gram as usize, window as usize);
        let mut winnow = Winnow::new(Parameters { gram, window, ..Parameters::default() });
        let mut windows = Vec::new();
        winnow.windows(words.len(), those_of(words), |start, found| {
            assert_eq!(start, windows.len());
            windows.push(found);
        });
        assert_eq!(windows, expected);
        let mut found = Vec::new();
        winnow.fingerprints(words.len(), those_of(words), |some| found.extend_from_slice(some));
        expected.dedup();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn fingerprints_are_the_least_of_their_windows(
            words in prop::collection::vec(0u64..4, 0..60),
            gram in 2u32..6,
            window in 1u32..9,
        ) {
            check(&words, gram, window);
        }
    }

    #[test]
    fn blocks_do_not_show() {
        let words: Vec<u64> = (0..5000u64).map(|i| (i * i) % 1009 % 7).collect();
        check(&words, 3, 5);
        check(&words, 6, 7);
        check(&words[..BLOCK + 12], 6, 7);
        check(&words[..BLOCK + 11], 6, 7);
    }
}
