//! Lists that grow line by line while shards are written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Seek, Write};
use std::path::PathBuf;

use goldfish_digest::{FileDigest, HashingWriter};

use crate::error::MAX_STORE_REJECTS_BYTES;
use crate::journal::RecordedList;
use crate::manifest::{REJECTS_NAME, RejectsEntry};
use crate::names::{PASSAGE_LINES_NAME, StagedName};
use crate::staging::{PreparedFolder, stage};
use crate::{ShardError, disk};

/// Which list it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Rows that became no documents.
    Rejects,
    /// Passages that copy protected works, which become a table in the end.
    Passages,
}

impl List {
    /// Its file in the staging folder of a disk.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rejects => REJECTS_NAME,
            Self::Passages => PASSAGE_LINES_NAME,
        }
    }

    /// What it lists.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Rejects => "rejected rows",
            Self::Passages => "protected passages",
        }
    }
}

/// A list in the making. It comes into being with its first line.
pub(crate) struct LineList {
    list: List,
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

impl LineList {
    /// An empty list.
    fn new(folder: &PreparedFolder, list: List) -> Result<Self, ShardError> {
        let path = folder.staging.join(list.name());
        let lines = if folder.is_remote() {
            Lines::Memory(Vec::new())
        } else {
            Lines::Disk(BufWriter::new(disk::create_file(&folder.staging, list.name())?))
        };
        Ok(Self { list, path, lines: HashingWriter::new(lines), rows: 0, recorded: 0 })
    }

    /// The list of an unfinished run, if there was one; what came to it after the last record is cut off.
    pub(crate) fn resume(
        folder: &PreparedFolder,
        list: List,
        recorded: &RecordedList,
    ) -> Result<Option<Self>, ShardError> {
        let path = folder.staging.join(list.name());
        let (bytes, rows) = recorded.length;
        if rows == 0 {
            return if folder.is_remote() {
                Ok(None)
            } else {
                disk::remove(&folder.staging, list.name()).map(|()| None)
            };
        }
        let (lines, recorded) = if folder.is_remote() {
            let kept = recorded.lines.as_bytes();
            let lines = HashingWriter::after(Lines::Memory(kept.to_vec()), kept);
            (lines, kept.len())
        } else {
            let open = || {
                let file = folder.staging.open_to_append(list.name(), bytes)?;
                // Reading it to its end leaves the file there.
                let mut before = file.try_clone()?;
                before.rewind()?;
                HashingWriter::after(Lines::Disk(BufWriter::new(file)), before)
            };
            (open(), 0)
        };
        let lines = lines.map_err(ShardError::io(&path, "opening"))?;
        Ok(Some(Self { list, path, lines, rows, recorded }))
    }

    /// Bytes and lines so far.
    pub(crate) fn written(list: Option<&Self>) -> (u64, u64) {
        list.map_or((0, 0), |list| (list.lines.written(), list.rows))
    }

    /// Adds a line to what may not be there yet.
    pub(crate) fn add(
        slot: &mut Option<Self>,
        folder: &PreparedFolder,
        list: List,
        line: &str,
    ) -> Result<(), ShardError> {
        let list = match slot {
            Some(list) => list,
            None => slot.insert(Self::new(folder, list)?),
        };
        let lines = &mut list.lines;
        if let Lines::Memory(kept) = lines.get_ref()
            && (kept.len() + line.len()) as u64 >= MAX_STORE_REJECTS_BYTES
        {
            return Err(ShardError::ListTooLong { path: list.path.clone(), list: list.list.what() });
        }
        lines
            .write_all(line.as_bytes())
            .and_then(|()| lines.write_all(b"\n"))
            .map_err(ShardError::io(&list.path, "writing"))?;
        list.rows += 1;
        Ok(())
    }

    /// Brings all lines to the disk, where that is where they go. Else returns those before a length in bytes that the
    /// journal has not yet.
    pub(crate) fn record(slot: &mut Option<Self>, length: u64) -> Result<String, ShardError> {
        let Some(list) = slot else { return Ok(String::new()) };
        list.sync()?;
        let Lines::Memory(lines) = list.lines.get_ref() else { return Ok(String::new()) };
        let length = usize::try_from(length).unwrap_or(usize::MAX).clamp(list.recorded, lines.len());
        let new = String::from_utf8_lossy(&lines[list.recorded..length]).into_owned();
        list.recorded = length;
        Ok(new)
    }

    fn sync(&mut self) -> Result<(), ShardError> {
        self.lines.flush().map_err(ShardError::io(&self.path, "writing"))?;
        match self.lines.get_ref() {
            Lines::Disk(file) => disk::sync_file(file.get_ref(), &self.path),
            Lines::Memory(_) => Ok(()),
        }
    }

    /// Brings the list to the staging folder as it is.
    pub(crate) fn finish(
        mut self,
        folder: &PreparedFolder,
    ) -> Result<(RejectsEntry, StagedName), ShardError> {
        self.sync()?;
        let (FileDigest { size, hash }, lines) = self.lines.finish();
        let name = self.list.name();
        let name = match lines {
            Lines::Disk(_) => (name.to_owned(), name.to_owned()),
            Lines::Memory(lines) => stage(folder, name, &lines)?,
        };
        Ok((RejectsEntry { rows: self.rows, size, hash }, name))
    }

    /// Hands the lines to `take` from the first one on, each without its end.
    pub(crate) fn read(
        self,
        folder: &PreparedFolder,
        mut take: impl FnMut(&str) -> Result<(), ShardError>,
    ) -> Result<(), ShardError> {
        let Self { list, path, mut lines, .. } = self;
        lines.flush().map_err(ShardError::io(&path, "writing"))?;
        let mut lines: Box<dyn BufRead> = match lines.finish().1 {
            Lines::Disk(_) => {
                let file = folder.staging.open_file(list.name());
                Box::new(BufReader::new(file.map_err(ShardError::io(&path, "opening"))?))
            }
            Lines::Memory(lines) => Box::new(Cursor::new(lines)),
        };
        let mut line = String::new();
        while lines.read_line(&mut line).map_err(ShardError::io(&path, "reading"))? > 0 {
            take(line.strip_suffix('\n').unwrap_or(&line))?;
            line.clear();
        }
        Ok(())
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
