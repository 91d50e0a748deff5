//! Documents and rejected rows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, StringArray, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, filter};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float64Type};

use crate::existing::append_weights;
use crate::options::{MAX_DOCUMENT_TOKENS, ReadOptions};
use crate::reject::{Reject, RowError};

/// Consecutive documents of one input.
#[derive(Debug)]
pub struct DocumentBatch {
    /// Row in the input of each document, from 0.
    pub rows: Vec<u64>,
    /// One id a document.
    pub doc_ids: StringArray,
    /// The documents.
    pub content: BatchContent,
    /// What the loss of each token is multiplied with, by the masks that the documents come with; as many as there are ids.
    pub weights: Option<Vec<f32>>,
    /// Carried columns, one value a document.
    pub carried: Vec<ArrayRef>,
    /// The values of [`ReadOptions::conditions`] as text, one a document; null where there is none.
    pub conditions: Vec<StringArray>,
    /// Rows among them that are not documents.
    pub rejects: Vec<Reject>,
}

/// Text or tokens of a batch, without nulls.
#[derive(Debug)]
pub enum BatchContent {
    /// Raw text, one string a document.
    Text(LargeStringArray),
    /// Token ids in `0..=i32::MAX`: document `i` is `ids[offsets[i]..offsets[i + 1]]`, and `offsets[0]` is 0.
    Ids {
        /// Document ends, in tokens; one more than documents.
        offsets: OffsetBuffer<i64>,
        /// All documents' ids.
        ids: ScalarBuffer<i32>,
    },
}

impl DocumentBatch {
    /// Number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.doc_ids.len()
    }

    /// The documents and rejects of the rows before this one.
    #[must_use]
    pub fn before_row(mut self, row: u64) -> Self {
        let documents = self.rows.partition_point(|own| *own < row);
        self.rows.truncate(documents);
        self.rejects.retain(|reject| reject.row < row);
        let columns = |array: ArrayRef| array.slice(0, documents);
        let (content, weights) = match self.content {
            BatchContent::Text(text) => (BatchContent::Text(text.slice(0, documents)), self.weights),
            BatchContent::Ids { offsets, ids } => {
                let tokens = offsets[documents] as usize;
                let (offsets, ids) = (offsets.slice(0, documents + 1), ids.slice(0, tokens));
                let weights = self.weights.map(|weights| weights[..tokens].to_vec());
                (BatchContent::Ids { offsets, ids }, weights)
            }
        };
        Self {
            doc_ids: self.doc_ids.slice(0, documents),
            content,
            weights,
            carried: self.carried.into_iter().map(columns).collect(),
            conditions: self.conditions.iter().map(|array| array.slice(0, documents)).collect(),
            ..self
        }
    }

    /// Whether there are no documents.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Consecutive rows in columns, not yet checked.
pub(crate) struct Rows {
    /// Name of the input.
    pub(crate) name: Arc<str>,
    /// Row in the input of the first one.
    pub(crate) first: u64,
    /// The documents' own ids, where a column was named.
    pub(crate) doc_ids: Option<StringArray>,
    pub(crate) content: RowContent,
    /// One value an id, where the documents come with masks that are to be read.
    pub(crate) existing: Option<Lists>,
    /// Carried columns, then conditions.
    pub(crate) carried: Vec<ArrayRef>,
}

pub(crate) enum RowContent {
    Text(LargeStringArray),
    Lists(Lists),
}

/// Lists of integers of any type: row `i` is `values[offsets[i]..offsets[i + 1]]`.
pub(crate) struct Lists {
    pub(crate) values: ArrayRef,
    pub(crate) offsets: OffsetBuffer<i64>,
    pub(crate) nulls: Option<NullBuffer>,
}

