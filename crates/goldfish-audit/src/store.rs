//! The run's folder: append-only while the run lasts, crash-safe throughout.
//!
//! | file | what |
//! |---|---|
//! | `config.json` | what is measured, of which model, with which probes; the run's key |
//! | `probes.parquet` | the probe table |
//! | `self-test.json` | what the backend's self-test found |
//! | `origin.json` | the command that started the run, and where its documents came from, if the program says so |
//! | `segments/` | results so far, gone when the run is complete |
//! | `results.parquet` | one row a probe, in the order of the probe table |
//! | `evidence.jsonl` | request and response of every positive |
//! | `summary.json` | the statistics |
//! | `SHA256SUMS` | the checksum of every other file; a folder that has it is complete |
//!
//! Every file is written under a hidden name, flushed to disk and renamed. A segment counts once it has its name, so
//! a killed run loses only what it had not written, and ends with the same bytes in every file but
//! `self-test.json`, `origin.json` and `SHA256SUMS`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use goldfish_remedy::{Remedy, Setting};
use goldfish_storage::{Folder, Lock};

use crate::aggregate::summarize;
use crate::config::{Origin, RunConfig};
use crate::error::AuditError;
use crate::evidence::Evidence;
use crate::files::{evidence_lines, read_json, to_json, write_file, write_json};
use crate::output_folder::{Contents, OutputFolder, remove_lock};
use crate::probe::ProbeTable;
use crate::rows::{ProbeRow, ResultRow};
use crate::selftest::SelfTest;
use crate::summary::Summary;
use crate::sums;
use crate::table::{check_key, read_rows, read_texts, write_rows};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PROBES: &str = "probes.parquet";
pub(crate) const SELF_TEST: &str = "self-test.json";
const SEGMENTS: &str = "segments";
pub(crate) const ORIGIN: &str = "origin.json";
pub(crate) const RESULTS: &str = "results.parquet";
pub(crate) const EVIDENCE: &str = "evidence.jsonl";
pub(crate) const SUMMARY: &str = "summary.json";

const CONTENTS: Contents = Contents { name: "an audit run", options: CONFIG, first: &[PROBES] };

/// The files of a complete run that have a checksum.
pub(crate) const FILES: [&str; 7] = [CONFIG, EVIDENCE, ORIGIN, PROBES, RESULTS, SELF_TEST, SUMMARY];

/// A run's folder, open for one process at a time.
#[derive(Debug)]
pub struct RunStore {
    folder: Folder,
    config: RunConfig,
    /// Probes in order.
    order: Vec<String>,
    done: HashSet<String>,
    segments: usize,
    /// Held while the store is open; the system frees it with the process.
    _lock: Lock,
}

impl RunStore {
    /// Creates a run's folder, or resumes the run there.
    ///
    /// # Errors
    ///
    /// If the folder holds something else, another run, this run but `resume` is not set, or another process
    /// works in it.
    pub fn open(
        folder: &Path,
        config: &RunConfig,
        tables: &[&ProbeTable],
        resume: bool,
    ) -> Result<Self, AuditError> {
        let OutputFolder { folder, lock, .. } = CONTENTS.open(folder, config, resume, |folder| {
            let rows: Vec<ProbeRow> =
                tables.iter().flat_map(|table| table.rows(config.options.redact)).collect();
            write_rows(folder, PROBES, &config.key, &rows)
        })?;
        folder
            .create_subfolder(SEGMENTS)
            .map_err(AuditError::io(&folder.join(SEGMENTS), "creating the folder"))?;
        let order = tables.iter().flat_map(|table| &table.probes).map(|probe| probe.id.to_string()).collect();
        let mut store =
            Self { folder, config: config.clone(), order, done: HashSet::new(), segments: 0, _lock: lock };
        store.segments = store.segment_names()?.last().map_or(0, |last| last + 1);
        store.done = store.names()?;
        Ok(store)
    }

    /// Whether a probe has a result.
    #[must_use]
    pub fn has(&self, probe_id: &str) -> bool {
        self.done.contains(probe_id)
    }

