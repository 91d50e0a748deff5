//! JSON objects as documents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringBuilder, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use goldfish_remedy::{Remedy, Setting};
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use crate::batch::{BatchContent, DocumentBatch, split_columns};
use crate::error::CorpusError;
use crate::existing::append_weights;
use crate::file::Decompressed;
use crate::head::Head;
use crate::input::Input;
use crate::json_row::{RowContent, RowSeed, without_place};
use crate::non_finite;
use crate::options::{CHUNK_BYTES, Content, ReadOptions};
use crate::paths::{find, inside};
use crate::reject::{Reject, RowError};

/// Objects that are looked at before anything is read.
const HEAD_ROWS: usize = 1000;

/// Documents in JSON objects.
pub(crate) struct ObjectBatch<'a> {
    name: &'a str,
    /// What holds an object: a line, or the object itself.
    holder: &'static str,
    options: &'a ReadOptions,
    rows: Vec<u64>,
    doc_ids: StringBuilder,
    text: LargeStringBuilder,
    lengths: Vec<usize>,
    ids: Vec<i32>,
    weights: Vec<f32>,
    /// Carried columns, then conditions.
    columns: Vec<StringBuilder>,
    rejects: Vec<Reject>,
    /// A column that seems to hold masks, though no option names it.
    unnamed_mask: Option<&'static str>,
}

impl<'a> ObjectBatch<'a> {
    /// No documents yet, of an input of this name.
    pub(crate) fn new((name, holder): (&'a str, &'static str), options: &'a ReadOptions) -> Self {
        Self {
            name,
            holder,
            options,
            rows: Vec::new(),
            doc_ids: StringBuilder::new(),
            text: LargeStringBuilder::new(),
            lengths: Vec::new(),
            ids: Vec::new(),
            weights: Vec::new(),
            columns: options.columns().map(|_| StringBuilder::new()).collect(),
            rejects: Vec::new(),
            unnamed_mask: None,
        }
    }

    /// Appends the document in an object, which starts at an offset of the decompressed file, or a reject.
    ///
    /// # Errors
    ///
    /// If a column seems to hold masks, though no option names it.
    pub(crate) fn add(
        &mut self,
        path: &Path,
        (row, offset): (u64, u64),
        object: &[u8],
    ) -> Result<(), CorpusError> {
        if let Err(mut error) = self.add_object(row, object) {
            // Editors count from 1.
            error.reason.insert_str(0, &format!("{} {}: ", self.holder, row + 1));
            self.rejects.push(error.reject(self.name, row, Some(offset)));
        }
        match self.unnamed_mask {
            Some(column) => Err(CorpusError::UnnamedMask { path: path.to_owned(), column: column.into() }),
            None => Ok(()),
        }
    }

    /// Appends one object's document, or returns what is wrong with it and appends nothing.
    fn add_object(&mut self, row: u64, line: &[u8]) -> Result<(), RowError> {
        let longest = self.options.max_bytes();
        if line.len() > longest {
            return Err(RowError::too_long(&format!("{} bytes, more than {longest}", line.len())));
        }
        let text = std::str::from_utf8(line)
            .map_err(|e| format!("not UTF-8 at byte {} of the {}", e.valid_up_to(), self.holder))?;
        let (first_id, first_weight) = (self.ids.len(), self.weights.len());
        let mut result = self.add_text(row, text);
        if result.is_err()
            && let Some(finite) = non_finite::zeroed(text, |column| self.reads(column)).transpose()
        {
            self.ids.truncate(first_id);
            self.weights.truncate(first_weight);
            result = finite.map_err(RowError::from).and_then(|text| self.add_text(row, &text));
        }
        if result.is_err() {
            self.ids.truncate(first_id);
            self.weights.truncate(first_weight);
        }
        result
    }

    /// Whether anything comes from this column.
    fn reads(&self, column: &str) -> bool {
        let ReadOptions { content, id_column, existing, .. } = self.options;
        inside(content.column(), column).is_some()
            || id_column.as_deref().is_some_and(|path| inside(path, column).is_some())
            || existing.column() == Some(column)
            || self.options.columns().any(|path| inside(path, column).is_some())
    }

