//! JSON objects in one array, or one after the other.

use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use goldfish_digest::FileDigest;
use memchr::memchr2;

use crate::batch::DocumentBatch;
use crate::error::CorpusError;
use crate::file::Decompressed;
use crate::input::{FormatTable, Input};
use crate::objects::{ObjectBatch, carried_fields, head_of_objects};
use crate::options::{CHUNK_BYTES, ReadOptions};
use crate::reject::RowError;
use crate::source::{Chunk, Part, Source};

const NAME: &str = "json";

pub(super) static FORMAT: FormatTable = FormatTable {
    // Folders of corpora have other files of this name, such as settings of a tokenizer.
    in_folders: false,
    from_stdin: true,
    is_divisible: |_| Ok(false),
    head: Some(|input, paths| head_of_objects(input, paths, first_values)),
    ..FormatTable::new(NAME, "One JSON array of objects, or objects one after the other", &[".json"], open)
};

fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Box<dyn Source>, CorpusError> {
    Ok(Box::new(JsonSource {
        input: input.clone(),
        file: Decompressed::open(&input.path, NAME)?,
        carried: carried_fields(options),
        longest: options.max_bytes(),
        scanner: Scanner::default(),
        rest: Vec::new(),
        row: 0,
        offset: 0,
        at_end: !part.contains(0),
        failed: None,
    }))
}

/// Finds where the values of a file start and end, byte by byte.
#[derive(Debug, Default)]
struct Scanner {
    place: Place,
    is_array: bool,
    /// Brackets and braces of the value that are open.
    depth: u64,
    in_string: bool,
    /// Whether the next byte of the string has no meaning.
    is_escaped: bool,
    /// Where the current value starts.
    start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before the bracket of the array, or the first value.
    #[default]
    Start,
    /// After the bracket of the array.
    First,
    /// In an object, a list or a string.
    Inside,
    /// In a number or a word.
    Scalar,
    AfterValue,
    AfterComma,
    /// After the array.
    End,
}

/// What is wrong at a byte.
type Wrong = (usize, &'static str);

impl Scanner {
    /// Adds the values that end in `bytes`, of which those before `at` were scanned before.
    fn scan(&mut self, bytes: &[u8], mut at: usize, values: &mut Vec<Range<usize>>) -> Result<(), Wrong> {
        while let Some(&byte) = bytes.get(at) {
            if self.in_string {
                if std::mem::take(&mut self.is_escaped) {
                    at += 1;
                    continue;
                }
                let Some(found) = memchr2(b'"', b'\\', &bytes[at..]) else { return Ok(()) };
                at += found + 1;
                self.is_escaped = bytes[at - 1] == b'\\';
                self.in_string = self.is_escaped;
                if !self.in_string && self.depth == 0 {
                    self.end_value(at, values);
                }
                continue;
            }
            match (self.place, byte) {
                (Place::Inside, _) => match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            self.end_value(at + 1, values);
                        }
                    }
                    _ => {}
                },
                (Place::Scalar, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r') => {
                    self.end_value(at, values);
                    continue;
                }
                (Place::Scalar, _) | (_, b' ' | b'\t' | b'\n' | b'\r') => {}
                (Place::Start, b'[') => (self.is_array, self.place) = (true, Place::First),
                (Place::First | Place::AfterValue, b']') if self.is_array => self.place = Place::End,
                (Place::AfterValue, b',') if self.is_array => self.place = Place::AfterComma,
                (Place::AfterValue, _) if self.is_array => return Err((at, "a comma is missing")),
                (Place::End, _) => return Err((at, "there is more after the end of the array")),
                (_, b',' | b':' | b'}' | b']') => return Err((at, "a value is missing")),
                _ => {
                    (self.start, self.place, self.in_string) = (at, Place::Inside, byte == b'"');
                    match byte {
                        b'{' | b'[' => self.depth = 1,
                        b'"' => {}
                        _ => self.place = Place::Scalar,
                    }
                }
            }
            at += 1;
        }
        Ok(())
    }

    fn end_value(&mut self, end: usize, values: &mut Vec<Range<usize>>) {
        values.push(self.start..end);
        self.place = Place::AfterValue;
    }

    /// Adds the value that ends with the file, after `end` bytes.
    fn finish(&mut self, end: usize, values: &mut Vec<Range<usize>>) -> Result<(), Wrong> {
        if self.place == Place::Scalar {
            self.end_value(end, values);
        }
        match self.place {
            Place::Inside => Err((end, "the file ends in a value")),
            Place::First | Place::AfterValue | Place::AfterComma if self.is_array => {
                Err((end, "the file ends in the array"))
            }
            _ => Ok(()),
        }
    }

    /// Where the value starts that is not whole yet.
    fn begun(&self) -> Option<usize> {
        matches!(self.place, Place::Inside | Place::Scalar).then_some(self.start)
    }
}

struct JsonSource {
    input: Input,
    file: Decompressed,
    carried: Vec<FieldRef>,
    /// Longest object, in bytes.
    longest: usize,
    scanner: Scanner,
    /// The start of a value whose end was not read yet.
    rest: Vec<u8>,
    row: u64,
    /// Where `rest` starts in the decompressed file.
    offset: u64,
    at_end: bool,
    /// Why reading stopped; reported after the whole values before that were returned.
    failed: Option<CorpusError>,
}

impl JsonSource {
    /// Appends so many bytes, or what is left of the file. Where chunks end then depends on the file alone.
    fn fill(&mut self, bytes: &mut Vec<u8>, more: usize) {
        let before = bytes.len();
        if bytes.try_reserve_exact(more).is_err() {
            let (row, size) = (self.row + 1, before + more);
            let reason = format!("no memory for object {row}, of {size} bytes or more; split it");
            self.failed = Some(self.input.malformed(reason));
            return;
        }
        match (&mut self.file).take(more as u64).read_to_end(bytes) {
            Ok(read) => self.at_end = read < more,
            Err(error) => {
                let reason = format!("{error}, after byte {} of the text", self.offset + bytes.len() as u64);
                self.failed = Some(self.file.file().error(NAME, reason));
            }
        }
    }

