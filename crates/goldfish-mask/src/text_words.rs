//! The words of a text, for programs that compare texts word by word.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::MaskError;
use crate::rules::lanes::simd_dispatch;
use crate::rules::xxh3::SixteenHash;
use crate::text::{Part, Receive, Stream, Words, scan};

/// Memory that is kept for the next text, in bytes of the stream and in words.
const KEPT_BYTES: usize = 1 << 24;
const KEPT_WORDS: usize = 1 << 22;

/// Bytes up to which a word is hashed filled with zeros.
const SHORT: usize = 16;

/// Of short words.
const HASH: SixteenHash = SixteenHash::new(0);

/// The words of a text, as the rule [`Text`](crate::rules::Text) cuts them: what they are after normalization, and where in the
/// text they come from. Words that differ in case, layout or the form of their characters alone are equal.
///
/// Memory: about 16 bytes a word and the normalized stream, some 3.5 bytes a byte of English text. It is reused from text to
/// text; what an unusually large one took is given back with the next one.
///
/// ```
/// use goldfish_mask::TextWords;
///
/// let mut words = TextWords::default();
/// words.read("Gold-ﬁsh,\n  SWIM")?;
/// assert_eq!(words.len(), 3);
/// assert_eq!(words.bytes(1), b"fish");
/// assert_eq!(words.source(1), 5..10);
/// assert_eq!(words.hash(2), goldfish_mask::word_hash(b"swim"));
/// # Ok::<(), goldfish_mask::MaskError>(())
/// ```
#[derive(Debug, Default)]
pub struct TextWords {
    stream: Stream,
    words: Vec<Placed>,
}

/// Where a word ends in the stream, in which it follows the word before it, and from where to where it comes from in the text;
/// in bytes.
#[derive(Debug, Clone, Copy)]
struct Placed {
    stream_end: usize,
    start: u32,
    end: u32,
}

struct Places<'a>(&'a mut Vec<Placed>);

impl Receive for Places<'_> {
    #[inline(always)]
    fn word(&mut self, word: Part, _stream: &Stream) {
        // The text has no more than `u32::MAX` bytes.
        let (start, end) = (word.source_start as u32, word.source_end as u32);
        self.0.push(Placed { stream_end: word.stream_end, start, end });
    }
}

impl TextWords {
    /// Cuts a text into its words, in place of those of the text before.
    ///
    /// # Errors
    ///
    /// If the text has 4 GiB or more. There are no words then.
    pub fn read(&mut self, text: &str) -> Result<(), MaskError> {
        self.clear(text.len());
        let Self { stream, words } = self;
        if u32::try_from(text.len()).is_err() {
            return Err(MaskError::TextLength { bytes: text.len() });
        }
        simd_dispatch(
            #[inline(always)]
            || {
                let mut cut = Words::new(Places(&mut *words));
                scan(text, stream, &mut cut);
                cut.end(stream);
            },
        );
        Ok(())
    }

    /// Takes token ids in place of words, for programs that have no text: each is the four bytes of its id, little-endian, and comes
    /// from its place among the ids.
    ///
    /// ```
    /// let mut words = goldfish_mask::TextWords::default();
    /// words.read_ids(&[7, 1000])?;
    /// assert_eq!((words.bytes(1), words.source(1)), (1000u32.to_le_bytes().as_slice(), 1..2));
    /// # Ok::<(), goldfish_mask::MaskError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the ids have 4 GiB or more. There are no words then.
    pub fn read_ids(&mut self, ids: &[u32]) -> Result<(), MaskError> {
        let bytes = size_of_val(ids);
        self.clear(bytes);
        let Self { stream, words } = self;
        if u32::try_from(bytes).is_err() {
            return Err(MaskError::TextLength { bytes });
        }
        words.extend((1..).zip(ids).map(|(end, id)| {
            stream.push_four(id.to_le_bytes());
            Placed { stream_end: 4 * end as usize, start: end - 1, end }
        }));
        Ok(())
    }

    /// Takes the words away, and the memory of an unusually large text before one of so many bytes.
    fn clear(&mut self, bytes: usize) {
        self.stream.clear();
        self.words.clear();
        if bytes < KEPT_BYTES {
            self.stream.shrink(KEPT_BYTES);
            self.words.shrink_to(KEPT_WORDS);
        }
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Where word `index` is in the stream.
    #[inline(always)]
    fn place(&self, index: usize) -> (usize, usize) {
        let start = index.checked_sub(1).map_or(0, |before| self.words[before].stream_end);
        (start, self.words[index].stream_end)
    }

    /// The normalized characters of word `index`, as UTF-8: 24 characters at most.
    ///
    /// # Panics
    ///
    /// If there is no such word.
    #[must_use]
    #[inline]
    pub fn bytes(&self, index: usize) -> &[u8] {
        let (start, end) = self.place(index);
        self.stream.bytes(start, end)
    }

    /// The [hash](word_hash) of word `index`.
    ///
    /// # Panics
    ///
    /// If there is no such word.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, index: usize) -> u64 {
        let (start, end) = self.place(index);
        self.hash_between(start, end)
    }

