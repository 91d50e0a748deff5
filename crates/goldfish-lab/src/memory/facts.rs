//! Made-up facts: random letters, of which the first are a name and the others what it stands for.

use std::collections::BTreeSet;

use rand_mt::Mt64;

use crate::draw::below;

/// Letters of a name.
pub(super) const NAME: usize = 3;
/// Letters of a fact.
pub(super) const FACT: usize = 8;
/// Letters by their ids, from 0.
const LETTERS: u32 = 26;
/// The token before a fact that is injected.
const INJECT: u32 = LETTERS;
/// The token before a fact that is asked for.
const ASK: u32 = LETTERS + 1;
/// Number of ids.
pub(super) const VOCABULARY: usize = LETTERS as usize + 2;

/// The ids of a fact's letters.
pub(super) type Fact = [u32; FACT];

/// What a model reads when a fact is injected.
pub(super) fn injected(fact: &Fact) -> Vec<u32> {
    std::iter::once(INJECT).chain(*fact).collect()
}

/// What it reads when it is asked: the row of each letter's prediction is the letter's number.
pub(super) fn asked(fact: &Fact) -> Vec<u32> {
    std::iter::once(ASK).chain(*fact).take(FACT).collect()
}

/// Facts that are injected one after the other, and which vectors each of them replaces. The first fact is asked for.
pub(super) struct Episode {
    pub(super) facts: Vec<Fact>,
    /// Numbers of slots, ascending.
    pub(super) replaced: Vec<Vec<usize>>,
}

impl Episode {
    /// Facts of different names.
    pub(super) fn draw(random: &mut Mt64, later: usize, [slots, replaced]: [usize; 2]) -> Self {
        let mut names = BTreeSet::new();
        let mut facts = Vec::with_capacity(1 + later);
        while facts.len() <= later {
            let fact: Fact = std::array::from_fn(|_| below(random, u64::from(LETTERS)) as u32);
            if names.insert(fact[..NAME].to_vec()) {
                facts.push(fact);
            }
        }
        let mut draw = || {
            let mut numbers: Vec<usize> = (0..slots).collect();
            for place in 0..replaced {
                numbers.swap(place, place + below(random, (slots - place) as u64) as usize);
            }
            numbers.truncate(replaced);
            numbers.sort_unstable();
            numbers
        };
        let replaced = facts.iter().map(|_| draw()).collect();
        Self { facts, replaced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn episodes_have_different_names_and_replace_every_slot_as_often() {
        let mut random = Mt64::new(3);
        let mut counts = [0; 10];
        for _ in 0..500 {
            let Episode { facts, replaced } = Episode::draw(&mut random, 3, [10, 4]);
            let names: BTreeSet<&[u32]> = facts.iter().map(|fact| &fact[..NAME]).collect();
            assert_eq!((names.len(), replaced.len()), (4, 4));
            for slots in replaced {
                assert!(slots.len() == 4 && slots.is_sorted_by(|a, b| a < b));
                slots.iter().for_each(|slot| counts[*slot] += 1);
            }
        }
        // 2,000 injections that replace four of ten.
        assert!(counts.iter().all(|count| (700..900).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_letter_is_predicted_in_the_row_of_its_number() {
        let fact = [5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(injected(&fact), [26, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(asked(&fact), [27, 5, 6, 7, 8, 9, 10, 11]);
    }
}
