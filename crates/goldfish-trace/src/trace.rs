//! A trace from start to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use goldfish_audit::files::read_json;
use goldfish_corpus::Input;
use goldfish_pipeline::{Progress, ScanJob, ScanState, scan_corpus};
use goldfish_storage::canonicalize;

use crate::error::TraceError;
use crate::folder::{Found, Opened, TRACE_NAME, Trace, TraceConfig, TraceFolder, read_found};
use crate::hits::Hits;
use crate::results::Results;
use crate::search::Searched;
use crate::summary::TraceSummary;
use crate::texts::{Group, Least, Texts};

/// Where to look for texts, and how.
#[derive(Clone)]
pub struct TraceJob {
    /// The corpus.
    pub corpus: ScanJob,
    /// How long a span is at least.
    pub least: Least,
    /// Chooses which places are kept where there are many, and resamples texts for intervals.
    pub seed: u64,
    /// The folder to write.
    pub output: PathBuf,
    /// Whether to resume a trace that is there.
    pub resume: bool,
    /// How often what was found is saved, so that a trace can be resumed.
    pub save_every: Duration,
}

/// The outcome of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// What was found.
    pub summary: TraceSummary,
    /// Whether an earlier run had found it already.
    pub was_complete: bool,
}

/// Where a trace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceProgress {
    /// The corpus is read; documents that an earlier run searched, and the rest.
    Searching(u64, Progress),
    /// The tables are written.
    Writing,
}

/// Saving takes one part of so many of the time at most.
const SAVING_SHARE: u32 = 20;

/// Looks for texts in a corpus.
///
/// `observe` is called a few times a second, from a thread of its own. If `stop` becomes true, the trace ends early, and what
/// it has found stays for another one.
///
/// # Errors
///
/// If the corpus can't be read, a row of the corpus is bad and rows are not to be skipped, the folder holds something
/// else, or the disk refuses. After [`TraceError::Unfinished`] a trace that resumes searches the rest.
pub fn trace(
    mut texts: Texts,
    job: &TraceJob,
    stop: &AtomicBool,
    observe: &(dyn Fn(TraceProgress) + Sync),
) -> Result<Traced, TraceError> {
    check_paths(job)?;
    let searched = Arc::new(texts.index(job.least, job.seed)?);
    let config = TraceConfig::new(&texts, job.least, job.seed, job.corpus.identity()?);
    let (folder, found) = match TraceFolder::open(&job.output, &config, job.resume)? {
        Opened::Complete(summary) => return Ok(Traced { summary: *summary, was_complete: true }),
        Opened::Pending(folder, found) => (folder, found.map(|found| *found).unwrap_or_default()),
    };
    let is_part = job.corpus.partition.is_some();
    let Found { corpus: state, hits, .. } = found;
    let before = state.documents;
    let (every, last) = (job.save_every, Instant::now());
    let mut saving = Saving { folder: &folder, hits, saved: before, every, last };
    let scanned = scan_corpus(
        &job.corpus,
        searched.clone(),
        state,
        stop,
        &|progress| observe(TraceProgress::Searching(before, progress)),
        &mut |state, hits| saving.add(state, hits),
    );
    let corpus = scanned.map_err(|error| unfinished(error.into(), saving.saved, &job.output))?;
    let mut hits = saving.hits;
    observe(TraceProgress::Writing);
    hits.settle();
    if is_part {
        folder.save(&corpus, &hits)?;
    }
    let summary = write(&folder, &config, &texts, &searched, (&corpus, &hits))?;
    folder.finish(&summary, is_part)?;
    Ok(Traced { summary, was_complete: false })
}

