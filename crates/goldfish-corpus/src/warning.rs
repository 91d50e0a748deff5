//! What is suspicious about how inputs are read.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use goldfish_remedy::{Remedies, Remedy};

/// Something suspicious about a file, which other options may read better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub path: Arc<Path>,
    /// What is suspicious.
    pub message: String,
    /// The options to look at.
    pub remedies: Vec<Remedy>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl Remedies for Warning {
    fn remedies(&self) -> Vec<Remedy> {
        self.remedies.clone()
    }
}
