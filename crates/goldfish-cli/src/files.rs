//! Files that commands read and write beside their folders.

use std::path::{Path, PathBuf};

use anyhow::Context;
use goldfish_corpus::{Resolved, read_npy, resolve};
use goldfish_mask::UniformTable;
use goldfish_pipeline::{
    MAX_POLICY_BYTES, MaskOptions, Partition, Policy, PolicyError, ProtectOptions, ResolvedMask,
};

use crate::print;

/// The part of the inputs that a run reads, if it is one of several.
pub(crate) fn partition(rank: Option<u32>, world: Option<u32>) -> Option<Partition> {
    rank.zip(world).map(|(rank, world)| Partition { rank, world })
}

/// The folder of a part below that of all, or that of all.
pub(crate) fn part_folder(output: PathBuf, partition: Option<Partition>) -> PathBuf {
    match partition {
        None => output,
        Some(Partition { rank, world }) => output.join(goldfish_shard::part_folder(rank, world)),
    }
}

/// The hash table of `--table`, if it was given.
pub(crate) fn read_table(path: Option<&Path>) -> anyhow::Result<Option<UniformTable>> {
    let Some(path) = path else { return Ok(None) };
    let table = UniformTable::from_values(read_npy(path)?).with_context(|| path.display().to_string())?;
    Ok(Some(table))
}

/// The policy of `--policy`, with what its default resolves to.
pub(crate) fn read_policy(path: &Path, options: &MaskOptions) -> anyhow::Result<(Policy, ResolvedMask)> {
    let shown = || path.display().to_string();
    let bytes = goldfish_storage::read(path, MAX_POLICY_BYTES).with_context(shown)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    Policy::parse(&text, options).map_err(|error| {
        let below = match &error {
            PolicyError::Syntax { reason } => reason.lines().map(|line| format!("  {line}")).collect(),
            PolicyError::Problems { problems } => {
                problems.iter().map(|problem| format!("  {problem}")).collect()
            }
            _ => Vec::new(),
        };
        print::advised(anyhow::Error::from(error).context(shown()), below)
    })
}

/// The files with the protected works of a policy, whose path starts at the folder of the policy file.
pub(crate) fn works_of(policy: &Path, options: &ProtectOptions) -> anyhow::Result<Resolved> {
    let path = if goldfish_storage::is_remote(Path::new(&options.works)) {
        options.works.clone()
    } else {
        let path = policy.parent().unwrap_or(Path::new("")).join(&options.works);
        path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned()
    };
    Ok(resolve(&[path], None)?)
}

/// Writes a page. `option` is what names its path.
pub(crate) fn write_page(path: &Path, page: &str, option: &str) -> anyhow::Result<()> {
    write_file(path, page, option)?;
    print::note(&format!("wrote {}; open it in a browser", path.display()));
    Ok(())
}

/// Writes a file, whole or not at all. `option` is what names its path.
pub(crate) fn write_file(path: &Path, contents: &str, option: &str) -> anyhow::Result<()> {
    // A link or a folder of the name is not replaced: its target may be what the user wants to keep.
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        anyhow::bail!("{} is a link, a folder or a device; choose another {option}", path.display());
    }
    let written = goldfish_storage::replace_file(path, contents.as_bytes());
    written.with_context(|| format!("{} can't be written; choose another {option}", path.display()))
}
