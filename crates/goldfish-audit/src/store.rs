//! The run's folder: append-only while the run goes on, crash-safe throughout.
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
//! | `summary.json` | the statistics; a folder that has it is complete |
//!
//! Every file is written under a hidden name, flushed to disk and renamed. A segment counts once it has its name, so
//! a killed run loses only what it had not written, and ends with the same bytes in every file but
//! `self-test.json` and `origin.json`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use goldfish_digest::FileDigest;
use goldfish_shard::ToolEntry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::ModelDescription;
use crate::control::{Contamination, ControlCounts};
use crate::engine::AuditOptions;
use crate::probe::{Grid, ProbeCounts, ProbeTable, Sample};
use crate::selftest::SelfTest;
use crate::summary::Summary;
use crate::table::{read_rows, read_texts, write_rows};
use crate::{AuditError, ProbeRow, ResultRow};

/// Version of the files of a run.
pub const RUN_VERSION: u32 = 1;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PROBES: &str = "probes.parquet";
const SELF_TEST: &str = "self-test.json";
const SEGMENTS: &str = "segments";
pub(crate) const ORIGIN: &str = "origin.json";
pub(crate) const RESULTS: &str = "results.parquet";
pub(crate) const EVIDENCE: &str = "evidence.jsonl";
pub(crate) const SUMMARY: &str = "summary.json";
const LOCK: &str = ".lock";

/// What a run measures: everything that can change its results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of the files.
    pub run_version: u32,
    /// The program.
    pub tool: ToolEntry,
    /// The model.
    pub model: ModelDescription,
    /// Where probes are cut.
    pub grid: Grid,
    /// How they are sampled.
    pub sample: Sample,
    /// What is measured.
    pub options: AuditOptions,
    /// How the audited probes came about.
    pub audited: ProbeCounts,
    /// The control, if there is one.
    pub control: Option<ControlConfig>,
    /// `xxh3_128:` and 32 hex digits over the names of all probes in order, each of which covers its tokens.
    pub probes: String,
    /// `xxh3_128:` and 32 hex digits over this file's values with this one left empty: runs with the same key have the
    /// same results.
    pub key: String,
}

/// A run's control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// How its probes came about.
    pub probes: ProbeCounts,
    /// How they were matched, and what was removed.
    pub matching: ControlCounts,
    /// When a document counted as contaminated.
    pub contamination: Contamination,
}

impl RunConfig {
    /// The configuration of a run over these tables, with its key.
    #[must_use]
    pub fn new(
        tool: ToolEntry,
        model: ModelDescription,
        grid: Grid,
        sample: Sample,
        options: AuditOptions,
        audited: &ProbeTable,
        control: Option<(&ProbeTable, ControlCounts, Contamination)>,
    ) -> Self {
        let tables = std::iter::once(audited).chain(control.as_ref().map(|(table, _, _)| *table));
        let names: String =
            tables.flat_map(|table| &table.probes).map(|probe| format!("{}\n", probe.id)).collect();
        let mut config = Self {
            run_version: RUN_VERSION,
            tool,
            model,
            grid,
            sample,
            options,
            audited: audited.counts,
            control: control.map(|(table, matching, contamination)| ControlConfig {
                probes: table.counts,
                matching,
                contamination,
            }),
            probes: FileDigest::of(names.as_bytes()).hash,
            key: String::new(),
        };
        // Strings, numbers and lists only: serialisation has nothing to fail at.
        config.key = FileDigest::of(&serde_json::to_vec(&config).unwrap_or_default()).hash;
        config
    }
}

/// What proves that a probe is positive: what was asked and what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The probe.
    pub probe_id: String,
    /// `audited` or `control`.
    pub set: String,
    /// The document's id.
    pub doc_id: String,
    /// Where the prefix starts in the document.
    pub offset: u64,
    /// `score` or `generate`.
    pub decided_by: String,
    /// Log-probability of each token of the suffix.
    pub log_probs: Option<Vec<f64>>,
    /// Rank of each token of the suffix.
    pub ranks: Option<Vec<u32>>,
    /// The tokens themselves; absent if redacted.
    pub tokens: Option<EvidenceTokens>,
}

/// The tokens behind a piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceTokens {
    /// What the model was given, BOS included.
    pub prompt: Vec<u32>,
    /// The true suffix, which its greedy continuation is.
    pub expected: Vec<u32>,
    /// The prefix as text, where text is at hand.
    pub prompt_text: Option<String>,
    /// The suffix as text, where text is at hand.
    pub expected_text: Option<String>,
    /// The exchange with a server as it went over the wire, without secrets.
    pub exchange: Option<String>,
}

