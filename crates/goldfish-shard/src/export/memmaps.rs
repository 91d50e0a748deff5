//! Tokens and masks in raw files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};

use flate2::write::GzEncoder;

use super::layout::{Document, Exporter, TokenType, documents, does_not_fit};
use crate::file_set::SetFile;
use crate::manifest::ShardEntry;
use crate::megatron::{ElementType, write_index};
use crate::schema::IGNORED_LABEL;
use crate::staged::{StagedFile, StagedFiles};
use crate::{ShardBatch, ShardError};

const MASK: &str = "loss mask, one byte a token: 1 in the loss, 0 dropped";

/// Two indexed datasets with the same documents.
pub(super) struct Megatron<'f> {
    files: &'f StagedFiles,
    token_type: TokenType,
    tokens: StagedFile,
    /// Masks or labels.
    second: StagedFile,
    labels: bool,
    /// The documents' lengths, which stand before and behind other numbers in an index.
    lengths: BufWriter<File>,
    /// Its name in the staging folder.
    lengths_name: String,
    documents: u64,
    written: u64,
    bytes: Vec<u8>,
}

impl<'f> Megatron<'f> {
    pub(super) fn new(
        files: &'f StagedFiles,
        token_type: TokenType,
        labels: bool,
    ) -> Result<Self, ShardError> {
        let (tokens, second) =
            (files.create("tokens.bin")?, files.create(if labels { "labels.bin" } else { "mask.bin" })?);
        let (lengths_name, lengths) = files.scratch()?;
        let lengths = BufWriter::new(lengths);
        let (documents, written, bytes) = (0, 0, Vec::new());
        Ok(Self {
            files,
            token_type,
            tokens,
            second,
            labels,
            lengths,
            lengths_name,
            documents,
            written,
            bytes,
        })
    }

    fn write_document(&mut self, document: &Document<'_>) -> Result<(), ShardError> {
        let Document { ids, mask, .. } = document;
        self.bytes.clear();
        self.token_type
            .encode(ids, &mut self.bytes)
            .map_err(|position| does_not_fit(document, position, self.token_type))?;
        self.tokens.put(&self.bytes)?;
        if self.labels {
            self.bytes.clear();
            let label = |(&id, &keep): (&i32, &u8)| if keep == 1 { id } else { IGNORED_LABEL };
            self.bytes.extend(ids.iter().zip(*mask).flat_map(|pair| label(pair).to_le_bytes()));
            self.second.put(&self.bytes)?;
        } else {
            self.second.put(mask)?;
        }
        let length = (ids.len() as u32).to_le_bytes();
        self.lengths
            .write_all(&length)
            .map_err(ShardError::io(&self.files.staging().join(&self.lengths_name), "writing"))?;
        self.documents += 1;
        self.written += ids.len() as u64;
        Ok(())
    }
}

impl Exporter for Megatron<'_> {
    fn begin(&mut self, _index: usize, _shard: &ShardEntry) -> Result<(), ShardError> {
        Ok(())
    }

    fn write(&mut self, batch: &ShardBatch, shard: &str, row: u64) -> Result<(), ShardError> {
        documents(batch, shard, row).try_for_each(|document| self.write_document(&document))
    }

    fn end(&mut self) -> Result<(), ShardError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        let Self {
            files,
            token_type,
            tokens,
            second,
            labels,
            mut lengths,
            lengths_name,
            documents,
            written,
            ..
        } = *self;
        lengths.flush().map_err(ShardError::io(&files.staging().join(&lengths_name), "writing"))?;
        let read = || Ok(BufReader::with_capacity(1 << 18, files.staging().open_file(&lengths_name)?));
        let element = if token_type == TokenType::Uint16 { ElementType::Uint16 } else { ElementType::Int32 };
        let mut written_files = vec![tokens.finish(&format!("token ids, {}", token_type.name()))?];
        let mut index = files.create("tokens.idx")?;
        write_index(&mut index, element, documents, read)?;
        written_files.push(index.finish("Megatron index of the tokens")?);
        let (name, element, holds) = if labels {
            ("labels.idx", ElementType::Int32, "labels, int32, aligned with the tokens: -100 where dropped")
        } else {
            ("mask.idx", ElementType::Uint8, MASK)
        };
        written_files.push(second.finish(holds)?);
        let mut index = files.create(name)?;
        write_index(&mut index, element, documents, read)?;
        let of = if labels { "Megatron index of the labels" } else { "Megatron index of the loss mask" };
        written_files.push(index.finish(of)?);
        crate::disk::remove(files.staging(), &lengths_name)?;
        Ok((written_files, written))
    }
}

/// One memmap of tokens, one of masks and a list of documents a shard.
pub(super) struct Olmo<'f> {
    files: &'f StagedFiles,
    token_type: TokenType,
    open: Option<OlmoPart>,
    done: Vec<SetFile>,
    written: u64,
    bytes: Vec<u8>,
}

