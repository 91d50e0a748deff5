//! What changes the disk, or the store, so that it lasts. Each operation can be made to fail in tests (feature
//! `failpoints`).

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use goldfish_digest::{FileDigest, HashingReader};
use goldfish_storage::{Folder, Output, is_remote};

use crate::ShardError;

/// Makes a file of a name that nothing has. An object comes into being when it is brought to the store by [`sync`].
pub(crate) fn create(folder: &Folder, name: &str) -> Result<Output, ShardError> {
    let made = point("create").and_then(|()| folder.create(name));
    made.map_err(ShardError::io(&folder.join(name), "creating"))
}

/// Makes a file on a disk, of a name that nothing has.
pub(crate) fn create_file(folder: &Folder, name: &str) -> Result<File, ShardError> {
    let unsupported = || ShardError::io(&folder.join(name), "creating")(io::ErrorKind::Unsupported.into());
    create(folder, name)?.into_disk().ok_or_else(unsupported)
}

/// Writes a small object if there is none of the name; returns whether it did.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, ShardError> {
    match point("create").and_then(|()| goldfish_storage::write_new(path, bytes)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        written => written.map(|()| true).map_err(ShardError::io(path, "writing")),
    }
}

/// Writes a small object, or replaces one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ShardError> {
    point("create")
        .and_then(|()| goldfish_storage::write(path, bytes))
        .map_err(ShardError::io(path, "writing"))
}

/// Makes a folder in another, unless there is one, and opens it.
pub(crate) fn create_folder(folder: &Folder, name: &str) -> Result<Folder, ShardError> {
    let made = point("create").and_then(|()| folder.create_subfolder(name));
    made.map_err(ShardError::io(&folder.join(name), "making the folder"))
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
        match open_folder(parent).and_then(|parent| sync_folder(&parent)) {
            // A folder in which names may be made but not listed can't be opened to be flushed.
            Err(ShardError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            flushed => flushed,
        }
    })
}

/// Opens the folder of an output, which the user named.
pub(crate) fn open_folder(path: &Path) -> Result<Folder, ShardError> {
    Folder::open(path).map_err(ShardError::io(path, "opening the folder"))
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
pub(crate) fn sync_folder(folder: &Folder) -> Result<(), ShardError> {
    let flushed = point("sync-folder").and_then(|()| folder.sync());
    flushed.map_err(ShardError::io(folder.path(), "flushing the folder to disk"))
}

/// Gives a file on a disk its name in another folder.
pub(crate) fn rename(folder: &Folder, name: &str, into: &Folder, to: &str) -> Result<(), ShardError> {
    let renamed = point("rename").and_then(|()| folder.rename(name, into, to));
    renamed.map_err(ShardError::io(&into.join(to), "renaming into place"))
}

/// Copies an object within a store, or a file, and replaces what is there.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), ShardError> {
    point("copy").and_then(|()| goldfish_storage::copy(from, to)).map_err(ShardError::io(to, "copying"))
}

/// Gives a file a second name in a folder; copies it where the file system has no second names, the folders are on
/// two, or in a store.
pub(crate) fn link_or_copy(from: &Folder, name: &str, folder: &Folder, to: &str) -> Result<(), ShardError> {
    let copy = || {
        if folder.is_remote() {
            return goldfish_storage::copy(&from.join(name), &folder.join(to));
        }
        let (mut file, mut output) = (goldfish_storage::File::open(&from.join(name))?, folder.create(to)?);
        io::copy(&mut file, &mut output)?;
        output.sync()
    };
    let linked = point("link").and_then(|()| from.link(name, folder, to).or_else(|_| copy()));
    linked.map_err(ShardError::io(&folder.join(to), "linking or copying"))
}

/// Removes a file, if there is one.
pub(crate) fn remove(folder: &Folder, name: &str) -> Result<(), ShardError> {
    match point("remove").and_then(|()| folder.remove_file(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ShardError::io(&folder.join(name), "removing")),
    }
}

/// Removes an empty folder in another. One that is not empty stays.
pub(crate) fn remove_folder(folder: &Folder, name: &str) -> Result<(), ShardError> {
    match point("remove").and_then(|()| folder.remove_subfolder(name)) {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
            Ok(())
        }
        removed => removed.map_err(ShardError::io(&folder.join(name), "removing the folder")),
    }
}

/// Removes everything below a prefix of a store.
pub(crate) fn remove_all(path: &Path) -> Result<(), ShardError> {
    match point("remove").and_then(|()| goldfish_storage::remove_objects(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ShardError::io(path, "removing")),
    }
}

/// Whether there is a regular file of a name; unlike [`goldfish_storage::exists`] a store that doesn't answer is an error.
pub(crate) fn has_file(folder: &Folder, name: &str) -> Result<bool, ShardError> {
    folder.has_file(name).map_err(ShardError::io(&folder.join(name), "looking at the file"))
}

/// Size and hash of a regular file.
pub(crate) fn digest(folder: &Folder, name: &str) -> Result<FileDigest, ShardError> {
    let path = folder.join(name);
    let file = folder.open_file(name).map_err(ShardError::io(&path, "opening"))?;
    let (digest, _) = HashingReader::new(file).finish().map_err(ShardError::io(&path, "reading"))?;
    Ok(digest)
}

/// Whether anything has a name.
pub(crate) fn exists(folder: &Folder, name: &str) -> Result<bool, ShardError> {
    let found = folder.kind(name).map_err(ShardError::io(&folder.join(name), "looking at the file"))?;
    Ok(found.is_some())
}

/// The names in a folder, sorted. What a store has nothing in is not there.
pub(crate) fn names(folder: &Folder) -> Result<Vec<String>, ShardError> {
    let names = match folder.names() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_remote() => Vec::new(),
        names => names.map_err(ShardError::io(folder.path(), "listing the folder"))?,
    };
    Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// What a store is asked to do at once.
const AT_ONCE: usize = 16;

/// Does the same to many files: in a store several at once, on a disk one after another. The first error ends it.
pub(crate) fn for_each<T: Sync>(
    remote: bool,
    files: &[T],
    act: impl Fn(&T) -> Result<(), ShardError> + Sync,
) -> Result<(), ShardError> {
    if !remote {
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