/// Where a run came from: what a reader wants to know, and no result hangs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The command line that started the run, as a shell reads it.
    pub command: String,
    /// The audited documents, in the order in which they were read.
    pub corpus: Vec<DocumentsOrigin>,
    /// The control's documents.
    pub control: Vec<DocumentsOrigin>,
    /// SHA-256 of the tokenizer file that gave the text.
    pub tokenizer: Option<String>,
}

/// Where documents came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentsOrigin {
    /// The file or folder, as it was named.
    pub path: String,
    /// Checksum of its manifest, if it has one.
    pub manifest: Option<String>,
    /// The mask rule of its manifest.
    pub rule: Option<String>,
}

/// A run's folder, open for one process at a time.
#[derive(Debug)]
pub struct RunStore {
    folder: PathBuf,
    /// Probes in order.
    order: Vec<String>,
    done: HashSet<String>,
    segments: usize,
    /// Held while the store is open; the system frees it with the process.
    _lock: File,
}

impl RunStore {
    /// Makes a run's folder, or goes on with it.
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
        let segments = folder.join(SEGMENTS);
        let config_path = folder.join(CONFIG);
        let existing = config_path.is_file();
        if !existing && fs::read_dir(folder).is_ok_and(has_foreign) {
            let reason = "the folder is not empty and holds no audit run; choose another --output";
            return Err(AuditError::bad_run(folder, reason));
        }
        fs::create_dir_all(folder).map_err(AuditError::io(folder, "creating the folder"))?;
        let lock = lock(folder)?;
        if existing {
            let found: RunConfig = read_json(&config_path)?;
            if !resume {
                let reason = "a run is there; go on with it with --resume, or choose another --output";
                return Err(AuditError::bad_run(folder, reason));
            }
            if found != *config {
                let reason = format!(
                    "the run there differs in {}; choose another --output, or the options of that run",
                    differences(&found, config)
                );
                return Err(AuditError::bad_run(folder, reason));
            }
        } else {
            let rows: Vec<ProbeRow> =
                tables.iter().flat_map(|table| table.rows(config.options.redact)).collect();
            write_rows(&folder.join(PROBES), &rows)?;
            write_json(&config_path, config)?;
        }
        fs::create_dir_all(&segments).map_err(AuditError::io(&segments, "creating the folder"))?;
        let order = tables.iter().flat_map(|table| &table.probes).map(|probe| probe.id.to_string()).collect();
        let mut store =
            Self { folder: folder.to_owned(), order, done: HashSet::new(), segments: 0, _lock: lock };
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
    /// If the disk refuses.
    pub fn self_test(&self, make: SelfTest) -> Result<SelfTest, AuditError> {
        let path = self.folder.join(SELF_TEST);
        if path.is_file() {
            return read_json(&path);
        }
        write_json(&path, &make)?;
        Ok(make)
    }

