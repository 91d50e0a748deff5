//! What an experiment audits.

use std::path::Path;

/// One audit.
pub(crate) struct Audited<'a> {
    /// The checkpoint.
    pub(crate) model: &'a Path,
    /// An adapter that is merged onto it.
    pub(crate) adapter: Option<&'a Path>,
    /// Shards to audit with.
    pub(crate) shards: &'a Path,
    /// Shards of the control.
    pub(crate) control: Option<&'a Path>,
    /// Folder of the run.
    pub(crate) run: &'a Path,
    /// Most starts to take.
    pub(crate) samples: u64,
    /// Whether every probe is asked again with its passage in the prompt.
    pub(crate) in_context: bool,
}
