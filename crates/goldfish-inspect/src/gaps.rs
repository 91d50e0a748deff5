//! Distances between dropped tokens.

use std::collections::BTreeMap;

use crate::report::{GapQuantiles, GapSurvival, Gaps};

/// Gaps below this are counted in a list.
const SHORT: usize = 1024;

/// Counts of gaps. Few lengths are different: `m` of them need more than `m²/2` tokens.
#[derive(Debug)]
pub(crate) struct GapCounts {
    short: Box<[u64; SHORT]>,
    long: BTreeMap<u64, u64>,
    longest_kept: u64,
    longest_dropped: u64,
}

/// What one document adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stretches {
    pub(crate) dropped: u64,
    pub(crate) longest_kept: u64,
    pub(crate) longest_dropped: u64,
}

impl Default for GapCounts {
    fn default() -> Self {
        Self { short: Box::new([0; SHORT]), long: BTreeMap::new(), longest_kept: 0, longest_dropped: 0 }
    }
}

impl GapCounts {
    /// Counts a document's gaps.
    pub(crate) fn add(&mut self, mask: &[u8]) -> Stretches {
        let mut found = Stretches::default();
        let mut run = 0;
        let mut last = None;
        let (blocks, rest) = mask.as_chunks();
        let mut end = [1; 64];
        end[..rest.len()].copy_from_slice(rest);
        for (start, block) in (0..).step_by(64).zip(blocks.iter().chain([&end])) {
            let mut zeros = zeros(block);
            while zeros != 0 {
                let position = start + zeros.trailing_zeros() as usize;
                zeros &= zeros - 1;
                found.dropped += 1;
                let kept = match last {
                    None => position,
                    Some(last) => {
                        match self.short.get_mut(position - last) {
                            Some(count) => *count += 1,
                            None => *self.long.entry((position - last) as u64).or_default() += 1,
                        }
                        position - last - 1
                    }
                };
                found.longest_kept = found.longest_kept.max(kept as u64);
                run = if kept == 0 { run + 1 } else { 1 };
                found.longest_dropped = found.longest_dropped.max(run);
                last = Some(position);
            }
        }
        let tail = mask.len() - last.map_or(0, |last| last + 1);
        found.longest_kept = found.longest_kept.max(tail as u64);
        self.longest_kept = self.longest_kept.max(found.longest_kept);
        self.longest_dropped = self.longest_dropped.max(found.longest_dropped);
        found
    }

    /// Adds the counts of other documents.
    pub(crate) fn join(&mut self, other: &Self) {
        self.short.iter_mut().zip(other.short.iter()).for_each(|(count, more)| *count += more);
        other.long.iter().for_each(|(&gap, more)| *self.long.entry(gap).or_default() += more);
        self.longest_kept = self.longest_kept.max(other.longest_kept);
        self.longest_dropped = self.longest_dropped.max(other.longest_dropped);
    }

    /// `k` gives the law that independent tosses would follow.
    pub(crate) fn report(&self, k: Option<u32>) -> Gaps {
        let counts = self.counts();
        let count: u64 = counts.values().sum();
        let sum: f64 = counts.iter().map(|(&gap, &n)| gap as f64 * n as f64).sum();
        let mean = if count == 0 { 0.0 } else { sum / count as f64 };
        let measured = GapQuantiles {
            mean,
            p50: quantile(&counts, count, 50),
            p99: quantile(&counts, count, 99),
            max: Some(counts.keys().next_back().copied().unwrap_or(0)),
        };
        let law = k.map(|k| {
            let kept = 1.0 - 1.0 / f64::from(k);
            // The least gap that at most a share of 1 - q exceeds: kept^gap <= 1 - q.
            let quantile = |q: f64| ((1.0 - q).ln() / kept.ln()).ceil() as u64;
            GapQuantiles { mean: k.into(), p50: quantile(0.5), p99: quantile(0.99), max: None }
        });
        Gaps {
            count,
            measured,
            law,
            longest_kept: self.longest_kept,
            longest_dropped: self.longest_dropped,
            survival: survival(&counts, count, 1.0 - k.map_or(0.0, |k| 1.0 / f64::from(k))),
        }
    }

    /// Gaps with how often each occurs.
    fn counts(&self) -> BTreeMap<u64, u64> {
        let short = (0..).zip(self.short.iter().copied()).filter(|(_, count)| *count > 0);
        short.chain(self.long.iter().map(|(&gap, &count)| (gap, count))).collect()
    }
}

