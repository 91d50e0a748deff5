//! Merges of byte-pair encoding in one word: the lowest rank first, the leftmost among equals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::file::Text;
use crate::tokens::Tokens;
use crate::words::Map;

/// Words of more symbols than this are merged with a queue instead of repeated sweeps.
const SWEEP_SYMBOLS: usize = 48;

const NO_MERGE: u32 = u32::MAX;

/// The merges of a model.
pub(crate) struct Merges {
    /// `left << 32 | right` to (rank, id of the joined token).
    ranks: Map<u64, (u32, u32)>,
}

/// One of the two tokens of a merge.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    pub(crate) id: u32,
}

/// A merge as it is written, in either of its two spellings.
enum Merge<'a> {
    /// `["left", "right"]`.
    Pair(Text<'a>, Text<'a>),
    /// `"left right"`.
    Text(Text<'a>),
}

impl Merge<'_> {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((&left.0, &right.0)),
            Self::Text(text) => text.0.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        }
    }
}

impl<'de> Deserialize<'de> for Merge<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spelling;
        impl<'de> Visitor<'de> for Spelling {
            type Value = Merge<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a merge: two tokens, or a text of two tokens with a space between them")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Merge<'de>, E> {
                Ok(Merge::Text(Text(text.into())))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Merge<'de>, E> {
                Ok(Merge::Text(Text(text.to_owned().into())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge<'de>, A::Error> {
                let mut next =
                    |index| list.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self));
                let (left, right) = (next(0)?, next(1)?);
                match list.next_element::<Text<'_>>()? {
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                    None => Ok(Merge::Pair(left, right)),
                }
            }
        }
        deserializer.deserialize_any(Spelling)
    }
}

/// Reads merges one by one.
struct Reader<'a, F> {
    vocab: &'a Tokens,
    check: F,
    ranks: Map<u64, (u32, u32)>,
    joined: String,
    /// Why a merge was refused.
    refused: Option<String>,
}

impl<F: FnMut(Part<'_>, Part<'_>, u32) -> Result<(), String>> Reader<'_, F> {
    fn add(&mut self, merge: &Merge<'_>) -> Result<(), String> {
        let (left, right) = merge.parts().ok_or("one of its merges is not a pair")?;
        self.joined.clear();
        self.joined.push_str(left);
        self.joined.push_str(right);
        let id = |token: &str| self.vocab.id(token).ok_or("one of its merges is not in its vocabulary");
        let (left, right) = (Part { text: left, id: id(left)? }, Part { text: right, id: id(right)? });
        let joined = id(&self.joined)?;
        (self.check)(left, right, joined)?;
        // A file has fewer bytes than there are ranks.
        let rank = self.ranks.len() as u32;
        match self.ranks.insert(pair(left.id, right.id), (rank, joined)) {
            Some(_) => Err("it has the same merge twice".to_owned()),
            None => Ok(()),
        }
    }
}

