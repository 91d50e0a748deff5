//! OLMo and dolma: `NAME.npy` holds ids without any header; `NAME.csv.gz` beside it says where documents
//! lie (`start,end,id,src,loc`), else an end-of-sequence id cuts them.

use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use flate2::read::MultiGzDecoder;

use crate::datatrove::refuse_columns;
use crate::file::HashingFile;
use crate::options::CHUNK_BYTES;
use crate::packed::{
    ChunkPlan, Cuts, PackedChunk, checked_length, encode_id, for_each_match, read_ids, whole_ids,
};
use crate::source::{Chunk, ChunkKind, Source};
use crate::{CorpusError, FileDigest, Format, IdType, Input, MAX_DOCUMENT_TOKENS, ReadOptions};

/// First bytes of a file that `numpy.save` wrote.
const NUMPY_MAGIC: &[u8] = b"\x93NUMPY";

pub(crate) struct OlmoSource {
    input: Input,
    name: Arc<str>,
    ids: HashingFile,
    id_type: IdType,
    tokens: u64,
    carried: Vec<FieldRef>,
    documents: Documents,
    row: u64,
    /// Tokens handed out.
    at: u64,
    /// A fault behind the last document handed out.
    failed: Option<CorpusError>,
}

enum Documents {
    Sidecar(Box<Sidecar>),
    Eos { id: u32, encoded: Vec<u8>, rest: Vec<u8>, unread: u64 },
}

impl OlmoSource {
    pub(crate) fn open(input: &Input, options: &ReadOptions) -> Result<Self, CorpusError> {
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
        let ids = HashingFile::open(path)?;
        let id_type = options.id_type.unwrap_or(IdType::Uint16);
        let tokens = whole_ids(path, Format::Olmo, ids.size(), id_type)?;
        let sidecar = path.with_extension("csv.gz");
        let documents = if sidecar.exists() {
            refuse_columns(input, options, &Sidecar::COLUMNS)?;
            Documents::Sidecar(Box::new(Sidecar::open(sidecar, options)?))
        } else {
            refuse_columns(input, options, &[])?;
            let refuse = |reason| CorpusError::Options { path: path.clone(), reason };
            let id = options.eos_id.ok_or_else(|| {
                refuse(
                    "nothing says where documents end; give --eos-id, or put the .csv.gz sidecar beside it"
                        .into(),
                )
            })?;
            let encoded = encode_id(id, id_type).ok_or_else(|| {
                refuse(format!("--eos-id {id} doesn't fit the ids' type; is --ids-dtype right?"))
            })?;
            Documents::Eos { id, encoded, rest: Vec::new(), unread: ids.size() }
        };
        let field = |name: &String| Arc::new(Field::new(name, DataType::Utf8, true));
        Ok(Self {
            input: input.clone(),
            name: input.name.as_str().into(),
            ids,
            id_type,
            tokens,
            carried: options.carry.iter().map(field).collect(),
            documents,
            row: 0,
            at: 0,
            failed: None,
        })
    }

    fn chunk(&self, first: u64, bytes: Buffer, cuts: Cuts) -> PackedChunk {
        let (name, id_type) = (self.name.clone(), self.id_type);
        PackedChunk { name, first, id_type, bytes, cuts, doc_ids: None, carried: Vec::new() }
    }