    fn add_text(&mut self, row: u64, line: &str) -> Result<(), RowError> {
        let first_id = self.ids.len();
        let seed = RowSeed { options: self.options, ids: &mut self.ids };
        let mut json = serde_json::Deserializer::from_str(line);
        let parsed = seed.deserialize(&mut json).and_then(|parsed| json.end().map(|()| parsed));
        let parsed = parsed.map_err(|e| explain(&e, self.holder))?;
        self.unnamed_mask = self.unnamed_mask.or(parsed.unnamed_mask);

        let (column, holder) = (self.options.content.column(), self.holder);
        let missing = || {
            let remedies = match self.options.content {
                Content::Text { .. } => vec![Remedy::change(Setting::TextColumn)],
                Content::Ids { .. } => vec![
                    Remedy::give(Setting::Tokenizer).to("read raw text"),
                    Remedy::give(Setting::IdsColumn).to("read ids under another name"),
                ],
            };
            let reason = format!("no {column:?} in this {holder}; its keys are {}", parsed.keys(line));
            RowError::new(reason, remedies)
        };
        let text = match &parsed.content {
            RowContent::Missing => return Err(missing()),
            RowContent::Null => return Err(RowError::null(column)),
            RowContent::Text(text) => text,
            RowContent::Ids => "",
        };
        let doc_id = match (&self.options.id_column, parsed.id) {
            (None, _) => None,
            (Some(name), None) => {
                return Err(format!("no {name:?} for the document's id in this {holder}").into());
            }
            (Some(name), Some(raw)) => Some(scalar(raw).ok_or_else(|| {
                format!("the document's id ({name:?}) is {}, not a string or an integer", shorten(raw.get()))
            })?),
        };
        if let Some(name) = self.options.existing.column() {
            let Some(values) = &parsed.existing else {
                let reason = format!("no {name:?} in this {holder}; its keys are {}", parsed.keys(line));
                return Err(reason.into());
            };
            append_weights(&self.options.existing, values, &self.ids[first_id..], &mut self.weights)?;
        }
        // Nothing fails after this.
        self.rows.push(row);
        match doc_id {
            Some(id) => self.doc_ids.append_value(id),
            None => {
                use fmt::Write;
                let _ = write!(self.doc_ids, "{}:{row}", self.name);
                self.doc_ids.append_value("");
            }
        }
        match self.options.content {
            Content::Text { .. } => self.text.append_value(text),
            Content::Ids { .. } => self.lengths.push(self.ids.len() - first_id),
        }
        for ((builder, name), raw) in self.columns.iter_mut().zip(self.options.columns()).zip(parsed.columns)
        {
            match raw {
                _ if name == column => builder.append_value(text),
                Some(raw) if raw.get() == "null" => builder.append_null(),
                Some(raw) => {
                    builder.append_value(serde_json::from_str(raw.get()).unwrap_or(Cow::Borrowed(raw.get())));
                }
                None => builder.append_null(),
            }
        }
        Ok(())
    }

    /// The documents so far.
    pub(crate) fn finish(mut self) -> DocumentBatch {
        let content = match self.options.content {
            Content::Text { .. } => BatchContent::Text(self.text.finish()),
            Content::Ids { .. } => {
                BatchContent::Ids { offsets: OffsetBuffer::from_lengths(self.lengths), ids: self.ids.into() }
            }
        };
        let columns = self.columns.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef).collect();
        let (carried, conditions) = split_columns(columns, self.options);
        DocumentBatch {
            rows: self.rows,
            doc_ids: self.doc_ids.finish(),
            content,
            weights: self.options.existing.column().map(|_| self.weights),
            carried,
            conditions,
            rejects: self.rejects,
        }
    }
}

/// The fields of carried columns, which come as text.
pub(crate) fn carried_fields(options: &ReadOptions) -> Vec<FieldRef> {
    let field = |name: &String| Arc::new(Field::new(name, DataType::Utf8, true));
    options.carry.iter().map(field).collect()
}

/// What the first objects of a file have, in whose first bytes `split` finds them. What is malformed is reported when it is read.
pub(crate) fn head_of_objects(
    input: &Input,
    paths: &[&str],
    split: fn(&[u8]) -> Vec<&[u8]>,
) -> Result<Head, CorpusError> {
    let mut bytes = Vec::new();
    let file = Decompressed::open(&input.path, input.format.name())?;
    let read = file.take(CHUNK_BYTES as u64).read_to_end(&mut bytes);
    read.map_err(CorpusError::io(&input.path, "reading"))?;
    let mut head = Head { has: vec![false; paths.len()], ..Head::default() };
    split(&bytes).into_iter().take(HEAD_ROWS).for_each(|object| add_object(&mut head, object, paths));
    Ok(head)
}

/// Adds the keys of an object, and which of some paths it has. What is malformed or cut off is no object.
fn add_object(head: &mut Head, json: &[u8], paths: &[&str]) {
    let Ok(row) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(json) else { return };
    head.rows += 1;
    for (has, path) in head.has.iter_mut().zip(paths) {
        let is_in = |key: &str, value| inside(path, key).is_some_and(|rest| find(value, rest).is_some());
        *has = *has || row.iter().any(|(key, value)| is_in(key, value));
    }
    head.columns.extend(row.into_keys().map(Cow::into_owned));
}

/// A string's contents or an integer's digits.
fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => Some(text),
        Err(_) => raw.get().parse::<i128>().is_ok().then_some(Cow::Borrowed(raw.get())),
    }
}

fn shorten(json: &str) -> String {
    let mut short: String = json.chars().take(40).collect();
    if short.len() < json.len() {
        short.push('…');
    }
    short
}

/// serde's message, with the place in the line or object that was read alone.
fn explain(error: &serde_json::Error, holder: &str) -> String {
    let message = without_place(error);
    // serde_json's message for `\\ud83d` without its other half.
    let surrogate = message.contains("hex escape") || message.contains("surrogate");
    let hint = if surrogate { " (half of a surrogate pair is not a character)" } else { "" };
    match error.line() {
        0 | 1 => format!("{message}{hint}, at byte {} of the {holder}", error.column()),
        line => format!("{message}{hint}, at byte {} of line {line} of the {holder}", error.column()),
    }
}