impl Rows {
    /// Turns the rows into documents; a row with an error becomes a reject.
    pub(crate) fn into_batch(self, options: &ReadOptions) -> DocumentBatch {
        let column = options.content.column();
        let rows = match &self.content {
            RowContent::Text(text) => text.len(),
            RowContent::Lists(lists) => lists.offsets.len() - 1,
        };
        let mut errors = BTreeMap::<usize, RowError>::new();
        let nulls = match &self.content {
            RowContent::Text(text) => text.nulls(),
            RowContent::Lists(lists) => lists.nulls.as_ref(),
        };
        for row in null_rows(nulls) {
            errors.insert(row, RowError::null(column));
        }
        if let (Some(ids), Some(name)) = (&self.doc_ids, &options.id_column) {
            for row in null_rows(ids.nulls()) {
                let error = || format!("the document's id (column {name:?}) is null").into();
                errors.entry(row).or_insert_with(error);
            }
        }
        let ids = match &self.content {
            RowContent::Text(_) => None,
            RowContent::Lists(lists) => Some(lists.convert(options, &mut errors)),
        };
        let weights = match (&self.content, &ids, &self.existing) {
            (RowContent::Lists(lists), Some(ids), Some(existing)) => {
                Some(existing.weights(options, (&lists.offsets, ids), &mut errors))
            }
            _ => None,
        };
        let keep = (!errors.is_empty())
            .then(|| BooleanArray::from_iter((0..rows).map(|row| Some(!errors.contains_key(&row)))));
        let weights = match (&self.content, weights, &keep) {
            (RowContent::Lists(lists), Some(weights), Some(keep)) => {
                Some(keep_values(&lists.offsets, &weights, keep))
            }
            (_, weights, _) => weights,
        };
        let content = match (self.content, ids) {
            (RowContent::Text(text), _) => {
                let text = keep_rows(Arc::new(text), keep.as_ref());
                BatchContent::Text(text.as_string().clone())
            }
            (RowContent::Lists(lists), Some(ids)) => match &keep {
                Some(keep) => keep_lists(&lists.offsets, &ids, keep),
                None => BatchContent::Ids { offsets: lists.offsets, ids },
            },
            (RowContent::Lists(_), None) => unreachable!("lists were converted above"),
        };
        let kept = (0..rows).filter(|row| !errors.contains_key(row));
        let rows: Vec<u64> = kept.map(|row| self.first + row as u64).collect();
        let doc_ids = match self.doc_ids {
            Some(ids) => keep_rows(Arc::new(ids), keep.as_ref()).as_string().clone(),
            None => default_ids(&self.name, &rows),
        };
        let columns = self.carried.into_iter().map(|array| keep_rows(array, keep.as_ref()));
        let (carried, conditions) = split_columns(columns.collect(), options);
        let rejects = errors.into_iter();
        let rejects =
            rejects.map(|(row, error)| error.reject(&self.name, self.first + row as u64, None)).collect();
        DocumentBatch { rows, doc_ids, content, weights, carried, conditions, rejects }
    }
}

/// Carried columns, and conditions as text.
pub(crate) fn split_columns(
    mut columns: Vec<ArrayRef>,
    options: &ReadOptions,
) -> (Vec<ArrayRef>, Vec<StringArray>) {
    let conditions = columns.split_off(options.carry.len().min(columns.len()));
    // Columns of other types are refused when the file is opened.
    let text = |array: ArrayRef| cast(&array, &DataType::Utf8).map(|array| array.as_string().clone());
    let nulls = |rows| StringArray::new_null(rows);
    let conditions = conditions.into_iter().map(|array| {
        let rows = array.len();
        text(array).unwrap_or_else(|_| nulls(rows))
    });
    (columns, conditions.collect())
}

impl Lists {
    /// The values as ids, with an error for each row that holds something else. Values of such rows are
    /// arbitrary.
    fn convert(&self, options: &ReadOptions, errors: &mut BTreeMap<usize, RowError>) -> ScalarBuffer<i32> {
        use arrow::datatypes as t;
        let most = MAX_DOCUMENT_TOKENS.min(options.max_bytes() / 4);
        for (row, ends) in self.offsets.windows(2).enumerate() {
            let tokens = ends[1] - ends[0];
            if tokens > most as i64 {
                let error =
                    || RowError::too_long(&format!("the document has {tokens} tokens, more than {most}"));
                errors.entry(row).or_insert_with(error);
            }
        }
        match self.values.data_type() {
            DataType::Int8 => self.convert_as::<t::Int8Type>(options, errors),
            DataType::Int16 => self.convert_as::<t::Int16Type>(options, errors),
            DataType::Int32 => self.convert_as::<t::Int32Type>(options, errors),
            DataType::Int64 => self.convert_as::<t::Int64Type>(options, errors),
            DataType::UInt8 => self.convert_as::<t::UInt8Type>(options, errors),
            DataType::UInt16 => self.convert_as::<t::UInt16Type>(options, errors),
            DataType::UInt32 => self.convert_as::<t::UInt32Type>(options, errors),
            DataType::UInt64 => self.convert_as::<t::UInt64Type>(options, errors),
            other => unreachable!("lists of {other} are refused when the file is opened"),
        }
    }

