//! Where the buffers of a shard lie in its file, so that Python maps it into memory and needs no Arrow library.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::ipc::{MessageHeader, RecordBatch, root_as_message};
use goldfish_shard::{OutputFormat, ShardReader};
use pyo3::prelude::*;

use crate::error::Fault;

/// What an Arrow IPC file begins with, before its messages.
const FILE_MAGIC: &[u8; 8] = b"ARROW1\0\0";

/// Buffers of the fixed columns, in the order of the format: doc_id (validity, offsets, bytes), input_ids (validity,
/// offsets, validity, values), loss_mask (the same).
const BUFFERS: usize = 11;

/// One record batch: rows, tokens, and the places in the file, in bytes, of the offsets and bytes of `doc_id`, the
/// offsets and values of `input_ids`, and the offsets and values of `loss_mask`.
type Place = (u64, u64, [u64; 6]);

/// The record batches of a shard in Arrow's stream or file format.
#[pyfunction]
pub(crate) fn shard_index(py: Python<'_>, path: PathBuf, file_format: bool) -> PyResult<Vec<Place>> {
    let format = if file_format { OutputFormat::ArrowFile } else { OutputFormat::ArrowStream };
    Ok(py.detach(|| {
        // Checks claims and columns.
        ShardReader::open(&path, format)?;
        index(&path)
    })?)
}

fn index(path: &Path) -> Result<Vec<Place>, Fault> {
    let failed = |error: std::io::Error| Fault::shards(path, format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut magic = [0; 8];
    let mut at = 0;
    if file.read_exact(&mut magic).is_ok() && magic == *FILE_MAGIC {
        at = 8;
    }
    let mut places = Vec::new();
    loop {
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        let mut head = [0; 8];
        // A stream may end without its end mark.
        if at == size {
            return Ok(places);
        }
        file.read_exact(&mut head).map_err(failed)?;
        let [a, b, c, d, rest @ ..] = head;
        let length = u64::from(u32::from_le_bytes(rest));
        if [a, b, c, d] != [0xFF; 4] || length == 0 {
            return Ok(places);
        }
        let body = at + 8 + length;
        if body > size {
            return Err(damaged(path, at, "ends behind the file"));
        }
        let mut metadata = vec![0; length as usize];
        file.read_exact(&mut metadata).map_err(failed)?;
        let message = root_as_message(&metadata).map_err(|error| damaged(path, at, &error.to_string()))?;
        if message.header_type() == MessageHeader::RecordBatch
            && let Some(batch) = message.header_as_record_batch()
        {
            places.push(place(&batch, body, size).map_err(|problem| damaged(path, at, problem))?);
        }
        let end = u64::try_from(message.bodyLength()).ok().and_then(|length| body.checked_add(length));
        at = end.filter(|&end| end <= size).ok_or_else(|| damaged(path, at, "ends behind the file"))?;
    }
}

fn place(batch: &RecordBatch<'_>, body: u64, size: u64) -> Result<Place, &'static str> {
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

fn damaged(path: &Path, at: u64, problem: &str) -> Fault {
    let advice = "mask the corpus again, or restore the file from a copy; goldfish verify tells more";
    Fault::shards(path, format!("{}: the message at byte {at} {problem}; {advice}", path.display()))
}
