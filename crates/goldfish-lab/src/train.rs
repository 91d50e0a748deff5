//! The loop of a training run.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use goldfish_digest::FileDigest;
use goldfish_remedy::{Remedy, Setting};
use goldfish_tokenize::Tokenizer;

use crate::architecture::{Architecture, Vocabulary};
use crate::architectures::architecture;
use crate::data::{Corpus, Order, Supervised};
use crate::error::LabError;
use crate::events::{PreferenceEvent, RecitationEvent, StepEvent, TrainEvent, Trained, ValidationEvent};
use crate::folder::{Folder, Identity, Opened, Progress};
use crate::lora::adapted;
use crate::optimizer::{Gradients, Weights, learning_rate};
use crate::options::{Length, OptimizerOptions, PreferenceOptions, RecitationOptions, TrainOptions};
use crate::parameter::Parameter;
use crate::preference::{Compared, Preferences};
use crate::recitation::Recitation;
use crate::start::Start;
use crate::tape::Tape;

/// Trains a model and writes it to a folder: `config.json`, `model.safetensors`, `tokenizer.json` if the options name one,
/// `metrics.jsonl` with a line a step, and last `training.json`. Adapters are written as `adapter_config.json` and
/// `adapter_model.safetensors`, which PEFT reads.
///
/// The state is saved in the folder from time to time. `resume` resumes from there, with the same options; a finished run is
/// returned unchanged.
/// `on_event` stops the run with [`ControlFlow::Break`], which saves the state first.
///
/// Runs on the threads of the `rayon` pool that this is called in. Their number changes no bit of the result.
///
/// # Errors
///
/// If the shards can't be read or have tokens outside the vocabulary, the options are invalid, the folder has other contents,
/// the loss is no longer a number, or the caller stopped the run.
pub fn train(
    options: &TrainOptions,
    output: &Path,
    resume: bool,
    on_event: &mut dyn FnMut(&TrainEvent) -> ControlFlow<()>,
) -> Result<Trained, LabError> {
    check(options)?;
    let Some(from) = &options.from else {
        if options.lora.is_some() {
            let reason = "adapters are trained on a checkpoint, and none is given";
            return Err(LabError::option("lora_rank", reason).with([Remedy::give(Setting::From)]));
        }
        let vocabulary = vocabulary(options)?;
        let architecture = architecture(&options.model, &vocabulary, options.sequence_length)?;
        return train_architecture(&*architecture, options, output, resume, on_event);
    };
    let start = Start::open(from, options.model.initial_deviation)?;
    let mut options = options.clone();
    options.tokenizer = options.tokenizer.or_else(|| start.tokenizer.clone());
    if options.tokenizer.is_some() {
        let (own, known) = (start.architecture.vocab_size(), vocabulary(&options)?.size);
        if known > own {
            let reason = format!("has {known} ids, but the checkpoint {own}");
            return Err(LabError::option("tokenizer", reason));
        }
    }
    let Start { architecture, weights, hash, .. } = start;
    let Some(lora) = &options.lora else {
        let start = (Some(weights), Some(hash.as_str()));
        return run(&*architecture, start, &options, output, resume, on_event);
    };
    let weights = Weights::of(weights).tensors(architecture.parameters())?;
    let adapted = adapted(architecture, weights, lora)?;
    run(&*adapted, (None, Some(&hash)), &options, output, resume, on_event)
}

/// The same with an architecture of the caller's own; [`TrainOptions::model`] is recorded but not used.
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
    check(options)?;
    run(architecture, (None, None), options, output, resume, on_event)
}

