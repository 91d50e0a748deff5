use goldfish_remedy::{Remedies, Remedy};

/// Why a page can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A run can't be read.
    #[error(transparent)]
    Audit(#[from] goldfish_audit::AuditError),
    /// A trace can't be read.
    #[error(transparent)]
    Trace(#[from] goldfish_trace::TraceError),
    /// There is nothing to compare.
    #[error("a comparison needs at least two runs")]
    TooFewRuns,
    /// Two runs have no probe in common.
    #[error(
        "{run} and {baseline} have no probe in common; audit both with the same documents, token ids, grid and sample"
    )]
    NothingShared {
        /// The first run.
        baseline: String,
        /// The other one.
        run: String,
    },
    /// A template and its values don't fit.
    #[error("the page can't be written: {0:#}; this is a bug in goldfish, please report it")]
    Template(#[from] minijinja::Error),
    /// A chart can't be drawn.
    #[error("the chart {chart} can't be drawn: {reason}; this is a bug in goldfish, please report it")]
    Chart {
        /// Which chart.
        chart: String,
        /// What the library said.
        reason: String,
    },
}

impl Remedies for ReportError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Audit(error) => error.remedies(),
            Self::Trace(error) => error.remedies(),
            _ => Vec::new(),
        }
    }
}