/// All bits of each byte but its highest.
const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;

/// One bit for each byte: whether it is 0.
fn zeros(block: &[u8; 64]) -> u64 {
    (0..).step_by(8).zip(block.as_chunks().0).fold(0, |zeros, (shift, bytes)| {
        let word = u64::from_le_bytes(*bytes);
        // Adding carries to the highest bit of a byte if a lower one is set.
        let zero = !(((word & LOW) + LOW) | word | LOW);
        // Bytes are 0 or 128; the product gathers a bit of each in the highest one.
        zeros | (((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << shift)
    })
}

/// The least gap that at least `percent` of all do not exceed.
fn quantile(counts: &BTreeMap<u64, u64>, count: u64, percent: u64) -> u64 {
    let rank = (count * percent).div_ceil(100);
    let mut seen = 0;
    for (&gap, &n) in counts {
        seen += n;
        if seen >= rank {
            return gap;
        }
    }
    0
}

fn survival(counts: &BTreeMap<u64, u64>, count: u64, kept: f64) -> Vec<GapSurvival> {
    let Some(&longest) = counts.keys().next_back() else { return Vec::new() };
    let mut points = Vec::new();
    let mut gaps = counts.iter().peekable();
    let (mut gap, mut below) = (1, 0);
    while gap <= longest {
        while let Some((_, n)) = gaps.next_if(|&(&g, _)| g < gap) {
            below += n;
        }
        let law = kept.powf((gap - 1) as f64);
        points.push(GapSurvival { gap, measured: (count - below) as f64 / count as f64, law });
        gap = (gap + 1).max(gap + gap / 12);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_stretches_of_a_document() {
        let mut counts = GapCounts::default();
        // Positions 2, 3, 4, 9 are dropped.
        let found = counts.add(&[1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1]);
        assert_eq!(found, Stretches { dropped: 4, longest_kept: 4, longest_dropped: 3 });
        assert_eq!(counts.add(&[1; 7]), Stretches { dropped: 0, longest_kept: 7, longest_dropped: 0 });
        assert_eq!(counts.add(&[]), Stretches::default());
        let gaps = counts.report(Some(4));
        assert_eq!((gaps.count, gaps.longest_kept, gaps.longest_dropped), (3, 7, 3));
        assert_eq!(gaps.measured, GapQuantiles { mean: 7.0 / 3.0, p50: 1, p99: 5, max: Some(5) });
        let shares: Vec<_> = gaps.survival.iter().map(|point| (point.gap, point.measured)).collect();
        assert_eq!(shares, [(1, 1.0), (2, 1.0 / 3.0), (3, 1.0 / 3.0), (4, 1.0 / 3.0), (5, 1.0 / 3.0)]);
    }

    #[test]
    fn zeros_are_found_among_any_bytes() {
        let block = std::array::from_fn(|i| (i * i * 7 % 11 % 4 * 85) as u8);
        let expected = (0..64).filter(|&i| block[i] == 0).fold(0, |bits, i| bits | 1 << i);
        assert_eq!(zeros(&block), expected);
        // In each block, and after the last full one.
        for length in 0..300 {
            let found = GapCounts::default().add(&(0..length).map(|i| block[i % 64]).collect::<Vec<_>>());
            assert_eq!(found.dropped, (0..length).filter(|&i| block[i % 64] == 0).count() as u64);
        }
    }

    #[test]
    fn the_law_is_the_geometric_one() {
        let law = GapCounts::default().report(Some(4)).law.unwrap();
        // P(gap <= g) = 1 - 0.75^g: 0.4375 and 0.578 at 2 and 3; 0.98998 and 0.99249 at 16 and 17.
        assert_eq!((law.p50, law.p99), (3, 17));
    }

    #[test]
    fn a_geometric_sample_follows_the_law() {
        let mut counts = GapCounts::default();
        let toss = |i: u64| u8::from(xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()) > u64::MAX / 4);
        counts.add(&(0..400_000).map(toss).collect::<Vec<_>>());
        let gaps = counts.report(Some(4));
        for point in gaps.survival.iter().filter(|point| point.gap < 20) {
            assert!((point.measured - point.law).abs() < 0.01, "{point:?}");
        }
        let law = gaps.law.unwrap();
        assert_eq!((gaps.measured.p50, gaps.measured.p99), (law.p50, law.p99));
    }
}
