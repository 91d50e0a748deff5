//! A complete run, read back.

use std::path::{Path, PathBuf};

use goldfish_remedy::{Remedy, Setting};

use crate::config::{Origin, RUN_VERSION, RunConfig};
use crate::error::AuditError;
use crate::evidence::Evidence;
use crate::files::{evidence_lines, read_json};
use crate::rows::{ProbeRow, ResultRow};
use crate::store::{CONFIG, EVIDENCE, ORIGIN, PROBES, RESULTS, SUMMARY};
use crate::summary::Summary;
use crate::table::stream_rows;

/// A run whose summary is there. Its tables are read row by row.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    /// What was measured.
    pub config: RunConfig,
    /// What was found.
    pub summary: Summary,
    /// Where the run came from, if the program that made it said so.
    pub origin: Option<Origin>,
}

impl Run {
    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// If it holds no run, one that is not complete, or one of another version.
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        if !folder.join(CONFIG).is_file() {
            let reason = "there is no audit run";
            return Err(AuditError::bad_run(folder, reason));
        }
        let summary = folder.join(SUMMARY);
        if !summary.is_file() {
            let remedies = vec![Remedy::give(Setting::Resume).to("complete it")];
            return Err(AuditError::refused(folder, "the run is not complete", remedies));
        }
        let config: RunConfig = read_json(&folder.join(CONFIG))?;
        if config.run_version != RUN_VERSION {
            let reason =
                format!("a run of version {}, not {RUN_VERSION}; start a new run", config.run_version);
            return Err(AuditError::bad_run(folder, reason));
        }
        let origin = folder.join(ORIGIN);
        Ok(Self {
            config,
            summary: read_json(&summary)?,
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
        let path = self.folder.join(EVIDENCE);
        Ok(evidence_lines(&path)?.map(move |line| {
            let line = line?;
            serde_json::from_str(&line)
                .map_err(|error| AuditError::bad_run(&path, format!("a line is not evidence: {error}")))
        }))
    }
}
