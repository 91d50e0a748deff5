use goldfish_audit::AuditError;
use goldfish_backends::local::CheckpointError;
use goldfish_corpus::CorpusError;
use goldfish_pipeline::PipelineError;
use goldfish_report::ReportError;
use goldfish_shard::ShardError;
use goldfish_tokenize::TokenizeError;

use crate::LabError;

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
    /// Whether the caller stopped it. What was done is kept, and the same call goes on behind it.
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
