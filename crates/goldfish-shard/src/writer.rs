use std::io;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::UInt8Type;
use goldfish_digest::FileDigest;
use goldfish_storage::{Metadata, metadata_of_all};
use serde_json::value::RawValue;

use crate::blocks::BlockWriter;
use crate::encoder::Encoder;
use crate::flush::FlushedFile;
use crate::folder::{complete, publish};
use crate::journal::{ClosedShards, FinishedFiles, Journal, Record, RecordedList, Unfinished};
use crate::lists::{LineList, List};
use crate::manifest::{MANIFEST_NAME, Manifest, ShardEntry, check_count};
use crate::names::{INPUTS_NAME, JOURNAL_NAME, StagedName, shard_name, staged_name};
use crate::passages::{PassageRow, stage_list};
use crate::schema::{ExtraColumn, OutputFormat, ShardSchema};
use crate::staging::{PreparedFolder, stage};
use crate::table::{self, MAX_LISTED_INPUTS};
use crate::{ShardError, disk, hf};

#[derive(Clone, Copy, Default)]
struct Counts {
    documents: u64,
    tokens: u64,
    dropped: u64,
}

/// How shards are written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// File format.
    pub format: OutputFormat,
    /// A shard is closed before it exceeds this, in bytes of columns; one document at least goes in.
    pub shard_size: u64,
}

/// Largest shard size that may be asked for where shards go to an object store, in bytes: a shard gets its final name by a
/// copy in the store, stores copy 5 GiB at once, and a file is a little larger than its columns.
pub const MAX_STORE_SHARD_BYTES: u64 = 4 << 30;

/// How long the lists are that grow while shards are written, each in bytes and lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListLengths {
    /// The list of rejected rows.
    pub rejects: (u64, u64),
    /// The list of protected passages.
    pub passages: (u64, u64),
}

/// Writes a set of shards. Nothing appears at a final name before [`ShardWriter::finish`].
///
/// A shard that is closed is on the disk, and the journal says so, together with what the caller needs to resume
/// after it.
pub struct ShardWriter {
    folder: PreparedFolder,
    schema: ShardSchema,
    options: WriterOptions,
    journal: Journal,
    open: Option<OpenShard>,
    /// Closed shards by their staged names.
    done: Vec<ShardEntry>,
    /// How many of them the journal knows.
    recorded: usize,
    rejects: Option<LineList>,
    passages: Option<LineList>,
    /// Whether the journal can't know the others, because another run took over.
    lost: bool,
}

impl ShardWriter {
    /// A writer into a folder from [`prepare_folder`](crate::prepare_folder). `job` says in JSON what is done.
    #[must_use]
    pub fn new(
        folder: PreparedFolder,
        schema: ShardSchema,
        options: WriterOptions,
        job: Box<RawValue>,
    ) -> Self {
        let journal = Journal::new(&folder, job);
        let (open, done, recorded, lost) = (None, Vec::new(), 0, false);
        let (rejects, passages) = (None, None);
        Self { folder, schema, options, journal, open, done, recorded, rejects, passages, lost }
    }

    /// A writer that resumes after the finished shards of an unfinished run. What else is staged is removed; in a store
    /// that is done in the end.
    ///
    /// # Errors
    ///
    /// If finished shards are gone, another run resumed after them, or the disk refuses.
    pub fn resume(
        mut folder: PreparedFolder,
        schema: ShardSchema,
        options: WriterOptions,
        unfinished: Unfinished,
    ) -> Result<Self, ShardError> {
        unfinished.take_over(&mut folder)?;
        unfinished.check_staged(&folder)?;
        // In a store no name comes again, and what is there may be of a run that is just being recorded.
        if !folder.is_remote() {
            let names: Vec<&str> = unfinished.shards.iter().map(|shard| shard.name.as_str()).collect();
            let kept = [JOURNAL_NAME, List::Rejects.name(), List::Passages.name()];
            folder.clear(|name| names.contains(&name) || kept.contains(&name))?;
        }
        let journal = Journal::resume(&folder, &unfinished)?;
        let rejects = LineList::resume(&folder, List::Rejects, &unfinished.rejects)?;
        let passages = LineList::resume(&folder, List::Passages, &unfinished.passages)?;
        let recorded = unfinished.shards.len();
        let (open, done, lost) = (None, unfinished.shards, false);
        Ok(Self { folder, schema, options, journal, open, done, recorded, rejects, passages, lost })
    }

