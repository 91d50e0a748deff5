//! `xxh3_64` of every window of a slice of ids, many windows at a time.
//!
//! For 9 to 240 bytes XXH3 is a sum of 128-bit products of the input with a secret, folded to 64 bits, each at a fixed
//! offset ([specification](https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md)). Windows of one width
//! therefore do the same steps at neighboring offsets, which fill the lanes of vectors. The `xxhash-rust` crate does
//! all other widths and is what the tests compare with.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lanes::{ByLanes, TOGETHER, folded_product, run};

const PRIME64_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_MX1: u64 = 0x1656_6791_9E37_79F9;

/// The first 136 bytes of the secret that XXH3 is defined with.
const SECRET: [u64; 17] = [
    0xBE4B_A423_396C_FEB8,
    0x1CAD_21F7_2C81_017C,
    0xDB97_9083_E96D_D4DE,
    0x1F67_B3B7_A4A4_4072,
    0x78E5_C0CC_4EE6_79CB,
    0x2172_FFCC_7DD0_5A82,
    0x8E24_43F7_7446_08B8,
    0x4C26_3A81_E690_35E0,
    0xCB00_C391_BB52_283C,
    0xA32E_531B_8B65_D088,
    0x4EF9_0DA2_9748_6471,
    0xD8AC_DEA9_46EF_1938,
    0x3F34_9CE3_3F76_FAA8,
    0x1D4F_0BC7_C7BB_DCF9,
    0x3159_B4CD_4BE0_518A,
    0x6473_78D9_C97E_9FC8,
    0xC3EB_D334_83AC_C5EA,
];

/// Which windows of `width` ids are kept: those whose hash is above a limit.
#[derive(Debug)]
pub(crate) struct WindowHash {
    width: usize,
    seed: u64,
    last_dropped: u64,
    steps: Steps,
}

/// What is done with a window of this width.
#[derive(Debug)]
enum Steps {
    /// 9 to 16 bytes: one product of the first and the last eight, each flipped.
    One { first: u64, last: u64, last_at: usize },
    /// 17 to 240 bytes: a sum of products; from 129 bytes on it is mixed before the last of them.
    Sum { before: Vec<Product>, after: Vec<Product> },
    /// Other widths: left to `xxhash-rust`.
    Whole,
}

/// Sixteen bytes of the input from id `at`, and what they are flipped with before the two halves are multiplied.
#[derive(Debug, Clone, Copy)]
struct Product {
    at: usize,
    first: u64,
    second: u64,
}

/// Eight bytes of the secret from byte `at`.
const fn secret(at: usize) -> u64 {
    match (at / 8, 8 * (at % 8)) {
        (word, 0) => SECRET[word],
        (word, bits) => SECRET[word] >> bits | SECRET[word + 1] << (64 - bits),
    }
}

impl Product {
    /// The step on the 16 bytes from byte `at` with the secret from byte `key`.
    fn new(at: usize, key: usize, seed: u64) -> Self {
        let (first, second) = (secret(key).wrapping_add(seed), secret(key + 8).wrapping_sub(seed));
        Self { at: at / 4, first, second }
    }
}

impl Steps {
    fn new(bytes: usize, seed: u64) -> Self {
        match bytes {
            9..=16 => {
                let SixteenHash { first, last } = SixteenHash::new(seed);
                Self::One { first, last, last_at: bytes / 4 - 2 }
            }
            17..=128 => {
                // From both ends inwards.
                let pairs = bytes.div_ceil(32);
                let pair = |i: usize| {
                    let (start, end) = (16 * i, bytes - 16 * (i + 1));
                    [Product::new(start, 32 * i, seed), Product::new(end, 32 * i + 16, seed)]
                };
                Self::Sum { before: (0..pairs).flat_map(pair).collect(), after: Vec::new() }
            }
            129..=240 => {
                let before = (0..8).map(|i| Product::new(16 * i, 16 * i, seed)).collect();
                let after = (8..bytes / 16).map(|i| Product::new(16 * i, 16 * (i - 8) + 3, seed));
                let last = Product::new(bytes - 16, 136 - 17, seed);
                Self::Sum { before, after: after.chain([last]).collect() }
            }
            _ => Self::Whole,
        }
    }
}

