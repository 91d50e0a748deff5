//! Sets of ids in which most ids are not.

/// A few ids, in which a long list of others is looked up fast.
#[derive(Debug, Clone)]
pub struct IdSet {
    sorted: Vec<u32>,
    /// One bit for each `id % 4096` that occurs, so that nearly all other ids need no search.
    sketch: [u64; 64],
}

impl IdSet {
    /// These ids.
    #[must_use]
    pub fn new(mut ids: Vec<u32>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        let mut sketch = [0; 64];
        for id in &ids {
            sketch[*id as usize / 64 % 64] |= 1 << (id % 64);
        }
        Self { sorted: ids, sketch }
    }

    /// In ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.sorted
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, id: u32) -> bool {
        self.sketch[id as usize / 64 % 64] >> (id % 64) & 1 == 1 && self.sorted.binary_search(&id).is_ok()
    }
}
