//! datatrove: `NAME.ds` holds ids, `NAME.ds.index` the documents' cumulative ends as little-endian `u64`.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::FieldRef;

use crate::file::{HashingFile, open_regular};
use crate::packed::{Cuts, Indexed, PackedChunk, Planner, checked_length, read_ids, read_to, whole_ids};
use crate::source::{Chunk, ChunkKind, Part, Source};
use crate::{CorpusError, FileDigest, Format, IdType, Input, ReadOptions};

pub(crate) struct DatatroveSource {
    input: Input,
    name: Arc<str>,
    ids: HashingFile,
    id_type: IdType,
    index: Index,
    planner: Planner<()>,
}

/// The ends of the documents.
struct Index {
    path: PathBuf,
    file: BufReader<HashingFile>,
    width: u64,
    /// Tokens of all documents.
    tokens: u64,
    documents: u64,
    /// End of the last document read, in tokens.
    at: u64,
}

impl DatatroveSource {
    pub(crate) fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let path = &input.path;
        refuse_columns(input, options, &[])?;
        let mut index_name = path.clone().into_os_string();
        index_name.push(".index");
        let index_path = PathBuf::from(index_name);
        if !goldfish_storage::exists(&index_path) {
            return Err(CorpusError::MissingCompanion {
                path: path.clone(),
                companion: index_path,
                help: "it holds the documents' ends; without it read the file with --format olmo --eos-id N",
            });
        }
        let mut ids = HashingFile::open(path)?;
        let (index_file, metadata) = open_regular(&index_path)?;
        let bytes = metadata.size;
        let fault = |reason| CorpusError::malformed(&index_path, Format::Datatrove, reason);
        if !bytes.is_multiple_of(8) {
            return Err(fault(format!("{bytes} bytes are no whole number of 8-byte document ends")));
        }
        let mut last = [0; 8];
        if bytes > 0 {
            index_file
                .read_exact_at(&mut last, bytes - 8)
                .map_err(CorpusError::io(&index_path, "reading"))?;
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
                "the last document ends at token {tokens}, but the .ds holds {} bytes; with 2-byte ids that would be {}, with 4-byte ids {}",
                ids.size(),
                tokens.saturating_mul(2),
                tokens.saturating_mul(4),
            )));
        }
        let mut index = Index {
            file: BufReader::with_capacity(1 << 18, HashingFile::open(&index_path)?),
            path: index_path,
            width: id_type.width() as u64,
            tokens,
            documents: bytes / 8,
            at: 0,
        };
        let planner = Planner::new(part, id_type, |row| index.next(row))?;
        if let Some(place) = planner.first_place() {
            read_to(&mut ids, place).map_err(CorpusError::io(path, "reading"))?;
        }
        let name = input.name.as_str().into();
        Ok(Self { input: input.clone(), name, ids, id_type, index, planner })
    }
}

impl Index {
    fn next(&mut self, row: u64) -> Result<Option<Indexed<()>>, CorpusError> {
        if row == self.documents {
            return Ok(None);
        }
        let mut end = [0; 8];
        self.file.read_exact(&mut end).map_err(CorpusError::io(&self.path, "reading"))?;
        let end = u64::from_le_bytes(end);
        let tokens = checked_length(&self.path, Format::Datatrove, row, self.at, end)?;
        if end > self.tokens {
            let reason = format!("document {row} ends at token {end}, behind the last one, {}", self.tokens);
            return Err(CorpusError::malformed(&self.path, Format::Datatrove, reason));
        }
        let start = self.at * self.width;
        self.at = end;
        Ok(Some(Indexed { start, tokens, more: () }))
    }
}

impl Source for DatatroveSource {
    fn carried(&self) -> &[FieldRef] {
        &[]
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        let index = &mut self.index;
        let Some(plan) = self.planner.next(|row| index.next(row))? else { return Ok(None) };
        let bytes = read_ids(&mut self.ids, plan.tokens, self.id_type);
        let bytes = bytes.map_err(CorpusError::io(&self.input.path, "reading"))?;
        Ok(Some(Chunk(ChunkKind::Packed(PackedChunk {
            name: self.name.clone(),
            first: plan.first,
            id_type: self.id_type,
            bytes,
            cuts: Cuts::Lengths(plan.lengths),
            doc_ids: None,
            carried: Vec::new(),
        }))))
    }

    fn row(&self) -> u64 {
        self.planner.row()
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        vec![self.ids.read_so_far(), self.index.file.get_ref().read_so_far()]
    }

    fn position(&self) -> u64 {
        self.ids.position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        Ok(vec![self.ids.finish()?, self.index.file.into_inner().finish()?])
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
