//! Passages that are near-copies of each other.
//!
//! Each passage has a sketch, the least hashes of all its short runs of letters (Broder, "On the resemblance and containment of
//! documents", SEQUENCES 1997). Passages whose sketches have enough in common are compared letter by letter. A hash leads to the
//! last few groups that have it alone, so that what all passages share, such as a license, costs no more than anything else.

use std::collections::HashMap;

use goldfish_mask::normalize;
use xxhash_rust::xxh3::xxh3_64;

use super::grain::Grain;
use super::groups::Groups;

/// Factor of the rolling hash.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// A passage of a document.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    /// Its token ids.
    pub ids: &'a [u32],
    /// What it belongs to in any case: passages of one group are not compared.
    pub group: usize,
}

/// Turns token ids to text.
type Decode<'a> = dyn Fn(&[u32]) -> String + 'a;

/// Hashes in a sketch.
const SKETCH: usize = 32;

/// Share of its sketch that a passage must have in common with another to be compared with it.
const LEAST_SHARE: f64 = 1.0 / 6.0;

/// Groups that a hash leads to.
const MOST_GROUPS: usize = 4;

/// Passages that one is compared with, those with the most in common first.
const MOST_COMPARED: usize = 4;

/// No passage.
const NONE: u32 = u32::MAX;

impl Grain {
    /// Letters of the shortest run that counts as common.
    fn run(self) -> usize {
        match self {
            Self::Letters => 8,
            Self::Ids => 4,
        }
    }

    /// Letters in common of a hundred of the shorter passage from which on it is a near-copy.
    ///
    /// Measured on windows of 100 tokens, of real documentation and of generated passages that share the shapes of their
    /// sentences: of letters, pairs with one in ten words replaced have 66 or more, different passages 57 at most. Of ids,
    /// 64 or more, those that are wrapped differently 52 or more but for one in 100, and all but one in 10,000 pairs of
    /// different passages 45 at most. Where it is not clear, one passage too few is the smaller fault: intervals get wider.
    fn least_in_common(self) -> usize {
        match self {
            Self::Letters => 65,
            Self::Ids => 55,
        }
    }
}

