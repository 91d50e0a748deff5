//! Arrow data from and to Python, by the `PyCapsule` interface of the
//! [C data interface](https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html), without a copy.

#![allow(unsafe_code, reason = "the interface hands over pointers; each use says why it is sound")]

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchIterator, StructArray, make_array};
use arrow::compute::concat;
use arrow::datatypes::{Field, FieldRef, SchemaRef};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use arrow::ffi_stream::{ArrayStreamReader, FFI_ArrowArrayStream};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};

use crate::error::MaskerError;

/// `ArrowSchema` as the interface lays it down, up to the field that is null in one that was released.
#[repr(C)]
struct SchemaLayout {
    _strings: [*const c_char; 3],
    _numbers: [i64; 2],
    _children: [*const c_void; 2],
    release: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// An array with its field, from an object with `__arrow_c_array__`.
pub(crate) fn import_array(object: &Bound<'_, PyAny>) -> PyResult<(FieldRef, ArrayRef)> {
    let capsules = object.call_method0("__arrow_c_array__")?;
    let (schema, array): (Bound<'_, PyCapsule>, Bound<'_, PyCapsule>) = capsules.extract()?;
    let schema = schema.pointer_checked(Some(c"arrow_schema"))?.cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(c"arrow_array"))?.cast::<FFI_ArrowArray>();
    // SAFETY: `SchemaLayout` has the layout that the interface lays down for an `ArrowSchema`, and takes no pointer as
    // valid. A schema whose `release` is null was taken by another consumer; its other pointers lead nowhere.
    let is_released = unsafe { schema.cast::<SchemaLayout>().as_ref() }.release.is_none();
    // SAFETY: a capsule of this name holds an initialized `ArrowSchema`, which lives as long as the capsule does, until
    // the end of this function.
    let schema = unsafe { schema.as_ref() };
    // SAFETY: a capsule of this name holds an initialized `ArrowArray`. Moving it out leaves a released one, which
    // the capsule's destructor skips, as the interface requires.
    let array = unsafe { FFI_ArrowArray::from_raw(array.as_ptr()) };
    if array.is_released() || is_released {
        let advice =
            "the Arrow data was taken already: __arrow_c_array__ must make new capsules at every call";
        return Err(MaskerError::data(advice).into());
    }
    let field = Field::try_from(schema).map_err(MaskerError::from)?;
    // SAFETY: the producer vouches that the array is one of this schema; both came in one answer.
    let data = unsafe { from_ffi(array, schema) }.map_err(MaskerError::from)?;
    Ok((Arc::new(field), make_array(data)))
}

/// All arrays with their field, from an object with `__arrow_c_stream__`.
pub(crate) fn import_stream(object: &Bound<'_, PyAny>) -> PyResult<(FieldRef, Vec<ArrayRef>)> {
    use arrow::array::ArrayReader;

    let capsule = object.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
    let stream = capsule.pointer_checked(Some(c"arrow_array_stream"))?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: a capsule of this name holds an initialized `ArrowArrayStream`. Moving it out leaves a released one,
    // which the capsule's destructor skips.
    let reader = unsafe { ArrayStreamReader::from_raw(stream.as_ptr()) }.map_err(MaskerError::from)?;
    let field = reader.field().clone();
    // A producer may be Python code, which takes the GIL on its own.
    let arrays = object.py().detach(|| reader.collect::<Result<Vec<_>, _>>()).map_err(MaskerError::from)?;
    Ok((field, arrays))
}

/// An array, or a record batch as an array of structs, for any consumer of `__arrow_c_array__`.
#[pyclass(frozen, module = "goldfish._goldfish")]
pub(crate) struct ArrowArray {
    field: FieldRef,
    array: ArrayRef,
}

impl ArrowArray {
    pub(crate) fn of_array(name: &str, array: ArrayRef) -> Self {
        Self { field: Arc::new(Field::new(name, array.data_type().clone(), true)), array }
    }

    pub(crate) fn of_batch(batch: RecordBatch) -> Self {
        let metadata = batch.schema().metadata().clone();
        let array = StructArray::from(batch);
        let field = Field::new("", array.data_type().clone(), false).with_metadata(metadata);
        Self { field: Arc::new(field), array: Arc::new(array) }
    }
}

#[pymethods]
impl ArrowArray {
    /// The capsules of schema and array.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // A request to cast may be left to the consumer.
        let _ = requested_schema;
        let (array, _) = to_ffi(&self.array.to_data()).map_err(MaskerError::from)?;
        let array = PyCapsule::new_with_value(py, array, c"arrow_array")?;
        Ok((self.__arrow_c_schema__(py)?, array))
    }

    /// The capsule of the schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.field.as_ref()).map_err(MaskerError::from)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    fn __len__(&self) -> usize {
        self.array.len()
    }

    /// Arrays of one type, one after the other.
    #[staticmethod]
    fn joined(py: Python<'_>, parts: Vec<Bound<'_, Self>>) -> PyResult<Self> {
        let parts: Vec<&Self> = parts.iter().map(Bound::get).collect();
        let joined = py.detach(|| {
            let arrays: Vec<&dyn Array> = parts.iter().map(|part| part.array.as_ref()).collect();
            let values =
                arrays.iter().filter_map(|array| array.as_list_opt::<i32>()).map(|list| list.values().len());
            if values.sum::<usize>() > i32::MAX as usize {
                return Err(MaskerError::data(
                    "the chunks hold more tokens than one array of lists; give large lists, or chunk by chunk",
                ));
            }
            Ok(concat(&arrays)?)
        })?;
        Ok(Self::of_array("loss_mask", joined))
    }
}

/// Record batches, for any consumer of `__arrow_c_stream__`.
#[pyclass(frozen, module = "goldfish._goldfish")]
pub(crate) struct ArrowTable {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl ArrowTable {
    pub(crate) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }
}

#[pymethods]
impl ArrowTable {
    /// The capsule of a stream over all batches.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = self.batches.clone().into_iter().map(Ok);
        let reader = RecordBatchIterator::new(batches, self.schema.clone());
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), c"arrow_array_stream")
    }

    /// The capsule of the schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema.as_ref()).map_err(MaskerError::from)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    fn __len__(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}
