//! What Parquet and Arrow IPC have in common: both are streams of record batches.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use goldfish_columnar::{ColumnarError, MAX_BATCH_BYTES, expanded_bytes};
use goldfish_digest::FileDigest;
use goldfish_remedy::Setting;

use crate::batch::{DocumentBatch, Lists, RowContent, Rows, plain_type, to_plain};
use crate::error::CorpusError;
use crate::file::LibraryFile;
use crate::input::Input;
use crate::options::{CHUNK_BYTES, Content, ExistingMask, ReadOptions};
use crate::paths::ColumnPath;
use crate::source::{Chunk, Part, Source};

pub(crate) struct ColumnarSource {
    input: Input,
    file: LibraryFile,
    batches: Box<dyn Batches>,
    columns: Columns,
    /// A batch and how many of its rows were returned.
    current: Option<(Prepared, usize)>,
    row: u64,
    /// Mean size of a row in the file, 0 if the file doesn't say how many it has.
    bytes_a_row: u64,
}

impl ColumnarSource {
    /// Reads these batches, the first of which starts at a row.
    pub(crate) fn new(
        input: &Input,
        file: LibraryFile,
        columns: Columns,
        (batches, row): (Box<dyn Batches>, u64),
        bytes_a_row: u64,
    ) -> Self {
        Self { input: input.clone(), file, batches, columns, current: None, row, bytes_a_row }
    }

    fn error(&self, error: &ArrowError) -> CorpusError {
        let reason = format!("{error}, after row {}", self.row);
        if reason.contains("Disabled feature") {
            return CorpusError::Compression { path: self.input.path.to_path_buf(), reason };
        }
        self.file.error(self.input.format.name(), reason)
    }
}

/// A file that claims too much.
pub(crate) fn claim_error(input: &Input, error: ColumnarError) -> CorpusError {
    match error {
        ColumnarError::Io(source) => CorpusError::io(&input.path, "reading")(source),
        claim => input.malformed(claim),
    }
}

impl Source for ColumnarSource {
    fn carried(&self) -> &[FieldRef] {
        &self.columns.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        let (prepared, start) = loop {
            if let Some(current) = self.current.take() {
                break current;
            }
            let Some(batch) = self.batches.next() else { return Ok(None) };
            let batch = batch.map_err(|e| self.error(&e))?;
            if batch.num_rows() > 0 {
                let prepared = self.columns.prepare(&batch).map_err(|e| self.error(&e))?;
                self.current = Some((prepared, 0));
            }
        };
        let rows = prepared.rows_in_chunk(start);
        let mut chunk = prepared.slice(start, rows);
        if rows < prepared.rows && prepared.bytes() > LARGEST_SHARED {
            // A slice would keep the whole batch in memory until its worker is done.
            chunk.content = chunk.content.detached();
            chunk.existing = chunk.existing.map(Lists::detached);
        }
        if start + rows < prepared.rows {
            self.current = Some((prepared, start + rows));
        }
        let first = self.row;
        self.row += chunk.rows as u64;
        Ok(Some(Box::new(ColumnChunk { name: self.input.name.clone(), first, prepared: chunk })))
    }

    fn row(&self) -> u64 {
        self.row
    }

    fn skip_to(&mut self, row: u64) -> Result<(), CorpusError> {
        if self.current.is_none() {
            self.row = self.batches.skip(self.row, row).map_err(|e| self.error(&e))?;
        }
        while self.row < row && self.next_chunk()?.is_some() {}
        self.check_row(row)
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        vec![self.file.read_so_far()]
    }

    fn position(&self) -> u64 {
        let read = self.file.position();
        read.unwrap_or_else(|| self.bytes_a_row.saturating_mul(self.row).min(self.file.size()))
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        let Self { batches, file, .. } = *self;
        drop(batches);
        Ok(vec![file.finish()?])
    }
}

/// The record batches of a part of a file, in units that can be read on their own: row groups, batches.
pub(crate) trait Batches: Send {
    /// The next batch.
    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>>;

    /// Skips units from row `at` on that end before or at `row`; returns the row of the next one.
    fn skip(&mut self, at: u64, row: u64) -> Result<u64, ArrowError>;
}

