use std::fmt::Debug;

use crate::exempt::IdSet;
use crate::runs::{LongestRun, longest_counted};

/// Consecutive tokens of a document to decide, with what a rule may look at around them.
///
/// Here and in all rules, *document* also means one packed sequence. A document may be decided whole or
/// in several spans; the decisions are the same either way, as long as each span has enough of the
/// tokens before it (see [`MaskRule::lookback`]).
#[derive(Debug, Clone, Copy)]
pub struct TokenSpan<'a> {
    ids: &'a [u32],
    history: usize,
    following: usize,
    position: u64,
    key: u64,
    text: Option<(&'a str, &'a [(usize, usize)])>,
    exempt: Option<&'a IdSet>,
    longer_than: u64,
}

impl<'a> TokenSpan<'a> {
    /// A whole document (or the start of one): nothing comes before `ids[0]`.
    #[must_use]
    pub fn document(ids: &'a [u32]) -> Self {
        Self { ids, history: 0, following: 0, position: 0, key: 0, text: None, exempt: None, longer_than: 0 }
    }

    /// Tokens `position..` of a document: the first `history` ids are context, the rest is decided.
    ///
    /// # Panics
    ///
    /// If `history` exceeds `ids.len()` or `position`: there can't be more tokens before the first
    /// decided one than the document has.
    #[must_use]
    pub fn continued(ids: &'a [u32], history: usize, position: u64) -> Self {
        assert!(history <= ids.len(), "history of {history} tokens in a slice of {}", ids.len());
        assert!(history as u64 <= position, "history of {history} tokens before position {position}");
        Self { ids, history, following: 0, position, key: 0, text: None, exempt: None, longer_than: 0 }
    }

    /// The same span, of which the last `following` ids are context and not decided. Without them the document ends with
    /// the last decided token.
    ///
    /// # Panics
    ///
    /// If there are fewer ids after the history.
    #[must_use]
    pub fn followed_by(self, following: usize) -> Self {
        let rest = self.ids.len() - self.history;
        assert!(following <= rest, "{following} following tokens in a slice of {rest} after the history");
        Self { following, ..self }
    }

    /// The same span in the document with this key (see [`document_key`](crate::document_key)); only the
    /// rule `random` looks at it.
    #[must_use]
    pub fn with_key(self, key: u64) -> Self {
        Self { key, ..self }
    }

    /// The same span with the text that its document was tokenized from, for the rules that
    /// [need it](MaskRule::needs_text).
    ///
    /// `text` is that of the whole document, and `spans` has the start and end of every token of the document, in
    /// bytes of `text`, from position 0 to the last decided token at least, or further if the rule [looks
    /// ahead](MaskRule::lookahead). A token without text, such as an appended
    /// end-of-sequence token, has an empty span. Spans may cut characters and overlap. Their starts need not be in
    /// order, but it is faster if they are.
    #[must_use]
    pub fn with_text(self, text: &'a str, spans: &'a [(usize, usize)]) -> Self {
        Self { text: Some((text, spans)), ..self }
    }

    /// The same span with the ids that are kept whatever the rule decides.
    pub(crate) fn with_exempt(self, exempt: &'a IdSet) -> Self {
        Self { exempt: Some(exempt), ..self }
    }

    /// Whether this id is kept whatever the rule decides. A rule that [promises a
    /// bound](crate::RuleDefinition::longest_run) must not count on dropping it.
    #[must_use]
    pub fn exempts(&self, id: u32) -> bool {
        self.exempt.is_some_and(|exempt| exempt.contains(id))
    }

    /// Whether any id is kept whatever the rule decides.
    pub(crate) fn has_exempt(&self) -> bool {
        self.exempt.is_some()
    }

    /// Keeps what is exempt of the ids from index `first` of the [`ids`](Self::ids) on, of which `mask` has one byte each.
    pub(crate) fn keep_exempt(&self, first: usize, mask: &mut [u8]) {
        if let Some(exempt) = self.exempt {
            exempt.keep(&self.ids[first..first + mask.len()], mask);
        }
    }

    /// The same span, whose longest run matters only if it has more units than this.
    #[must_use]
    pub fn with_longer_than(self, units: u64) -> Self {
        Self { longer_than: units, ..self }
    }

