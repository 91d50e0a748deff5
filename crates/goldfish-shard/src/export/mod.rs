//! Shards to the layouts that training loops read.

mod hf;
mod layout;
mod lists;
mod memmaps;
mod packed;
mod parquet_file;
mod torchtune;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish_digest::{FileDigest, HashingReader};
use goldfish_storage::{File, canonicalize};

use self::layout::Exporter;
pub use self::layout::{Layout, TokenType};
use crate::error::{ExportError, MAX_SEQUENCE_LENGTH};
use crate::file_set::{FILE_SET_VERSION, FileSet, SetFile};
use crate::manifest::{MANIFEST_NAME, Manifest, ShardEntry};
use crate::staged::{Placement, StagedFiles};
use crate::verify::check_columns;
use crate::{OutputMode, ShardError, ShardReader};

/// How to export.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// Where to.
    pub layout: Layout,
    /// The type of token ids; `None` takes the smallest that holds the vocabulary.
    pub token_type: Option<TokenType>,
    /// Tokens in a packed sequence, for [`Layout::Bridge`] and [`Layout::Levanter`] alone; at most [`MAX_SEQUENCE_LENGTH`].
    pub sequence_length: Option<u32>,
    /// Whether to replace an earlier export.
    pub overwrite: bool,
}

/// Writes a folder of shards in another layout. What is written depends on the shards and the options alone.
///
/// `observe` gets the bytes of the shards that are done. The export ends early when `stop` becomes true.
///
/// # Errors
///
/// If the folder is no sound folder of shards, an id doesn't fit its type, the options don't fit the layout, the output
/// holds something else, or the disk refuses. After an error nothing new has a final name.
pub fn export(
    folder: &Path,
    output: &Path,
    options: &ExportOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(u64),
) -> Result<FileSet, ShardError> {
    let manifest = Manifest::read(folder)?;
    if !manifest.is_sealed() {
        let reason = "edited: its checksum is not that of its contents; restore it, or mask again".into();
        return Err(ShardError::BadManifest { path: folder.join(MANIFEST_NAME), reason });
    }
    let job = Job::new(folder, &manifest, options)?;
    if lies_in(output, folder) {
        return Err(ShardError::Export { path: output.to_owned(), error: ExportError::OutputInside });
    }
    let start = if options.overwrite { OutputMode::Overwrite } else { OutputMode::New };
    let (files, _) = StagedFiles::open(output, Placement::OwnFolder, start)?;
    match job.write(&files, stop, observe) {
        Ok(written) => files.publish(job.file_set(written)).map_err(|(error, _)| error),
        Err(error) => {
            files.abandon();
            Err(error)
        }
    }
}

/// Whether a path, which need not exist, leads into a folder.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let Ok(absolute) = goldfish_storage::absolute(path) else { return false };
    let existing = absolute.ancestors().find_map(|ancestor| canonicalize(ancestor).ok());
    let folder = canonicalize(folder).ok();
    existing.zip(folder).is_some_and(|(existing, folder)| existing.starts_with(folder))
}

/// What an exporter needs to know.
struct Job<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    options: &'a ExportOptions,
    token_type: TokenType,
    sequence_length: u32,
}

