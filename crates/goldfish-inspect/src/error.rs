use std::path::PathBuf;

use goldfish_mask::MaskError;
use goldfish_match::MatchError;
use goldfish_pipeline::{PipelineError, mask_remedies};
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_shard::ShardError;

/// Why a folder can't be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A shard can't be read.
    #[error(transparent)]
    Shard(#[from] ShardError),

    /// The manifest's rule can't be built.
    #[error(transparent)]
    Rule(#[from] MaskError),

    /// The documents to look for can't be indexed.
    #[error(transparent)]
    Match(#[from] MatchError),

    /// The tokens can't be turned to text.
    #[error(transparent)]
    Text(#[from] PipelineError),

    /// A row of a shard is not what the manifest promises.
    #[error("{}: row {row}: {problem}; run goldfish verify", path.display())]
    Row {
        /// The shard.
        path: PathBuf,
        /// The row, counted from 0.
        row: u64,
        /// What is wrong.
        problem: String,
    },

    /// There is no such column to group by.
    #[error("the shards have no column {column:?} to group by, only {}", found.join(", "))]
    Column {
        /// The column asked for.
        column: String,
        /// Those that there are.
        found: Vec<String>,
    },

    /// A column has too many values to group by.
    #[error("the column {column:?} has more than {most} values; group by one with fewer")]
    Groups {
        /// The column.
        column: String,
        /// The most values.
        most: usize,
    },

    /// A table could not be aggregated.
    #[error("counting by {what}: {source}")]
    Frame {
        /// What was counted by.
        what: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The program cannot count by a column.
    #[error(
        "to count by {column:?} takes polars, and goldfish was built without it; build it again with its default features"
    )]
    NoGroups {
        /// The column.
        column: String,
    },

    /// A column could not be read as text.
    #[error("{}: the column {column:?}: {source}", path.display())]
    Cell {
        /// The shard.
        path: PathBuf,
        /// The column.
        column: String,
        /// The cause.
        source: arrow::error::ArrowError,
    },

    /// Duplicates are compared by their text.
    #[error("duplicates are found by text, which token ids give only with their tokenizer")]
    NoText,
}

impl Remedies for InspectError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Shard(error) => error.remedies(),
            Self::Rule(error) => mask_remedies(error),
            Self::Text(error) => error.remedies(),
            Self::Column { column, .. } => {
                vec![Remedy::give(Setting::Carry).value(column).to("keep the column when masking")]
            }
            Self::NoText => vec![Remedy::give(Setting::Tokenizer)],
            _ => Vec::new(),
        }
    }
}
