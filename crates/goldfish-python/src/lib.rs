//! The native half of the Python package `goldfish`: conversions and errors around `goldfish_pipeline::DocumentMasker`.
//!
//! `python/goldfish` is the other half, and what users see.

mod bridge;
mod columns;
mod core;
mod error;
mod index;
mod masker;
mod trace;

use pyo3::prelude::*;

/// Masks and shards; use it through the package `goldfish`.
#[pymodule(gil_used = false)]
fn _goldfish(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("GoldfishError", error::class(module.py())?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<masker::NativeMasker>()?;
    module.add_class::<bridge::ArrowArray>()?;
    module.add_class::<bridge::ArrowTable>()?;
    module.add_function(wrap_pyfunction!(index::shard_index, module)?)?;
    module.add_function(wrap_pyfunction!(trace::trace_stream, module)?)?;
    Ok(())
}
