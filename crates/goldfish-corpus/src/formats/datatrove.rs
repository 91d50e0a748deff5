//! datatrove: `NAME.ds` holds ids, `NAME.ds.index` the documents' cumulative ends as little-endian `u64`.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::FieldRef;

use goldfish_digest::FileDigest;
use goldfish_remedy::{Remedy, Setting};

use crate::error::CorpusError;
use crate::file::{HashingFile, open_regular};
use crate::input::{FormatTable, Input, MaskNames, Naming};
use crate::options::{IdType, ReadOptions};
use crate::packed::{
    DocumentEnds, Indexed, PackedChunk, Planner, checked_length, read_ids, read_to, whole_ids,
};
use crate::source::{Chunk, Part, Source};

const NAME: &str = "datatrove";

const INDEX: Naming = Naming::Append(".index");

const MASK: Naming = Naming::Append(".loss");

pub(super) static FORMAT: FormatTable = FormatTable {
    companions: &[INDEX],
    unread: &[Naming::Append(".metadata")],
    masks: Some(MaskNames { own_folder: &[MASK], beside: &[MASK] }),
    is_written: true,
    ..FormatTable::new(
        NAME,
        "datatrove memmap: token ids in .ds, documents in .ds.index",
        &[".ds"],
        |input, options, part| Ok(Box::new(DatatroveSource::open(input, options, part)?)),
    )
};

struct DatatroveSource {
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
    fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let path = &input.path;
        input.check_columns(options, &[])?;
        let index_path = INDEX.of(path);
        if !goldfish_storage::exists(&index_path) {
            return Err(CorpusError::MissingCompanion {
                path: path.to_path_buf(),
                companion: index_path,
                help: "it says where the documents end",
                remedies: vec![
                    Remedy::give(Setting::EosId)
                        .and(Setting::Format)
                        .value("olmo")
                        .to("end documents at an id instead"),
                ],
            });
        }
        let mut ids = HashingFile::open(path)?;
        let (index_file, metadata) = open_regular(&index_path)?;
        let bytes = metadata.size;
        let malformed = |reason| CorpusError::malformed(&index_path, NAME, reason);
        if !bytes.is_multiple_of(8) {
            return Err(malformed(format!("{bytes} bytes are not a whole number of 8-byte document ends")));
        }
        let mut last = [0; 8];
        if bytes > 0 {
            index_file
                .read_exact_at(&mut last, bytes - 8)
                .map_err(CorpusError::io(&index_path, "reading"))?;
        }
        let tokens = u64::from_le_bytes(last);
        let implied = match (ids.size().checked_div(tokens), ids.size().checked_rem(tokens)) {
            (Some(2), Some(0)) => Some(IdType::Uint16),
            (Some(4), Some(0)) => Some(IdType::Uint32),
            _ => None,
        };
        let id_type = options.id_type.or(implied).unwrap_or(IdType::Uint16);
        if whole_ids(path, NAME, ids.size(), id_type)? != tokens {
            return Err(malformed(format!(
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
        if let Some(offset) = planner.first_offset() {
            read_to(&mut ids, offset).map_err(CorpusError::io(path, "reading"))?;
        }
        let name = input.name.clone();
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
        let tokens = checked_length(&self.path, NAME, row, self.at, end)?;
        if end > self.tokens {
            let reason = format!("document {row} ends at token {end}, after the last one, {}", self.tokens);
            return Err(CorpusError::malformed(&self.path, NAME, reason));
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

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        let index = &mut self.index;
        let Some(plan) = self.planner.next(|row| index.next(row))? else { return Ok(None) };
        let bytes = read_ids(&mut self.ids, plan.tokens, self.id_type);
        let bytes = bytes.map_err(CorpusError::io(&self.input.path, "reading"))?;
        Ok(Some(Box::new(PackedChunk {
            name: self.name.clone(),
            first: plan.first,
            id_type: self.id_type,
            bytes,
            ends: DocumentEnds::Lengths(plan.lengths),
            doc_ids: None,
            carried: Vec::new(),
        })))
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