    fn next_by_sidecar(&mut self) -> Result<Option<PackedChunk>, CorpusError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Documents::Sidecar(sidecar) = &mut self.documents else { return Ok(None) };
        let mut plan = ChunkPlan::new(self.id_type);
        let first = self.row;
        let mut columns = sidecar.new_columns();
        loop {
            let (line, length) = match sidecar.next_document(self.row, self.at, self.tokens) {
                Ok(Some(document)) => document,
                Ok(None) => break,
                // What stands before the fault is handed out first.
                Err(error) if !plan.lengths.is_empty() => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            };
            if !plan.takes(length) {
                sidecar.pending = Some(line);
                break;
            }
            plan.push(length);
            columns.iter_mut().zip(line.values).for_each(|(column, value)| column.push(value));
            self.at = line.end;
            self.row += 1;
        }
        if plan.lengths.is_empty() {
            if self.at < self.tokens {
                return Err(sidecar.fault(format!(
                    "documents end at token {}, but the file holds {}",
                    self.at, self.tokens
                )));
            }
            return Ok(None);
        }
        let mut columns = columns.into_iter().map(StringArray::from);
        let doc_ids = if sidecar.has_id { columns.next() } else { None };
        let carried = columns.map(|column| Arc::new(column) as ArrayRef).collect();
        let bytes = read_ids(&mut self.ids, plan.tokens, self.id_type);
        let bytes = bytes.map_err(CorpusError::io(&self.input.path, "reading"))?;
        Ok(Some(PackedChunk { doc_ids, carried, ..self.chunk(first, bytes, Cuts::Lengths(plan.lengths)) }))
    }

    fn next_by_eos(&mut self) -> Result<Option<PackedChunk>, CorpusError> {
        let Documents::Eos { id, encoded, rest, unread } = &mut self.documents else { return Ok(None) };
        let (id, width) = (*id, encoded.len());
        let mut bytes = MutableBuffer::new(CHUNK_BYTES);
        bytes.extend_from_slice(rest);
        let mut searched = 0;
        let end = loop {
            let step = usize::try_from(*unread).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let start = bytes.len();
            bytes.resize(start + step, 0);
            let read = self.ids.read_exact(&mut bytes.as_slice_mut()[start..]);
            read.map_err(CorpusError::io(&self.input.path, "reading"))?;
            *unread -= step as u64;
            let new = &bytes.as_slice()[searched..];
            if *unread == 0 {
                break bytes.len();
            } else if let Some(i) = new.chunks_exact(width).rposition(|token| token == encoded) {
                break searched + (i + 1) * width;
            } else if bytes.len() / width > MAX_DOCUMENT_TOKENS {
                let reason = format!(
                    "no id {id} within {MAX_DOCUMENT_TOKENS} tokens behind document {}; are --eos-id and --ids-dtype right?",
                    self.row
                );
                return Err(CorpusError::malformed(&self.input.path, Format::Olmo, reason));
            }
            searched = bytes.len();
        };
        if end == 0 {
            return Ok(None);
        }
        *rest = bytes.as_slice()[end..].to_vec();
        bytes.truncate(end);
        let ids = bytes.as_slice();
        let mut documents = 0;
        for_each_match(ids, width, id, |_| documents += 1);
        let open_end = usize::from(!ids.ends_with(encoded));
        let first = self.row;
        self.row += (documents + open_end) as u64;
        Ok(Some(self.chunk(first, bytes.into(), Cuts::Eos(id))))
    }
}

impl Source for OlmoSource {
    fn carried(&self) -> &[FieldRef] {
        &self.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        let chunk = match self.documents {
            Documents::Sidecar(_) => self.next_by_sidecar()?,
            Documents::Eos { .. } => self.next_by_eos()?,
        };
        Ok(chunk.map(|chunk| Chunk(ChunkKind::Packed(chunk))))
    }

    fn position(&self) -> u64 {
        self.ids.position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        let mut digests = vec![self.ids.finish()?];
        if let Documents::Sidecar(sidecar) = self.documents {
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
    pending: Option<Line>,
}

struct Line {
    start: u64,
    end: u64,
    values: Vec<String>,
}

impl Sidecar {
    /// The columns behind `start` and `end`.
    const COLUMNS: [&'static str; 3] = ["id", "src", "loc"];

    fn open(path: PathBuf, options: &ReadOptions) -> Result<Self, CorpusError> {
        let file = BufReader::with_capacity(1 << 18, HashingFile::open(&path)?);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(MultiGzDecoder::new(file));
        let names = options.id_column.iter().chain(&options.carry);
        let wanted = names.filter_map(|name| Self::COLUMNS.iter().position(|c| c == name)).collect();
        Ok(Self { path, reader, wanted, has_id: options.id_column.is_some(), pending: None })
    }

    fn fault(&self, reason: impl ToString) -> CorpusError {
        CorpusError::malformed(&self.path, Format::Olmo, reason)
    }

    fn new_columns(&self) -> Vec<Vec<String>> {
        self.wanted.iter().map(|_| Vec::new()).collect()
    }

    /// The next document's line and its length in tokens; `at` is where the one before ended.
    fn next_document(
        &mut self,
        row: u64,
        at: u64,
        tokens: u64,
    ) -> Result<Option<(Line, usize)>, CorpusError> {
        let Some(line) = self.next_line(row)? else { return Ok(None) };
        if line.start != at || line.end > tokens {
            return Err(self.fault(format!(
                "document {row} lies at tokens {}..{}, but the file holds {tokens} and the one before ends at {at}; \
                 documents must follow each other without gap or overlap",
                line.start, line.end
            )));
        }
        let length = checked_length(&self.path, Format::Olmo, row, line.start, line.end)?;
        Ok(Some((line, length)))
    }

    fn next_line(&mut self, row: u64) -> Result<Option<Line>, CorpusError> {
        if let Some(line) = self.pending.take() {
            return Ok(Some(line));
        }
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
        Ok(Some(Line { start, end, values: self.wanted.iter().map(value).collect() }))
    }
}
