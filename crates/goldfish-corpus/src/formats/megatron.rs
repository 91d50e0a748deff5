//! Megatron-LM indexed datasets: `NAME.bin` holds ids, `NAME.idx` says where sequences and documents are.
//!
//! Layout of the index, little-endian (`megatron/core/datasets/indexed_dataset.py`): `MMIDIDX\0\0`, u64
//! version 1, u8 id type, u64 sequences `n`, u64 document marks `m`, i32 lengths `[n]` in tokens, i64 offsets
//! `[n]` in bytes of the `.bin`, i64 marks `[m]`: document `d` is made of sequences `marks[d]..marks[d + 1]`.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::MutableBuffer;
use arrow::datatypes::FieldRef;

use goldfish_digest::FileDigest;
use goldfish_storage::File;

use crate::error::CorpusError;
use crate::file::{HashedFile, OpenedFile};
use crate::input::{FormatTable, Input, MaskNames, Naming};
use crate::options::{IdType, ReadOptions};
use crate::packed::{DocumentEnds, Indexed, OffsetReader, PackedChunk, Planner, checked_length, whole_ids};
use crate::source::{Chunk, Part, Source};

const NAME: &str = "megatron";

const INDEX: Naming = Naming::Replace(".idx");

pub(super) static FORMAT: FormatTable = FormatTable {
    main_extension: Some("bin"),
    companions: &[INDEX],
    masks: Some(MaskNames {
        own_folder: &[Naming::Replace(".bin"), INDEX],
        beside: &[Naming::Replace(".loss.bin"), Naming::Replace(".loss.idx")],
    }),
    is_written: true,
    ..FormatTable::new(
        NAME,
        "Megatron-LM indexed dataset: token ids in .bin, documents in .idx",
        &[".bin", ".idx"],
        |input, options, part| Ok(Box::new(MegatronSource::open(input, options, part)?)),
    )
};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";

/// Bytes before the lengths.
const HEADER: u64 = 9 + 8 + 1 + 8 + 8;

struct MegatronSource {
    input: Input,
    name: Arc<str>,
    bin: File,
    index: Index,
    id_type: IdType,
    /// The `.bin` and the `.idx`.
    files: [HashedFile; 2],
    planner: Planner<Vec<Extent>>,
}

/// A run of bytes in the `.bin`.
#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    bytes: u64,
}

impl MegatronSource {
    fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        input.check_columns(options, &[])?;
        let index_path = INDEX.of(&input.path);
        if !goldfish_storage::exists(&input.path) {
            return Err(CorpusError::MissingCompanion {
                path: index_path,
                companion: input.path.to_path_buf(),
                help: "it holds the token ids; put the .bin beside the .idx",
                remedies: Vec::new(),
            });
        }
        if !goldfish_storage::exists(&index_path) {
            return Err(CorpusError::MissingCompanion {
                path: input.path.to_path_buf(),
                companion: index_path,
                help: "it says where the documents are; put the .idx beside the .bin",
                remedies: Vec::new(),
            });
        }
        let files = [OpenedFile::open(&input.path)?, OpenedFile::open(&index_path)?];
        let (mut index, id_type) = Index::open(index_path, &files[1], files[0].size())?;
        if let Some(given) = options.id_type.filter(|&given| given != id_type) {
            return Err(CorpusError::OtherIdType { path: input.path.to_path_buf(), found: id_type, given });
        }
        let bin = files[0].handle()?;
        whole_ids(&input.path, NAME, files[0].size(), id_type)?;
        let planner = Planner::new(part, id_type, |row| index.next_document(row))?;
        let name = input.name.clone();
        let [bin_file, index_file] = files;
        let files = [bin_file.hash()?, index_file.hash()?];
        Ok(Self { input: input.clone(), name, bin, index, id_type, files, planner })
    }

    fn read(&self, extents: &[Extent]) -> Result<MutableBuffer, CorpusError> {
        let total = extents.iter().map(|extent| extent.bytes as usize).sum();
        let mut bytes = MutableBuffer::from_len_zeroed(total);
        let mut rest = bytes.as_slice_mut();
        for extent in extents {
            let (part, others) = rest.split_at_mut(extent.bytes as usize);
            self.bin
                .read_exact_at(part, extent.start)
                .map_err(CorpusError::io(&self.input.path, "reading"))?;
            rest = others;
        }
        Ok(bytes)
    }
}

/// Adds a run of bytes, joined to the last one if it continues it.
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

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        let index = &mut self.index;
        let Some(plan) = self.planner.next(|row| index.next_document(row))? else { return Ok(None) };
        let mut extents = Vec::new();
        plan.more.into_iter().flatten().for_each(|extent| append(&mut extents, extent));
        let bytes = self.read(&extents)?;
        Ok(Some(Box::new(PackedChunk {
            name: self.name.clone(),
            first: plan.first,
            id_type: self.id_type,
            bytes: bytes.into(),
            ends: DocumentEnds::Lengths(plan.lengths),
            doc_ids: None,
            carried: Vec::new(),
        })))
    }

    fn row(&self) -> u64 {
        self.planner.row()
    }

    fn skip_to(&mut self, row: u64) -> Result<(), CorpusError> {
        // The index says where documents are; their tokens need not be read.
        let index = &mut self.index;
        while self.planner.row() < row && self.planner.next(|row| index.next_document(row))?.is_some() {}
        self.check_row(row)
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        self.files.iter().map(|file| file.digest().clone()).collect()
    }

    fn position(&self) -> u64 {
        self.index.covered
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        self.files.into_iter().map(HashedFile::finish).collect()
    }
}

