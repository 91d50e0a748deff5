//! Memmaps: documents one after another in a file of token ids.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int16Array, Int32Array, Int64Array};
use arrow::array::{StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use goldfish_storage::File;

use goldfish_remedy::{Remedy, Setting};

use crate::batch::{DocumentBatch, Lists, RowContent, Rows};
use crate::error::CorpusError;
use crate::file::HashingFile;
use crate::options::{CHUNK_BYTES, IdType, MAX_DOCUMENT_TOKENS, ReadOptions};
use crate::source::{Chunk, Part};

/// Most documents in one chunk, so that short documents don't make huge batches.
pub(crate) const CHUNK_DOCUMENTS: usize = 1 << 16;

/// Whole documents as the file has them.
pub(crate) struct PackedChunk {
    pub(crate) name: Arc<str>,
    /// Row of the first document.
    pub(crate) first: u64,
    pub(crate) id_type: IdType,
    /// Ids in the file's type.
    pub(crate) bytes: Buffer,
    pub(crate) ends: DocumentEnds,
    pub(crate) doc_ids: Option<StringArray>,
    pub(crate) carried: Vec<ArrayRef>,
}

/// Where documents end.
pub(crate) enum DocumentEnds {
    /// Tokens in each document.
    Lengths(Vec<usize>),
    /// After each of these ids, and at the end of the chunk.
    Eos(u32),
}

impl std::fmt::Debug for PackedChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of {} from document {}", self.bytes.len(), self.name, self.first)
    }
}

impl Chunk for PackedChunk {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn documents(self: Box<Self>, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let values = as_array(self.bytes, self.id_type);
        let offsets = match self.ends {
            DocumentEnds::Lengths(lengths) => OffsetBuffer::from_lengths(lengths),
            DocumentEnds::Eos(eos) => ends_at_eos(&values, eos),
        };
        let content = RowContent::Lists(Lists { values, offsets, nulls: None });
        let rows = Rows {
            name: self.name,
            first: self.first,
            doc_ids: self.doc_ids,
            content,
            existing: None,
            carried: self.carried,
        };
        Ok(rows.into_batch(options))
    }
}

/// Reads up to an offset without keeping what comes before it.
pub(crate) fn read_to(file: &mut HashingFile, offset: u64) -> io::Result<()> {
    let left = offset.saturating_sub(file.position());
    io::copy(&mut file.take(left), &mut io::sink()).map(|_| ())
}

/// Reads `tokens` ids from a file's current position.
pub(crate) fn read_ids(file: &mut HashingFile, tokens: usize, id_type: IdType) -> io::Result<Buffer> {
    let mut bytes = Vec::new();
    file.append_to(&mut bytes, tokens * id_type.width())?;
    Ok(aligned(bytes))
}

/// The bytes where ids of any type may start. Allocators put so many there anyway, but need not.
pub(crate) fn aligned(bytes: Vec<u8>) -> Buffer {
    let is_aligned = bytes.as_ptr().align_offset(size_of::<u64>()) == 0;
    if is_aligned { bytes.into() } else { Buffer::from_slice_ref(bytes) }
}

fn as_array(bytes: Buffer, id_type: IdType) -> ArrayRef {
    macro_rules! array {
        ($array:ty) => {{
            let len = bytes.len() / id_type.width();
            Arc::new(<$array>::new(ScalarBuffer::new(bytes, 0, len), None))
        }};
    }
    match id_type {
        IdType::Uint8 => array!(UInt8Array),
        IdType::Int8 => array!(Int8Array),
        IdType::Uint16 => array!(UInt16Array),
        IdType::Int16 => array!(Int16Array),
        IdType::Uint32 => array!(UInt32Array),
        IdType::Int32 => array!(Int32Array),
        IdType::Uint64 => array!(UInt64Array),
        IdType::Int64 => array!(Int64Array),
    }
}

/// The id as the file has it; `None` if the type can't hold it.
pub(crate) fn encode_id(id: u32, id_type: IdType) -> Option<Vec<u8>> {
    let fits = match id_type {
        IdType::Uint8 => u8::try_from(id).is_ok(),
        IdType::Int8 => i8::try_from(id).is_ok(),
        IdType::Uint16 => u16::try_from(id).is_ok(),
        IdType::Int16 => i16::try_from(id).is_ok(),
        IdType::Int32 => i32::try_from(id).is_ok(),
        IdType::Uint32 | IdType::Uint64 | IdType::Int64 => true,
    };
    fits.then(|| u64::from(id).to_le_bytes()[..id_type.width()].to_vec())
}

/// Where documents end: after each `eos`. `values` must be unsliced, as [`as_array`] makes them.
fn ends_at_eos(values: &ArrayRef, eos: u32) -> OffsetBuffer<i64> {
    let data = values.to_data();
    let width = values.data_type().primitive_width().unwrap_or(1);
    let mut offsets = vec![0];
    for_each_match(data.buffers()[0].as_slice(), width, eos, |i| offsets.push(i as i64 + 1));
    let end = values.len() as i64;
    if offsets.last().is_some_and(|&last| last < end) {
        offsets.push(end);
    }
    OffsetBuffer::new(offsets.into())
}

