//! datatrove: `NAME.ds` holds ids, `NAME.ds.index` the documents' cumulative ends as little-endian `u64`.

use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::FieldRef;

use crate::file::{HashingFile, open_regular};
use crate::packed::{ChunkPlan, Cuts, PackedChunk, checked_length, read_at, read_ids, whole_ids};
use crate::source::{Chunk, ChunkKind, Source};
use crate::{CorpusError, FileDigest, Format, IdType, Input, ReadOptions};

pub(crate) struct DatatroveSource {
    input: Input,
    name: Arc<str>,
    ids: HashingFile,
    index_path: PathBuf,
    index: BufReader<HashingFile>,
    id_type: IdType,
    tokens: u64,
    documents: u64,
    row: u64,
    /// End of the last document handed out, in tokens.
    at: u64,
    /// End of a document that was read from the index but not handed out.
    next_end: Option<u64>,
    /// A fault behind the last document handed out.
    failed: Option<CorpusError>,
}

impl DatatroveSource {
    pub(crate) fn open(input: &Input, options: &ReadOptions) -> Result<Self, CorpusError> {
        let path = &input.path;
        refuse_columns(input, options, &[])?;
        let mut index_name = path.clone().into_os_string();
        index_name.push(".index");
        let index_path = PathBuf::from(index_name);
        if !index_path.exists() {
            return Err(CorpusError::MissingCompanion {
                path: path.clone(),
                companion: index_path,
                help: "it holds the documents' ends; without it read the file with --format olmo --eos-id N",
            });
        }
        let ids = HashingFile::open(path)?;
        let (index_file, metadata) = open_regular(&index_path)?;
        let bytes = metadata.len();
        let fault = |reason| CorpusError::malformed(&index_path, Format::Datatrove, reason);
        if !bytes.is_multiple_of(8) {
            return Err(fault(format!("{bytes} bytes are no whole number of 8-byte document ends")));
        }
        let mut last = [0; 8];
        if bytes > 0 {
            read_at(&index_file, bytes - 8, &mut last).map_err(CorpusError::io(&index_path, "reading"))?;
        }
        let tokens = u64::from_le_bytes(last);
        let told = match (ids.size().checked_div(tokens), ids.size().checked_rem(tokens)) {
            (Some(2), Some(0)) => Some(IdType::Uint16),
            (Some(4), Some(0)) => Some(IdType::Uint32),
            _ => None,
        };
        let id_type = options.id_type.or(told).unwrap_or(IdType::Uint16);
        if whole_ids(path, Format::Datatrove, ids.size(), id_type)? != tokens {
            return Err(fault(format!(
                "the last document ends at token {tokens}, but {} holds {} bytes; with 2-byte ids that would be {}, with 4-byte ids {}",
                path.display(),
                ids.size(),
                tokens.saturating_mul(2),
                tokens.saturating_mul(4),
            )));
        }
        Ok(Self {
            input: input.clone(),
            name: input.name.as_str().into(),
            ids,
            index: BufReader::with_capacity(1 << 18, HashingFile::open(&index_path)?),
            index_path,
            id_type,
            tokens,
            documents: bytes / 8,
            row: 0,
            at: 0,
            next_end: None,
            failed: None,
        })
    }

    /// End and length of the next document, in tokens.
    fn next_document(&mut self) -> Result<(u64, usize), CorpusError> {
        let end = match self.next_end.take() {
            Some(end) => end,
            None => self.read_end()?,
        };
        let length = checked_length(&self.index_path, Format::Datatrove, self.row, self.at, end)?;
        if end > self.tokens {
            let reason =
                format!("document {} ends at token {end}, behind the last one, {}", self.row, self.tokens);
            return Err(CorpusError::malformed(&self.index_path, Format::Datatrove, reason));
        }
        Ok((end, length))
    }

    fn read_end(&mut self) -> Result<u64, CorpusError> {
        let mut end = [0; 8];
        self.index.read_exact(&mut end).map_err(CorpusError::io(&self.index_path, "reading"))?;
        Ok(u64::from_le_bytes(end))
    }
}

impl Source for DatatroveSource {
    fn carried(&self) -> &[FieldRef] {
        &[]
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        let mut plan = ChunkPlan::new(self.id_type);
        let first = self.row;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while self.row < self.documents {
            let (end, length) = match self.next_document() {
                Ok(document) => document,
                // What stands before the fault is handed out first.
                Err(error) if !plan.lengths.is_empty() => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            };
            if !plan.takes(length) {
                self.next_end = Some(end);
                break;
            }
            plan.push(length);
            self.at = end;
            self.row += 1;
        }
        if plan.lengths.is_empty() {
            return Ok(None);
        }
        let bytes = read_ids(&mut self.ids, plan.tokens, self.id_type);
        let bytes = bytes.map_err(CorpusError::io(&self.input.path, "reading"))?;
        Ok(Some(Chunk(ChunkKind::Packed(PackedChunk {
            name: self.name.clone(),
            first,
            id_type: self.id_type,
            bytes,
            cuts: Cuts::Lengths(plan.lengths),
            doc_ids: None,
            carried: Vec::new(),
        }))))
    }

    fn position(&self) -> u64 {
        self.ids.position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        Ok(vec![self.ids.finish()?, self.index.into_inner().finish()?])
    }
}

/// Refuses columns that a memmap doesn't have; `known` are those it has.
pub(crate) fn refuse_columns(
    input: &Input,
    options: &ReadOptions,
    known: &[&str],
) -> Result<(), CorpusError> {
    let wanted = options.id_column.iter().chain(&options.carry);
    match wanted.into_iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(CorpusError::Options {
            path: input.path.clone(),
            reason: format!(
                "a {} memmap has {}, so there is no {name:?}; leave out --id-column and --carry",
                input.format,
                if known.is_empty() { "token ids only".into() } else { format!("only {}", known.join(", ")) },
            ),
        }),
    }
}