struct OlmoPart {
    tokens: StagedFile,
    mask: StagedFile,
    documents: csv::Writer<GzEncoder<StagedFile>>,
    /// Tokens so far.
    at: u64,
}

impl<'f> Olmo<'f> {
    pub(super) fn new(files: &'f StagedFiles, token_type: TokenType) -> Self {
        let (open, done, written, bytes) = (None, Vec::new(), 0, Vec::new());
        Self { files, token_type, open, done, written, bytes }
    }
}

impl Exporter for Olmo<'_> {
    fn begin(&mut self, index: usize, _shard: &ShardEntry) -> Result<(), ShardError> {
        let tokens = self.files.create(&format!("tokens/part-{index:05}.npy"))?;
        let mask = self.files.create(&format!("label_mask/part-{index:05}.npy"))?;
        let documents = self.files.create(&format!("tokens/part-{index:05}.csv.gz"))?;
        let documents = csv::Writer::from_writer(GzEncoder::new(documents, flate2::Compression::default()));
        self.open = Some(OlmoPart { tokens, mask, documents, at: 0 });
        Ok(())
    }

    fn write(&mut self, batch: &ShardBatch, shard: &str, row: u64) -> Result<(), ShardError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        for document in documents(batch, shard, row) {
            self.bytes.clear();
            self.token_type
                .encode(document.ids, &mut self.bytes)
                .map_err(|position| does_not_fit(&document, position, self.token_type))?;
            open.tokens.put(&self.bytes)?;
            open.mask.put(document.mask)?;
            let end = open.at + document.ids.len() as u64;
            // OLMo-core takes a line for a document.
            let id = document.id.replace(['\n', '\r'], " ");
            let line =
                [&open.at.to_string(), &end.to_string(), &id, document.shard, &document.row.to_string()];
            open.documents.write_record(line).map_err(|error| csv_error(error, self.files))?;
            open.at = end;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ShardError> {
        let Some(OlmoPart { tokens, mask, documents, at }) = self.open.take() else { return Ok(()) };
        let failed = |error| ShardError::io(self.files.root(), "writing a list of documents")(error);
        let documents = documents.into_inner().map_err(|error| failed(error.into_error()))?;
        let documents = documents.finish().map_err(failed)?;
        self.done.push(tokens.finish(&format!("token ids, {}, raw", self.token_type.name()))?);
        self.done.push(documents.finish("the documents' start, end, id, shard and row")?);
        self.done.push(mask.finish(MASK)?);
        self.written += at;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        Ok((self.done, self.written))
    }
}

fn csv_error(error: csv::Error, files: &StagedFiles) -> ShardError {
    let source = match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => std::io::Error::other(format!("{kind:?}")),
    };
    ShardError::io(files.root(), "writing a list of documents")(source)
}

/// Three files a shard.
pub(super) struct Datatrove<'f> {
    files: &'f StagedFiles,
    token_type: TokenType,
    open: Option<DatatrovePart>,
    done: Vec<SetFile>,
    written: u64,
    bytes: Vec<u8>,
}

struct DatatrovePart {
    tokens: StagedFile,
    ends: StagedFile,
    loss: StagedFile,
    /// Tokens so far.
    at: u64,
}

impl<'f> Datatrove<'f> {
    pub(super) fn new(files: &'f StagedFiles, token_type: TokenType) -> Self {
        let (open, done, written, bytes) = (None, Vec::new(), 0, Vec::new());
        Self { files, token_type, open, done, written, bytes }
    }
}

impl Exporter for Datatrove<'_> {
    fn begin(&mut self, index: usize, _shard: &ShardEntry) -> Result<(), ShardError> {
        let file = |ending: &str| self.files.create(&format!("{index:05}_goldfish.ds{ending}"));
        let (tokens, ends, loss) = (file("")?, file(".index")?, file(".loss")?);
        self.open = Some(DatatrovePart { tokens, ends, loss, at: 0 });
        Ok(())
    }

    fn write(&mut self, batch: &ShardBatch, shard: &str, row: u64) -> Result<(), ShardError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        for document in documents(batch, shard, row) {
            self.bytes.clear();
            self.token_type
                .encode(document.ids, &mut self.bytes)
                .map_err(|position| does_not_fit(&document, position, self.token_type))?;
            open.tokens.put(&self.bytes)?;
            open.loss.put(document.mask)?;
            open.at += document.ids.len() as u64;
            open.ends.put(&open.at.to_le_bytes())?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ShardError> {
        let Some(DatatrovePart { tokens, ends, loss, at }) = self.open.take() else { return Ok(()) };
        self.done.push(tokens.finish(&format!("token ids, {}, raw", self.token_type.name()))?);
        self.done.push(ends.finish("ends of the documents in tokens, uint64")?);
        self.done.push(loss.finish(MASK)?);
        self.written += at;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        Ok((self.done, self.written))
    }
}
