//! The masker as Python sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch, new_empty_array};
use arrow::datatypes::{DataType, FieldRef, Schema};
use goldfish_mask::{LongestRunOption, RuleSpec, UniformTable, document_key};
use goldfish_pipeline::{DocumentMasker, DocumentScratch, MaskOptions, ResolvedMask, TokenizeOptions};
use goldfish_shard::Manifest;
use goldfish_tokenize::Tokenizer;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict};
use serde::de::DeserializeOwned;

use crate::bridge::{ArrowArray, ArrowTable, import_array, import_stream};
use crate::columns::{Columns, mask_batch, mask_lists};
use crate::core::{Core, Encoded, token_id};
use crate::error::MaskerError;

/// The options of a masker, as of `goldfish mask`; `python/goldfish/_masker.py` explains them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    rule: String,
    k: u32,
    context: Option<u32>,
    tokenizer: Option<PathBuf>,
    seed: u64,
    unit: Option<String>,
    longest_run: Option<LongestRun>,
    window: Option<String>,
    head: String,
    start: u64,
    table: Option<Vec<u8>>,
    coefficients: Option<Vec<i64>>,
    bos_id: Option<u32>,
    eos_id: Option<u32>,
    prepend_bos: bool,
    append_eos: bool,
    exempt_special: Option<bool>,
}

/// A bound, or `"none"`.
#[derive(FromPyObject)]
enum LongestRun {
    Most(u32),
    Named(String),
}

impl LongestRun {
    fn option(self) -> Result<LongestRunOption, MaskerError> {
        match self {
            Self::Most(most) => Ok(LongestRunOption::Most(most)),
            Self::Named(name) if name == "none" => Ok(LongestRunOption::Unbounded),
            Self::Named(name) => {
                Err(MaskerError::rule(format!("longest_run: a number or \"none\" is needed, not {name:?}")))
            }
        }
    }
}

impl Options {
    fn core(self) -> Result<Core, MaskerError> {
        let (tokenizer, bytes) = self.tokenizer.as_deref().map(read_tokenizer).transpose()?.unzip();
        let options = MaskOptions {
            tokenizer,
            prepend_bos: self.prepend_bos,
            append_eos: self.append_eos,
            bos_id: self.bos_id,
            eos_id: self.eos_id,
            rule: Some(choose("rule", self.rule)?),
            k: self.k,
            context: self.context,
            granularity: self.unit.map(|name| choose("unit", name)).transpose()?,
            longest_run: self.longest_run.map(LongestRun::option).transpose()?,
            window: self.window.map(|name| choose("window", name)).transpose()?,
            short_context: choose("head", self.head)?,
            seed: self.seed,
            start: self.start,
            table: self.table.as_deref().map(read_table).transpose()?,
            coefficients: self.coefficients,
            exempt_special: self.exempt_special,
            ..MaskOptions::default()
        };
        let ResolvedMask { rule, table, exempt_ids, tokenize, .. } = options.resolve()?;
        let masker = DocumentMasker::new(&rule, table.as_ref(), &exempt_ids, tokenize)?;
        let table = table.map(|table| table.values().to_vec());
        Ok(Core { rule, exempt_ids, masker, tokenizer: bytes, table })
    }
}

/// The value of an option by its name.
fn choose<T: DeserializeOwned>(option: &str, name: String) -> Result<T, MaskerError> {
    serde_json::from_value(name.into()).map_err(|error| MaskerError::rule(format!("{option}: {error}")))
}

fn read_table(bytes: &[u8]) -> Result<UniformTable, MaskerError> {
    Ok(UniformTable::from_values(bytemuck::pod_collect_to_vec(bytes))?)
}

fn read_tokenizer(path: &Path) -> Result<(Arc<Tokenizer>, Arc<[u8]>), MaskerError> {
    let tokenizer = Tokenizer::from_file(path)?;
    let bytes = goldfish_storage::read(path, goldfish_tokenize::MAX_TOKENIZER_BYTES)
        .map_err(|source| goldfish_tokenize::TokenizeError::Read { path: path.to_owned(), source })?;
    Ok((Arc::new(tokenizer), bytes.into()))
}

/// The native half of `goldfish.Masker`.
#[pyclass(frozen, module = "goldfish._goldfish")]
pub(crate) struct NativeMasker(Arc<Core>);

#[pymethods]
impl NativeMasker {
    #[new]
    fn new(py: Python<'_>, options: Options) -> PyResult<Self> {
        let core = py.detach(|| options.core())?;
        Ok(Self(Arc::new(core)))
    }

    /// The masker that made the masks of a folder of shards.
    #[staticmethod]
    #[pyo3(signature = (folder, tokenizer=None, table=None))]
    fn of_shards(
        py: Python<'_>,
        folder: PathBuf,
        tokenizer: Option<PathBuf>,
        table: Option<Vec<u8>>,
    ) -> PyResult<Self> {
        let make = || -> Result<Core, MaskerError> {
            let manifest = Manifest::read(&folder)?;
            let table = table.as_deref().map(read_table).transpose()?;
            let (tokenizer, bytes) = tokenizer.as_deref().map(read_tokenizer).transpose()?.unzip();
            let masker = DocumentMasker::of_manifest(&manifest, table.as_ref(), tokenizer)?;
            let table = table.map(|table| table.values().to_vec());
            Ok(Core { rule: manifest.rule, exempt_ids: manifest.exempt_ids, masker, tokenizer: bytes, table })
        };
        Ok(Self(Arc::new(py.detach(make)?)))
    }

