//! Parquet and Arrow IPC: both are streams of record batches.

use std::io::{BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use goldfish_columnar::{
    ColumnarError, MAX_BATCH_BYTES, ParquetFile, check_ipc, check_parquet, expanded_bytes,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::batch::{Lists, RowContent, Rows, plain_type, to_plain};
use crate::batches::{Batches, FileBatches, RowGroups, STREAM_END, WholeStream, ends_with, is_arrow_file};
use crate::file::{HashedFile, OpenedFile};
use crate::options::CHUNK_BYTES;
use crate::source::{Chunk, ChunkKind, Part, Source};
use crate::{Content, CorpusError, DocumentBatch, FileDigest, Format, Input, ReadOptions};

pub(crate) struct ColumnarSource {
    input: Input,
    name: Arc<str>,
    file: HashedFile,
    batches: Batches,
    columns: Columns,
    /// A batch and how many of its rows were handed out.
    current: Option<(Prepared, usize)>,
    row: u64,
    /// Mean size of a row in the file, 0 where the file doesn't tell how many it has.
    bytes_a_row: u64,
}

impl ColumnarSource {
    pub(crate) fn open_parquet(
        input: &Input,
        options: &ReadOptions,
        part: Part,
    ) -> Result<Self, CorpusError> {
        let file = OpenedFile::open(&input.path)?;
        let fault = |e: &dyn ToString| file.fault(Format::Parquet, e.to_string());
        let parquet = ParquetFile::new(file.handle()?, file.size());
        let metadata = ArrowReaderMetadata::load(&parquet, ArrowReaderOptions::default());
        let metadata = metadata.map_err(|e| fault(&e))?;
        let parquet = parquet.with_metadata(metadata.metadata());
        let columns = Columns::find(&input.path, metadata.schema(), options)?;
        let projection = ProjectionMask::roots(metadata.parquet_schema(), columns.projection.iter().copied());
        let groups = metadata.metadata().row_groups();
        let rows = groups.iter().map(|group| group.num_rows().max(0)).fold(0, i64::saturating_add);
        let bytes: i64 = groups
            .iter()
            .flat_map(|group| group.columns())
            .filter(|column| {
                let root = column.column_path().parts().first();
                root.is_some_and(|name| columns.names.contains(name))
            })
            .map(|column| column.uncompressed_size().max(0))
            .fold(0, i64::saturating_add);
        let wanted = |root: &str| columns.names.iter().any(|name| name == root);
        let claim = check_parquet(&parquet, metadata.metadata(), wanted).map_err(|e| claimed(input, e))?;
        // Every row may hold the longest value of a dictionary, which counts once in the size of the column.
        let most = i64::try_from(MAX_BATCH_BYTES / 32 / claim.largest_dictionary.max(1)).unwrap_or(i64::MAX);
        let batch_size = (CHUNK_BYTES as i64 / (bytes / rows.max(1)).max(1)).min(most);
        let bytes_a_row = file.size() / (rows as u64).max(1);
        let batch_size = batch_size.clamp(1, 1 << 16) as usize;
        let place = (file.size(), part);
        let file = file.hash()?;
        let (groups, row) = RowGroups::new(parquet, metadata, projection, batch_size, place);
        Ok(Self { bytes_a_row, row, ..Self::new(input, file, Batches::RowGroups(groups), columns) })
    }

    pub(crate) fn open_arrow(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let path = &input.path;
        let opened = OpenedFile::open(path)?;
        let fault = |reason: &dyn ToString| opened.fault(Format::Arrow, reason.to_string());
        let size = opened.size();
        let mut file = opened.handle()?;
        check_ipc(&mut file).map_err(|e| claimed(input, e))?;
        // The readers are opened twice: the schema is needed before the projection is known.
        if is_arrow_file(&mut file).map_err(CorpusError::io(path, "reading"))? {
            let schema = FileReader::try_new(BufReader::new(&file), None).map_err(|e| fault(&e))?.schema();
            let columns = Columns::find(path, &schema, options)?;
            let hashed = opened.hash()?;
            let fault = |reason: &dyn ToString| hashed.fault(Format::Arrow, reason.to_string());
            let reader = FileReader::try_new(BufReader::new(file), Some(columns.projection.clone()));
            let reader = reader.map_err(|e| fault(&e))?;
            let (batches, row) =
                FileBatches::new(hashed.handle()?, reader, (size, part)).map_err(|e| fault(&e))?;
            return Ok(Self { row, ..Self::new(input, hashed, Batches::File(Box::new(batches)), columns) });
        }
        if !ends_with(&mut file, &STREAM_END).map_err(CorpusError::io(path, "reading"))? {
            return Err(fault(&"the stream has no end marker; it was cut off, or is no Arrow IPC stream"));
        }
        let schema = StreamReader::try_new(BufReader::new(&file), None).map_err(|e| fault(&e))?.schema();
        let columns = Columns::find(path, &schema, options)?;
        let hashed = opened.hash()?;
        let fault = |reason: &dyn ToString| hashed.fault(Format::Arrow, reason.to_string());
        file.rewind().map_err(CorpusError::io(path, "reading"))?;
        let buffered = BufReader::with_capacity(1 << 20, file);
        let reader =
            StreamReader::try_new(buffered, Some(columns.projection.clone())).map_err(|e| fault(&e))?;
        let stream = part.holds(0).then(|| Box::new(WholeStream::new(reader)));
        Ok(Self::new(input, hashed, Batches::Stream(stream), columns))
    }

    fn new(input: &Input, file: HashedFile, batches: Batches, columns: Columns) -> Self {
        let name = input.name.clone();
        Self { input: input.clone(), name, file, batches, columns, current: None, row: 0, bytes_a_row: 0 }
    }

    fn fault(&self, reason: &dyn ToString) -> CorpusError {
        let reason = format!("{}, behind row {}", reason.to_string(), self.row);
        if reason.contains("Disabled feature") {
            // The file is sound; this build can't read its compression.
            let reason = format!("{reason}; write it again with zstd, lz4, snappy or gzip");
            return CorpusError::Options { path: self.input.path.to_path_buf(), reason };
        }
        self.file.fault(self.input.format, reason)
    }
}

/// A file that claims too much.
fn claimed(input: &Input, error: ColumnarError) -> CorpusError {
    match error {
        ColumnarError::Io(source) => CorpusError::io(&input.path, "reading")(source),
        claim => CorpusError::malformed(&input.path, input.format, claim),
    }
}

impl Source for ColumnarSource {
    fn carried(&self) -> &[FieldRef] {
        &self.columns.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        let (prepared, start) = loop {
            if let Some(current) = self.current.take() {
                break current;
            }
            let Some(batch) = self.batches.next() else { return Ok(None) };
            let batch = batch.map_err(|e| self.fault(&e))?;
            if batch.num_rows() > 0 {
                let prepared = self.columns.prepare(&batch).map_err(|e| self.fault(&e))?;
                self.current = Some((prepared, 0));
            }
        };
        let rows = prepared.rows_in_chunk(start);
        let mut chunk = prepared.slice(start, rows);
        if rows < prepared.rows {
            // A slice would keep the whole batch in memory until its worker is done.
            chunk.content = chunk.content.detached();
        }
        if start + rows < prepared.rows {
            self.current = Some((prepared, start + rows));
        }
        let first = self.row;
        self.row += chunk.rows as u64;
        Ok(Some(Chunk(ChunkKind::Columns(ColumnChunk { name: self.name.clone(), first, prepared: chunk }))))
    }

    fn row(&self) -> u64 {
        self.row
    }

    fn skip_to(&mut self, row: u64) -> Result<(), CorpusError> {
        if self.current.is_none() {
            self.row = self.batches.pass_over(self.row, row).map_err(|e| self.fault(&e))?;
        }
        while self.row < row && self.next_chunk()?.is_some() {}
        self.check_place(row)
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        vec![self.file.digest().clone()]
    }

    fn position(&self) -> u64 {
        self.bytes_a_row.saturating_mul(self.row).min(self.file.digest().size)
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        Ok(vec![self.file.finish()?])
    }
}

/// Where the wanted columns stand in the projected batches.
struct Columns {
    /// Indices of the wanted columns in the file's schema, ascending.
    projection: Vec<usize>,
    /// Their names.
    names: Vec<String>,
    content: usize,
    is_text: bool,
    id: Option<usize>,
    carry: Vec<usize>,
    carried: Vec<FieldRef>,
}

impl Columns {
    fn find(path: &Path, schema: &SchemaRef, options: &ReadOptions) -> Result<Self, CorpusError> {
        let find = |name: &str| match schema.index_of(name) {
            // Which of two columns is meant, nobody can tell.
            Ok(index) if schema.fields().iter().filter(|field| field.name() == name).count() > 1 => {
                Err(CorpusError::ColumnType {
                    path: path.to_owned(),
                    column: schema.field(index).name().clone(),
                    found: "there several times".into(),
                    expected: "one column of this name",
                })
            }
            Ok(index) => Ok(index),
            Err(_) => Err(CorpusError::NoColumn {
                path: path.to_owned(),
                column: name.to_owned(),
                found: schema.fields().iter().map(|f| format!("{:?}", f.name())).collect(),
            }),
        };
        let content = find(options.content.column())?;
        let id = options.id_column.as_deref().map(find).transpose()?;
        let carry = options.carry.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
        let is_text = matches!(options.content, Content::Text { .. });
        check_types(path, schema, content, is_text, id)?;

        let mut projection: Vec<usize> = carry.iter().copied().chain([content]).chain(id).collect();
        projection.sort_unstable();
        projection.dedup();
        let names = projection.iter().map(|&i| schema.field(i).name().clone()).collect();
        let place = |index: usize| projection.partition_point(|&p| p < index);
        let carried = carry.iter().map(|&i| plain_field(schema, i)).collect();
        Ok(Self {
            content: place(content),
            is_text,
            id: id.map(place),
            carry: carry.iter().map(|&i| place(i)).collect(),
            carried,
            names,
            projection,
        })
    }

    /// Brings the wanted columns of a batch into one shape each.
    fn prepare(&self, batch: &RecordBatch) -> Result<Prepared, ArrowError> {
        self.check_room(batch)?;
        let content = batch.column(self.content);
        let content = if self.is_text {
            RowContent::Text(cast(content, &DataType::LargeUtf8)?.as_string().clone())
        } else {
            RowContent::Lists(lists(content)?)
        };
        let doc_ids = self.id.map(|i| cast(batch.column(i), &DataType::Utf8)).transpose()?;
        let carried = self.carry.iter().zip(&self.carried);
        let carried =
            carried.map(|(&i, field)| to_plain(batch.column(i), field)).collect::<Result<_, _>>()?;
        Ok(Prepared { rows: batch.num_rows(), content, doc_ids, carried })
    }
}

impl Columns {
    /// Refuses a batch whose columns don't fit the memory once each row has its own value.
    fn check_room(&self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for &index in self.carry.iter().chain([&self.content]).chain(&self.id) {
            let bytes = expanded_bytes(batch.column(index))?;
            if bytes > MAX_BATCH_BYTES {
                return Err(ArrowError::InvalidArgumentError(format!(
                    "column {:?} has {bytes} bytes in one batch, more than {MAX_BATCH_BYTES}; write smaller batches",
                    batch.schema().field(index).name()
                )));
            }
        }
        Ok(())
    }
}

fn plain_field(schema: &Schema, index: usize) -> FieldRef {
    let field = schema.field(index);
    Arc::new(Field::new(field.name(), plain_type(field.data_type()), true))
}

fn check_types(
    path: &Path,
    schema: &Schema,
    content: usize,
    is_text: bool,
    id: Option<usize>,
) -> Result<(), CorpusError> {
    let refuse = |index: usize, expected| CorpusError::ColumnType {
        path: path.to_owned(),
        column: schema.field(index).name().clone(),
        found: schema.field(index).data_type().to_string(),
        expected,
    };
    let of_integers = |field: &FieldRef| field.data_type().is_integer();
    match plain_type(schema.field(content).data_type()) {
        DataType::Utf8 | DataType::LargeUtf8 if is_text => {}
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _)
            if !is_text && of_integers(&f) => {}
        _ if is_text => return Err(refuse(content, "a column of strings (--text-column)")),
        _ => return Err(refuse(content, "a column of integer lists (--ids-column)")),
    }
    if let Some(id) = id {
        match plain_type(schema.field(id).data_type()) {
            DataType::Utf8 | DataType::LargeUtf8 => {}
            t if t.is_integer() => {}
            _ => return Err(refuse(id, "a column of strings or integers (--id-column)")),
        }
    }
    Ok(())
}

/// Any list array as values and 64-bit offsets from 0.
fn lists(array: &ArrayRef) -> Result<Lists, ArrowError> {
    let nulls = array.nulls().cloned();
    Ok(match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            rebase(list.values(), list.value_offsets().iter().map(|&o| o.into()), nulls)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            rebase(list.values(), list.value_offsets().iter().copied(), nulls)
        }
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            // `values` of a sliced fixed-size list is sliced with it.
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(*size as usize, list.len()));
            Lists { values: list.values().clone(), offsets, nulls }
        }
        other => return Err(ArrowError::SchemaError(format!("{other} is no list of integers"))),
    })
}

