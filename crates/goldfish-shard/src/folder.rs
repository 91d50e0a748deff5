use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::ShardError;
use crate::manifest::{MANIFEST_NAME, Manifest, REJECTS_NAME};

/// Hidden folder inside the output where everything is written first.
pub(crate) const STAGING_NAME: &str = ".partial";

/// Folder inside the staging folder where the files of an earlier run wait until the new ones are in place.
const OLD_NAME: &str = "old";

/// The files beside shards and manifest that this crate may write.
pub(crate) const SMALL_FILES: [&str; 3] = ["state.json", "dataset_info.json", REJECTS_NAME];

/// An output folder that is ready to be written to.
#[derive(Debug)]
pub struct PreparedFolder {
    pub(crate) path: PathBuf,
    pub(crate) staging: PathBuf,
    /// Whether the folder was not there before.
    created: bool,
}

impl PreparedFolder {
    /// The output folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives up: removes what was staged, and the folder itself if it was made for this run.
    pub fn abandon(self) {
        // Best effort: the error that led here is the one to report.
        let _ = fs::remove_dir_all(&self.staging);
        if self.created {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Makes the output folder, or checks that an existing one may be written to.
///
/// An empty folder may. With `overwrite` a folder of shards may, whose files stay until the new ones are
/// complete, and one that holds nothing but an unfinished run. Any other folder is never touched.
///
/// # Errors
///
/// If the folder is in use, or can't be made.
pub fn prepare_folder(path: &Path, overwrite: bool) -> Result<PreparedFolder, ShardError> {
    let occupied = |reason: String| Err(ShardError::Occupied { path: path.to_owned(), reason });
    let created = !path.exists();
    fs::create_dir_all(path).map_err(ShardError::io(path, "making the folder"))?;
    let staging = path.join(STAGING_NAME);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(ShardError::io(path, "listing the folder"))? {
        let entry = entry.map_err(ShardError::io(path, "listing the folder"))?;
        entries.push(entry.file_name().to_string_lossy().into_owned());
    }
    entries.sort();
    let interrupted = entries.iter().any(|name| name == STAGING_NAME);
    let old = Manifest::read(path).ok().filter(|manifest| manifest.tool.name == "goldfish");
    if let Some(first) = entries.first() {
        if old.is_some() && !overwrite {
            return occupied(
                "holds shards already; choose another --output, or give --overwrite to replace them".into(),
            );
        }
        if old.is_none() && !(interrupted && entries.iter().all(|name| name == STAGING_NAME || is_ours(name)))
        {
            return occupied(format!(
                "holds {first:?} and is no output folder of goldfish; choose an empty or new folder"
            ));
        }
        if old.is_none() && !overwrite {
            return occupied(
                "holds an unfinished run; give --overwrite to start again, or choose another --output".into(),
            );
        }
    }
    if interrupted {
        fs::remove_dir_all(&staging).map_err(ShardError::io(&staging, "removing the unfinished run"))?;
    }
    fs::create_dir(&staging).map_err(ShardError::io(&staging, "making the folder"))?;
    Ok(PreparedFolder { path: path.to_owned(), staging, created })
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

/// Writes a small file under its name in the staging folder, down to the disk.
pub(crate) fn stage(folder: &PreparedFolder, name: &str, bytes: &[u8]) -> Result<(), ShardError> {
    let staged = folder.staging.join(name);
    let mut file = fs::File::create(&staged).map_err(ShardError::io(&staged, "creating"))?;
    file.write_all(bytes).map_err(ShardError::io(&staged, "writing"))?;
    file.sync_all().map_err(ShardError::io(&staged, "flushing to disk"))
}

/// Gives the staged files their final names, in the order given, and takes the old ones of ours away. If
/// that fails on the way, the old files come back.
pub(crate) fn publish(folder: &PreparedFolder, names: &[String]) -> Result<(), ShardError> {
    let aside = folder.staging.join(OLD_NAME);
    fs::create_dir(&aside).map_err(ShardError::io(&aside, "making the folder"))?;
    let mut old = Vec::new();
    for entry in fs::read_dir(&folder.path).map_err(ShardError::io(&folder.path, "listing the folder"))? {
        let entry = entry.map_err(ShardError::io(&folder.path, "listing the folder"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_ours(&name) && entry.path().is_file() {
            old.push(name);
        }
    }
    // The manifest goes first and comes back last: a folder with a manifest is a complete one.
    old.sort_by_key(|name| name != MANIFEST_NAME);
    let mut moves = Moves(Vec::new());
    let moved = old
        .iter()
        .try_for_each(|name| moves.rename(folder.path.join(name), aside.join(name)))
        .and_then(|()| {
            names.iter().try_for_each(|name| moves.rename(folder.staging.join(name), folder.path.join(name)))
        })
        .and_then(|()| sync_folder(&folder.path));
    if let Err(error) = moved {
        moves.undo();
        return Err(error);
    }
    // All is in place; what is left of the old files is only in the way.
    fs::remove_dir_all(&folder.staging).map_err(ShardError::io(&folder.staging, "removing"))
}

/// Renames that can be taken back.
struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    fn rename(&mut self, from: PathBuf, to: PathBuf) -> Result<(), ShardError> {
        rename(&from, &to)?;
        self.0.push((from, to));
        Ok(())
    }

    fn undo(self) {
        for (from, to) in self.0.into_iter().rev() {
            // Best effort: the error that led here is the one to report.
            let _ = fs::rename(to, from);
        }
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), ShardError> {
    fs::rename(from, to).map_err(ShardError::io(to, "renaming into place"))
}

/// Flushes a folder's entries to disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), ShardError> {
    #[cfg(unix)]
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(ShardError::io(path, "flushing the folder to disk"))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
