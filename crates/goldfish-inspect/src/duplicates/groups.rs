//! Disjoint groups.

/// Numbers from 0 on in groups, each called by its smallest number.
pub(super) struct Groups {
    /// A smaller or equal number of the same group.
    up: Vec<usize>,
}

impl Groups {
    /// `count` groups of one number each.
    pub(super) fn new(count: usize) -> Self {
        Self { up: (0..count).collect() }
    }

    /// The group of a number.
    pub(super) fn of(&mut self, mut number: usize) -> usize {
        while self.up[number] != number {
            self.up[number] = self.up[self.up[number]];
            number = self.up[number];
        }
        number
    }

    /// Makes one group of those of two numbers.
    pub(super) fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.up[one.max(other)] = one.min(other);
    }

    /// The group of each number.
    pub(super) fn into_numbers(mut self) -> Vec<usize> {
        (0..self.up.len()).map(|number| self.of(number)).collect()
    }
}