    /// What [`MaskRule::decide_measuring`] of a rule over token ids gives, which decides all tokens from the `first` one
    /// of the span on that are not exempt, and has decided `mask`, in which exempt ones are kept.
    ///
    /// # Panics
    ///
    /// If `first` exceeds the length of the mask, or this that of the span.
    #[must_use]
    pub fn longest_run(&self, first: usize, mask: &[u8]) -> LongestRun {
        let ids = &self.decided()[..mask.len()];
        let longer_than = usize::try_from(self.longer_than).unwrap_or(usize::MAX);
        let found = longest_counted(&mask[first..], longer_than, |index| !self.exempts(ids[first + index]));
        LongestRun::found(found, self.position + first as u64)
    }

    /// The document's text and one byte span a token, if the span has them.
    #[must_use]
    pub fn text(&self) -> Option<(&'a str, &'a [(usize, usize)])> {
        self.text
    }

    /// Context and decided tokens in one slice: `history` context ids, `len` ids to decide, `following` context ids.
    #[must_use]
    pub fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// How many leading ids are context only.
    #[must_use]
    pub fn history(&self) -> usize {
        self.history
    }

    /// How many ids at the end are context only.
    #[must_use]
    pub fn following(&self) -> usize {
        self.following
    }

    /// The ids to decide.
    #[must_use]
    pub fn decided(&self) -> &'a [u32] {
        &self.ids[self.history..self.ids.len() - self.following]
    }

    /// Position in its document of the first decided token, from 0.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Key of the document.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// How many tokens this span decides.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len() - self.history - self.following
    }

    /// Whether there is nothing to decide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Decides which tokens may be targets of the loss.
pub trait MaskRule: Send + Sync + Debug {
    /// How many tokens before a position its decision may depend on.
    ///
    /// A span that starts at position `p` must have at least `min(p, lookback())` tokens of history.
    fn lookback(&self) -> usize;

    /// How many tokens after a position its decision may depend on; `usize::MAX` for all of the document.
    ///
    /// A span must have as many tokens [after it](TokenSpan::followed_by), or all that there are; with a
    /// [text](TokenSpan::with_text), the byte spans of so many tokens.
    fn lookahead(&self) -> usize {
        0
    }

    /// Whether it looks at the text, so that every span must have it (see [`TokenSpan::with_text`]).
    fn needs_text(&self) -> bool {
        false
    }

    /// Writes one byte a decided token into `mask`: 1 keeps the token in the loss, 0 drops it.
    ///
    /// # Panics
    ///
    /// If `mask.len() != span.len()`, if the span's history is shorter than
    /// `min(span.position(), self.lookback())`, or if the rule [needs the text](Self::needs_text) and the
    /// span has none, or not a byte span for each token up to the last decided one.
    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]);

    /// Decides as [`decide`](Self::decide), and gives the longest run of decided
    /// [units](crate::RuleDefinition::run_unit) of the span that are all kept. `None` from rules that don't count them;
    /// they cost nothing more. A run that is no longer than the span [asks for](TokenSpan::with_longer_than) may be given
    /// as one without units.
    ///
    /// # Panics
    ///
    /// As [`decide`](Self::decide).
    fn decide_measuring(&self, span: &TokenSpan<'_>, mask: &mut [u8]) -> Option<LongestRun> {
        self.decide(span, mask);
        None
    }
}

/// Checks the contract of [`MaskRule::decide`]; called first by every implementation.
pub(crate) fn check_span(span: &TokenSpan<'_>, lookback: usize, mask: &[u8]) {
    assert_eq!(mask.len(), span.len(), "the mask must have one byte for each decided token");
    let needed = span.position().min(lookback as u64);
    assert!(
        span.history() as u64 >= needed,
        "a span at position {} has {} tokens of history, but the rule looks back {needed}",
        span.position(),
        span.history(),
    );
}

/// Checks the contract of a rule that needs the text; gives it with the byte spans of the decided tokens.
pub(crate) fn check_text<'a>(span: &TokenSpan<'a>, mask: &[u8]) -> (&'a str, &'a [(usize, usize)]) {
    check_span(span, 0, mask);
    let Some((text, spans)) = span.text() else {
        panic!("the rule decides by the text: give the span one with TokenSpan::with_text");
    };
    let start = usize::try_from(span.position()).unwrap_or(usize::MAX);
    let end = start.saturating_add(span.len());
    assert!(
        end <= spans.len(),
        "a span decides tokens {start}..{end}, but the text comes with the byte spans of {}",
        spans.len(),
    );
    (text, &spans[start..end])
}