impl<'de, F: FnMut(Part<'_>, Part<'_>, u32) -> Result<(), String>> DeserializeSeed<'de>
    for &mut Reader<'_, F>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Part<'_>, Part<'_>, u32) -> Result<(), String>> Visitor<'de> for &mut Reader<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(merge) = list.next_element()? {
            if let Err(reason) = self.add(&merge) {
                self.refused = Some(reason);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

impl Merges {
    /// The merges of a file, which need the ids of its vocabulary; or what is wrong with one. `check` sees the parts of each merge and the id
    /// of the joined token, and may refuse it.
    pub(crate) fn read(
        merges: &RawValue,
        vocab: &Tokens,
        check: impl FnMut(Part<'_>, Part<'_>, u32) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut ranks = Map::default();
        // About as many as tokens.
        ranks.reserve(vocab.len());
        let mut reader = Reader { vocab, check, ranks, joined: String::new(), refused: None };
        match (&mut reader).deserialize(merges) {
            Ok(()) => Ok(Self { ranks: reader.ranks }),
            Err(error) => {
                Err(reader.refused.unwrap_or_else(|| format!("its merges cannot be read: {error}")))
            }
        }
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

    /// For long words: a queue of candidate merges. A symbol stays at the place of its first byte.
    fn merge_by_queue(&self, ids: &mut Vec<u32>) {
        let mut live = Live::new(ids.len());
        let mut queue = Queue::default();
        let mut at = 0;
        while let [left, right, rest @ ..] = &ids[at..] {
            // One symbol may be repeated millions of times.
            let more = if left == right { rest.iter().take_while(|id| *id == right).count() } else { 0 };
            queue.push(self.merge(*left, *right).0, at..at + 1 + more);
            at += 1 + more;
        }
        while let Some((rank, at)) = queue.pop() {
            let Some(next) = live.after(at).filter(|_| live.contains(at)) else { continue };
            // A rank names one pair; another rank here means that the pair of this candidate is gone.
            let (now, id) = self.merge(ids[at], ids[next]);
            if now != rank {
                continue;
            }
            ids[at] = id;
            live.remove(next);
            if let Some(before) = live.before(at) {
                queue.push(self.merge(ids[before], id).0, before..before + 1);
            }
            if let Some(after) = live.after(at) {
                queue.push(self.merge(id, ids[after]).0, at..at + 1);
            }
        }
        let mut at = 0;
        ids.retain(|_| {
            at += 1;
            live.contains(at - 1)
        });
    }
}

/// The places of the symbols that are left, one bit each.
struct Live(Vec<u64>);

impl Live {
    fn new(count: usize) -> Self {
        let mut words = vec![u64::MAX; count / 64 + 1];
        words[count / 64] = (1 << (count % 64)) - 1;
        Self(words)
    }

    fn contains(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn remove(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    /// The first place after `at`.
    fn after(&self, at: usize) -> Option<usize> {
        let mut word = (at + 1) / 64;
        let mut bits = self.0.get(word)? & u64::MAX << ((at + 1) % 64);
        while bits == 0 {
            word += 1;
            bits = *self.0.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// The last place before `at`.
    fn before(&self, at: usize) -> Option<usize> {
        let mut word = at / 64;
        let mut bits = self.0[word] & ((1 << (at % 64)) - 1);
        while bits == 0 {
            word = word.checked_sub(1)?;
            bits = self.0[word];
        }
        Some(word * 64 + bits.ilog2() as usize)
    }
}

/// Candidate merges: the lowest rank first, then the leftmost.
///
/// Candidates of one rank are together, so that each takes four bytes, and are sorted when it is their turn.
#[derive(Default)]
struct Queue {
    waiting: Map<u32, Vec<u32>>,
    ranks: BinaryHeap<Reverse<u32>>,
    /// The rank whose turn it is, and its places, the first one last.
    due: Option<(u32, Vec<u32>)>,
}

impl Queue {
    /// Adds candidates at places that are less than `u32::MAX`; nothing for [`NO_MERGE`].
    fn push(&mut self, rank: u32, places: Range<usize>) {
        if rank != NO_MERGE {
            self.waiting
                .entry(rank)
                .or_insert_with(|| {
                    self.ranks.push(Reverse(rank));
                    Vec::new()
                })
                .extend(places.map(|at| at as u32));
        }
    }

    fn pop(&mut self) -> Option<(u32, usize)> {
        loop {
            let lowest = self.ranks.peek().map(|rank| rank.0);
            match &mut self.due {
                Some((rank, places)) if lowest.is_none_or(|lowest| *rank < lowest) => match places.pop() {
                    Some(at) => return Some((*rank, at as usize)),
                    None => self.due = None,
                },
                _ => {
                    // Before the rest of a higher rank.
                    self.ranks.pop();
                    let mut places = self.waiting.remove(&lowest?)?;
                    if let Some((rank, rest)) = self.due.take() {
                        rest.into_iter().for_each(|at| self.push(rank, at as usize..at as usize + 1));
                    }
                    places.sort_unstable_by(|one, other| other.cmp(one));
                    self.due = Some((lowest?, places));
                }
            }
        }
    }
}

#[inline(always)]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
