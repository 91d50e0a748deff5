use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::UInt8Type;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use goldfish_digest::{FileDigest, HashingWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::folder::{PreparedFolder, publish, rename, shard_name, stage, sync_folder};
use crate::manifest::{MANIFEST_NAME, Manifest, REJECTS_NAME, RejectsEntry, ShardEntry};
use crate::schema::{ExtraColumn, OutputFormat, ShardSchema};
use crate::{ShardError, hf};

/// How shards are written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// File format.
    pub format: OutputFormat,
    /// A shard is closed before it exceeds this, in bytes of columns; one document at least goes in.
    pub shard_size: u64,
}

/// Parquet row groups are closed at about this size, in bytes.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes a set of shards. Nothing appears at a final name before [`ShardWriter::finish`].
pub struct ShardWriter {
    folder: PreparedFolder,
    schema: ShardSchema,
    options: WriterOptions,
    open: Option<OpenShard>,
    done: Vec<StagedShard>,
    rejects: Option<(HashingWriter<BufWriter<File>>, u64)>,
}

/// A complete shard under its staging name.
struct StagedShard {
    path: PathBuf,
    digest: FileDigest,
    counts: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    documents: u64,
    tokens: u64,
    dropped: u64,
}

impl ShardWriter {
    /// A writer into a folder from [`prepare_folder`](crate::prepare_folder).
    #[must_use]
    pub fn new(folder: PreparedFolder, schema: ShardSchema, options: WriterOptions) -> Self {
        Self { folder, schema, options, open: None, done: Vec::new(), rejects: None }
    }

    /// Appends documents; a batch may be spread over several shards.
    ///
    /// # Errors
    ///
    /// If the batch doesn't have the writer's schema, or the disk refuses.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ShardError> {
        let per_row = RowSizes::new(&self.schema, batch);
        let mut start = 0;
        while start < batch.num_rows() {
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(OpenShard::create(
                    &self.folder,
                    self.done.len(),
                    &self.schema,
                    &self.options,
                )?),
            };
            let room = self.options.shard_size.saturating_sub(open.bytes);
            let mut end = per_row.rows_that_fit(start, room);
            if end == start && open.counts.documents == 0 {
                end += 1;
            }
            if end > start {
                open.write(&batch.slice(start, end - start), per_row.bytes(start, end))?;
                start = end;
            }
            if start < batch.num_rows() {
                self.close_shard()?;
            }
        }
        Ok(())
    }

    /// Appends lines to the list of rejected rows.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn write_reject(&mut self, json: &str) -> Result<(), ShardError> {
        let path = self.folder.staging.join(REJECTS_NAME);
        let (writer, rows) = match &mut self.rejects {
            Some(rejects) => rejects,
            None => {
                let file = File::create(&path).map_err(ShardError::io(&path, "creating"))?;
                self.rejects.insert((HashingWriter::new(BufWriter::new(file)), 0))
            }
        };
        writer
            .write_all(json.as_bytes())
            .and_then(|()| writer.write_all(b"\n"))
            .map_err(ShardError::io(&path, "writing"))?;
        *rows += 1;
        Ok(())
    }

    /// Completes the set: everything is brought to disk in the staging folder, then the files get their final
    /// names, the manifest last. Shards, rejects, the output totals and the checksum of `manifest` are
    /// filled in.
    ///
    /// # Errors
    ///
    /// If the disk refuses; then the folder is as it was before the run.
    pub fn finish(mut self, manifest: Manifest) -> Result<Manifest, ShardError> {
        let finished = self.stage_all(manifest).and_then(|(manifest, names)| {
            publish(&self.folder, &names)?;
            Ok(manifest)
        });
        if finished.is_err() {
            self.abandon();
        }
        finished
    }

    /// Brings every file to disk under its final name in the staging folder; returns the names in the order in
    /// which they are to appear.
    fn stage_all(&mut self, mut manifest: Manifest) -> Result<(Manifest, Vec<String>), ShardError> {
        if self.done.is_empty() && self.open.is_none() {
            // Readers want one shard at least, if only for its schema.
            self.open = Some(OpenShard::create(&self.folder, 0, &self.schema, &self.options)?);
        }
        self.close_shard()?;
        let count = self.done.len();
        manifest.shards.clear();
        for (index, shard) in self.done.iter().enumerate() {
            let name = shard_name(index, count, self.options.format.extension());
            rename(&shard.path, &self.folder.staging.join(&name))?;
            let Counts { documents, tokens, dropped } = shard.counts;
            let FileDigest { size, hash } = shard.digest.clone();
            manifest.totals.documents_out += documents;
            manifest.totals.tokens += tokens;
            manifest.totals.dropped += dropped;
            manifest.shards.push(ShardEntry { name, size, hash, documents, tokens, dropped });
        }
        let mut names: Vec<String> = manifest.shards.iter().map(|shard| shard.name.clone()).collect();
        manifest.rejects = self.finish_rejects()?;
        if manifest.rejects.is_some() {
            names.push(REJECTS_NAME.into());
        }
        let (manifest, bytes) = manifest.seal();
        if self.options.format == OutputFormat::ArrowStream {
            stage(&self.folder, "state.json", &hf::state(&manifest))?;
            stage(&self.folder, "dataset_info.json", &hf::dataset_info())?;
            names.extend(["state.json".into(), "dataset_info.json".into()]);
        }
        stage(&self.folder, MANIFEST_NAME, &bytes)?;
        names.push(MANIFEST_NAME.into());
        sync_folder(&self.folder.staging)?;
        Ok((manifest, names))
    }

    /// Gives up: see [`PreparedFolder::abandon`].
    pub fn abandon(self) {
        let Self { folder, open, rejects, .. } = self;
        drop((open, rejects));
        folder.abandon();
    }

    fn close_shard(&mut self) -> Result<(), ShardError> {
        if let Some(open) = self.open.take() {
            self.done.push(open.close()?);
        }
        Ok(())
    }

    fn finish_rejects(&mut self) -> Result<Option<RejectsEntry>, ShardError> {
        let Some((writer, rows)) = self.rejects.take() else { return Ok(None) };
        let staged = self.folder.staging.join(REJECTS_NAME);
        let (FileDigest { size, hash }, file) = writer.finish();
        let file = file.into_inner().map_err(|e| ShardError::io(&staged, "writing")(e.into_error()))?;
        file.sync_all().map_err(ShardError::io(&staged, "flushing to disk"))?;
        Ok(Some(RejectsEntry { rows, size, hash }))
    }
}

