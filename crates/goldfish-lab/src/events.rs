//! What a run reports.

use serde::{Deserialize, Serialize};

use crate::options::TrainOptions;

/// The progress of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrainEvent {
    /// The run starts, or resumes after `step`.
    Start {
        /// Steps that were done before.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Parameters of the model.
        parameters: u64,
        /// Supervised tokens of all documents.
        supervised_tokens: u64,
        /// All tokens of the documents.
        tokens: u64,
    },
    /// A step was done.
    Step(StepEvent),
    /// The loss on the validation documents was computed.
    Validation(ValidationEvent),
    /// Recited documents were counted.
    Recitation(RecitationEvent),
}

/// One step; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// The step, from 1.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean cross entropy in nats over the batch's supervised tokens, before the step.
    pub loss: f64,
    /// Tokens of the batch.
    pub tokens: u64,
    /// Supervised tokens of the batch.
    pub supervised: u64,
    /// Supervised tokens of all steps so far, this one included.
    pub supervised_total: u64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// Norm of all gradients together, before they are clipped.
    pub gradient_norm: f64,
    /// The preferences of the step, if it is trained on them; then the loss is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<PreferenceEvent>,
}

/// The preferences of a step, before its update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreferenceEvent {
    /// Pairs of continuations of which one is preferred.
    pub pairs: u64,
    /// Pairs that have the same score, which are skipped.
    pub ties: u64,
    /// Mean margin of the pairs: `beta` times by how many nats more than the reference the model prefers their preferred
    /// continuations. 0 without pairs, as is a loss of pairs alone.
    pub margin: f64,
    /// Mean Rouge-L F1 of all continuations and their true suffixes.
    pub rouge_l: f64,
}

/// Two continuations that a model wrote of a document's prefix; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairEvent {
    /// The step.
    pub step: u64,
    /// The document, counted from 0 among those that are long enough.
    pub document: usize,
    /// The preferred continuation.
    pub preferred: Vec<u32>,
    /// The other one.
    pub other: Vec<u32>,
    /// Rouge-L F1 of the two and the true suffix.
    pub rouge_l: [f64; 2],
}

/// A loss on the validation documents; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationEvent {
    /// The step after which it was computed.
    pub step: u64,
    /// Supervised tokens of all steps so far.
    pub supervised_total: u64,
    /// Mean cross entropy in nats over every token of the documents but their first, whatever the masks say.
    pub validation_loss: f64,
    /// Number of these tokens.
    pub tokens: u64,
}

/// What was recited of the documents of [`TrainOptions::recite`], decoding greedily; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecitationEvent {
    /// The step after which they were counted.
    pub step: u64,
    /// Supervised tokens of all steps so far.
    pub supervised_total: u64,
    /// Documents whose suffix is the continuation of their prefix, token for token; [`TrainOptions::recitation`] has the sizes.
    pub recited: u64,
    /// Documents that have so many tokens.
    pub documents: u64,
    /// Documents that have fewer, which are not asked for.
    pub short: u64,
    /// Mean Rouge-L F1 of the continuations and the suffixes.
    pub rouge_l: f64,
    /// Mean number of tokens before the first that differs.
    pub match_length: f64,
}

/// A finished run; `training.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The options of the run.
    pub options: TrainOptions,
    /// Parameters of the model.
    pub parameters: u64,
    /// Steps.
    pub steps: u64,
    /// Tokens of all steps.
    pub tokens: u64,
    /// Supervised tokens of all steps.
    pub supervised_tokens: u64,
    /// Mean loss over the supervised tokens of the last tenth of the steps, at least one.
    pub loss: f64,
    /// The last loss on the validation documents, if there are any.
    pub validation_loss: Option<f64>,
}
