//! A Bloom filter whose every key is in one word of memory (Putze, Sanders and Singler, JEA 2009), so that the usual miss of a
//! search costs one access.

/// Bits for each key: about one of 80 keys that are not in the filter passes.
const BITS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// Without keys, with room for some.
    pub(crate) fn new(keys: usize) -> Self {
        Self { words: vec![0; (keys * BITS).div_ceil(64).max(1)] }
    }

    #[inline(always)]
    fn place(&self, key: u64) -> (usize, u64) {
        let index = ((key >> 32) * self.words.len() as u64) >> 32;
        let bits = 1 << (key & 63) | 1 << (key >> 6 & 63) | 1 << (key >> 12 & 63);
        (index as usize, bits)
    }

    pub(crate) fn insert(&mut self, key: u64) {
        let (index, bits) = self.place(key);
        if let Some(word) = self.words.get_mut(index) {
            *word |= bits;
        }
    }

    /// Whether a key may be in the filter.
    #[inline(always)]
    pub(crate) fn may_contain(&self, key: u64) -> bool {
        let (index, bits) = self.place(key);
        self.words.get(index).is_some_and(|word| word & bits == bits)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        8 * self.words.len()
    }
}
