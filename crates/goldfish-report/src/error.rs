/// Why a page can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A template and its values don't fit.
    #[error("the page can't be written: {0:#}; this is a fault in goldfish, please report it")]
    Template(#[from] minijinja::Error),
    /// A chart can't be drawn.
    #[error("the chart {chart} can't be drawn: {reason}; this is a fault in goldfish, please report it")]
    Chart {
        /// Which chart.
        chart: &'static str,
        /// What the library said.
        reason: String,
    },
}
