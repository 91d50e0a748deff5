//! What is known of a file without reading it.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, or an object.
    File,
    /// A folder, or a key below which there are objects.
    Folder,
    /// A pipe, a device or the like.
    Other,
}

/// What changes when a file is written to or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// Of a file on a disk.
    File {
        /// When it was modified, if the system says.
        modified: Option<SystemTime>,
        /// Which file it is and when anything of it was changed, on Unix: device, inode, and the seconds and nanoseconds of
        /// `ctime`, which can't be set back.
        inode: Option<[i128; 4]>,
    },
    /// The tag of an object (`ETag`), or else when it was modified, if the store says.
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
    pub(crate) fn of_file(metadata: &fs::Metadata) -> Self {
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

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole path.
    pub path: PathBuf,
    /// What a store's listing says; `None` on a disk, where it has to be asked for.
    pub(crate) metadata: Option<Metadata>,
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
