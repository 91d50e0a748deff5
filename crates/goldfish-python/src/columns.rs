//! Arrow columns as documents, and masks as columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, LargeListArray, ListArray, RecordBatch, UInt8Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Int8Type, Int16Type, Int32Type, Int64Type, Schema, SchemaRef,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use goldfish_mask::document_key;
use goldfish_pipeline::DocumentScratch;

use crate::core::{Core, token_id};
use crate::error::MaskerError;

/// The value of `labels` at a dropped token: what `PyTorch`'s cross entropy ignores.
const IGNORED_LABEL: i32 = -100;

/// Where each document of a column of lists starts and ends in its values, and whether offsets have 64 bits.
struct Lists {
    ends: Vec<usize>,
    large: bool,
    values: ArrayRef,
}

impl Lists {
    /// Lists of any kind; none may be null, since a document can't be left out of a batch.
    fn of(column: Option<&str>, array: &dyn Array) -> Result<Self, MaskerError> {
        if let Some(row) = (0..array.len()).find(|&row| array.is_null(row)) {
            let advice = "the document is null; fill it with an empty list, or drop the row";
            return Err(MaskerError::data(advice).at_row(row).in_column(column));
        }
        let (ends, large, values): (Vec<usize>, _, _) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                (list.value_offsets().iter().map(|&end| end as usize).collect(), false, list.values())
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                (list.value_offsets().iter().map(|&end| end as usize).collect(), true, list.values())
            }
            DataType::FixedSizeList(..) => {
                let list = array.as_fixed_size_list();
                let length = list.value_length() as usize;
                ((0..=list.len()).map(|row| row * length).collect(), false, list.values())
            }
            other => {
                let advice = format!(
                    "holds {other}; documents are lists of integers (list, large_list or fixed_size_list), or text in \
                     a column that is named as text_column"
                );
                return Err(MaskerError::data(advice).in_column(column));
            }
        };
        Ok(Self { ends, large, values: values.clone() })
    }

    /// The ids of all documents: borrowed where they are 32 bits wide.
    fn ids(&self, column: Option<&str>) -> Result<ScalarBuffer<i32>, MaskerError> {
        let (start, end) = (self.ends[0], self.ends[self.ends.len() - 1]);
        let values = self.values.slice(start, end - start);
        let place = |index: usize| {
            let row = self.ends.partition_point(|&end| end <= start + index).saturating_sub(1);
            (row, start + index - self.ends[row])
        };
        let at = |error: MaskerError, index: usize| {
            let (row, position) = place(index);
            error.at_row(row).at_position(position).in_column(column)
        };
        if let Some(index) = (0..values.len()).find(|&index| values.is_null(index)) {
            return Err(at(MaskerError::data("the id is null; ids are integers"), index));
        }
        fn narrow<T: ArrowPrimitiveType>(values: &dyn Array) -> Result<ScalarBuffer<i32>, (usize, String)>
        where
            T::Native: TryInto<i64> + std::fmt::Display,
        {
            let values = values.as_primitive::<T>().values();
            let ids =
                values.iter().enumerate().map(|(index, &id)| token_id(id).map_err(|reason| (index, reason)));
            Ok(ids.collect::<Result<Vec<i32>, _>>()?.into())
        }
        let ids = match values.data_type() {
            DataType::Int32 => {
                let ids = values.as_primitive::<Int32Type>().values().clone();
                match ids.iter().position(|&id| id < 0) {
                    Some(index) => token_id(ids[index]).map(|_| ids).map_err(|reason| (index, reason)),
                    None => Ok(ids),
                }
            }
            DataType::UInt32 => narrow::<UInt32Type>(&values),
            DataType::Int64 => narrow::<Int64Type>(&values),
            DataType::UInt64 => narrow::<UInt64Type>(&values),
            DataType::Int16 => narrow::<Int16Type>(&values),
            DataType::UInt16 => narrow::<UInt16Type>(&values),
            DataType::Int8 => narrow::<Int8Type>(&values),
            DataType::UInt8 => narrow::<UInt8Type>(&values),
            other => {
                let advice = format!("holds lists of {other}; token ids are integers");
                return Err(MaskerError::data(advice).in_column(column));
            }
        };
        ids.map_err(|(index, reason)| at(MaskerError::data(reason), index))
    }

    /// Document ends from 0 on, in tokens.
    fn rebased(&self) -> impl Iterator<Item = usize> + '_ {
        self.ends.iter().map(|end| end - self.ends[0])
    }

    /// Lists as long as these.
    fn alike(&self, values: ArrayRef) -> Result<ArrayRef, MaskerError> {
        list(self.rebased(), self.large, values)
    }
}