    /// All that another process needs to make the same masker.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        let ends = self.0.masker.tokenize().map(|options| (options.prepend_bos, options.append_eos));
        state.set_item("rule", self.rule()?)?;
        state.set_item("exempt_ids", &self.0.exempt_ids)?;
        state.set_item("tokenizer", self.0.tokenizer.as_ref().map(|bytes| PyBytes::new(py, bytes)))?;
        state.set_item("ends", ends.unwrap_or_default())?;
        let table = self.0.table.as_ref().map(|table| PyBytes::new(py, bytemuck::cast_slice(table)));
        state.set_item("table", table)?;
        Ok(state)
    }

    /// The masker of a state.
    #[staticmethod]
    fn restore(py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<Self> {
        #[derive(FromPyObject)]
        #[pyo3(from_item_all)]
        struct State {
            rule: String,
            exempt_ids: Vec<u32>,
            tokenizer: Option<Vec<u8>>,
            ends: (Option<u32>, Option<u32>),
            table: Option<Vec<u8>>,
        }
        let State { rule, exempt_ids, tokenizer, ends, table } = state.extract()?;
        let make = || -> Result<Core, MaskerError> {
            let rule: RuleSpec =
                serde_json::from_str(&rule).map_err(|error| MaskerError::rule(error.to_string()))?;
            let table = table.as_deref().map(read_table).transpose()?;
            let bytes: Option<Arc<[u8]>> = tokenizer.map(Into::into);
            let tokenizer = bytes.as_ref().map(|bytes| Tokenizer::from_bytes(bytes)).transpose()?;
            let tokenize = tokenizer.map(|tokenizer| TokenizeOptions {
                tokenizer: Arc::new(tokenizer),
                prepend_bos: ends.0,
                append_eos: ends.1,
            });
            let masker = DocumentMasker::new(&rule, table.as_ref(), &exempt_ids, tokenize)?;
            let table = table.map(|table| table.values().to_vec());
            Ok(Core { rule, exempt_ids, masker, tokenizer: bytes, table })
        };
        Ok(Self(Arc::new(py.detach(make)?)))
    }

    /// The rule as JSON, as in a manifest.
    #[getter]
    fn rule(&self) -> PyResult<String> {
        Ok(serde_json::to_string(&self.0.rule).map_err(|error| MaskerError::rule(error.to_string()))?)
    }

    /// Ids that are never dropped.
    #[getter]
    fn exempt_ids(&self) -> Vec<u32> {
        self.0.exempt_ids.clone()
    }

    /// Masks of documents in one array of ids; document `i` ends before `ends[i + 1]`.
    #[pyo3(signature = (ids, ends, doc_ids=None))]
    fn mask_flat<'py>(
        &self,
        py: Python<'py>,
        ids: PyBuffer<i32>,
        ends: Vec<usize>,
        doc_ids: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let ids = ids.to_vec(py)?;
        let mask = py.detach(|| -> Result<Vec<u8>, MaskerError> {
            let is_sound = ends.first() == Some(&0) && ends.last() == Some(&ids.len()) && ends.is_sorted();
            if !is_sound {
                return Err(MaskerError::data(format!(
                    "offsets must rise from 0 to the number of ids, {}, with one more than there are documents",
                    ids.len()
                )));
            }
            if let Some((index, Err(reason))) = ids.iter().map(|&id| token_id(id)).enumerate().find(|(_, id)| id.is_err()) {
                let row = ends.partition_point(|&end| end <= index) - 1;
                return Err(MaskerError::data(reason).at_row(row).at_position(index - ends[row]));
            }
            let keys = self.keys(doc_ids.as_deref(), ends.len() - 1)?;
            self.0.decide(bytemuck::cast_slice(&ids), &ends, keys.as_deref())
        })?;
        Ok(PyByteArray::new(py, &mask))
    }

    /// Ids (as the bytes of little-endian int32), masks and document ends of texts.
    #[pyo3(signature = (texts, doc_ids=None))]
    fn mask_texts<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
        doc_ids: Option<Vec<String>>,
    ) -> PyResult<(Bound<'py, PyByteArray>, Bound<'py, PyByteArray>, Vec<usize>)> {
        let Encoded { ids, mask, ends } = py.detach(|| {
            let keys = self.keys(doc_ids.as_deref(), texts.len())?;
            let texts = texts.iter().map(String::as_str);
            self.0.encode(texts, keys.as_deref(), &mut DocumentScratch::default())
        })?;
        Ok((PyByteArray::new(py, bytemuck::cast_slice(&ids)), PyByteArray::new(py, &mask), ends))
    }

    /// Masks of an Arrow array of lists, or a record batch with its masks.
    #[pyo3(signature = (array, *, ids_column, text_column, id_column, labels, doc_ids))]
    #[expect(clippy::too_many_arguments, reason = "keywords of one Python function")]
    fn mask_array(
        &self,
        py: Python<'_>,
        array: &Bound<'_, PyAny>,
        ids_column: String,
        text_column: Option<String>,
        id_column: Option<String>,
        labels: bool,
        doc_ids: Option<Vec<String>>,
    ) -> PyResult<ArrowArray> {
        let (field, array) = import_array(array)?;
        let columns = Columns { ids: ids_column, text: text_column, doc_id: id_column, labels };
        Ok(py.detach(|| match array.data_type() {
            DataType::Struct(_) if doc_ids.is_some() => Err(ids_of_table()),
            DataType::Struct(_) => {
                Ok(ArrowArray::of_batch(mask_batch(&self.0, &batch(&field, &array)?, &columns)?))
            }
            _ => self.lists(&array, doc_ids),
        })?)
    }

    /// Masks of a stream of record batches: a table with its masks; or of a stream of arrays of lists: their masks.
    #[pyo3(signature = (stream, *, ids_column, text_column, id_column, labels, doc_ids))]
    #[expect(clippy::too_many_arguments, reason = "keywords of one Python function")]
    fn mask_stream<'py>(
        &self,
        py: Python<'py>,
        stream: &Bound<'py, PyAny>,
        ids_column: String,
        text_column: Option<String>,
        id_column: Option<String>,
        labels: bool,
        doc_ids: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (field, mut arrays) = import_stream(stream)?;
        if arrays.is_empty() {
            // What has no rows has a type too.
            arrays.push(new_empty_array(field.data_type()));
        }
        if !matches!(field.data_type(), DataType::Struct(_)) {
            let masks = py.detach(|| {
                let total: usize = arrays.iter().map(|array| array.len()).sum();
                if let Some(given) = doc_ids.as_ref().map(Vec::len).filter(|&given| given != total)
                    && self.0.needs_doc_ids()
                {
                    return Err(MaskerError::data(format!("{given} doc_ids for {total} documents")));
                }
                let mut rows = 0;
                let mut doc_ids = doc_ids.map(Vec::into_iter);
                let mut masks = Vec::with_capacity(arrays.len());
                for array in &arrays {
                    let own = doc_ids.as_mut().map(|ids| ids.take(array.len()).collect());
                    masks.push(self.lists(array, own).map_err(|error| error.after(rows))?);
                    rows += array.len();
                }
                Ok::<_, MaskerError>(masks)
            })?;
            return masks.into_pyobject(py);
        }
        if doc_ids.is_some() {
            return Err(ids_of_table().into());
        }
        let columns = Columns { ids: ids_column, text: text_column, doc_id: id_column, labels };
        let table = py.detach(|| {
            let mut rows = 0;
            let mut batches = Vec::with_capacity(arrays.len());
            for array in &arrays {
                let batch = batch(&field, array)?;
                batches.push(mask_batch(&self.0, &batch, &columns).map_err(|error| error.after(rows))?);
                rows += array.len();
            }
            Ok::<_, MaskerError>(ArrowTable::new(batches[0].schema(), batches))
        })?;
        Ok(Bound::new(py, table)?.into_any())
    }
}