/// The index, read at three offsets at once so that no part of it is held in memory.
struct Index {
    path: PathBuf,
    lengths: BufReader<OffsetReader>,
    offsets: BufReader<OffsetReader>,
    marks: BufReader<OffsetReader>,
    sequences: u64,
    documents: u64,
    /// The last mark read: sequences read when the current document ends.
    mark: u64,
    id_width: u64,
    bin_size: u64,
    /// Bytes of the `.bin` in the documents read so far.
    covered: u64,
}

impl Index {
    fn open(path: PathBuf, file: &OpenedFile, bin_size: u64) -> Result<(Self, IdType), CorpusError> {
        let malformed = |reason: String| CorpusError::malformed(&path, NAME, reason);
        let mut header = [0; HEADER as usize];
        if file.size() < HEADER {
            return Err(malformed(format!("{} bytes are too few for an index", file.size())));
        }
        file.handle()?.read_exact_at(&mut header, 0).map_err(CorpusError::io(&path, "reading"))?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if header[..9] != *MAGIC {
            return Err(malformed("it doesn't start with MMIDIDX; is it a Megatron index?".into()));
        }
        if number(9) != 1 {
            return Err(malformed(format!(
                "index version {} is unknown; only version 1 is known",
                number(9)
            )));
        }
        let id_type = id_type(header[17]).ok_or_else(|| {
            malformed(format!("id type {} is not an integer type of Megatron (1 to 5, or 8)", header[17]))
        })?;
        let (sequences, marks) = (number(18), number(26));
        let expected =
            sequences.checked_mul(12).and_then(|n| n.checked_add(marks.checked_mul(8)?)?.checked_add(HEADER));
        if expected != Some(file.size()) {
            return Err(malformed(format!(
                "{sequences} sequences and {marks} document marks don't make {} bytes",
                file.size()
            )));
        }
        if marks == 0 {
            return Err(malformed("it has no document marks; even an empty dataset has one".into()));
        }
        let part = |offset: u64| -> Result<_, CorpusError> {
            Ok(BufReader::with_capacity(1 << 18, OffsetReader::new(file.handle()?, offset)))
        };
        let mut index = Self {
            lengths: part(HEADER)?,
            offsets: part(HEADER + sequences * 4)?,
            marks: part(HEADER + sequences * 12)?,
            sequences,
            documents: marks - 1,
            mark: 0,
            id_width: id_type.width() as u64,
            bin_size,
            covered: 0,
            path: path.clone(),
        };
        let first = read_u64(&mut index.marks, &path)?;
        if first != 0 {
            return Err(malformed(format!("the first document starts at sequence {first}, not 0")));
        }
        if index.documents == 0 && sequences > 0 {
            return Err(malformed(format!("{sequences} sequences belong to no document")));
        }
        Ok((index, id_type))
    }

    fn malformed(&self, reason: String) -> CorpusError {
        CorpusError::malformed(&self.path, NAME, reason)
    }

    fn next_document(&mut self, row: u64) -> Result<Option<Indexed<Vec<Extent>>>, CorpusError> {
        let size = self.bin_size;
        let Some(sequences) = self.next_mark()? else {
            if self.covered != size {
                let reason = format!("its documents cover {} of the {size} bytes in the .bin", self.covered);
                return Err(self.malformed(reason));
            }
            return Ok(None);
        };
        let mut document = Indexed { start: self.covered, tokens: 0, more: Vec::new() };
        for _ in 0..sequences {
            let (start, tokens) = self.next_sequence()?;
            let bytes = tokens * self.id_width;
            if start.checked_add(bytes).is_none_or(|end| end > size) {
                return Err(self.malformed(format!(
                    "document {row} is at bytes {start}..{} of the .bin, which has {size}",
                    start.saturating_add(bytes),
                )));
            }
            let expected = self.covered + document.tokens as u64 * self.id_width;
            if start != expected {
                return Err(self.malformed(format!(
                    "a sequence of document {row} starts at byte {start}, but the one before it ends at {expected}; \
                     sequences must follow each other without gap or overlap"
                )));
            }
            let total = document.tokens as u64 + tokens;
            document.tokens = checked_length(&self.path, NAME, row, 0, total)?;
            append(&mut document.more, Extent { start, bytes });
        }
        self.covered += document.tokens as u64 * self.id_width;
        Ok(Some(document))
    }

    /// How many sequences the next document has; `None` after the last document.
    fn next_mark(&mut self) -> Result<Option<u64>, CorpusError> {
        if self.documents == 0 {
            return Ok(None);
        }
        self.documents -= 1;
        let mark = read_u64(&mut self.marks, &self.path)?;
        if mark < self.mark || mark > self.sequences || (self.documents == 0 && mark != self.sequences) {
            return Err(self.malformed(format!(
                "a document mark of {mark} follows {}; marks must rise to the number of sequences, {}",
                self.mark, self.sequences
            )));
        }
        let sequences = mark - self.mark;
        self.mark = mark;
        Ok(Some(sequences))
    }

    /// Offset in the `.bin`, in bytes, and length, in tokens, of the next sequence.
    fn next_sequence(&mut self) -> Result<(u64, u64), CorpusError> {
        let mut length = [0; 4];
        self.lengths.read_exact(&mut length).map_err(CorpusError::io(&self.path, "reading"))?;
        let offset = read_u64(&mut self.offsets, &self.path)?.cast_signed();
        let length = i32::from_le_bytes(length);
        match (u64::try_from(offset), u64::try_from(length)) {
            (Ok(offset), Ok(length)) => Ok((offset, length)),
            _ => Err(self.malformed(format!(
                "a sequence of {length} tokens at byte {offset}: neither may be negative"
            ))),
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
