//! Folders that one process at a time writes, and that only the options they were started with can resume.

use std::fs;
use std::path::Path;

use goldfish_remedy::{Remedy, Setting};
use goldfish_storage::{Folder, Kind, Lock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::AuditError;
use crate::files::{differences, read_json, write_json};

/// The file that is locked.
const LOCK: &str = ".lock";

/// What a command writes to its output folder.
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    /// Their name in messages, such as "a trace".
    pub name: &'static str,
    /// The file with the options.
    pub options: &'static str,
    /// Files that are written before it: a start that was interrupted may have left them.
    pub first: &'static [&'static str],
}

/// Such a folder, locked.
#[derive(Debug)]
pub struct OutputFolder {
    /// The folder.
    pub folder: Folder,
    /// Held until it is dropped; the system frees it with the process.
    pub lock: Lock,
    /// Whether the folder had these contents before.
    pub resumed: bool,
}

impl Contents {
    /// Creates the folder, or checks that the one there may be resumed with these options. In a new one `write_first` writes the files that
    /// come before the options.
    ///
    /// # Errors
    ///
    /// If the folder holds something else, contents of other options, or these but `resume` is not set; if another process works in it; if
    /// the disk refuses.
    pub fn open<C: Serialize + DeserializeOwned + PartialEq>(
        &self,
        path: &Path,
        options: &C,
        resume: bool,
        write_first: impl FnOnce(&Folder) -> Result<(), AuditError>,
    ) -> Result<OutputFolder, AuditError> {
        fs::create_dir_all(path).map_err(AuditError::io(path, "creating the folder"))?;
        let folder = Folder::open(path).map_err(AuditError::io(path, "opening the folder"))?;
        let looked = folder.kind(self.options);
        let resumed = match looked.map_err(AuditError::io(path, "looking at the folder"))? {
            Some(Kind::File) => true,
            Some(_) => return Err(refused(path, format!("{} there is not a regular file", self.options))),
            None if self.has_others(&folder)? => {
                let reason = format!("the folder is not empty, and does not hold {}", self.name);
                return Err(refused(path, reason));
            }
            None => false,
        };
        if resumed {
            self.check(&folder, options, resume)?;
        }
        // Only now: its file must not come into being in a folder that is refused.
        let lock = folder.lock(LOCK).map_err(AuditError::io(&folder.join(LOCK), "locking"))?;
        let Some(lock) = lock else {
            return Err(AuditError::bad_run(path, "another process is working there; wait for it to end"));
        };
        if !resumed {
            if folder.has_file(self.options).map_err(AuditError::io(path, "looking at the folder"))? {
                return Err(refused(path, format!("another process has just started {} there", self.name)));
            }
            write_first(&folder)?;
            write_json(&folder, self.options, options)?;
        }
        Ok(OutputFolder { folder, lock, resumed })
    }

    /// Whether what is there may be resumed.
    fn check<C: Serialize + DeserializeOwned + PartialEq>(
        &self,
        folder: &Folder,
        options: &C,
        resume: bool,
    ) -> Result<(), AuditError> {
        let found: C = read_json(&folder.join(self.options))?;
        if !resume {
            let reason = format!("the folder already holds {}", self.name);
            let remedies =
                vec![Remedy::give(Setting::Resume).to("continue"), Remedy::change(Setting::Output)];
            return Err(AuditError::refused(folder.path(), reason, remedies));
        }
        if found == *options {
            return Ok(());
        }
        let mut names = differences(&found, options);
        // The hash of the others.
        names.retain(|name| name != "key");
        let names = names.join(", ").replace('_', " ");
        let reason = format!("the folder holds {} with other options, which differ in {names}", self.name);
        Err(refused(folder.path(), reason))
    }

    /// Whether anything is there but hidden files and what an interrupted start leaves.
    fn has_others(&self, folder: &Folder) -> Result<bool, AuditError> {
        let names = folder.names().map_err(AuditError::io(folder.path(), "listing the folder"))?;
        let is_ours = |name: &str| name.starts_with('.') || self.first.contains(&name);
        Ok(!names.iter().all(|name| is_ours(&name.to_string_lossy())))
    }
}

/// Removes the file of the lock, which a complete folder no longer needs. The caller holds the lock.
///
/// # Errors
///
/// If the disk refuses.
pub fn remove_lock(folder: &Folder) -> Result<(), AuditError> {
    folder.remove_file(LOCK).map_err(AuditError::io(&folder.join(LOCK), "removing"))
}

/// That the folder is taken.
fn refused(path: &Path, reason: String) -> AuditError {
    AuditError::refused(path, reason, vec![Remedy::change(Setting::Output)])
}
