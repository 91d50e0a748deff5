//! Which letters of two passages are the same.

use std::collections::HashMap;
use std::ops::Range;

use super::extend::extend;

/// A passage as a sequence of letters: of its normalized stream, or token ids where there is no text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) letters: &'a [u32],
    /// For each letter whether a word starts with it.
    pub(crate) starts: &'a [bool],
    /// How much an equal letter says, in letters of an alphabet.
    pub(crate) worth: fn(u32) -> i32,
}

/// `length` letters from `a` in the one passage and from `b` in the other are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) length: usize,
}

impl Block {
    fn ends(self) -> (usize, usize) {
        (self.a + self.length, self.b + self.length)
    }
}

/// Most that an equal word counts.
const MOST_WORTH: i32 = 6;

impl Side<'_> {
    /// Whether no word extends over this position.
    fn divides(&self, at: usize) -> bool {
        self.starts.get(at).copied().unwrap_or(true)
    }

    /// The words of a part. One that the part cuts counts as a word.
    fn words(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut words = Vec::new();
        let mut start = range.start;
        for at in range.clone().skip(1) {
            if self.starts[at] {
                words.push(start..at);
                start = at;
            }
        }
        if start < range.end {
            words.push(start..range.end);
        }
        words
    }
}

/// The equal letters around a seed, in order: blocks of whole words, of which no two are adjacent in both passages. The
/// passages are equal at `seed`, position in `a` and position in `b`.
pub(crate) fn align(a: Side<'_>, b: Side<'_>, seed: (usize, usize)) -> Vec<Block> {
    let equal = |pairs: &mut dyn Iterator<Item = (&u32, &u32)>| pairs.take_while(|(x, y)| x == y).count();
    let right = equal(&mut a.letters[seed.0..].iter().zip(&b.letters[seed.1..]));
    let left = equal(&mut a.letters[..seed.0].iter().rev().zip(b.letters[..seed.1].iter().rev()));
    let center = Block { a: seed.0 - left, b: seed.1 - left, length: left + right };
    let Some(center) = whole_words(a, b, center) else { return Vec::new() };
    let (a_end, b_end) = center.ends();
    let mut words = Words::default();
    let mut before = words.extend((a, 0..center.a), (b, 0..center.b), true);
    let after = words.extend((a, a_end..a.letters.len()), (b, b_end..b.letters.len()), false);
    before.reverse();
    joined(a, b, before.into_iter().chain([center]).chain(after))
}

/// The part of equal letters that is whole words in both passages.
fn whole_words(a: Side<'_>, b: Side<'_>, block: Block) -> Option<Block> {
    let divides = |at: &usize| a.divides(block.a + at) && b.divides(block.b + at);
    let first = (0..block.length).find(divides)?;
    let last = (first + 1..=block.length).rev().find(divides)?;
    Some(Block { a: block.a + first, b: block.b + first, length: last - first })
}

/// Words as numbers: equal words have the same.
#[derive(Default)]
struct Words<'a> {
    numbers: HashMap<&'a [u32], u32>,
}