    /// Writes the hashes of as many words as there is room for, from word `first` on.
    ///
    /// # Panics
    ///
    /// If there are no such words.
    #[inline(always)]
    pub fn hashes(&self, first: usize, hashes: &mut [u64]) {
        let mut start = first.checked_sub(1).map_or(0, |before| self.words[before].stream_end);
        let words = &self.words[first..first + hashes.len()];
        for (hash, word) in hashes.iter_mut().zip(words) {
            *hash = self.hash_between(start, word.stream_end);
            start = word.stream_end;
        }
    }

    #[inline(always)]
    fn hash_between(&self, start: usize, end: usize) -> u64 {
        let length = end - start;
        match self.stream.sixteen_bytes(start) {
            Some(sixteen) if length <= SHORT => {
                let word = sixteen & (u128::MAX >> (8 * (SHORT - length)));
                HASH.hash(word as u64, (word >> 64) as u64)
            }
            _ => word_hash(self.stream.bytes(start, end)),
        }
    }

    /// The bytes of the text that word `index` comes from. Characters that compose in normalization share theirs.
    ///
    /// # Panics
    ///
    /// If there is no such word.
    #[must_use]
    #[inline]
    pub fn source(&self, index: usize) -> Range<usize> {
        let Placed { start, end, .. } = self.words[index];
        start as usize..end as usize
    }

    /// The words that bytes of a part of the text belong to; none if the part is empty.
    ///
    /// ```
    /// let mut words = goldfish_mask::TextWords::default();
    /// words.read("Gold fish swim")?;
    /// assert_eq!(words.overlapping(6..11), 1..3);
    /// assert!(words.overlapping(4..5).is_empty());
    /// # Ok::<(), goldfish_mask::MaskError>(())
    /// ```
    #[must_use]
    pub fn overlapping(&self, part: Range<usize>) -> Range<usize> {
        let first = self.words.partition_point(|word| word.end as usize <= part.start);
        let begins_before = |word: &&Placed| !part.is_empty() && (word.start as usize) < part.end;
        first..first + self.words[first..].iter().take_while(begins_before).count()
    }
}

/// The hash of a word of [`TextWords`], without regard to a rule's seed: `xxh3_64` of its bytes, filled with zeros to 16 if they
/// are fewer.
#[must_use]
pub fn word_hash(word: &[u8]) -> u64 {
    if word.len() > SHORT {
        return xxh3_64(word);
    }
    let mut padded = [0; SHORT];
    padded[..word.len()].copy_from_slice(word);
    let [first, last] = bytemuck::cast(padded);
    HASH.hash(first, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) {
        let mut words = TextWords::default();
        words.read(text).unwrap();
        let joined: Vec<u8> = (0..words.len()).flat_map(|i| words.bytes(i).to_vec()).collect();
        assert_eq!(joined, crate::normalize(text).as_bytes());
        let mut hashes = vec![0; words.len()];
        words.hashes(0, &mut hashes);
        let mut from_second = vec![0; words.len().saturating_sub(1)];
        words.hashes(words.len().min(1), &mut from_second);
        assert!(hashes.ends_with(&from_second));
        for i in 0..words.len() {
            let word = words.bytes(i);
            let mut filled = word.to_vec();
            filled.resize(SHORT.max(word.len()), 0);
            assert_eq!(hashes[i], xxh3_64(&filled));
            assert_eq!(words.hash(i), word_hash(word));
            let source = words.source(i);
            let overlaps = |other: &usize| {
                words.source(*other).start < source.end && source.start < words.source(*other).end
            };
            let overlapping: Vec<usize> = (0..words.len()).filter(overlaps).collect();
            assert_eq!(words.overlapping(source.clone()).collect::<Vec<_>>(), overlapping);
            assert!(crate::normalize(&text[words.source(i)]).contains(std::str::from_utf8(word).unwrap()));
        }
    }

    #[test]
    fn words_are_those_of_the_rule() {
        let text = "Twelve ｆｕｌｌ Å e\u{301}\u{327} averylongrunofletterswithoutanyseparatorbetweenthem 漢字 ภาษาไทยง่ายมาก ½";
        check(text);
        check("");
        check("... \n");
        check("a");
        let mut words = TextWords::default();
        words.read("漢字 and Thai").unwrap();
        assert_eq!(words.len(), 4, "an ideograph is a word on its own");
    }

    #[test]
    fn memory_of_a_text_does_not_show_in_the_next() {
        let mut words = TextWords::default();
        words.read(&"word ".repeat(1000)).unwrap();
        words.read("two words").unwrap();
        assert_eq!((words.len(), words.bytes(0), words.source(1)), (2, b"two".as_slice(), 4..9));
    }

    #[test]
    fn ids_are_words() {
        let mut words = TextWords::default();
        words.read("a text before").unwrap();
        let ids: Vec<u32> = (0..3000).map(|i| i * 70_001).collect();
        words.read_ids(&ids).unwrap();
        assert_eq!(words.len(), 3000);
        for (i, id) in ids.iter().enumerate() {
            assert_eq!((words.bytes(i), words.source(i)), (id.to_le_bytes().as_slice(), i..i + 1));
            assert_eq!(words.hash(i), word_hash(&id.to_le_bytes()));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cut(text in "[a-zA-Zéกขะ漢\u{301}ﬁﷺ .]{0,200}") {
            check(&text);
        }
    }
}
