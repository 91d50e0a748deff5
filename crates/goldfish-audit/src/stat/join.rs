//! Which things belong together.

/// Numbers from 0 on in disjoint groups, each named by its smallest number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// A smaller or equal number of the same group.
    up: Vec<usize>,
}

impl Joined {
    /// `n` groups of one number each.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self { up: (0..n).collect() }
    }

    /// The smallest number of the group.
    #[must_use]
    pub fn first(&self, mut number: usize) -> usize {
        while self.up[number] != number {
            number = self.up[number];
        }
        number
    }

    /// Makes one group of those of two numbers.
    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.shortened(a), self.shortened(b));
        self.up[a.max(b)] = a.min(b);
    }

    /// As [`first`](Self::first), and halves the way there for the next time.
    fn shortened(&mut self, mut number: usize) -> usize {
        while self.up[number] != number {
            self.up[number] = self.up[self.up[number]];
            number = self.up[number];
        }
        number
    }

    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.up.iter().enumerate().filter(|(number, up)| number == *up).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_by_their_smallest_number() {
        let mut joined = Joined::new(7);
        for (a, b) in [(5, 6), (3, 5), (6, 1), (4, 4), (1, 3)] {
            joined.join(a, b);
        }
        assert_eq!((0..7).map(|number| joined.first(number)).collect::<Vec<_>>(), [0, 1, 2, 1, 4, 1, 1]);
        assert_eq!(joined.groups(), 4);
    }
}
