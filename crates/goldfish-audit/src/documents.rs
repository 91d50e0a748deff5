//! Documents of token ids, from `goldfish mask` folders and from any other file that holds ids.

use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, UInt8Type};
use goldfish_corpus::{BatchContent, Content, Input, Part, ReadOptions, resolve};
use goldfish_shard::{MANIFEST_NAME, Manifest, OutputFormat, ShardReader};

use crate::error::AuditError;

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

/// Which columns to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentOptions {
    /// Column with the tokens, in files other than shards.
    pub ids_column: String,
    /// Column with the documents' ids, in files other than shards; without it a document is called `FILE:ROW`.
    pub id_column: Option<String>,
    /// Column with a loss mask, in files other than shards.
    pub mask_column: Option<String>,
    /// Column whose values become the documents' strata.
    pub by: Option<String>,
    /// Column whose values say which documents depend on each other, such as the book of a chapter.
    pub cluster: Option<String>,
}

impl Default for DocumentOptions {
    fn default() -> Self {
        Self { ids_column: "input_ids".into(), id_column: None, mask_column: None, by: None, cluster: None }
    }
}

/// Files of documents, which can be read any number of times.
#[derive(Debug)]
pub struct Documents {
    files: Vec<DocumentFile>,
    options: DocumentOptions,
}

#[derive(Debug)]
enum DocumentFile {
    Shard(PathBuf, OutputFormat),
    Other(Input),
}

/// What [`Documents::for_each`] calls.
pub type Visitor<'v> = dyn FnMut(Document<'_>) -> Result<(), AuditError> + 'v;

impl Documents {
    /// Finds the files that arguments name: folders that `goldfish mask` wrote, and files, folders or globs with
    /// token ids in any of the source formats.
    ///
    /// # Errors
    ///
    /// If an argument names nothing that can be read.
    pub fn find(arguments: &[String], options: DocumentOptions) -> Result<Self, AuditError> {
        let mut files = Vec::new();
        for argument in arguments {
            let folder = PathBuf::from(argument);
            if goldfish_storage::is_taken(&folder.join(MANIFEST_NAME)) {
                let manifest = Manifest::read(&folder)?;
                let format = manifest.output.format;
                files.extend(
                    manifest.shards.iter().map(|s| DocumentFile::Shard(folder.join(&s.name), format)),
                );
            } else {
                let inputs = resolve(std::slice::from_ref(argument), None)?.inputs;
                files.extend(inputs.into_iter().map(DocumentFile::Other));
            }
        }
        Ok(Self { files, options })
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
                DocumentFile::Other(input) => walk.other(input)?,
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
            let strata = match &self.options.by {
                Some(name) => Some(strings(path, name, batch.record_batch().column_by_name(name))?),
                None => None,
            };
            let clusters = match &self.options.cluster {
                Some(name) => Some(strings(path, name, batch.record_batch().column_by_name(name))?),
                None => None,
            };
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

    fn other(&mut self, input: &Input) -> Result<(), AuditError> {
        let mut options = ReadOptions::new(Content::Ids { column: self.options.ids_column.clone() });
        options.id_column.clone_from(&self.options.id_column);
        for name in [&self.options.mask_column, &self.options.by, &self.options.cluster].into_iter().flatten()
        {
            if !options.carry.contains(name) {
                options.carry.push(name.clone());
            }
        }
        let mut source = input.open(&options, Part::WHOLE)?;
        while let Some(chunk) = source.next_chunk()? {
            let batch = chunk.documents(&options)?;
            if let Some(reject) = batch.rejects.into_iter().next() {
                return Err(AuditError::BadRow {
                    file: reject.file,
                    row: reject.row,
                    reason: reject.reason,
                    remedies: reject.remedies,
                });
            }
            let BatchContent::Ids { offsets, ids } = &batch.content else { continue };
            let carried = |name: &String| {
                let at = options.carry.iter().position(|carried| carried == name);
                at.and_then(|at| batch.carried.get(at))
            };
            let masks = match &self.options.mask_column {
                Some(name) => Some(masks(&input.path, name, carried(name))?),
                None => None,
            };
            let strata = match &self.options.by {
                Some(name) => Some(strings(&input.path, name, carried(name))?),
                None => None,
            };
            let clusters = match &self.options.cluster {
                Some(name) => Some(strings(&input.path, name, carried(name))?),
                None => None,
            };
            for (i, row) in batch.rows.iter().enumerate() {
                let range = offsets[i] as usize..offsets[i + 1] as usize;
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
