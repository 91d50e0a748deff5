//! Names of files in output folders and in staging folders.

use goldfish_storage::is_id;

use crate::manifest::{MANIFEST_NAME, REJECTS_NAME};
use crate::protected::PROTECTED_NAME;

/// Staged name and final name of a file.
pub(crate) type StagedName = (String, String);

/// Hidden folder inside the output where everything is written first.
pub(crate) const STAGING_NAME: &str = ".partial";

/// The files beside shards and manifest that this crate may write.
const SMALL_FILES: [&str; 5] = ["state.json", "dataset_info.json", REJECTS_NAME, INPUTS_NAME, PROTECTED_NAME];

/// Name of the table of inputs beside a manifest.
pub const INPUTS_NAME: &str = "inputs.pq";

/// Name of the file in the staging folder that says who writes.
pub(crate) const LOCK_NAME: &str = "lock";

/// Name of the journal in the staging folder.
pub(crate) const JOURNAL_NAME: &str = "journal";

/// Name in the staging folder of the list that becomes the table of protected passages.
pub(crate) const PASSAGE_LINES_NAME: &str = "passages.jsonl";

/// Name of an object with a part of a journal, from 0.
pub(crate) fn object_name(number: usize) -> String {
    format!("{JOURNAL_NAME}-{number:05}")
}

/// Whether a file has a name that this crate gives.
pub(crate) fn is_ours(name: &str) -> bool {
    is_shard_name(name) || name == MANIFEST_NAME || SMALL_FILES.contains(&name)
}

/// Whether a file is named like a shard.
pub(crate) fn is_shard_name(name: &str) -> bool {
    let stem = name.strip_suffix(".arrow").or_else(|| name.strip_suffix(".parquet"));
    let numbers = stem.and_then(|stem| stem.strip_prefix("data-")).and_then(|rest| rest.split_once("-of-"));
    numbers.is_some_and(|(i, n)| [i, n].iter().all(|d| d.len() >= 5 && d.bytes().all(|b| b.is_ascii_digit())))
}

/// Name of shard `index` of `count`.
pub(crate) fn shard_name(index: usize, count: usize, extension: &str) -> String {
    format!("data-{index:05}-of-{count:05}.{extension}")
}

/// Name of the folder of one part of a divided run.
#[must_use]
pub fn part_folder(rank: u32, world: u32) -> String {
    format!("rank-{rank:05}-of-{world:05}")
}

/// Name of shard `index` while it is staged.
pub(crate) fn staged_name(index: usize) -> String {
    format!("shard-{index:05}")
}

/// Whether a name is that of a staged shard.
pub(crate) fn is_staged_name(name: &str) -> bool {
    is_numbered(name, "shard-")
}

/// Whether a file in the staging folder of a disk has a name that this crate gives.
pub(crate) fn is_staged(name: &str) -> bool {
    is_staged_name(name)
        || is_replaced_name(name)
        || [MANIFEST_NAME, PASSAGE_LINES_NAME].contains(&name)
        || SMALL_FILES.contains(&name)
}

/// A staged name without the suffix of the run.
pub(crate) fn plain_name(staged: &str) -> &str {
    staged.rsplit_once('.').filter(|(_, id)| is_id(id)).map_or(staged, |(name, _)| name)
}

/// The name in the staging folder of a file of an earlier run, while the new ones get their names.
pub(crate) fn replaced_name(index: usize) -> String {
    format!("old-{index:05}")
}

/// Whether a name is one of those.
pub(crate) fn is_replaced_name(name: &str) -> bool {
    is_numbered(name, "old-")
}

/// Whether a name is a prefix and at least five digits.
pub(crate) fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|digits| digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit()))
}
