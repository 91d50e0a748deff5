use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::journal::{Journal, Unfinished};
use crate::manifest::{MANIFEST_NAME, Manifest, REJECTS_NAME};
use crate::{ShardError, disk};

/// Hidden folder inside the output where everything is written first.
pub(crate) const STAGING_NAME: &str = ".partial";

/// Folder inside the staging folder where the files of an earlier run wait until the new ones are in place.
pub(crate) const OLD_NAME: &str = "old";

/// The files beside shards and manifest that this crate may write.
pub(crate) const SMALL_FILES: [&str; 3] = ["state.json", "dataset_info.json", REJECTS_NAME];

/// Name of the file in the staging folder that a running program holds locked.
pub(crate) const LOCK_NAME: &str = "lock";

/// An output folder that is ready to be written to. No other program writes to it as long as this lives.
#[derive(Debug)]
pub struct PreparedFolder {
    pub(crate) path: PathBuf,
    pub(crate) staging: PathBuf,
    /// Whether the folder was not there before.
    created: bool,
    /// Locked, where the file system has locks.
    _lock: File,
}

/// What to do with what an earlier run left in the output folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Refuse to touch it.
    New,
    /// Replace it when the new shards are complete.
    Overwrite,
    /// Go on behind its last finished shard.
    Resume,
}

/// What an output folder has for a run.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing; the run starts at the beginning.
    Fresh(PreparedFolder),
    /// The beginning of a run.
    Unfinished(PreparedFolder, Box<Unfinished>),
    /// The whole of a run.
    Finished(Box<Manifest>),
}

