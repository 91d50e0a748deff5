//! Samples by the smallest keys.

use std::collections::BTreeMap;

/// Keeps the values with the smallest keys, one a key.
///
/// What is kept in the end was kept from its first showing on, because the largest key only falls: so copies are
/// counted exactly.
#[derive(Debug)]
pub(crate) struct Sketch<T> {
    cap: usize,
    kept: BTreeMap<u128, T>,
}

impl<T> Sketch<T> {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap, kept: BTreeMap::new() }
    }

    pub(crate) fn offer(&mut self, key: u128, make: impl FnOnce() -> T, again: impl FnOnce(&mut T)) {
        if let Some(kept) = self.kept.get_mut(&key) {
            again(kept);
            return;
        }
        if self.kept.len() >= self.cap {
            if self.kept.last_key_value().is_none_or(|(largest, _)| key > *largest) {
                return;
            }
            self.kept.pop_last();
        }
        self.kept.insert(key, make());
    }

    /// In the order of the keys.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.kept.into_values()
    }
}

/// Takes `total` values from several sketches, the same number from each as far as they have them.
pub(crate) fn share_out<T>(sketches: Vec<Sketch<T>>, total: usize) -> Vec<T> {
    let mut sizes: Vec<usize> = sketches.iter().map(|sketch| sketch.kept.len()).collect();
    sizes.sort_unstable();
    // The level up to which every sketch is emptied; what doesn't divide goes to the first ones that have more.
    let (mut level, mut left) = (0, total);
    for (done, size) in sizes.iter().enumerate() {
        let step = (size - level).min(left / (sizes.len() - done));
        left -= step * (sizes.len() - done);
        level += step;
        if level < *size {
            break;
        }
    }
    let mut taken = Vec::new();
    for sketch in sketches {
        let extra = usize::from(left > 0 && sketch.kept.len() > level);
        left -= extra;
        taken.extend(sketch.into_values().take(level + extra));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketches_keep_the_smallest_and_count() {
        let mut sketch = Sketch::new(2);
        for key in [5, 3, 5, 9, 1, 3, 5] {
            sketch.offer(key, || 1, |n| *n += 1);
        }
        assert_eq!(sketch.kept.into_iter().collect::<Vec<_>>(), [(1, 1), (3, 2)]);
    }

    #[test]
    fn equal_shares() {
        let sketch = |n: u64| {
            let mut sketch = Sketch::new(usize::MAX);
            (0..n).for_each(|i| sketch.offer(u128::from(i), || n, |_| ()));
            sketch
        };
        let taken = |total| {
            let taken = share_out(vec![sketch(2), sketch(10), sketch(5)], total);
            [2, 10, 5].map(|n| taken.iter().filter(|of| **of == n).count())
        };
        assert_eq!(taken(6), [2, 2, 2]);
        assert_eq!(taken(11), [2, 5, 4]);
        assert_eq!(taken(14), [2, 7, 5]);
        assert_eq!(taken(100), [2, 10, 5]);
        assert_eq!(taken(1), [1, 0, 0]);
        assert_eq!(taken(usize::MAX), [2, 10, 5]);
    }
}
