//! One file a verb.

pub(crate) mod compare;
pub(crate) mod inspect;
pub(crate) mod mask;
pub(crate) mod merge;
pub(crate) mod report;
pub(crate) mod verify;

use std::path::{Path, PathBuf};

use anyhow::Context;
use goldfish_corpus::read_npy;
use goldfish_mask::UniformTable;

use crate::print;

/// The hash table of `--table`, if it was given.
fn read_table(path: Option<&Path>) -> anyhow::Result<Option<UniformTable>> {
    let Some(path) = path else { return Ok(None) };
    let table = UniformTable::from_values(read_npy(path)?).with_context(|| path.display().to_string())?;
    Ok(Some(table))
}

/// Writes a page, whole or not at all. `option` is what names its path.
fn write_page(path: &Path, page: &str, option: &str) -> anyhow::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".partial");
    let unfinished = PathBuf::from(unfinished);
    let written = std::fs::write(&unfinished, page).and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        // Best effort: the error that led here is the one to report.
        let _ = std::fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("{} can't be written; choose another {option}", path.display()))?;
    print::note(&format!("wrote {}; open it in a browser", path.display()));
    Ok(())
}
