//! The size and the results of a copy task.

use goldfish_audit::backend::ModelDescription;
use goldfish_report::{CopyArm, CopyLength};
use serde::{Deserialize, Serialize};

use super::tasks::{CopyShape, CopyTask};
use crate::error::LabError;

/// What models are trained and evaluated on. Lengths are letters of a text, or entries of a phone book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyOptions {
    /// The task.
    pub shape: CopyShape,
    /// Shortest length in training; lengths are uniform.
    pub shortest: usize,
    /// Longest length in training.
    pub length: usize,
    /// Lengths of the evaluation, within and beyond those of training.
    pub lengths: Vec<usize>,
    /// Most tokens of a training sequence, which is packed with samples.
    pub context: usize,
    /// Tokens to train on, all of new samples.
    pub tokens: u64,
    /// Samples of the evaluation at each length.
    pub samples: u64,
    /// Layers of the models.
    pub layers: usize,
    /// Width of their hidden states.
    pub width: usize,
    /// Heads of those that have attention.
    pub heads: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Sequences in one step.
    pub batch: usize,
    /// Determines samples, initial weights and order.
    pub seed: u64,
}

/// Samples of the longest length that fill a training sequence.
const PACKED: usize = 2;

impl CopyOptions {
    /// The file with the options in the folder of a task.
    pub(crate) const RECORD: &str = "copy.json";

    /// The defaults for a task and a longest length in training: from half of that length on, and evaluated up to ten times of it.
    #[must_use]
    pub fn new(task: CopyTask, length: usize) -> Self {
        Self::of_shape(CopyShape { task, ..CopyShape::default() }, length)
    }

    /// The same with other sizes of keys and answers.
    #[must_use]
    pub fn of_shape(shape: CopyShape, length: usize) -> Self {
        let shortest = (length / 2).max(shape.shortest()).min(length);
        let mut lengths = vec![shortest, length, length * 4 / 3, 2 * length, 5 * length, 10 * length];
        lengths.dedup();
        Self {
            shape,
            shortest,
            length,
            lengths,
            context: PACKED * (shape.characters(length) + 2),
            tokens: 1_000_000,
            samples: 200,
            layers: 2,
            width: 128,
            heads: 8,
            learning_rate: 2e-3,
            batch: 16,
            seed: 0,
        }
    }

    /// The same as small as it can be, to try it out.
    #[must_use]
    pub fn quick(self) -> Self {
        let lengths = vec![self.shortest, self.length, 2 * self.length];
        Self { tokens: 100_000, samples: 50, lengths, width: 64, heads: 4, batch: 8, ..self }
    }

    pub(super) fn check(&self) -> Result<(), LabError> {
        let bad = |option, reason: String| Err(LabError::option(option, reason));
        if self.shortest > self.length {
            let reason = format!("{} in training is above the longest, {}", self.shortest, self.length);
            return bad("shortest", reason);
        }
        for length in self.lengths.iter().chain([&self.shortest, &self.length]) {
            self.shape.check(*length)?;
        }
        let longest = self.shape.characters(self.length) + 2;
        if self.context < longest {
            return bad("context", format!("{} tokens, but a sample has up to {longest}", self.context));
        }
        let counts = [("tokens", self.tokens), ("samples", self.samples)];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((option, _)) => bad(option, "must be at least 1".into()),
            None => Ok(()),
        }
    }

    /// Tokens of the longest sequence that a model sees.
    pub(super) fn longest_sequence(&self) -> usize {
        let evaluated = self.lengths.iter().map(|length| self.shape.characters(*length) + 2).max();
        evaluated.unwrap_or(0).max(self.context)
    }
}

/// A prompted task: some examples, then a question, which the model continues greedily.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptedOptions {
    /// The task.
    pub shape: CopyShape,
    /// Lengths of the questions: letters of a text, or entries of a phone book. Examples are as long.
    pub lengths: Vec<usize>,
    /// Examples before a question.
    pub examples: usize,
    /// Questions at each length.
    pub samples: u64,
    /// The token before every prompt, if the model was trained with one.
    pub bos: Option<u32>,
    /// Determines the samples.
    pub seed: u64,
}

impl Default for PromptedOptions {
    fn default() -> Self {
        Self {
            shape: CopyShape::default(),
            lengths: vec![10, 20, 40, 80],
            examples: 3,
            samples: 50,
            bos: None,
            seed: 0,
        }
    }
}

/// The results of a task; `results.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyResults {
    /// What was trained and evaluated on.
    pub options: CopyOptions,
    /// The models, by the order of [`ARCHITECTURES`](crate::ARCHITECTURES).
    pub arms: Vec<CopyArm>,
}

/// The results of a prompted task; `results.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptedResults {
    /// What was asked.
    pub options: PromptedOptions,
    /// The model.
    pub model: ModelDescription,
    /// The answers by length, as the options have them.
    pub lengths: Vec<CopyLength>,
}
