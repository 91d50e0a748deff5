//! Each rule again, written from its definition with no thought of speed: the oracle of the tests.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several test crates")]

mod anchor;
pub(crate) mod selection;

pub(crate) use anchor::mask as anchor_mask;
use goldfish_mask::rules::{CoefficientSum, Hash, HashAvalanche, HashTable, Random, Static};
use goldfish_mask::{RuleParameters, Scope, ShortContext, TABLE_LEN, UniformTable, Window};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The factors that the tests use for a context of `h` tokens.
pub(crate) fn coefficients(h: u32) -> Vec<i64> {
    (0..i128::from(h)).map(|j| ((j * 0x1234_5678_90ab_cdef + 0x3a5) % (1 << 62)) as i64 | 1).collect()
}

/// The ids that the vectors were computed on.
pub(crate) fn vector_ids() -> Vec<u32> {
    let mut ids: Vec<u32> = (0..96).map(|i| (i * i * 7 + 3 * i + 1) % 5000).collect();
    ids[40] = 0;
    ids[60] = 1;
    ids
}

fn in_first_part(x: u64, k: u32) -> bool {
    (u128::from(x) * u128::from(k)) >> 64 == 0
}

fn xxh3(ids: &[u32], seed: u64) -> u64 {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, seed)
}

fn below_table(table: &UniformTable, key: i64, k: u32) -> bool {
    table.values()[key.rem_euclid(TABLE_LEN as i64) as usize] < (1.0 / f64::from(k)) as f32
}

/// Whether the token at `i` of a document is dropped.
pub(crate) fn drops(rule: &RuleParameters, table: &UniformTable, ids: &[u32], key: u64, i: usize) -> bool {
    let inclusive = |h: u32| (i + 1 >= h as usize).then(|| &ids[i + 1 - h as usize..=i]);
    let product = |w: &[u32]| w.iter().fold(1u64, |p, &id| p.wrapping_mul(id.into()));
    match rule {
        RuleParameters::NoRule(_) => false,
        RuleParameters::Static(Static { k, start, .. }) => {
            i as u64 >= *start && (i as u64 - start).is_multiple_of(u64::from(*k))
        }
        RuleParameters::Random(Random { k, seed, .. }) => {
            let bytes = [key.to_le_bytes(), (i as u64).to_le_bytes()].concat();
            in_first_part(xxh3_64_with_seed(&bytes, *seed), *k)
        }
        RuleParameters::Hash(Hash { k, context, window, short_context, seed, .. }) => {
            let end = if *window == Window::Preceding { i } else { i + 1 };
            match end.checked_sub(*context as usize) {
                Some(start) => in_first_part(xxh3(&ids[start..end], *seed), *k),
                None => {
                    *short_context == ShortContext::Short
                        && i > 0
                        && in_first_part(xxh3(&ids[..end], *seed), *k)
                }
            }
        }
        RuleParameters::HashTable(HashTable { k, context, .. }) => {
            inclusive(*context).is_some_and(|w| below_table(table, product(w) as i64, *k))
        }
        RuleParameters::HashAvalanche(HashAvalanche { k, context, .. }) => inclusive(*context)
            .is_some_and(|w| (hashint(product(w)) as f32) < (4_294_967_295.0 / f64::from(*k)) as f32),
        RuleParameters::CoefficientSum(CoefficientSum { k, context, coefficients, .. }) => {
            inclusive(*context).is_some_and(|w| {
                let sum: i128 =
                    coefficients.iter().zip(w).map(|(&c, &t)| i128::from(c) * i128::from(t)).sum();
                below_table(table, sum as i64, *k)
            })
        }
        _ => unreachable!("{rule:?} has no oracle here"),
    }
}

/// Two's complement steps in `u128`, cut to 64 bits after each.
fn hashint(product: u64) -> u64 {
    let cut = |x: u128| x & u128::from(u64::MAX);
    let low = |x: u128| x & 0xFFFF_FFFF;
    let p = u128::from(product);
    let mut key = low(cut(u128::from(!product) + cut(p << 21)));
    key = cut((key << 21) + (1 << 64) - key - 1);
    key ^= key >> 24;
    key = low(key * 265);
    key *= 265;
    key ^= key >> 14;
    key = low(key * 21);
    key *= 21;
    key ^= key >> 28;
    low(key + (key << 31)) as u64
}

/// The mask of one document.
pub(crate) fn document(rule: &RuleParameters, table: &UniformTable, ids: &[u32], key: u64) -> Vec<u8> {
    if let RuleParameters::Anchor(rule) = rule {
        return anchor_mask(rule, ids, &[]);
    }
    (0..ids.len()).map(|i| u8::from(!drops(rule, table, ids, key, i))).collect()
}

/// The mask of a stream of documents, one vector a document.
pub(crate) fn stream(
    rule: &RuleParameters,
    table: &UniformTable,
    scope: Scope,
    docs: &[Vec<u32>],
) -> Vec<Vec<u8>> {
    let Scope::Sequence { length } = scope else {
        return docs.iter().map(|ids| document(rule, table, ids, 0)).collect();
    };
    let joined: Vec<u32> = docs.concat();
    let mut mask = vec![1u8; joined.len().min(1)];
    if let Some(targets) = joined.get(1..) {
        for (b, block) in targets.chunks(length as usize).enumerate() {
            mask.extend(document(rule, table, block, b as u64));
        }
    }
    let mut rest = mask.as_slice();
    docs.iter()
        .map(|ids| {
            let (own, others) = rest.split_at(ids.len());
            rest = others;
            own.to_vec()
        })
        .collect()
}
