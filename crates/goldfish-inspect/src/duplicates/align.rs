//! Which characters of two passages are the same.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// A passage's normalized stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) chars: &'a [char],
    /// For each character whether a word starts with it.
    pub(crate) starts: &'a [bool],
}

/// `length` characters from `a` in the one passage and from `b` in the other are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) length: usize,
}

/// The equal characters around a seed, in order, and whether all between the first and the last is equal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alignment {
    pub(crate) blocks: Vec<Block>,
    pub(crate) exact: bool,
}

/// How far the score of an extension may fall below its best before it ends, in words: as in the X-drop extension of
/// BLAST (Altschul et al. 1990). An equal word counts 1, a word that is missing or other on a side -1.
const DROP: i64 = 10;

/// Aligns two passages that are equal at `seed`, position in `a` and position in `b`.
pub(crate) fn align(a: Side<'_>, b: Side<'_>, seed: (usize, usize)) -> Alignment {
    let equal = |pairs: &mut dyn Iterator<Item = (&char, &char)>| pairs.take_while(|(x, y)| x == y).count();
    let right = equal(&mut a.chars[seed.0..].iter().zip(&b.chars[seed.1..]));
    let left = equal(&mut a.chars[..seed.0].iter().rev().zip(b.chars[..seed.1].iter().rev()));
    let center = Block { a: seed.0 - left, b: seed.1 - left, length: left + right };
    let before = extend(a, b, 0..center.a, 0..center.b, true);
    let after =
        extend(a, b, center.a + center.length..a.chars.len(), center.b + center.length..b.chars.len(), false);
    let exact = before.is_empty() && after.is_empty();
    let blocks = before.into_iter().rev().chain([center]).chain(after).collect();
    Alignment { blocks, exact }
}

/// Equal words after (or, `backward`, before) a block, the nearest first.
fn extend(
    a: Side<'_>,
    b: Side<'_>,
    a_range: Range<usize>,
    b_range: Range<usize>,
    backward: bool,
) -> Vec<Block> {
    let (a_words, b_words) = (words(a, a_range, backward), words(b, b_range, backward));
    let text = |side: Side<'_>, words: &[Range<usize>]| -> Vec<String> {
        words.iter().map(|word| side.chars[word.clone()].iter().collect()).collect()
    };
    let ops = capture_diff_slices(Algorithm::Myers, &text(a, &a_words), &text(b, &b_words));
    let mut blocks = Vec::new();
    let (mut score, mut best, mut kept) = (0i64, 0i64, 0);
    for op in ops {
        match op {
            DiffOp::Equal { old_index, new_index, len } => {
                for i in 0..len {
                    let (word, other) = (&a_words[old_index + i], &b_words[new_index + i]);
                    blocks.push(Block { a: word.start, b: other.start, length: word.len() });
                    score += 1;
                }
                if score > best {
                    best = score;
                    kept = blocks.len();
                }
            }
            DiffOp::Delete { old_len, .. } => score -= old_len as i64,
            DiffOp::Insert { new_len, .. } => score -= new_len as i64,
            DiffOp::Replace { old_len, new_len, .. } => score -= old_len.max(new_len) as i64,
        }
        if score < best - DROP {
            break;
        }
    }
    blocks.truncate(kept);
    blocks
}

/// The words of a part of a side. One that the part cuts counts as a word.
fn words(side: Side<'_>, range: Range<usize>, backward: bool) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = range.start;
    for at in range.clone().skip(1) {
        if side.starts[at] {
            words.push(start..at);
            start = at;
        }
    }
    if start < range.end {
        words.push(start..range.end);
    }
    if backward {
        words.reverse();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(text: &str) -> (Vec<char>, Vec<bool>) {
        let mut starts = Vec::new();
        let mut chars = Vec::new();
        for word in text.split(' ') {
            for (i, c) in word.chars().enumerate() {
                chars.push(c);
                starts.push(i == 0);
            }
        }
        (chars, starts)
    }

    fn aligned(a: &str, b: &str, seed: (usize, usize)) -> (Vec<(String, String)>, bool) {
        let (a, b) = (side(a), side(b));
        let found = align(Side { chars: &a.0, starts: &a.1 }, Side { chars: &b.0, starts: &b.1 }, seed);
        let text = |chars: &[char], from: usize, length: usize| chars[from..from + length].iter().collect();
        let blocks = found.blocks.iter();
        let blocks =
            blocks.map(|block| (text(&a.0, block.a, block.length), text(&b.0, block.b, block.length)));
        (blocks.collect(), found.exact)
    }

    #[test]
    fn equal_streams_are_one_block_wherever_their_words_end() {
        let (blocks, exact) = aligned("the quick brown fox", "x thequick bro wn fox y", (3, 4));
        assert_eq!(blocks, [("thequickbrownfox".to_owned(), "thequickbrownfox".to_owned())]);
        assert!(exact);
    }

    #[test]
    fn a_changed_word_is_stepped_over() {
        let a = "one two three four five six seven eight nine ten";
        let b = "one two three FOUR five six seven 8 eight nine";
        let (blocks, exact) = aligned(a, b, (15, 15));
        assert!(!exact);
        let text: Vec<String> = blocks.iter().map(|block| block.0.clone()).collect();
        assert_eq!(text.concat(), "onetwothreefivesixseveneightnine");
        assert!(blocks.iter().all(|block| block.0 == block.1));
    }

    #[test]
    fn an_extension_ends_where_the_texts_diverge() {
        let far: Vec<String> = (0..40).map(|i| format!("a{i}")).collect();
        let other: Vec<String> = (0..40).map(|i| format!("b{i}")).collect();
        let a = format!("same start here {} the", far.join(" "));
        let b = format!("same start here {} the", other.join(" "));
        let (blocks, exact) = aligned(&a, &b, (0, 0));
        assert_eq!(blocks, [("samestarthere".to_owned(), "samestarthere".to_owned())]);
        assert!(exact);
    }
}
