//! One JSON object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringBuilder, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use memchr::{memchr, memchr_iter, memrchr};
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use goldfish_digest::FileDigest;
use goldfish_remedy::{Remedy, Setting};

use crate::batch::{BatchContent, DocumentBatch, split_columns};
use crate::error::CorpusError;
use crate::existing::append_weights;
use crate::file::{Decompressed, is_compressed};
use crate::head::Head;
use crate::input::{FormatTable, Input};
use crate::json_row::{RowSeed, without_place};
use crate::non_finite;
use crate::options::{CHUNK_BYTES, Content, ReadOptions};
use crate::paths::{find, inside};
use crate::reject::{Reject, RowError};
use crate::source::{Chunk, Part, Source};

const NAME: &str = "jsonl";

pub(super) static FORMAT: FormatTable = FormatTable {
    compressed_endings: &[".jsonl", ".ndjson", ".json"],
    is_divisible: |path| Ok(!is_compressed(path)),
    head: Some(head),
    ..FormatTable::new(NAME, "One JSON object a line", &[".jsonl", ".ndjson"], |input, options, part| {
        Ok(Box::new(JsonlSource::open(input, options, part)?))
    })
};

/// Lines that are looked at before anything is read.
const HEAD_ROWS: usize = 1000;

/// Bytes that are read at once where lines are only counted.
const SKIP_BYTES: usize = 1 << 20;

struct JsonlSource {
    input: Input,
    name: Arc<str>,
    file: Decompressed,
    part: Part,
    carried: Vec<FieldRef>,
    /// Longest line, in bytes.
    longest: usize,
    /// The start of a line whose end was not read yet.
    rest: Vec<u8>,
    at_end: bool,
    /// Why reading stopped; reported after the whole lines before that were returned.
    failed: Option<CorpusError>,
    line: u64,
    offset: u64,
}

impl JsonlSource {
    fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let field = |name: &String| Arc::new(Field::new(name, DataType::Utf8, true));
        let file = Decompressed::open(&input.path, NAME)?;
        let part = match (&file, part.contains(0)) {
            (Decompressed::Plain(_), _) => part,
            (_, true) => Part::WHOLE,
            (_, false) => Part { start: 0, end: 0 },
        };
        let mut source = Self {
            input: input.clone(),
            name: input.name.clone(),
            file,
            part,
            carried: options.carry.iter().map(field).collect(),
            longest: options.max_bytes(),
            rest: Vec::new(),
            at_end: false,
            failed: None,
            line: 0,
            offset: 0,
        };
        source.skip_lines_before(part.start)?;
        Ok(source)
    }

    /// Counts and skips the lines that start before a byte of the file.
    fn skip_lines_before(&mut self, start: u64) -> Result<(), CorpusError> {
        let Some(end_before) = start.checked_sub(1) else { return Ok(()) };
        let mut block = Vec::with_capacity(SKIP_BYTES);
        let mut line_open = false;
        loop {
            // Whole blocks, so that the rest of the last one depends on the file alone.
            block.clear();
            let part = (&mut self.file).take(SKIP_BYTES as u64).read_to_end(&mut block);
            let read = part.map_err(CorpusError::io(&self.input.path, "reading"))?;
            if read == 0 {
                self.at_end = true;
                break;
            }
            // A line starts at `start` or after it if one ends at the byte before or later.
            let before =
                usize::try_from(end_before.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(read);
            let newline = memchr(b'\n', &block[before..read]);
            let skipped = newline.map_or(read, |newline| before + newline + 1);
            self.line += memchr_iter(b'\n', &block[..skipped]).count() as u64;
            self.offset += skipped as u64;
            if newline.is_some() {
                self.rest = block[skipped..read].to_vec();
                return Ok(());
            }
            line_open = block[read - 1] != b'\n';
        }
        self.line += u64::from(line_open);
        Ok(())
    }

    /// Reads until `bytes` holds `target` bytes or the file ends. Where chunks end then depends on the
    /// file alone, not on how much a single read returns.
    fn fill(&mut self, bytes: &mut Vec<u8>, target: usize) {
        let mut filled = bytes.len();
        if bytes.try_reserve_exact(target.saturating_sub(filled)).is_err() {
            let reason = format!("no memory for line {}, of {target} bytes or more; split it", self.line + 1);
            self.failed = Some(self.input.malformed(reason));
            return;
        }
        bytes.resize(target.max(filled), 0);
        while filled < bytes.len() {
            match self.file.read(&mut bytes[filled..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = self.offset + filled as u64;
                    let line = self.line + memchr_iter(b'\n', &bytes[..filled]).count() as u64 + 1;
                    let reason = format!("{error}, after byte {offset} of the text, in line {line}");
                    self.failed = Some(self.file.file().error(NAME, reason));
                    break;
                }
            }
        }
        bytes.truncate(filled);
    }
}

