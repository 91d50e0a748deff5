use std::path::{Path, PathBuf};

use goldfish_audit::AuditError;
use goldfish_corpus::CorpusError;
use goldfish_match::MatchError;
use goldfish_pipeline::PipelineError;
use goldfish_remedy::{Remedies, Remedy, Setting};

/// Why texts can't be traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The corpus can't be read.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The texts can't be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A table or a file of JSON can't be read or written.
    #[error(transparent)]
    File(#[from] AuditError),
    /// A text can't be read.
    #[error("{file}: row {row}: {reason}; each row needs a text and an id")]
    BadText {
        /// The file.
        file: String,
        /// The row, from 0.
        row: u64,
        /// What is wrong.
        reason: String,
    },
    /// Two texts have one id.
    #[error("two texts have the id {id:?}; give each its own")]
    TextTwice {
        /// The id.
        id: String,
    },
    /// There is nothing to look for.
    #[error("there are no texts to trace")]
    NoTexts,
    /// No text is long enough to be found.
    #[error("none of the {texts} texts has {least}, the least that a span has")]
    AllTooShort {
        /// How many texts there are.
        texts: usize,
        /// The shortest span.
        least: String,
    },
    /// There are too many texts.
    #[error("the texts have too many words at {id:?}; trace them in several runs")]
    TooManyWords {
        /// The first text without room.
        id: String,
    },
    /// The texts can't be indexed.
    #[error("the texts: {0}")]
    Match(#[from] MatchError),
    /// Spans would be too short.
    #[error("spans of {words} words are too short: at least {least}, or the corpus has them everywhere")]
    ShortSpans {
        /// The words that were asked for.
        words: u32,
        /// The fewest.
        least: u32,
    },
    /// The output folder can't be used.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do about it.
        remedies: Vec<Remedy>,
    },
    /// A file of a trace is not what it should be.
    #[error("{}: {reason}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk refuses.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// The trace was stopped, and what it found until then is kept.
    #[error("{error}\nWhat was found in {documents} documents is kept in {}", output.display())]
    Unfinished {
        /// Why it stopped.
        error: Box<TraceError>,
        /// Documents that need not be searched again.
        documents: u64,
        /// The output folder.
        output: PathBuf,
    },
}

impl TraceError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn bad_file(path: &Path, reason: impl Into<String>) -> Self {
        Self::BadFile { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn refused(path: &Path, reason: impl Into<String>, remedies: Vec<Remedy>) -> Self {
        Self::Refused { path: path.to_owned(), reason: reason.into(), remedies }
    }
}

impl Remedies for TraceError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Pipeline(error) => error.remedies(),
            Self::Corpus(error) => error.remedies(),
            Self::File(error) => error.remedies(),
            Self::Refused { remedies, .. } => remedies.clone(),
            Self::Unfinished { .. } => vec![Remedy::give(Setting::Resume).to("search the rest")],
            _ => Vec::new(),
        }
    }
}
