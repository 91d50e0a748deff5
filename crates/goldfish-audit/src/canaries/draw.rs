//! Draws that follow from a secret text alone, on every machine.

use rand_mt::Mt64;
use sha2::{Digest, Sha256};

/// Keeps the draws of this program apart from other uses of the same secret.
const DOMAIN: &[u8] = b"goldfish canaries 1";

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// The words of a passage.
    Words,
    /// Which twin is planted.
    Coin,
    /// The order of the planted passages.
    Order,
    /// Where they are in a corpus.
    Places,
}

fn digest(seed: &str, stream: Stream, number: u64) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // The lengths are fixed, but for that of the seed, which comes last.
    hasher.update(DOMAIN);
    hasher.update([stream as u8]);
    hasher.update(number.to_le_bytes());
    hasher.update(seed.as_bytes());
    hasher.finalize().into()
}

/// The random numbers of one stream and number.
pub(super) fn random(seed: &str, stream: Stream, number: u64) -> Mt64 {
    let digest = digest(seed, stream, number);
    let (words, _) = digest.as_chunks::<8>();
    Mt64::new_with_key(words.iter().map(|word| u64::from_le_bytes(*word)))
}

/// A fair coin: a bit of SHA-256, which cannot be predicted without the seed.
pub(super) fn coin(seed: &str, number: u64) -> bool {
    digest(seed, Stream::Coin, number)[0] & 1 == 1
}

/// A number below `n`; 0 if `n` is 0.
pub(super) fn below(random: &mut Mt64, n: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(n)) >> 64) as u64
}

/// Puts values into an order of which all are as likely (Fisher and Yates).
pub(super) fn shuffle<T>(random: &mut Mt64, values: &mut [T]) {
    for last in (1..values.len()).rev() {
        values.swap(last, below(random, last as u64 + 1) as usize);
    }
}
