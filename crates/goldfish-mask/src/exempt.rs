/// Sets of up to this many ids are compared with one by one, which compiles to vector instructions.
const COMPARED: usize = 4;

/// A few ids that are looked up once a token.
#[derive(Debug)]
pub(crate) struct IdSet {
    sorted: Vec<u32>,
    /// One bit for each `id % 64` that occurs, so that most other ids need no search.
    sketch: u64,
}

impl IdSet {
    pub(crate) fn new(ids: &[u32]) -> Self {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let sketch = sorted.iter().fold(0, |bits, id| bits | 1 << (id % 64));
        Self { sorted, sketch }
    }

    /// Keeps the ids of the set.
    pub(crate) fn keep(&self, ids: &[u32], mask: &mut [u8]) {
        if self.sorted.len() <= COMPARED {
            for exempt in &self.sorted {
                for (&id, keep) in ids.iter().zip(&mut *mask) {
                    *keep |= u8::from(id == *exempt);
                }
            }
        } else {
            for (&id, keep) in ids.iter().zip(mask) {
                *keep |= u8::from(self.contains(id));
            }
        }
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.sketch >> (id % 64) & 1 == 1 && self.sorted.binary_search(&id).is_ok()
    }
}
