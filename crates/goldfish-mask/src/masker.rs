use xxhash_rust::xxh3::xxh3_64;

use crate::{MaskRule, TokenSpan};

/// The key of a document for the rule `random`: `xxh3_64` of its id with seed 0.
///
/// Two documents with the same id share their random mask; give copies ids of their own.
#[must_use]
pub fn document_key(doc_id: &str) -> u64 {
    xxh3_64(doc_id.as_bytes())
}

/// A rule together with the special tokens that it must not drop.
#[derive(Debug)]
pub struct Masker {
    rule: Box<dyn MaskRule>,
    exempt: IdSet,
}

impl Masker {
    /// A masker that never drops the ids in `exempt` (any order, repeats allowed).
    #[must_use]
    pub fn new(rule: Box<dyn MaskRule>, exempt: &[u32]) -> Self {
        Self { rule, exempt: IdSet::new(exempt) }
    }

    /// Whether this id is never dropped.
    #[must_use]
    pub fn exempts(&self, id: u32) -> bool {
        self.exempt.contains(id)
    }

    /// See [`MaskRule::lookback`].
    #[must_use]
    pub fn lookback(&self) -> usize {
        self.rule.lookback()
    }

    /// See [`MaskRule::needs_text`].
    #[must_use]
    pub fn needs_text(&self) -> bool {
        self.rule.needs_text()
    }

    /// Writes one byte a decided token into `mask`: 1 keeps the token in the loss, 0 drops it.
    ///
    /// # Panics
    ///
    /// As [`MaskRule::decide`].
    pub fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        self.rule.decide(span, mask);
        self.exempt.keep(span.decided(), mask);
    }
}

/// Sets of up to this many ids are compared with one by one, which compiles to vector instructions.
const COMPARED: usize = 4;

/// A few ids that are looked up once a token.
#[derive(Debug)]
struct IdSet {
    sorted: Vec<u32>,
    /// One bit for each `id % 64` that occurs, so that most other ids need no search.
    sketch: u64,
}

impl IdSet {
    fn new(ids: &[u32]) -> Self {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let sketch = sorted.iter().fold(0, |bits, id| bits | 1 << (id % 64));
        Self { sorted, sketch }
    }

    /// Keeps the ids of the set.
    fn keep(&self, ids: &[u32], mask: &mut [u8]) {
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

    fn contains(&self, id: u32) -> bool {
        self.sketch >> (id % 64) & 1 == 1 && self.sorted.binary_search(&id).is_ok()
    }
}
