//! The rule `anchor` again, from its definition.

use goldfish_mask::ShortContext;
use goldfish_mask::rules::Anchor;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::selection::select;

fn rank(id: u32, seed: u64) -> u32 {
    let cut = |x: u64| x & 0xFFFF_FFFF;
    let mut x = cut(u64::from(id) ^ cut(seed) ^ (seed >> 32));
    x = cut(x * 0x9E37_79B1 + 0x1656_67B1);
    x ^= x >> 15;
    x = cut(x * 0x85EB_CA77);
    x ^= x >> 13;
    let shift = [256, 1024, 4096, 16384, 65536].iter().filter(|&&bound| id >= bound).count();
    (x >> shift) as u32
}

/// The mask of a document in which the ids in `exempt` are not dropped.
pub(crate) fn mask(rule: &Anchor, ids: &[u32], exempt: &[u32]) -> Vec<u8> {
    let needed = if rule.short_context == ShortContext::Keep { rule.context as usize } else { 1 };
    let key = |i: usize| {
        let context = &ids[i.saturating_sub(rule.context as usize)..i];
        let anchor = context.iter().map(|&id| rank(id, rule.seed)).min().unwrap();
        let bytes = [anchor.to_le_bytes(), ids[i - 1].to_le_bytes()].concat();
        xxh3_64_with_seed(&bytes, rule.seed) >> 32
    };
    let decided: Vec<usize> = (needed..ids.len()).collect();
    let keys: Vec<u64> = decided.iter().map(|&i| key(i)).collect();
    let kept: Vec<bool> = decided.iter().map(|&i| exempt.contains(&ids[i])).collect();
    let mut mask = vec![1; ids.len()];
    for (i, dropped) in
        decided.into_iter().zip(select(&keys, &kept, (rule.threshold.into(), rule.longest_run), needed))
    {
        mask[i] = u8::from(!dropped);
    }
    mask
}
