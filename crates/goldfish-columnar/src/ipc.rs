//! The messages of an Arrow IPC file or stream.

use std::io::{self, Read, Seek, SeekFrom};

use arrow::ipc::{MessageHeader, RecordBatch, root_as_footer, root_as_message};

use crate::ColumnarError;

/// Most bytes that the buffers of one record batch may have, after decompression.
pub const MAX_BATCH_BYTES: u64 = 1 << 31;

/// Most rows of one record batch.
pub const MAX_BATCH_ROWS: i64 = 1 << 26;

/// Most bytes of a message's metadata, or of a file's footer.
pub const MAX_METADATA_BYTES: u64 = 1 << 26;

/// First bytes of the Arrow IPC file format.
pub const FILE_MAGIC: &[u8; 6] = b"ARROW1";

/// First bytes of a message, before its length; writers before Arrow 0.15 left it out.
const CONTINUATION: u32 = u32::MAX;

/// Checks every message of an Arrow IPC file or stream, which differ in their first bytes, and leaves the file at its start.
///
/// What is not well-formed in other ways is left to the reader itself.
///
/// # Errors
///
/// If a message claims more bytes than the file has left, or more than [`MAX_BATCH_BYTES`], [`MAX_BATCH_ROWS`] or
/// [`MAX_METADATA_BYTES`] allow; or if the file can't be read.
pub fn check_ipc<F: Read + Seek>(file: &mut F) -> Result<(), ColumnarError> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut magic = [0; 6];
    let is_file = size >= 6 && file.read_exact(&mut magic).is_ok() && magic == *FILE_MAGIC;
    let checked = if is_file { check_file(file, size) } else { check_stream(file, size) };
    file.rewind()?;
    checked
}

fn check_stream<F: Read + Seek>(file: &mut F, size: u64) -> Result<(), ColumnarError> {
    let mut offset = 0;
    while let Some(next) = check_message(file, offset, size)? {
        offset = next;
    }
    Ok(())
}

fn check_file<F: Read + Seek>(file: &mut F, size: u64) -> Result<(), ColumnarError> {
    // The footer's length and the magic once more: ten bytes.
    let Some(end) = size.checked_sub(10) else { return Ok(()) };
    let length = u64::from(read_u32(file, end)?);
    let Some(start) = end.checked_sub(length) else {
        let problem = format!(
            "should be a footer of {length} bytes, but the file has {size}; it was cut off or damaged"
        );
        return Err(ColumnarError::Claim { offset: end, problem });
    };
    let footer = read_metadata(file, start, length)?;
    // What the reader itself would refuse too is for it to report.
    let Ok(footer) = root_as_footer(&footer) else { return Ok(()) };
    let blocks = [footer.dictionaries(), footer.recordBatches()];
    for block in blocks.into_iter().flatten().flat_map(|blocks| blocks.iter()) {
        let range = (
            u64::try_from(block.offset()),
            u64::try_from(block.metaDataLength()),
            u64::try_from(block.bodyLength()),
        );
        let (Ok(offset), Ok(metadata), Ok(body)) = range else {
            return Err(ColumnarError::Claim {
                offset: start,
                problem: "lists a block at a negative offset; it is damaged".into(),
            });
        };
        let end = offset.checked_add(metadata).and_then(|end| end.checked_add(body));
        if end.is_none_or(|end| end > size) {
            let problem = format!(
                "lists a block of {metadata} and {body} bytes at byte {offset} of {size}; it is damaged"
            );
            return Err(ColumnarError::Claim { offset: start, problem });
        }
        check_message(file, offset, size)?;
    }
    Ok(())
}

/// Checks the message at `offset`; where the next one starts, or `None` at the end of the stream.
fn check_message<F: Read + Seek>(file: &mut F, offset: u64, size: u64) -> Result<Option<u64>, ColumnarError> {
    let claim = |problem: String| Err(ColumnarError::Claim { offset, problem });
    if size - offset < 8 {
        return Ok(None);
    }
    let (mut length, mut at) = (read_u32(file, offset)?, offset + 4);
    if length == CONTINUATION {
        (length, at) = (read_u32(file, at)?, at + 4);
    }
    if length == 0 {
        return Ok(None);
    }
    let length = u64::from(length);
    if length > size - at {
        return claim(format!(
            "has {length} bytes of metadata, but the file ends {} bytes after it; it was cut off",
            size - at
        ));
    }
    let metadata = read_metadata(file, at, length)?;
    let Ok(message) = root_as_message(&metadata) else { return Ok(None) };
    let body = at + length;
    let Ok(body_length) = u64::try_from(message.bodyLength()) else {
        return claim(format!("has a body of {} bytes; it is damaged", message.bodyLength()));
    };
    if body_length > size - body {
        return claim(format!(
            "has a body of {body_length} bytes, but the file ends {} bytes after it; it was cut off",
            size - body
        ));
    }
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    if let Some(batch) = batch {
        let rows = batch.length();
        if !(0..=MAX_BATCH_ROWS).contains(&rows) {
            return claim(format!(
                "is a batch of {rows} rows, not of 0 to {MAX_BATCH_ROWS}; it is damaged, or must be written in smaller batches"
            ));
        }
        let bytes = claimed_bytes(file, &batch, body, body_length)?;
        if bytes > MAX_BATCH_BYTES {
            return claim(format!(
                "is a batch of {bytes} bytes, more than {MAX_BATCH_BYTES}; it is damaged, or must be written in smaller batches"
            ));
        }
    }
    Ok(Some(body + body_length))
}

/// Bytes of a batch's buffers after decompression, as they claim.
fn claimed_bytes<F: Read + Seek>(
    file: &mut F,
    batch: &RecordBatch<'_>,
    body: u64,
    body_length: u64,
) -> Result<u64, ColumnarError> {
    let Some(buffers) = batch.buffers().filter(|_| batch.compression().is_some()) else {
        return Ok(body_length);
    };
    let mut total = 0u64;
    for buffer in buffers {
        let range = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
        let (Ok(start), Ok(length)) = range else { continue };
        let within = start.checked_add(length).is_some_and(|end| end <= body_length);
        if length < 8 || !within {
            // Nothing to decompress, or a range that the reader itself refuses.
            continue;
        }
        // -1 says that the buffer is not compressed.
        let claimed = read_i64(file, body + start)?;
        total = total.saturating_add(u64::try_from(claimed).unwrap_or(length));
    }
    Ok(total)
}

fn read_metadata<F: Read + Seek>(file: &mut F, offset: u64, length: u64) -> Result<Vec<u8>, ColumnarError> {
    if length > MAX_METADATA_BYTES {
        let problem =
            format!("has {length} bytes of metadata, more than {MAX_METADATA_BYTES}; it is damaged");
        return Err(ColumnarError::Claim { offset, problem });
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut metadata = vec![0; length as usize];
    file.read_exact(&mut metadata)?;
    Ok(metadata)
}

fn read_u32<F: Read + Seek>(file: &mut F, offset: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_i64<F: Read + Seek>(file: &mut F, offset: u64) -> io::Result<i64> {
    let mut bytes = [0; 8];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}