/// `weights` to start with, if they are not drawn, and the hash of the checkpoint that the run starts from.
fn run(
    architecture: &dyn Architecture,
    (weights, from): (Option<Vec<f32>>, Option<&str>),
    options: &TrainOptions,
    output: &Path,
    resume: bool,
    on_event: &mut dyn FnMut(&TrainEvent) -> ControlFlow<()>,
) -> Result<Trained, LabError> {
    if let Some(longest) = architecture.context_length().filter(|longest| options.sequence_length > *longest)
    {
        return Err(LabError::option("sequence_length", format!("the model's context is {longest} tokens")));
    }
    let tokenizer = options.tokenizer.as_deref().map(|path| {
        let read = goldfish_storage::read(path, goldfish_tokenize::MAX_TOKENIZER_BYTES);
        let bytes = read.map_err(LabError::io(path, "reading"))?;
        let hash = FileDigest::of(&bytes).hash;
        Ok::<_, LabError>((bytes, hash))
    });
    let tokenizer = tokenizer.transpose()?;
    let read = |folders: &[PathBuf], use_mask| {
        Corpus::read(folders, architecture.vocab_size(), use_mask, options.sequence_length)
    };
    let mut corpus = read(&options.shards, options.use_mask)?;
    corpus.select(options.documents, options.seed)?;
    let validation =
        if options.validation.is_empty() { None } else { Some(read(&options.validation, false)?) };
    let recitation = match options.recite.is_empty() {
        true => None,
        false => Some(Recitation::read(&options.recite, architecture.vocab_size(), &options.recitation)?),
    };
    let other = options.preference.as_ref().map(|preference| preference.other.as_slice()).unwrap_or_default();
    let other = if other.is_empty() { None } else { Some(read(other, false)?) };
    let identity = Identity::new(
        options,
        architecture.config(),
        [
            &corpus.manifests,
            validation.as_ref().map_or(&[], |validation| &validation.manifests),
            recitation.as_ref().map_or(&[], |recitation| &recitation.manifests),
            other.as_ref().map_or(&[], |other| &other.manifests),
        ],
        tokenizer.as_ref().map(|(_, hash)| hash.as_str()),
        from,
    );
    let parameters = architecture.parameters();
    let count = parameters.iter().map(Parameter::elements).sum();
    let (folder, saved) = match Folder::open(output, resume, &identity, count)? {
        Opened::Finished(trained) => return Ok(*trained),
        Opened::Running(folder, saved) => (folder, saved),
    };
    let initial = || match &weights {
        Some(weights) => Weights::of(weights.clone()),
        None => Weights::new(parameters, options.seed),
    };
    let preferences = match (&options.preference, &recitation) {
        (Some(preference), Some(recitation)) => Some(Preferences {
            options: preference,
            reference: initial().tensors(parameters)?,
            other: other.map(|other| {
                let order = Order::new(other.sequences(), options.seed);
                (other, order)
            }),
            recitation,
            seed: options.seed,
        }),
        _ => None,
    };
    let (weights, progress) = saved.unwrap_or_else(|| (initial(), Progress::default()));
    let sequences = preferences.as_ref().map_or(corpus.sequences(), |own| own.recitation.len());
    let total = match options.length {
        Length::Steps(steps) => steps.saturating_mul(options.batch_size as u64),
        Length::Epochs(epochs) => epochs.saturating_mul(sequences as u64),
    };
    let mut run = Run {
        architecture,
        options,
        order: Order::new(sequences, options.seed),
        corpus,
        validation,
        recitation: recitation.as_ref(),
        preferences,
        weights,
        progress,
        folder,
        total,
        steps: total.div_ceil(options.batch_size as u64),
    };
    run.report_start(on_event)?;
    let validation_loss = run.steps(&identity, on_event)?;
    run.finish(identity, tokenizer.map(|(bytes, _)| bytes), validation_loss)
}

/// The vocabulary, by the tokenizer and the options.
fn vocabulary(options: &TrainOptions) -> Result<Vocabulary, LabError> {
    let known = options.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    let size = match (options.vocab_size, &known) {
        (Some(size), Some(known)) if size < known.vocab_size() as usize => {
            let reason = format!("{size} ids, but the tokenizer has {}", known.vocab_size());
            let remedies = [Remedy::omit(Setting::VocabSize)];
            return Err(LabError::option("vocab_size", reason).with(remedies));
        }
        (Some(size), _) => size,
        (None, Some(known)) => known.vocab_size() as usize,
        (None, None) => {
            let remedies = [Remedy::give(Setting::Tokenizer), Remedy::give(Setting::VocabSize)];
            return Err(LabError::option("vocab_size", "is unknown without a tokenizer").with(remedies));
        }
    };
    let (bos_id, eos_id) = known.map_or((None, None), |known| (known.bos_id(), known.eos_id()));
    Ok(Vocabulary { size, bos_id, eos_id })
}

fn check(options: &TrainOptions) -> Result<(), LabError> {
    let OptimizerOptions { learning_rate, final_share, beta1, beta2, epsilon, weight_decay, clip, .. } =
        options.optimizer;
    let length = match options.length {
        Length::Steps(count) | Length::Epochs(count) => count,
    };
    let at_least_1 = [
        ("shards", options.shards.len() as u64),
        ("sequence_length", options.sequence_length as u64),
        ("batch_size", options.batch_size as u64),
        ("length", length),
        ("checkpoint_every", options.checkpoint_every),
        ("validate_every", options.validate_every),
    ];
    if let Some((option, _)) = at_least_1.into_iter().find(|(_, count)| *count == 0) {
        return Err(LabError::option(option, "must be at least 1"));
    }
    let whole = |x: f64| x.is_finite() && x >= 0.0;
    let ranges = [
        ("learning_rate", whole(learning_rate), "must be 0 or more"),
        ("final_share", (0.0..=1.0).contains(&final_share), "must be from 0 to 1"),
        ("beta1", (0.0..1.0).contains(&beta1), "must be from 0 up to 1"),
        ("beta2", (0.0..1.0).contains(&beta2), "must be from 0 up to 1"),
        ("epsilon", whole(epsilon) && epsilon > 0.0, "must be above 0"),
        ("weight_decay", whole(weight_decay), "must be 0 or more"),
        ("clip", whole(clip), "must be 0 or more"),
    ];
    if let Some((option, _, reason)) = ranges.into_iter().find(|(_, fits, _)| !fits) {
        return Err(LabError::option(option, reason));
    }
    check_recitation(options)
}

