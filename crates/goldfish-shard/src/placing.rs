//! How staged files get their final names, all of them or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use goldfish_digest::FileDigest;
use goldfish_storage::Folder;
use serde::{Deserialize, Serialize};

use crate::error::other_output;
use crate::names::{StagedName, is_replaced_name, replaced_name};
use crate::{ShardError, disk};

/// Reads the manifest of a set, and gives the files that it lists; the argument tells where a file of the set is now.
pub(crate) type List<'a> =
    dyn Fn(&dyn Fn(&str) -> PathBuf) -> Result<BTreeMap<String, FileDigest>, ShardError> + 'a;

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

    /// Whether every name is one that a run gives, and the manifest's is where it belongs. `is_staged` and `is_final` tell that of staged and final names.
    pub(crate) fn names_are_ours(
        &self,
        manifest: &str,
        is_staged: impl Fn(&str) -> bool,
        is_final: impl Fn(&str) -> bool,
    ) -> bool {
        self.files.last().is_some_and(|(_, name)| name == manifest)
            && self.replaced.first().is_none_or(|(name, _)| name == manifest)
            && self.files.iter().all(|(staged, name)| is_staged(staged) && is_final(name))
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

    /// Refuses to move a file from its final name that is not, bit for bit, what a manifest of the two sets lists: a journal
    /// and a staging folder may come from a stranger, and name files of the user. `list` reads the manifest of a set and gives
    /// its files; it is told where each of them is now.
    fn check_listed(&self, root: &Folder, staging: &Folder, list: &List<'_>) -> Result<(), ShardError> {
        let path_of = |names: &BTreeMap<&str, &str>, name: &str| match names.get(name) {
            Some(staged) if staging.has_file(staged).unwrap_or(false) => staging.join(staged),
            _ => root.join(name),
        };
        let new: BTreeMap<&str, &str> =
            self.files.iter().map(|(staged, name)| (name.as_str(), staged.as_str())).collect();
        let old: BTreeMap<&str, &str> =
            self.replaced.iter().map(|(name, old)| (name.as_str(), old.as_str())).collect();
        let is_placed = |name: &str| match new.get(name) {
            Some(staged) => disk::has_file(staging, staged).map(|staged| !staged),
            None => Ok(false),
        };
        let (mut moves, mut returns) = (Vec::new(), Vec::new());
        for (name, old) in self.replaced.iter().skip(1) {
            if !is_placed(name)? && !disk::has_file(staging, old)? {
                moves.push(name.as_str());
            }
        }
        for (_, name) in self.files.split_last().map_or(&[][..], |(_, files)| files) {
            if is_placed(name)? {
                returns.push(name.as_str());
            }
        }
        for (names, set) in [(moves, &old), (returns, &new)] {
            let mut listed = None;
            for name in names {
                let Some((folder, last)) = parent_of(root, name, false)? else { continue };
                if !disk::has_file(&folder, last)? {
                    continue;
                }
                let listed = match &mut listed {
                    Some(listed) => listed,
                    none => none.insert(list(&|name| path_of(set, name))?),
                };
                let path = folder.join(last);
                let found = disk::digest(&folder, last)?;
                if listed.get(name) != Some(&found) {
                    let reason = format!(
                        "would be moved by the unfinished run in {}, but is not a file that goldfish wrote: move one of \
                         them away",
                        staging.path().display()
                    );
                    return Err(ShardError::occupied(&path, reason, []));
                }
            }
        }
        Ok(())
    }

    /// [`Placing::carry_out`] for a run that was interrupted.
    pub(crate) fn resume(&self, root: &Folder, staging: &Folder, list: &List<'_>) -> Result<(), ShardError> {
        if self.is_complete(root, staging)? {
            return Ok(());
        }
        self.check_listed(root, staging, list)?;
        self.carry_out(root, staging)
    }

    /// Completes what an interrupted run was about to place; if files of it are gone, takes back what it did.
    pub(crate) fn settle(&self, root: &Folder, staging: &Folder, list: &List<'_>) -> Result<(), ShardError> {
        if self.is_complete(root, staging)? {
            return Ok(());
        }
        self.check_listed(root, staging, list)?;
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
            return Err(ShardError::occupied(&path, reason, []));
        }
        disk::rename(staging, staged, &folder, last)?;
    } else if !disk::has_file(&folder, last)? {
        let reason = "this file of the unfinished run is gone".into();
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
        std::io::ErrorKind::InvalidInput => {
            let reason = format!("{error}, and goldfish doesn't write through links");
            ShardError::occupied(&root.join(name), reason, [other_output()])
        }
        _ => ShardError::io(&root.join(name), "opening the folder")(error),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder in which a run was interrupted that was about to place `new` and the manifest `m` in place of `old` and its
    /// manifest, with a file of the user beside them.
    fn interrupted() -> (tempfile::TempDir, Folder, Folder, Placing) {
        let output = tempfile::tempdir().unwrap();
        let root = Folder::open(output.path()).unwrap();
        let staging = root.create_subfolder(".partial").unwrap();
        for (folder, name) in [
            (&root, "m"),
            (&root, "old"),
            (&root, "thesis"),
            (&staging, "file-00000"),
            (&staging, "file-00001"),
        ] {
            fs::write(folder.join(name), name).unwrap();
        }
        let files = [("file-00000", "new"), ("file-00001", "m")];
        let files = files.map(|(staged, name)| (staged.to_owned(), name.to_owned())).to_vec();
        let placing = Placing::new(files, ["m", "old"].map(str::to_owned));
        (output, root, staging, placing)
    }

    fn list(find: &dyn Fn(&str) -> PathBuf) -> Result<BTreeMap<String, FileDigest>, ShardError> {
        assert!(find("m").exists(), "the manifest is where it is said to be");
        Ok(["old", "new"].map(|name| (name.to_owned(), FileDigest::of(name.as_bytes()))).into())
    }

    fn names(folder: &Folder) -> Vec<String> {
        disk::names(folder).unwrap()
    }

    #[test]
    fn an_interrupted_run_is_completed() {
        let (_output, root, staging, placing) = interrupted();
        placing.settle(&root, &staging, &list).unwrap();
        assert_eq!(names(&root), [".partial", "m", "new", "thesis"]);
        assert_eq!(names(&staging), ["old-00000", "old-00001"]);
        assert_eq!(fs::read(root.join("m")).unwrap(), b"file-00001");
        assert!(placing.is_complete(&root, &staging).unwrap());
    }

    #[test]
    fn no_file_moves_that_a_forged_journal_names() {
        for (index, name) in ["thesis", "old"].into_iter().enumerate() {
            let (_output, root, staging, mut placing) = interrupted();
            if index == 0 {
                // To the staging folder, which is removed in the end ...
                placing.replaced.push((name.to_owned(), "old-00077".to_owned()));
            } else {
                // ... or another file under a listed name.
                fs::write(root.join(name), "changed").unwrap();
            }
            let error = placing.settle(&root, &staging, &list).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(names(&root), [".partial", "m", "old", "thesis"]);
        }
        // Back from a final name that no staged file ever got, since another file is gone.
        let (_output, root, staging, mut placing) = interrupted();
        placing.files.insert(0, ("file-00007".to_owned(), "thesis".to_owned()));
        staging.remove_file("file-00000").unwrap();
        assert!(matches!(placing.settle(&root, &staging, &list), Err(ShardError::Occupied { .. })));
        assert_eq!(names(&root), [".partial", "m", "old", "thesis"]);
    }

    #[test]
    fn a_run_whose_files_are_gone_is_undone() {
        let (_output, root, staging, placing) = interrupted();
        root.rename("old", &staging, "old-00001").unwrap();
        root.rename("m", &staging, "old-00000").unwrap();
        staging.remove_file("file-00000").unwrap();
        placing.settle(&root, &staging, &list).unwrap();
        assert_eq!(names(&root), [".partial", "m", "old", "thesis"]);
        assert_eq!(fs::read(root.join("m")).unwrap(), b"m");
    }

    #[test]
    fn a_manifest_has_its_place() {
        let (.., placing) = interrupted();
        assert!(placing.names_are_ours("m", |_| true, |_| true));
        assert!(!placing.names_are_ours("thesis", |_| true, |_| true));
        assert!(!placing.names_are_ours("m", |name| name != "file-00000", |_| true));
        assert!(!placing.names_are_ours("m", |_| true, |name| name != "old"));
        let late = Placing { replaced: placing.replaced.iter().rev().cloned().collect(), ..placing };
        assert!(!late.names_are_ours("m", |_| true, |_| true));
    }
}
