//! Arrow IPC, stream or file format.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use goldfish_columnar::{FILE_MAGIC, check_ipc};
use goldfish_storage::File;

use crate::columnar::{Batches, ColumnarSource, Columns, claim_error, units_of_part};
use crate::error::CorpusError;
use crate::file::{LibraryFile, OpenedFile, ReadFile, open_regular};
use crate::head::Head;
use crate::input::{FormatTable, Input};
use crate::options::ReadOptions;
use crate::paths::head_of_schema;
use crate::source::{Part, Source};

const NAME: &str = "arrow";

pub(super) static FORMAT: FormatTable = FormatTable {
    is_divisible: |path| {
        let (mut file, _) = open_regular(path)?;
        is_file_format(&mut file).map_err(CorpusError::io(path, "reading"))
    },
    is_written: true,
    head: Some(head),
    ..FormatTable::new(
        NAME,
        "Arrow IPC, stream or file format",
        &[".arrow", ".arrows", ".ipc", ".feather"],
        open,
    )
};

fn head(input: &Input, paths: &[&str]) -> Result<Head, CorpusError> {
    let opened = OpenedFile::open(&input.path)?;
    let error = |reason: &dyn ToString| opened.error(NAME, reason.to_string());
    let mut file = opened.handle()?;
    check_ipc(&mut file).map_err(|e| claim_error(input, e))?;
    let schema = if is_file_format(&mut file).map_err(CorpusError::io(&input.path, "reading"))? {
        FileReader::try_new(BufReader::new(&file), None).map_err(|e| error(&e))?.schema()
    } else {
        StreamReader::try_new(BufReader::new(&file), None).map_err(|e| error(&e))?.schema()
    };
    Ok(head_of_schema(&schema, paths))
}

fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Box<dyn Source>, CorpusError> {
    let path = &input.path;
    let opened = OpenedFile::open(path)?;
    let error = |reason: &dyn ToString| opened.error(NAME, reason.to_string());
    let size = opened.size();
    let mut file = opened.handle()?;
    check_ipc(&mut file).map_err(|e| claim_error(input, e))?;
    // The readers are opened twice: the schema is needed before the projection is known.
    if is_file_format(&mut file).map_err(CorpusError::io(path, "reading"))? {
        let schema = FileReader::try_new(BufReader::new(&file), None).map_err(|e| error(&e))?.schema();
        let columns = Columns::find(path, &schema, options)?;
        let hashed = opened.hash()?;
        let error = |reason: &dyn ToString| hashed.error(NAME, reason.to_string());
        let reader = FileReader::try_new(BufReader::new(file), Some(columns.projection.clone()));
        let reader = reader.map_err(|e| error(&e))?;
        let (batches, row) =
            FileBatches::new(hashed.handle()?, reader, (size, part)).map_err(|e| error(&e))?;
        let (file, batches) = (LibraryFile::Hashed(hashed), (Box::new(batches) as _, row));
        return Ok(Box::new(ColumnarSource::new(input, file, columns, batches, 0)));
    }
    if !ends_with(&mut file, &STREAM_END).map_err(CorpusError::io(path, "reading"))? {
        return Err(error(&"the stream has no end marker; it was cut off, or is not an Arrow IPC stream"));
    }
    let schema = StreamReader::try_new(BufReader::new(&file), None).map_err(|e| error(&e))?.schema();
    let columns = Columns::find(path, &schema, options)?;
    let read = opened.hash_while_read()?;
    let buffered = BufReader::with_capacity(STREAM_BUFFER, read.clone());
    let file = LibraryFile::Read(read);
    let reader = StreamReader::try_new(buffered, Some(columns.projection.clone()));
    let reader = reader.map_err(|e| file.error(NAME, e.to_string()))?;
    let batches: Box<dyn Batches> =
        if part.contains(0) { Box::new(WholeStream(reader)) } else { Box::new(Nothing) };
    Ok(Box::new(ColumnarSource::new(input, file, columns, (batches, 0), 0)))
}

/// Bytes of a stream that are read ahead. What is larger goes by unbuffered: the bodies of most batches.
const STREAM_BUFFER: usize = 64 << 10;

/// Last bytes of a complete Arrow IPC stream.
const STREAM_END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Whether the file is of the Arrow IPC file format; leaves it at its start.
fn is_file_format(file: &mut File) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    file.rewind()?;
    file.by_ref().take(FILE_MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(magic == FILE_MAGIC)
}

/// Whether the file ends with `marker`; leaves the file at its start.
fn ends_with(file: &mut File, marker: &[u8; 8]) -> std::io::Result<bool> {
    let mut last = [0; 8];
    let long_enough = file.seek(SeekFrom::End(0))? >= 8;
    if long_enough {
        file.seek(SeekFrom::End(-8))?;
        file.read_exact(&mut last)?;
    }
    file.rewind()?;
    Ok(long_enough && last == *marker)
}

/// Record batches of the Arrow IPC file format.
struct FileBatches {
    file: File,
    reader: FileReader<BufReader<File>>,
    batches: Range<usize>,
}

impl FileBatches {
    /// The batches of a part of a file of some size, and the row where they start.
    fn new(
        file: File,
        reader: FileReader<BufReader<File>>,
        (size, part): (u64, Part),
    ) -> Result<(Self, u64), ArrowError> {
        let chosen = units_of_part(std::iter::repeat_n(1, reader.num_batches()), size, part);
        let mut this = Self { file, reader, batches: 0..chosen.start };
        let row = this.skip(0, u64::MAX)?;
        this.batches = chosen;
        Ok((this, row))
    }
}

impl Batches for FileBatches {
    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        let index = self.batches.next()?;
        if let Err(error) = self.reader.set_index(index) {
            return Some(Err(error));
        }
        self.reader.next()
    }

    /// Only the batches themselves say how many rows they have.
    fn skip(&mut self, mut at: u64, row: u64) -> Result<u64, ArrowError> {
        if self.batches.is_empty() || at >= row {
            return Ok(at);
        }
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let mut counting = FileReader::try_new(BufReader::new(file), Some(Vec::new()))?;
        while let Some(index) = self.batches.clone().next() {
            counting.set_index(index)?;
            let rows = counting.next().transpose()?.map_or(0, |batch| batch.num_rows() as u64);
            if at + rows > row {
                break;
            }
            self.batches.next();
            at += rows;
        }
        Ok(at)
    }
}

/// A stream that must end where its file ends: another stream after it would be lost.
struct WholeStream(StreamReader<BufReader<ReadFile>>);

impl Batches for WholeStream {
    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        if let Some(batch) = self.0.next() {
            return Some(batch);
        }
        match self.0.get_mut().fill_buf() {
            Ok([]) => None,
            Ok(_) => {
                let reason =
                    "the stream ends before the file does; if several streams were joined, split them";
                Some(Err(ArrowError::IpcError(reason.into())))
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    fn skip(&mut self, at: u64, _row: u64) -> Result<u64, ArrowError> {
        Ok(at)
    }
}

/// A part of a stream that doesn't hold its start: nothing, since a stream can't be divided.
struct Nothing;

impl Batches for Nothing {
    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        None
    }

    fn skip(&mut self, at: u64, _row: u64) -> Result<u64, ArrowError> {
        Ok(at)
    }
}