/// Which units belong to a part of a file of `size` bytes, whose offsets in it are as their weights.
pub(crate) fn units_of_part(
    weights: impl Iterator<Item = u64> + Clone,
    size: u64,
    part: Part,
) -> Range<usize> {
    let total: u128 = weights.clone().map(u128::from).sum();
    let mut before = 0u128;
    let offsets = weights.map(|weight| {
        let offset = (u128::from(size) * before).checked_div(total).unwrap_or(0) as u64;
        before += u128::from(weight);
        offset
    });
    let offsets: Vec<u64> = offsets.collect();
    let start = offsets.partition_point(|&offset| offset < part.start);
    start..offsets.partition_point(|&offset| offset < part.end).max(start)
}

/// Indices of the wanted columns in the projected batches.
pub(crate) struct Columns {
    /// Indices of the wanted columns in the file's schema, ascending.
    pub(crate) projection: Vec<usize>,
    /// Their names.
    pub(crate) names: Vec<String>,
    content: ColumnPath,
    is_text: bool,
    id: Option<ColumnPath>,
    existing: Option<usize>,
    /// Carried columns, then conditions.
    columns: Vec<Option<ColumnPath>>,
    carried: Vec<FieldRef>,
}

impl Columns {
    pub(crate) fn find(path: &Path, schema: &SchemaRef, options: &ReadOptions) -> Result<Self, CorpusError> {
        let find = |name: &str, setting| match schema.index_of(name) {
            Ok(_) if schema.fields().iter().filter(|field| field.name() == name).count() > 1 => {
                Err(CorpusError::ColumnTwice { path: path.to_owned(), column: name.to_owned() })
            }
            Ok(index) => Ok(index),
            Err(_) => Err(CorpusError::NoColumn {
                path: path.to_owned(),
                column: name.to_owned(),
                found: schema.fields().iter().map(|f| format!("{:?}", f.name())).collect(),
                setting,
            }),
        };
        let is_text = matches!(options.content, Content::Text { .. });
        let content_setting = if is_text { Setting::TextColumn } else { Setting::IdsColumn };
        let path_to = |name: &str, setting| match find(name, setting) {
            Err(missing @ CorpusError::NoColumn { .. }) => ColumnPath::inside(schema, name).ok_or(missing),
            found => found.map(|root| ColumnPath::of_column(schema, root)),
        };
        let mut content = path_to(options.content.column(), content_setting)?;
        let id = options.id_column.as_deref();
        let mut id = id.map(|name| path_to(name, Setting::IdColumn)).transpose()?;
        let existing = &options.existing;
        let existing = existing.column().map(|name| find(name, existing_setting(existing))).transpose()?;
        let carried = options.carry.iter().map(|name| path_to(name, Setting::Carry).map(Some));
        // A condition may be about a column of other inputs alone: no document of this one has a value.
        let conditions = options.conditions.iter().map(|name| match path_to(name, Setting::Carry) {
            Err(CorpusError::NoColumn { .. }) => Ok(None),
            found => found.map(Some),
        });
        let mut columns = carried.chain(conditions).collect::<Result<Vec<Option<ColumnPath>>, _>>()?;
        check_types(path, options, &content.field, id.as_ref().map(|id| &id.field))?;
        for (column, name) in columns.iter().zip(options.columns()).skip(options.carry.len()) {
            column.iter().try_for_each(|column| check_condition(path, name, &column.field))?;
        }
        if let Some(existing) = existing {
            check_existing(path, &schema.fields()[existing], &options.existing)?;
        }
        let unnamed = |field: &&FieldRef| options.is_unnamed_mask(field.name()) && is_list(field.data_type());
        if let Some(field) = schema.fields().iter().find(unnamed) {
            return Err(CorpusError::UnnamedMask { path: path.to_owned(), column: field.name().clone() });
        }

        let roots = columns.iter().flatten().map(|column| column.root);
        let roots = roots.chain([content.root]).chain(id.as_ref().map(|id| id.root));
        let mut projection: Vec<usize> = roots.chain(existing).collect();
        projection.sort_unstable();
        projection.dedup();
        let names = projection.iter().map(|&i| schema.field(i).name().clone()).collect();
        let projected = |index: usize| projection.partition_point(|&p| p < index);
        let carried = columns.iter().flatten().zip(&options.carry);
        let carried = carried.map(|(column, name)| plain_field(name, &column.field)).collect();
        let paths = columns.iter_mut().flatten().chain([&mut content]).chain(&mut id);
        paths.for_each(|column| column.root = projected(column.root));
        Ok(Self {
            content,
            is_text,
            id,
            existing: existing.map(projected),
            columns,
            carried,
            names,
            projection,
        })
    }