/// Joins the traces of all parts of a corpus into one of the whole. The folders can be in any order.
///
/// # Errors
///
/// If a part is missing or not complete, they are of different traces, or the folder can't be written.
pub fn merge_traces(parts: &[PathBuf], output: &Path) -> Result<TraceSummary, TraceError> {
    let mut opened = parts.iter().map(|part| Trace::open(part)).collect::<Result<Vec<_>, _>>()?;
    opened.sort_by_key(|trace| trace.config.corpus.part);
    let Some(first) = opened.first() else {
        return Err(TraceError::refused(output, "there are no parts to merge", Vec::new()));
    };
    let mut config = first.config.clone();
    let world = config.corpus.part.map_or(0, |part| part.1);
    for (rank, part) in (0..).zip(&opened) {
        config.corpus.part = Some((rank, world));
        if part.config != config {
            let reason = format!("it is not part {rank} of {world} of the same trace");
            return Err(TraceError::refused(part.folder(), reason, Vec::new()));
        }
    }
    config.corpus.part = None;
    if opened.len() != world as usize {
        let reason = format!("{} of {world} parts are there; give all", opened.len());
        return Err(TraceError::refused(output, reason, Vec::new()));
    }
    let mut texts = Texts::of(config.kind);
    for row in first.texts()? {
        let row = row?;
        let Some(group) = Group::of_name(&row.group) else {
            return Err(TraceError::bad_file(first.folder(), format!("a text of the group {:?}", row.group)));
        };
        texts.add(&row.text_id, &row.text, group, &row.cluster)?;
    }
    if texts.digest() != config.texts_hash {
        return Err(TraceError::bad_file(first.folder(), "its texts are not those that were traced"));
    }
    let searched = texts.index(config.least, config.seed)?;
    let (mut corpus, mut hits) = (ScanState::default(), Hits::default());
    for part in &opened {
        let found = read_found(part.folder(), &part.config.key())?;
        corpus.add(found.corpus);
        hits.merge(found.hits);
    }
    hits.settle();
    let folder = match TraceFolder::open(output, &config, false)? {
        Opened::Complete(summary) => return Ok(*summary),
        Opened::Pending(folder, _) => folder,
    };
    let summary = write(&folder, &config, &texts, &searched, (&corpus, &hits))?;
    folder.finish(&summary, false)?;
    Ok(summary)
}

/// Whether a folder holds a trace, complete or not.
#[must_use]
pub fn is_trace(folder: &Path) -> bool {
    read_json::<TraceConfig>(&folder.join(TRACE_NAME)).is_ok()
}

fn write(
    folder: &TraceFolder,
    config: &TraceConfig,
    texts: &Texts,
    searched: &Searched,
    (corpus, hits): (&ScanState, &Hits),
) -> Result<TraceSummary, TraceError> {
    let results = Results::new(texts, searched, hits, config.least);
    let rows = folder.write_tables(results.rows())?;
    Ok(results.summary(&config.key(), &rows, corpus))
}

/// No input may be in the output folder.
fn check_paths(job: &TraceJob) -> Result<(), TraceError> {
    let Ok(output) = canonicalize(&job.output) else { return Ok(()) };
    let inside = |input: &&Input| canonicalize(&input.path).is_ok_and(|path| path.starts_with(&output));
    match job.corpus.inputs.iter().find(inside) {
        None => Ok(()),
        Some(input) => {
            let reason = format!("the input {} is in the output folder", input.name);
            Err(TraceError::refused(&job.output, reason, Vec::new()))
        }
    }
}

/// What was found so far, saved from time to time.
struct Saving<'a> {
    folder: &'a TraceFolder,
    hits: Hits,
    /// Documents before the place where it was saved.
    saved: u64,
    every: Duration,
    last: Instant,
}

impl Saving<'_> {
    /// Adds what was found after a state of the scan.
    fn add(&mut self, state: &ScanState, hits: Hits) {
        if self.last.elapsed() >= self.every && state.documents > self.saved {
            let started = Instant::now();
            // If it can't be saved now, it may be later; the tables of a full disk will say so.
            if self.folder.save(state, &self.hits).is_ok() {
                self.saved = state.documents;
            }
            self.every = self.every.max(SAVING_SHARE * started.elapsed());
            self.last = Instant::now();
        }
        self.hits.merge(hits);
    }
}

/// An error, with what was saved before it.
fn unfinished(error: TraceError, documents: u64, output: &Path) -> TraceError {
    if documents == 0 {
        return error;
    }
    TraceError::Unfinished { error: Box::new(error), documents, output: output.to_owned() }
}
