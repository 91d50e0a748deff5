//! Files and objects that are written.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::remote::Upload;
use crate::url::is_remote;

/// A file that is being written.
///
/// On a disk it exists from the start. An object appears, or replaces another, when [`Output::sync`] returns;
/// what was written is discarded if that is never called.
#[derive(Debug)]
pub struct Output(Written);

#[derive(Debug)]
enum Written {
    Disk(fs::File),
    Store(Upload),
}

impl Output {
    /// Makes an empty file, or empties it.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(if is_remote(path) {
            Written::Store(Upload::create(path)?)
        } else {
            Written::Disk(fs::File::create(path)?)
        }))
    }

    /// Waits until all that was written is durable. An object is complete then, and writing more is an error.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses.
    pub fn sync(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Written::Disk(file) => file.sync_all(),
            Written::Store(upload) => upload.complete(),
        }
    }

    /// The file, if it is on a disk.
    #[must_use]
    pub fn into_disk(self) -> Option<fs::File> {
        match self.0 {
            Written::Disk(file) => Some(file),
            Written::Store(_) => None,
        }
    }

    /// The file, if it is on a disk.
    #[must_use]
    pub fn disk(&self) -> Option<&fs::File> {
        match &self.0 {
            Written::Disk(file) => Some(file),
            Written::Store(_) => None,
        }
    }
}

impl From<fs::File> for Output {
    fn from(file: fs::File) -> Self {
        Self(Written::Disk(file))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Written::Disk(file) => file.write(bytes),
            Written::Store(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
