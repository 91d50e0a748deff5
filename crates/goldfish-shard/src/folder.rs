use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use goldfish_storage::is_remote;

use crate::inputs::INPUTS_NAME;
use crate::journal::{self, Journal, Unfinished};
use crate::lock::{LOCK_NAME, Lock, is_run_id, left_by};
use crate::manifest::{MANIFEST_NAME, Manifest, REJECTS_NAME};
use crate::{ShardError, disk};

/// Hidden folder inside the output where everything is written first.
pub(crate) const STAGING_NAME: &str = ".partial";

/// Folder inside the staging folder where the files of an earlier run wait until the new ones are in place.
pub(crate) const OLD_NAME: &str = "old";

/// Ends the name of the object in the staging folder that says that all files have their final names.
const PLACED_ENDING: &str = ".placed";

/// The files beside shards and manifest that this crate may write.
pub(crate) const SMALL_FILES: [&str; 4] = ["state.json", "dataset_info.json", REJECTS_NAME, INPUTS_NAME];

/// An output folder that is ready to be written to. No other program writes to it as long as this lives; in a store
/// another may take it over, and then this one stops.
#[derive(Debug)]
pub struct PreparedFolder {
    pub(crate) path: PathBuf,
    pub(crate) staging: PathBuf,
    /// Whether the folder was not there before.
    created: bool,
    pub(crate) lock: Lock,
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

    /// Gives up: removes what was staged, and the folder itself if it was made for this run. A set of an earlier run that
    /// could not be put back is kept in the staging folder, for the next run to do it.
    pub fn abandon(self) {
        if self.holds_the_old_set() {
            return;
        }
        // Best effort: the error that led here is the one to report.
        let _ = self.dissolve();
        if self.created {
            let _ = goldfish_storage::remove_folder(&self.path);
        }
    }

    /// Whether the set of an earlier run is complete in the staging folder alone; a store that can't tell may hold one.
    fn holds_the_old_set(&self) -> bool {
        goldfish_storage::exists(&self.staging.join(OLD_NAME).join(MANIFEST_NAME))
            && !disk::exists(&self.path.join(MANIFEST_NAME)).unwrap_or(false)
    }

    /// Whether it is in a store.
    pub(crate) fn is_remote(&self) -> bool {
        is_remote(&self.path)
    }

    /// What a file is called while it is staged.
    pub(crate) fn staged(&self, name: &str) -> String {
        name.to_owned() + &self.lock.suffix()
    }

    /// Empties the staging folder, but for the lock and what `keep` names.
    pub(crate) fn clear(&self, keep: impl Fn(&str) -> bool) -> Result<(), ShardError> {
        self.forget_journal()?;
        let mut names = names(&self.staging)?;
        names.retain(|name| name != LOCK_NAME && !keep(name));
        disk::for_each(&self.path, &names, |name| disk::remove(&self.staging.join(name)))
    }

    /// Removes the staging folder, unless another run holds it by now.
    fn dissolve(&self) -> Result<(), ShardError> {
        self.lock.check()?;
        self.forget_journal()?;
        disk::remove(&self.staging)
    }

