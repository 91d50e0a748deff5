//! Merges of byte-pair encoding in one word: the lowest rank first, the leftmost among equals.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use crate::file::Merge;
use crate::words::Map;

/// Words of more symbols than this are merged with a queue instead of repeated sweeps.
const SWEEP_SYMBOLS: usize = 48;

const NO_MERGE: u32 = u32::MAX;

/// The merges of a model.
pub(crate) struct Merges {
    /// `left << 32 | right` to (rank, id of the joined token).
    ranks: Map<u64, (u32, u32)>,
}

impl Merges {
    /// The merges of a file. `ids` is the vocabulary; `check` sees the parts of each merge and may refuse it.
    pub(crate) fn read(
        merges: &[Merge],
        ids: &HashMap<&str, u32>,
        mut check: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut ranks = Map::with_capacity_and_hasher(merges.len(), BuildHasherDefault::default());
        let mut joined = String::new();
        for (rank, merge) in (0u32..).zip(merges) {
            let (left, right) = merge.parts().ok_or("one of its merges is not a pair")?;
            check(left, right)?;
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let id =
                |token: &str| ids.get(token).copied().ok_or("one of its merges is not in its vocabulary");
            if ranks.insert(pair(id(left)?, id(right)?), (rank, id(&joined)?)).is_some() {
                return Err("it has the same merge twice".to_owned());
            }
        }
        Ok(Self { ranks })
    }

    /// Merges the symbols of one word, fewer than `u32::MAX`, as far as they go. `candidates` is a buffer.
    pub(crate) fn apply(&self, symbols: &mut Vec<u32>, candidates: &mut Vec<(u32, u32)>) {
        if symbols.len() <= SWEEP_SYMBOLS {
            self.merge_by_sweeps(symbols, candidates);
        } else {
            self.merge_by_queue(symbols);
        }
    }

    #[inline(always)]
    fn merge(&self, left: u32, right: u32) -> (u32, u32) {
        self.ranks.get(&pair(left, right)).copied().unwrap_or((NO_MERGE, 0))
    }

    /// For short words: find the lowest rank, merge there, look again.
    fn merge_by_sweeps(&self, symbols: &mut Vec<u32>, merges: &mut Vec<(u32, u32)>) {
        merges.clear();
        merges.extend(symbols.windows(2).map(|two| self.merge(two[0], two[1])));
        loop {
            let mut lowest = NO_MERGE;
            let mut at = 0;
            for (here, &(rank, _)) in merges.iter().enumerate() {
                if rank < lowest {
                    (lowest, at) = (rank, here);
                }
            }
            if lowest == NO_MERGE {
                break;
            }
            symbols[at] = merges[at].1;
            symbols.remove(at + 1);
            merges.remove(at);
            if at > 0 {
                merges[at - 1] = self.merge(symbols[at - 1], symbols[at]);
            }
            if at < merges.len() {
                merges[at] = self.merge(symbols[at], symbols[at + 1]);
            }
        }
    }

    /// For long words: a queue of candidate merges over a linked list of symbols.
    ///
    /// A candidate is `rank << 32 | position`, so that the smallest is due next. Those that the word starts with are
    /// sorted once; only those that merges create need a heap.
    fn merge_by_queue(&self, ids: &mut Vec<u32>) {
        /// The position of no symbol.
        const NONE: u32 = u32::MAX;
        struct Symbol {
            id: u32,
            /// Whether the symbol has become part of the one before it.
            joined: bool,
            previous: u32,
            next: u32,
        }
        let mut symbols: Vec<Symbol> = (0u32..)
            .zip(&*ids)
            .map(|(at, &id)| Symbol {
                id,
                joined: false,
                previous: at.checked_sub(1).unwrap_or(NONE),
                next: at + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let candidate = |left: &Symbol, right: &Symbol, at: u32| match self.merge(left.id, right.id) {
            (NO_MERGE, _) => None,
            (rank, _) => Some(pair(rank, at)),
        };
        let mut first: Vec<u64> = (0u32..)
            .zip(symbols.windows(2))
            .filter_map(|(at, two)| candidate(&two[0], &two[1], at))
            .collect();
        first.sort_unstable();
        let mut first = first.into_iter().peekable();
        let mut later: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        loop {
            let due = match (first.peek(), later.peek()) {
                (Some(one), Some(Reverse(other))) if one <= other => first.next(),
                (_, Some(_)) => later.pop().map(|Reverse(due)| due),
                _ => first.next(),
            };
            let Some(due) = due else { break };
            let (rank, position) = ((due >> 32) as u32, due as u32);
            let at = position as usize;
            let next = symbols[at].next;
            if symbols[at].joined || next == NONE {
                continue;
            }
            let next = next as usize;
            // A rank names one pair; another rank here means that the pair of this candidate is gone.
            let (now, id) = self.merge(symbols[at].id, symbols[next].id);
            if now != rank {
                continue;
            }
            symbols[next].joined = true;
            let (before, after) = (symbols[at].previous, symbols[next].next);
            symbols[at].id = id;
            symbols[at].next = after;
            if after != NONE {
                symbols[after as usize].previous = position;
                later.extend(candidate(&symbols[at], &symbols[after as usize], position).map(Reverse));
            }
            if before != NONE {
                later.extend(candidate(&symbols[before as usize], &symbols[at], before).map(Reverse));
            }
        }
        ids.clear();
        ids.extend(symbols.iter().filter(|symbol| !symbol.joined).map(|symbol| symbol.id));
    }
}

#[inline(always)]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