/// Checks what is measured while the model is trained, and the preferences that depend on it.
fn check_recitation(options: &TrainOptions) -> Result<(), LabError> {
    let bad = |option, reason: String| Err(LabError::option(option, reason));
    let RecitationOptions { prefix, suffix } = options.recitation;
    if prefix == 0 || suffix == 0 {
        return bad("recitation", "prefix and suffix must be at least 1".into());
    }
    let Some(PreferenceOptions { beta, temperature, keep, other }) = &options.preference else {
        return Ok(());
    };
    if options.from.is_none() || options.recite.is_empty() {
        return bad("preference", "needs a checkpoint to start from, and documents that it recites".into());
    }
    let above_0 = |x: f64| x.is_finite() && x > 0.0;
    if !above_0(*beta) {
        return bad("beta", "must be above 0".into());
    }
    if !above_0(*temperature) {
        return bad("temperature", "must be above 0".into());
    }
    if other.is_empty() != (*keep == 0.0) || !keep.is_finite() || *keep < 0.0 {
        return bad("keep", "must be above 0 with other text, and 0 without".into());
    }
    Ok(())
}

/// A step before its update.
struct Found {
    loss: f64,
    gradients: Gradients,
    supervised: Supervised,
    preference: Option<PreferenceEvent>,
}

/// A run in progress.
struct Run<'a> {
    architecture: &'a dyn Architecture,
    options: &'a TrainOptions,
    corpus: Corpus,
    validation: Option<Corpus>,
    recitation: Option<&'a Recitation>,
    preferences: Option<Preferences<'a>>,
    /// Of sequences, or of passages that preferences are about.
    order: Order,
    weights: Weights,
    progress: Progress,
    folder: Folder,
    /// Sequences of all steps.
    total: u64,
    steps: u64,
}