/// Joins the groups of passages that are near-copies, and gives the group of each passage: equal numbers for passages that
/// belong together.
///
/// Two passages are near-copies if 65% of the shorter one are in the other, in runs of 8 letters or more without regard to
/// layout, punctuation and case; near-copies of near-copies are near-copies too. That finds passages of which one in ten words
/// was replaced, but not those that share a few sentences. `decode` turns ids to text. Without it, it is 55% in runs of 4 token
/// ids or more, which finds copies wrapped at other words, but none in capitals or with other spaces between words.
///
/// The time grows with the number of passages, not with its square. The result depends on nothing but the passages and
/// their order.
#[must_use]
pub fn near_copies(passages: &[Passage<'_>], decode: Option<&Decode<'_>>) -> Vec<usize> {
    let grain = if decode.is_some() { Grain::Letters } else { Grain::Ids };
    // No larger than the ids, about.
    let texts: Option<Vec<String>> =
        decode.map(|decode| passages.iter().map(|passage| normalize(&decode(passage.ids))).collect());
    let side = |number: usize| match &texts {
        Some(texts) => Side::new(texts[number].chars().map(u32::from).collect(), grain),
        None => Side::new(passages[number].ids.to_vec(), grain),
    };
    let mut groups = given(passages);
    let mut index = Index::default();
    for number in 0..passages.len() {
        let here = side(number);
        for other in index.like(number, &here, &mut groups) {
            if groups.of(number) != groups.of(other) && is_near_copy(&here, &side(other), grain) {
                groups.join(number, other);
            }
        }
        index.add(number, &here, &mut groups);
    }
    groups.into_numbers()
}

/// The groups that passages have from the outset.
fn given(passages: &[Passage<'_>]) -> Groups {
    let mut groups = Groups::new(passages.len());
    let mut first = HashMap::new();
    for (number, passage) in passages.iter().enumerate() {
        groups.join(*first.entry(passage.group).or_insert(number), number);
    }
    groups
}

/// Which passages have a hash in their sketch.
#[derive(Default)]
struct Index {
    /// The last passages of different groups.
    passages: HashMap<u64, [u32; MOST_GROUPS]>,
    /// Different runs of each passage.
    runs: Vec<usize>,
}

impl Index {
    /// Passages of other groups that may be near-copies, the likeliest first.
    fn like(&self, number: usize, passage: &Side, groups: &mut Groups) -> Vec<usize> {
        let mut shared: HashMap<usize, usize> = HashMap::new();
        let found = passage.sketch().iter().filter_map(|hash| self.passages.get(hash)).flatten();
        for other in found.filter(|other| **other != NONE).map(|other| *other as usize) {
            if groups.of(other) != groups.of(number) {
                *shared.entry(other).or_default() += 1;
            }
        }
        // Of what a passage would share that holds all of the shorter one.
        let share = |other: usize, count: usize| {
            let (one, other) = (passage.sorted.len(), self.runs[other]);
            let (fewer, more) = (one.min(other), one.max(other));
            count as f64 * more as f64 / (fewer * more.min(SKETCH)) as f64
        };
        let shares = shared.into_iter().filter(|(_, count)| *count >= 2);
        let shares = shares.map(|(other, count)| (share(other, count), other));
        let mut likely: Vec<(f64, usize)> = shares.filter(|(share, _)| *share >= LEAST_SHARE).collect();
        likely.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        likely.truncate(MOST_COMPARED);
        likely.into_iter().map(|(_, other)| other).collect()
    }

    fn add(&mut self, number: usize, passage: &Side, groups: &mut Groups) {
        let group = groups.of(number);
        for hash in passage.sketch() {
            let last = self.passages.entry(*hash).or_insert([NONE; MOST_GROUPS]);
            let same = last.iter().position(|other| *other != NONE && groups.of(*other as usize) == group);
            last[same.unwrap_or(MOST_GROUPS - 1)] = number as u32;
            // The latest comes first; the oldest is the one to go.
            last[..=same.unwrap_or(MOST_GROUPS - 1)].rotate_right(1);
        }
        self.runs.push(passage.sorted.len());
    }
}

/// A passage with the hashes of its runs.
struct Side {
    letters: usize,
    /// By position.
    hashes: Vec<u64>,
    /// In rising order, each once.
    sorted: Vec<u64>,
}

impl Side {
    fn new(letters: Vec<u32>, grain: Grain) -> Self {
        let hashes = hashes(&letters, grain.run());
        let mut sorted = hashes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        Self { letters: letters.len(), hashes, sorted }
    }

    fn sketch(&self) -> &[u64] {
        &self.sorted[..self.sorted.len().min(SKETCH)]
    }

    /// Letters in runs that another passage has too.
    fn in_common(&self, other: &Self, grain: Grain) -> usize {
        let (mut count, mut done) = (0, 0);
        for (position, hash) in self.hashes.iter().enumerate() {
            if other.sorted.binary_search(hash).is_ok() {
                let end = position + grain.run();
                count += end - done.max(position);
                done = end;
            }
        }
        count
    }
}

/// Whether enough of the shorter passage is in the other one.
fn is_near_copy(one: &Side, other: &Side, grain: Grain) -> bool {
    let (shorter, longer) = if one.letters <= other.letters { (one, other) } else { (other, one) };
    100 * shorter.in_common(longer, grain) >= grain.least_in_common() * shorter.letters
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
fn hashes(letters: &[u32], gram: usize) -> Vec<u64> {
    let mut rolling = Rolling::new(letters.iter().copied(), gram);
    letters.iter().filter_map(|letter| rolling.push(*letter)).collect()
}
