//! Equal words in order, from the start of two sequences on.

/// What one word in the place of another costs. An equal word counts as many letters as it has, up to some.
const REPLACED: i32 = 6;

/// What words that one sequence has more cost: once, and each.
const GAP: i32 = 8;
const GAP_WORD: i32 = 1;

/// How far a score may fall below the best before an extension ends, as in the X-drop extension of BLAST (Altschul et al.
/// 1990; with gaps, 1997).
const DROP: i32 = 32;

/// A score below all others.
const NONE: i32 = i32::MIN / 2;

/// How the best score of a cell came about: the words of both are paired, or one has a word more.
const PAIR: u8 = 0;
const A_MORE: u8 = 1;
const B_MORE: u8 = 2;
const MOVE: u8 = 3;
/// Whether the word before was one more already.
const A_AGAIN: u8 = 4;
const B_AGAIN: u8 = 8;

/// The scores after some words of `a`, by words of `b`, from the first on that is worth following.
#[derive(Default)]
struct Row {
    first: usize,
    best: Vec<i32>,
    /// Scores if the last word of `a` is one more.
    a_more: Vec<i32>,
}

impl Row {
    fn at(&self, scores: &[i32], column: usize) -> i32 {
        column.checked_sub(self.first).and_then(|index| scores.get(index)).copied().unwrap_or(NONE)
    }
}

/// Pairs of equal words, index in `a` and index in `b`: those of the alignment of two starts that scores best (Gotoh 1982).
/// `worth` says what each word of `a` counts.
pub(crate) fn extend(a: &[u32], b: &[u32], worth: &[i32]) -> Vec<(usize, usize)> {
    let mut top = 0;
    let mut end = (0, 0);
    let mut row = Row { first: 0, best: vec![0], a_more: vec![NONE] };
    // For each row its first column, and how its cells came about.
    let mut moves: Vec<(usize, Vec<u8>)> = Vec::new();
    for i in 0..=a.len() {
        let (above, mut cells) = (std::mem::take(&mut row), Vec::new());
        row.first = above.first;
        let (mut left, mut b_more) = (NONE, NONE);
        for j in above.first..=b.len() {
            if i == 0 && j == 0 {
                // Nothing is paired yet.
                left = 0;
                row.best.push(0);
                row.a_more.push(NONE);
                cells.push(PAIR);
                continue;
            }
            let (mut how, mut a_more) = (PAIR, NONE);
            let mut paired = NONE;
            if i > 0 {
                let (opened, longer) = (above.at(&above.best, j) - GAP, above.at(&above.a_more, j));
                a_more = opened.max(longer) - GAP_WORD;
                how |= if longer > opened { A_AGAIN } else { 0 };
                if j > 0 {
                    let score = if a[i - 1] == b[j - 1] { worth[i - 1] } else { -REPLACED };
                    paired = above.at(&above.best, j - 1) + score;
                }
            }
            how |= if b_more > left - GAP { B_AGAIN } else { 0 };
            b_more = b_more.max(left - GAP) - GAP_WORD;
            let mut best = paired.max(a_more).max(b_more);
            how |= if best == paired {
                PAIR
            } else if best == a_more {
                A_MORE
            } else {
                B_MORE
            };
            if best < top - DROP {
                best = NONE;
                a_more = NONE;
                b_more = NONE;
            } else if best > top {
                top = best;
                end = (i, j);
            }
            let dead = best == NONE;
            left = best;
            if dead && j >= above.first + above.best.len() {
                break;
            }
            if dead && row.best.is_empty() {
                row.first = j + 1;
                continue;
            }
            row.best.push(best);
            row.a_more.push(a_more);
            cells.push(how);
        }
        let alive = row.best.iter().rposition(|&best| best != NONE).map_or(0, |last| last + 1);
        row.best.truncate(alive);
        row.a_more.truncate(alive);
        if alive == 0 {
            break;
        }
        moves.push((row.first, cells));
    }
    walk_back(a, b, &moves, end)
}

fn walk_back(a: &[u32], b: &[u32], moves: &[(usize, Vec<u8>)], end: (usize, usize)) -> Vec<(usize, usize)> {
    let how = |i: usize, j: usize| -> u8 {
        let (first, cells) = &moves[i];
        cells[j - first]
    };
    let (mut i, mut j) = end;
    let mut pairs = Vec::new();
    while (i, j) != (0, 0) {
        match how(i, j) & MOVE {
            A_MORE => {
                while how(i, j) & A_AGAIN != 0 {
                    i -= 1;
                }
                i -= 1;
            }
            B_MORE => {
                while how(i, j) & B_AGAIN != 0 {
                    j -= 1;
                }
                j -= 1;
            }
            _ => {
                (i, j) = (i - 1, j - 1);
                if a[i] == b[j] {
                    pairs.push((i, j));
                }
            }
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The score of the best alignment of two starts, tried one by one: what is left of both, and which has a word more.
    fn best(a: &[u32], b: &[u32], worth: i32, open: u8) -> i32 {
        let mut top = 0;
        if let ([x, a @ ..], [y, b @ ..]) = (a, b) {
            top = top.max(best(a, b, worth, PAIR) + if x == y { worth } else { -REPLACED });
        }
        let cost = |more: u8| GAP_WORD + if open == more { 0 } else { GAP };
        if let [_, a @ ..] = a {
            top = top.max(best(a, b, worth, A_MORE) - cost(A_MORE));
        }
        if let [_, b @ ..] = b {
            top = top.max(best(a, b, worth, B_MORE) - cost(B_MORE));
        }
        top
    }

    /// The score of an alignment by its pairs.
    fn score(pairs: &[(usize, usize)], worth: i32) -> i32 {
        let mut at = (0, 0);
        let mut sum = 0;
        for &(i, j) in pairs {
            let (in_a, in_b) = ((i - at.0) as i32, (j - at.1) as i32);
            let gap = |words: i32| if words > 0 { GAP + words * GAP_WORD } else { 0 };
            let replaced = |words: i32| words * REPLACED + gap(in_a - words) + gap(in_b - words);
            sum += worth - (0..=in_a.min(in_b)).map(replaced).min().unwrap_or(0);
            at = (i + 1, j + 1);
        }
        sum
    }

    proptest! {
        #[test]
        fn the_best_alignment_is_found(
            a in prop::collection::vec(0u32..3, 0..7),
            b in prop::collection::vec(0u32..3, 0..7),
            worth in 1..7,
        ) {
            let pairs = extend(&a, &b, &vec![worth; a.len()]);
            prop_assert!(pairs.iter().all(|&(i, j)| a[i] == b[j]));
            prop_assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1));
            prop_assert_eq!(score(&pairs, worth), best(&a, &b, worth, PAIR));
        }
    }

    #[test]
    fn words_that_one_has_more_are_stepped_over_and_others_end_it() {
        let text: Vec<u32> = (0..100).collect();
        let header: Vec<u32> = (1000..1015).collect();
        let other = [&text[..40], &header, &text[40..]].concat();
        assert_eq!(extend(&text, &other, &[5; 100]).len(), 100);
        let other = |i: u32| if i < 40 || i.is_multiple_of(4) { i } else { 500 + i };
        let foreign: Vec<u32> = (0..100).map(other).collect();
        assert_eq!(extend(&text, &foreign, &[5; 100]).len(), 41);
    }
}
