//! OLMo and dolma: `NAME.npy` holds ids without any header; `NAME.csv.gz` beside it says where documents
//! are (`start,end,id,src,loc`), else an end-of-sequence id ends each.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use flate2::read::MultiGzDecoder;

use goldfish_digest::FileDigest;
use goldfish_remedy::{Remedy, Setting};

use crate::error::CorpusError;
use crate::file::{HashingFile, open_regular};
use crate::input::{FormatTable, Input, MaskNames, Naming};
use crate::options::{CHUNK_BYTES, IdType, MAX_DOCUMENT_TOKENS, ReadOptions};
use crate::packed::{
    DocumentEnds, Indexed, PackedChunk, Planner, aligned, checked_length, encode_id, for_each_match,
    read_ids, read_to, whole_ids,
};
use crate::source::{Chunk, Part, Source};
use crate::warning::Warning;

const NAME: &str = "olmo";

const SIDECAR: Naming = Naming::Replace(".csv.gz");

pub(super) static FORMAT: FormatTable = FormatTable {
    companions: &[SIDECAR],
    masks: Some(MaskNames { own_folder: &[Naming::Append("")], beside: &[Naming::Append(".loss")] }),
    uses_eos_id: true,
    warning: Some(warning),
    is_written: true,
    ..FormatTable::new(
        NAME,
        "headerless memmap of OLMo and dolma: token ids in .npy, documents in .csv.gz or ended by an id",
        &[".npy"],
        |input, options, part| Ok(Box::new(OlmoSource::open(input, options, part)?)),
    )
};

/// First bytes of a file that `numpy.save` wrote.
const NUMPY_MAGIC: &[u8] = b"\x93NUMPY";

struct OlmoSource {
    input: Input,
    name: Arc<str>,
    ids: HashingFile,
    id_type: IdType,
    carried: Vec<FieldRef>,
    documents: Documents,
}

enum Documents {
    Sidecar(Box<Sidecar>, Planner<Vec<String>>),
    Eos(EosReader),
}

impl OlmoSource {
    fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let path = &input.path;
        let mut head = Vec::new();
        let mut probe = HashingFile::open(path)?;
        (&mut probe)
            .take(NUMPY_MAGIC.len() as u64)
            .read_to_end(&mut head)
            .map_err(CorpusError::io(path, "reading"))?;
        if head == NUMPY_MAGIC {
            return Err(input.malformed(
                "the file has a NumPy header, but an OLMo memmap has none, and the header would be read as tokens; \
                 write the array with .tofile()",
            ));
        }
        let mut ids = HashingFile::open(path)?;
        let id_type = options.id_type.unwrap_or(IdType::Uint16);
        let tokens = whole_ids(path, NAME, ids.size(), id_type)?;
        let sidecar = SIDECAR.of(path);
        let documents = if goldfish_storage::exists(&sidecar) {
            input.check_columns(options, &Sidecar::COLUMNS)?;
            let mut sidecar = Box::new(Sidecar::open(sidecar, options, tokens, id_type)?);
            let planner = Planner::new(part, id_type, |row| sidecar.next_document(row))?;
            if let Some(offset) = planner.first_offset() {
                read_to(&mut ids, offset).map_err(CorpusError::io(path, "reading"))?;
            }
            Documents::Sidecar(sidecar, planner)
        } else {
            input.check_columns(options, &[])?;
            let path = || path.to_path_buf();
            let id = options.eos_id.ok_or_else(|| CorpusError::NoDocumentEnds { path: path(), sidecar })?;
            let encoded = encode_id(id, id_type).ok_or_else(|| CorpusError::EosOutOfRange {
                path: path(),
                id,
                id_type,
            })?;
            Documents::Eos(
                EosReader::new(&mut ids, id, encoded, part)
                    .map_err(CorpusError::io(&input.path, "reading"))?,
            )
        };
        let field = |name: &String| Arc::new(Field::new(name, DataType::Utf8, true));
        Ok(Self {
            input: input.clone(),
            name: input.name.clone(),
            ids,
            id_type,
            carried: options.carry.iter().map(field).collect(),
            documents,
        })
    }

    fn chunk(&self, first: u64, bytes: Buffer, ends: DocumentEnds) -> PackedChunk {
        let (name, id_type) = (self.name.clone(), self.id_type);
        PackedChunk { name, first, id_type, bytes, ends, doc_ids: None, carried: Vec::new() }
    }

    fn next_by_sidecar(&mut self) -> Result<Option<PackedChunk>, CorpusError> {
        let Documents::Sidecar(sidecar, planner) = &mut self.documents else { return Ok(None) };
        let Some(plan) = planner.next(|row| sidecar.next_document(row))? else { return Ok(None) };
        let mut columns = sidecar.new_columns();
        for values in plan.more {
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        let mut columns = columns.into_iter().map(StringArray::from);
        let doc_ids = if sidecar.has_id { columns.next() } else { None };
        let carried = columns.map(|column| Arc::new(column) as ArrayRef).collect();
        let bytes = read_ids(&mut self.ids, plan.tokens, self.id_type);
        let bytes = bytes.map_err(CorpusError::io(&self.input.path, "reading"))?;
        let ends = DocumentEnds::Lengths(plan.lengths);
        Ok(Some(PackedChunk { doc_ids, carried, ..self.chunk(plan.first, bytes, ends) }))
    }

    fn next_by_eos(&mut self) -> Result<Option<PackedChunk>, CorpusError> {
        let Documents::Eos(reader) = &mut self.documents else { return Ok(None) };
        let Some((first, bytes)) = reader.next(&mut self.ids, &self.input.path)? else { return Ok(None) };
        let ends = DocumentEnds::Eos(reader.id);
        Ok(Some(self.chunk(first, bytes, ends)))
    }
}