/// A list array whose rows end at `ends`, which start with 0.
fn list(ends: impl Iterator<Item = usize>, large: bool, values: ArrayRef) -> Result<ArrayRef, MaskerError> {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    if large {
        let offsets = OffsetBuffer::new(ends.map(|end| end as i64).collect());
        return Ok(Arc::new(LargeListArray::try_new(item, offsets, values, None)?));
    }
    if i32::try_from(values.len()).is_err() {
        let advice = format!(
            "the batch has {} tokens, more than 32-bit offsets count; give smaller batches",
            values.len()
        );
        return Err(MaskerError::data(advice));
    }
    let offsets = OffsetBuffer::new(ends.map(|end| end as i32).collect());
    Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
}

/// One key a document, if the rule looks at it.
pub(crate) fn keys(
    core: &Core,
    doc_ids: Option<&ArrayRef>,
    rows: usize,
) -> Result<Option<Vec<u64>>, MaskerError> {
    if !core.needs_doc_ids() {
        return Ok(None);
    }
    let Some(doc_ids) = doc_ids else {
        return Err(MaskerError::data(
            "the rule random draws by the documents' ids: name their column as id_column, or give doc_ids",
        ));
    };
    if doc_ids.len() != rows {
        return Err(MaskerError::data(format!("{} doc_ids for {rows} documents", doc_ids.len())));
    }
    if !is_name(doc_ids.data_type()) {
        let advice = format!("documents' ids are {}; give strings or integers", doc_ids.data_type());
        return Err(MaskerError::data(advice));
    }
    // The values of a dictionary may include a null, which only the cast reveals.
    let names = cast(doc_ids, &DataType::LargeUtf8)?;
    if let Some(row) = (0..rows).find(|&row| doc_ids.is_null(row) || names.is_null(row)) {
        return Err(MaskerError::data("the document's id is null").at_row(row));
    }
    let doc_ids = names.as_string::<i64>();
    Ok(Some((0..rows).map(|row| document_key(doc_ids.value(row))).collect()))
}

/// Whether documents can be named by values of a type, as in the program.
fn is_name(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_name(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        other => other.is_integer(),
    }
}

/// The masks of lists of ids, in lists of the same kind.
pub(crate) fn mask_lists(
    core: &Core,
    array: &dyn Array,
    doc_ids: Option<&ArrayRef>,
) -> Result<ArrayRef, MaskerError> {
    let lists = Lists::of(None, array)?;
    let ids = lists.ids(None)?;
    let mask = decide(core, None, &lists, &ids, doc_ids)?;
    lists.alike(Arc::new(UInt8Array::new(mask.into(), None)))
}

fn decide(
    core: &Core,
    column: Option<&str>,
    lists: &Lists,
    ids: &[i32],
    doc_ids: Option<&ArrayRef>,
) -> Result<Vec<u8>, MaskerError> {
    let keys = keys(core, doc_ids, lists.ends.len() - 1)?;
    let ends: Vec<usize> = lists.rebased().collect();
    core.decide(bytemuck::cast_slice(ids), &ends, keys.as_deref()).map_err(|error| error.in_column(column))
}

/// Which columns of a batch hold what, and which are made.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) ids: String,
    pub(crate) text: Option<String>,
    pub(crate) doc_id: Option<String>,
    pub(crate) labels: bool,
}

impl Columns {
    /// The columns that are added to a batch's own, in order.
    fn made(&self) -> impl Iterator<Item = &str> {
        let ids = self.text.as_ref().map(|_| self.ids.as_str());
        ids.into_iter().chain(["loss_mask"]).chain(self.labels.then_some("labels"))
    }
}