impl<'a> Job<'a> {
    fn new(folder: &'a Path, manifest: &'a Manifest, options: &'a ExportOptions) -> Result<Self, ShardError> {
        let refuse = |error| Err(ShardError::Export { path: folder.to_owned(), error });
        let (layout, types) = (options.layout, options.layout.token_types());
        if let Some(wanted) = options.token_type
            && !types.contains(&wanted)
        {
            let allowed: Vec<_> = types.iter().map(|t| t.name()).collect();
            let allowed = if allowed.is_empty() { "int32 only".into() } else { allowed.join(" or ") };
            let (layout, given) = (layout.name(), wanted.name());
            return refuse(ExportError::TokenType { layout, allowed, given });
        }
        let sequence_length = match (layout, options.sequence_length) {
            (Layout::Bridge | Layout::Levanter, Some(length)) if length > MAX_SEQUENCE_LENGTH => {
                return refuse(ExportError::SequenceTooLong { length });
            }
            (Layout::Bridge | Layout::Levanter, Some(length)) if length >= 2 => length,
            (Layout::Bridge | Layout::Levanter, _) => {
                return refuse(ExportError::NoSequenceLength { layout: layout.name() });
            }
            (_, None) => 0,
            (_, Some(_)) => {
                return refuse(ExportError::NotPacked { layout: layout.name() });
            }
        };
        if manifest.totals.tokens == 0 {
            return refuse(ExportError::NoTokens);
        }
        if manifest.totals.fractional > 0 && !layout.takes_weights() {
            let (layout, tokens) = (layout.name(), manifest.totals.fractional);
            return refuse(ExportError::Fractions { layout, tokens });
        }
        let small = manifest.tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.vocab_size <= 1 << 16)
            || matches!(manifest.source.ids_dtype.as_deref(), Some("uint8" | "uint16"));
        let default = if small { types.last() } else { types.first() };
        let token_type = options.token_type.or(default.copied()).unwrap_or(TokenType::Int32);
        Ok(Self { folder, manifest, options, token_type, sequence_length })
    }

    fn exporter<'f>(&self, files: &'f StagedFiles) -> Result<Box<dyn Exporter + 'f>, ShardError> {
        let shards = self.manifest.shards.len();
        Ok(match self.options.layout {
            Layout::Megatron => Box::new(memmaps::Megatron::new(files, self.token_type, false)?),
            Layout::MegatronLabels | Layout::Neox => {
                Box::new(memmaps::Megatron::new(files, self.token_type, true)?)
            }
            Layout::Olmo => Box::new(memmaps::Olmo::new(files, self.token_type)),
            Layout::Datatrove => Box::new(memmaps::Datatrove::new(files, self.token_type)),
            layout @ (Layout::Bridge | Layout::Levanter) => {
                let fractions = self.manifest.totals.fractional > 0;
                Box::new(packed::Packed::new(files, layout, self.sequence_length, fractions))
            }
            Layout::Torchtune => Box::new(torchtune::Torchtune::new(files, shards)),
            Layout::Hf => Box::new(hf::Hf::new(files, shards, &self.manifest.checksum)),
        })
    }

    fn write(
        &self,
        files: &StagedFiles,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(u64),
    ) -> Result<Vec<SetFile>, ShardError> {
        let mut exporter = self.exporter(files)?;
        let mut done = 0;
        for (index, shard) in self.manifest.shards.iter().enumerate() {
            exporter.begin(index, shard)?;
            self.write_shard(shard, exporter.as_mut(), stop)?;
            exporter.end()?;
            done += shard.size;
            observe(done);
        }
        let (written, tokens) = exporter.finish()?;
        if tokens != self.manifest.totals.tokens {
            let error = ExportError::Miscounted { written: tokens, expected: self.manifest.totals.tokens };
            return Err(ShardError::Export { path: self.folder.to_owned(), error });
        }
        Ok(written)
    }

    fn write_shard(
        &self,
        shard: &ShardEntry,
        exporter: &mut dyn Exporter,
        stop: &AtomicBool,
    ) -> Result<(), ShardError> {
        let path = self.folder.join(&shard.name);
        let bad = |reason: String| ShardError::BadShard { path: path.clone(), reason };
        let file = match File::open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(bad("not a regular file; verify the folder".into()));
            }
            opened => opened.map_err(ShardError::io(&path, "opening"))?,
        };
        let (file, metadata) = file;
        if metadata.size != shard.size {
            return Err(bad(format!(
                "has {} bytes, but {} were written; verify the folder",
                metadata.size, shard.size
            )));
        }
        let (digest, _) = HashingReader::new(file).finish().map_err(ShardError::io(&path, "reading"))?;
        if digest != (FileDigest { size: shard.size, hash: shard.hash.clone() }) {
            return Err(bad("not as it was written; verify the folder".into()));
        }
        let reader = ShardReader::open(&path, self.manifest.output.format)?;
        let extra = &self.manifest.output.columns;
        let (mut rows, mut tokens, mut dropped) = (0, 0, 0);
        for batch in reader {
            if stop.load(Ordering::Relaxed) {
                return Err(ShardError::Interrupted);
            }
            let batch = batch?;
            if batch.record_batch().num_columns() < 3 + extra.len() {
                return Err(bad("it lacks columns; verify the folder".into()));
            }
            if let Some(problem) = check_columns(batch.record_batch(), extra) {
                return Err(bad(format!("{problem}, in the {} rows after row {rows}", batch.len())));
            }
            for row in 0..batch.len() {
                if let Some(position) = batch.negative_id(row) {
                    return Err(bad(format!(
                        "row {}: the id at position {position} is negative",
                        rows + row as u64
                    )));
                }
                let mut weights = batch.weights(row).into_iter().flatten();
                if self.manifest.totals.fractional == 0
                    && weights.any(|weight| *weight != 0.0 && *weight != 1.0)
                {
                    return Err(bad(format!(
                        "row {}: a loss weight is neither 0 nor 1, which the manifest doesn't say; verify the folder",
                        rows + row as u64
                    )));
                }
                tokens += batch.ids(row).len() as u64;
                dropped += batch.mask(row).iter().map(|&keep| u64::from(keep == 0)).sum::<u64>();
            }
            exporter.write(&batch, &shard.name, rows)?;
            rows += batch.len() as u64;
        }
        if (rows, tokens, dropped) != (shard.documents, shard.tokens, shard.dropped) {
            return Err(bad(format!(
                "{rows} documents with {tokens} tokens, {dropped} of them dropped, but {}, {} and {} expected",
                shard.documents, shard.tokens, shard.dropped
            )));
        }
        Ok(())
    }

    fn file_set(&self, files: Vec<SetFile>) -> FileSet {
        let manifest = self.manifest.clone();
        FileSet {
            file_set_version: FILE_SET_VERSION,
            tool: manifest.tool,
            layout: self.options.layout.name().into(),
            rule: manifest.rule,
            policy: manifest.policy,
            scope: manifest.scope,
            exempt_ids: manifest.exempt_ids,
            existing_mask: manifest.existing_mask,
            tokenizer: manifest.tokenizer,
            source: manifest.source,
            sequence_length: Some(self.sequence_length).filter(|&length| length > 0),
            shards: Some(manifest.checksum),
            beside_inputs: false,
            inputs: Vec::new(),
            input_table: None,
            files,
            file_table: None,
            totals: manifest.totals,
            longest_kept_run: manifest.longest_kept_run,
            checksum: String::new(),
        }
    }
}