impl WindowHash {
    pub(crate) fn new(width: usize, seed: u64, last_dropped: u64) -> Self {
        Self { width, seed, last_dropped, steps: Steps::new(4 * width, seed) }
    }

    /// Whether one window of any width is kept.
    #[inline]
    pub(crate) fn keeps(&self, window: &[u32]) -> u8 {
        u8::from(xxh3_64_with_seed(bytemuck::cast_slice(window), self.seed) > self.last_dropped)
    }

    /// Decides every window of `ids`, of which there are as many as `mask` is long.
    pub(crate) fn decide(&self, ids: &[u32], mask: &mut [u8]) {
        let work = Windows { hash: self, ids, mask };
        match self.steps {
            Steps::Whole => work.one_by_one(),
            _ => run(work),
        }
    }
}

/// The upper halves of `xxh3_64` of two u32, as eight little-endian bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairHash {
    flip: u64,
}

/// `xxh3_64` of two u64, as sixteen little-endian bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SixteenHash {
    first: u64,
    last: u64,
}

impl SixteenHash {
    pub(crate) const fn new(seed: u64) -> Self {
        let first = (secret(24) ^ secret(32)).wrapping_add(seed);
        let last = (secret(40) ^ secret(48)).wrapping_sub(seed);
        Self { first, last }
    }

    #[inline(always)]
    pub(crate) fn hash(&self, first: u64, last: u64) -> u64 {
        const BYTES: u64 = 16;
        let (a, b) = (first ^ self.first, last ^ self.last);
        let product = u128::from(a) * u128::from(b);
        let folded = product as u64 ^ (product >> 64) as u64;
        mixed(BYTES.wrapping_add(a.swap_bytes()).wrapping_add(b).wrapping_add(folded))
    }
}

const PRIME_MX2: u64 = 0x9FB2_1C65_1E98_DF25;

impl PairHash {
    pub(crate) fn new(seed: u64) -> Self {
        let seed = seed ^ u64::from((seed as u32).swap_bytes()) << 32;
        Self { flip: (secret(8) ^ secret(16)).wrapping_sub(seed) }
    }

    /// Of two pairs at once: `first` and `second` have those of both.
    #[inline(always)]
    pub(crate) fn upper(&self, first: [u32; 2], second: [u32; 2]) -> [u32; 2] {
        const LOW: u64 = u32::MAX as u64;
        let (first, second): (u64, u64) = (bytemuck::cast(first), bytemuck::cast(second));
        let a = self.mixed((first << 32) | (second & LOW));
        let b = self.mixed((first & !LOW) | (second >> 32));
        bytemuck::cast((a >> 32) | (b & !LOW))
    }

    #[inline(always)]
    fn mixed(&self, x: u64) -> u64 {
        const BYTES: u64 = 8;
        let x = x ^ self.flip;
        let x = (x ^ x.rotate_left(49) ^ x.rotate_left(24)).wrapping_mul(PRIME_MX2);
        let x = (x ^ ((x >> 35) + BYTES)).wrapping_mul(PRIME_MX2);
        x ^ (x >> 28)
    }
}

struct Windows<'a> {
    hash: &'a WindowHash,
    ids: &'a [u32],
    mask: &'a mut [u8],
}

impl ByLanes for Windows<'_> {
    #[inline(always)]
    fn in_lanes(self) {
        let mut sums = [[0u64; TOGETHER / 2]; 2];
        for (block, mask) in self.mask.chunks_mut(TOGETHER).enumerate() {
            let ids = &self.ids[block * TOGETHER..][..mask.len() + self.hash.width - 1];
            // Eight bytes from every other id on are an array, so that windows at even and odd positions are hashed separately.
            let [even, odd] = &mut sums;
            let even = &mut even[..mask.len().div_ceil(2)];
            let odd = &mut odd[..mask.len() / 2];
            self.hash.sum(ids, even);
            self.hash.sum(&ids[1..], odd);
            let last_dropped = self.hash.last_dropped;
            let (pairs, last) = mask.as_chunks_mut::<2>();
            for (keep, (&even, &odd)) in pairs.iter_mut().zip(even.iter().zip(&*odd)) {
                *keep = [u8::from(mixed(even) > last_dropped), u8::from(mixed(odd) > last_dropped)];
            }
            if let ([keep], Some(&even)) = (last, even.last()) {
                *keep = u8::from(mixed(even) > last_dropped);
            }
        }
    }

    fn one_by_one(self) {
        for (window, keep) in self.ids.windows(self.hash.width).zip(self.mask) {
            *keep = self.hash.keeps(window);
        }
    }
}

