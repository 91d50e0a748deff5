//! What touches the disk, or the store, so that it lasts. Each operation can be made to fail in tests (feature
//! `failpoints`).

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use goldfish_storage::{Output, is_remote};

use crate::ShardError;

/// Makes an empty file, or empties it. An object comes into being when it is brought to the store by [`sync`].
pub(crate) fn create(path: &Path) -> Result<Output, ShardError> {
    point("create").and_then(|()| Output::create(path)).map_err(ShardError::io(path, "creating"))
}

/// Makes an empty file on a disk, or empties it.
pub(crate) fn create_file(path: &Path) -> Result<File, ShardError> {
    point("create").and_then(|()| File::create(path)).map_err(ShardError::io(path, "creating"))
}

/// Writes a small file if there is none of the name; returns whether it did.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, ShardError> {
    match point("create").and_then(|()| goldfish_storage::write_new(path, bytes)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        written => written.map(|()| true).map_err(ShardError::io(path, "writing")),
    }
}

/// Writes a small file, or replaces one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ShardError> {
    point("create")
        .and_then(|()| goldfish_storage::write(path, bytes))
        .map_err(ShardError::io(path, "writing"))
}

pub(crate) fn create_folder(path: &Path) -> Result<(), ShardError> {
    match point("create").and_then(|()| goldfish_storage::create_folder(path)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(ShardError::io(path, "making the folder")),
    }
}

/// Makes a folder and those above it where they are missing, so that their names last.
pub(crate) fn create_folder_all(path: &Path) -> Result<(), ShardError> {
    if is_remote(path) || path.is_dir() {
        return Ok(());
    }
    let missing = path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let missing: Vec<_> = missing.collect();
    fs::create_dir_all(path).map_err(ShardError::io(path, "making the folder"))?;
    missing.into_iter().try_for_each(|made| {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match sync_folder(parent) {
            // A folder in which names may be made but not listed can't be opened to be flushed.
            Err(ShardError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            flushed => flushed,
        }
    })
}

/// Waits until a file's contents are on the disk, or in the store.
pub(crate) fn sync(file: &mut Output, path: &Path) -> Result<(), ShardError> {
    let action = if file.disk().is_some() { "flushing to disk" } else { "uploading" };
    point("sync").and_then(|()| file.sync()).map_err(ShardError::io(path, action))
}

/// Waits until the contents of a file on a disk last.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<(), ShardError> {
    point("sync").and_then(|()| file.sync_all()).map_err(ShardError::io(path, "flushing to disk"))
}

/// Waits until a folder's names are on the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), ShardError> {
    point("sync-folder")
        .and_then(|()| goldfish_storage::sync_folder(path))
        .map_err(ShardError::io(path, "flushing the folder to disk"))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), ShardError> {
    point("rename")
        .and_then(|()| goldfish_storage::rename(from, to))
        .map_err(ShardError::io(to, "renaming into place"))
}

/// Copies a file, and replaces what is there.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), ShardError> {
    point("copy").and_then(|()| goldfish_storage::copy(from, to)).map_err(ShardError::io(to, "copying"))
}

/// Gives a file a second name; copies it where the file system has no second names, the folders lie on two, or in a
/// store.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<(), ShardError> {
    let link = || {
        if is_remote(from) || is_remote(to) {
            Err(io::ErrorKind::Unsupported.into())
        } else {
            fs::hard_link(from, to)
        }
    };
    let linked = point("link").and_then(|()| link().or_else(|_| goldfish_storage::copy(from, to)));
    linked.map_err(ShardError::io(to, "linking or copying"))
}

pub(crate) fn remove(path: &Path) -> Result<(), ShardError> {
    let removed = point("remove").and_then(|()| match goldfish_storage::metadata(path) {
        Ok(found) if found.is_folder() => goldfish_storage::remove_folder_all(path),
        // On a disk, what can't be asked about may be a link that leads nowhere.
        Err(error) if is_remote(path) && error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => goldfish_storage::remove_file(path),
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ShardError::io(path, "removing")),
    }
}

/// Whether there is something at a path; unlike [`goldfish_storage::exists`] a store that can't tell is an error.
pub(crate) fn exists(path: &Path) -> Result<bool, ShardError> {
    match goldfish_storage::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true).map_err(ShardError::io(path, "looking at the file")),
    }
}

/// What a store is asked to do at once.
const AT_ONCE: usize = 16;

/// Does the same to many files: in a store several at once, on a disk one after another. The first error ends it.
pub(crate) fn for_each<T: Sync>(
    folder: &Path,
    files: &[T],
    act: impl Fn(&T) -> Result<(), ShardError> + Sync,
) -> Result<(), ShardError> {
    if !is_remote(folder) {
        return files.iter().try_for_each(act);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            act(file).inspect_err(|_| next.store(files.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE.min(files.len())).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All are waited for, whatever the first one says.
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

#[cfg(not(feature = "failpoints"))]
fn point(_operation: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
fn point(operation: &str) -> io::Result<()> {
    crate::failpoints::hit(operation)
}
