use crate::MatchError;

/// What counts as a copy, and what is guaranteed to be found.
///
/// Every run of [`guaranteed`](Self::guaranteed) words that a document has in common with a work is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameters {
    /// Words of a fingerprint. A copy without so many words in a row that are not edited is never found; fewer find more edited
    /// copies, and cost time where documents and works share phrases.
    pub gram: u32,
    /// Fingerprints in a row of which one is indexed. A larger one takes less memory and time, and raises the guarantee.
    pub window: u32,
    /// The fewest words that a passage has in common with a work.
    pub least_words: u32,
    /// Of 100 words of a passage, in common or edited, so many may be edited at most.
    pub most_edits: u32,
    /// Passages that a word of a document is in before further ones do not extend over it; 1 at least. Fewer take less time where texts
    /// repeat themselves.
    pub most_depth: u8,
    /// The bits of hashes that are looked at: fewer in tests, so that hashes collide.
    pub(crate) hash_bits: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { gram: 6, window: 7, least_words: 12, most_edits: 25, most_depth: 64, hash_bits: u64::MAX }
    }
}

impl Parameters {
    /// The words in a row that, if they are in common, are found wherever they are.
    #[must_use]
    pub fn guaranteed(&self) -> u32 {
        self.gram.saturating_add(self.window).saturating_sub(1).max(self.least_words)
    }

    /// Words before and after a fingerprint that may be in the same run.
    pub(crate) fn reach(&self) -> usize {
        self.guaranteed().saturating_sub(self.gram) as usize
    }

    pub(crate) fn check(self) -> Result<Self, MatchError> {
        let Self { gram, window, most_edits: percent, .. } = self;
        if !(2..=64).contains(&gram) {
            return Err(MatchError::Gram { gram });
        }
        if !(1..=64).contains(&window) {
            return Err(MatchError::Window { window });
        }
        if !(1..=50).contains(&percent) {
            return Err(MatchError::Edits { percent });
        }
        Ok(self)
    }
}