    /// What the loss of each id is multiplied with; arbitrary in rows with an error.
    fn weights(
        &self,
        options: &ReadOptions,
        (offsets, ids): (&OffsetBuffer<i64>, &[i32]),
        errors: &mut BTreeMap<usize, RowError>,
    ) -> Vec<f32> {
        let column = options.existing.column().unwrap_or_default();
        for row in null_rows(self.nulls.as_ref()) {
            errors.entry(row).or_insert_with(|| format!("column {column:?} is null").into());
        }
        let mut weights = Vec::with_capacity(ids.len());
        let Ok(values) = cast(&self.values, &DataType::Float64) else {
            unreachable!("lists of anything but numbers and booleans are refused when the file is opened")
        };
        let values = values.as_primitive::<Float64Type>();
        for (row, (own, of_ids)) in self.offsets.windows(2).zip(offsets.windows(2)).enumerate() {
            let (own, of_ids) = (own[0] as usize..own[1] as usize, of_ids[0] as usize..of_ids[1] as usize);
            let null = own.clone().find(|&i| values.is_null(i));
            let found = match null {
                Some(null) => {
                    Err(format!("column {column:?} has null at position {}", null - own.start).into())
                }
                None => append_weights(
                    &options.existing,
                    &values.values()[own],
                    &ids[of_ids.clone()],
                    &mut weights,
                ),
            };
            if let Err(error) = found {
                errors.entry(row).or_insert(error);
            }
            weights.resize(of_ids.end, 0.0);
        }
        weights
    }

    fn convert_as<T>(
        &self,
        options: &ReadOptions,
        errors: &mut BTreeMap<usize, RowError>,
    ) -> ScalarBuffer<i32>
    where
        T: ArrowPrimitiveType,
        T::Native: IdNative,
    {
        let array = self.values.as_primitive::<T>();
        let values = array.values();
        let last = u64::from(options.last_id());
        // Without an early exit, which compiles to vector instructions.
        let in_range = values.iter().fold(true, |in_range, v| in_range & (v.as_u64() <= last));
        if array.null_count() == 0 && in_range {
            if size_of::<T::Native>() == size_of::<i32>() {
                return ScalarBuffer::from(values.inner().clone());
            }
            return values.iter().map(|v| v.as_u64() as i32).collect();
        }
        for (row, ends) in self.offsets.windows(2).enumerate() {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            let error = (start..end).find_map(|i| {
                if array.is_null(i) {
                    Some(format!("the token at position {} is null", i - start))
                } else if values[i].as_u64() > last {
                    Some(format!("{}, at position {}", options.id_error(values[i].as_i128()), i - start))
                } else {
                    None
                }
            });
            if let Some(reason) = error {
                errors.entry(row).or_insert_with(|| reason.into());
            }
        }
        values.iter().map(|v| v.as_u64() as i32).collect()
    }
}

/// An integer that may be a token id.
trait IdNative: Copy {
    /// The value; a negative one becomes larger than any id.
    fn as_u64(self) -> u64;
    /// The value.
    fn as_i128(self) -> i128;
}

macro_rules! id_native {
    ($($t:ty)*) => { $(
        impl IdNative for $t {
            fn as_u64(self) -> u64 { self as u64 }
            fn as_i128(self) -> i128 { self.into() }
        }
    )* };
}
id_native!(i8 i16 i32 i64 u8 u16 u32 u64);

fn null_rows(nulls: Option<&NullBuffer>) -> impl Iterator<Item = usize> {
    nulls.into_iter().flat_map(|nulls| (0..nulls.len()).filter(|&row| nulls.is_null(row)))
}

/// `name:row` for each row.
pub(crate) fn default_ids(name: &str, rows: &[u64]) -> StringArray {
    let mut ids = StringBuilder::new();
    for row in rows {
        // Writing into a builder can't fail; the empty value closes what was written.
        let _ = write!(ids, "{name}:{row}");
        ids.append_value("");
    }
    ids.finish()
}

fn keep_rows(array: ArrayRef, keep: Option<&BooleanArray>) -> ArrayRef {
    match keep {
        // Both arrays have one value a row, which is all that `filter` asks for.
        Some(keep) => filter(&array, keep).unwrap_or(array),
        None => array,
    }
}

fn keep_lists(offsets: &OffsetBuffer<i64>, ids: &ScalarBuffer<i32>, keep: &BooleanArray) -> BatchContent {
    let kept = offsets.lengths().enumerate().filter(|(row, _)| keep.value(*row));
    let offsets_kept = OffsetBuffer::from_lengths(kept.map(|(_, length)| length));
    BatchContent::Ids { offsets: offsets_kept, ids: keep_values(offsets, ids, keep).into() }
}

/// The values of the rows that are kept.
fn keep_values<T: Copy>(offsets: &OffsetBuffer<i64>, values: &[T], keep: &BooleanArray) -> Vec<T> {
    let mut kept = Vec::new();
    for (row, ends) in offsets.windows(2).enumerate() {
        if keep.value(row) {
            kept.extend_from_slice(&values[ends[0] as usize..ends[1] as usize]);
        }
    }
    kept
}

/// A carried column in the type that shards store: neither a dictionary nor a view, which readers of the
/// shards may not know. What is nested inside other types stays.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// Casts a carried column to its plain type.
pub(crate) fn to_plain(array: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    if array.data_type() == field.data_type() { Ok(array.clone()) } else { cast(array, field.data_type()) }
}
