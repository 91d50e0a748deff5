//! Megatron-LM indexed datasets: `NAME.bin` holds ids, `NAME.idx` says where sequences and documents lie.
//!
//! Layout of the index, little-endian (`megatron/core/datasets/indexed_dataset.py`): `MMIDIDX\0\0`, u64
//! version 1, u8 id type, u64 sequences `n`, u64 document marks `m`, i32 lengths `[n]` in tokens, i64 places
//! `[n]` in bytes of the `.bin`, i64 marks `[m]`: document `d` is made of sequences `marks[d]..marks[d + 1]`.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::MutableBuffer;
use arrow::datatypes::FieldRef;

use crate::datatrove::refuse_columns;
use crate::file::{HashingFile, open_regular};
use crate::packed::{ChunkPlan, Cuts, PackedChunk, checked_length, read_at, whole_ids};
use crate::source::{Chunk, ChunkKind, Source};
use crate::{CorpusError, FileDigest, Format, IdType, Input, ReadOptions};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";

/// Bytes before the lengths.
const HEADER: u64 = 9 + 8 + 1 + 8 + 8;

pub(crate) struct MegatronSource {
    input: Input,
    name: Arc<str>,
    bin: File,
    index: Index,
    id_type: IdType,
    digests: [HashingFile; 2],
    row: u64,
    /// A document that was read from the index but not handed out.
    pending: Option<Placed>,
    /// A fault behind the last document handed out.
    failed: Option<CorpusError>,
    /// Bytes of the `.bin` that documents covered so far.
    covered: u64,
    /// Where the next sequence must lie: one that lies elsewhere reads tokens twice, and leaves others out.
    next_place: u64,
}

/// A document's tokens and where they lie.
struct Placed {
    tokens: usize,
    extents: Vec<Extent>,
}

/// A run of bytes in the `.bin`.
#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    bytes: u64,
}

impl MegatronSource {
    pub(crate) fn open(input: &Input, options: &ReadOptions) -> Result<Self, CorpusError> {
        refuse_columns(input, options, &[])?;
        let index_path = input.path.with_extension("idx");
        if !input.path.exists() {
            return Err(CorpusError::MissingCompanion {
                path: index_path,
                companion: input.path.clone(),
                help: "it holds the token ids; put the .bin beside the .idx",
            });
        }
        if !index_path.exists() {
            return Err(CorpusError::MissingCompanion {
                path: input.path.clone(),
                companion: index_path,
                help: "it says where the documents lie; put the .idx beside the .bin",
            });
        }
        let digests = [HashingFile::open(&input.path)?, HashingFile::open(&index_path)?];
        let (index, id_type) = Index::open(index_path)?;
        if let Some(wanted) = options.id_type
            && wanted != id_type
        {
            let reason = format!("the index says that ids are {}; leave out --ids-dtype", id_type.name());
            return Err(CorpusError::Options { path: input.path.clone(), reason });
        }
        let (bin, _) = open_regular(&input.path)?;
        whole_ids(&input.path, Format::Megatron, digests[0].size(), id_type)?;
        let name = input.name.as_str().into();
        Ok(Self {
            input: input.clone(),
            name,
            bin,
            index,
            id_type,
            digests,
            row: 0,
            pending: None,
            failed: None,
            covered: 0,
            next_place: 0,
        })
    }

