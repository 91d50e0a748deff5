//! The list of rejected rows in the making.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::PathBuf;

use goldfish_digest::{FileDigest, HashingWriter};

use crate::error::MAX_STORE_REJECTS_BYTES;
use crate::journal::Unfinished;
use crate::manifest::{REJECTS_NAME, RejectsEntry};
use crate::names::StagedName;
use crate::staging::{PreparedFolder, stage};
use crate::{ShardError, disk};

/// The list of rejected rows.
pub(crate) struct Rejects {
    path: PathBuf,
    lines: HashingWriter<Lines>,
    rows: u64,
    /// Bytes that are in the journal of a store.
    recorded: usize,
}

/// Where the lines go.
enum Lines {
    Disk(BufWriter<File>),
    Memory(Vec<u8>),
}

impl Rejects {
    /// An empty list.
    pub(crate) fn new(folder: &PreparedFolder) -> Result<Self, ShardError> {
        let path = folder.staging.join(REJECTS_NAME);
        let lines = if folder.is_remote() {
            Lines::Memory(Vec::new())
        } else {
            Lines::Disk(BufWriter::new(disk::create_file(&folder.staging, REJECTS_NAME)?))
        };
        Ok(Self { path, lines: HashingWriter::new(lines), rows: 0, recorded: 0 })
    }

    /// The list of an unfinished run, if there was one; what came to it after the last record is cut off.
    pub(crate) fn resume(
        folder: &PreparedFolder,
        unfinished: &Unfinished,
    ) -> Result<Option<Self>, ShardError> {
        let path = folder.staging.join(REJECTS_NAME);
        let (bytes, rows) = unfinished.rejects;
        if rows == 0 {
            return if folder.is_remote() {
                Ok(None)
            } else {
                disk::remove(&folder.staging, REJECTS_NAME).map(|()| None)
            };
        }
        let (lines, recorded) = if folder.is_remote() {
            let kept = unfinished.rejected.as_bytes();
            let lines = HashingWriter::after(Lines::Memory(kept.to_vec()), kept);
            (lines, kept.len())
        } else {
            let open = || {
                let file = folder.staging.open_to_append(REJECTS_NAME, bytes)?;
                // Reading it to its end leaves the file there.
                let mut before = file.try_clone()?;
                before.rewind()?;
                HashingWriter::after(Lines::Disk(BufWriter::new(file)), before)
            };
            (open(), 0)
        };
        let lines = lines.map_err(ShardError::io(&path, "opening"))?;
        Ok(Some(Self { path, lines, rows, recorded }))
    }

    /// Bytes and lines so far.
    pub(crate) fn written(&self) -> (u64, u64) {
        (self.lines.written(), self.rows)
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, json: &str) -> Result<(), ShardError> {
        let lines = &mut self.lines;
        if let Lines::Memory(list) = lines.get_ref()
            && (list.len() + json.len()) as u64 >= MAX_STORE_REJECTS_BYTES
        {
            return Err(ShardError::TooManyRejects { path: self.path.clone() });
        }
        lines
            .write_all(json.as_bytes())
            .and_then(|()| lines.write_all(b"\n"))
            .map_err(ShardError::io(&self.path, "writing"))?;
        self.rows += 1;
        Ok(())
    }

    /// Brings all lines to the disk, where that is where they go.
    pub(crate) fn sync(&mut self) -> Result<(), ShardError> {
        self.lines.flush().map_err(ShardError::io(&self.path, "writing"))?;
        match self.lines.get_ref() {
            Lines::Disk(file) => disk::sync_file(file.get_ref(), &self.path),
            Lines::Memory(_) => Ok(()),
        }
    }

    /// The lines before a length in bytes that the journal has not yet, where they go there.
    pub(crate) fn unrecorded(&mut self, length: u64) -> String {
        let Lines::Memory(lines) = self.lines.get_ref() else { return String::new() };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let new = String::from_utf8_lossy(&lines[self.recorded..length]).into_owned();
        self.recorded = length;
        new
    }

    /// Brings the list to the staging folder.
    pub(crate) fn finish(
        mut self,
        folder: &PreparedFolder,
    ) -> Result<(RejectsEntry, StagedName), ShardError> {
        self.sync()?;
        let (FileDigest { size, hash }, lines) = self.lines.finish();
        let name = match lines {
            Lines::Disk(_) => (REJECTS_NAME.to_owned(), REJECTS_NAME.to_owned()),
            Lines::Memory(lines) => stage(folder, REJECTS_NAME, &lines)?,
        };
        Ok((RejectsEntry { rows: self.rows, size, hash }, name))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.write(bytes),
            Self::Memory(lines) => lines.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(file) => file.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}
