//! The loop of a training run.

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Architecture, LabError, TrainOptions};

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrainEvent {
    /// The run begins, or goes on behind `step`.
    Start {
        /// Steps that were done before.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Parameters of the model.
        parameters: u64,
        /// Tokens that are targets of the loss, once through all documents.
        supervised_tokens: u64,
        /// All tokens of the documents.
        tokens: u64,
    },
    /// A step was done.
    Step(StepEvent),
    /// The loss on the validation documents was taken.
    Validation(ValidationEvent),
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
}

/// A loss on the validation documents; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationEvent {
    /// Behind which step.
    pub step: u64,
    /// Supervised tokens of all steps so far.
    pub supervised_total: u64,
    /// Mean cross entropy in nats over every token of the documents but their first, masks aside.
    pub validation_loss: f64,
    /// How many tokens these are.
    pub tokens: u64,
}

/// What a finished run gave; `training.json` in its folder.
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

/// Trains a model and writes it to a folder: `config.json`, `model.safetensors`, `tokenizer.json` if the options name one,
/// `metrics.jsonl` with a line a step, and last `training.json`.
///
/// The state is saved in the folder on the way. `resume` goes on from there, with the same options; a finished run is returned as it is.
/// `on_event` stops the run with [`ControlFlow::Break`], which saves the state first.
///
/// Matrix products run on the threads of the `rayon` pool that this is called in. Their number changes no bit of the result.
///
/// # Errors
///
/// If the shards can't be read or hold other tokens than the model knows, the options can't be, the folder holds something else, the
/// loss is no longer a number, or the caller stopped the run.
pub fn train(
    options: &TrainOptions,
    output: &Path,
    resume: bool,
    on_event: &mut dyn FnMut(&TrainEvent) -> ControlFlow<()>,
) -> Result<Trained, LabError> {
    let _ = (options, output, resume, on_event);
    Err(LabError::option("train", "is not built yet"))
}

/// The same with an architecture of the caller's; [`TrainOptions::model`] is recorded, and not looked at.
///
/// # Errors
///
/// Those of [`train`].
pub fn train_architecture(
    architecture: &dyn Architecture,
    options: &TrainOptions,
    output: &Path,
    resume: bool,
    on_event: &mut dyn FnMut(&TrainEvent) -> ControlFlow<()>,
) -> Result<Trained, LabError> {
    let _ = (architecture, options, output, resume, on_event);
    Err(LabError::option("train", "is not built yet"))
}
