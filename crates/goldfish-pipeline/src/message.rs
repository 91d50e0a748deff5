//! What the reading thread, the workers and the writer hand to each other.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use goldfish_corpus::{Chunk, Reject};
use goldfish_mask::diagnostics::Tally;
use goldfish_mask::{LongestRun, longest_stretch};
use goldfish_shard::{InputEntry, PassageRow, ProtectedCounts, ShardSchema};

use crate::PipelineError;
use crate::plan::Position;
use crate::progress::TokenizedText;

/// What the receiver of the results gets for each work item, in order.
pub(crate) enum Message<R> {
    /// The result of a work item, once its worker is done.
    Result(Receiver<Result<R, PipelineError>>),
    /// The run can't continue.
    Failed(PipelineError),
    /// All inputs were read. A channel that closes without this means that the reader died.
    Done,
}

/// Part of a work item.
pub(crate) enum Part {
    /// Documents of the input with this name.
    Chunk(Arc<str>, Box<dyn Chunk>),
    /// The rest of the input can't be read.
    Broken(Reject),
    /// The input was read to its end (or as far as it goes).
    End(InputEntry),
}

/// The row of a [`Reject`] that stands for the unreadable rest of a file: filled in by the writer with the
/// row after the last one that was read.
pub(crate) const BROKEN_ROW: u64 = u64::MAX;

/// Consecutive parts of the inputs, and the columns they are written with.
pub(crate) struct Work {
    pub(crate) start: Position,
    pub(crate) parts: Vec<Part>,
    pub(crate) schema: Arc<ShardSchema>,
}

/// The outcome of a work item.
pub(crate) struct WorkResult {
    pub(crate) start: Position,
    pub(crate) documents: Tokens,
    pub(crate) schema: Arc<ShardSchema>,
    pub(crate) events: Vec<Event>,
    pub(crate) tokenized: TokenizedText,
    /// Passages that copy protected works, and counts of them.
    pub(crate) passages: Vec<PassageRow>,
    pub(crate) protected: ProtectedCounts,
    /// Counts of the documents that are counted, by rule.
    pub(crate) tallies: Vec<Tally>,
}

/// What the writer has to record besides the documents, in order.
pub(crate) enum Event {
    /// Some documents of an input were delivered; `next_row` is the row after the last one read, if any was.
    Documents { count: u64, next_row: Option<u64> },
    /// A row was rejected.
    Reject(Reject),
    /// An input came to its end.
    End(InputEntry),
}

/// The longest run of decided words or tokens of some documents, and which of them has it; `None` if the rule doesn't
/// count that, or before they are decided.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LongestOf(pub(crate) Option<(usize, LongestRun)>);

impl LongestOf {
    pub(crate) fn units(&self) -> u64 {
        self.0.map_or(0, |(_, run)| run.units)
    }

    /// Notes the run of a document that comes after the others.
    pub(crate) fn note(&mut self, row: usize, run: Option<LongestRun>) {
        if let Some(run) = run
            && self.0.is_none_or(|(_, longest)| run.units > longest.units)
        {
            self.0 = Some((row, run));
        }
    }
}

/// The number of the rule that decides document `row`; without a policy there is only one.
pub(crate) fn rule_of(rules: &[u32], row: usize) -> usize {
    rules.get(row).map_or(0, |rule| *rule as usize)
}

/// Documents as tokens.
pub(crate) struct Tokens {
    pub(crate) doc_ids: StringArray,
    /// Document ends, in tokens.
    pub(crate) offsets: OffsetBuffer<i32>,
    pub(crate) ids: ScalarBuffer<i32>,
    /// Empty until it is decided, which rules that decide by the text do while the text is there.
    pub(crate) mask: Vec<u8>,
    /// What the loss of each token is multiplied with, by the masks that the documents came with.
    pub(crate) weights: Option<Vec<f32>>,
    /// Under a policy, the number of the rule that decides each document.
    pub(crate) rules: Vec<u32>,
    /// What each rule measured while it decided.
    pub(crate) longest: Vec<LongestOf>,
    /// The longest stretch of kept tokens, with its document; found when they are decided.
    pub(crate) stretch: Option<(usize, Range<usize>)>,
    pub(crate) carried: Vec<ArrayRef>,
}

impl Tokens {
    pub(crate) fn len(&self) -> usize {
        self.doc_ids.len()
    }

    /// Token positions of document `row`.
    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// The number of the rule that decides document `row`.
    pub(crate) fn rule(&self, row: usize) -> usize {
        rule_of(&self.rules, row)
    }

    /// Excludes what the masks exclude that the documents came with.
    pub(crate) fn apply_weights(&mut self) {
        for (keep, weight) in self.mask.iter_mut().zip(self.weights.iter().flatten()) {
            *keep &= u8::from(*weight > 0.0);
        }
    }

    /// All ids, unsigned: sources let none below 0 pass.
    pub(crate) fn unsigned(&self) -> &[u32] {
        bytemuck::cast_slice(&self.ids)
    }

    /// Finds the longest stretch of kept tokens.
    pub(crate) fn find_stretch(&mut self) {
        let mut longest = None;
        let mut tokens = 0;
        for row in 0..self.len() {
            if let Some(run) = longest_stretch(&self.mask[self.range(row)], tokens) {
                (tokens, longest) = (run.len(), Some((row, run)));
            }
        }
        self.stretch = longest;
    }

    pub(crate) fn into_record_batch(
        self,
        schema: &ShardSchema,
    ) -> Result<RecordBatch, arrow::error::ArrowError> {
        let (mask, weights) = (self.mask.into(), self.weights.as_deref());
        schema.weighted_batch(self.doc_ids, self.offsets, self.ids, mask, weights, self.carried)
    }
}