    /// How long the lists are so far.
    #[must_use]
    pub fn lists(&self) -> ListLengths {
        ListLengths {
            rejects: LineList::written(self.rejects.as_ref()),
            passages: LineList::written(self.passages.as_ref()),
        }
    }

    /// Appends the rows of a batch from `first` on, those before being in finished shards; they may be spread over
    /// several shards. Where one is closed, the journal gets `lists` (what [`ShardWriter::lists`] was before
    /// the batch) and `state`, with which the caller can write the same batch again.
    ///
    /// # Errors
    ///
    /// If the batch doesn't have the writer's schema, or the disk refuses.
    pub fn write(
        &mut self,
        batch: &RecordBatch,
        first: u64,
        lists: ListLengths,
        state: impl FnOnce() -> Box<RawValue>,
    ) -> Result<(), ShardError> {
        let per_row = RowSizes::new(&self.schema, batch);
        let mut start = usize::try_from(first).unwrap_or(usize::MAX).min(batch.num_rows());
        let mut in_closed = start;
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
                in_closed = start;
            }
        }
        if self.recorded < self.done.len() {
            self.record(in_closed as u64, lists, state())?;
        }
        Ok(())
    }

    /// Records the shards that were closed since the last record.
    fn record(&mut self, rows: u64, lists: ListLengths, state: Box<RawValue>) -> Result<(), ShardError> {
        let ListLengths { rejects, passages } = lists;
        let rejected = LineList::record(&mut self.rejects, rejects.0)?;
        let passage_lines = LineList::record(&mut self.passages, passages.0)?;
        disk::sync_folder(&self.folder.staging)?;
        let shards = self.done[self.recorded..].to_vec();
        let closed = ClosedShards { shards, rows, rejects, rejected, passages, passage_lines, state };
        self.append(&Record::Shards(closed))
    }

    /// Adds a record; then all closed shards are in the journal.
    fn append(&mut self, record: &Record) -> Result<(), ShardError> {
        let recorded = self.journal.append(&self.folder, record);
        self.lost = matches!(recorded, Err(ShardError::Occupied { .. }));
        recorded.map(|()| self.recorded = self.done.len())
    }

    /// Appends lines to the list of rejected rows.
    ///
    /// # Errors
    ///
    /// If the disk refuses, or the list gets too long for a store.
    pub fn write_reject(&mut self, json: &str) -> Result<(), ShardError> {
        LineList::add(&mut self.rejects, &self.folder, List::Rejects, json)
    }

    /// Appends passages of documents to the list of which [`ShardWriter::finish`] makes the table of protected passages. The
    /// manifest must have protected works then.
    ///
    /// # Errors
    ///
    /// If the disk refuses, or the list gets too long for a store.
    pub fn write_passages(&mut self, rows: &[PassageRow]) -> Result<(), ShardError> {
        rows.iter().try_for_each(|row| {
            LineList::add(&mut self.passages, &self.folder, List::Passages, &row.to_line())
        })
    }

    /// Completes the set: everything is brought to disk in the staging folder, then the files get their final
    /// names, the manifest last. Shards, rejects, the output totals and the checksum of `manifest` are
    /// filled in, and where it has protected works their table and the number of passages. `state` goes to the journal,
    /// for a run that is resumed when only the names are missing.
    ///
    /// # Errors
    ///
    /// If the disk refuses, or passages were written but `manifest` has no protected works; then the folder is as it was
    /// before the run, with what is staged.
    pub fn finish(
        mut self,
        manifest: Manifest,
        state: Box<RawValue>,
    ) -> Result<Manifest, (ShardError, Option<FinishedFiles>)> {
        let finished = self.stage_all(manifest).and_then(|(manifest, names)| {
            self.append(&Record::Finished { names: names.clone(), state })?;
            publish(&mut self.folder, &mut self.journal, &names)?;
            Ok(manifest)
        });
        finished.map_err(|error| (error, self.stop()))
    }

    /// Brings every file to disk in the staging folder; returns the staged and the final names in the order in
    /// which the latter are to appear.
    fn stage_all(&mut self, mut manifest: Manifest) -> Result<(Manifest, Vec<StagedName>), ShardError> {
        if self.done.is_empty() && self.open.is_none() {
            // Readers want one shard at least, if only for its schema.
            self.open = Some(OpenShard::create(&self.folder, 0, &self.schema, &self.options)?);
        }
        self.close_shard()?;
        let count = self.done.len();
        let mut names = Vec::new();
        manifest.shards.clear();
        for (index, shard) in self.done.iter().enumerate() {
            let name = shard_name(index, count, self.options.format.extension());
            manifest.totals.documents_out += shard.documents;
            manifest.totals.tokens += shard.tokens;
            manifest.totals.dropped += shard.dropped;
            names.push((shard.name.clone(), name.clone()));
            manifest.shards.push(ShardEntry { name, ..shard.clone() });
        }
        if let Some(rejects) = self.rejects.take() {
            let (entry, name) = rejects.finish(&self.folder)?;
            manifest.rejects = Some(entry);
            names.push(name);
        }
        match (&mut manifest.protected, self.passages.take()) {
            (Some(protected), passages) => {
                let (table, name) = stage_list(&self.folder, passages)?;
                protected.counts.passages = table.rows;
                protected.table = Some(table);
                names.push(name);
            }
            (None, Some(_)) => {
                let reason = "would list no protected works, but passages that copy some were written".into();
                return Err(ShardError::BadManifest { path: self.folder.path().join(MANIFEST_NAME), reason });
            }
            (None, None) => {}
        }
        let manifest = stage_manifest(&self.folder, manifest, &mut names)?;
        Ok((manifest, names))
    }

    /// Gives up the shard that is open. What is in the journal stays for another run to resume after; if that is
    /// nothing, see [`PreparedFolder::abandon`].
    pub fn stop(self) -> Option<FinishedFiles> {
        let Self { folder, journal, open, mut done, recorded, rejects, passages, lost, .. } = self;
        drop((rejects, passages));
        if let Some(open) = open {
            let name = open.name.clone();
            drop(open);
            // Best effort, to make room where the disk is full.
            let _ = disk::remove(&folder.staging, &name);
        }
        if lost {
            // Nobody else knows of what is staged under this run's names and in no record. Best effort, as above.
            let known = |name: &String| done[..recorded].iter().any(|shard| shard.name == *name);
            let staged = disk::names(&folder.staging).unwrap_or_default();
            let own = staged.iter().filter(|name| name.ends_with(&folder.lock.suffix()) && !known(name));
            own.for_each(|name| drop(disk::remove(&folder.staging, name)));
        }
        if matches!(folder.lock.check(), Err(ShardError::Occupied { .. })) {
            return None;
        }
        if !journal.is_started() || recorded == 0 || !(folder.is_remote() || folder.staging.path().exists()) {
            folder.abandon();
            return None;
        }
        done.truncate(recorded);
        Some(FinishedFiles { files: done.len(), documents: done.iter().map(|shard| shard.documents).sum() })
    }

    fn close_shard(&mut self) -> Result<(), ShardError> {
        if let Some(open) = self.open.take() {
            self.done.push(open.close()?);
        }
        check_count(self.folder.path(), self.done.len())
    }
}

