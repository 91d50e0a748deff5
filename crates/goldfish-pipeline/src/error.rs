use std::path::{Path, PathBuf};

use goldfish_corpus::{CorpusError, Reject};
use goldfish_mask::MaskError;
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_shard::{FinishedFiles, ShardError};
use goldfish_tokenize::TokenizeError;

use crate::job_error::JobError;

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// An input can't be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A shard can't be written or read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The rule can't be built.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The tokenizer can't be used.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// A row can't become a document, and bad rows are to stop the run.
    #[error(
        "{}: row {}{}: {}\nFix the row or the options",
        .0.file,
        .0.row,
        .0.offset.map(|offset| format!(" (at byte {offset})")).unwrap_or_default(),
        .0.reason
    )]
    Rejected(Box<Reject>),
    /// A document has no mask, but every token of a memmap needs one.
    #[error(
        "{}: document {}: {}\nWithout a mask for each of its tokens the whole file's masks would be misaligned, so none was written; fix the file or the options",
        .0.file,
        .0.row,
        .0.reason
    )]
    Unmasked(Reject),
    /// Two inputs disagree about a carried column.
    #[error(
        "{file}: the carried columns are {found}, but in the inputs before it {expected}; mask them separately"
    )]
    CarriedDiffer {
        /// The input.
        file: String,
        /// Its columns.
        found: String,
        /// The columns of the inputs before it.
        expected: String,
    },
    /// A batch doesn't fit its schema.
    #[error("{file}: {source}; this is a bug in goldfish, please report it")]
    Batch {
        /// The input.
        file: String,
        /// What the library said.
        source: arrow::error::ArrowError,
    },
    /// Code panicked on some input.
    #[error("{file}: {message}; this is a bug in goldfish or a library, please report it")]
    Panicked {
        /// The input.
        file: String,
        /// The panic's message.
        message: String,
    },
    /// The run was stopped.
    #[error("interrupted")]
    Interrupted,
    /// The run stopped, and what it finished is kept.
    #[error("{error}\n{} with {} are kept in {}",
        count(finished.files as u64, "finished shard"), count(finished.documents, "document"), output.display())]
    Unfinished {
        /// Why it stopped.
        error: Box<PipelineError>,
        /// What is kept.
        finished: FinishedFiles,
        /// The output folder.
        output: PathBuf,
    },
    /// The run stopped, and the masks that it finished are kept.
    #[error("{error}\nThe masks of {} are kept in {}", count(*memmaps as u64, "memmap"), output.display())]
    UnfinishedMasks {
        /// Why it stopped.
        error: Box<PipelineError>,
        /// How many memmaps have their masks.
        memmaps: usize,
        /// The output folder.
        output: PathBuf,
    },
    /// The output folder holds another job.
    #[error(
        "{}: can't resume what is there, which was made differently: {differences}{}",
        output.display(),
        if *only_settings { "" } else { "\nGive the same inputs and options and use the same goldfish" }
    )]
    OtherJob {
        /// The output folder.
        output: PathBuf,
        /// What differs.
        differences: String,
        /// The options that differ.
        settings: Vec<Setting>,
        /// Whether nothing else differs.
        only_settings: bool,
    },
    /// An input is not what it was.
    #[error(
        "{}: its first {bytes} bytes are not those that were read before; bring the old file back",
        path.display()
    )]
    InputChanged {
        /// The file.
        path: PathBuf,
        /// How much of it was read.
        bytes: u64,
    },
    /// The options contradict each other or the inputs.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The state in a journal can't be used.
    #[error("{}: the journal of the unfinished run can't be used: {source}", output.display())]
    BadState {
        /// The output folder.
        output: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The counts in a journal are those of other rules.
    #[error("{}: the journal of the unfinished run was changed: its counts are those of other rules", output.display())]
    BadCounts {
        /// The output folder.
        output: PathBuf,
    },
    /// The worker threads can't be started.
    #[error("{threads} threads can't be started: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the library said.
        source: rayon::ThreadPoolBuildError,
    },
    /// The reading thread can't be started.
    #[error("no thread can be started: {0}; close other programs")]
    ReaderThread(std::io::Error),
}

impl PipelineError {
    /// The same error with what is kept of the run, if anything is.
    pub(crate) fn with_finished(self, finished: Option<FinishedFiles>, output: &Path) -> Self {
        match finished {
            None => self,
            Some(finished) => Self::Unfinished { error: Box::new(self), finished, output: output.to_owned() },
        }
    }
}

fn count(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

impl Remedies for PipelineError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Corpus(error) => error.remedies(),
            Self::Shard(error) => error.remedies(),
            Self::Mask(error) => mask_remedies(error),
            Self::Tokenize(error) => error.remedies(),
            Self::Job(error) => error.remedies(),
            Self::Rejected(reject) => {
                let skip = Remedy::give(Setting::OnError).value("skip");
                let mut remedies = reject.remedies();
                remedies.push(skip.to("leave such rows out and list them in rejects.jsonl"));
                remedies
            }
            Self::Unmasked(reject) => reject.remedies(),
            Self::CarriedDiffer { .. } => vec![Remedy::omit(Setting::Carry)],
            Self::Unfinished { .. } | Self::UnfinishedMasks { .. } => {
                vec![Remedy::give(Setting::Resume).to("resume after them")]
            }
            Self::OtherJob { settings, .. } => {
                let start_again = Remedy::give(Setting::Overwrite).to("start again");
                Remedy::keep(settings.clone()).into_iter().chain([start_again]).collect()
            }
            Self::InputChanged { .. } | Self::BadState { .. } | Self::BadCounts { .. } => {
                vec![Remedy::give(Setting::Overwrite).to("start again")]
            }
            Self::Threads { .. } => vec![Remedy::change(Setting::Threads)],
            Self::Batch { .. } | Self::Panicked { .. } | Self::Interrupted | Self::ReaderThread(_) => {
                Vec::new()
            }
        }
    }
}

/// What to do about an error of a rule, whose crate has no options to give.
#[must_use]
pub fn mask_remedies(error: &MaskError) -> Vec<Remedy> {
    match error {
        MaskError::AnchorContext { .. } | MaskError::Context { .. } => vec![Remedy::change(Setting::Context)],
        MaskError::LongestRun { least, .. } => {
            vec![Remedy::give(Setting::LongestRun).value(least.to_string())]
        }
        MaskError::LookaheadInSequences => vec![Remedy::give(Setting::Rule).value("hash")],
        MaskError::TableMissing { .. } => vec![Remedy::give(Setting::Table)],
        MaskError::NoCoefficients => vec![Remedy::give(Setting::Coefficients)],
        _ => Vec::new(),
    }
}
