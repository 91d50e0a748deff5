use crate::{MaskError, Masker, TokenSpan};

/// The progress of a [`SequenceMasker`]: enough to resume in another process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SequenceState {
    /// Tokens seen so far, over all documents.
    pub tokens: u64,
    /// The last tokens of the current block's targets, as many as the rule looks back.
    pub tail: Vec<u32>,
}

/// Masks packed training sequences: windows start over in each block and cross document boundaries.
///
/// Documents are joined in the order in which they are given. Block `b` of length `n` decides the tokens
/// `b * n + 1 ..= (b + 1) * n` of the joined stream, which are the targets of the `b`-th training sequence;
/// token 0 of the stream is never a target and is kept. The result stays aligned with each document's own
/// tokens. With the rules `hash-table` and `hash-avalanche` this reproduces the reference implementation,
/// which runs on the shifted targets of packed blocks (`chunked_cross_entropy`, ahans30/goldfish-loss
/// 35d29f9, `lit_gpt/utils.py`).
///
/// ```
/// use goldfish_mask::{Masker, RuleSpec, SequenceMasker, SequenceState, rules::Static};
///
/// let rule = RuleSpec::new(Static::new(2)).build(None)?;
/// let masker = Masker::new(rule, &[]);
/// let mut sequences = SequenceMasker::new(&masker, 3, SequenceState::default())?;
/// let mut mask = [9u8; 8];
/// sequences.decide_next(&[10, 11, 12, 13, 14], &mut mask[..5]);
/// sequences.decide_next(&[15, 16, 17], &mut mask[5..]);
/// // Token 0 is not a target; then blocks of three: drop, keep, drop.
/// assert_eq!(mask, [1, 0, 1, 0, 0, 1, 0, 0]);
/// # Ok::<(), goldfish_mask::MaskError>(())
/// ```
#[derive(Debug)]
pub struct SequenceMasker<'m> {
    masker: &'m Masker,
    length: u64,
    state: SequenceState,
    scratch: Vec<u32>,
}

impl<'m> SequenceMasker<'m> {
    /// Masks blocks of `length` targets, resuming from `state`.
    ///
    /// # Errors
    ///
    /// If `length` is 0, or the rule [needs the text](crate::MaskRule::needs_text) of its documents or [looks
    /// ahead](crate::MaskRule::lookahead).
    pub fn new(masker: &'m Masker, length: u32, state: SequenceState) -> Result<Self, MaskError> {
        if length == 0 {
            return Err(MaskError::SequenceLength);
        }
        if masker.needs_text() {
            return Err(MaskError::TextInSequences);
        }
        if masker.lookahead() > 0 {
            return Err(MaskError::LookaheadInSequences);
        }
        Ok(Self { masker, length: length.into(), state, scratch: Vec::new() })
    }

    /// Decides the next document of the stream.
    ///
    /// # Panics
    ///
    /// If `mask.len() != ids.len()`.
    pub fn decide_next(&mut self, ids: &[u32], mask: &mut [u8]) {
        assert_eq!(mask.len(), ids.len(), "the mask must have one byte for each token");
        let mut start = 0;
        if self.state.tokens == 0 && !ids.is_empty() {
            mask[0] = 1;
            self.state.tokens = 1;
            start = 1;
        }
        while start < ids.len() {
            let target = self.state.tokens - 1;
            let (block, position) = (target / self.length, target % self.length);
            if position == 0 {
                self.state.tail.clear();
            }
            let left_in_block = usize::try_from(self.length - position).unwrap_or(usize::MAX);
            let end = ids.len().min(start.saturating_add(left_in_block));
            self.decide_in_block(block, position, &ids[start..end], &mut mask[start..end]);
            self.remember(&ids[start..end]);
            self.state.tokens += (end - start) as u64;
            start = end;
        }
    }

    /// The progress in the stream.
    #[must_use]
    pub fn state(&self) -> &SequenceState {
        &self.state
    }

    /// Decides targets `position..` of one block, whose last targets so far are in the tail.
    fn decide_in_block(&mut self, block: u64, position: u64, ids: &[u32], mask: &mut [u8]) {
        let tail = self.state.tail.len();
        let joined = if tail == 0 { 0 } else { ids.len().min(self.masker.lookback()) };
        if joined > 0 {
            self.scratch.clear();
            self.scratch.extend_from_slice(&self.state.tail);
            self.scratch.extend_from_slice(&ids[..joined]);
            let span = TokenSpan::continued(&self.scratch, tail, position).with_key(block);
            self.masker.decide(&span, &mut mask[..joined]);
        }
        if joined == ids.len() {
            return;
        }
        let span = TokenSpan::continued(ids, joined, position + joined as u64).with_key(block);
        self.masker.decide(&span, &mut mask[joined..]);
    }

    /// Keeps the last `lookback` targets of the current block.
    fn remember(&mut self, ids: &[u32]) {
        let lookback = self.masker.lookback();
        let tail = &mut self.state.tail;
        tail.extend_from_slice(&ids[ids.len().saturating_sub(lookback)..]);
        let surplus = tail.len().saturating_sub(lookback);
        tail.drain(..surplus);
    }
}