impl Source for OlmoSource {
    fn carried(&self) -> &[FieldRef] {
        &self.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        let chunk = match self.documents {
            Documents::Sidecar(..) => self.next_by_sidecar()?,
            Documents::Eos(_) => self.next_by_eos()?,
        };
        Ok(chunk.map(|chunk| Box::new(chunk) as Box<dyn Chunk>))
    }

    fn row(&self) -> u64 {
        match &self.documents {
            Documents::Sidecar(_, planner) => planner.row(),
            Documents::Eos(reader) => reader.row,
        }
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        let mut digests = vec![self.ids.read_so_far()];
        if let Documents::Sidecar(sidecar, _) = &self.documents {
            digests.push(sidecar.reader.get_ref().get_ref().get_ref().read_so_far());
        }
        digests
    }

    fn position(&self) -> u64 {
        self.ids.position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        let mut digests = vec![self.ids.finish()?];
        if let Documents::Sidecar(sidecar, _) = self.documents {
            digests.push(sidecar.reader.into_inner().into_inner().into_inner().finish()?);
        }
        Ok(digests)
    }
}

/// The rows of `NAME.csv.gz`.
struct Sidecar {
    path: PathBuf,
    reader: csv::Reader<MultiGzDecoder<BufReader<HashingFile>>>,
    /// Which of [`Sidecar::COLUMNS`] are wanted: the document's id first, then the carried ones.
    wanted: Vec<usize>,
    has_id: bool,
    width: u64,
    /// Tokens in the file.
    tokens: u64,
    /// Where the last document read ends, in tokens.
    at: u64,
}