fn rebase(
    values: &ArrayRef,
    offsets: impl Iterator<Item = i64> + Clone,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> Lists {
    let first = offsets.clone().next().unwrap_or(0);
    let last = offsets.clone().last().unwrap_or(first);
    let values = values.slice(first as usize, (last - first) as usize);
    let offsets: Vec<i64> = offsets.map(|offset| offset - first).collect();
    Lists { values, offsets: OffsetBuffer::new(offsets.into()), nulls }
}

impl RowContent {
    /// The same rows in memory of their own.
    fn detached(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(copied(&text).as_string().clone()),
            Self::Lists(lists) => Self::Lists(Lists { values: copied(&lists.values), ..lists }),
        }
    }
}

/// A copy of an array's slice; the slice itself where a copy doesn't fit the type's offsets.
fn copied(array: &dyn Array) -> ArrayRef {
    let data = array.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    match copy.try_extend(0, 0, data.len()) {
        Ok(()) => make_array(copy.freeze()),
        Err(_) => make_array(data.clone()),
    }
}

/// What a row weighs beside its values: offsets and its name.
const ROW_BYTES: usize = 32;

/// Bytes of a column's slice.
fn memory(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or(0)
}

/// Wanted columns of consecutive rows.
struct Prepared {
    rows: usize,
    content: RowContent,
    doc_ids: Option<ArrayRef>,
    carried: Vec<ArrayRef>,
}

