//! Traces of documents in Arrow data.

use std::num::NonZero;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use goldfish_pipeline::ScannedDocument;
use goldfish_trace::{Group, Least, Row, SpanRow, TextRow, Texts, TracedDocuments, Tracer};
use pyo3::prelude::*;

use crate::bridge::{ArrowTable, import_stream};
use crate::error::MaskerError;

/// Columns of the documents.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Columns {
    text: String,
    id: Option<String>,
    source: Option<String>,
}

/// Looks for texts, each with its id, in the documents of a stream of record batches. Returns the tables of texts and of
/// spans, and the summary as JSON.
#[pyfunction]
pub(crate) fn trace_stream(
    py: Python<'_>,
    texts: Vec<(String, String)>,
    control: Vec<(String, String)>,
    stream: &Bound<'_, PyAny>,
    columns: Columns,
    least: (Option<u32>, Option<u32>),
    seed: u64,
) -> PyResult<(ArrowTable, ArrowTable, String)> {
    let (_, batches) = import_stream(stream)?;
    py.detach(|| {
        let least = match least {
            (_, Some(characters)) => Least::Characters(characters),
            (words, None) => words.map_or(Least::default(), Least::Words),
        };
        let mut tracer = Tracer::new(read_texts(&texts, &control)?, least, seed)?;
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut row = 0;
        for batch in &batches {
            let Some(batch) = batch.as_struct_opt() else {
                return Err(MaskerError::data(format!(
                    "the documents are {}, not a table",
                    batch.data_type()
                )));
            };
            search(&mut tracer, batch, &columns, row, threads)?;
            row += batch.len();
        }
        let TracedDocuments { texts, spans, summary } = tracer.finish();
        let summary =
            serde_json::to_string(&summary).map_err(|error| MaskerError::data(error.to_string()))?;
        Ok::<_, MaskerError>((table(TextRow::batch(&texts)?), table(SpanRow::batch(&spans)?), summary))
    })
    .map_err(PyErr::from)
}

fn read_texts(texts: &[(String, String)], control: &[(String, String)]) -> Result<Texts, MaskerError> {
    let mut all = Texts::default();
    for (group, texts) in [(Group::Text, texts), (Group::Control, control)] {
        for (id, text) in texts {
            all.add(id, text, group, id)?;
        }
    }
    Ok(all)
}

/// Searches the documents of a batch, the first of which has this row.
fn search(
    tracer: &mut Tracer,
    batch: &StructArray,
    columns: &Columns,
    first: usize,
    threads: usize,
) -> Result<(), MaskerError> {
    let column = |name: &str| -> Result<LargeStringArray, MaskerError> {
        let Some(column) = batch.column_by_name(name) else {
            let found = batch.column_names().join(", ");
            return Err(MaskerError::data(format!("there is no column {name:?}, only {found}")));
        };
        strings(column).map_err(|error| error.in_column(name))
    };
    let texts = column(&columns.text)?;
    let ids = columns.id.as_deref().map(column).transpose()?;
    let sources = columns.source.as_deref().map(column).transpose()?;
    let rows = if ids.is_none() { first..first + texts.len() } else { 0..0 };
    let numbers: Vec<String> = rows.map(|row| row.to_string()).collect();
    let mut documents = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let at = |message: &str, name: Option<&str>| {
            MaskerError::data(message).at_row(first + row).in_column(name)
        };
        let Some(text) = text else {
            let message = "the document is null; fill it with an empty text, or drop the row";
            return Err(at(message, Some(&columns.text)));
        };
        let doc_id = match &ids {
            Some(ids) if ids.is_null(row) => {
                return Err(at("the document's id is null", columns.id.as_deref()));
            }
            Some(ids) => ids.value(row),
            None => &numbers[row],
        };
        let source = sources.as_ref().filter(|sources| sources.is_valid(row));
        let source = source.map_or("", |sources| sources.value(row));
        documents.push(ScannedDocument { source, doc_id, text });
    }
    Ok(tracer.search(&documents, threads)?)
}

/// A column of strings, or of integers as such.
fn strings(column: &ArrayRef) -> Result<LargeStringArray, MaskerError> {
    let is_name = |data_type: &DataType| {
        matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
            || data_type.is_integer()
    };
    let is_known = match column.data_type() {
        DataType::Dictionary(_, values) => is_name(values),
        other => is_name(other),
    };
    if !is_known {
        return Err(MaskerError::data(format!("holds {}; give strings or integers", column.data_type())));
    }
    Ok(cast(column, &DataType::LargeUtf8)?.as_string::<i64>().clone())
}

fn table(batch: RecordBatch) -> ArrowTable {
    ArrowTable::new(batch.schema(), vec![batch])
}
