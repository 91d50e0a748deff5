//! One JSON object a line.

use std::borrow::Cow;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringBuilder, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use memchr::{memchr, memchr_iter, memrchr};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use goldfish_digest::FileDigest;
use goldfish_remedy::{Remedy, Setting};

use crate::batch::{BatchContent, DocumentBatch, Reject, RowError};
use crate::error::CorpusError;
use crate::file::{Decompressed, is_compressed};
use crate::input::{FormatTable, Input};
use crate::non_finite;
use crate::options::{CHUNK_BYTES, Content, ReadOptions};
use crate::source::{Chunk, Part, Source};

const NAME: &str = "jsonl";

pub(super) static FORMAT: FormatTable = FormatTable {
    compressed_endings: &[".jsonl", ".ndjson", ".json"],
    is_divisible: |path| Ok(!is_compressed(path)),
    ..FormatTable::new(NAME, "One JSON object a line", &[".jsonl", ".ndjson"], |input, options, part| {
        Ok(Box::new(JsonlSource::open(input, options, part)?))
    })
};

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
        let chunk = LineChunk { name: self.name.clone(), first_line: self.line, offset: self.offset, bytes };
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
    carried: Vec<StringBuilder>,
    rejects: Vec<Reject>,
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
            carried: options.carry.iter().map(|_| StringBuilder::new()).collect(),
            rejects: Vec::new(),
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
        let first_id = self.ids.len();
        let mut result = self.add_text(row, text);
        if result.is_err()
            && let Some(finite) = non_finite::zeroed(text, |column| self.reads(column)).transpose()
        {
            self.ids.truncate(first_id);
            result = finite.map_err(RowError::from).and_then(|text| self.add_text(row, &text));
        }
        if result.is_err() {
            self.ids.truncate(first_id);
        }
        result
    }

    /// Whether the document, its id or a carried column comes from this column.
    fn reads(&self, column: &str) -> bool {
        let ReadOptions { content, id_column, carry, .. } = self.options;
        column == content.column()
            || id_column.as_deref() == Some(column)
            || carry.iter().any(|name| name == column)
    }

    fn add_text(&mut self, row: u64, line: &str) -> Result<(), RowError> {
        let first_id = self.ids.len();
        let seed = RowSeed { options: self.options, ids: &mut self.ids };
        let mut json = serde_json::Deserializer::from_str(line);
        let parsed = seed.deserialize(&mut json).and_then(|parsed| json.end().map(|()| parsed));
        let parsed = parsed.map_err(|e| explain(&e))?;

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
        for ((builder, name), raw) in self.carried.iter_mut().zip(&self.options.carry).zip(parsed.carried) {
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
        let carried = self.carried.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef).collect();
        DocumentBatch {
            rows: self.rows,
            doc_ids: self.doc_ids.finish(),
            content,
            carried,
            rejects: self.rejects,
        }
    }
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
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    // serde_json's message for `\\ud83d` without its other half.
    let surrogate = message.contains("hex escape") || message.contains("surrogate");
    let hint = if surrogate { " (half of a surrogate pair is not a character)" } else { "" };
    format!("{message}{hint}, at byte {} of the line", error.column())
}

/// The parts of one line that are read.
struct Row<'de> {
    /// `Some(Some(text))` for text, `Some(None)` for ids (which went into the batch), `None` if missing.
    content: Option<Option<Cow<'de, str>>>,
    id: Option<&'de RawValue>,
    carried: Vec<Option<&'de RawValue>>,
}

impl Row<'_> {
    /// The keys of a line, for an error message.
    fn keys(&self, line: &str) -> String {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap_or_default();
        let names: Vec<_> = object.keys().take(20).map(|key| format!("{key:?}")).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

struct RowSeed<'a> {
    options: &'a ReadOptions,
    ids: &'a mut Vec<i32>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let options = self.options;
        let mut row = Row { content: None, id: None, carried: vec![None; options.carry.len()] };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let key: &str = &key;
            if key == options.content.column() {
                if row.content.is_some() {
                    return Err(A::Error::custom(format!("the key {key:?} occurs twice")));
                }
                row.content = Some(match options.content {
                    Content::Text { .. } => Some(map.next_value_seed(TextSeed(key))?),
                    Content::Ids { .. } => {
                        map.next_value_seed(IdsSeed { key, options, ids: &mut *self.ids })?;
                        None
                    }
                });
                continue;
            }
            let is_id = options.id_column.as_deref() == Some(key);
            let carried = options.carry.iter().position(|name| name == key);
            if !is_id && carried.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&'de RawValue>()?;
            let twice = is_id && row.id.is_some() || carried.is_some_and(|i| row.carried[i].is_some());
            if twice {
                return Err(A::Error::custom(format!("the key {key:?} occurs twice")));
            }
            if is_id {
                row.id = Some(value);
            }
            if let Some(i) = carried {
                row.carried[i] = Some(value);
            }
        }
        Ok(row)
    }
}

struct TextSeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string in {:?}", self.0)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct IdsSeed<'a> {
    key: &'a str,
    options: &'a ReadOptions,
    ids: &'a mut Vec<i32>,
}

impl<'de> DeserializeSeed<'de> for IdsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for IdsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of token ids in {:?}", self.key)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let last = self.options.last_id();
        let mut position = 0u64;
        while let Some(id) = seq.next_element::<JsonId>()? {
            match id {
                JsonId::Id(id) if id <= last => self.ids.push(id as i32),
                JsonId::Id(id) => {
                    return Err(A::Error::custom(format!(
                        "{}, at position {position}",
                        self.options.id_error(id)
                    )));
                }
                JsonId::Outside(id) => {
                    return Err(A::Error::custom(format!(
                        "{}, at position {position}",
                        self.options.id_error(id)
                    )));
                }
            }
            position += 1;
        }
        Ok(())
    }
}

/// An integer in a list of ids.
enum JsonId {
    Id(u32),
    Outside(i128),
}

impl<'de> serde::Deserialize<'de> for JsonId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = JsonId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer token id")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<JsonId, E> {
                Ok(u32::try_from(id).map_or(JsonId::Outside(id.into()), JsonId::Id))
            }

            fn visit_i64<E: Error>(self, id: i64) -> Result<JsonId, E> {
                Ok(JsonId::Outside(id.into()))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}
