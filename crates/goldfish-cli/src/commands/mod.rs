//! One file a verb.

pub(crate) mod audit;
pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod lab;
pub(crate) mod mask;
mod masks_only;
pub(crate) mod merge;
pub(crate) mod report;
pub(crate) mod verify;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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

/// A flag that SIGINT (Ctrl-C) and SIGTERM set. A second signal ends the program at once, which loses nothing either.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 2, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// The command line with --resume.
fn resume_command(arguments: impl Iterator<Item = OsString>) -> String {
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let arguments = arguments.filter(|argument| !["--overwrite", "--resume"].contains(&argument.as_str()));
    print::shell_line(arguments.chain(["--resume".to_owned()]))
}

/// Writes a page, whole or not at all. `option` is what names its path.
fn write_page(path: &Path, page: &str, option: &str) -> anyhow::Result<()> {
    // A link or a folder of the name is not replaced: its target may be what the user wants to keep.
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        anyhow::bail!("{} is a link, a folder or a device; choose another {option}", path.display());
    }
    let written = goldfish_storage::replace_file(path, page.as_bytes());
    written.with_context(|| format!("{} can't be written; choose another {option}", path.display()))?;
    print::note(&format!("wrote {}; open it in a browser", path.display()));
    Ok(())
}
