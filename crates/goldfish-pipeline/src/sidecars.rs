//! Masks alone, for corpora that are tokenized: one file of masks a memmap, in the layout of its training loop.

use std::path::{Component, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

use goldfish_corpus::Input;
use goldfish_mask::diagnostics::Tally;
use goldfish_shard::{
    FILE_SET_TABLES, FILE_SET_VERSION, FileSet, FinishedFiles, InputEntry, KeptCounter, Manifest, Placement,
    PreviousRun, SetFile, StagedFile, StagedFiles, Totals, UnfinishedFiles, megatron,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::PipelineError;
use crate::execute::Executor;
use crate::job::{MaskJob, OnError, check_columns, check_paths};
use crate::job_error::JobError;
use crate::message::{Event, Message, WorkResult};
use crate::passage::Passage;
use crate::plan::{Plan, Position};
use crate::progress::Progress;
use crate::results::{Counts, OrderedResults, SequenceStates, for_each_result};
use crate::resume::{Identity, check_inputs, parse_states, to_json};
use crate::sample::{Sample, SampledDocument};
use crate::work::Shared;

/// A run that writes masks alone.
pub struct SidecarJob {
    /// What is masked and how. Its folder is where the masks go; columns, shards and partitions don't matter.
    pub mask: MaskJob,
    /// Whether that folder is the inputs' own.
    pub placement: Placement,
}

/// What such a run did.
#[derive(Debug, Clone)]
pub struct SidecarOutcome {
    /// Whether an earlier run wrote all masks, so that nothing was left to do.
    pub already_complete: bool,
    /// The manifest in the folder.
    pub files: FileSet,
    /// Counts over the tokens of some documents, of the one rule; none if an earlier run wrote all.
    pub tallies: Vec<Tally>,
    /// The first document with a dropped token among its first ones.
    pub passage: Option<Passage>,
    /// The documents that were counted, as far as they fit into memory. `None` if an earlier run wrote some of the masks.
    pub sample: Option<Vec<SampledDocument>>,
}

/// The deepest folder that holds all inputs, from which their names start.
#[must_use]
pub fn shared_folder(inputs: &[Input]) -> Option<PathBuf> {
    let first = inputs.first()?;
    let mut path = first.path.to_path_buf();
    if path.components().any(|component| component == Component::ParentDir) {
        // Names are those of the path without `..`, links not followed.
        path = PathBuf::new();
        for component in std::path::absolute(&first.path).ok()?.components() {
            if component == Component::ParentDir {
                path.pop();
            } else {
                path.push(component);
            }
        }
    }
    let folder = path.ancestors().nth(first.name.split('/').count())?;
    Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

/// Masks memmaps and writes the masks alone, one byte a token: 1 for a token in the loss. The masks are those of
/// [`mask_corpus`](crate::mask_corpus) to the bit.
///
/// # Errors
///
/// If an input is no memmap or can't be read, a document can't be masked, the rule or the options are not sound, or
/// the disk refuses. After an error nothing new has a final name. If the mask of a memmap was finished, the error is
/// [`PipelineError::UnfinishedMasks`], and a run with [`OutputMode::Resume`](goldfish_shard::OutputMode::Resume) resumes after it.
pub fn mask_sidecars(
    job: &SidecarJob,
    stop: &AtomicBool,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<SidecarOutcome, PipelineError> {
    let SidecarJob { mask, placement } = job;
    let mask = MaskJob { on_error: OnError::Fail, partition: None, ..mask.clone() };
    let executor = Executor::new(&mask)?;
    check_columns(&mask)?;
    if mask.policy.is_some() {
        return Err(JobError::PolicyOfMasks.into());
    }
    if *placement == Placement::OwnFolder {
        check_paths(&mask)?;
    }
    let mut names = Vec::new();
    for input in &mask.inputs {
        if input.path.to_str().is_none() {
            return Err(JobError::NameNotUtf8 { input: input.path.to_path_buf() }.into());
        }
        names.push(input.mask_names(*placement == Placement::Beside).ok_or_else(|| {
            JobError::NotAMemmap { input: input.path.to_path_buf(), format: input.format.to_string() }
        })?);
    }
    let plan = Plan { one_input_per_item: true, ..Plan::new(&mask.inputs, None)? };
    let identity = Identity::of_job(&mask, &plan);
    let (mut files, found) = StagedFiles::open(&mask.output, *placement, mask.output_mode)?;
    let unfinished = match found {
        PreviousRun::Nothing => None,
        PreviousRun::Unfinished(unfinished) => Some(unfinished),
        PreviousRun::Finished(set) => {
            files.abandon();
            let before = Identity::of_file_set(&set, mask.manifest(&plan));
            identity.check(&before.to_value(), (&plan, &set.inputs), 0, &mask.output)?;
            check_inputs(&plan, &set.inputs, None, executor.pool())?;
            let (tallies, passage, sample) = Default::default();
            return Ok(SidecarOutcome { already_complete: true, files: *set, tallies, passage, sample });
        }
    };
    let mut memmaps = unfinished.as_ref().map_or(0, |unfinished| unfinished.states.len());
    let written = match resume(&mask, (&plan, &identity), unfinished, &executor) {
        Ok(written) => written,
        Err(error) => {
            files.abandon();
            return Err(error);
        }
    };
    let checked = check_names(&mask.inputs, &names, &files).and_then(|()| match placement {
        Placement::Beside => check_earlier(&names, &files),
        Placement::OwnFolder => Ok(()),
    });
    let written = checked.and_then(|()| {
        let finished = FinishedFiles { files: memmaps, documents: written.totals.documents_out };
        let finished = (memmaps > 0).then_some(finished);
        let progress = Progress { bytes_total: plan.bytes(), finished, ..Progress::default() };
        let position = Position { step: memmaps, ..Position::default() };
        executor.execute(&mask, (&plan, position), progress, observe, |shared, receiver| {
            let sidecars = Sidecars::new(shared, &mut files, (&names, identity.to_json()), written);
            sidecars.run(receiver, stop, &mut memmaps)
        })
    });
    let (error, kept) = match written {
        Ok(mut written) => {
            let (passage, sample) = (written.passage.take(), written.sample.take());
            let tallies = written.counts.take().map(|counts| counts.tallies).unwrap_or_default();
            let set = written.file_set(mask.manifest(&plan), *placement == Placement::Beside);
            match files.publish(set) {
                Ok(files) => {
                    return Ok(SidecarOutcome { already_complete: false, files, tallies, passage, sample });
                }
                Err((error, kept)) => (error.into(), kept),
            }
        }
        Err(error) => (error, files.abandon()),
    };
    if !kept {
        return Err(error);
    }
    Err(PipelineError::UnfinishedMasks { error: Box::new(error), memmaps, output: mask.output.clone() })
}

/// What was written before; checks that it fits the job, and that its inputs are what they were.
fn resume(
    mask: &MaskJob,
    (plan, identity): (&Plan, &Identity),
    unfinished: Option<UnfinishedFiles>,
    executor: &Executor,
) -> Result<Written, PipelineError> {
    let Some(UnfinishedFiles { job, states, files }) = unfinished else { return Ok(Written::default()) };
    let mut written = Written { files, ..Written::default() };
    for state in parse_states::<State>(states, &mask.output) {
        let state = state?;
        written.inputs.push(state.input);
        (written.totals, written.sequences) = (state.totals, state.sequences);
        written.counts = Some(state.counts);
        written.kept = Some(state.kept);
    }
    identity.check(&job, (plan, &written.inputs), 0, &mask.output)?;
    check_inputs(plan, &written.inputs, None, executor.pool())?;
    Ok(written)
}

/// What the journal has with the mask of a memmap.
#[derive(Serialize, Deserialize)]
struct State {
    input: InputEntry,
    /// Of all memmaps so far.
    totals: Totals,
    counts: Counts,
    sequences: Option<SequenceStates>,
    kept: KeptCounter,
}

/// No mask may take the name of an input, of a file of others, or of another mask.
fn check_names(inputs: &[Input], names: &[Vec<String>], files: &StagedFiles) -> Result<(), PipelineError> {
    let mut read = std::collections::HashSet::new();
    for input in inputs {
        read.extend(goldfish_storage::canonicalize(&input.path));
        read.extend(
            input.companions().into_iter().filter_map(|(_, path)| goldfish_storage::canonicalize(&path).ok()),
        );
    }
    let mut seen = std::collections::HashSet::new();
    for (input, name) in
        inputs.iter().zip(names).flat_map(|(input, names)| names.iter().map(move |n| (input, n)))
    {
        files.check(name)?;
        let path = files.root().join(name);
        let owner = if !seen.insert(name) {
            "another input's mask"
        } else if goldfish_storage::canonicalize(&path).is_ok_and(|path| read.contains(&path)) {
            "an input"
        } else {
            continue;
        };
        return Err(JobError::MaskNameTaken { input: input.path.to_path_buf(), mask: path, owner }.into());
    }
    Ok(())
}

/// Beside memmaps, no mask of one that isn't masked now may go: the manifest of the folder names all its masks.
fn check_earlier(names: &[Vec<String>], files: &StagedFiles) -> Result<(), PipelineError> {
    let written: std::collections::HashSet<&String> = names.iter().flatten().collect();
    let lost =
        files.earlier().iter().filter(|name| !written.contains(name) && !FILE_SET_TABLES.contains(&&***name));
    let mut lost = lost.map(|name| files.root().join(name));
    match lost.find(|path| goldfish_storage::is_file(path)) {
        None => Ok(()),
        Some(mask) => Err(JobError::LosesMask { mask }.into()),
    }
}

/// Writes the masks that the workers bring.
struct Sidecars<'a> {
    shared: &'a Shared,
    files: &'a mut StagedFiles,
    /// Names of the mask files of each input.
    names: &'a [Vec<String>],
    /// What the run is about, for the journal.
    job: Box<RawValue>,
    results: OrderedResults<'a>,
    open: Option<OpenMask>,
    written: Written,
}

/// The mask of the current input.
struct OpenMask {
    file: StagedFile,
    documents: u64,
    tokens: u64,
}

/// What was written.
#[derive(Default)]
struct Written {
    inputs: Vec<InputEntry>,
    files: Vec<SetFile>,
    totals: Totals,
    counts: Option<Counts>,
    passage: Option<Passage>,
    sample: Option<Vec<SampledDocument>>,
    /// Packed sequences after the last finished mask of an earlier run.
    sequences: Option<SequenceStates>,
    /// The longest runs so far.
    kept: Option<KeptCounter>,
}

impl Written {
    fn file_set(self, manifest: Manifest, beside_inputs: bool) -> FileSet {
        FileSet {
            file_set_version: FILE_SET_VERSION,
            tool: manifest.tool,
            layout: "masks".into(),
            rule: manifest.rule,
            policy: Vec::new(),
            scope: manifest.scope,
            exempt_ids: manifest.exempt_ids,
            existing_mask: manifest.existing_mask,
            tokenizer: manifest.tokenizer,
            source: manifest.source,
            sequence_length: None,
            shards: None,
            beside_inputs,
            inputs: self.inputs,
            input_table: None,
            files: self.files,
            file_table: None,
            totals: self.totals,
            longest_kept_run: self.kept.map(|kept| kept.runs().clone()),
            checksum: String::new(),
        }
    }
}

impl<'a> Sidecars<'a> {
    fn new(
        shared: &'a Shared,
        files: &'a mut StagedFiles,
        (names, job): (&'a [Vec<String>], Box<RawValue>),
        mut written: Written,
    ) -> Self {
        let (sequences, counts) = (written.sequences.take(), written.counts.take());
        let results = OrderedResults::new(shared, sequences, counts, written.kept.take());
        Self { shared, files, names, job, results, open: None, written }
    }

    /// Writes all masks; `memmaps` counts those that the journal knows.
    fn run(
        mut self,
        receiver: Receiver<Message<WorkResult>>,
        stop: &AtomicBool,
        memmaps: &mut usize,
    ) -> Result<Written, PipelineError> {
        for_each_result(receiver, stop, |result| {
            self.write(result)?;
            *memmaps = self.written.inputs.len();
            Ok(())
        })?;
        let OrderedResults { counts, kept, passage, sample, .. } = self.results;
        let sample = sample.map(Sample::into_documents);
        Ok(Written { counts: Some(counts), kept: Some(kept), passage, sample, ..self.written })
    }

    fn write(&mut self, result: WorkResult) -> Result<(), PipelineError> {
        let WorkResult { mut documents, events, tallies, protected, .. } = result;
        self.results.add(&mut documents, &tallies, &protected);
        let mut row = 0;
        for event in events {
            match event {
                Event::Documents { count, .. } => {
                    let end = row + count as usize;
                    let range = documents.offsets[row] as usize..documents.offsets[end] as usize;
                    self.append(&documents.mask[range], count)?;
                    row = end;
                }
                Event::Reject(reject) => return Err(PipelineError::Unmasked(reject)),
                Event::End(entry) => self.end(entry)?,
            }
        }
        Ok(())
    }

    /// The mask of the current input, which is the first one without a mask.
    fn current(&mut self) -> Result<&mut OpenMask, PipelineError> {
        match &mut self.open {
            Some(open) => Ok(open),
            none => {
                let file = self.files.create(&self.names[self.written.inputs.len()][0])?;
                Ok(none.insert(OpenMask { file, documents: 0, tokens: 0 }))
            }
        }
    }

    fn append(&mut self, mask: &[u8], documents: u64) -> Result<(), PipelineError> {
        let open = self.current()?;
        open.file.put(mask)?;
        open.documents += documents;
        open.tokens += mask.len() as u64;
        self.written.totals.dropped += mask.iter().map(|&keep| u64::from(keep == 0)).sum::<u64>();
        Ok(())
    }

    /// Ends the mask of an input, which has as many bytes as the input has tokens.
    fn end(&mut self, mut entry: InputEntry) -> Result<(), PipelineError> {
        self.current()?;
        let Some(OpenMask { file, documents, tokens }) = self.open.take() else { return Ok(()) };
        let (index, files) = (self.written.inputs.len(), self.written.files.len());
        let width = match tokens {
            0 => 1,
            tokens => entry.size / tokens,
        };
        let covered = [1, 2, 4, 8].contains(&width) && width * tokens == entry.size;
        if !covered {
            return Err(JobError::TokensMissing { input: entry.name, tokens, bytes: entry.size }.into());
        }
        entry.documents = documents;
        let totals = &mut self.written.totals;
        totals.documents_in += documents;
        totals.documents_out += documents;
        totals.tokens += tokens;
        self.written.files.push(file.finish("loss mask, one byte a token: 1 in the loss, 0 dropped")?);
        if let (Some(name), Some(companion)) = (self.names[index].get(1), entry.companions.first()) {
            let input = &self.shared.job.inputs[index];
            let mut file = self.files.create(name)?;
            let path = input.path.with_extension("idx");
            if megatron::mirror_index(&path, &mut file)? != companion.digest {
                return Err(PipelineError::InputChanged { path, bytes: companion.digest.size });
            }
            self.written.files.push(file.finish("Megatron index of the loss mask, uint8")?);
        }
        let state = to_json(&State {
            input: entry.clone(),
            totals: self.written.totals.clone(),
            counts: self.results.counts.clone(),
            sequences: self.results.states(),
            kept: self.results.kept.clone(),
        });
        self.files.record(&self.job, &self.written.files[files..], state)?;
        self.written.inputs.push(entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use goldfish_corpus::Format;

    use super::*;

    fn input(path: &str, name: &str) -> Input {
        Input {
            path: PathBuf::from(path).into(),
            name: name.into(),
            format: Format::named("datatrove").unwrap(),
        }
    }

    #[test]
    fn names_start_at_the_shared_folder() {
        let folder = |path, name| shared_folder(&[input(path, name)]);
        assert_eq!(folder("a.ds", "a.ds"), Some(".".into()));
        assert_eq!(folder("data/x/a.ds", "x/a.ds"), Some("data".into()));
        assert_eq!(folder("/data/a.ds", "a.ds"), Some("/data".into()));
        assert_eq!(folder("/data/x/../y/a.ds", "y/a.ds"), Some("/data".into()));
        assert_eq!(shared_folder(&[]), None);
    }
}