    fn next_document(&mut self) -> Result<Option<Placed>, CorpusError> {
        if let Some(document) = self.pending.take() {
            return Ok(Some(document));
        }
        let Some(sequences) = self.index.next_mark()? else { return Ok(None) };
        let bin_size = self.digests[0].size();
        let mut placed = Placed { tokens: 0, extents: Vec::new() };
        for _ in 0..sequences {
            let (start, tokens) = self.index.next_sequence()?;
            let bytes = tokens * self.id_type.width() as u64;
            if start.checked_add(bytes).is_none_or(|end| end > bin_size) {
                return Err(self.index.fault(format!(
                    "document {} lies at bytes {start}..{} of {}, which holds {bin_size}",
                    self.row,
                    start.saturating_add(bytes),
                    self.input.path.display()
                )));
            }
            if start != self.next_place {
                return Err(self.index.fault(format!(
                    "a sequence of document {} lies at byte {start}, but the one before it ends at {}; sequences must \
                     follow each other without gap or overlap",
                    self.row, self.next_place
                )));
            }
            self.next_place += bytes;
            let total = placed.tokens as u64 + tokens;
            placed.tokens = checked_length(&self.index.path, Format::Megatron, self.row, 0, total)?;
            append(&mut placed.extents, Extent { start, bytes });
        }
        Ok(Some(placed))
    }

    fn read(&self, extents: &[Extent]) -> Result<MutableBuffer, CorpusError> {
        let total = extents.iter().map(|extent| extent.bytes as usize).sum();
        let mut bytes = MutableBuffer::from_len_zeroed(total);
        let mut rest = bytes.as_slice_mut();
        for extent in extents {
            let (part, others) = rest.split_at_mut(extent.bytes as usize);
            read_at(&self.bin, extent.start, part).map_err(CorpusError::io(&self.input.path, "reading"))?;
            rest = others;
        }
        Ok(bytes)
    }
}

/// Adds a run of bytes, joined to the last one where it goes on.
fn append(extents: &mut Vec<Extent>, extent: Extent) {
    match extents.last_mut() {
        Some(last) if last.start + last.bytes == extent.start => last.bytes += extent.bytes,
        _ => extents.push(extent),
    }
}

impl Source for MegatronSource {
    fn carried(&self) -> &[FieldRef] {
        &[]
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        let mut plan = ChunkPlan::new(self.id_type);
        let mut extents = Vec::new();
        let first = self.row;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let document = match self.next_document() {
                Ok(Some(document)) => document,
                Ok(None) => break,
                // What stands before the fault is handed out first.
                Err(error) if !plan.lengths.is_empty() => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            };
            if !plan.takes(document.tokens) {
                self.pending = Some(document);
                break;
            }
            plan.push(document.tokens);
            document.extents.into_iter().for_each(|extent| append(&mut extents, extent));
            self.row += 1;
        }
        if plan.lengths.is_empty() {
            let size = self.digests[0].size();
            if self.covered != size {
                let reason = format!("its documents cover {} of the {size} bytes in the .bin", self.covered);
                return Err(self.index.fault(reason));
            }
            return Ok(None);
        }
        let bytes = self.read(&extents)?;
        self.covered += bytes.len() as u64;
        Ok(Some(Chunk(ChunkKind::Packed(PackedChunk {
            name: self.name.clone(),
            first,
            id_type: self.id_type,
            bytes: bytes.into(),
            cuts: Cuts::Lengths(plan.lengths),
            doc_ids: None,
            carried: Vec::new(),
        }))))
    }

    fn position(&self) -> u64 {
        self.covered
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        self.digests.into_iter().map(HashingFile::finish).collect()
    }
}

/// The index, read in three places at once so that no part of it is held in memory.
struct Index {
    path: PathBuf,
    lengths: BufReader<File>,
    places: BufReader<File>,
    marks: BufReader<File>,
    sequences: u64,
    documents: u64,
    /// The last mark read: sequences handed out when the current document ends.
    mark: u64,
}