impl Source for JsonlSource {
    fn carried(&self) -> &[FieldRef] {
        &self.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        let Some(left) = self.part.end.checked_sub(self.offset).filter(|&left| left > 0) else {
            return Ok(None);
        };
        let mut bytes = std::mem::take(&mut self.rest);
        let mut searched = 0;
        let mut end = loop {
            if !self.at_end && self.failed.is_none() {
                // A long line is read in growing steps, and searched once.
                let target = CHUNK_BYTES.max(bytes.len() + bytes.len() / 2);
                self.fill(&mut bytes, target);
            }
            if self.at_end {
                break bytes.len();
            } else if let Some(newline) = memrchr(b'\n', &bytes[searched..]) {
                break searched + newline + 1;
            } else if let Some(error) = self.failed.take() {
                return Err(error);
            } else if bytes.len() > self.longest {
                let reason = format!("line {} is longer than {} bytes", self.line + 1, self.longest);
                return Err(self.input.unreadable_document(RowError::too_long(&reason)));
            }
            searched = bytes.len();
        };
        if end == 0 {
            return Ok(None);
        }
        if let Some(last) = usize::try_from(left - 1).ok().filter(|&last| last < end) {
            // The line that holds the part's last byte is its last one.
            end = memchr(b'\n', &bytes[last..end]).map_or(end, |newline| last + newline + 1);
        }
        self.rest = bytes[end..].to_vec();
        bytes.truncate(end);
        let (path, name) = (self.input.path.clone(), self.name.clone());
        let chunk = LineChunk { path, name, first_line: self.line, offset: self.offset, bytes };
        let lines = memchr_iter(b'\n', &chunk.bytes).count() as u64;
        self.line += lines + u64::from(chunk.bytes.last() != Some(&b'\n'));
        self.offset += end as u64;
        Ok(Some(Box::new(chunk)))
    }

    fn row(&self) -> u64 {
        self.line
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        vec![self.file.file().read_so_far()]
    }

    fn position(&self) -> u64 {
        self.file.file().position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        Ok(vec![self.file.finish()?])
    }
}