    /// Scans new bytes.
    fn scan(&mut self, bytes: &[u8], from: usize, values: &mut Vec<Range<usize>>) {
        let is_start = from == 0 && self.offset == 0;
        let from = if is_start && bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { from };
        let scanned = self.scanner.scan(bytes, from, values);
        let ended = |()| if self.at_end { self.scanner.finish(bytes.len(), values) } else { Ok(()) };
        if let Err((at, what)) = scanned.and_then(ended)
            && self.failed.is_none()
        {
            let (byte, objects) = (self.offset + at as u64, self.row + values.len() as u64);
            self.failed = Some(
                self.input.malformed(format!("{what} at byte {byte} of the text, after {objects} objects")),
            );
        }
    }
}

impl Source for JsonSource {
    fn carried(&self) -> &[FieldRef] {
        &self.carried
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        let (mut bytes, mut values) = (std::mem::take(&mut self.rest), Vec::new());
        while values.is_empty() {
            if let Some(error) = self.failed.take() {
                return Err(error);
            } else if self.at_end {
                return Ok(None);
            } else if bytes.len() > self.longest {
                let reason = format!("object {} is longer than {} bytes", self.row + 1, self.longest);
                return Err(self.input.unreadable_document(RowError::too_long(&reason)));
            }
            let scanned = bytes.len();
            // A long object is read in growing steps.
            self.fill(&mut bytes, CHUNK_BYTES.max(scanned / 2));
            self.scan(&bytes, scanned, &mut values);
            if values.is_empty() && self.scanner.begun().is_none() {
                self.offset += bytes.len() as u64;
                bytes.clear();
            }
        }
        let end = values.last().map_or(0, |value| value.end);
        let begun = self.scanner.begun();
        let kept = begun.unwrap_or(bytes.len());
        self.rest = bytes[kept..].to_vec();
        self.scanner.start -= begun.unwrap_or(self.scanner.start);
        bytes.truncate(end);
        let (path, name) = (self.input.path.clone(), self.input.name.clone());
        let (first_row, offset) = (self.row, self.offset);
        self.row += values.len() as u64;
        self.offset += kept as u64;
        Ok(Some(Box::new(ObjectChunk { path, name, first_row, offset, bytes, values })))
    }

    fn row(&self) -> u64 {
        self.row
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
struct ObjectChunk {
    path: Arc<Path>,
    name: Arc<str>,
    first_row: u64,
    /// Where `bytes` starts in the decompressed file.
    offset: u64,
    bytes: Vec<u8>,
    values: Vec<Range<usize>>,
}

impl Chunk for ObjectChunk {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn documents(self: Box<Self>, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let mut batch = ObjectBatch::new((&self.name, "object"), options);
        for (row, value) in (self.first_row..).zip(&self.values) {
            let offset = self.offset + value.start as u64;
            batch.add(&self.path, (row, offset), &self.bytes[value.clone()])?;
        }
        Ok(batch.finish())
    }
}

/// The whole values at the start of a file.
fn first_values(bytes: &[u8]) -> Vec<&[u8]> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut values = Vec::new();
    let _ = Scanner::default().scan(text, 0, &mut values);
    values.into_iter().map(|value| &text[value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a text that comes in pieces of some size, and what is wrong with it.
    fn values(text: &str, piece: usize) -> (Vec<&str>, Option<(usize, &'static str)>) {
        let (mut scanner, mut values) = (Scanner::default(), Vec::new());
        let mut wrong = None;
        for end in (0..text.len()).step_by(piece).skip(1).chain([text.len()]) {
            let from = end.saturating_sub(1) / piece * piece;
            if wrong.is_none() {
                wrong = scanner.scan(&text.as_bytes()[..end], from, &mut values).err();
            }
        }
        let wrong = wrong.or_else(|| scanner.finish(text.len(), &mut values).err());
        (values.into_iter().map(|value| &text[value]).collect(), wrong)
    }

    #[test]
    fn values_are_found_whatever_the_pieces() {
        let cases: [(&str, &[&str], Option<Wrong>); 14] = [
            ("", &[], None),
            (" [ ] ", &[], None),
            (r#"[{"a":"]}\\\""},{"b":[{}]}]"#, &[r#"{"a":"]}\\\""}"#, r#"{"b":[{}]}"#], None),
            ("{\"a\":1}\n{\"a\":2}", &["{\"a\":1}", "{\"a\":2}"], None),
            ("{}{}", &["{}", "{}"], None),
            ("[1, \"x\", null]", &["1", "\"x\"", "null"], None),
            ("1 2", &["1", "2"], None),
            ("[{}", &["{}"], Some((3, "the file ends in the array"))),
            ("[{},", &["{}"], Some((4, "the file ends in the array"))),
            ("[{\"a", &[], Some((4, "the file ends in a value"))),
            ("[{} {}]", &["{}"], Some((4, "a comma is missing"))),
            ("[{},]", &["{}"], Some((4, "a value is missing"))),
            ("[{}] x", &["{}"], Some((5, "there is more after the end of the array"))),
            ("{},{}", &["{}"], Some((2, "a value is missing"))),
        ];
        for (text, expected, wrong) in cases {
            for piece in 1..=text.len().max(1) {
                assert_eq!(values(text, piece), (expected.to_vec(), wrong), "{text} in pieces of {piece}");
            }
        }
    }
}
