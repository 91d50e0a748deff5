//! What touches the disk so that it lasts. Each operation can be made to fail in tests (feature `failpoints`).

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::ShardError;

/// Makes an empty file, or empties it.
pub(crate) fn create(path: &Path) -> Result<File, ShardError> {
    point("create").and_then(|()| File::create(path)).map_err(ShardError::io(path, "creating"))
}

pub(crate) fn create_folder(path: &Path) -> Result<(), ShardError> {
    match point("create").and_then(|()| fs::create_dir(path)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(ShardError::io(path, "making the folder")),
    }
}

/// Waits until a file's contents are on the disk.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), ShardError> {
    point("sync").and_then(|()| file.sync_all()).map_err(ShardError::io(path, "flushing to disk"))
}

/// Waits until a folder's names are on the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), ShardError> {
    let flushed = point("sync-folder");
    #[cfg(unix)]
    let flushed = flushed.and_then(|()| File::open(path)).and_then(|folder| folder.sync_all());
    flushed.map_err(ShardError::io(path, "flushing the folder to disk"))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), ShardError> {
    point("rename").and_then(|()| fs::rename(from, to)).map_err(ShardError::io(to, "renaming into place"))
}

/// Gives a file a second name; copies it where the file system has no second names or the folders lie on two.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<(), ShardError> {
    let copy = || fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    let linked = point("link").and_then(|()| fs::hard_link(from, to).or_else(|_| copy()));
    linked.map_err(ShardError::io(to, "linking or copying"))
}

pub(crate) fn remove(path: &Path) -> Result<(), ShardError> {
    let removed = point("remove")
        .and_then(|()| if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ShardError::io(path, "removing")),
    }
}

#[cfg(not(feature = "failpoints"))]
fn point(_operation: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
fn point(operation: &str) -> io::Result<()> {
    crate::failpoints::hit(operation)
}
