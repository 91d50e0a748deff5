//! The architectures, one file each.

mod llama;
mod nope;
#[cfg(test)]
mod toy;

use crate::architecture::{Architecture, ArchitectureKind, Vocabulary};
use crate::error::LabError;
use crate::options::ModelOptions;

/// Every architecture.
pub static ARCHITECTURES: &[&ArchitectureKind] = &[
    &llama::KIND,
    &nope::KIND,
    #[cfg(test)]
    &toy::KIND,
];

/// Makes the architecture that the options name; `context_length` in tokens, if they name none.
///
/// # Errors
///
/// If its name is unknown, or the sizes don't fit each other.
pub fn architecture(
    options: &ModelOptions,
    vocabulary: &Vocabulary,
    context_length: usize,
) -> Result<Box<dyn Architecture>, LabError> {
    let Some(kind) = ARCHITECTURES.iter().find(|kind| kind.name == options.architecture) else {
        let known: Vec<&str> = ARCHITECTURES.iter().map(|kind| kind.name).collect();
        let reason = format!("{:?} is unknown; known are {}", options.architecture, known.join(", "));
        return Err(LabError::option("architecture", reason));
    };
    (kind.build)(options, vocabulary, options.context_length.unwrap_or(context_length))
}