/// Brings the manifest and what goes with it to disk in the staging folder, adds their names, and flushes the folder. A
/// long list of inputs goes into a table.
pub(crate) fn stage_manifest(
    folder: &PreparedFolder,
    mut manifest: Manifest,
    names: &mut Vec<StagedName>,
) -> Result<Manifest, ShardError> {
    if manifest.inputs.len() > MAX_LISTED_INPUTS {
        let (entry, bytes) = table::encode(INPUTS_NAME, &std::mem::take(&mut manifest.inputs))?;
        manifest.input_table = Some(entry);
        names.push(stage(folder, INPUTS_NAME, &bytes)?);
    }
    let (manifest, bytes) = manifest.seal_for(folder.path())?;
    if manifest.output.format == OutputFormat::ArrowStream {
        names.push(stage(folder, "state.json", &hf::shard_state(&manifest))?);
        names.push(stage(folder, "dataset_info.json", &hf::dataset_info())?);
    }
    names.push(stage(folder, MANIFEST_NAME, &bytes)?);
    disk::sync_folder(&folder.staging)?;
    Ok(manifest)
}

impl Unfinished {
    /// Checks that the finished shards are there, by their sizes: their hashes are for [`verify`](crate::verify).
    fn check_staged(&self, folder: &PreparedFolder) -> Result<(), ShardError> {
        let size = |path: &PathBuf, found: io::Result<Metadata>| match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            found => Ok(found.map_err(ShardError::io(path, "looking at the file"))?.size),
        };
        let paths: Vec<PathBuf> = self.shards.iter().map(|shard| folder.staging.join(&shard.name)).collect();
        let found = metadata_of_all(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        for ((shard, path), found) in self.shards.iter().zip(paths).zip(found) {
            if size(&path, found)? != shard.size {
                let reason = format!("a finished shard of {} bytes is missing or changed", shard.size);
                return Err(ShardError::BadJournal { path, reason });
            }
        }
        let check = |list: List, recorded: &RecordedList| {
            let path = folder.staging.join(list.name());
            let kept = if folder.is_remote() {
                recorded.lines.len() as u64
            } else {
                size(&path, goldfish_storage::metadata(&path))?
            };
            if recorded.length.0 > kept {
                let reason = format!("the list of {} is missing or shortened", list.what());
                return Err(ShardError::BadJournal { path, reason });
            }
            Ok(())
        };
        check(List::Rejects, &self.rejects)?;
        check(List::Passages, &self.passages)
    }

