use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::datatypes::SchemaRef;
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::lists::Column;
use crate::ShardError;
use crate::file_set::SetFile;
use crate::staged::StagedFile;

/// Row groups end with the row that brings them to so many tokens: readers hold one of them in memory for a row of it.
pub(super) const ROW_GROUP_TOKENS: usize = 1 << 22;

/// A Parquet file in the making. A thread of its own encodes a row group, with the help of all others, and writes it while the next one
/// is collected: there are two in memory.
pub(super) struct ParquetFile {
    path: PathBuf,
    groups: Option<SyncSender<Vec<Column>>>,
    thread: Option<JoinHandle<Result<StagedFile, ParquetError>>>,
}

impl ParquetFile {
    pub(super) fn new(file: StagedFile, schema: SchemaRef) -> Result<Self, ShardError> {
        let path = file.path().to_owned();
        let (sender, groups) = sync_channel(0);
        let thread = std::thread::Builder::new().name("goldfish-parquet".into());
        let thread = thread.spawn(move || write(file, &schema, groups));
        let thread = thread.map_err(ShardError::io(&path, "starting a thread to write"))?;
        Ok(Self { path, groups: Some(sender), thread: Some(thread) })
    }

    /// Adds a row group, of columns with as many rows each.
    pub(super) fn write(&mut self, columns: Vec<Column>) -> Result<(), ShardError> {
        match self.groups.as_ref().map(|groups| groups.send(columns)) {
            Some(Ok(())) => Ok(()),
            // The thread has ended, and says why.
            _ => self.join().map(drop),
        }
    }

    pub(super) fn finish(mut self, holds: &str) -> Result<SetFile, ShardError> {
        self.join()?.finish(holds)
    }

    /// Waits for what is left to be written.
    fn join(&mut self) -> Result<StagedFile, ShardError> {
        self.groups = None;
        let panicked = || Err(ParquetError::General("the thread that writes stopped".into()));
        let written = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_else(panicked);
        written.map_err(ShardError::parquet(&self.path))
    }
}

impl Drop for ParquetFile {
    /// The file is to be closed when its folder is cleared.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.join();
        }
    }
}

/// Writes row groups as they come.
fn write<W: Write + Send>(
    to: W,
    schema: &SchemaRef,
    groups: impl IntoIterator<Item = Vec<Column>>,
) -> Result<W, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("goldfish".into())
        .build();
    add_encoded_arrow_schema_to_metadata(schema, &mut properties);
    let types = ArrowSchemaConverter::new().convert(schema)?;
    let mut writer = SerializedFileWriter::new(to, types.root_schema_ptr(), Arc::new(properties))?;
    for columns in groups {
        let mut group = writer.next_row_group()?;
        for (column, of) in columns.into_iter().zip(types.columns()) {
            let chunk = column.encode(of)?;
            group.append_column(&chunk.bytes, chunk.close)?;
        }
        group.close()?;
    }
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, RecordBatch};
    use arrow::datatypes::{DataType, Float32Type, Int8Type, Int32Type, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::export::lists::Lists;
    use crate::schema::list_field;

    /// A list of each length, of values that a number gives.
    fn lists<T: Copy>(lengths: &[usize], value: impl Fn(u64) -> T) -> Lists<T> {
        let mut lists = Lists::default();
        let mut state = 1u64;
        for &length in lengths {
            for _ in 0..length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                lists.values().push(value(state >> 33));
            }
            lists.end();
        }
        lists
    }

    /// The bytes of a file with one column in two row groups, which must be the same for every number of threads, and what the `parquet`
    /// crate reads from it.
    fn round_trip(item: DataType, column: impl Fn() -> Column + Sync) -> Vec<RecordBatch> {
        let schema = Arc::new(Schema::new(vec![list_field("list", item)]));
        let files = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| write(Vec::new(), &schema, [vec![column()], vec![column()]]).unwrap())
        });
        assert!(files[0] == files[1], "the threads show");
        let [file, _] = files;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
        assert_eq!(reader.schema().fields(), schema.fields());
        reader.with_batch_size(100_000).build().unwrap().map(Result::unwrap).collect()
    }

    /// Lengths and values of all lists.
    fn read<T>(batches: &[RecordBatch], of: impl Fn(&dyn Array) -> Vec<T>) -> (Vec<usize>, Vec<T>) {
        let (mut lengths, mut values) = (Vec::new(), Vec::new());
        for batch in batches {
            let lists = batch.column(0).as_list::<i32>();
            assert_eq!(lists.null_count() + lists.values().null_count(), 0);
            for row in lists.iter().flatten() {
                lengths.push(row.len());
                values.extend(of(&row));
            }
        }
        (lengths, values)
    }

    #[test]
    fn readers_get_what_was_written_and_threads_do_not_show() {
        let shapes: [&[usize]; 6] =
            [&[3], &[0, 0, 1, 0, 9, 8, 1, 1, 0], &[0], &[4096; 200], &[1; 1000], &[600_000, 0, 13, 70_001]];
        for lengths in shapes {
            // Two entries, one byte, two bytes, no dictionary; large ones with and without a dictionary.
            for (count, factor) in
                [(1, 0), (2, 1), (200, 1), (50_000, 1), (150_000, 1), (9, 200_000_000), (1 << 31, 1)]
            {
                let ids = || lists(lengths, |number| (number % count * factor) as i32);
                let found = read(&round_trip(DataType::Int32, || Column::Ids(ids())), |row| {
                    row.as_primitive::<Int32Type>().values().to_vec()
                });
                assert!(found == twice(lengths, ids()), "{count} ids, factor {factor}");
            }
            for weight in [|number| (number % 2) as f32, |number| (number % 5) as f32 / 4.0] {
                let weights = || lists(lengths, weight);
                let found = read(&round_trip(DataType::Float32, || Column::Weights(weights())), |row| {
                    row.as_primitive::<Float32Type>().values().to_vec()
                });
                assert!(found == twice(lengths, weights()));
            }
            let bits = || lists(lengths, |number| u8::from(number.is_multiple_of(3)));
            let found = read(&round_trip(DataType::Int8, || Column::Mask(bits())), |row| {
                row.as_primitive::<Int8Type>().values().iter().map(|&value| value as u8).collect()
            });
            assert!(found == twice(lengths, bits()));
            let found = read(&round_trip(DataType::Boolean, || Column::Flags(bits())), |row| {
                row.as_boolean().iter().map(|value| u8::from(value.unwrap())).collect()
            });
            assert!(found == twice(lengths, bits()));
        }
    }

    fn twice<T: Copy>(lengths: &[usize], mut lists: Lists<T>) -> (Vec<usize>, Vec<T>) {
        (lengths.repeat(2), lists.values().repeat(2))
    }

    #[test]
    fn an_open_list_is_left_behind() {
        let mut all = lists(&[2, 3], |number| number as i32);
        all.values().extend([7, 8]);
        let (mut taken, values) = (all.take(), all.values().clone());
        assert_eq!((taken.ended(), taken.values().len(), values), (5, 5, vec![7, 8]));
        assert_eq!((all.is_empty(), all.open(), all.ended()), (true, 2, 0));
    }
}