    /// A store removes one thing after another: before any other goes the head of the journal, without which it speaks
    /// of nothing that may be gone.
    fn forget_journal(&self) -> Result<(), ShardError> {
        if self.is_remote() { disk::remove(&self.staging.join(journal::object_name(0))) } else { Ok(()) }
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
    let created = !is_remote(path) && !path.exists();
    let unmake = || {
        // Best effort: what is not empty stays.
        if created {
            let _ = fs::remove_dir(path);
        }
    };
    disk::create_folder_all(path).inspect_err(|_| unmake())?;
    let staging = path.join(STAGING_NAME);
    // On a disk, a run in progress is told apart from one that was interrupted by its lock.
    let lock = Lock::of_left(path, &staging)?;
    let old = old_manifest(path)?;
    if let (Some(old), Start::Resume, None) = (&old, start, &lock) {
        return Ok(Prepared::Finished(Box::new(old.clone())));
    }
    check_occupied(path, start, old.as_ref())?;
    let lock = match lock {
        Some(lock) => lock,
        None => Lock::of_new(path, &staging).inspect_err(|_| {
            if !is_remote(path) {
                let _ = fs::remove_dir(&staging);
            }
            unmake();
        })?,
    };
    let mut folder = PreparedFolder { path: path.to_owned(), staging, created, lock };
    if start == Start::Resume
        && let Some(unfinished) = Journal::read(&folder.staging)?
    {
        // In a store it is taken over when it is gone on with: until then it may turn out to be another job's.
        return Ok(Prepared::Unfinished(folder, Box::new(unfinished)));
    }
    folder.lock.claim()?;
    let old = match old {
        None => {
            bring_back(&folder)?;
            old_manifest(path)?
        }
        old => old,
    };
    // Nothing of a new run was kept.
    if let (Some(old), Start::Resume) = (old, start) {
        folder.dissolve()?;
        return Ok(Prepared::Finished(Box::new(old)));
    }
    folder.clear(|_| false)?;
    Ok(Prepared::Fresh(folder))
}

/// The manifest of an earlier run of ours.
fn old_manifest(path: &Path) -> Result<Option<Manifest>, ShardError> {
    match Manifest::read(path) {
        // A store that gave no answer is no empty folder.
        Err(error @ ShardError::Io { .. }) if is_remote(path) => Err(error),
        read => Ok(read.ok().filter(|manifest| manifest.tool.name == "goldfish")),
    }
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
        _ if interrupted => format!(
            "holds an unfinished run{}; give --resume to go on behind its last finished shard, --overwrite to start \
             again, or choose another --output",
            left_by(&path.join(STAGING_NAME))
        ),
        _ => "holds shards already; choose another --output, or give --overwrite to replace them".into(),
    };
    Err(ShardError::Occupied { path: path.to_owned(), reason })
}

/// Undoes a replacement that was interrupted while the old files were moved aside.
fn bring_back(folder: &PreparedFolder) -> Result<(), ShardError> {
    if folder.is_remote() {
        return restore(folder);
    }
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

/// The names in a folder, sorted. What a store has nothing in, there is not.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, ShardError> {
    let paths = match goldfish_storage::list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_remote(folder) => Vec::new(),
        paths => paths.map_err(ShardError::io(folder, "listing the folder"))?,
    };
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(paths.iter().filter_map(name).collect())
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

/// A staged name without what [`PreparedFolder::staged`] put behind it.
pub(crate) fn plain_name(staged: &str) -> &str {
    staged.rsplit_once('.').filter(|(_, id)| is_run_id(id)).map_or(staged, |(name, _)| name)
}

/// Writes a small file into the staging folder, down to the disk; returns its staged and its final name.
pub(crate) fn stage(folder: &PreparedFolder, name: &str, bytes: &[u8]) -> Result<StagedName, ShardError> {
    let staged_name = folder.staged(name);
    let staged = folder.staging.join(&staged_name);
    let mut file = disk::create(&staged)?;
    file.write_all(bytes).map_err(ShardError::io(&staged, "writing"))?;
    disk::sync(&mut file, &staged)?;
    Ok((staged_name, name.to_owned()))
}

/// Staged and final name of a file.
pub(crate) type StagedName = (String, String);

/// Gives the staged files their final names, in the order given, and takes the old ones of ours away. If
/// that fails on the way, all is as it was before. After an interruption it can be done again: what has its final
/// name already keeps it.
pub(crate) fn publish(folder: &PreparedFolder, files: &[StagedName]) -> Result<(), ShardError> {
    if folder.is_remote() {
        return publish_copies(folder, files);
    }
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
        return Err(files_are_gone(folder));
    }
    let mut moves = Moves::default();
    let moved = old
        .iter()
        .try_for_each(|name| moves.rename(folder.path.join(name), aside.join(name)))
        .and_then(|()| if old.is_empty() { Ok(()) } else { disk::sync_folder(&folder.path) })
        .and_then(|()| {
            staged.iter().try_for_each(|(from, to)| {
                // A manifest that outlives a power cut must not stand without its files.
                if to == MANIFEST_NAME {
                    disk::sync_folder(&folder.path)?;
                }
                moves.rename(folder.staging.join(from), folder.path.join(to))
            })
        })
        .and_then(|()| disk::sync_folder(&folder.path));
    if let Err(error) = moved {
        moves.undo();
        return Err(error);
    }
    // All is in place; what is left of the old files is only in the way.
    disk::remove(&folder.staging)
}

