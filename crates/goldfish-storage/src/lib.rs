//! Files on a disk or in an object store, through one set of calls.
//!
//! A path that starts with one of [`SCHEMES`] names an object, any other a file. Paths of objects are the text of their
//! URLs, so that joining, extensions and names work as on files, and every message names the URL. A folder of a store is
//! what lies below a key and a slash: it is there as long as something is in it.
//!
//! Objects need the feature `object-stores`; without it every call on one is an error of the kind
//! [`io::ErrorKind::Unsupported`], and this crate is the standard library's files and nothing else.
//!
//! Errors are the system's, without the path: who calls knows it, and what was to be done.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[cfg(not(feature = "object-stores"))]
#[path = "absent.rs"]
mod remote;
#[cfg(feature = "object-stores")]
mod remote;

mod file;
mod folder;
mod lock;
mod output;
mod pattern;

pub use file::File;
pub use folder::{Folder, partial_name, replace_file};
pub use lock::{Lock, is_id, random_id};
pub use output::Output;
pub use pattern::{components, glob, without_secrets};

/// What the paths of objects start with.
pub const SCHEMES: [&str; 5] = ["s3://", "gs://", "az://", "http://", "https://"];

/// A store in this process, for tests.
const MEMORY: &str = "memory://";

/// Bytes of an object that one request brings, at most.
pub const BLOCK_BYTES: u64 = 4 << 20;

/// Blocks of an object that are fetched ahead of a reader that takes it in order.
pub const AHEAD_BLOCKS: usize = 3;

/// Places of an object that one handle reads from at the same time, with a block and those ahead for each.
pub const READ_WINDOWS: usize = 4;

/// Bytes of the parts in which an object is written. A store takes 10,000 parts, so that an object has 156 GiB at most.
pub const PART_BYTES: usize = 16 << 20;

/// Parts of an object that are on their way to the store at the same time, beside the one that is filled.
pub const PARTS_AT_ONCE: usize = 2;

/// Whether a path names an object rather than a file on a disk.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut schemes = SCHEMES.iter().chain([&MEMORY]);
    schemes.any(|scheme| bytes.starts_with(scheme.as_bytes()))
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, or an object.
    File,
    /// A folder, or a key below which objects lie.
    Folder,
    /// A pipe, a device or the like.
    Other,
}

/// What changes when a file is written to, or another takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// Of a file on a disk.
    File {
        /// When it was modified, if the system tells.
        modified: Option<SystemTime>,
        /// Which file it is and when anything of it was changed, on Unix: device, inode, and the seconds and nanoseconds of
        /// `ctime`, which nobody can set back.
        inode: Option<[i128; 4]>,
    },
    /// The tag of an object (`ETag`), or else when it was modified, if the store tells.
    Tag(Option<String>),
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Its size, in bytes.
    pub size: u64,
    /// What changes when it is written to.
    pub stamp: Stamp,
}

impl Metadata {
    fn of_file(metadata: &fs::Metadata) -> Self {
        let kind = match metadata {
            file if file.is_file() => Kind::File,
            folder if folder.is_dir() => Kind::Folder,
            _ => Kind::Other,
        };
        let stamp = Stamp::File { modified: metadata.modified().ok(), inode: inode(metadata) };
        Self { kind, size: metadata.len(), stamp }
    }

    /// Whether it is a regular file or an object.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> Option<[i128; 4]> {
    use std::os::unix::fs::MetadataExt;
    Some([
        metadata.dev().into(),
        metadata.ino().into(),
        metadata.ctime().into(),
        metadata.ctime_nsec().into(),
    ])
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> Option<[i128; 4]> {
    None
}

/// Asks about a file; links are followed.
///
/// # Errors
///
/// If there is nothing, or the system or the store refuses.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    if is_remote(path) { remote::metadata(path) } else { Ok(Metadata::of_file(&fs::metadata(path)?)) }
}

/// Asks about many files at once, which takes a store as long as a few; in their order.
pub fn metadata_of_all(paths: &[&Path]) -> Vec<io::Result<Metadata>> {
    if paths.iter().any(|path| is_remote(path)) {
        remote::metadata_of_all(paths)
    } else {
        paths.iter().map(|path| metadata(path)).collect()
    }
}

/// Whether a path leads to something that can be asked about. Where a store gives no answer it is taken to be there, so that
/// the fault is told by what comes next, and nothing goes on without it.
#[must_use]
pub fn exists(path: &Path) -> bool {
    if !is_remote(path) {
        return path.exists();
    }
    !remote::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether anything has a name, be it a link that leads nowhere.
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

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole path.
    pub path: PathBuf,
    /// What a store's listing tells; `None` on a disk, where it has to be asked for.
    metadata: Option<Metadata>,
}

impl Entry {
    /// Whether it is a folder, or a link to one.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        match &self.metadata {
            Some(metadata) => metadata.is_folder(),
            None => self.path.is_dir(),
        }
    }
}

/// What lies in a folder, sorted by path.
///
/// # Errors
///
/// If there is no such folder, or it can't be listed: HTTP servers tell nothing of folders. In a store a folder that isn't
/// there is one that holds nothing.
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

/// The paths of what lies in a folder, sorted.
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
/// If it can't be read, is no regular file, or is larger ([`io::ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    File::open(path)?.read_whole(most)
}

/// The path from the root, by name alone; a URL is one already.
///
/// # Errors
///
/// If the path is empty, or the current folder is gone.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    if is_remote(path) { Ok(path.to_owned()) } else { std::path::absolute(path) }
}

/// The path without links; a URL is one already.
///
/// # Errors
///
/// If a file isn't there. An object is not asked for.
pub fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    if is_remote(path) { Ok(path.to_owned()) } else { fs::canonicalize(path) }
}

/// Writes a small file, or replaces one; it lasts when this returns.
///
/// # Errors
///
/// If the system or the store refuses.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_remote(path) { remote::write(path, bytes, false) } else { replace_file(path, bytes) }
}

/// Writes a small file that must not be there yet; it lasts when this returns.
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

/// Copies a file, and replaces what is there; the copy lasts when this returns.
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
/// If there is none (which some stores don't tell), or the system or the store refuses.
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

/// Removes all objects below a key and a slash. There is no such call for folders on a disk: what is in them may not be
/// ours.
///
/// # Errors
///
/// If the path is none of a store ([`io::ErrorKind::Unsupported`]), or the store refuses.
pub fn remove_objects(path: &Path) -> io::Result<()> {
    if is_remote(path) { remote::remove_all(path) } else { Err(io::ErrorKind::Unsupported.into()) }
}