    /// Keeps where the run came from, unless its first process did.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn origin(&self, origin: &Origin) -> Result<(), AuditError> {
        let path = self.folder.join(ORIGIN);
        if path.is_file() { Ok(()) } else { write_json(&path, origin) }
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
            return Err(AuditError::bad_run(&self.folder, reason));
        }
        // The evidence first: without its rows it is overwritten, while rows without it would stay so.
        let mut lines = Vec::new();
        for one in evidence {
            lines.extend(to_json(&self.folder, one, false)?);
        }
        write_file(&self.segment(self.segments, "jsonl"), &lines)?;
        write_rows(&self.segment(self.segments, "parquet"), rows)?;
        self.segments += 1;
        self.done.extend(rows.iter().map(|row| row.probe_id.clone()));
        Ok(())
    }

    /// Ends the run: all results in order, their evidence, and the summary, which comes last. A run that is
    /// complete already is written again with the same bytes.
    ///
    /// # Errors
    ///
    /// If a probe has no result yet, or the disk refuses.
    pub fn finish(
        self,
        summarise: impl FnOnce(&[ResultRow]) -> Summary,
    ) -> Result<(Vec<ResultRow>, Summary), AuditError> {
        let mut found = self.rows()?;
        let mut rows = Vec::with_capacity(self.order.len());
        for id in &self.order {
            let missing = || format!("probe {id} has no result yet; go on with --resume");
            rows.push(found.remove(id).ok_or_else(|| AuditError::bad_run(&self.folder, missing()))?);
        }
        if let Some(id) = found.keys().next() {
            let reason = format!("there is a result of {id}, which is no probe of this run");
            return Err(AuditError::bad_run(&self.folder, reason));
        }
        let mut proofs = self.evidence()?;
        let lines: Vec<String> = self.order.iter().filter_map(|id| proofs.remove(id)).collect();
        let summary = summarise(&rows);
        write_file(&self.folder.join(EVIDENCE), lines.concat().as_bytes())?;
        write_rows(&self.folder.join(RESULTS), &rows)?;
        write_json(&self.folder.join(SUMMARY), &summary)?;
        let segments = self.folder.join(SEGMENTS);
        fs::remove_dir_all(&segments).map_err(AuditError::io(&segments, "removing the folder"))?;
        Ok((rows, summary))
    }

    fn segment(&self, number: usize, extension: &str) -> PathBuf {
        self.folder.join(SEGMENTS).join(format!("{number:06}.{extension}"))
    }

    /// Numbers of the segments with rows, ascending.
    fn segment_names(&self) -> Result<Vec<usize>, AuditError> {
        let folder = self.folder.join(SEGMENTS);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder).map_err(AuditError::io(&folder, "listing the folder"))? {
            let path = entry.map_err(AuditError::io(&folder, "listing the folder"))?.path();
            if path.extension().is_some_and(|extension| extension == "parquet") {
                let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
                // A hidden name is a file that was not finished.
                numbers.extend(number.filter(|_: &usize| !is_hidden(&path)));
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The segments' files of one kind; behind the end of a run the file that was made of them, since a kill may have left
    /// some of the segments.
    fn files(&self, extension: &str, whole: &str) -> Result<Vec<PathBuf>, AuditError> {
        if self.folder.join(SUMMARY).is_file() {
            return Ok(vec![self.folder.join(whole)]);
        }
        Ok(self.segment_names()?.iter().map(|number| self.segment(*number, extension)).collect())
    }

    /// The probes with a result.
    fn names(&self) -> Result<HashSet<String>, AuditError> {
        let mut names = HashSet::new();
        for path in self.files("parquet", RESULTS)? {
            for name in read_texts::<ResultRow>(&path, "probe_id")? {
                if let Some(twice) = names.replace(name) {
                    return Err(AuditError::bad_run(&path, format!("probe {twice} has two results")));
                }
            }
        }
        Ok(names)
    }

    /// All results so far.
    fn rows(&self) -> Result<HashMap<String, ResultRow>, AuditError> {
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
            let file = File::open(&path).map_err(AuditError::io(&path, "opening"))?;
            for line in BufReader::new(file).lines() {
                let line = line.map_err(AuditError::io(&path, "reading"))?;
                let one: Evidence = serde_json::from_str(&line)
                    .map_err(|e| AuditError::bad_run(&path, format!("a line is no evidence: {e}")))?;
                lines.insert(one.probe_id, line + "\n");
            }
        }
        Ok(lines)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether anything is there but what an interrupted start of a run leaves.
fn has_foreign(entries: fs::ReadDir) -> bool {
    entries.flatten().any(|entry| entry.file_name() != PROBES && !is_hidden(&entry.path()))
}

fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(AuditError::io(&path, "creating"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(AuditError::bad_run(folder, "another process is working on this run; wait for it to end"))
        }
        Err(TryLockError::Error(source)) => Err(AuditError::io(&path, "locking")(source)),
    }
}

/// Names of the top-level values in which two configurations differ.
fn differences(a: &RunConfig, b: &RunConfig) -> String {
    let value = |config: &RunConfig| serde_json::to_value(config).unwrap_or_default();
    let (a, b) = (value(a), value(b));
    let names = a.as_object().into_iter().flatten().filter(|(name, value)| b.get(name) != Some(value));
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).filter(|name| *name != "key").collect();
    names.join(", ")
}

fn to_json(path: &Path, value: &impl Serialize, pretty: bool) -> Result<Vec<u8>, AuditError> {
    let json = if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    let mut json = json.map_err(|e| AuditError::bad_run(path, format!("can't be written as JSON: {e}")))?;
    json.push(b'\n');
    Ok(json)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), AuditError> {
    write_file(path, &to_json(path, value, true)?)
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, AuditError> {
    let bytes = fs::read(path).map_err(AuditError::io(path, "reading"))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        AuditError::bad_run(path, format!("not what this version of goldfish writes: {e}; start a new run"))
    })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    publish(path, |file| file.write_all(bytes).map_err(AuditError::io(path, "writing")))
}

/// Writes a file under a hidden name, flushes it to disk and renames it.
pub(crate) fn publish(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), AuditError>,
) -> Result<(), AuditError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}.part"));
    let mut file = File::create(&hidden).map_err(AuditError::io(&hidden, "creating"))?;
    write(&mut file)?;
    file.sync_all().map_err(AuditError::io(&hidden, "flushing to disk"))?;
    fs::rename(&hidden, path).map_err(AuditError::io(path, "renaming into place"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(AuditError::io(folder, "flushing to disk"))
}