impl NativeMasker {
    /// One key per document, if the rule uses it.
    fn keys(&self, doc_ids: Option<&[String]>, rows: usize) -> Result<Option<Vec<u64>>, MaskerError> {
        if !self.0.needs_doc_ids() {
            return Ok(None);
        }
        match doc_ids {
            Some(doc_ids) if doc_ids.len() == rows => {
                Ok(Some(doc_ids.iter().map(|doc_id| document_key(doc_id)).collect()))
            }
            Some(doc_ids) => {
                Err(MaskerError::data(format!("{} doc_ids for {rows} documents", doc_ids.len())))
            }
            None => Err(MaskerError::data("the rule random draws by the documents' ids: give doc_ids")),
        }
    }

    fn lists(&self, array: &ArrayRef, doc_ids: Option<Vec<String>>) -> Result<ArrowArray, MaskerError> {
        let doc_ids = doc_ids.map(|ids| Arc::new(LargeStringArray::from(ids)) as ArrayRef);
        Ok(ArrowArray::of_array("loss_mask", mask_lists(&self.0, array, doc_ids.as_ref())?))
    }
}

/// Ids given with a table, which has a column for them.
fn ids_of_table() -> MaskerError {
    MaskerError::data("doc_ids are for data that is not a table: name the column as id_column")
}

/// A struct as a record batch.
fn batch(field: &FieldRef, array: &ArrayRef) -> Result<RecordBatch, MaskerError> {
    if let Some(row) = (0..array.len()).find(|&row| array.is_null(row)) {
        return Err(MaskerError::data("the row is null").at_row(row));
    }
    let rows = array.len();
    let (fields, columns, _) = array.as_struct().clone().into_parts();
    let schema = Schema::new_with_metadata(fields, field.metadata().clone());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}