/// What each row weighs, in bytes of columns.
struct RowSizes {
    /// Weight of the rows before each row; one more than rows.
    ends: Vec<u64>,
}

impl RowSizes {
    fn new(schema: &ShardSchema, batch: &RecordBatch) -> Self {
        let per_token: u64 =
            5 + schema.extra().iter().map(|c| if *c == ExtraColumn::Labels { 4 } else { 1 }).sum::<u64>();
        let fixed = 2 + schema.extra().len();
        let per_row = 4 * fixed as u64 + 4;
        let ids = batch.column(1).as_list::<i32>().value_offsets();
        let names = batch.column(0).as_string::<i32>().value_offsets();
        let (id0, name0) = (ids[0], names[0]);
        // Carried columns count with their mean, which is all that is known of every type.
        let weight = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
        let carried: usize = batch.columns()[1 + fixed..].iter().map(weight).sum();
        let carried = (carried / batch.num_rows().max(1)) as u64;
        let ends = ids.iter().zip(names).enumerate().map(|(row, (&id, &name))| {
            (id - id0) as u64 * per_token + (name - name0) as u64 + row as u64 * (per_row + carried)
        });
        Self { ends: ends.collect() }
    }

    fn bytes(&self, start: usize, end: usize) -> u64 {
        self.ends[end] - self.ends[start]
    }

    /// The first row behind `start` that no longer fits `room` bytes.
    fn rows_that_fit(&self, start: usize, room: u64) -> usize {
        let limit = self.ends[start].saturating_add(room);
        self.ends.partition_point(|&end| end <= limit) - 1
    }
}

/// A shard that is being written.
struct OpenShard {
    path: PathBuf,
    encoder: Encoder,
    bytes: u64,
    counts: Counts,
}

type Sink = BufWriter<HashingWriter<File>>;

enum Encoder {
    Stream(Box<StreamWriter<Sink>>),
    File(Box<FileWriter<Sink>>),
    Parquet(Box<ArrowWriter<Sink>>),
}

impl OpenShard {
    fn create(
        folder: &PreparedFolder,
        index: usize,
        schema: &ShardSchema,
        options: &WriterOptions,
    ) -> Result<Self, ShardError> {
        let path = folder.staging.join(format!("shard-{index:05}"));
        let file = File::create(&path).map_err(ShardError::io(&path, "creating"))?;
        let sink = BufWriter::with_capacity(1 << 20, HashingWriter::new(file));
        let schema = schema.arrow();
        let encoder = match options.format {
            OutputFormat::ArrowStream => Encoder::Stream(Box::new(
                StreamWriter::try_new(sink, schema).map_err(ShardError::arrow(&path))?,
            )),
            OutputFormat::ArrowFile => {
                Encoder::File(Box::new(FileWriter::try_new(sink, schema).map_err(ShardError::arrow(&path))?))
            }
            OutputFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_created_by("goldfish".into())
                    .build();
                let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties));
                Encoder::Parquet(Box::new(writer.map_err(ShardError::parquet(&path))?))
            }
        };
        Ok(Self { path, encoder, bytes: 0, counts: Counts::default() })
    }

    fn write(&mut self, batch: &RecordBatch, bytes: u64) -> Result<(), ShardError> {
        let path = &self.path;
        match &mut self.encoder {
            Encoder::Stream(writer) => writer.write(batch).map_err(ShardError::arrow(path))?,
            Encoder::File(writer) => writer.write(batch).map_err(ShardError::arrow(path))?,
            Encoder::Parquet(writer) => {
                writer.write(batch).map_err(ShardError::parquet(path))?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush().map_err(ShardError::parquet(path))?;
                }
            }
        }
        self.bytes += bytes;
        let masks = batch.column(2).as_list::<i32>();
        let ends = masks.value_offsets();
        let (first, last) = (ends[0] as usize, ends[batch.num_rows()] as usize);
        let mask = &masks.values().as_primitive::<UInt8Type>().values()[first..last];
        self.counts.documents += batch.num_rows() as u64;
        self.counts.tokens += mask.len() as u64;
        self.counts.dropped += mask.iter().map(|&keep| u64::from(keep == 0)).sum::<u64>();
        Ok(())
    }

    /// Ends the file and brings it to disk.
    fn close(self) -> Result<StagedShard, ShardError> {
        let path = self.path;
        let sink = match self.encoder {
            Encoder::Stream(mut writer) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(ShardError::arrow(&path))?
            }
            Encoder::File(mut writer) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(ShardError::arrow(&path))?
            }
            Encoder::Parquet(writer) => writer.into_inner().map_err(ShardError::parquet(&path))?,
        };
        let hashing = sink.into_inner().map_err(|e| ShardError::io(&path, "writing")(e.into_error()))?;
        let (digest, file) = hashing.finish();
        file.sync_all().map_err(ShardError::io(&path, "flushing to disk"))?;
        Ok(StagedShard { path, digest, counts: self.counts })
    }
}
