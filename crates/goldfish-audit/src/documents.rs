//! Documents as token ids, from `goldfish mask` folders and from any other file that holds ids or raw text.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, UInt8Type};
use goldfish_corpus::{
    BatchContent, Content, CorpusError, DEFAULT_MAX_DOCUMENT, DocumentBatch, Format, IdType, Input, Part,
    ReadOptions, resolve,
};
use goldfish_remedy::{Remedy, Setting};
use goldfish_shard::{MANIFEST_NAME, Manifest, OutputFormat, ShardReader};

use crate::backend::TextTokenizer;
use crate::error::AuditError;

/// Column of token ids unless another is named.
const IDS_COLUMN: &str = "input_ids";

/// Column of raw text unless another is named.
const TEXT_COLUMN: &str = "text";

/// One document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its id in the corpus.
    pub id: &'a str,
    /// Its position in the corpus, from 0.
    pub number: u64,
    /// Its tokens.
    pub ids: &'a [u32],
    /// One value a token, 1 kept and 0 dropped, where the corpus has masks.
    pub mask: Option<&'a [u8]>,
    /// Its stratum: the value of the column to stratify by, empty without one.
    pub stratum: &'a str,
    /// The value of the column of clusters; where it is empty, the document is a cluster of its own.
    pub cluster: &'a str,
}

/// A tokenizer for raw text.
#[derive(Clone)]
pub struct Encoder(pub Arc<dyn TextTokenizer>);

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

/// How documents are read.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// What files other than shards hold. If absent, each is looked at: token ids if it has them under the usual name, raw text
    /// if it has that. Memmaps hold ids in any case.
    pub content: Option<Content>,
    /// The tokenizer for raw text.
    pub encoder: Option<Encoder>,
    /// Format of files other than shards; by their names if absent.
    pub format: Option<Format>,
    /// Id type of headerless memmaps; by their sizes if absent.
    pub id_type: Option<IdType>,
    /// The id that ends a document in a headerless memmap.
    pub eos_id: Option<u32>,
    /// Largest document in bytes, in files other than shards.
    pub max_document: usize,
    /// Column with the documents' ids, in files other than shards; without it a document is called `FILE:ROW`.
    pub id_column: Option<String>,
    /// Column with a loss mask, in files with token ids other than shards.
    pub mask_column: Option<String>,
    /// Column whose values become the documents' strata.
    pub by: Option<String>,
    /// Column whose values say which documents depend on each other, such as the book of a chapter.
    pub cluster: Option<String>,
}

impl Default for DocumentOptions {
    fn default() -> Self {
        Self {
            content: None,
            encoder: None,
            format: None,
            id_type: None,
            eos_id: None,
            max_document: DEFAULT_MAX_DOCUMENT,
            id_column: None,
            mask_column: None,
            by: None,
            cluster: None,
        }
    }
}

impl DocumentOptions {
    /// What to read of files with this content, and no column besides.
    fn read(&self, content: Content) -> ReadOptions {
        ReadOptions {
            id_type: self.id_type,
            eos_id: self.eos_id,
            max_document: self.max_document,
            // An audit asks about tokens, whether or not they were in the loss.
            refuse_masks: false,
            ..ReadOptions::new(content)
        }
    }

    /// What a file holds.
    fn content_of(&self, input: &Input) -> Result<Content, AuditError> {
        let ids = || Content::Ids { column: IDS_COLUMN.into() };
        let text = || Content::Text { column: TEXT_COLUMN.into() };
        let content = match &self.content {
            Some(Content::Ids { column }) => Content::Ids { column: column.clone() },
            _ if input.format.is_memmap() => ids(),
            Some(Content::Text { column }) => Content::Text { column: column.clone() },
            None if self.holds(input, ids())? || !self.holds(input, text())? => ids(),
            None => text(),
        };
        if matches!(content, Content::Text { .. }) && self.encoder.is_none() {
            return Err(AuditError::TextWithoutTokenizer { path: input.path.to_path_buf() });
        }
        Ok(content)
    }

    /// Whether the first documents of a file have this content.
    fn holds(&self, input: &Input, content: Content) -> Result<bool, AuditError> {
        let options = self.read(content);
        let mut source = match input.open(&options, Part::WHOLE) {
            Err(CorpusError::NoIds { .. } | CorpusError::NoColumn { .. }) => return Ok(false),
            opened => opened?,
        };
        let Some(chunk) = source.next_chunk()? else { return Ok(true) };
        let batch = chunk.documents(&options)?;
        Ok(!batch.is_empty() || batch.rejects.is_empty())
    }
}

/// What an argument turned out to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named {
    /// Token ids, in shards or in other files.
    pub ids: bool,
    /// Raw text.
    pub text: bool,
}

/// Files of documents, which can be read any number of times.
#[derive(Debug)]
pub struct Documents {
    files: Vec<DocumentFile>,
    named: Vec<Named>,
    options: DocumentOptions,
}