    /// The wanted columns of a batch, each in one of a few types.
    fn prepare(&self, batch: &RecordBatch) -> Result<Prepared, ArrowError> {
        self.check_size(batch)?;
        let content = self.content.of(batch)?;
        let content = if self.is_text {
            RowContent::Text(cast(&content, &DataType::LargeUtf8)?.as_string().clone())
        } else {
            RowContent::Lists(lists(&content)?)
        };
        let doc_ids = self.id.as_ref().map(|id| cast(&id.of(batch)?, &DataType::Utf8)).transpose()?;
        let existing = self.existing.map(|i| lists(batch.column(i))).transpose()?;
        let mut columns = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            let values = column.as_ref().map(|column| column.of(batch)).transpose()?;
            columns.push(match (values, self.carried.get(index)) {
                (Some(values), Some(field)) => to_plain(&values, field)?,
                (Some(values), None) => cast(&values, &DataType::Utf8)?,
                (None, _) => new_null_array(&DataType::Utf8, batch.num_rows()),
            });
        }
        Ok(Prepared { rows: batch.num_rows(), content, doc_ids, existing, columns })
    }
}

impl Columns {
    /// Refuses a batch whose columns are too large once each row has its own value.
    fn check_size(&self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let roots = self.columns.iter().flatten().map(|column| column.root);
        let roots = roots.chain([self.content.root]).chain(self.id.as_ref().map(|id| id.root));
        for index in roots.chain(self.existing) {
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

fn plain_field(name: &str, field: &Field) -> FieldRef {
    Arc::new(Field::new(name, plain_type(field.data_type()), true))
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
    )
}

/// Conditions are compared as text, which lists and structs have none of.
fn check_condition(path: &Path, name: &str, field: &Field) -> Result<(), CorpusError> {
    let plain = plain_type(field.data_type());
    if plain.is_numeric()
        || matches!(plain, DataType::Utf8 | DataType::LargeUtf8 | DataType::Boolean | DataType::Null)
    {
        return Ok(());
    }
    Err(CorpusError::ColumnType {
        path: path.to_owned(),
        column: name.to_owned(),
        found: field.data_type().to_string(),
        expected: "a column of strings, numbers or booleans",
        setting: Setting::Policy,
    })
}

/// The option that names the column of masks.
fn existing_setting(existing: &ExistingMask) -> Setting {
    match existing {
        ExistingMask::Labels { .. } => Setting::LabelsColumn,
        _ => Setting::MaskColumn,
    }
}

fn check_existing(path: &Path, field: &Field, existing: &ExistingMask) -> Result<(), CorpusError> {
    let setting = existing_setting(existing);
    let labels = setting == Setting::LabelsColumn;
    match plain_type(field.data_type()) {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if item.data_type().is_integer()
                || !labels && (item.data_type().is_floating() || *item.data_type() == DataType::Boolean) =>
        {
            Ok(())
        }
        _ => Err(CorpusError::ColumnType {
            path: path.to_owned(),
            column: field.name().clone(),
            found: field.data_type().to_string(),
            expected: if labels {
                "a column of integer lists"
            } else {
                "a column of lists of booleans or numbers"
            },
            setting,
        }),
    }
}

fn check_types(
    path: &Path,
    options: &ReadOptions,
    content: &Field,
    id: Option<&FieldRef>,
) -> Result<(), CorpusError> {
    let is_text = matches!(options.content, Content::Text { .. });
    let refuse = |column: &str, field: &Field, expected, setting| CorpusError::ColumnType {
        path: path.to_owned(),
        column: column.to_owned(),
        found: field.data_type().to_string(),
        expected,
        setting,
    };
    let name = options.content.column();
    let of_integers = |field: &FieldRef| field.data_type().is_integer();
    match plain_type(content.data_type()) {
        DataType::Utf8 | DataType::LargeUtf8 if is_text => {}
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _)
            if !is_text && of_integers(&f) => {}
        _ if is_text => return Err(refuse(name, content, "a column of strings", Setting::TextColumn)),
        _ => return Err(refuse(name, content, "a column of integer lists", Setting::IdsColumn)),
    }
    if let (Some(id), Some(name)) = (id, &options.id_column) {
        match plain_type(id.data_type()) {
            DataType::Utf8 | DataType::LargeUtf8 => {}
            t if t.is_integer() => {}
            _ => return Err(refuse(name, id, "a column of strings or integers", Setting::IdColumn)),
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
        other => return Err(ArrowError::SchemaError(format!("{other} is not a list"))),
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
            Self::Lists(lists) => Self::Lists(lists.detached()),
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

/// What a row takes besides its values: offsets and its name.
const ROW_BYTES: usize = 32;

/// Bytes of a column's slice.
fn memory(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or(0)
}

/// Batches up to this many bytes stay in memory until all their chunks are dealt with; the chunks of larger ones are copied.
const LARGEST_SHARED: usize = 1 << 20;

/// Wanted columns of consecutive rows.
struct Prepared {
    rows: usize,
    content: RowContent,
    doc_ids: Option<ArrayRef>,
    existing: Option<Lists>,
    /// Carried columns, then conditions.
    columns: Vec<ArrayRef>,
}

impl Prepared {
    /// How many rows from `start` on make a chunk: as many as fit [`CHUNK_BYTES`], but at least one.
    fn rows_in_chunk(&self, start: usize) -> usize {
        let (offsets, width) = match &self.content {
            RowContent::Text(text) => (text.value_offsets(), 1),
            RowContent::Lists(lists) => {
                (&*lists.offsets, lists.values.data_type().primitive_width().unwrap_or(1))
            }
        };
        // The other columns count with their mean, which is known for every type.
        let others = self.other_bytes() / self.rows;
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
        content + self.other_bytes() + self.rows * ROW_BYTES
    }

    /// Bytes of the columns besides the content.
    fn other_bytes(&self) -> usize {
        let existing = self.existing.as_ref().map(|lists| &lists.values);
        self.columns.iter().chain(&self.doc_ids).chain(existing).map(memory).sum()
    }

    fn slice(&self, start: usize, rows: usize) -> Self {
        let content = match &self.content {
            RowContent::Text(text) => RowContent::Text(text.slice(start, rows)),
            RowContent::Lists(lists) => RowContent::Lists(lists.slice(start, rows)),
        };
        Self {
            rows,
            content,
            doc_ids: self.doc_ids.as_ref().map(|ids| ids.slice(start, rows)),
            existing: self.existing.as_ref().map(|lists| lists.slice(start, rows)),
            columns: self.columns.iter().map(|array| array.slice(start, rows)).collect(),
        }
    }
}

impl Lists {
    fn detached(self) -> Self {
        Self { values: copied(&self.values), ..self }
    }

    fn slice(&self, start: usize, rows: usize) -> Self {
        let offsets = self.offsets.slice(start, rows);
        let nulls = self.nulls.as_ref().map(|nulls| nulls.slice(start, rows));
        rebase(&self.values, offsets.iter().copied(), nulls)
    }
}

struct ColumnChunk {
    name: Arc<str>,
    first: u64,
    prepared: Prepared,
}

impl std::fmt::Debug for ColumnChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows of {} from {}", self.prepared.rows, self.name, self.first)
    }
}

impl Chunk for ColumnChunk {
    fn bytes(&self) -> usize {
        self.prepared.bytes()
    }

    fn documents(self: Box<Self>, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let rows = Rows {
            name: self.name,
            first: self.first,
            doc_ids: self.prepared.doc_ids.map(|ids| ids.as_string().clone()),
            content: self.prepared.content,
            existing: self.prepared.existing,
            carried: self.prepared.columns,
        };
        Ok(rows.into_batch(options))
    }
}
