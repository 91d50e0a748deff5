//! OLMo and dolma: `NAME.npy` holds ids without any header; `NAME.csv.gz` beside it says where documents
//! lie (`start,end,id,src,loc`), else an end-of-sequence id cuts them.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use flate2::read::MultiGzDecoder;

use crate::datatrove::refuse_columns;
use crate::file::HashingFile;
use crate::options::CHUNK_BYTES;
use crate::packed::{
    Cuts, Indexed, PackedChunk, Planner, checked_length, encode_id, for_each_match, read_ids, read_to,
    whole_ids,
};
use crate::source::{Chunk, ChunkKind, Part, Source};
use crate::{CorpusError, FileDigest, Format, IdType, Input, MAX_DOCUMENT_TOKENS, ReadOptions};

/// First bytes of a file that `numpy.save` wrote.
const NUMPY_MAGIC: &[u8] = b"\x93NUMPY";

pub(crate) struct OlmoSource {
    input: Input,
    name: Arc<str>,
    ids: HashingFile,
    id_type: IdType,
    carried: Vec<FieldRef>,
    documents: Documents,
}

enum Documents {
    Sidecar(Box<Sidecar>, Planner<Vec<String>>),
    Eos(EosCutter),
}

impl OlmoSource {
    pub(crate) fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let path = &input.path;
        let mut head = Vec::new();
        let mut probe = HashingFile::open(path)?;
        (&mut probe)
            .take(NUMPY_MAGIC.len() as u64)
            .read_to_end(&mut head)
            .map_err(CorpusError::io(path, "reading"))?;
        if head == NUMPY_MAGIC {
            let reason = "the file has a NumPy header, but an OLMo memmap has none, and the header would be \
                          read as tokens; write the array with .tofile()";
            return Err(CorpusError::malformed(path, Format::Olmo, reason));
        }
        let mut ids = HashingFile::open(path)?;
        let id_type = options.id_type.unwrap_or(IdType::Uint16);
        let tokens = whole_ids(path, Format::Olmo, ids.size(), id_type)?;
        let sidecar = path.with_extension("csv.gz");
        let documents = if goldfish_storage::exists(&sidecar) {
            refuse_columns(input, options, &Sidecar::COLUMNS)?;
            let mut sidecar = Box::new(Sidecar::open(sidecar, options, tokens, id_type)?);
            let planner = Planner::new(part, id_type, |row| sidecar.next_document(row))?;
            if let Some(place) = planner.first_place() {
                read_to(&mut ids, place).map_err(CorpusError::io(path, "reading"))?;
            }
            Documents::Sidecar(sidecar, planner)
        } else {
            refuse_columns(input, options, &[])?;
            let refuse = |reason| CorpusError::Options { path: path.to_path_buf(), reason };
            let id = options.eos_id.ok_or_else(|| {
                refuse(
                    "nothing says where documents end; give --eos-id, or put the .csv.gz sidecar beside it"
                        .into(),
                )
            })?;
            let encoded = encode_id(id, id_type).ok_or_else(|| {
                refuse(format!("--eos-id {id} doesn't fit the ids' type; is --ids-dtype right?"))
            })?;
            Documents::Eos(
                EosCutter::new(&mut ids, id, encoded, part).map_err(CorpusError::io(path, "reading"))?,
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

    fn chunk(&self, first: u64, bytes: Buffer, cuts: Cuts) -> PackedChunk {
        let (name, id_type) = (self.name.clone(), self.id_type);
        PackedChunk { name, first, id_type, bytes, cuts, doc_ids: None, carried: Vec::new() }
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
        let cuts = Cuts::Lengths(plan.lengths);
        Ok(Some(PackedChunk { doc_ids, carried, ..self.chunk(plan.first, bytes, cuts) }))
    }

    fn next_by_eos(&mut self) -> Result<Option<PackedChunk>, CorpusError> {
        let Documents::Eos(cutter) = &mut self.documents else { return Ok(None) };
        let Some((first, bytes)) = cutter.next(&mut self.ids, &self.input.path)? else { return Ok(None) };
        let cuts = Cuts::Eos(cutter.id);
        Ok(Some(self.chunk(first, bytes, cuts)))
    }
}

impl Source for OlmoSource {
    fn carried(&self) -> &[FieldRef] {
        &self.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        let chunk = match self.documents {
            Documents::Sidecar(..) => self.next_by_sidecar()?,
            Documents::Eos(_) => self.next_by_eos()?,
        };
        Ok(chunk.map(|chunk| Chunk(ChunkKind::Packed(chunk))))
    }

    fn row(&self) -> u64 {
        match &self.documents {
            Documents::Sidecar(_, planner) => planner.row(),
            Documents::Eos(cutter) => cutter.row,
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
    /// The columns behind `start` and `end`.
    const COLUMNS: [&'static str; 3] = ["id", "src", "loc"];

    fn open(path: PathBuf, options: &ReadOptions, tokens: u64, id_type: IdType) -> Result<Self, CorpusError> {
        let file = BufReader::with_capacity(1 << 18, HashingFile::open(&path)?);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(MultiGzDecoder::new(file));
        let names = options.id_column.iter().chain(&options.carry);
        let wanted = names.filter_map(|name| Self::COLUMNS.iter().position(|c| c == name)).collect();
        let (has_id, width) = (options.id_column.is_some(), id_type.width() as u64);
        Ok(Self { path, reader, wanted, has_id, width, tokens, at: 0 })
    }

    fn fault(&self, reason: impl ToString) -> CorpusError {
        self.reader.get_ref().get_ref().get_ref().fault(Format::Olmo, reason)
    }

    fn new_columns(&self) -> Vec<Vec<String>> {
        self.wanted.iter().map(|_| Vec::new()).collect()
    }

    fn next_document(&mut self, row: u64) -> Result<Option<Indexed<Vec<String>>>, CorpusError> {
        let (at, tokens) = (self.at, self.tokens);
        let Some((start, end, more)) = self.next_line(row)? else {
            if at < tokens {
                return Err(self.fault(format!("documents end at token {at}, but the file holds {tokens}")));
            }
            return Ok(None);
        };
        if start != at || end > tokens {
            return Err(self.fault(format!(
                "document {row} lies at tokens {start}..{end}, but the file holds {tokens} and the one before ends at {at}; \
                 documents must follow each other without gap or overlap",
            )));
        }
        let length = checked_length(&self.path, Format::Olmo, row, start, end)?;
        self.at = end;
        Ok(Some(Indexed { start: start * self.width, tokens: length, more }))
    }

    /// Start and end of the next document, in tokens, and its wanted columns.
    fn next_line(&mut self, row: u64) -> Result<Option<(u64, u64, Vec<String>)>, CorpusError> {
        let mut record = csv::StringRecord::new();
        loop {
            if !self.reader.read_record(&mut record).map_err(|e| self.fault(e))? {
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
            return Err(
                self.fault(format!("document {row}: start and end are {line:?}, not two token positions"))
            );
        };
        let value = |&i: &usize| record.get(i + 2).unwrap_or_default().to_owned();
        Ok(Some((start, end, self.wanted.iter().map(value).collect())))
    }
}

/// Cuts a part of a memmap behind each end-of-sequence id.
struct EosCutter {
    id: u32,
    /// The id as it lies in the file.
    encoded: Vec<u8>,
    part: Part,
    /// Row of the next document.
    row: u64,
    /// Where it starts, in bytes.
    place: u64,
    /// What was read from there on.
    rest: Vec<u8>,
    /// Bytes of the file behind that.
    unread: u64,
}

impl EosCutter {
    /// Counts the documents that start before the part, and passes over them.
    fn new(file: &mut HashingFile, id: u32, encoded: Vec<u8>, part: Part) -> io::Result<Self> {
        let (rest, unread) = (Vec::new(), file.size());
        let mut cutter = Self { id, encoded, part, row: 0, place: 0, rest, unread };
        let mut document_open = false;
        while part.start > 0 && cutter.unread > 0 {
            let mut block = MutableBuffer::new(CHUNK_BYTES);
            cutter.read_on(file, &mut block)?;
            // The end of the last document that starts before the part, or of the last one in the block.
            let (mut end, mut documents) = (0, 0);
            for_each_match(block.as_slice(), cutter.encoded.len(), id, |i| {
                if documents == 0 || cutter.place + (end as u64) < part.start {
                    (end, documents) = ((i + 1) * cutter.encoded.len(), documents + 1);
                }
            });
            cutter.row += documents;
            if documents > 0 && cutter.place + end as u64 >= part.start {
                cutter.place += end as u64;
                cutter.rest = block.as_slice()[end..].to_vec();
                return Ok(cutter);
            }
            cutter.place += block.len() as u64;
            document_open = end != block.len();
        }
        cutter.row += u64::from(document_open);
        Ok(cutter)
    }

    /// Appends the next bytes of the file.
    fn read_on(&mut self, file: &mut HashingFile, bytes: &mut MutableBuffer) -> io::Result<()> {
        let step = usize::try_from(self.unread).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let start = bytes.len();
        bytes.resize(start + step, 0);
        file.read_exact(&mut bytes.as_slice_mut()[start..])?;
        self.unread -= step as u64;
        Ok(())
    }

    /// Whole documents and the row of the first one.
    fn next(&mut self, file: &mut HashingFile, path: &Path) -> Result<Option<(u64, Buffer)>, CorpusError> {
        let left = self.part.end.saturating_sub(self.place);
        if left == 0 {
            return Ok(None);
        }
        let width = self.encoded.len();
        let mut bytes = MutableBuffer::new(CHUNK_BYTES);
        bytes.extend_from_slice(&std::mem::take(&mut self.rest));
        let mut searched = 0;
        let mut end = loop {
            self.read_on(file, &mut bytes).map_err(CorpusError::io(path, "reading"))?;
            let new = &bytes.as_slice()[searched..];
            if self.unread == 0 {
                break bytes.len();
            } else if let Some(i) = new.chunks_exact(width).rposition(|token| token == self.encoded) {
                break searched + (i + 1) * width;
            } else if bytes.len() / width > MAX_DOCUMENT_TOKENS {
                let reason = format!(
                    "no id {} within {MAX_DOCUMENT_TOKENS} tokens behind document {}; are --eos-id and --ids-dtype right?",
                    self.id, self.row
                );
                return Err(CorpusError::malformed(path, Format::Olmo, reason));
            }
            searched = bytes.len();
        };
        if end == 0 {
            return Ok(None);
        }
        let (mut documents, mut last_end) = (0, 0);
        for_each_match(&bytes.as_slice()[..end], width, self.id, |i| {
            // A document that starts behind the part is not read.
            if (last_end as u64) < left {
                (documents, last_end) = (documents + 1, (i + 1) * width);
            }
        });
        if last_end as u64 >= left {
            end = last_end;
        }
        self.rest = bytes.as_slice()[end..].to_vec();
        bytes.truncate(end);
        let first = self.row;
        self.row += documents + u64::from(last_end < end);
        self.place += end as u64;
        Ok(Some((first, bytes.into())))
    }
}