impl Sidecar {
    /// The columns after `start` and `end`.
    const COLUMNS: [&'static str; 3] = ["id", "src", "loc"];

    fn open(path: PathBuf, options: &ReadOptions, tokens: u64, id_type: IdType) -> Result<Self, CorpusError> {
        let file = BufReader::with_capacity(1 << 18, HashingFile::open(&path)?);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(MultiGzDecoder::new(file));
        let names = options.id_column.iter().chain(options.columns());
        let wanted = names.filter_map(|name| Self::COLUMNS.iter().position(|c| c == name)).collect();
        let (has_id, width) = (options.id_column.is_some(), id_type.width() as u64);
        Ok(Self { path, reader, wanted, has_id, width, tokens, at: 0 })
    }

    fn malformed(&self, reason: impl ToString) -> CorpusError {
        self.reader.get_ref().get_ref().get_ref().error(NAME, reason)
    }

    fn new_columns(&self) -> Vec<Vec<String>> {
        self.wanted.iter().map(|_| Vec::new()).collect()
    }

    fn next_document(&mut self, row: u64) -> Result<Option<Indexed<Vec<String>>>, CorpusError> {
        let (at, tokens) = (self.at, self.tokens);
        let Some((start, end, more)) = self.next_line(row)? else {
            if at < tokens {
                return Err(
                    self.malformed(format!("documents end at token {at}, but the file holds {tokens}"))
                );
            }
            return Ok(None);
        };
        if start != at || end > tokens {
            return Err(self.malformed(format!(
                "document {row} is at tokens {start}..{end}, but the file holds {tokens} and the one before ends at {at}; \
                 documents must follow each other without gap or overlap",
            )));
        }
        let length = checked_length(&self.path, NAME, row, start, end)?;
        self.at = end;
        Ok(Some(Indexed { start: start * self.width, tokens: length, more }))
    }

    /// Start and end of the next document, in tokens, and its wanted columns.
    fn next_line(&mut self, row: u64) -> Result<Option<(u64, u64, Vec<String>)>, CorpusError> {
        let mut record = csv::StringRecord::new();
        loop {
            if !self.reader.read_record(&mut record).map_err(|e| self.malformed(e))? {
                return Ok(None);
            }
            let is_header = row == 0 && record.get(0) == Some("start");
            if !is_header {
                break;
            }
        }
        let number = |i: usize| record.get(i).and_then(|field| field.trim().parse::<u64>().ok());
        let (Some(start), Some(end)) = (number(0), number(1)) else {
            let line: Vec<_> = record.iter().take(2).collect();
            return Err(self
                .malformed(format!("document {row}: start and end are {line:?}, not two token positions")));
        };
        let value = |&i: &usize| record.get(i + 2).unwrap_or_default().to_owned();
        Ok(Some((start, end, self.wanted.iter().map(value).collect())))
    }
}

/// Reads documents that end at an end-of-sequence id.
struct EosReader {
    id: u32,
    /// The id as the file has it.
    encoded: Vec<u8>,
    part: Part,
    /// Row of the next document.
    row: u64,
    /// Where it starts, in bytes.
    offset: u64,
    /// What was read from there on.
    rest: Vec<u8>,
    /// Bytes of the file after that.
    unread: u64,
}

impl EosReader {
    /// Counts and skips the documents that start before the part.
    fn new(file: &mut HashingFile, id: u32, encoded: Vec<u8>, part: Part) -> io::Result<Self> {
        let (rest, unread) = (Vec::new(), file.size());
        let mut reader = Self { id, encoded, part, row: 0, offset: 0, rest, unread };
        let mut document_open = false;
        while part.start > 0 && reader.unread > 0 {
            let mut block = Vec::new();
            reader.read_more(file, &mut block)?;
            // The end of the last document that starts before the part, or of the last one in the block.
            let (mut end, mut documents) = (0, 0);
            for_each_match(&block, reader.encoded.len(), id, |i| {
                if documents == 0 || reader.offset + (end as u64) < part.start {
                    (end, documents) = ((i + 1) * reader.encoded.len(), documents + 1);
                }
            });
            reader.row += documents;
            if documents > 0 && reader.offset + end as u64 >= part.start {
                reader.offset += end as u64;
                reader.rest = block[end..].to_vec();
                return Ok(reader);
            }
            reader.offset += block.len() as u64;
            document_open = end != block.len();
        }
        reader.row += u64::from(document_open);
        Ok(reader)
    }

