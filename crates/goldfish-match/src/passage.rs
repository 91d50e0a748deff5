//! Passages, and what they consist of.

use std::cmp::Reverse;
use std::ops::Range;

/// So many words in a row are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first of them in the work.
    pub work_start: u32,
    /// The first of them in the document.
    pub doc_start: u32,
    /// How many they are.
    pub words: u32,
}

impl Block {
    /// The word of the work after the last of them.
    #[must_use]
    pub fn work_end(self) -> u32 {
        self.work_start + self.words
    }

    /// The word of the document after the last of them.
    #[must_use]
    pub fn doc_end(self) -> u32 {
        self.doc_start + self.words
    }

    /// Without its first words.
    pub(crate) fn without(self, words: u32) -> Self {
        Self {
            work_start: self.work_start + words,
            doc_start: self.doc_start + words,
            words: self.words - words,
        }
    }
}

/// A passage of a document that copies one of a work. Positions are in words, from the start of the work and of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passage {
    /// The number of the work, in the order in which works were added.
    pub work: u32,
    /// The words in common, in order. There is at least one block, and no two are adjacent in both texts.
    pub blocks: Vec<Block>,
    /// How many words are in common.
    pub words: u32,
    /// Words between blocks that are replaced, deleted or inserted. Where both texts have some, the larger number counts.
    pub edits: u32,
}

impl Passage {
    /// Of blocks in order, of which adjacent ones are joined.
    pub(crate) fn new(work: u32, blocks: impl Iterator<Item = Block>) -> Self {
        let mut passage = Self { work, blocks: Vec::new(), words: 0, edits: 0 };
        blocks.for_each(|block| passage.push(block));
        passage
    }

    /// Appends a block that starts at the passage's end or after it.
    pub(crate) fn push(&mut self, block: Block) {
        self.words += block.words;
        match self.blocks.last_mut() {
            _ if block.words == 0 => {}
            Some(last) if last.doc_end() == block.doc_start && last.work_end() == block.work_start => {
                last.words += block.words;
            }
            last => {
                self.edits += last.map_or(0, |last| {
                    (block.doc_start - last.doc_end()).max(block.work_start - last.work_end())
                });
                self.blocks.push(block);
            }
        }
    }

    /// The words of the work, from the first one in common to the last.
    #[must_use]
    pub fn work_words(&self) -> Range<u32> {
        let start = self.blocks.first().map_or(0, |block| block.work_start);
        start..self.blocks.last().map_or(start, |block| block.work_end())
    }

    /// The words of the document, from the first one in common to the last.
    #[must_use]
    pub fn doc_words(&self) -> Range<u32> {
        let start = self.blocks.first().map_or(0, |block| block.doc_start);
        start..self.blocks.last().map_or(start, |block| block.doc_end())
    }

    /// The number of the first block that ends after a word of the document.
    fn block_at(&self, doc_word: u32) -> usize {
        self.blocks.partition_point(|block| block.doc_end() <= doc_word)
    }

    /// Whether words of the document are the same as those of the work from a word on, in this passage.
    pub(crate) fn pairs(&self, doc_words: &Range<u32>, work_start: u32) -> bool {
        self.blocks.get(self.block_at(doc_words.start)).is_some_and(|block| {
            block.doc_start <= doc_words.start
                && block.doc_end() >= doc_words.end
                && u64::from(work_start) + u64::from(block.doc_start)
                    == u64::from(block.work_start) + u64::from(doc_words.start)
        })
    }

    /// Whether all these words of the document are in blocks.
    pub(crate) fn covers(&self, doc_words: Range<u32>) -> bool {
        let mut at = doc_words.start;
        for block in self.blocks.iter().skip(self.block_at(at)) {
            if at >= doc_words.end || block.doc_start > at {
                break;
            }
            at = block.doc_end();
        }
        at >= doc_words.end
    }

    /// By what passages are preferred if they have words of the document in common: most words in common, then the first
    /// work, the first place in it, and the first place in the document.
    pub(crate) fn rank(&self) -> impl Ord + use<> {
        (Reverse(self.words), self.work, self.work_words().start, self.doc_words().start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(work_start: u32, doc_start: u32, words: u32) -> Block {
        Block { work_start, doc_start, words }
    }

    #[test]
    fn blocks_are_counted_and_joined() {
        let blocks = [block(0, 10, 5), block(5, 15, 5), block(10, 20, 0), block(12, 21, 4)];
        let passage = Passage::new(3, blocks.into_iter());
        assert_eq!(passage.blocks, [block(0, 10, 10), block(12, 21, 4)]);
        assert_eq!((passage.words, passage.edits), (14, 2));
        assert_eq!((passage.work_words(), passage.doc_words()), (0..16, 10..25));
        assert!(passage.pairs(&(12..20), 2) && !passage.pairs(&(12..20), 3) && !passage.pairs(&(12..21), 2));
        assert!(passage.covers(11..20) && !passage.covers(11..21) && passage.covers(21..25));
        assert!(!passage.covers(24..26) && !passage.covers(9..12));
    }
}