#[derive(Debug)]
enum DocumentFile {
    Shard(PathBuf, OutputFormat),
    Other(Input, Content),
}

/// What [`Documents::for_each`] calls.
pub type Visitor<'v> = dyn FnMut(Document<'_>) -> Result<(), AuditError> + 'v;

impl Documents {
    /// Finds the files that arguments name: folders that `goldfish mask` wrote, and files, folders or globs with
    /// token ids or raw text in any of the source formats.
    ///
    /// # Errors
    ///
    /// If an argument names nothing that can be read, or raw text and there is no tokenizer for it.
    pub fn find(arguments: &[String], options: DocumentOptions) -> Result<Self, AuditError> {
        let (mut files, mut all_named) = (Vec::new(), Vec::new());
        for argument in arguments {
            let mut named = Named::default();
            let folder = PathBuf::from(argument);
            if goldfish_storage::is_taken(&folder.join(MANIFEST_NAME)) {
                let manifest = Manifest::read(&folder)?;
                let format = manifest.output.format;
                files.extend(
                    manifest.shards.iter().map(|s| DocumentFile::Shard(folder.join(&s.name), format)),
                );
                named.ids = true;
            } else {
                for input in resolve(std::slice::from_ref(argument), options.format)?.inputs {
                    let content = options.content_of(&input)?;
                    let is_text = matches!(content, Content::Text { .. });
                    *(if is_text { &mut named.text } else { &mut named.ids }) = true;
                    files.push(DocumentFile::Other(input, content));
                }
            }
            all_named.push(named);
        }
        Ok(Self { files, named: all_named, options })
    }

    /// What each argument names, in their order.
    #[must_use]
    pub fn named(&self) -> &[Named] {
        &self.named
    }

    /// Shows every document in order; returns how many there are.
    ///
    /// # Errors
    ///
    /// If a file can't be read, a row of it is no document, or `visit` fails.
    pub fn for_each(&self, visit: &mut Visitor<'_>) -> Result<u64, AuditError> {
        let mut walk = Walk { options: &self.options, number: 0, ids: Vec::new(), visit };
        for file in &self.files {
            match file {
                DocumentFile::Shard(path, format) => walk.shard(path, *format)?,
                DocumentFile::Other(input, content) => walk.other(input, content)?,
            }
        }
        Ok(walk.number)
    }
}

struct Walk<'a, 'v> {
    options: &'a DocumentOptions,
    number: u64,
    ids: Vec<u32>,
    visit: &'a mut Visitor<'v>,
}

impl Walk<'_, '_> {
    fn shard(&mut self, path: &std::path::Path, format: OutputFormat) -> Result<(), AuditError> {
        let mut row = 0;
        for batch in ShardReader::open(path, format)? {
            let batch = batch?;
            let columns = batch.record_batch();
            let column = |name: &String| strings(path, name, columns.column_by_name(name));
            let strata = self.options.by.as_ref().map(column).transpose()?;
            let clusters = self.options.cluster.as_ref().map(column).transpose()?;
            for i in 0..batch.len() {
                let stratum = strata.as_ref().map_or("", |column| value(column, i));
                let cluster = clusters.as_ref().map_or("", |column| value(column, i));
                let file = || path.display().to_string();
                self.document(
                    &file,
                    row,
                    batch.doc_ids().value(i),
                    batch.ids(i),
                    Some(batch.mask(i)),
                    (stratum, cluster),
                )?;
                row += 1;
            }
        }
        Ok(())
    }

    fn other(&mut self, input: &Input, content: &Content) -> Result<(), AuditError> {
        let mut options = self.options.read(content.clone());
        options.id_column.clone_from(&self.options.id_column);
        for name in [&self.options.mask_column, &self.options.by, &self.options.cluster].into_iter().flatten()
        {
            if !options.carry.contains(name) {
                options.carry.push(name.clone());
            }
        }
        let mut source = input.open(&options, Part::WHOLE)?;
        while let Some(chunk) = source.next_chunk()? {
            let mut batch = chunk.documents(&options)?;
            if let Some(reject) = batch.rejects.drain(..).next() {
                return Err(AuditError::BadRow {
                    file: reject.file,
                    row: reject.row,
                    reason: reject.reason,
                    remedies: reject.remedies,
                });
            }
            let (offsets, ids) = self.tokens(input, &batch)?;
            let carried = |name: &String| {
                let at = options.carry.iter().position(|carried| carried == name);
                at.and_then(|at| batch.carried.get(at))
            };
            let masks = match &self.options.mask_column {
                Some(name) => Some(masks(&input.path, name, carried(name))?),
                None => None,
            };
            let column = |name: &String| strings(&input.path, name, carried(name));
            let strata = self.options.by.as_ref().map(column).transpose()?;
            let clusters = self.options.cluster.as_ref().map(column).transpose()?;
            for (i, row) in batch.rows.iter().enumerate() {
                let range = offsets[i]..offsets[i + 1];
                let mask = masks.as_ref().map(|column| column.as_list::<i32>().value(i));
                let mask = mask.as_ref().map(|values| &**values.as_primitive::<UInt8Type>().values());
                let stratum = strata.as_ref().map_or("", |column| value(column, i));
                let cluster = clusters.as_ref().map_or("", |column| value(column, i));
                let file = || input.name.to_string();
                let (id, ids) = (batch.doc_ids.value(i), &ids[range]);
                self.document(&file, *row, id, ids, mask, (stratum, cluster))?;
            }
        }
        Ok(())
    }