impl Prepared {
    /// How many rows from `start` on make a chunk: as many as fit [`CHUNK_BYTES`], but one at least.
    fn rows_in_chunk(&self, start: usize) -> usize {
        let (offsets, width) = match &self.content {
            RowContent::Text(text) => (text.value_offsets(), 1),
            RowContent::Lists(lists) => {
                (&*lists.offsets, lists.values.data_type().primitive_width().unwrap_or(1))
            }
        };
        // The other columns count with their mean, which is all that is known of every type.
        let others = self.carried.iter().chain(&self.doc_ids).map(memory).sum::<usize>() / self.rows;
        let limit = CHUNK_BYTES / (others + ROW_BYTES);
        let end = offsets[start] + (CHUNK_BYTES / width) as i64;
        let fitting = offsets[start..].partition_point(|&offset| offset <= end) - 1;
        fitting.min(limit).max(1)
    }

    /// Bytes of all columns.
    fn bytes(&self) -> usize {
        let content = match &self.content {
            RowContent::Text(text) => (text.value_offsets()[text.len()] - text.value_offsets()[0]) as usize,
            RowContent::Lists(lists) => {
                lists.values.len() * lists.values.data_type().primitive_width().unwrap_or(1)
            }
        };
        content + self.carried.iter().chain(&self.doc_ids).map(memory).sum::<usize>() + self.rows * ROW_BYTES
    }