impl Prepared {
    /// The folder, unless there is nothing to do in it.
    #[must_use]
    pub fn folder(self) -> Option<PreparedFolder> {
        match self {
            Self::Fresh(folder) | Self::Unfinished(folder, _) => Some(folder),
            Self::Finished(_) => None,
        }
    }
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
        let _ = disk::remove(&self.staging);
        if self.created {
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Empties the staging folder, but for the lock and what `keep` names.
    pub(crate) fn clear(&self, keep: impl Fn(&str) -> bool) -> Result<(), ShardError> {
        for name in names(&self.staging)? {
            if name != LOCK_NAME && !keep(&name) {
                disk::remove(&self.staging.join(name))?;
            }
        }
        Ok(())
    }
}

/// Makes the output folder, or checks that an existing one may be written to, and takes hold of it.
///
/// An empty folder may. A folder of shards may with [`Start::Overwrite`], and its files stay until the new ones
/// are complete. An unfinished run is taken up with [`Start::Resume`] and thrown away with [`Start::Overwrite`].
/// Any other folder is never touched.
///
/// # Errors
///
/// If the folder is in use, or can't be made.
pub fn prepare_folder(path: &Path, start: Start) -> Result<Prepared, ShardError> {
    let created = !path.exists();
    fs::create_dir_all(path).map_err(ShardError::io(path, "making the folder"))?;
    let staging = path.join(STAGING_NAME);
    // A run in progress is told apart from one that was interrupted by its lock.
    let lock = if staging.is_dir() { Some(lock(path, &staging)?) } else { None };
    let old = Manifest::read(path).ok().filter(|manifest| manifest.tool.name == "goldfish");
    if let (Some(old), Start::Resume, None) = (&old, start, &lock) {
        return Ok(Prepared::Finished(Box::new(old.clone())));
    }
    check_occupied(path, start, old.as_ref())?;
    let lock = match lock {
        Some(lock) => lock,
        None => {
            let made = disk::create_folder(&staging).and_then(|()| disk::sync_folder(path));
            made.and_then(|()| self::lock(path, &staging)).inspect_err(|_| {
                // Best effort: what is not empty stays.
                let _ = fs::remove_dir(&staging);
                if created {
                    let _ = fs::remove_dir(path);
                }
            })?
        }
    };
    let folder = PreparedFolder { path: path.to_owned(), staging, created, _lock: lock };
    if start == Start::Resume
        && let Some(unfinished) = Journal::read(&folder.staging)?
    {
        return Ok(Prepared::Unfinished(folder, Box::new(unfinished)));
    }
    match old {
        None => bring_back(&folder)?,
        // Nothing of a new run was kept.
        Some(old) if start == Start::Resume => {
            disk::remove(&folder.staging)?;
            return Ok(Prepared::Finished(Box::new(old)));
        }
        Some(_) => {}
    }
    folder.clear(|_| false)?;
    Ok(Prepared::Fresh(folder))
}

/// Whether what is in the folder allows a run to start there.
fn check_occupied(path: &Path, start: Start, old: Option<&Manifest>) -> Result<(), ShardError> {
    let entries = names(path)?;
    let Some(first) = entries.first() else { return Ok(()) };
    let interrupted = entries.iter().any(|name| name == STAGING_NAME);
    let ours = interrupted && entries.iter().all(|name| name == STAGING_NAME || is_ours(name));
    let reason = match (old.is_some(), start) {
        (_, Start::Resume) if ours || (old.is_some() && interrupted) => return Ok(()),
        (true, Start::Overwrite) => return Ok(()),
        (false, Start::Overwrite) if ours => return Ok(()),
        (false, _) if !ours => {
            format!("holds {first:?} and is no output folder of goldfish; choose an empty or new folder")
        }
        _ if interrupted => {
            "holds an unfinished run; give --resume to go on behind its last finished shard, \
                             --overwrite to start again, or choose another --output"
                .into()
        }
        _ => "holds shards already; choose another --output, or give --overwrite to replace them".into(),
    };
    Err(ShardError::Occupied { path: path.to_owned(), reason })
}

/// Takes the lock of a staging folder, which the system gives back when the program ends, however it ends.
pub(crate) fn lock(path: &Path, staging: &Path) -> Result<File, ShardError> {
    let lock_path = staging.join(LOCK_NAME);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
    let file = file.map_err(ShardError::io(&lock_path, "opening"))?;
    let busy = || {
        let reason = "another goldfish is writing to it; wait for its end, or choose another --output".into();
        ShardError::Occupied { path: path.to_owned(), reason }
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(busy()),
        // Some network file systems have no locks; then the user has to take care.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        locked => locked.map_err(|e| ShardError::io(&lock_path, "locking")(e.into()))?,
    }
    // Another program may have finished and removed the file in between.
    if is_same(&file, &lock_path) { Ok(file) } else { Err(busy()) }
}

/// Whether a path leads to an open file.
fn is_same(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (opened, found) = (file.metadata().map(identity), fs::metadata(path).map(identity));
        matches!((opened, found), (Ok(opened), Ok(found)) if opened == found)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// Undoes a replacement that was interrupted while the old files were moved aside.
fn bring_back(folder: &PreparedFolder) -> Result<(), ShardError> {
    let aside = folder.staging.join(OLD_NAME);
    if aside.join(MANIFEST_NAME).exists() {
        let mut old = names(&aside)?;
        old.sort_by_key(|name| name == MANIFEST_NAME);
        for name in old {
            disk::rename(&aside.join(&name), &folder.path.join(&name))?;
        }
    }
    Ok(())
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, ShardError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(ShardError::io(folder, "listing the folder"))? {
        let entry = entry.map_err(ShardError::io(folder, "listing the folder"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
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
    name.strip_prefix("shard-").is_some_and(|index| index.bytes().all(|b| b.is_ascii_digit()))
}

/// Writes a small file under its name in the staging folder, down to the disk.
pub(crate) fn stage(folder: &PreparedFolder, name: &str, bytes: &[u8]) -> Result<(), ShardError> {
    let staged = folder.staging.join(name);
    let mut file = disk::create(&staged)?;
    file.write_all(bytes).map_err(ShardError::io(&staged, "writing"))?;
    disk::sync(&file, &staged)
}

/// Gives the staged files their final names, in the order given, and takes the old ones of ours away. If
/// that fails on the way, all is as it was before. After an interruption it can be done again: what has its final
/// name already keeps it.
pub(crate) fn publish(folder: &PreparedFolder, files: &[(String, String)]) -> Result<(), ShardError> {
    let aside = folder.staging.join(OLD_NAME);
    disk::create_folder(&aside)?;
    let staged: Vec<_> = files.iter().filter(|(from, _)| folder.staging.join(from).exists()).collect();
    let in_place =
        |name: &String| files.iter().any(|(_, to)| to == name) && !staged.iter().any(|(_, to)| to == name);
    let mut old = names(&folder.path)?;
    old.retain(|name| is_ours(name) && folder.path.join(name).is_file() && !in_place(name));
    // The manifest goes first and comes back last: a folder with a manifest is a complete one.
    old.sort_by_key(|name| name != MANIFEST_NAME);
    if staged.len() + names(&folder.path)?.iter().filter(|name| in_place(name)).count() < files.len() {
        let reason = "files of the unfinished run are gone; start again with --overwrite".into();
        return Err(ShardError::BadJournal { path: folder.staging.clone(), reason });
    }
    let mut moves = Moves::default();
    let moved = old
        .iter()
        .try_for_each(|name| moves.rename(folder.path.join(name), aside.join(name)))
        .and_then(|()| {
            let mut staged = staged.iter();
            staged.try_for_each(|(from, to)| moves.rename(folder.staging.join(from), folder.path.join(to)))
        })
        .and_then(|()| disk::sync_folder(&folder.path));
    if let Err(error) = moved {
        moves.undo();
        return Err(error);
    }
    // All is in place; what is left of the old files is only in the way.
    disk::remove(&folder.staging)
}

/// Renames that can be taken back.
#[derive(Default)]
pub(crate) struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    pub(crate) fn rename(&mut self, from: PathBuf, to: PathBuf) -> Result<(), ShardError> {
        disk::rename(&from, &to)?;
        self.0.push((from, to));
        Ok(())
    }

    /// Takes them back, the last one first; returns whether all could be. Best effort: the error that led here is the
    /// one to report.
    pub(crate) fn undo(self) -> bool {
        self.0.into_iter().rev().fold(true, |all, (from, to)| disk::rename(&to, &from).is_ok() && all)
    }
}
