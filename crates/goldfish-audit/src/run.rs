//! A complete run, read back.

use std::path::{Path, PathBuf};

use crate::check::{Checked, check};
use crate::config::{Origin, RunConfig};
use crate::error::AuditError;
use crate::evidence::Evidence;
use crate::files::read_json;
use crate::rows::{ProbeRow, ResultRow};
use crate::store::{EVIDENCE, ORIGIN, PROBES, RESULTS};
use crate::summary::Summary;
use crate::table::stream_rows;

/// A complete run that was [checked](crate::check). Its tables are read row by row.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    /// What was measured.
    pub config: RunConfig,
    /// What was found, computed again from the results.
    pub summary: Summary,
    /// SHA-256 of the file with the checksums of all the others: `sha256:` and 64 hex digits.
    pub digest: String,
    /// Where the run came from, if the program that made it said so.
    pub origin: Option<Origin>,
}

impl Run {
    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// If it holds no run, one that is not complete, one of another version, or one whose files do not
    /// [fit together](crate::check).
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        let (problems, checked) = check(folder, None)?;
        if let Some(problem) = problems.first() {
            let more = match problems.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let reason = format!(
                "{}{more}; the files of the run are not as they were written: restore them from a copy, or make the audit again",
                problem.description
            );
            return Err(AuditError::bad_run(&folder.join(&problem.file), reason));
        }
        let Some(Checked { config, summary, digest, .. }) = checked else {
            return Err(AuditError::bad_run(folder, "the run can't be read"));
        };
        let origin = folder.join(ORIGIN);
        Ok(Self {
            config,
            summary,
            digest,
            origin: origin.is_file().then(|| read_json(&origin)).transpose()?,
            folder: folder.to_owned(),
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The results in the order of the probes.
    ///
    /// # Errors
    ///
    /// If the table can't be read or has other columns.
    pub fn results(&self) -> Result<impl Iterator<Item = Result<ResultRow, AuditError>> + use<>, AuditError> {
        stream_rows(&self.folder.join(RESULTS))
    }

    /// The probes in order: the audited ones, then those of the control.
    ///
    /// # Errors
    ///
    /// If the table can't be read or has other columns.
    pub fn probes(&self) -> Result<impl Iterator<Item = Result<ProbeRow, AuditError>> + use<>, AuditError> {
        stream_rows(&self.folder.join(PROBES))
    }

    /// What proves the positives, in the order of the probes.
    ///
    /// # Errors
    ///
    /// If the file can't be read or holds something else.
    pub fn evidence(&self) -> Result<impl Iterator<Item = Result<Evidence, AuditError>> + use<>, AuditError> {
        Evidence::read(&self.folder.join(EVIDENCE))
    }
}