fn files_are_gone(folder: &PreparedFolder) -> ShardError {
    let reason = "files of the unfinished run are gone; start again with --overwrite".into();
    ShardError::BadJournal { path: folder.staging.clone(), reason }
}

/// [`publish`] in a store, which can't rename: the staged files are copied, several at once, and stay until the manifest
/// is in place. So it can be done again from the start, even while a run that lost the output is still at it.
fn publish_copies(folder: &PreparedFolder, files: &[StagedName]) -> Result<(), ShardError> {
    let staged = names(&folder.staging)?;
    let (manifest, files): (Vec<_>, Vec<_>) = files.iter().partition(|(_, to)| to == MANIFEST_NAME);
    let all_staged = files.iter().chain(&manifest).all(|(from, _)| staged.contains(from));
    let put = |(from, to): &&StagedName| {
        folder.lock.check()?;
        disk::copy(&folder.staging.join(from), &folder.path.join(to))
    };
    // Looked at behind the listing: what another run put in place is gone from here.
    folder.lock.check()?;
    let (true, [manifest]) = (all_staged, &manifest[..]) else { return Err(files_are_gone(folder)) };
    // An interrupted run had come so far already; its set may be read by now, and stays. The staged name is of that run
    // alone.
    let placed = manifest.0.clone() + PLACED_ENDING;
    if staged.contains(&placed) {
        return folder.dissolve();
    }
    let manifest_path = folder.path.join(MANIFEST_NAME);
    let replaces = disk::exists(&manifest_path)?;
    if replaces {
        set_aside(folder)?;
        folder.lock.check()?;
    }
    let removed = if replaces { disk::remove(&manifest_path) } else { Ok(()) };
    let published = removed
        .and_then(|()| disk::for_each(&folder.path, &files, put))
        .and_then(|()| remove_ours(folder, |name| files.iter().any(|(_, to)| to == name)))
        .and_then(|()| put(manifest));
    if let Err(error) = published {
        // Best effort, as above. What another run took over is not this one's to undo.
        if folder.lock.check().is_ok() {
            let _ = restore(folder);
        }
        return Err(error);
    }
    // Best effort: without it a run that is interrupted here puts the same set in place once more.
    let _ = disk::write(&folder.staging.join(placed), b"");
    folder.dissolve()
}

/// Copies a complete set of an earlier run to where [`restore`] finds it; its manifest comes last.
fn set_aside(folder: &PreparedFolder) -> Result<(), ShardError> {
    let aside = folder.staging.join(OLD_NAME);
    disk::remove(&aside)?;
    let mut old = names(&folder.path)?;
    old.retain(|name| is_ours(name) && name != MANIFEST_NAME);
    let copy = |name: &str| disk::copy(&folder.path.join(name), &aside.join(name));
    disk::for_each(&folder.path, &old, |name| copy(name))?;
    copy(MANIFEST_NAME)
}

/// Brings back what [`set_aside`] copied, and removes what else got a final name, unless a complete set is there.
fn restore(folder: &PreparedFolder) -> Result<(), ShardError> {
    if disk::exists(&folder.path.join(MANIFEST_NAME))? {
        return Ok(());
    }
    let aside = folder.staging.join(OLD_NAME);
    let mut old = names(&aside)?;
    let complete = old.iter().any(|name| name == MANIFEST_NAME);
    old.retain(|name| complete && name != MANIFEST_NAME);
    remove_ours(folder, |name| old.iter().any(|old| old == name))?;
    let copy = |name: &str| disk::copy(&aside.join(name), &folder.path.join(name));
    disk::for_each(&folder.path, &old, |name| copy(name))?;
    if complete { copy(MANIFEST_NAME) } else { Ok(()) }
}

/// Removes the files of ours at final names but those to keep.
fn remove_ours(folder: &PreparedFolder, keep: impl Fn(&str) -> bool) -> Result<(), ShardError> {
    let mut ours = names(&folder.path)?;
    ours.retain(|name| is_ours(name) && !keep(name));
    disk::for_each(&folder.path, &ours, |name| disk::remove(&folder.path.join(name)))
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
