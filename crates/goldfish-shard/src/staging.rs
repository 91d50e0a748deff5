//! Staging folders, where files are written before they get their final names.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use goldfish_storage::{Folder, Kind};

use crate::lock::{Lock, foreign};
use crate::manifest::MANIFEST_NAME;
use crate::names::{JOURNAL_NAME, LOCK_NAME, STAGING_NAME, StagedName, object_name};
use crate::{ShardError, disk};

/// Prefix in the staging folder of a store to which the files of an earlier run are copied until the new ones are in place.
pub(crate) const OLD_NAME: &str = "old";

/// An output folder that is ready to be written to. No other program writes to it as long as this lives; in a store
/// another may take it over, and then this one stops.
#[derive(Debug)]
pub struct PreparedFolder {
    pub(crate) path: PathBuf,
    pub(crate) root: Folder,
    pub(crate) staging: Folder,
    /// Whether the folder was not there before.
    pub(crate) created: bool,
    /// Whether files are on their way to their final names, which the next run has to complete.
    pub(crate) is_placing: bool,
    pub(crate) lock: Lock,
}

impl PreparedFolder {
    /// The output folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives up: removes what was staged, and the folder itself if it was made for this run. Files that are on their way to
    /// their final names stay, for the next run to complete.
    pub fn abandon(self) {
        if self.is_placing || (self.is_remote() && self.holds_the_old_set()) {
            return;
        }
        // Best effort: the error that led here is the one to report.
        let _ = self.dissolve();
        if self.created {
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Whether the set of an earlier run is complete in the staging folder of a store alone; a store that can't tell may hold
    /// one.
    fn holds_the_old_set(&self) -> bool {
        goldfish_storage::exists(&self.staging.join(OLD_NAME).join(MANIFEST_NAME))
            && !disk::exists(&self.root, MANIFEST_NAME).unwrap_or(false)
    }

    /// Whether it is in a store.
    pub(crate) fn is_remote(&self) -> bool {
        self.root.is_remote()
    }

    /// What a file is called while it is staged.
    pub(crate) fn staged(&self, name: &str) -> String {
        name.to_owned() + &self.lock.suffix()
    }

    /// Empties the staging folder, but for the lock and what `keep` names. Without the journal the other files are of no
    /// run, so that it goes first.
    pub(crate) fn clear(&self, keep: impl Fn(&str) -> bool) -> Result<(), ShardError> {
        if self.is_remote() {
            disk::remove(&self.staging, &object_name(0))?;
        }
        clear(&self.staging, keep)
    }

    /// Removes the staging folder, unless another run holds it by now. The lock goes last: what another run puts there as
    /// soon as it is free is not touched.
    pub(crate) fn dissolve(&self) -> Result<(), ShardError> {
        self.lock.check()?;
        if !self.is_remote() {
            return dissolve(&self.root, &self.staging, STAGING_NAME, self.is_placing);
        }
        // A store removes one thing after another: before any other goes the head of the journal, without which it speaks of
        // nothing that may be gone.
        disk::remove(&self.staging, &object_name(0))?;
        disk::remove_all(self.staging.path())
    }
}

/// Empties a staging folder, but for the lock and what `keep` names; the journal goes first, so that it speaks of nothing
/// that may be gone.
pub(crate) fn clear(staging: &Folder, keep: impl Fn(&str) -> bool) -> Result<(), ShardError> {
    let mut names = disk::names(staging)?;
    names.retain(|name| name != LOCK_NAME && !keep(name));
    names.sort_by_key(|name| name != JOURNAL_NAME);
    disk::for_each(staging.is_remote(), &names, |name| disk::remove(staging, name))
}

/// Removes a staging folder on a disk, all of whose entries are ours; its lock goes last. The journal of a run that is
/// complete goes right before it: it says that nothing else is left to do.
pub(crate) fn dissolve(
    root: &Folder,
    staging: &Folder,
    name: &str,
    is_complete: bool,
) -> Result<(), ShardError> {
    clear(staging, |name| is_complete && name == JOURNAL_NAME)?;
    disk::remove(staging, JOURNAL_NAME)?;
    disk::remove(staging, LOCK_NAME)?;
    disk::remove_folder(root, name)
}

/// Opens the staging folder of an output on a disk, if there is one, and checks that all its entries are regular files with
/// names that goldfish gives. So nothing in it leads elsewhere, and all of it may be removed.
pub(crate) fn open_staging(
    root: &Folder,
    name: &str,
    is_staged: impl Fn(&str) -> bool,
) -> Result<Option<Folder>, ShardError> {
    let staging = match root.subfolder(name) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Err(foreign(root.path(), root, name));
        }
        staging => staging.map_err(ShardError::io(&root.join(name), "opening the folder"))?,
    };
    let Some(staging) = staging else { return Ok(None) };
    for entry in disk::names(&staging)? {
        let kind =
            staging.kind(&entry).map_err(ShardError::io(&staging.join(&entry), "looking at the file"))?;
        let is_ours = [LOCK_NAME, JOURNAL_NAME].contains(&entry.as_str()) || is_staged(&entry);
        // What another run removes at this moment is gone.
        if !(is_ours && kind == Some(Kind::File)) && kind.is_some() {
            return Err(foreign(root.path(), &staging, &entry));
        }
    }
    Ok(Some(staging))
}

/// Writes a small file into the staging folder, down to the disk; returns its staged and its final name.
pub(crate) fn stage(folder: &PreparedFolder, name: &str, bytes: &[u8]) -> Result<StagedName, ShardError> {
    let staged_name = folder.staged(name);
    let staged = folder.staging.join(&staged_name);
    let mut file = disk::create(&folder.staging, &staged_name)?;
    file.write_all(bytes).map_err(ShardError::io(&staged, "writing"))?;
    disk::sync(&mut file, &staged)?;
    Ok((staged_name, name.to_owned()))
}
