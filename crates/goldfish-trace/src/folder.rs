//! The folder of a trace.
//!
//! | file | what |
//! |---|---|
//! | `trace.json` | what is looked for, and where |
//! | `found.json` | what was found so far; gone when the trace is complete, unless it is one of several parts |
//! | `texts.parquet` | one row a text |
//! | `spans.parquet` | places of the corpus |
//! | `summary.json` | the statistics |
//! | `SHA256SUMS` | the checksum of every other file; a folder that has it is complete |
//!
//! Each is written under a hidden name, flushed to disk and renamed.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use goldfish_audit::columns::Row;
use goldfish_audit::files::{read_json, write_json};
use goldfish_audit::output_folder::{Contents, OutputFolder, remove_lock};
use goldfish_audit::sums::{self, SUMS};
use goldfish_audit::table::{stream_rows, write_batches, write_rows};
use goldfish_pipeline::{ScanIdentity, ScanState};
use goldfish_remedy::{Remedy, Setting};
use goldfish_shard::Problem;
use goldfish_storage::{Folder, Lock};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::TraceError;
use crate::hits::Hits;
use crate::results::TRACE_VERSION;
use crate::summary::TraceSummary;
use crate::tables::{SpanRow, TextRow};
use crate::texts::{Least, Texts, TextsKind};

/// Name of the file that says what is looked for.
pub const TRACE_NAME: &str = "trace.json";
const FOUND: &str = "found.json";
const TEXTS: &str = "texts.parquet";
const SPANS: &str = "spans.parquet";
const SUMMARY: &str = "summary.json";

const CONTENTS: Contents = Contents { name: "a trace", options: TRACE_NAME, first: &[] };

/// The files that have a checksum.
const FILES: [&str; 4] = [SPANS, SUMMARY, TEXTS, TRACE_NAME];

/// Bytes of what was found that are read back.
const MOST_FOUND: u64 = 1 << 36;

/// What is looked for, and where: all that decides what a trace finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceConfig {
    /// Version of the files of a trace.
    pub trace_version: u32,
    /// The program's version.
    pub goldfish: String,
    /// How many texts there are, those of the control with them.
    pub texts: u64,
    /// What they are.
    pub kind: TextsKind,
    /// A hash of the texts and their ids.
    pub texts_hash: String,
    /// How long a span is at least.
    pub least: Least,
    /// Chooses which places are kept, and resamples texts.
    pub seed: u64,
    /// The corpus.
    pub corpus: ScanIdentity,
}

impl TraceConfig {
    pub(crate) fn new(texts: &Texts, least: Least, seed: u64, corpus: ScanIdentity) -> Self {
        let goldfish = env!("CARGO_PKG_VERSION").to_owned();
        let (count, kind, texts_hash) = (texts.all.len() as u64, texts.kind, texts.digest());
        Self { trace_version: TRACE_VERSION, goldfish, texts: count, kind, texts_hash, least, seed, corpus }
    }

    /// A hash of it, in 32 hex digits.
    #[must_use]
    pub fn key(&self) -> String {
        // Strings and numbers only: serialization can't fail.
        format!("{:032x}", xxh3_128(&serde_json::to_vec(self).unwrap_or_default()))
    }
}

/// What was found until some place of the corpus.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Found {
    key: String,
    pub(crate) corpus: ScanState,
    pub(crate) hits: Hits,
}

/// The same, to be written.
#[derive(Serialize)]
struct SavedFound<'a> {
    key: &'a str,
    corpus: &'a ScanState,
    hits: &'a Hits,
}

/// The folder of a trace, open for one process at a time.
pub(crate) struct TraceFolder {
    folder: Folder,
    key: String,
    lock: Lock,
}

/// What a folder has for a trace.
pub(crate) enum Opened {
    /// Something is left to do, perhaps after what was found before.
    Pending(TraceFolder, Option<Box<Found>>),
    /// Nothing is.
    Complete(Box<TraceSummary>),
}

impl TraceFolder {
    /// Makes the folder, or checks that an existing one may be written to.
    pub(crate) fn open(path: &Path, config: &TraceConfig, resume: bool) -> Result<Opened, TraceError> {
        let OutputFolder { folder, lock, resumed } = CONTENTS.open(path, config, resume, |_| Ok(()))?;
        let open = Self { folder, key: config.key(), lock };
        if !resumed {
            return Ok(Opened::Pending(open, None));
        }
        if open.has(SUMS)? {
            let summary = read_json(&open.folder.join(SUMMARY))?;
            open.clear(config.corpus.part.is_some())?;
            return Ok(Opened::Complete(Box::new(summary)));
        }
        let found = open.has(FOUND)?.then(|| read_found(path, &open.key)).transpose()?;
        Ok(Opened::Pending(open, found.map(Box::new)))
    }

