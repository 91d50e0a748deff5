use std::path::{Path, PathBuf};

use goldfish_remedy::{Remedies, Remedy, Setting};

const GIB: f64 = (1 << 30) as f64;

/// Why a checkpoint can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A setting that is not supported.
    #[error("{}: {key} is {found}, which is not supported; {advice}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// Its value.
        found: String,
        /// What to do instead.
        advice: String,
    },
    /// An invalid setting.
    #[error("{}: {key} {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file with unexpected contents.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that is missing, unexpected, of another shape or not finite.
    #[error("{}: tensor {name:?} {reason}", path.display())]
    Tensor {
        /// The file, or the folder for a missing tensor.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The weights don't fit into memory.
    #[error(
        "{}: needs {:.1} GiB for its weights, and this machine has {:.1}",
        path.display(), *needed as f64 / GIB, *available as f64 / GIB
    )]
    TooLittleMemory {
        /// The folder.
        path: PathBuf,
        /// Bytes of all weights, as they are kept in memory.
        needed: u64,
        /// Bytes of memory, swap included.
        available: u64,
    },
    /// A memory of blocks can't be used.
    #[error("{name} can't attend to blocks of earlier tokens: {reason}")]
    NoMemory {
        /// The model.
        name: String,
        /// Why.
        reason: String,
    },
    /// The window of a memory of blocks is longer than the model's context.
    #[error("{name} has a context of {context} tokens, and the window has {window}")]
    WindowTooLong {
        /// The model.
        name: String,
        /// Tokens of the window.
        window: u32,
        /// Tokens of the context.
        context: u64,
    },
    /// Something is beyond its cap.
    #[error("{}: {what} is {found}, at most {cap} is accepted", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// What is large.
        what: String,
        /// How large.
        found: u64,
        /// The cap.
        cap: u64,
    },
    /// A computation failed.
    #[error("the model could not be run: {0}")]
    Compute(#[from] candle_core::Error),
}

impl CheckpointError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }

    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn tensor(path: &Path, name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { path: path.into(), name: name.into(), reason: reason.into() }
    }
}

impl Remedies for CheckpointError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Unsupported { .. } | Self::TooLittleMemory { .. } => {
                vec![Remedy::give(Setting::Server).to("audit the model on a server")]
            }
            Self::NoMemory { .. } => vec![Remedy::omit(Setting::MemoryWindow)],
            Self::WindowTooLong { .. } => vec![Remedy::change(Setting::MemoryWindow)],
            _ => Vec::new(),
        }
    }
}
