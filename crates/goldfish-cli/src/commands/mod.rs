//! One file a verb.

pub(crate) mod inspect;
pub(crate) mod mask;
pub(crate) mod merge;
pub(crate) mod verify;

use std::path::Path;

use anyhow::Context;
use goldfish_corpus::read_npy;
use goldfish_mask::UniformTable;

/// The hash table of `--table`, if it was given.
fn read_table(path: Option<&Path>) -> anyhow::Result<Option<UniformTable>> {
    let Some(path) = path else { return Ok(None) };
    let table = UniformTable::from_values(read_npy(path)?).with_context(|| path.display().to_string())?;
    Ok(Some(table))
}