/// Calls `found` with the index of every `id` among ids of `width` bytes.
pub(crate) fn for_each_match(bytes: &[u8], width: usize, id: u32, mut found: impl FnMut(usize)) {
    fn scan<T: bytemuck::Pod + PartialEq>(bytes: &[u8], id: T, found: &mut impl FnMut(usize)) {
        // Whole blocks without a match are skipped first, which compiles to a few vector instructions.
        const BLOCK: usize = 64;
        let copy;
        let ids: &[T] = match bytemuck::try_cast_slice(bytes) {
            Ok(ids) => ids,
            // They start where no id of this type may.
            Err(_) => {
                copy = bytemuck::pod_collect_to_vec(bytes);
                &copy
            }
        };
        for (block, ids) in ids.chunks(BLOCK).enumerate() {
            if ids.iter().fold(false, |any, other| any | (*other == id)) {
                let matches = ids.iter().enumerate().filter(|&(_, other)| *other == id);
                matches.for_each(|(i, _)| found(block * BLOCK + i));
            }
        }
    }
    // That the id type can hold the id was checked when the file was opened.
    match width {
        1 => scan(bytes, id as u8, &mut found),
        2 => scan(bytes, id as u16, &mut found),
        4 => scan(bytes, id, &mut found),
        _ => scan(bytes, u64::from(id), &mut found),
    }
}

/// What an index says of a document.
pub(crate) struct Indexed<D> {
    /// Bytes of tokens before it.
    pub(crate) start: u64,
    /// Its length in tokens.
    pub(crate) tokens: usize,
    /// What else the format says.
    pub(crate) more: D,
}

/// Groups the documents of a part of an indexed memmap into chunks: each stops before [`CHUNK_BYTES`] are
/// exceeded, but takes one document at least.
pub(crate) struct Planner<D> {
    part: Part,
    width: usize,
    /// Row after the documents returned.
    row: u64,
    /// A document that was read from the index but not returned.
    pending: Option<Indexed<D>>,
    /// An error after the last document returned.
    failed: Option<CorpusError>,
}

/// The documents of one chunk.
pub(crate) struct Plan<D> {
    /// Row of the first one.
    pub(crate) first: u64,
    pub(crate) lengths: Vec<usize>,
    pub(crate) tokens: usize,
    pub(crate) more: Vec<D>,
}

impl<D> Planner<D> {
    /// Reads documents from the index and leaves out those before the part. `read` gets the next one's row.
    pub(crate) fn new(
        part: Part,
        id_type: IdType,
        mut read: impl FnMut(u64) -> Result<Option<Indexed<D>>, CorpusError>,
    ) -> Result<Self, CorpusError> {
        let mut planner = Self { part, width: id_type.width(), row: 0, pending: None, failed: None };
        while part.start > 0
            && let Some(document) = read(planner.row)?
        {
            if document.start >= part.start {
                planner.pending = Some(document);
                break;
            }
            planner.row += 1;
        }
        Ok(planner)
    }

    pub(crate) fn row(&self) -> u64 {
        self.row
    }

    /// Bytes of tokens before the part, if a document follows them.
    pub(crate) fn first_offset(&self) -> Option<u64> {
        self.pending.as_ref().map(|document| document.start)
    }

    /// The next chunk's documents.
    pub(crate) fn next(
        &mut self,
        mut read: impl FnMut(u64) -> Result<Option<Indexed<D>>, CorpusError>,
    ) -> Result<Option<Plan<D>>, CorpusError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut plan = Plan { first: self.row, lengths: Vec::new(), tokens: 0, more: Vec::new() };
        loop {
            let next = match self.pending.take() {
                Some(document) => Ok(Some(document)),
                None => read(self.row),
            };
            match next {
                Ok(Some(document)) if self.takes(&plan, &document) => {
                    plan.lengths.push(document.tokens);
                    plan.tokens += document.tokens;
                    plan.more.push(document.more);
                    self.row += 1;
                }
                Ok(document) => {
                    self.pending = document;
                    break;
                }
                Err(error) if plan.more.is_empty() => return Err(error),
                // The documents before the error are returned first.
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok((!plan.more.is_empty()).then_some(plan))
    }

    fn takes(&self, plan: &Plan<D>, document: &Indexed<D>) -> bool {
        let full = plan.lengths.len() >= CHUNK_DOCUMENTS
            || (plan.tokens + document.tokens) * self.width > CHUNK_BYTES;
        document.start < self.part.end && (plan.lengths.is_empty() || !full)
    }
}

/// What to do about ids of another width.
fn other_id_type() -> Remedy {
    Remedy::give(Setting::IdsDtype).to("read ids of another type")
}

/// A document's length in tokens, as the file claims.
pub(crate) fn checked_length(
    path: &Path,
    format: &'static str,
    row: u64,
    start: u64,
    end: u64,
) -> Result<usize, CorpusError> {
    let malformed = |reason| CorpusError::malformed(path, format, reason);
    let Some(length) = end.checked_sub(start) else {
        return Err(malformed(format!("document {row} ends at token {end}, before its start at {start}")));
    };
    match usize::try_from(length) {
        Ok(length) if length <= MAX_DOCUMENT_TOKENS => Ok(length),
        _ => Err(malformed(format!(
            "document {row} has {length} tokens, more than {MAX_DOCUMENT_TOKENS}; is the id type right?"
        ))
        .or_options([other_id_type()])),
    }
}

/// Size of an already opened memmap in whole ids.
pub(crate) fn whole_ids(
    path: &Path,
    format: &'static str,
    size: u64,
    id_type: IdType,
) -> Result<u64, CorpusError> {
    let width = id_type.width() as u64;
    if !size.is_multiple_of(width) {
        let reason = format!("{size} bytes are not a whole number of {width}-byte ids");
        let error = CorpusError::malformed(path, format, reason);
        return Err(error.or_options([other_id_type()]));
    }
    Ok(size / width)
}

/// A file from an offset on, whatever other handles of it do.
pub(crate) struct OffsetReader {
    file: File,
    offset: u64,
}

impl OffsetReader {
    pub(crate) fn new(file: File, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for OffsetReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