impl Index {
    fn open(path: PathBuf) -> Result<(Self, IdType), CorpusError> {
        let (mut file, metadata) = open_regular(&path)?;
        let fault = |reason: String| CorpusError::malformed(&path, Format::Megatron, reason);
        let mut header = [0; HEADER as usize];
        if metadata.len() < HEADER {
            return Err(fault(format!("{} bytes are too few for an index", metadata.len())));
        }
        file.read_exact(&mut header).map_err(CorpusError::io(&path, "reading"))?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if header[..9] != *MAGIC {
            return Err(fault("it doesn't start with MMIDIDX; is it a Megatron index?".into()));
        }
        if number(9) != 1 {
            return Err(fault(format!("index version {} is not known; only version 1 is", number(9))));
        }
        let id_type = id_type(header[17]).ok_or_else(|| {
            fault(format!("id type {} is not an integer type of Megatron (1 to 5, or 8)", header[17]))
        })?;
        let (sequences, marks) = (number(18), number(26));
        let expected =
            sequences.checked_mul(12).and_then(|n| n.checked_add(marks.checked_mul(8)?)?.checked_add(HEADER));
        if expected != Some(metadata.len()) {
            return Err(fault(format!(
                "{sequences} sequences and {marks} document marks don't make {} bytes",
                metadata.len()
            )));
        }
        if marks == 0 {
            return Err(fault("it has no document marks; even an empty dataset has one".into()));
        }
        let part = |offset: u64| -> io::Result<BufReader<File>> {
            let mut part = File::open(&path)?;
            part.seek(SeekFrom::Start(offset))?;
            Ok(BufReader::with_capacity(1 << 18, part))
        };
        let io = |e| CorpusError::io(&path, "reading")(e);
        let mut index = Self {
            lengths: part(HEADER).map_err(io)?,
            places: part(HEADER + sequences * 4).map_err(io)?,
            marks: part(HEADER + sequences * 12).map_err(io)?,
            sequences,
            documents: marks - 1,
            mark: 0,
            path: path.clone(),
        };
        let first = read_u64(&mut index.marks, &path)?;
        if first != 0 {
            return Err(fault(format!("the first document starts at sequence {first}, not 0")));
        }
        if index.documents == 0 && sequences > 0 {
            return Err(fault(format!("{sequences} sequences belong to no document")));
        }
        Ok((index, id_type))
    }

    fn fault(&self, reason: String) -> CorpusError {
        CorpusError::malformed(&self.path, Format::Megatron, reason)
    }

    /// How many sequences the next document has; `None` behind the last document.
    fn next_mark(&mut self) -> Result<Option<u64>, CorpusError> {
        if self.documents == 0 {
            return Ok(None);
        }
        self.documents -= 1;
        let mark = read_u64(&mut self.marks, &self.path)?;
        if mark < self.mark || mark > self.sequences || (self.documents == 0 && mark != self.sequences) {
            return Err(self.fault(format!(
                "a document mark of {mark} stands behind {}; marks must rise to the number of sequences, {}",
                self.mark, self.sequences
            )));
        }
        let sequences = mark - self.mark;
        self.mark = mark;
        Ok(Some(sequences))
    }

    /// Place in the `.bin`, in bytes, and length, in tokens, of the next sequence.
    fn next_sequence(&mut self) -> Result<(u64, u64), CorpusError> {
        let mut length = [0; 4];
        self.lengths.read_exact(&mut length).map_err(CorpusError::io(&self.path, "reading"))?;
        let place = read_u64(&mut self.places, &self.path)?.cast_signed();
        let length = i32::from_le_bytes(length);
        match (u64::try_from(place), u64::try_from(length)) {
            (Ok(place), Ok(length)) => Ok((place, length)),
            _ => {
                Err(self
                    .fault(format!("a sequence of {length} tokens at byte {place}: neither may be negative")))
            }
        }
    }
}

fn read_u64(reader: &mut impl Read, path: &Path) -> Result<u64, CorpusError> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes).map_err(CorpusError::io(path, "reading"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The id type of a code in the index; 6 and 7 are floating-point types.
fn id_type(code: u8) -> Option<IdType> {
    Some(match code {
        1 => IdType::Uint8,
        2 => IdType::Int8,
        3 => IdType::Int16,
        4 => IdType::Int32,
        5 => IdType::Int64,
        8 => IdType::Uint16,
        _ => return None,
    })
}
