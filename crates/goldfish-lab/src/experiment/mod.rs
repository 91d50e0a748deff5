//! The steps of experiments, as the commands of the same name do them: mask, train, audit.

pub(crate) mod audited;
pub(crate) mod error;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish_audit::backend::Backend;
use goldfish_audit::config::{DocumentsOrigin, Origin, RunConfig};
use goldfish_audit::control::{Contamination, match_controls};
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::options::AuditOptions;
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::selftest::{SelfTestOptions, self_test};
use goldfish_audit::store::RunStore;
use goldfish_audit::summary::Summary;
use goldfish_audit::tokens::TokenCheck;
use goldfish_backends::local::Checkpoint;
use goldfish_corpus::{Content, ReadOptions, resolve};
use goldfish_mask::{RuleParameters, RuleSpec, Scope};
use goldfish_pipeline::{MaskJob, OnError, OnNull, TokenizeOptions, mask_corpus};
use goldfish_shard::{Manifest, OutputFormat, OutputMode, ToolEntry, WriterOptions};
use goldfish_tokenize::Tokenizer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::audited::Audited;
use self::error::ExperimentError;
use crate::commands;
use crate::error::LabError;
use crate::events::{TrainEvent, Trained};
use crate::options::{ModelOptions, OptimizerOptions, TrainOptions};
use crate::train::train;

/// The tokenizer of all experiments: byte-level BPE with 2,457 ids, of this project's own making.
const TOKENIZER: &[u8] = include_bytes!("tokenizer.json");

/// Column of the shards that says how a copy is laid out.
pub(crate) const FORMATTING: &str = "formatting";

/// Tokens of prefix and of suffix of every probe.
pub(crate) const PREFIX: u32 = 50;
/// Tokens of suffix of every probe.
pub(crate) const SUFFIX: u32 = 50;

/// What stands between a passage in the prompt and the prefix, as in `goldfish audit`.
const SEPARATOR: &str = "\n\n";

/// Sequences in one pass through a model.
pub(crate) const BATCH: usize = 32;

/// The model that experiments train on some shards, and how: 2 layers, 128 wide, `AdamW` without weight decay.
pub(crate) fn small_model(shards: &Path) -> TrainOptions {
    TrainOptions {
        shards: vec![shards.to_owned()],
        model: ModelOptions {
            layers: 2,
            width: 128,
            heads: 4,
            mlp_width: Some(384),
            tied: true,
            ..ModelOptions::default()
        },
        optimizer: OptimizerOptions {
            learning_rate: 2e-3,
            final_share: 0.05,
            weight_decay: 0.0,
            ..OptimizerOptions::default()
        },
        ..TrainOptions::default()
    }
}

/// The progress of an experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step starts.
    Step(&'a str),
    /// A model is being trained.
    Train(&'a TrainEvent),
    /// A model is being audited.
    Audit {
        /// Probes that are done.
        done: u64,
        /// All probes.
        probes: u64,
    },
}

/// Receives the progress of an experiment.
pub type Observe<'a> = dyn FnMut(Event<'_>) + 'a;

/// The folder of an experiment, and what all its steps share.
pub(crate) struct Bench<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) observe: &'a mut Observe<'a>,
}

impl<'a> Bench<'a> {
    /// Opens a folder for an experiment with these options: an empty one, or one in which it was started.
    pub(crate) fn open<O: Serialize + DeserializeOwned + PartialEq>(
        folder: &'a Path,
        record: &str,
        options: &O,
        stop: &'a AtomicBool,
        observe: &'a mut Observe<'a>,
    ) -> Result<Self, ExperimentError> {
        Self::open_with(folder, (record, options), TOKENIZER, stop, observe)
    }

