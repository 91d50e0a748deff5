//! The words of works, in a form that is compared byte by byte.

use goldfish_mask::{TextWords, word_hash};

/// Words from one to the next of which it is known where they are.
const STEP: usize = 32;

/// The words of all works, one after the other. Takes a byte a word beside the words themselves.
#[derive(Debug, Default)]
pub(crate) struct Works {
    bytes: Vec<u8>,
    /// Bytes of each word.
    lengths: Vec<u8>,
    /// Where every [`STEP`]-th word starts.
    starts: Vec<u32>,
    /// The first word after each work.
    ends: Vec<u32>,
    /// The names of works, one after the other, and where each ends.
    ids: String,
    id_ends: Vec<usize>,
}

impl Works {
    /// Adds a work, if there is room.
    pub(crate) fn add(&mut self, id: &str, words: &TextWords) -> Option<()> {
        let all = self.lengths.len() + words.len();
        // The last number is not a place.
        let end = u32::try_from(all).ok().filter(|&end| end < u32::MAX)?;
        let bytes: usize = (0..words.len()).map(|i| words.bytes(i).len()).sum();
        u32::try_from(self.bytes.len() + bytes).ok()?;
        for word in (0..words.len()).map(|i| words.bytes(i)) {
            if self.lengths.len().is_multiple_of(STEP) {
                self.starts.push(self.bytes.len() as u32);
            }
            // A word has 24 characters at most, of four bytes each.
            self.lengths.push(word.len() as u8);
            self.bytes.extend_from_slice(word);
        }
        self.ends.push(end);
        self.ids.push_str(id);
        self.id_ends.push(self.ids.len());
        Some(())
    }

    /// Gives back the memory that growing left.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.lengths.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    /// How many works there are.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many words all works have.
    pub(crate) fn words(&self) -> usize {
        self.lengths.len()
    }

    /// The words of a work among those of all works: the first, and the first after it.
    pub(crate) fn range(&self, work: usize) -> (u32, u32) {
        let start = work.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        (start, self.ends.get(work).copied().unwrap_or(start))
    }

    /// The name of a work.
    pub(crate) fn id(&self, work: usize) -> Option<&str> {
        let end = *self.id_ends.get(work)?;
        let start = work.checked_sub(1).map_or(0, |before| self.id_ends[before]);
        self.ids.get(start..end)
    }

    /// The work that has a word.
    pub(crate) fn work_of(&self, word: u32) -> usize {
        self.ends.partition_point(|&end| end <= word)
    }

    /// Where a word starts in the bytes; after the last word, where that ends.
    #[inline]
    pub(crate) fn start(&self, word: usize) -> usize {
        let known = word / STEP;
        let Some(&start) = self.starts.get(known) else { return self.bytes.len() };
        start as usize
            + self.lengths[known * STEP..word].iter().map(|&length| usize::from(length)).sum::<usize>()
    }

    /// How many bytes a word has.
    #[inline(always)]
    pub(crate) fn length(&self, word: usize) -> usize {
        usize::from(self.lengths[word])
    }

    /// The bytes of a word that starts there.
    #[inline(always)]
    pub(crate) fn bytes(&self, start: usize, length: usize) -> &[u8] {
        &self.bytes[start..start + length]
    }

    /// Puts the hashes of the words of a work in place of those that are there.
    pub(crate) fn hashes(&self, work: usize, hashes: &mut Vec<u64>) {
        let (first, end) = self.range(work);
        let mut start = self.start(first as usize);
        hashes.clear();
        hashes.extend(self.lengths[first as usize..end as usize].iter().map(|&length| {
            let word = self.bytes(start, usize::from(length));
            start += word.len();
            word_hash(word)
        }));
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let places = 4 * (self.starts.capacity() + self.ends.capacity()) + 8 * self.id_ends.capacity();
        self.bytes.capacity() + self.lengths.capacity() + self.ids.capacity() + places
    }
}
