//! Where the buffers of a shard are in its file, so that Python maps it into memory without an Arrow library.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::ipc::{RecordBatch, root_as_footer, root_as_message};
use goldfish_shard::{OutputFormat, ShardReader};
use pyo3::prelude::*;

use crate::error::MaskerError;

/// What a file of the file format begins and ends with.
const FILE_MAGIC: &[u8; 6] = b"ARROW1";

/// Buffers of the fixed columns, in the order of the format: `doc_id` (validity, offsets, bytes), `input_ids` (validity,
/// offsets, validity, values), `loss_mask` (the same).
const BUFFERS: usize = 11;

/// One record batch: rows, tokens, and the positions in the file, in bytes, of the offsets and bytes of `doc_id`, the
/// offsets and values of `input_ids`, and the offsets and values of `loss_mask`.
type BatchOffsets = (u64, u64, [u64; 6]);

/// The record batches of a shard in Arrow's stream or file format.
#[pyfunction]
pub(crate) fn shard_index(py: Python<'_>, path: PathBuf, file_format: bool) -> PyResult<Vec<BatchOffsets>> {
    let format = if file_format { OutputFormat::ArrowFile } else { OutputFormat::ArrowStream };
    Ok(py.detach(|| {
        // Checks claims and columns.
        ShardReader::open(&path, format)?;
        index(&path)
    })?)
}

fn index(path: &Path) -> Result<Vec<BatchOffsets>, MaskerError> {
    let failed = |error: std::io::Error| MaskerError::shards(path, format!("{}: {error}", path.display()));
    let file = goldfish_storage::File::open(path).map_err(failed)?;
    let file = file.into_disk().ok_or_else(|| failed(std::io::ErrorKind::Unsupported.into()))?;
    let size = file.metadata().map_err(failed)?.len();
    let mut messages = Messages { path, file, size };
    let mut batches = Vec::new();
    if let Some(starts) = messages.footer().map_err(failed)? {
        for start in starts {
            batches.extend(messages.at(start)?.and_then(|(offsets, _)| offsets));
        }
        return Ok(batches);
    }
    let mut start = 0;
    while let Some((offsets, next)) = messages.at(start)? {
        batches.extend(offsets);
        start = next;
    }
    Ok(batches)
}

/// The messages of a file.
struct Messages<'p> {
    path: &'p Path,
    file: File,
    size: u64,
}

impl Messages<'_> {
    /// Where the record batches start, if the file is of the file format.
    fn footer(&mut self) -> std::io::Result<Option<Vec<u64>>> {
        let mut magic = [0; FILE_MAGIC.len()];
        let mut tail = [0; 4 + FILE_MAGIC.len()];
        if self.size < (magic.len() + tail.len()) as u64 {
            return Ok(None);
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_exact(&mut magic)?;
        self.file.seek(SeekFrom::Start(self.size - tail.len() as u64))?;
        self.file.read_exact(&mut tail)?;
        let [a, b, c, d, end @ ..] = tail;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let Some(start) = (self.size - tail.len() as u64).checked_sub(length) else { return Ok(None) };
        if magic != *FILE_MAGIC || end != *FILE_MAGIC {
            return Ok(None);
        }
        let mut footer = vec![0; length as usize];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut footer)?;
        let Ok(footer) = root_as_footer(&footer) else { return Ok(None) };
        let blocks = footer.recordBatches().into_iter().flatten();
        Ok(Some(blocks.map(|block| u64::try_from(block.offset()).unwrap_or(u64::MAX)).collect()))
    }

    /// The message that starts at a byte: its offsets if it is a record batch, and where the next one starts. `None` at
    /// the end.
    fn at(&mut self, start: u64) -> Result<Option<(Option<BatchOffsets>, u64)>, MaskerError> {
        let failed = |error: std::io::Error| {
            MaskerError::shards(self.path, format!("{}: {error}", self.path.display()))
        };
        let past_end = || damaged(self.path, start, "ends after the end of the file");
        // A stream may end without its end mark.
        if start == self.size {
            return Ok(None);
        }
        let mut head = [0; 8];
        self.file.seek(SeekFrom::Start(start)).map_err(failed)?;
        self.file.read_exact(&mut head).map_err(failed)?;
        let [a, b, c, d, rest @ ..] = head;
        let length = u64::from(u32::from_le_bytes(rest));
        if [a, b, c, d] != [0xFF; 4] || length == 0 {
            return Ok(None);
        }
        let body = start.checked_add(8 + length).filter(|&body| body <= self.size).ok_or_else(past_end)?;
        let mut metadata = vec![0; length as usize];
        self.file.read_exact(&mut metadata).map_err(failed)?;
        let message =
            root_as_message(&metadata).map_err(|error| damaged(self.path, start, &error.to_string()))?;
        let offsets = match message.header_as_record_batch() {
            Some(batch) => Some(
                batch_offsets(&batch, body, self.size)
                    .map_err(|problem| damaged(self.path, start, problem))?,
            ),
            None => None,
        };
        let end = u64::try_from(message.bodyLength()).ok().and_then(|length| body.checked_add(length));
        let end = end.filter(|&end| end <= self.size).ok_or_else(past_end)?;
        Ok(Some((offsets, end)))
    }
}

fn batch_offsets(batch: &RecordBatch<'_>, body: u64, size: u64) -> Result<BatchOffsets, &'static str> {
    if batch.compression().is_some() {
        return Err("is compressed, which can't be mapped into memory");
    }
    let (nodes, buffers) = (batch.nodes().ok_or("has no nodes")?, batch.buffers().ok_or("has no buffers")?);
    if nodes.len() < 5 || buffers.len() < BUFFERS {
        return Err("lacks columns of a shard");
    }
    // doc_id, input_ids with its items, loss_mask with its items.
    let count = |node: usize| u64::try_from(nodes.get(node).length()).map_err(|_| "has a negative length");
    let (rows, tokens) = (count(0)?, count(2)?);
    if count(1)? != rows || count(3)? != rows || count(4)? != tokens {
        return Err("has columns of different lengths");
    }
    let start = |buffer: usize, bytes: Option<u64>| {
        let buffer = buffers.get(buffer);
        let (from, length) = (u64::try_from(buffer.offset()).ok(), u64::try_from(buffer.length()).ok());
        let from = from.and_then(|from| body.checked_add(from)).ok_or("has a buffer outside of the file")?;
        let end = length.and_then(|length| from.checked_add(length)).filter(|&end| end <= size);
        match (end, bytes) {
            (Some(end), Some(bytes)) if end - from >= bytes => Ok(from),
            (Some(_), None) => Ok(from),
            _ => Err("has a buffer that is too short"),
        }
    };
    let offsets = rows.checked_add(1).and_then(|ends| ends.checked_mul(4)).filter(|_| rows > 0).or(Some(0));
    Ok((
        rows,
        tokens,
        [
            start(1, offsets)?,
            start(2, None)?,
            start(4, offsets)?,
            start(6, tokens.checked_mul(4))?,
            start(8, offsets)?,
            start(10, Some(tokens))?,
        ],
    ))
}

fn damaged(path: &Path, at: u64, problem: &str) -> MaskerError {
    let advice = "mask the corpus again, or restore the file from a copy; goldfish verify says more";
    MaskerError::shards(path, format!("{}: the message at byte {at} {problem}; {advice}", path.display()))
}
