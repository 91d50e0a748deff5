//! Ranks and keys of tokens for the rule `anchor`.

use crate::MAX_ANCHOR_CONTEXT;
use crate::rules::lanes::TOGETHER;
use crate::rules::xxh3::PairHash;
use crate::selection::least_in_row;

/// How tokens are ranked, and the keys that follow.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Tokens before a token among which its anchor is.
    pub(crate) context: usize,
    flip: u32,
    hash: PairHash,
}

impl Keys {
    pub(crate) fn new(context: usize, seed: u64) -> Self {
        Self { context, flip: seed as u32 ^ (seed >> 32) as u32, hash: PairHash::new(seed) }
    }

    #[inline(always)]
    fn rank(&self, id: u32) -> u32 {
        let x = (id ^ self.flip).wrapping_mul(0x9E37_79B1);
        let x = x.wrapping_add(0x1656_67B1);
        let x = (x ^ (x >> 15)).wrapping_mul(0x85EB_CA77);
        let x = x ^ (x >> 13);
        x >> shift(id)
    }

    /// The key of the token after these, at least one: of which the last `context` count.
    pub(crate) fn key_after(&self, before: &[u32]) -> u32 {
        let context = &before[before.len().saturating_sub(self.context)..];
        let anchor = context.iter().map(|&id| self.rank(id)).fold(u32::MAX, u32::min);
        let previous = context.last().copied().unwrap_or_default();
        self.hash.upper([anchor, 0], [previous, 0])[0]
    }

    /// The keys of the last `keys.len()` of `ids`, [`TOGETHER`] at most, each with its whole context before it.
    #[inline(always)]
    pub(crate) fn all(&self, ids: &[u32], keys: &mut [u32]) {
        let mut ranks = [0; TOGETHER + MAX_ANCHOR_CONTEXT as usize];
        let ranks = &mut ranks[..ids.len()];
        for (rank, &id) in ranks.iter_mut().zip(ids) {
            *rank = self.rank(id);
        }
        let offset = least_in_row(ranks, self.context);
        let previous = &ids[self.context - 1..];
        for (key, (&a, &b)) in keys.iter_mut().zip(ranks.iter().zip(&ranks[offset..])) {
            *key = a.min(b);
        }
        let last_previous = previous[..keys.len()].last().copied();
        let (pairs, last) = keys.as_chunks_mut();
        for (keys, &previous) in pairs.iter_mut().zip(previous.as_chunks().0) {
            *keys = self.hash.upper(*keys, previous);
        }
        if let ([key], Some(previous)) = (last, last_previous) {
            [*key, _] = self.hash.upper([*key, 0], [previous, 0]);
        }
    }
}

/// How many of 256, 1024, 4096, 16384 and 65536 the id is not below.
#[inline(always)]
fn shift(id: u32) -> u32 {
    // Half of the exponent as a floating-point number, which holds these ids exactly; 1.0 has exponent 127.
    let id = id.clamp(64, 65536) as f32;
    (id.to_bits() - (133 << 23)) >> 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_are_those_of_the_bounds() {
        for bit in 0..32 {
            for id in [(1u32 << bit) - 1, 1 << bit, (1 << bit) + 1] {
                let reached = [256, 1024, 4096, 16384, 65536].iter().filter(|&&bound| id >= bound).count();
                assert_eq!(shift(id), reached as u32, "id {id}");
            }
        }
        assert_eq!(shift(u32::MAX), 5);
    }
}
