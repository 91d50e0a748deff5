//! Packed samples as shards, whose masks are their answers.

use std::path::Path;

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use goldfish_digest::FileDigest;
use goldfish_mask::rules::NoRule;
use goldfish_mask::{RuleSpec, Scope};
use goldfish_shard::{
    InputEntry, KeptCounter, ListLengths, Manifest, OutputEntry, OutputFormat, OutputMode, ShardError,
    ShardSchema, ShardWriter, SourceEntry, TokenizerEntry, WriterOptions, prepare_folder,
};
use goldfish_tokenize::Tokenizer;
use rand_mt::Mt64;
use serde_json::value::RawValue;

use super::characters::{END_ID, encode};
use super::options::CopyOptions;
use crate::draw::below;
use crate::experiment::error::ExperimentError;

/// Bytes of columns in a shard.
const SHARD_BYTES: u64 = 256 << 20;
/// Documents that are written together.
const BATCH: usize = 1024;

/// Distinguishes the samples of training from those of the evaluations.
const TRAINING: u64 = 1;

/// A packed sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) ids: Vec<i32>,
    /// 1 on answers and the tokens that end them.
    pub(super) mask: Vec<u8>,
}

impl Packed {
    fn add(&mut self, question: &[u32], answer: &[u32]) {
        let tokens = question.iter().chain(answer).chain([&END_ID]);
        self.ids.extend(tokens.map(|id| id.cast_signed()));
        self.mask.extend(std::iter::repeat_n(0, question.len()));
        self.mask.extend(std::iter::repeat_n(1, answer.len() + 1));
    }
}

/// The sequences to train on, until they have the tokens that the options ask for. Each is filled with whole samples.
pub(super) fn sequences(options: &CopyOptions) -> impl Iterator<Item = Packed> + '_ {
    let mut random = Mt64::new_with_key([options.seed, TRAINING]);
    let (mut tokens, mut waiting) = (0, None);
    std::iter::from_fn(move || {
        if tokens >= options.tokens {
            return None;
        }
        let mut packed = Packed::default();
        loop {
            let (question, answer) = waiting.take().unwrap_or_else(|| {
                let lengths = (options.length - options.shortest + 1) as u64;
                let length = options.shortest + below(&mut random, lengths) as usize;
                encode(&options.shape.sample(&mut random, length))
            });
            let size = question.len() + answer.len() + 1;
            // The longest sample fits into an empty sequence.
            if !packed.ids.is_empty() && packed.ids.len() + size > options.context {
                waiting = Some((question, answer));
                tokens += packed.ids.len() as u64;
                return Some(packed);
            }
            packed.add(&question, &answer);
        }
    })
}

/// Writes the sequences as a folder of shards, each a document.
pub(super) fn write(
    folder: &Path,
    options: &CopyOptions,
    tokenizer: &Tokenizer,
) -> Result<(), ExperimentError> {
    let writer = WriterOptions { format: OutputFormat::ArrowStream, shard_size: SHARD_BYTES };
    let mut manifest = manifest(options, tokenizer, &writer);
    let Some(prepared) = prepare_folder(folder, OutputMode::Overwrite)?.folder() else { return Ok(()) };
    let schema = ShardSchema::new(&[], &[]);
    let mut writer = ShardWriter::new(prepared, schema.clone(), writer, state());
    let mut kept = KeptCounter::new(None);
    let mut sequences = sequences(options);
    loop {
        let batch: Vec<Packed> = sequences.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let rows = (kept.documents()..).take(batch.len());
        let names: Vec<String> = rows.map(|row| format!("{}:{row}", CopyOptions::RECORD)).collect();
        names.iter().zip(&batch).for_each(|(name, packed)| kept.add(name, &packed.mask));
        let offsets = OffsetBuffer::from_lengths(batch.iter().map(|packed| packed.ids.len()));
        let ids: Vec<i32> = batch.iter().flat_map(|packed| packed.ids.iter().copied()).collect();
        let mask: Vec<u8> = batch.iter().flat_map(|packed| packed.mask.iter().copied()).collect();
        let names = StringArray::from(names);
        let batch = schema
            .batch(names, offsets, ids.into(), mask.into(), Vec::new())
            .map_err(|source| ShardError::Arrow { path: folder.to_owned(), source })?;
        writer.write(&batch, 0, ListLengths::default(), state)?;
    }
    manifest.totals.documents_in = kept.documents();
    manifest.inputs = vec![input(options, kept.documents())];
    manifest.longest_kept_run = Some(kept.runs().clone());
    writer.finish(manifest, state()).map_err(|(error, _)| error)?;
    Ok(())
}

