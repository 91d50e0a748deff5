//! For `datasets.load_from_disk`: Arrow streams with one row a document.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int32Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use goldfish_digest::FileDigest;

use super::layout::{Exporter, Layout};
use crate::file_set::SetFile;
use crate::manifest::ShardEntry;
use crate::names::shard_name;
use crate::schema::{IGNORED_LABEL, OutputFormat, list_field};
use crate::staged::{StagedFile, StagedFiles};
use crate::{ShardBatch, ShardError, hf};

pub(super) struct Hf<'f> {
    files: &'f StagedFiles,
    shards: usize,
    schema: SchemaRef,
    fingerprint: String,
    open: Option<StreamWriter<StagedFile>>,
    done: Vec<SetFile>,
    written: u64,
}

impl<'f> Hf<'f> {
    pub(super) fn new(files: &'f StagedFiles, shards: usize, checksum: &str) -> Self {
        let schema = schema();
        let hash = FileDigest::of(format!("{}:{checksum}", Layout::Hf.name()).as_bytes()).hash;
        let fingerprint = hash.trim_start_matches("xxh3_128:").chars().take(16).collect();
        Self { files, shards, schema, fingerprint, open: None, done: Vec::new(), written: 0 }
    }
}

/// The columns, each of one list a document.
fn schema() -> SchemaRef {
    let columns =
        [("input_ids", DataType::Int32), ("attention_mask", DataType::Int8), ("labels", DataType::Int32)];
    Arc::new(Schema::new(columns.map(|(name, item)| list_field(name, item)).to_vec()))
}

/// A batch of shards in these columns.
fn convert(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (ids, masks) = (batch.column(1).as_list::<i32>(), batch.column(2).as_list::<i32>());
    let (first, last) = (ids.value_offsets()[0], ids.value_offsets()[ids.len()]);
    let offsets: Vec<i32> = ids.value_offsets().iter().map(|end| end - first).collect();
    let tokens = (last - first) as usize;
    let ids = ids.values().as_primitive::<Int32Type>().slice(first as usize, tokens);
    let mask = masks.values().as_primitive::<UInt8Type>().slice(first as usize, tokens);
    let label = |(&id, &keep): (&i32, &u8)| if keep == 1 { id } else { IGNORED_LABEL };
    let labels: Int32Array = ids.values().iter().zip(mask.values()).map(label).collect();
    let ones = Int8Array::from_iter_values(std::iter::repeat_n(1, tokens));
    let columns: [ArrayRef; 3] = [Arc::new(ids), Arc::new(ones), Arc::new(labels)];
    let offsets = OffsetBuffer::new(offsets.into());
    let lists: Result<Vec<ArrayRef>, ArrowError> = columns
        .into_iter()
        .map(|values| {
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(item, offsets.clone(), values, None)?) as ArrayRef)
        })
        .collect();
    RecordBatch::try_new(schema.clone(), lists?)
}

impl Exporter for Hf<'_> {
    fn begin(&mut self, index: usize, _shard: &ShardEntry) -> Result<(), ShardError> {
        let name = shard_name(index, self.shards, OutputFormat::ArrowStream.extension());
        let file = self.files.create(&name)?;
        let path = file.path().to_owned();
        self.open = Some(StreamWriter::try_new(file, &self.schema).map_err(ShardError::arrow(&path))?);
        Ok(())
    }

    fn write(&mut self, batch: &ShardBatch, _shard: &str, _row: u64) -> Result<(), ShardError> {
        let failed = ShardError::arrow(self.files.root());
        let converted = convert(&self.schema, batch.record_batch()).map_err(failed)?;
        self.written += converted.column(0).as_list::<i32>().values().len() as u64;
        match &mut self.open {
            Some(writer) => writer.write(&converted).map_err(ShardError::arrow(self.files.root())),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), ShardError> {
        if let Some(mut writer) = self.open.take() {
            let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let file = writer.finish().and_then(|()| writer.into_inner());
            let file = file.map_err(ShardError::arrow(self.files.root()))?;
            self.done.push(file.finish(&names.join(", "))?);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        let names: Vec<&str> = self.done.iter().map(|file| file.name.as_str()).collect();
        let state = hf::state(&names, &self.fingerprint);
        for (name, bytes) in [("state.json", state), ("dataset_info.json", hf::dataset_info())] {
            let mut file = self.files.create(name)?;
            file.put(&bytes)?;
            self.done.push(file.finish("for datasets.load_from_disk")?);
        }
        Ok((self.done, self.written))
    }
}