impl WindowHash {
    /// The sums of every other window, from the first one on, to be mixed.
    #[inline(always)]
    fn sum(&self, ids: &[u32], sums: &mut [u64]) {
        let length = 4 * self.width as u64;
        match &self.steps {
            Steps::One { first, last, last_at } => {
                for (sum, (&a, &b)) in sums.iter_mut().zip(eights(ids, 0).zip(eights(ids, *last_at))) {
                    let (a, b) = (bytemuck::cast::<_, u64>(a) ^ first, bytemuck::cast::<_, u64>(b) ^ last);
                    let flipped = a.swap_bytes().wrapping_add(b);
                    *sum = length.wrapping_add(flipped).wrapping_add(folded_product(a, b));
                }
            }
            Steps::Sum { before, after } => {
                sums.fill(length.wrapping_mul(PRIME64_1));
                for product in before {
                    product.add(ids, sums);
                }
                if !after.is_empty() {
                    for sum in &mut *sums {
                        *sum = mixed(*sum);
                    }
                }
                for product in after {
                    product.add(ids, sums);
                }
            }
            Steps::Whole => {}
        }
    }
}

/// Eight bytes from id `at` of every other window.
#[inline(always)]
fn eights(ids: &[u32], at: usize) -> std::slice::Iter<'_, [u32; 2]> {
    ids.get(at..).unwrap_or_default().as_chunks().0.iter()
}

impl Product {
    #[inline(always)]
    fn add(&self, ids: &[u32], sums: &mut [u64]) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(eights(ids, self.at).zip(eights(ids, self.at + 2))) {
            let (a, b) =
                (bytemuck::cast::<_, u64>(a) ^ self.first, bytemuck::cast::<_, u64>(b) ^ self.second);
            *sum = sum.wrapping_add(folded_product(a, b));
        }
    }
}

/// XXH3's last step.
#[inline(always)]
fn mixed(sum: u64) -> u64 {
    let sum = (sum ^ (sum >> 37)).wrapping_mul(PRIME_MX1);
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_hashed_as_by_the_crate() {
        for (first, second, seed) in [(0, 0, 0), (1, 2, 3), (u32::MAX, 7, u64::MAX), (9, u32::MAX, 1 << 40)] {
            let expected = xxh3_64_with_seed(bytemuck::cast_slice(&[first, second]), seed);
            let found = PairHash::new(seed).upper([first, second], [second, first])[0];
            assert_eq!(u64::from(found), expected >> 32);
            let found = PairHash::new(seed).upper([second, first], [first, second])[1];
            assert_eq!(u64::from(found), expected >> 32);
            let long = [u64::from(first) << 7, u64::from(second) << 31 | 5];
            let expected = xxh3_64_with_seed(bytemuck::cast_slice(&long), seed);
            assert_eq!(SixteenHash::new(seed).hash(long[0], long[1]), expected);
        }
    }

    /// Every width, by both loops over windows, against the `xxhash-rust` crate.
    #[test]
    fn every_width_is_hashed_as_by_the_crate() {
        let mut state = 1u64;
        let ids: Vec<u32> = (0..900)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 32) as u32
            })
            .collect();
        for width in 1..=70 {
            for (seed, count) in [(0, 600), (7, 257), (u64::MAX, 1), (1, 2), (u64::MAX / 3, 300)] {
                let hash = WindowHash::new(width, seed, u64::MAX / 3);
                let ids = &ids[..count + width - 1];
                let mut mask = vec![9; count];
                hash.decide(ids, &mut mask);
                let expected: Vec<u8> = ids.windows(width).map(|window| hash.keeps(window)).collect();
                assert_eq!(mask, expected, "width {width}, seed {seed}");
            }
        }
    }
}
