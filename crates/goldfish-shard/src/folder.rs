use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::ShardError;
use crate::manifest::{MANIFEST_NAME, Manifest, REJECTS_NAME};

/// Hidden folder inside the output where everything is written first.
pub(crate) const STAGING_NAME: &str = ".partial";

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
/// An empty folder may. A folder with a manifest may if `overwrite` is set; its files stay until the new ones
/// are complete. A folder that holds anything else is never touched.
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
    let complete = entries.iter().any(|name| name == MANIFEST_NAME);
    let interrupted = entries.iter().any(|name| name == STAGING_NAME);
    if !overwrite && complete {
        return occupied(
            "holds shards already; choose another --output, or give --overwrite to replace them".into(),
        );
    }
    if !overwrite && interrupted {
        return occupied(
            "holds an unfinished run; give --overwrite to start again, or choose another --output".into(),
        );
    }
    if let Some(foreign) = entries.iter().find(|name| !complete && *name != STAGING_NAME && !is_ours(name)) {
        return occupied(format!(
            "holds {foreign:?}, which goldfish didn't write; choose an empty or new folder"
        ));
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

/// Removes the files of an earlier run, the manifest first, so that what is left is never taken for complete.
pub(crate) fn remove_old(path: &Path) -> Result<(), ShardError> {
    let manifest = path.join(MANIFEST_NAME);
    let Ok(old) = Manifest::read(path) else {
        // Without a readable manifest only files with our names are ours.
        return remove_named(path);
    };
    remove(&manifest)?;
    for shard in &old.shards {
        remove(&path.join(&shard.name))?;
    }
    remove_named(path)
}

fn remove_named(path: &Path) -> Result<(), ShardError> {
    for entry in fs::read_dir(path).map_err(ShardError::io(path, "listing the folder"))? {
        let entry = entry.map_err(ShardError::io(path, "listing the folder"))?;
        if is_ours(&entry.file_name().to_string_lossy()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), ShardError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ShardError::io(path, "removing")(error)),
        _ => Ok(()),
    }
}

/// Writes a small file under `staging`, on disk before it gets its name in `path`.
pub(crate) fn write_small(folder: &PreparedFolder, name: &str, bytes: &[u8]) -> Result<(), ShardError> {
    let staged = folder.staging.join(name);
    let mut file = fs::File::create(&staged).map_err(ShardError::io(&staged, "creating"))?;
    file.write_all(bytes).map_err(ShardError::io(&staged, "writing"))?;
    file.sync_all().map_err(ShardError::io(&staged, "flushing to disk"))?;
    rename(&staged, &folder.path.join(name))
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