    /// Gives the files of a run that is staged their names.
    ///
    /// # Errors
    ///
    /// If a file is gone, another run did it, or the disk refuses; then the folder is as it was.
    pub fn publish(&self, folder: &mut PreparedFolder) -> Result<Manifest, ShardError> {
        self.take_over(folder)?;
        complete(folder, self)?;
        if !folder.is_remote() {
            folder.dissolve()?;
        }
        Manifest::read(folder.path())
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

    /// The first row after `start` that no longer fits `room` bytes.
    fn rows_that_fit(&self, start: usize, room: u64) -> usize {
        let limit = self.ends[start].saturating_add(room);
        self.ends.partition_point(|&end| end <= limit) - 1
    }
}

/// A shard that is being written.
struct OpenShard {
    name: String,
    path: PathBuf,
    encoder: Encoder<BlockWriter<FlushedFile>>,
    bytes: u64,
    counts: Counts,
}

impl OpenShard {
    fn create(
        folder: &PreparedFolder,
        index: usize,
        schema: &ShardSchema,
        options: &WriterOptions,
    ) -> Result<Self, ShardError> {
        let name = folder.staged(&staged_name(index));
        let path = folder.staging.join(&name);
        let file = disk::create(&folder.staging, &name)?;
        let sink = BlockWriter::new(FlushedFile::new(file));
        let encoder = Encoder::new(sink, schema, options.format, &path)?;
        Ok(Self { name, path, encoder, bytes: 0, counts: Counts::default() })
    }

    fn write(&mut self, batch: &RecordBatch, bytes: u64) -> Result<(), ShardError> {
        self.encoder.write(batch, &self.path)?;
        self.bytes += bytes;
        let masks = batch.column(2).as_list::<i32>();
        let ends = masks.value_offsets();
        let (first, last) = (ends[0] as usize, ends[batch.num_rows()] as usize);
        let mask = &masks.values().as_primitive::<UInt8Type>().values()[first..last];
        self.counts.documents += batch.num_rows() as u64;
        self.counts.tokens += mask.len() as u64;
        self.counts.dropped += zeros(mask);
        Ok(())
    }

    /// Ends the file and brings it to disk.
    fn close(self) -> Result<ShardEntry, ShardError> {
        let path = self.path;
        let sink = self.encoder.finish(&path)?;
        let (FileDigest { size, hash }, file) = sink.finish().map_err(ShardError::io(&path, "writing"))?;
        let mut file = file.finish().map_err(ShardError::io(&path, "flushing to disk"))?;
        disk::sync(&mut file, &path)?;
        let Counts { documents, tokens, dropped } = self.counts;
        Ok(ShardEntry { name: self.name, size, hash, documents, tokens, dropped })
    }
}

/// How many bytes are 0.
fn zeros(mask: &[u8]) -> u64 {
    // So few that a byte can count them, which compiles to vector instructions.
    let of_few = |few: &[u8]| few.iter().map(|&keep| u8::from(keep == 0)).sum::<u8>();
    mask.chunks(255).map(|few| u64::from(of_few(few))).sum()
}
