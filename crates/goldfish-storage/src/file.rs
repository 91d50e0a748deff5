//! Files and objects that are read.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use cap_fs_ext::OpenOptionsSyncExt;
use cap_std::ambient_authority;
use cap_std::fs::OpenOptions;

use crate::metadata::Metadata;
use crate::read::read_whole;
use crate::remote::Object;
use crate::url::is_remote;

/// A file that is open for reading.
///
/// An object must stay what it was when it was opened: if it is replaced, reading is an error of the kind
/// [`io::ErrorKind::InvalidData`] that says so. Reading an object in order fetches it ahead.
#[derive(Debug)]
pub struct File(Opened);

#[derive(Debug)]
enum Opened {
    Disk(fs::File),
    Store(Object),
}

impl File {
    /// Opens a regular file, or an object. Links are followed.
    ///
    /// # Errors
    ///
    /// If there is none, the system or the store refuses, or it is a folder, a pipe or the like
    /// ([`io::ErrorKind::InvalidInput`]).
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::open_regular(path)?.0)
    }

    /// Opens a file as [`File::open`] does, and returns what is known of it.
    ///
    /// # Errors
    ///
    /// As [`File::open`].
    pub fn open_regular(path: &Path) -> io::Result<(Self, Metadata)> {
        if is_remote(path) {
            let object = Object::open(path)?;
            let metadata = object.metadata_at_open();
            return Ok((Self(Opened::Store(object)), metadata));
        }
        // Opened without waiting for the writer of a pipe, and checked afterwards, so that it can't be replaced in between.
        let mut options = OpenOptions::new();
        let opened = fs_open(path, options.read(true).nonblock(true));
        let file = opened.map_err(|error| match fs::metadata(path) {
            Ok(found) if !found.is_file() => not_regular(),
            _ => error,
        })?;
        let metadata = Metadata::of_file(&file.metadata()?);
        if metadata.is_file() { Ok((Self(Opened::Disk(file)), metadata)) } else { Err(not_regular()) }
    }

    /// Reads the whole file, of at most so many bytes.
    ///
    /// # Errors
    ///
    /// If it can't be read, or is larger ([`io::ErrorKind::FileTooLarge`]).
    pub fn read_whole(self, most: u64) -> io::Result<Vec<u8>> {
        let size = match &self.0 {
            Opened::Disk(file) => file.metadata()?.len(),
            Opened::Store(object) => object.metadata_at_open().size,
        };
        read_whole(self, size, most)
    }

    /// What is known of the file now: on a disk of the one that was opened, in a store of the one with its name.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses.
    pub fn metadata(&self) -> io::Result<Metadata> {
        match &self.0 {
            Opened::Disk(file) => Ok(Metadata::of_file(&file.metadata()?)),
            Opened::Store(object) => object.metadata(),
        }
    }

    /// Another handle. On a disk the two share a position, in a store they don't.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Opened::Disk(file) => Opened::Disk(file.try_clone()?),
            Opened::Store(object) => Opened::Store(object.try_clone()),
        }))
    }

    /// Reads at an offset, whatever the position is; 0 bytes at the end. On systems other than Unix the position moves.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses, or the object was replaced.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at_before(buffer, offset, u64::MAX)
    }

    /// As [`File::read_at`]; nothing of an object is fetched ahead from `end` on, where the reader will stop.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`].
    pub fn read_at_before(&self, buffer: &mut [u8], offset: u64, end: u64) -> io::Result<usize> {
        match &self.0 {
            Opened::Disk(file) => disk_read_at(file, buffer, offset),
            Opened::Store(object) => object.read_at(buffer, offset, end),
        }
    }

    /// Fills a buffer from an offset.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`]; and if the file ends before the buffer is full ([`io::ErrorKind::UnexpectedEof`]).
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => (buffer, offset) = (&mut buffer[read..], offset + read as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends the next `bytes` bytes to `into`, whose new part is not filled with zeros first; fewer at the end of the file.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses, or the object was replaced. What was read before is appended.
    pub fn append_to(&mut self, into: &mut Vec<u8>, bytes: usize) -> io::Result<usize> {
        into.reserve(bytes);
        match &mut self.0 {
            Opened::Disk(file) => (&*file).take(bytes as u64).read_to_end(into),
            Opened::Store(object) => object.take(bytes as u64).read_to_end(into),
        }
    }

    /// Whether the store caused an error that a reader of the file's contents met: once an object couldn't be read,
    /// all handles of it fail whenever they are used.
    ///
    /// # Errors
    ///
    /// What the store said.
    pub fn check(&self) -> io::Result<()> {
        match &self.0 {
            Opened::Disk(_) => Ok(()),
            Opened::Store(object) => object.check(),
        }
    }

    /// The file, if it is on a disk.
    #[must_use]
    pub fn into_disk(self) -> Option<fs::File> {
        match self.0 {
            Opened::Disk(file) => Some(file),
            Opened::Store(_) => None,
        }
    }

    /// The file, if it is on a disk.
    #[must_use]
    pub fn disk(&self) -> Option<&fs::File> {
        match &self.0 {
            Opened::Disk(file) => Some(file),
            Opened::Store(_) => None,
        }
    }
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> Self {
        Self(Opened::Disk(file))
    }
}

fn fs_open(path: &Path, options: &OpenOptions) -> io::Result<fs::File> {
    Ok(cap_std::fs::File::open_ambient_with(path, options, ambient_authority())?.into_std())
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(unix)]
fn disk_read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(not(unix))]
fn disk_read_at(mut file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek(SeekFrom::Start(offset))?;
    file.read(buffer)
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Opened::Disk(file) => file.read(buffer),
            Opened::Store(object) => object.read(buffer),
        }
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.0 {
            // The standard library asks for the size, and reads once more to see the end.
            Opened::Disk(file) => file.read_to_end(bytes),
            Opened::Store(object) => object.read_to_end(bytes),
        }
    }
}

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Opened::Disk(file) => (&mut &*file).read(buffer),
            Opened::Store(object) => object.read_next(buffer),
        }
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &self.0 {
            Opened::Disk(file) => (&mut &*file).seek(to),
            Opened::Store(object) => object.seek(to),
        }
    }
}