impl<'a> Words<'a> {
    /// Equal words after, or `backward` before, a block; the nearest first.
    fn extend(
        &mut self,
        (a, a_range): (Side<'a>, Range<usize>),
        (b, b_range): (Side<'a>, Range<usize>),
        backward: bool,
    ) -> Vec<Block> {
        let (mut a_words, mut b_words) = (a.words(a_range), b.words(b_range));
        if backward {
            a_words.reverse();
            b_words.reverse();
        }
        let a_numbers: Vec<u32> = a_words.iter().map(|word| self.number(&a.letters[word.clone()])).collect();
        let b_numbers: Vec<u32> = b_words.iter().map(|word| self.number(&b.letters[word.clone()])).collect();
        let worth = |word: &Range<usize>| -> i32 {
            a.letters[word.clone()].iter().map(|&letter| (a.worth)(letter)).sum::<i32>().min(MOST_WORTH)
        };
        let worths: Vec<i32> = a_words.iter().map(worth).collect();
        let block = |(i, j): (usize, usize)| {
            let (word, other) = (&a_words[i], &b_words[j]);
            Block { a: word.start, b: other.start, length: word.len() }
        };
        extend(&a_numbers, &b_numbers, &worths).into_iter().map(block).collect()
    }

    fn number(&mut self, word: &'a [u32]) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(word).or_insert(next)
    }
}

/// Joins adjacent blocks. Between others, words that are divided elsewhere in the other passage become equal.
fn joined(a: Side<'_>, b: Side<'_>, blocks: impl Iterator<Item = Block>) -> Vec<Block> {
    let mut joined: Vec<Block> = Vec::new();
    let mut push = |block: Block| match joined.last_mut() {
        Some(last) if last.ends() == (block.a, block.b) => last.length += block.length,
        _ if block.length > 0 => joined.push(block),
        _ => {}
    };
    let mut done: Option<(usize, usize)> = None;
    for block in blocks {
        if let Some((from_a, from_b)) = done {
            let (gap_a, gap_b) = (&a.letters[from_a..block.a], &b.letters[from_b..block.b]);
            let shorter = gap_a.len().min(gap_b.len());
            let both = |at: &usize| a.divides(from_a + at) && b.divides(from_b + at);
            let equal = gap_a.iter().zip(gap_b).take_while(|(x, y)| x == y).count();
            let start = (0..=equal).rev().find(both).unwrap_or(0);
            let equal = gap_a.iter().rev().zip(gap_b.iter().rev()).take_while(|(x, y)| x == y).count();
            let both = |length: &usize| a.divides(block.a - length) && b.divides(block.b - length);
            let end = (0..=equal.min(shorter - start)).rev().find(both).unwrap_or(0);
            push(Block { a: from_a, b: from_b, length: start });
            push(Block { a: block.a - end, b: block.b - end, length: end });
        }
        push(block);
        done = Some(block.ends());
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(text: &str) -> (Vec<u32>, Vec<bool>) {
        let mut starts = Vec::new();
        let mut letters = Vec::new();
        for word in text.split(' ') {
            for (i, c) in word.chars().enumerate() {
                letters.push(c.into());
                starts.push(i == 0);
            }
        }
        (letters, starts)
    }

    fn aligned(a: &str, b: &str, seed: (usize, usize)) -> Vec<String> {
        let (a, b) = (side(a), side(b));
        let text = |letters: &[u32]| letters.iter().filter_map(|&c| char::from_u32(c)).collect::<String>();
        let blocks = align(
            Side { letters: &a.0, starts: &a.1, worth: |_| 1 },
            Side { letters: &b.0, starts: &b.1, worth: |_| 1 },
            seed,
        );
        let found = blocks.iter().map(|block| {
            let here = text(&a.0[block.a..block.a + block.length]);
            assert_eq!(here, text(&b.0[block.b..block.b + block.length]));
            here
        });
        found.collect()
    }

    #[test]
    fn equal_streams_are_one_block_wherever_their_words_end() {
        let blocks = aligned("the quick brown fox", "x thequick bro wn fox y", (3, 4));
        assert_eq!(blocks, ["thequickbrownfox"]);
    }

    #[test]
    fn equal_letters_of_other_words_are_not_aligned() {
        assert_eq!(aligned("a catch of fish", "the cats of fish", (1, 3)), Vec::<String>::new());
        assert_eq!(aligned("we catch of fish again", "we cats of fish against", (8, 7)), ["offish"]);
    }

    #[test]
    fn a_changed_word_is_stepped_over() {
        let a = "one two three four five six seven eight nine ten";
        let b = "one two three FOUR five six seven 8 eight nine ten";
        assert_eq!(aligned(a, b, (15, 15)), ["onetwothree", "fivesixseven", "eightnineten"]);
    }

    #[test]
    fn split_and_joined_words_are_equal() {
        let a = "before it the gold fish swims in the pond ofglass and never leaves it again";
        let b = "before it the goldfish swims in red pond of glass and never leaves it again";
        let whole = "beforeitthegoldfishswimsin";
        assert_eq!(aligned(a, b, (0, 0)), [whole, "pondofglassandneverleavesitagain"]);
    }

    #[test]
    fn an_extension_ends_where_the_texts_diverge() {
        let far: Vec<String> = (0..40).map(|i| format!("a{i}")).collect();
        let other: Vec<String> = (0..40).map(|i| format!("b{i}")).collect();
        let a = format!("same start here {} the", far.join(" "));
        let b = format!("same start here {} the", other.join(" "));
        assert_eq!(aligned(&a, &b, (0, 0)), ["samestarthere"]);
    }
}