/// A batch with its masks after its own columns.
pub(crate) fn mask_batch(
    core: &Core,
    batch: &RecordBatch,
    columns: &Columns,
) -> Result<RecordBatch, MaskerError> {
    let schema = batch.schema();
    if let Some(name) = columns.made().find(|name| schema.index_of(name).is_ok()) {
        return Err(MaskerError::data("the column exists already; drop or rename it first").in_column(name));
    }
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            MaskerError::data(format!("there is no such column; the batch has {}", names.join(", ")))
                .in_column(name)
        })
    };
    let doc_ids = columns.doc_id.as_deref().map(column).transpose()?;
    let made = match &columns.text {
        Some(text) => mask_texts(core, text, column(text)?, doc_ids, columns.labels)?,
        None => {
            let lists = Lists::of(Some(&columns.ids), column(&columns.ids)?)?;
            let ids = lists.ids(Some(&columns.ids))?;
            let mask = decide(core, Some(&columns.ids), &lists, &ids, doc_ids)?;
            let labels = columns.labels.then(|| labels(&ids, &mask));
            let mask: ArrayRef = Arc::new(UInt8Array::new(mask.into(), None));
            [Some(mask), labels]
                .into_iter()
                .flatten()
                .map(|values| lists.alike(values))
                .collect::<Result<_, _>>()?
        }
    };
    let mut fields = schema.fields().to_vec();
    let mut arrays = batch.columns().to_vec();
    for (name, array) in columns.made().zip(made) {
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        arrays.push(array);
    }
    let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, metadata(&schema)));
    Ok(RecordBatch::try_new(schema, arrays)?)
}

/// The schema's metadata but for what Hugging Face `datasets` and pandas note about its columns, which no longer holds.
fn metadata(schema: &Schema) -> std::collections::HashMap<String, String> {
    let mut metadata: std::collections::HashMap<_, _> = schema.metadata().clone().into();
    metadata.retain(|key, _| key != "huggingface" && key != "pandas");
    metadata
}

fn labels(ids: &[i32], mask: &[u8]) -> ArrayRef {
    let label = |(&id, &keep): (&i32, &u8)| if keep == 1 { id } else { IGNORED_LABEL };
    Arc::new(Int32Array::from_iter_values(ids.iter().zip(mask).map(label)))
}

/// Ids, mask and labels of texts.
fn mask_texts(
    core: &Core,
    column: &str,
    array: &ArrayRef,
    doc_ids: Option<&ArrayRef>,
    with_labels: bool,
) -> Result<Vec<ArrayRef>, MaskerError> {
    if !matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        let advice =
            format!("holds {}, not text; name a column of strings as text_column", array.data_type());
        return Err(MaskerError::data(advice).in_column(column));
    }
    if let Some(row) = (0..array.len()).find(|&row| array.is_null(row)) {
        let advice = "the text is null; fill it with an empty one, or drop the row";
        return Err(MaskerError::data(advice).at_row(row).in_column(column));
    }
    // No token is shorter than a byte, so that 32-bit offsets that count the bytes count the tokens.
    let large = *array.data_type() != DataType::Utf8;
    let texts = cast(array, &DataType::LargeUtf8)?;
    let texts = texts.as_string::<i64>();
    let keys = keys(core, doc_ids, texts.len())?;
    let encoded = core
        .encode(
            (0..texts.len()).map(|row| texts.value(row)),
            keys.as_deref(),
            &mut DocumentScratch::default(),
        )
        .map_err(|error| error.in_column(column))?;
    let ids: Vec<i32> = bytemuck::allocation::cast_vec(encoded.ids);
    let labels = with_labels.then(|| labels(&ids, &encoded.mask));
    let values: [ArrayRef; 2] =
        [Arc::new(Int32Array::new(ids.into(), None)), Arc::new(UInt8Array::new(encoded.mask.into(), None))];
    let ends = || encoded.ends.iter().copied();
    values.into_iter().chain(labels).map(|values| list(ends(), large, values)).collect()
}