    /// Number of probes with a result.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done.len()
    }

    /// The self-test of the run's first process, or this one's, which is then kept.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn self_test(&self, make: SelfTest) -> Result<SelfTest, AuditError> {
        if self.has_file(SELF_TEST)? {
            return read_json(&self.folder.join(SELF_TEST));
        }
        write_json(&self.folder, SELF_TEST, &make)?;
        Ok(make)
    }

    /// Keeps where the run came from, unless its first process did.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn origin(&self, origin: &Origin) -> Result<(), AuditError> {
        if self.has_file(ORIGIN)? { Ok(()) } else { write_json(&self.folder, ORIGIN, origin) }
    }

    fn has_file(&self, name: &str) -> Result<bool, AuditError> {
        self.folder.has_file(name).map_err(AuditError::io(&self.folder.join(name), "looking at the file"))
    }

    /// The folder of the segments, which is not reached through a link.
    fn segment_folder(&self) -> Result<Option<Folder>, AuditError> {
        let found = self.folder.subfolder(SEGMENTS);
        found.map_err(AuditError::io(&self.folder.join(SEGMENTS), "opening the folder"))
    }

    /// Adds results for good: when this returns, they survive a crash.
    ///
    /// # Errors
    ///
    /// If the disk refuses, or a probe has a result already.
    pub fn append(&mut self, rows: &[ResultRow], evidence: &[Evidence]) -> Result<(), AuditError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut new = HashSet::new();
        if let Some(twice) = rows.iter().find(|row| self.has(&row.probe_id) || !new.insert(&row.probe_id)) {
            let reason = format!("probe {} has two results", twice.probe_id);
            return Err(AuditError::bad_run(self.folder.path(), reason));
        }
        // The evidence first: without its rows it is overwritten, while rows without it would stay so.
        let mut lines = Vec::new();
        for one in evidence {
            lines.extend(to_json(self.folder.path(), one, false)?);
        }
        let made = self.folder.create_subfolder(SEGMENTS);
        let segments = made.map_err(AuditError::io(&self.folder.join(SEGMENTS), "creating the folder"))?;
        write_file(&segments, &segment(self.segments, "jsonl"), &lines)?;
        write_rows(&segments, &segment(self.segments, "parquet"), &self.config.key, rows)?;
        self.segments += 1;
        self.done.extend(rows.iter().map(|row| row.probe_id.clone()));
        Ok(())
    }

    /// Ends the run: all results in order, their evidence, the summary, and the checksums, which come last. `tested` is the
    /// self-test, unless [`self_test`](Self::self_test) has one already. A run that is complete already is written again with the same bytes.
    ///
    /// # Errors
    ///
    /// If a probe has no result yet, or a file can't be written.
    pub fn finish(self, tested: &SelfTest) -> Result<Finished, AuditError> {
        let mut found = self.rows()?;
        let mut rows = Vec::with_capacity(self.order.len());
        for id in &self.order {
            rows.push(found.remove(id).ok_or_else(|| {
                let reason = format!("probe {id} has no result yet");
                AuditError::refused(self.folder.path(), reason, vec![Remedy::give(Setting::Resume)])
            })?);
        }
        if let Some(id) = found.keys().next() {
            let reason = format!("there is a result of {id}, which is not a probe of this run");
            return Err(AuditError::bad_run(self.folder.path(), reason));
        }
        let mut proofs = self.evidence()?;
        let lines: Vec<String> = self.order.iter().filter_map(|id| proofs.remove(id)).collect();
        let tested = self.self_test(tested.clone())?;
        let summary = summarize(&self.config, &rows, &tested);
        write_file(&self.folder, EVIDENCE, lines.concat().as_bytes())?;
        write_rows(&self.folder, RESULTS, &self.config.key, &rows)?;
        write_json(&self.folder, SUMMARY, &summary)?;
        let digest = sums::write(&self.folder, &FILES)?;
        self.clear()?;
        Ok(Finished { rows, summary, digest })
    }

    /// Removes what a finished run no longer needs, the lock last.
    fn clear(&self) -> Result<(), AuditError> {
        if let Some(segments) = self.segment_folder()? {
            let names = segments.names().map_err(AuditError::io(segments.path(), "listing the folder"))?;
            for name in names.iter().filter_map(|name| name.to_str()).filter(|name| is_segment(name)) {
                segments.remove_file(name).map_err(AuditError::io(&segments.join(name), "removing"))?;
            }
            match self.folder.remove_subfolder(SEGMENTS) {
                // What else is in it is not ours to remove.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                removed => removed.map_err(AuditError::io(segments.path(), "removing the folder"))?,
            }
        }
        remove_lock(&self.folder)
    }

    /// Numbers of the segments with rows, ascending.
    fn segment_names(&self) -> Result<Vec<usize>, AuditError> {
        let Some(folder) = self.segment_folder()? else { return Ok(Vec::new()) };
        let names = folder.names().map_err(AuditError::io(folder.path(), "listing the folder"))?;
        let number = |name: &std::ffi::OsString| name.to_str()?.strip_suffix(".parquet")?.parse().ok();
        let mut numbers: Vec<usize> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The segments' files of one kind; after the end of a run the file that was made of them, since a kill may have left
    /// some of the segments.
    fn files(&self, extension: &str, whole: &str) -> Result<Vec<PathBuf>, AuditError> {
        if self.has_file(SUMMARY)? {
            return Ok(vec![self.folder.join(whole)]);
        }
        let folder = self.folder.join(SEGMENTS);
        Ok(self.segment_names()?.iter().map(|number| folder.join(segment(*number, extension))).collect())
    }

    /// The probes with a result.
    fn names(&self) -> Result<HashSet<String>, AuditError> {
        let mut names = HashSet::new();
        for path in self.files("parquet", RESULTS)? {
            check_key(&path, &self.config.key)?;
            for name in read_texts::<ResultRow>(&path, "probe_id")? {
                if let Some(twice) = names.replace(name) {
                    return Err(AuditError::bad_run(&path, format!("probe {twice} has two results")));
                }
            }
        }
        Ok(names)
    }

    /// All results so far, by probe.
    ///
    /// # Errors
    ///
    /// If they can't be read, or a probe has two.
    pub fn rows(&self) -> Result<HashMap<String, ResultRow>, AuditError> {
        let mut rows = HashMap::new();
        for path in self.files("parquet", RESULTS)? {
            for row in read_rows::<ResultRow>(&path)? {
                if let Some(twice) = rows.insert(row.probe_id.clone(), row) {
                    let reason = format!("probe {} has two results", twice.probe_id);
                    return Err(AuditError::bad_run(&path, reason));
                }
            }
        }
        Ok(rows)
    }

    /// Lines of evidence by probe.
    fn evidence(&self) -> Result<BTreeMap<String, String>, AuditError> {
        let mut lines = BTreeMap::new();
        for path in self.files("jsonl", EVIDENCE)? {
            for line in evidence_lines(&path)? {
                let line = line?;
                let one = Evidence::of_line(&path, &line)?;
                lines.insert(one.probe_id, line + "\n");
            }
        }
        Ok(lines)
    }
}

/// A complete run.
#[derive(Debug)]
pub struct Finished {
    /// The results in the order of the probes.
    pub rows: Vec<ResultRow>,
    /// What was found.
    pub summary: Summary,
    /// SHA-256 of the file with the checksums of all the others: `sha256:` and 64 hex digits.
    pub digest: String,
}

/// Name of a segment's file.
fn segment(number: usize, extension: &str) -> String {
    format!("{number:06}.{extension}")
}

/// Whether a file in the folder of segments is one of ours, whole or not.
fn is_segment(name: &str) -> bool {
    let whole = name.strip_prefix('.').and_then(|name| name.strip_suffix(".partial")).unwrap_or(name);
    let number = whole.strip_suffix(".jsonl").or_else(|| whole.strip_suffix(".parquet"));
    number.is_some_and(|number| number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit()))
}