    /// The ends of the documents, in tokens, and the tokens.
    fn tokens<'b>(
        &self,
        input: &Input,
        batch: &'b DocumentBatch,
    ) -> Result<(Vec<usize>, Cow<'b, [i32]>), AuditError> {
        let texts = match &batch.content {
            BatchContent::Ids { offsets, ids } => {
                return Ok((offsets.iter().map(|end| *end as usize).collect(), Cow::Borrowed(ids)));
            }
            BatchContent::Text(texts) => texts,
        };
        let Some(Encoder(encoder)) = &self.options.encoder else {
            return Err(AuditError::TextWithoutTokenizer { path: input.path.to_path_buf() });
        };
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        for (i, row) in batch.rows.iter().enumerate() {
            let text = texts.value(i);
            let bad = |reason, remedies| AuditError::BadRow {
                file: input.name.to_string(),
                row: *row,
                reason,
                remedies,
            };
            if text.len() > self.options.max_document {
                let (bytes, most) = (text.len(), self.options.max_document);
                let reason = format!("the document has {bytes} bytes, more than {most}; split it");
                let remedy = Remedy::give(Setting::MaxDocument).to("read it whole");
                return Err(bad(reason, vec![remedy]));
            }
            let encoded = encoder.encode(text).map_err(|error| bad(error.to_string(), Vec::new()))?;
            // Tokenizers have fewer ids than an `i32` has values.
            ids.extend(encoded.into_iter().map(|id| id as i32));
            offsets.push(ids.len());
        }
        Ok((offsets, ids.into()))
    }

    fn document(
        &mut self,
        file: &dyn Fn() -> String,
        row: u64,
        id: &str,
        ids: &[i32],
        mask: Option<&[u8]>,
        (stratum, cluster): (&str, &str),
    ) -> Result<(), AuditError> {
        let bad = |reason| AuditError::BadRow { file: file(), row, reason, remedies: Vec::new() };
        self.ids.clear();
        for (position, id) in ids.iter().enumerate() {
            let id = u32::try_from(*id);
            self.ids.push(id.map_err(|_| bad(format!("the token id at position {position} is negative")))?);
        }
        if let Some(mask) = mask {
            if mask.len() != ids.len() {
                return Err(bad(format!("{} tokens, but {} mask values", ids.len(), mask.len())));
            }
            if let Some(other) = mask.iter().find(|m| **m > 1) {
                return Err(bad(format!("the mask holds {other}; only 0 (dropped) and 1 (kept) may occur")));
            }
        }
        let number = self.number;
        self.number += 1;
        (self.visit)(Document { id, number, ids: &self.ids, mask, stratum, cluster })
    }
}

fn missing(path: &std::path::Path, name: &str) -> AuditError {
    AuditError::MissingColumn { path: path.to_owned(), column: name.to_owned() }
}

fn strings(path: &std::path::Path, name: &str, column: Option<&ArrayRef>) -> Result<ArrayRef, AuditError> {
    let column = column.ok_or_else(|| missing(path, name))?;
    cast(column, &DataType::Utf8).map_err(|_| AuditError::ColumnType {
        path: path.to_owned(),
        column: name.to_owned(),
        found: column.data_type().to_string(),
        expected: "strings or numbers",
    })
}

fn value(column: &ArrayRef, row: usize) -> &str {
    let column = column.as_string::<i32>();
    if column.is_null(row) { "" } else { column.value(row) }
}

/// A column of lists as lists of bytes; a null row is an empty list.
fn masks(path: &std::path::Path, name: &str, column: Option<&ArrayRef>) -> Result<ArrayRef, AuditError> {
    let column = column.ok_or_else(|| missing(path, name))?;
    let bad = |found: String| AuditError::ColumnType {
        path: path.to_owned(),
        column: name.to_owned(),
        found,
        expected: "lists of 0 and 1 without nulls",
    };
    let lists = DataType::List(Field::new_list_field(DataType::UInt8, true).into());
    let lists = cast(column, &lists).map_err(|_| bad(column.data_type().to_string()))?;
    if lists.as_list::<i32>().values().null_count() > 0 {
        return Err(bad("a list with nulls, or with values outside 0..256".into()));
    }
    Ok(lists)
}