/// The options, which the documents were made from.
fn input(options: &CopyOptions, documents: u64) -> InputEntry {
    // Strings and numbers only: serialization can't fail.
    let FileDigest { size, hash } = FileDigest::of(&serde_json::to_vec(options).unwrap_or_default());
    InputEntry {
        name: CopyOptions::RECORD.into(),
        format: "samples".into(),
        size,
        hash,
        companions: Vec::new(),
        documents,
        rejected: 0,
        rows: None,
        broken: false,
    }
}

/// What the journal says: a stopped run is made again.
fn state() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn manifest(options: &CopyOptions, tokenizer: &Tokenizer, writer: &WriterOptions) -> Manifest {
    let source = SourceEntry {
        existing_mask: None,
        content: "ids".into(),
        column: "input_ids".into(),
        id_column: None,
        ids_dtype: None,
        eos_id: None,
        max_document: 4 * options.context as u64,
        limit: None,
    };
    let output = OutputEntry {
        format: writer.format,
        columns: Vec::new(),
        carry: Vec::new(),
        shard_size: writer.shard_size,
    };
    Manifest {
        existing_mask: Some(format!("the answers of {}", options.shape.task.name())),
        tokenizer: Some(TokenizerEntry {
            sha256: tokenizer.sha256().to_owned(),
            vocab_size: tokenizer.vocab_size(),
            prepended_bos: None,
            appended_eos: None,
            special_in_text: None,
        }),
        ..Manifest::new(RuleSpec::new(NoRule::new()), Scope::Document, source, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::characters::BEGIN_ID;
    use crate::copy::tasks::CopyTask;

    #[test]
    fn masks_are_the_answers_and_sequences_are_full() {
        for task in CopyTask::ALL {
            let options = CopyOptions { tokens: 20_000, ..CopyOptions::new(task, 20) };
            let all: Vec<Packed> = sequences(&options).collect();
            assert_eq!(all, sequences(&options).collect::<Vec<_>>());
            let tokens: usize = all.iter().map(|packed| packed.ids.len()).sum();
            assert!((20_000..20_000 + options.context).contains(&tokens), "{tokens}");
            let mut lengths = std::collections::BTreeSet::new();
            for packed in &all {
                assert!(packed.ids.len() <= options.context);
                assert!(packed.ids.len() + options.shape.characters(20) + 2 > options.context);
                // Every sample: begin, a question without targets, an answer with targets, end.
                for sample in packed.ids.split_inclusive(|id| *id == END_ID.cast_signed()) {
                    assert_eq!(sample[0], BEGIN_ID.cast_signed());
                    lengths.insert(sample.len());
                }
                let mut position = 0;
                for sample in packed.ids.split_inclusive(|id| *id == END_ID.cast_signed()) {
                    let mask = &packed.mask[position..position + sample.len()];
                    let first = mask.iter().position(|kept| *kept == 1).unwrap();
                    assert!(mask[first..].iter().all(|kept| *kept == 1));
                    let answer = match task {
                        CopyTask::Copy | CopyTask::Duplicates => (sample.len() - 3) / 2,
                        _ => options.shape.answer,
                    };
                    assert_eq!(mask.len() - first, answer + 1);
                    position += sample.len();
                }
            }
            let range = options.shortest..=options.length;
            assert_eq!(lengths.len(), range.count(), "every length is trained on");
        }
    }
}