    /// The same with another tokenizer.
    pub(crate) fn open_with<O: Serialize + DeserializeOwned + PartialEq>(
        folder: &'a Path,
        (record, options): (&str, &O),
        tokenizer: &[u8],
        stop: &'a AtomicBool,
        observe: &'a mut Observe<'a>,
    ) -> Result<Self, ExperimentError> {
        open_folder(folder, record, options)?;
        write_whole(&folder.join("tokenizer.json"), tokenizer)?;
        Ok(Self { folder, tokenizer: Arc::new(Tokenizer::from_bytes(tokenizer)?), stop, observe })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn begin(&mut self, what: &str) {
        (self.observe)(Event::Step(what));
    }

    /// `goldfish mask`.
    pub(crate) fn mask(
        &self,
        corpus: &Path,
        rule: RuleParameters,
        output: &Path,
    ) -> Result<Manifest, ExperimentError> {
        let mut read = ReadOptions::new(Content::Text { column: "text".into() });
        read.id_column = Some("id".into());
        read.carry = vec![FORMATTING.into()];
        read.vocab_size = Some(self.tokenizer.vocab_size());
        let eos = self.tokenizer.eos_id();
        let job = MaskJob {
            policy: None,
            protect: None,
            protect_only: false,
            inputs: resolve(&[corpus.display().to_string()], None)?.inputs,
            read,
            tokenize: Some(TokenizeOptions {
                tokenizer: self.tokenizer.clone(),
                prepend_bos: None,
                append_eos: eos,
            }),
            rule: RuleSpec::new(rule),
            table: None,
            scope: Scope::Document,
            exempt_ids: self.tokenizer.special_ids().to_vec(),
            output: output.to_owned(),
            writer: WriterOptions { format: OutputFormat::ArrowStream, shard_size: 256 << 20 },
            columns: Vec::new(),
            output_mode: OutputMode::Overwrite,
            partition: None,
            on_error: OnError::Fail,
            on_null: OnNull::Reject,
            limit: None,
            threads: 1,
        };
        Ok(mask_corpus(&job, self.stop, &|_| ())?.manifest)
    }

    /// `goldfish lab train --resume`.
    pub(crate) fn train(&mut self, options: &TrainOptions, model: &Path) -> Result<Trained, ExperimentError> {
        Ok(train_observed(options, model, self.stop, self.observe)?)
    }

    /// `goldfish audit --resume`. Also returns [`near_dropped`] of its probes.
    pub(crate) fn audit(&mut self, audited: &Audited<'_>) -> Result<(Summary, Option<f64>), ExperimentError> {
        let tokenizer = self.tokenizer.clone();
        let decode = |ids: &[u32]| text(&tokenizer, ids);
        let checkpoint = Checkpoint::open(audited.model, audited.adapter)?;
        let grid = Grid::new(vec![0], None, vec![PREFIX], vec![SUFFIX])?;
        let sample = Sample { starts: Some(audited.samples), seed: 0, allocation: Allocation::Proportional };
        let columns = DocumentOptions { by: Some(FORMATTING.into()), ..DocumentOptions::default() };
        let corpus = Documents::find(&[audited.shards.display().to_string()], columns.clone())?;
        let table = ProbeTable::sample(&corpus, &grid, &sample)?;
        let contamination = Contamination::default();
        let control = match audited.control {
            None => None,
            Some(control) => {
                let held_out = Documents::find(&[control.display().to_string()], columns)?;
                let (control, counts) = match_controls(
                    &table,
                    &corpus,
                    &held_out,
                    &grid,
                    sample.seed,
                    contamination,
                    Some(&decode),
                )?;
                Some((control, counts, contamination))
            }
        };
        let separator = match audited.in_context {
            true => {
                let mut ids = Vec::new();
                tokenizer.encode_into(SEPARATOR, &mut ids)?;
                Some(ids)
            }
            false => None,
        };
        let tested = test(&checkpoint, &table, tokenizer.eos_id())?;
        let model = checkpoint.describe().map_err(goldfish_audit::AuditError::from)?;
        let options = AuditOptions {
            decide: tested.verdict(&model.name)?,
            text: true,
            tokenizer: Some(tokenizer.sha256().to_owned()),
            ..AuditOptions::default()
        };
        let mut config = RunConfig::new(
            ToolEntry::goldfish(),
            model,
            grid,
            sample,
            options,
            &table,
            control.as_ref().map(|(table, counts, contamination)| (table, counts.clone(), *contamination)),
        )
        // Shards and model are made with the experiment's.
        .with_tokens(TokenCheck::same_file(tokenizer.sha256()));
        let mut tables: Vec<&ProbeTable> =
            std::iter::once(&table).chain(control.as_ref().map(|(table, ..)| table)).collect();
        let mut in_prompt = Vec::new();
        if let Some(separator) = separator {
            in_prompt.extend(tables.iter().map(|table| table.in_prompt(&separator)));
            config = config.with_in_context(separator);
        }
        tables.extend(&in_prompt);
        let engine = Engine {
            backend: &checkpoint,
            options: &config.options,
            decode: Some(&decode),
            batch: BATCH,
            segment_rows: 1024,
            stop: self.stop,
        };
        let mut store = RunStore::open(audited.run, &config, &tables, true)?;
        store.origin(&origin(audited, &tokenizer)?)?;
        let tested = store.self_test(tested)?;
        let observe = &mut self.observe;
        engine.run(&tables, &mut store, &mut |progress| {
            observe(Event::Audit { done: progress.done, probes: progress.probes })
        })?;
        Ok((store.finish(&tested)?.summary, near_dropped(&table)))
    }
}

/// Trains, or resumes what was stopped.
pub(crate) fn train_observed(
    options: &TrainOptions,
    model: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<Trained, LabError> {
    train(options, model, true, &mut |event| {
        observe(Event::Train(event));
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// Makes a folder for an experiment with these options, or checks that it was started there. They are in the file `record`.
pub(crate) fn open_folder<O: Serialize + DeserializeOwned + PartialEq>(
    folder: &Path,
    record: &str,
    options: &O,
) -> Result<(), LabError> {
    let path = folder.join(record);
    if path.is_file() {
        if read_record(&path)?.as_ref() != Some(options) {
            return Err(LabError::output(folder, "has an experiment with other options in it"));
        }
    } else if fs::read_dir(folder).is_ok_and(|mut entries| {
        // What an interrupted start leaves.
        let partial = goldfish_storage::partial_name(record);
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != *partial))
    }) {
        return Err(LabError::output(folder, "is not empty and has no such experiment in it"));
    }
    make_folder(folder)?;
    write_json(&path, options)
}

/// Fraction of the suffixes' tokens that are dropped or follow a dropped one.
fn near_dropped(table: &ProbeTable) -> Option<f64> {
    let (mut near, mut all) = (0_u32, 0_u32);
    for mask in table.starts.iter().filter_map(|start| start.mask.as_deref()) {
        for pair in mask.windows(2).skip(PREFIX as usize - 1).take(SUFFIX as usize) {
            near += u32::from(pair.contains(&0));
            all += 1;
        }
    }
    (all > 0).then(|| f64::from(near) / f64::from(all))
}

/// Tests a model with the shortest and the longest start, and the one with the largest id, which must be in the vocabulary.
fn test(
    checkpoint: &Checkpoint,
    table: &ProbeTable,
    eos: Option<u32>,
) -> Result<goldfish_audit::selftest::SelfTest, ExperimentError> {
    let mut starts: Vec<&[u32]> = table.starts.iter().map(|start| start.ids.as_slice()).collect();
    starts.sort_by_key(|ids| ids.len());
    let largest = starts.iter().max_by_key(|ids| ids.iter().max());
    let mut sequences: Vec<&[u32]> =
        starts.first().into_iter().chain(starts.last()).chain(largest).copied().collect();
    sequences.dedup();
    Ok(self_test(
        checkpoint,
        &sequences,
        &SelfTestOptions { bos: None, eos, scheme: None, continuations: true },
    )?)
}

/// Where a run came from, with the command that repeats it.
fn origin(audited: &Audited<'_>, tokenizer: &Tokenizer) -> Result<Origin, ExperimentError> {
    let documents = |folder: &Path| -> Result<DocumentsOrigin, ExperimentError> {
        let manifest = Manifest::read(folder)?;
        Ok(DocumentsOrigin {
            path: folder.display().to_string(),
            manifest: Some(manifest.checksum.clone()),
            rule: Some(manifest.rule.in_short()),
            tokenized_by: None,
        })
    };
    Ok(Origin {
        command: commands::audit(audited, FORMATTING),
        corpus: vec![documents(audited.shards)?],
        control: audited.control.map(documents).transpose()?.into_iter().collect(),
        tokenizer: Some(tokenizer.sha256().to_owned()),
    })
}

/// Text of ids; a model can generate ids that the tokenizer doesn't have.
pub(crate) fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let known: Vec<u32> = ids.iter().copied().filter(|id| tokenizer.token(*id).is_some()).collect();
    tokenizer.decode(&known).unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string())
}

/// Largest file with the options of an experiment that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 24;

pub(crate) fn make_folder(folder: &Path) -> Result<(), LabError> {
    fs::create_dir_all(folder).map_err(LabError::io(folder, "creating the folder"))
}

/// Writes a file, whole or not at all.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<(), LabError> {
    goldfish_storage::replace_file(path, contents).map_err(LabError::io(path, "writing"))
}

/// Reads what [`write_json`] wrote; `None` if it has other fields.
fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LabError> {
    let read = goldfish_storage::read(path, MAX_RECORD_BYTES).map_err(LabError::io(path, "reading"))?;
    Ok(serde_json::from_slice(&read).ok())
}

/// Reads what [`write_json`] wrote in an earlier call.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, LabError> {
    read_record(path)?
        .ok_or_else(|| LabError::folder(path, "was not written by this version; remove it to make it again"))
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LabError> {
    // Strings, numbers and lists only: serialization can't fail.
    let mut json = serde_json::to_vec_pretty(value).unwrap_or_default();
    json.push(b'\n');
    write_whole(path, &json)
}

#[cfg(test)]
mod tests {
    use super::TOKENIZER;

    #[test]
    fn the_tokenizer_is_the_one_of_the_fixtures() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tokenizers/gpt2.json");
        assert!(
            std::fs::read(fixture).unwrap() == TOKENIZER,
            "copy {fixture} to src/experiment/tokenizer.json"
        );
    }
}
