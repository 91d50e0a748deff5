//! One exception for everything, with the values of the error as attributes.

use arrow::error::ArrowError;
use goldfish_mask::MaskError;
use goldfish_pipeline::{PipelineError, ResolveError, mask_remedies};
use goldfish_remedy::{Remedies, Remedy, advice};
use goldfish_shard::ShardError;
use goldfish_tokenize::TokenizeError;
use goldfish_trace::TraceError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pyo3::create_exception!(
    goldfish,
    GoldfishError,
    PyValueError,
    "Why something can't be masked or read, and what to do.\n\n`kind` is one of \"rule\", \"tokenizer\", \"data\", \
     \"shards\". `row` is the document's index in the batch, `position` the token's index in the document, `column` and \
     `file` name where; each is None where it doesn't apply."
);

/// The exception's class, with attributes that are None unless an error sets them.
pub(crate) fn class(py: Python<'_>) -> PyResult<Bound<'_, pyo3::types::PyType>> {
    let class = py.get_type::<GoldfishError>();
    class.setattr("kind", "data")?;
    for name in ["row", "position", "column", "file"] {
        class.setattr(name, py.None())?;
    }
    Ok(class)
}

/// An error before it becomes an exception.
#[derive(Debug, Default)]
pub(crate) struct MaskerError {
    kind: &'static str,
    message: String,
    row: Option<usize>,
    position: Option<usize>,
    column: Option<String>,
    file: Option<String>,
}

impl MaskerError {
    /// What was given can't be masked.
    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self { kind: "data", message: message.into(), ..Self::default() }
    }

    /// The rule or its options can't be used.
    pub(crate) fn rule(message: impl Into<String>) -> Self {
        Self { kind: "rule", message: message.into(), ..Self::default() }
    }

    /// A folder or a shard can't be read.
    pub(crate) fn shards(file: &std::path::Path, message: impl Into<String>) -> Self {
        let file = Some(file.display().to_string());
        Self { kind: "shards", message: message.into(), file, ..Self::default() }
    }

    pub(crate) fn at_row(mut self, row: usize) -> Self {
        self.row = Some(row);
        self
    }

    pub(crate) fn at_position(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    pub(crate) fn in_column<'c>(mut self, column: impl Into<Option<&'c str>>) -> Self {
        self.column = column.into().map(str::to_owned);
        self
    }

    /// The same error in a batch after `rows` other rows.
    pub(crate) fn after(mut self, rows: usize) -> Self {
        self.row = self.row.map(|row| row + rows);
        self
    }

    /// The message after its location.
    fn text(&self) -> String {
        let mut location = Vec::new();
        location.extend(self.column.as_ref().map(|column| format!("column {column:?}")));
        location.extend(self.row.map(|row| format!("row {row}")));
        location.extend(self.position.map(|position| format!("position {position}")));
        if location.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", location.join(", "), self.message)
        }
    }
}

/// A message with its remedies as keywords.
fn advised(error: &dyn std::error::Error, remedies: &[Remedy]) -> String {
    match advice(remedies, |setting| setting.name().to_owned()) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

impl From<MaskerError> for PyErr {
    fn from(error: MaskerError) -> Self {
        let exception = GoldfishError::new_err(error.text());
        let set = |py: Python<'_>| -> PyResult<()> {
            let value = exception.value(py);
            value.setattr("kind", error.kind)?;
            value.setattr("row", error.row)?;
            value.setattr("position", error.position)?;
            value.setattr("column", &error.column)?;
            value.setattr("file", &error.file)
        };
        match Python::attach(set) {
            Ok(()) => exception,
            Err(other) => other,
        }
    }
}

impl From<MaskError> for MaskerError {
    fn from(error: MaskError) -> Self {
        Self::rule(advised(&error, &mask_remedies(&error)))
    }
}

impl From<ResolveError> for MaskerError {
    fn from(error: ResolveError) -> Self {
        Self::rule(advised(&error, &error.remedies()))
    }
}

impl From<TokenizeError> for MaskerError {
    fn from(error: TokenizeError) -> Self {
        let file = match &error {
            TokenizeError::Read { path, .. } | TokenizeError::UnknownToken { path, .. } => {
                Some(path.display().to_string())
            }
            _ => None,
        };
        Self { kind: "tokenizer", message: advised(&error, &error.remedies()), file, ..Self::default() }
    }
}

impl From<PipelineError> for MaskerError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Mask(error) => error.into(),
            PipelineError::Tokenize(error) => error.into(),
            other => Self::rule(advised(&other, &other.remedies())),
        }
    }
}

impl From<ShardError> for MaskerError {
    fn from(error: ShardError) -> Self {
        Self { kind: "shards", message: advised(&error, &error.remedies()), ..Self::default() }
    }
}

impl From<TraceError> for MaskerError {
    fn from(error: TraceError) -> Self {
        Self::data(advised(&error, &error.remedies()))
    }
}

impl From<ArrowError> for MaskerError {
    fn from(error: ArrowError) -> Self {
        Self::data(error.to_string())
    }
}