#[derive(Debug)]
struct LineChunk {
    path: Arc<Path>,
    name: Arc<str>,
    first_line: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Chunk for LineChunk {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn documents(self: Box<Self>, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let mut batch = BatchBuilder::new(&self.name, options);
        let mut offset = self.offset;
        for (row, line) in (self.first_line..).zip(self.bytes.split_inclusive(|&b| b == b'\n')) {
            let text = if row == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
            let text = text.trim_ascii_end();
            if !text.is_empty()
                && let Err(mut error) = batch.add(row, text)
            {
                // Editors count lines from 1.
                error.reason.insert_str(0, &format!("line {}: ", row + 1));
                batch.rejects.push(error.reject(&self.name, row, Some(offset)));
            }
            if let Some(column) = batch.unnamed_mask {
                return Err(CorpusError::UnnamedMask {
                    path: self.path.to_path_buf(),
                    column: column.into(),
                });
            }
            offset += line.len() as u64;
        }
        Ok(batch.finish())
    }
}

struct BatchBuilder<'a> {
    name: &'a str,
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

impl<'a> BatchBuilder<'a> {
    fn new(name: &'a str, options: &'a ReadOptions) -> Self {
        Self {
            name,
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

    /// Appends one line's document, or returns what is wrong with it and appends nothing.
    fn add(&mut self, row: u64, line: &[u8]) -> Result<(), RowError> {
        let longest = self.options.max_bytes();
        if line.len() > longest {
            return Err(RowError::too_long(&format!("{} bytes, more than {longest}", line.len())));
        }
        let text = std::str::from_utf8(line)
            .map_err(|e| format!("not UTF-8 at byte {} of the line", e.valid_up_to()))?;
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
        column == content.column()
            || id_column.as_deref() == Some(column)
            || existing.column() == Some(column)
            || self.options.columns().any(|path| inside(path, column).is_some())
    }

    fn add_text(&mut self, row: u64, line: &str) -> Result<(), RowError> {
        let first_id = self.ids.len();
        let seed = RowSeed { options: self.options, ids: &mut self.ids };
        let mut json = serde_json::Deserializer::from_str(line);
        let parsed = seed.deserialize(&mut json).and_then(|parsed| json.end().map(|()| parsed));
        let parsed = parsed.map_err(|e| explain(&e))?;
        self.unnamed_mask = self.unnamed_mask.or(parsed.unnamed_mask);

        let column = self.options.content.column();
        let missing = || {
            let remedies = match self.options.content {
                Content::Text { .. } => vec![Remedy::change(Setting::TextColumn)],
                Content::Ids { .. } => vec![
                    Remedy::give(Setting::Tokenizer).to("read raw text"),
                    Remedy::give(Setting::IdsColumn).to("read ids under another name"),
                ],
            };
            let reason = format!("no {column:?} in this line; its keys are {}", parsed.keys(line));
            RowError { reason, remedies }
        };
        let text = match (&self.options.content, &parsed.content) {
            (_, None) => return Err(missing()),
            (Content::Text { .. }, Some(text)) => text.as_deref().unwrap_or_default(),
            (Content::Ids { .. }, Some(_)) => "",
        };
        let doc_id = match (&self.options.id_column, parsed.id) {
            (None, _) => None,
            (Some(name), None) => {
                return Err(format!("no {name:?} for the document's id in this line").into());
            }
            (Some(name), Some(raw)) => Some(scalar(raw).ok_or_else(|| {
                format!("the document's id ({name:?}) is {}, not a string or an integer", shorten(raw.get()))
            })?),
        };
        if let Some(name) = self.options.existing.column() {
            let Some(values) = &parsed.existing else {
                let reason = format!("no {name:?} in this line; its keys are {}", parsed.keys(line));
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

    fn finish(mut self) -> DocumentBatch {
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

/// The keys of the first lines, and which of some paths they have.
fn head(input: &Input, paths: &[&str]) -> Result<Head, CorpusError> {
    let mut bytes = Vec::new();
    let file = Decompressed::open(&input.path, NAME)?;
    let read = file.take(CHUNK_BYTES as u64).read_to_end(&mut bytes);
    read.map_err(CorpusError::io(&input.path, "reading"))?;
    let mut head = Head { has: vec![false; paths.len()], ..Head::default() };
    for line in bytes.split(|byte| *byte == b'\n').take(HEAD_ROWS) {
        // Neither a line that is cut off nor one that is malformed is an object.
        let Ok(row) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(line) else { continue };
        head.rows += 1;
        for (has, path) in head.has.iter_mut().zip(paths) {
            let is_in = |key: &str, value| inside(path, key).is_some_and(|rest| find(value, rest).is_some());
            *has = *has || row.iter().any(|(key, value)| is_in(key, value));
        }
        head.columns.extend(row.into_keys().map(Cow::into_owned));
    }
    Ok(head)
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

/// serde's message, with the column in the line instead of "line 1".
fn explain(error: &serde_json::Error) -> String {
    let message = without_place(error);
    // serde_json's message for `\\ud83d` without its other half.
    let surrogate = message.contains("hex escape") || message.contains("surrogate");
    let hint = if surrogate { " (half of a surrogate pair is not a character)" } else { "" };
    format!("{message}{hint}, at byte {} of the line", error.column())
}
