//! One JSON object a line.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use goldfish_digest::FileDigest;
use memchr::{memchr, memchr_iter, memrchr};

use crate::batch::DocumentBatch;
use crate::error::CorpusError;
use crate::file::{Decompressed, is_compressed};
use crate::input::{FormatTable, Input};
use crate::objects::{ObjectBatch, carried_fields, head_of_objects};
use crate::options::{CHUNK_BYTES, ReadOptions};
use crate::reject::RowError;
use crate::source::{Chunk, Part, Source};

const NAME: &str = "jsonl";

pub(crate) static FORMAT: FormatTable = FormatTable {
    from_stdin: true,
    compressed_endings: &[".jsonl", ".ndjson", ".json"],
    is_divisible: |path| Ok(!is_compressed(path)),
    head: Some(|input, paths| {
        head_of_objects(input, paths, |bytes| bytes.split(|byte| *byte == b'\n').collect())
    }),
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
            carried: carried_fields(options),
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
        let mut batch = ObjectBatch::new((&self.name, "line"), options);
        let mut offset = self.offset;
        for (row, line) in (self.first_line..).zip(self.bytes.split_inclusive(|&b| b == b'\n')) {
            let text = if row == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
            let text = text.trim_ascii_end();
            if !text.is_empty() {
                batch.add(&self.path, (row, offset), text)?;
            }
            offset += line.len() as u64;
        }
        Ok(batch.finish())
    }
}
