//! What to do about an error, as options of the command line.

use std::error::Error;
use std::fmt::Display;

use goldfish_audit::AuditError;
use goldfish_audit::backend::BackendError;
use goldfish_audit::canaries::CanaryError;
use goldfish_backends::local::CheckpointError;
use goldfish_corpus::CorpusError;
use goldfish_inspect::InspectError;
use goldfish_lab::{ExperimentError, LabError};
use goldfish_mask::MaskError;
use goldfish_pipeline::{PipelineError, PolicyError, ResolveError, mask_remedies};
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_report::ReportError;
use goldfish_shard::ShardError;
use goldfish_tokenize::TokenizeError;
use goldfish_trace::TraceError;

/// How an option is spelled: `--max-document`.
fn flag(setting: Setting) -> String {
    format!("--{}", setting.name().replace('_', "-"))
}

/// Remedies in words: "give --table, or leave out --carry".
pub(crate) fn render(remedies: &[Remedy]) -> Option<String> {
    goldfish_remedy::advice(remedies, flag)
}

/// What is said with what to do about it.
pub(crate) fn advised(said: &impl Display, remedies: &[Remedy]) -> String {
    std::iter::once(said.to_string()).chain(render(remedies)).collect::<Vec<_>>().join("; ")
}

/// What the outermost error that has remedies advises.
pub(crate) fn advice(error: &anyhow::Error) -> Option<String> {
    render(&error.chain().map(remedies).find(|remedies| !remedies.is_empty())?)
}

/// The remedies of an error of ours.
fn remedies(error: &(dyn Error + 'static)) -> Vec<Remedy> {
    fn of<E: Remedies + Error + 'static>(error: &(dyn Error + 'static)) -> Option<Vec<Remedy>> {
        error.downcast_ref::<E>().map(Remedies::remedies)
    }
    let known = [
        of::<ResolveError>,
        of::<PolicyError>,
        of::<PipelineError>,
        of::<CorpusError>,
        of::<ShardError>,
        of::<TokenizeError>,
        of::<AuditError>,
        of::<BackendError>,
        of::<CanaryError>,
        of::<CheckpointError>,
        of::<InspectError>,
        of::<LabError>,
        of::<ExperimentError>,
        of::<ReportError>,
        of::<TraceError>,
        |error: &(dyn Error + 'static)| error.downcast_ref::<MaskError>().map(mask_remedies),
    ];
    known.iter().find_map(|remedies| remedies(error)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_are_found_below_contexts_and_inside_other_errors() {
        let missing = || MaskError::TableMissing { expected: "ab".into() };
        let expected = Some("give --table".to_owned());
        assert_eq!(advice(&anyhow::Error::from(missing())), expected);
        assert_eq!(advice(&anyhow::Error::from(PipelineError::from(missing())).context("reading")), expected);
        assert_eq!(advice(&anyhow::Error::from(InspectError::from(missing()))), expected);
        assert_eq!(advice(&anyhow::anyhow!("other")), None);
    }
}
