//! How staged files get their final names, all of them or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use goldfish_storage::Folder;
use serde::{Deserialize, Serialize};

use crate::{ShardError, disk};

/// Staged name and final name of a file.
pub(crate) type StagedName = (String, String);

/// The last record of a journal on a disk: from here on the run can only be completed. It is carried out, and after an
/// interruption carried out again from the start: what is done already is seen by where the files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placing {
    /// Staged name and final name of each file, the manifest last.
    pub(crate) files: Vec<StagedName>,
    /// Final name of each file of an earlier run, the manifest first, and the name that it gets in the staging folder.
    pub(crate) replaced: Vec<(String, String)>,
}

impl Placing {
    /// `replaced` are the final names of files of an earlier run, the manifest first.
    pub(crate) fn new(files: Vec<StagedName>, replaced: impl IntoIterator<Item = String>) -> Self {
        let replaced = replaced.into_iter().enumerate();
        Self { files, replaced: replaced.map(|(index, name)| (name, replaced_name(index))).collect() }
    }

    /// Whether every name is one that a run gives. `is_staged` and `is_final` tell that of staged and final names.
    pub(crate) fn names_are_ours(
        &self,
        is_staged: impl Fn(&str) -> bool,
        is_final: impl Fn(&str) -> bool,
    ) -> bool {
        self.files.iter().all(|(staged, name)| is_staged(staged) && is_final(name))
            && self.replaced.iter().all(|(name, old)| is_final(name) && is_replaced_name(old))
    }

    /// Moves the files of the earlier run to the staging folder, and the staged files to their final names. The manifest
    /// goes first and comes last: a folder with a manifest is a complete one, and one that outlives a power cut does so
    /// with its files.
    pub(crate) fn carry_out(&self, root: &Folder, staging: &Folder) -> Result<(), ShardError> {
        let staged: BTreeMap<&str, &str> =
            self.files.iter().map(|(staged, name)| (name.as_str(), staged.as_str())).collect();
        for (name, old) in &self.replaced {
            let is_placed = match staged.get(name.as_str()) {
                Some(staged) => !disk::has_file(staging, staged)?,
                None => false,
            };
            if is_placed || disk::has_file(staging, old)? {
                continue;
            }
            if let Some((folder, last)) = parent_of(root, name, false)?
                && disk::has_file(&folder, last)?
            {
                disk::rename(&folder, last, staging, old)?;
            }
        }
        if !self.replaced.is_empty() {
            disk::sync_folder(root)?;
        }
        let Some((manifest, files)) = self.files.split_last() else { return Ok(()) };
        let mut folders = BTreeSet::new();
        for file in files {
            folders.extend(place(root, staging, file)?);
        }
        for folder in folders {
            disk::sync_folder(&disk::open_folder(&folder)?)?;
        }
        disk::sync_folder(root)?;
        place(root, staging, manifest)?;
        disk::sync_folder(root)
    }

    /// Completes what an interrupted run was about to place; if files of it are gone, takes back what it did.
    pub(crate) fn settle(&self, root: &Folder, staging: &Folder) -> Result<(), ShardError> {
        if self.is_complete(root, staging)? {
            return Ok(());
        }
        match self.carry_out(root, staging) {
            Err(ShardError::BadJournal { .. }) => self.undo(root, staging),
            settled => settled,
        }
    }

    /// Whether the manifest is in place, so that nothing but the clean-up is left.
    pub(crate) fn is_complete(&self, root: &Folder, staging: &Folder) -> Result<bool, ShardError> {
        let Some((staged, name)) = self.files.last() else { return Ok(true) };
        Ok(!disk::has_file(staging, staged)? && disk::has_file(root, name)?)
    }

    /// Moves everything back to where it was, the last move first, as far as the disk allows.
    pub(crate) fn undo(&self, root: &Folder, staging: &Folder) -> Result<(), ShardError> {
        let mut undone = Ok(());
        for (staged, name) in self.files.iter().rev() {
            let back = || match parent_of(root, name, false)? {
                Some((folder, last))
                    if !disk::has_file(staging, staged)? && disk::has_file(&folder, last)? =>
                {
                    disk::rename(&folder, last, staging, staged)
                }
                _ => Ok(()),
            };
            undone = undone.and(back()).and(remove_empty_parents(root, name));
        }
        // A name that is still taken can't be given back.
        undone?;
        for (name, old) in self.replaced.iter().rev() {
            if disk::has_file(staging, old)?
                && let Some((folder, last)) = parent_of(root, name, true)?
            {
                disk::rename(staging, old, &folder, last)?;
            }
        }
        disk::sync_folder(root)
    }
}

/// Removes the folders on the way to a final name that are empty: they were made for it.
fn remove_empty_parents(root: &Folder, name: &str) -> Result<(), ShardError> {
    let mut path = name;
    while let Some((parent, _)) = path.rsplit_once('/') {
        if let Some((folder, last)) = parent_of(root, parent, false)?
            && folder
                .kind(last)
                .map_err(ShardError::io(&folder.join(last), "looking at the folder"))?
                .is_some()
        {
            disk::remove_folder(&folder, last)?;
        }
        path = parent;
    }
    Ok(())
}

/// Gives a file its final name, unless it has it; returns the folder that it is in.
fn place(
    root: &Folder,
    staging: &Folder,
    (staged, name): &StagedName,
) -> Result<Option<PathBuf>, ShardError> {
    let Some((folder, last)) = parent_of(root, name, true)? else { return Ok(None) };
    let path = folder.join(last);
    if disk::has_file(staging, staged)? {
        if disk::exists(&folder, last)? {
            let reason = "has the name of a file that goldfish was about to place; move it away, and run the same \
                          command again";
            return Err(ShardError::Occupied { path, reason: reason.into() });
        }
        disk::rename(staging, staged, &folder, last)?;
    } else if !disk::has_file(&folder, last)? {
        let reason = "this file of the unfinished run is gone; start again with --overwrite".into();
        return Err(ShardError::BadJournal { path, reason });
    }
    Ok(Some(folder.path().to_owned()))
}

/// The folder that a final name leads to, and the last part of the name. Nothing is reached through links.
pub(crate) fn parent_of<'n>(
    root: &Folder,
    name: &'n str,
    create: bool,
) -> Result<Option<(Folder, &'n str)>, ShardError> {
    root.parent_of(name, create).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => ShardError::Occupied {
            path: root.join(name),
            reason: format!("{error}, and goldfish writes through no links; choose another --output"),
        },
        _ => ShardError::io(&root.join(name), "opening the folder")(error),
    })
}

/// The name in the staging folder of a file of an earlier run, while the new ones get their names.
fn replaced_name(index: usize) -> String {
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
