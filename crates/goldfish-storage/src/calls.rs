//! Calls that take a path, on a disk or in an object store.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::file::File;
use crate::folder::replace_file;
use crate::metadata::{Entry, Metadata};
use crate::output::Output;
use crate::remote;
use crate::url::is_remote;

/// What is known of a file; links are followed.
///
/// # Errors
///
/// If there is nothing, or the system or the store refuses.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    if is_remote(path) { remote::metadata(path) } else { Ok(Metadata::of_file(&fs::metadata(path)?)) }
}

/// What is known of many files, in their order. A store is asked about all at once, which takes as long as a few.
pub fn metadata_of_all(paths: &[&Path]) -> Vec<io::Result<Metadata>> {
    if paths.iter().any(|path| is_remote(path)) {
        remote::metadata_of_all(paths)
    } else {
        paths.iter().map(|path| metadata(path)).collect()
    }
}

/// Whether a path leads to something. If a store doesn't answer, it is assumed to exist, so that the next call reports
/// the error, and nothing continues without it.
#[must_use]
pub fn exists(path: &Path) -> bool {
    if !is_remote(path) {
        return path.exists();
    }
    !remote::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether anything has a name, even a broken link.
#[must_use]
pub fn is_taken(path: &Path) -> bool {
    if is_remote(path) { exists(path) } else { fs::symlink_metadata(path).is_ok() }
}

/// Whether a path leads to a regular file or an object.
#[must_use]
pub fn is_file(path: &Path) -> bool {
    metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether a path leads to a folder.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    metadata(path).is_ok_and(|metadata| metadata.is_folder())
}

/// The entries of a folder, sorted by path.
///
/// # Errors
///
/// If there is no such folder, or it can't be listed: HTTP servers have no folders. In a store a folder that doesn't
/// exist is empty.
pub fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if is_remote(folder) {
        entries = remote::entries(folder)?;
    } else {
        for entry in fs::read_dir(folder)? {
            entries.push(Entry { path: entry?.path(), metadata: None });
        }
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// The paths of the entries of a folder, sorted.
///
/// # Errors
///
/// As [`entries`].
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().map(|entry| entry.path).collect())
}

/// Reads a whole file of at most so many bytes. Links are followed.
///
/// # Errors
///
/// If it can't be read, is not a regular file, or is larger ([`io::ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    File::open(path)?.read_whole(most)
}

/// Writes a small file, or replaces one; it is durable when this returns.
///
/// # Errors
///
/// If the system or the store refuses.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_remote(path) { remote::write(path, bytes, false) } else { replace_file(path, bytes) }
}

/// Writes a small file that must not exist yet; it is durable when this returns.
///
/// # Errors
///
/// If there is one already ([`io::ErrorKind::AlreadyExists`]), or the system or the store refuses.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_remote(path) {
        return remote::write(path, bytes, true);
    }
    let mut file = fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Copies a file, and replaces what exists; the copy is durable when this returns.
///
/// Within a store the store copies; other copies of objects go through this machine, in parts.
///
/// # Errors
///
/// If the system or the store refuses.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match (is_remote(from), is_remote(to)) {
        (false, false) => {
            fs::copy(from, to)?;
            fs::File::open(to)?.sync_all()
        }
        (true, true) if remote::copy_within(from, to)? => Ok(()),
        _ => {
            let (mut file, mut output) = (File::open(from)?, Output::create(to)?);
            let mut block = vec![0; 1 << 20];
            loop {
                match file.read(&mut block)? {
                    0 => return output.sync(),
                    read => output.write_all(&block[..read])?,
                }
            }
        }
    }
}

/// Removes a file.
///
/// # Errors
///
/// If there is none (which some stores don't say), or the system or the store refuses.
pub fn remove_file(path: &Path) -> io::Result<()> {
    if is_remote(path) { remote::remove(path) } else { fs::remove_file(path) }
}

/// Removes an empty folder. A store has none to remove.
///
/// # Errors
///
/// If it isn't empty, or the system refuses.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    if is_remote(path) { remote::check(path) } else { fs::remove_dir(path) }
}

/// Removes all objects below a key and a slash. There is no such call for folders on a disk, which may hold files of
/// others.
///
/// # Errors
///
/// If the path is not in a store ([`io::ErrorKind::Unsupported`]), or the store refuses.
pub fn remove_objects(path: &Path) -> io::Result<()> {
    if is_remote(path) { remote::remove_all(path) } else { Err(io::ErrorKind::Unsupported.into()) }
}
