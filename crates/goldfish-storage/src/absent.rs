//! Stands for object stores in a build without them: nothing can be opened, and what would be open can't exist.

use std::convert::Infallible;
use std::io::{self, Read, SeekFrom, Write};
use std::path::Path;

use crate::metadata::{Entry, Metadata};

/// Refuses a URL.
pub(crate) fn check(_path: &Path) -> io::Result<()> {
    let message = "object stores are not in this build; build goldfish with the feature object-stores";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

fn refuse<T>(path: &Path) -> io::Result<T> {
    Err(check(path).err().unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    refuse(path)
}

pub(crate) fn metadata_of_all(paths: &[&Path]) -> Vec<io::Result<Metadata>> {
    paths.iter().map(|path| metadata(path)).collect()
}

pub(crate) fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    refuse(folder)
}

pub(crate) fn write(path: &Path, _bytes: &[u8], _new: bool) -> io::Result<()> {
    refuse(path)
}

pub(crate) fn copy_within(from: &Path, _to: &Path) -> io::Result<bool> {
    refuse(from)
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    refuse(path)
}

pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    refuse(path)
}

#[derive(Debug)]
pub(crate) struct Object(Infallible);

impl Object {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        refuse(path)
    }

    pub(crate) fn metadata_at_open(&self) -> Metadata {
        match self.0 {}
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        match self.0 {}
    }

    pub(crate) fn try_clone(&self) -> Self {
        match self.0 {}
    }

    pub(crate) fn read_at(&self, _buffer: &mut [u8], _offset: u64, _end: u64) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn read_next(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn seek(&self, _to: SeekFrom) -> io::Result<u64> {
        match self.0 {}
    }
}

impl Read for Object {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Upload(Infallible);

impl Upload {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        refuse(path)
    }

    pub(crate) fn complete(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Write for Upload {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
