//! The architectures, one file each.

mod aaren;
mod hard_alibi;
mod hedgehog;
mod lab;
mod linear;
mod llama;
mod lstm;
mod mamba;
mod nope;
#[cfg(test)]
mod toy;

use serde_json::Value;

use crate::architecture::{Architecture, ArchitectureKind, Vocabulary};
use crate::error::LabError;
use crate::options::ModelOptions;

/// Every architecture.
pub static ARCHITECTURES: &[&ArchitectureKind] = &[
    &llama::KIND,
    &nope::KIND,
    &hard_alibi::KIND,
    &aaren::KIND,
    &linear::KIND,
    &hedgehog::KIND,
    &lstm::KIND,
    &mamba::KIND,
    #[cfg(test)]
    &toy::KIND,
];

/// Makes the architecture that the options name; `context_length` in tokens, if they name none.
///
/// # Errors
///
/// If its name is unknown, the sizes don't fit each other, or it doesn't have one of them.
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
    if let Some(name) = options.sizes.keys().find(|name| kind.sizes.iter().all(|size| size.name != **name)) {
        let known: Vec<&str> = kind.sizes.iter().map(|size| size.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let reason = format!("{} has no size {name:?}; its own are: {known}", kind.name);
        return Err(LabError::option("sizes", reason));
    }
    let config = (kind.config)(options, vocabulary, options.context_length.unwrap_or(context_length))?;
    (kind.open)(config, options.initial_deviation)
}

/// The architecture of a checkpoint's `config.json`; new matrices would start with this standard deviation.
///
/// # Errors
///
/// If no architecture trains it, or its settings are damaged.
pub fn architecture_of(config: Value, initial_deviation: f64) -> Result<Box<dyn Architecture>, LabError> {
    let Some(kind) = ARCHITECTURES.iter().find(|kind| (kind.recognizes)(&config)) else {
        let known: Vec<&str> = ARCHITECTURES.iter().map(|kind| kind.name).collect();
        let reason = format!(
            "a checkpoint of {} can't be trained; known are {}",
            config["model_type"],
            known.join(", ")
        );
        return Err(LabError::option("from", reason));
    };
    (kind.open)(config, initial_deviation)
}