impl Run<'_> {
    fn report_start(&self, on_event: &mut dyn FnMut(&TrainEvent) -> ControlFlow<()>) -> Result<(), LabError> {
        let start = TrainEvent::Start {
            step: self.progress.step,
            steps: self.steps,
            parameters: self.weights.values.len() as u64,
            supervised_tokens: self.corpus.supervised,
            tokens: self.corpus.length,
        };
        match on_event(&start) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LabError::Stopped { step: self.progress.step, steps: self.steps }),
        }
    }

    /// The remaining steps. Returns the last loss on the validation documents.
    fn steps(
        &mut self,
        identity: &Identity,
        on_event: &mut dyn FnMut(&TrainEvent) -> ControlFlow<()>,
    ) -> Result<Option<f64>, LabError> {
        // What the checkpoint recites that the run starts from.
        if self.progress.step == 0 && self.options.from.is_some() && self.recitation.is_some() {
            for event in self.measured()? {
                if on_event(&event).is_break() {
                    return Err(LabError::Stopped { step: 0, steps: self.steps });
                }
            }
        }
        while self.progress.step < self.steps {
            let event = self.step()?;
            self.folder.record(&event)?;
            let mut flow = on_event(&TrainEvent::Step(event));
            let (step, last) = (self.progress.step, self.progress.step == self.steps);
            if last || step.is_multiple_of(self.options.validate_every) {
                for event in self.measured()? {
                    if on_event(&event).is_break() {
                        flow = ControlFlow::Break(());
                    }
                }
            }
            if last || flow.is_break() || step.is_multiple_of(self.options.checkpoint_every) {
                self.folder.save(identity, &self.progress, &self.weights)?;
            }
            if flow.is_break() && !last {
                return Err(LabError::Stopped { step, steps: self.steps });
            }
        }
        let lines = self.folder.metrics()?;
        Ok(lines.iter().rev().find_map(|line| line["validation_loss"].as_f64()))
    }

    fn step(&mut self) -> Result<StepEvent, LabError> {
        let parameters = self.architecture.parameters();
        let batch_size = self.options.batch_size as u64;
        let first = self.progress.step * batch_size;
        let positions = first..(first + batch_size).min(self.total);
        let numbers: Vec<usize> = positions.map(|position| self.order.at(position)).collect();
        let step = self.progress.step + 1;
        let Found { loss, gradients, supervised, preference } = self.find(&numbers, step)?;
        let optimizer = &self.options.optimizer;
        let norm = self.weights.update(parameters, &gradients, optimizer, [step, self.steps]);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(LabError::Diverged { step, loss, norm });
        }
        let (tokens, supervised) =
            (supervised.batch.tokens.len() as u64, supervised.targets.ids.len() as u64);
        self.progress.step = step;
        self.progress.tokens += tokens;
        self.progress.supervised += supervised;
        Ok(StepEvent {
            step,
            steps: self.steps,
            loss,
            tokens,
            supervised,
            supervised_total: self.progress.supervised,
            learning_rate: learning_rate(optimizer, [step, self.steps]),
            gradient_norm: norm,
            preference,
        })
    }

    /// The loss of some sequences, or of some passages, and its gradients.
    fn find(&mut self, numbers: &[usize], step: u64) -> Result<Found, LabError> {
        let parameters = self.architecture.parameters();
        let tensors = self.weights.tensors(parameters)?;
        let Some(preferences) = &mut self.preferences else {
            let supervised = self.corpus.supervised(numbers.iter().copied());
            let (loss, found) =
                self.architecture.gradients(&tensors, &supervised.batch, &supervised.targets)?;
            let gradients = Gradients::of(parameters, &found)?;
            return Ok(Found { loss, gradients, supervised, preference: None });
        };
        let Compared { loss, gradients, supervised, event, pairs } =
            preferences.compare(self.architecture, &tensors, numbers, step)?;
        for pair in &pairs {
            self.folder.record(pair)?;
        }
        let gradients = match gradients {
            Some(found) => Gradients::of(parameters, &found)?,
            None => Gradients::none(parameters),
        };
        Ok(Found { loss, gradients, supervised, preference: Some(event) })
    }

    /// The loss on the validation documents, and what is recited.
    fn measured(&mut self) -> Result<Vec<TrainEvent>, LabError> {
        let mut events = Vec::new();
        if self.validation.is_none() && self.recitation.is_none() {
            return Ok(events);
        }
        let weights = self.weights.tensors(self.architecture.parameters())?;
        if let Some(validation) = &self.validation {
            let event = self.validate(validation, &weights)?;
            self.folder.record(&event)?;
            events.push(TrainEvent::Validation(event));
        }
        if let Some(recitation) = &self.recitation {
            let recited = recitation.recited(&self.architecture.model(&weights)?)?;
            let event = RecitationEvent {
                step: self.progress.step,
                supervised_total: self.progress.supervised,
                recited: recited.documents,
                documents: recitation.len() as u64,
                short: recitation.short,
                rouge_l: recited.rouge_l,
                match_length: recited.match_length,
            };
            self.folder.record(&event)?;
            events.push(TrainEvent::Recitation(event));
        }
        Ok(events)
    }

    fn validate(&self, validation: &Corpus, weights: &[Tensor]) -> Result<ValidationEvent, LabError> {
        let mut total = 0.0;
        let numbers: Vec<usize> = (0..validation.sequences()).collect();
        for some in numbers.chunks(self.options.batch_size) {
            let batch = validation.supervised(some.iter().copied());
            let graph = self.architecture.graph(Tape::without_gradients(), weights)?;
            let mean = self.architecture.loss(&graph, &batch.batch, &batch.targets)?;
            total += f64::from(mean.tensor().to_scalar::<f32>()?) * batch.targets.ids.len() as f64;
        }
        Ok(ValidationEvent {
            step: self.progress.step,
            supervised_total: self.progress.supervised,
            validation_loss: total / validation.supervised as f64,
            tokens: validation.supervised,
        })
    }

    fn finish(
        self,
        identity: Identity,
        tokenizer: Option<Vec<u8>>,
        validation_loss: Option<f64>,
    ) -> Result<Trained, LabError> {
        let first = self.steps - self.steps.div_ceil(10);
        let (mut total, mut count) = (0.0, 0.0);
        for line in self.folder.metrics()? {
            if let Ok(event) = serde_json::from_value::<StepEvent>(line)
                && event.step > first
            {
                total += event.loss * event.supervised as f64;
                count += event.supervised as f64;
            }
        }
        let trained = Trained {
            options: self.options.clone(),
            parameters: self.weights.values.len() as u64,
            steps: self.steps,
            tokens: self.progress.tokens,
            supervised_tokens: self.progress.supervised,
            // Steps in which every pair was a tie have no targets.
            loss: total / f64::max(count, 1.0),
            validation_loss,
        };
        self.folder.finish(self.architecture, &self.weights, tokenizer.as_deref(), identity, &trained)?;
        Ok(trained)
    }
}
