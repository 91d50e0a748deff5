use xxhash_rust::xxh3::xxh3_64;

use crate::exempt::IdSet;
use crate::{LongestRun, MaskRule, TokenSpan};

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

    /// See [`MaskRule::lookahead`].
    #[must_use]
    pub fn lookahead(&self) -> usize {
        self.rule.lookahead()
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
        self.rule.decide(&span.with_exempt(&self.exempt), mask);
        self.exempt.keep(span.decided(), mask);
    }

    /// Decides, and gives the longest run of decided units that are all kept. See [`MaskRule::decide_measuring`].
    ///
    /// # Panics
    ///
    /// As [`MaskRule::decide`].
    pub fn decide_measuring(&self, span: &TokenSpan<'_>, mask: &mut [u8]) -> Option<LongestRun> {
        let run = self.rule.decide_measuring(&span.with_exempt(&self.exempt), mask);
        self.exempt.keep(span.decided(), mask);
        run
    }
}