    /// Appends the next bytes of the file.
    fn read_more(&mut self, file: &mut HashingFile, bytes: &mut Vec<u8>) -> io::Result<()> {
        let step = usize::try_from(self.unread).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        file.append_to(bytes, step)?;
        self.unread -= step as u64;
        Ok(())
    }

    /// Whole documents and the row of the first one.
    fn next(&mut self, file: &mut HashingFile, path: &Path) -> Result<Option<(u64, Buffer)>, CorpusError> {
        let left = self.part.end.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let width = self.encoded.len();
        let mut bytes = Vec::with_capacity(self.rest.len() + CHUNK_BYTES);
        bytes.append(&mut self.rest);
        let mut searched = 0;
        let mut end = loop {
            self.read_more(file, &mut bytes).map_err(CorpusError::io(path, "reading"))?;
            let new = &bytes[searched..];
            if self.unread == 0 {
                break bytes.len();
            } else if let Some(i) = new.chunks_exact(width).rposition(|token| token == self.encoded) {
                break searched + (i + 1) * width;
            } else if bytes.len() / width > MAX_DOCUMENT_TOKENS {
                let reason = format!(
                    "no end-of-sequence id {} within {MAX_DOCUMENT_TOKENS} tokens after document {}",
                    self.id, self.row
                );
                let remedies = [Remedy::change(Setting::EosId), Remedy::change(Setting::IdsDtype)];
                return Err(CorpusError::malformed(path, NAME, reason).or_options(remedies));
            }
            searched = bytes.len();
        };
        if end == 0 {
            return Ok(None);
        }
        let (mut documents, mut last_end) = (0, 0);
        for_each_match(&bytes[..end], width, self.id, |i| {
            // A document that starts after the part is not read.
            if (last_end as u64) < left {
                (documents, last_end) = (documents + 1, (i + 1) * width);
            }
        });
        if last_end as u64 >= left {
            end = last_end;
        }
        self.rest = bytes[end..].to_vec();
        bytes.truncate(end);
        let first = self.row;
        self.row += documents + u64::from(last_end < end);
        self.offset += end as u64;
        Ok(Some((first, aligned(bytes))))
    }
}

/// Bytes at the start of a file that the warning looks at.
const WARNING_BYTES: u64 = 64 << 10;

/// Fewest ids that the warning is about.
const WARNING_IDS: usize = 16;

/// Why the file may hold ids of another type than it is read in. Without [`ReadOptions::id_type`] a memmap that has no
/// sidecar is read as `uint16`; ids of four bytes then become two, of which the second is 0 wherever the id is below 65536.
fn warning(input: &Input, options: &ReadOptions) -> Option<Warning> {
    if options.id_type.is_some() || !input.companions().is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    // An error in reading is left to the run.
    open_regular(&input.path).ok()?.0.take(WARNING_BYTES).read_to_end(&mut bytes).ok()?;
    let ids: Vec<bool> = bytes.chunks_exact(2).map(|id| id == [0, 0]).collect();
    let zeros = |ids: &[bool]| ids.iter().filter(|&&zero| zero).count();
    let second: Vec<bool> = ids.chunks_exact(2).map(|two| two[1]).collect();
    let suspicious = 2 * zeros(&ids) >= ids.len() || 2 * zeros(&second) >= second.len();
    (ids.len() >= WARNING_IDS && suspicious).then(|| Warning {
        path: input.path.clone(),
        message: format!(
            "nothing says of which type its ids are, and read as uint16 {} of the first {} are 0, {} of them at every \
             second position: ids of four bytes look like this",
            zeros(&ids),
            ids.len(),
            zeros(&second),
        ),
        remedies: vec![Remedy::give(Setting::IdsDtype).value("uint32"), Remedy::give(Setting::IdsDtype).value("uint16")],
    })
}