    fn slice(&self, start: usize, rows: usize) -> Self {
        let content = match &self.content {
            RowContent::Text(text) => RowContent::Text(text.slice(start, rows)),
            RowContent::Lists(lists) => {
                let offsets = lists.offsets.slice(start, rows);
                let nulls = lists.nulls.as_ref().map(|nulls| nulls.slice(start, rows));
                RowContent::Lists(rebase(&lists.values, offsets.iter().copied(), nulls))
            }
        };
        Self {
            rows,
            content,
            doc_ids: self.doc_ids.as_ref().map(|ids| ids.slice(start, rows)),
            carried: self.carried.iter().map(|array| array.slice(start, rows)).collect(),
        }
    }
}

pub(crate) struct ColumnChunk {
    name: Arc<str>,
    first: u64,
    prepared: Prepared,
}

impl std::fmt::Debug for ColumnChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows of {} from {}", self.prepared.rows, self.name, self.first)
    }
}

impl ColumnChunk {
    pub(crate) fn bytes(&self) -> usize {
        self.prepared.bytes()
    }

    pub(crate) fn documents(self, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let rows = Rows {
            name: self.name,
            first: self.first,
            doc_ids: self.prepared.doc_ids.map(|ids| ids.as_string().clone()),
            content: self.prepared.content,
            carried: self.prepared.carried,
        };
        Ok(rows.into_batch(options))
    }
}
