//! Keys of one head in the order in which a query meets them.

use std::ops::Range;

use super::math::dot;

/// Columns that are made room for at first.
const FEWEST: usize = 64;

/// Keys of one head, one lane an element: the first elements of all keys, the second ones, and so on.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    /// `[dim, room]`.
    values: Vec<f32>,
    dim: usize,
    room: usize,
    len: usize,
}

impl Lanes {
    pub(super) fn new(dim: usize) -> Self {
        Self { values: Vec::new(), dim, room: 0, len: 0 }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a key.
    #[inline(always)]
    pub(super) fn push(&mut self, key: &[f32]) {
        if self.len == self.room {
            *self = self.with_room(0..self.len, (2 * self.room).max(FEWEST));
        }
        for (lane, value) in self.values.chunks_exact_mut(self.room).zip(key) {
            lane[self.len] = *value;
        }
        self.len += 1;
    }

    /// Removes the first keys.
    pub(super) fn remove_first(&mut self, count: usize) {
        if count > 0 {
            self.values.chunks_exact_mut(self.room).for_each(|lane| lane.copy_within(count..self.len, 0));
            self.len -= count;
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Some of the keys, with no room for more.
    pub(super) fn part(&self, keys: Range<usize>) -> Self {
        let count = keys.len();
        self.with_room(keys, count)
    }

    fn with_room(&self, keys: Range<usize>, room: usize) -> Self {
        let mut values = vec![0f32; self.dim * room];
        if !keys.is_empty() {
            for (to, from) in values.chunks_exact_mut(room).zip(self.values.chunks_exact(self.room)) {
                to[..keys.len()].copy_from_slice(&from[keys.clone()]);
            }
        }
        Self { values, dim: self.dim, room, len: keys.len() }
    }

    /// The elements of one key.
    pub(super) fn key(&self, index: usize) -> impl Iterator<Item = f32> {
        self.values.chunks_exact(self.room.max(1)).map(move |lane| lane[index])
    }

    /// Adds the products of a query with as many keys as there are scores, from `start` on, to the scores.
    #[inline(always)]
    pub(super) fn dot(&self, query: &[f32], start: usize, scores: &mut [f32]) {
        if !scores.is_empty() {
            dot(query, &self.values, start, scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go() {
        let key = |number: usize| [number as f32, 0.5, -(number as f32)];
        let mut lanes = Lanes::new(3);
        let mut expected: Vec<[f32; 3]> = Vec::new();
        for number in 0..300 {
            lanes.push(&key(number));
            expected.push(key(number));
            if number % 70 == 69 {
                lanes.remove_first(30);
                expected.drain(..30);
            }
        }
        assert_eq!(lanes.len(), expected.len());
        for (index, key) in expected.iter().enumerate() {
            assert!(lanes.key(index).eq(*key));
        }
        let mut scores = [1.0; 4];
        lanes.part(5..12).dot(&[1.0, 2.0, 0.25], 3, &mut scores);
        for (score, key) in scores.iter().zip(&expected[8..]) {
            assert_eq!(*score, 2.0 + 0.75 * key[0]);
        }
    }
}
