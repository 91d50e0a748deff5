use goldfish_audit::AuditError;
use goldfish_backends::local::CheckpointError;
use goldfish_corpus::CorpusError;
use goldfish_pipeline::PipelineError;
use goldfish_remedy::{Remedies, Remedy};
use goldfish_report::ReportError;
use goldfish_shard::ShardError;
use goldfish_tokenize::TokenizeError;

use crate::error::LabError;

/// Why an experiment could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the error of the part that failed")]
pub enum ExperimentError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizeError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Shards(#[from] ShardError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl ExperimentError {
    /// Whether the caller stopped it. What was done is kept, and the same call resumes after it.
    #[must_use]
    pub fn stopped(&self) -> bool {
        match self {
            Self::Lab(LabError::Stopped { .. })
            | Self::Pipeline(PipelineError::Interrupted)
            | Self::Shards(ShardError::Interrupted)
            | Self::Audit(AuditError::Interrupted) => true,
            Self::Pipeline(PipelineError::Unfinished { error, .. }) => {
                matches!(**error, PipelineError::Interrupted)
            }
            _ => false,
        }
    }
}

impl Remedies for ExperimentError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Lab(error) => error.remedies(),
            Self::Corpus(error) => error.remedies(),
            Self::Tokenizer(error) => error.remedies(),
            Self::Pipeline(error) => error.remedies(),
            Self::Shards(error) => error.remedies(),
            // The models are the experiment's own: another backend is no way out.
            Self::Checkpoint(_) => Vec::new(),
            Self::Audit(error) => error.remedies(),
            Self::Report(error) => error.remedies(),
        }
    }
}