    fn has(&self, name: &str) -> Result<bool, TraceError> {
        let path = self.folder.join(name);
        self.folder.has_file(name).map_err(TraceError::io(&path, "looking at the file"))
    }

    /// Saves what was found until some place of the corpus.
    pub(crate) fn save(&self, corpus: &ScanState, hits: &Hits) -> Result<(), TraceError> {
        let found = SavedFound { key: &self.key, corpus, hits };
        let written = self.folder.replace(FOUND, |file| {
            let mut file = BufWriter::with_capacity(1 << 20, file);
            serde_json::to_writer(&mut file, &found).map_err(io::Error::from)?;
            file.flush()
        });
        written.map_err(TraceError::io(&self.folder.join(FOUND), "writing"))
    }

    /// Writes the tables; returns the rows of the texts.
    pub(crate) fn write_tables(
        &self,
        rows: impl Iterator<Item = (TextRow, Vec<SpanRow>)>,
    ) -> Result<Vec<TextRow>, TraceError> {
        let mut texts = Vec::new();
        let spans = rows.map(|(text, spans)| {
            texts.push(text);
            spans
        });
        write_batches(&self.folder, SPANS, &self.key, spans)?;
        write_rows(&self.folder, TEXTS, &self.key, &texts)?;
        Ok(texts)
    }

    /// Completes the trace. What was found is kept for a merge if this is a part.
    pub(crate) fn finish(self, summary: &TraceSummary, is_part: bool) -> Result<(), TraceError> {
        write_json(&self.folder, SUMMARY, summary)?;
        sums::write(&self.folder, &FILES)?;
        self.clear(is_part)
    }

    /// Removes what a complete trace no longer needs, the lock last.
    fn clear(self, is_part: bool) -> Result<(), TraceError> {
        if !is_part && self.has(FOUND)? {
            self.folder.remove_file(FOUND).map_err(TraceError::io(&self.folder.join(FOUND), "removing"))?;
        }
        remove_lock(&self.folder)?;
        drop(self.lock);
        Ok(())
    }
}

/// Reads what a trace has found.
pub(crate) fn read_found(folder: &Path, key: &str) -> Result<Found, TraceError> {
    let path = folder.join(FOUND);
    let bytes = goldfish_storage::read(&path, MOST_FOUND).map_err(TraceError::io(&path, "reading"))?;
    let found: Found = serde_json::from_slice(&bytes)
        .map_err(|error| TraceError::bad_file(&path, format!("not what goldfish wrote: {error}")))?;
    if found.key != key {
        return Err(TraceError::bad_file(&path, format!("it is of another trace than {TRACE_NAME}")));
    }
    Ok(found)
}

/// A complete trace, read back.
#[derive(Debug)]
pub struct Trace {
    folder: PathBuf,
    /// What was looked for.
    pub config: TraceConfig,
    /// What was found.
    pub summary: TraceSummary,
}

impl Trace {
    /// Opens the folder of a trace.
    ///
    /// # Errors
    ///
    /// If it holds none, or one that is not complete or of another version.
    pub fn open(folder: &Path) -> Result<Self, TraceError> {
        let config: TraceConfig = read_json(&folder.join(TRACE_NAME))?;
        let summary = folder.join(SUMMARY);
        if !goldfish_storage::is_file(&folder.join(SUMS)) {
            let remedies = vec![Remedy::give(Setting::Resume).to("complete it")];
            return Err(TraceError::refused(folder, "the trace there is not complete", remedies));
        }
        let summary: TraceSummary = read_json(&summary)?;
        if summary.key != config.key() {
            return Err(TraceError::bad_file(&folder.join(SUMMARY), "it is not the summary of this trace"));
        }
        Ok(Self { folder: folder.to_owned(), config, summary })
    }

    /// Compares the files with their checksums.
    ///
    /// # Errors
    ///
    /// If the checksums can't be read. What is wrong with the files is among the problems.
    pub fn check(&self) -> Result<Vec<Problem>, TraceError> {
        Ok(sums::check(&self.folder, &FILES)?.1)
    }

    /// The texts in order.
    ///
    /// # Errors
    ///
    /// If the table can't be read or has other columns.
    pub fn texts(&self) -> Result<impl Iterator<Item = Result<TextRow, TraceError>> + use<>, TraceError> {
        read_table(&self.folder.join(TEXTS))
    }

    /// Places of the corpus, in the order of the texts; of one text those of spans in order, then those with edits.
    ///
    /// # Errors
    ///
    /// If the table can't be read or has other columns.
    pub fn spans(&self) -> Result<impl Iterator<Item = Result<SpanRow, TraceError>> + use<>, TraceError> {
        read_table(&self.folder.join(SPANS))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn read_table<R: Row>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<R, TraceError>> + use<R>, TraceError> {
    Ok(stream_rows::<R>(path)?.map(|row| row.map_err(TraceError::from)))
}
