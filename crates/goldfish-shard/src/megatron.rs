//! Writers of Megatron-LM's index of an indexed dataset.
//!
//! Layout, little-endian (`megatron/core/datasets/indexed_dataset.py`): `MMIDIDX\0\0`, u64 version 1, u8 id type, u64
//! sequences `n`, u64 document marks `m`, i32 lengths `[n]` in tokens, i64 places `[n]` in bytes of the `.bin`, i64
//! marks `[m]`: document `d` is made of sequences `marks[d]..marks[d + 1]`. GPT-NeoX writes the same for the types here.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use goldfish_digest::{FileDigest, HashingReader};
use goldfish_storage::File;

use crate::{ShardError, StagedFile};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";

/// An element type of a `.bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// One byte, for masks.
    Uint8,
    /// Four bytes with a sign, for ids and labels.
    Int32,
    /// Two bytes, for ids below 65,536.
    Uint16,
}

impl ElementType {
    /// Its code in the index.
    fn code(self) -> u8 {
        match self {
            Self::Uint8 => 1,
            Self::Int32 => 4,
            Self::Uint16 => 8,
        }
    }

    /// Bytes of one element.
    fn width(self) -> u64 {
        match self {
            Self::Uint8 => 1,
            Self::Int32 => 4,
            Self::Uint16 => 2,
        }
    }
}

/// Writes the index of one-byte elements beside an index of tokens: the same sequences and documents. Returns the
/// digest of the tokens' index.
///
/// # Errors
///
/// If that index can't be read or isn't one, or the disk refuses.
pub fn mirror_index(tokens: &Path, index: &mut StagedFile) -> Result<FileDigest, ShardError> {
    let file = File::open(tokens).map_err(ShardError::io(tokens, "opening"))?;
    let mut reader = BufReader::with_capacity(1 << 18, HashingReader::new(file));
    mirror(&mut reader, index).map_err(ShardError::io(tokens, "copying the index"))?;
    let (digest, _) = reader.into_inner().finish().map_err(ShardError::io(tokens, "reading"))?;
    Ok(digest)
}

fn mirror(reader: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let mut header = [0; 34];
    reader.read_exact(&mut header)?;
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    if header[..9] != *MAGIC || number(9) != 1 {
        return Err(invalid("not an index of version 1"));
    }
    let width: i64 = match header[17] {
        1 | 2 => 1,
        3 | 8 => 2,
        4 => 4,
        5 => 8,
        _ => return Err(invalid("its elements are no integers")),
    };
    let (sequences, marks) = (number(18), number(26));
    header[17] = ElementType::Uint8.code();
    out.write_all(&header)?;
    copy(reader, out, sequences, 4)?;
    // Sequences follow each other without gap, so that a byte a token halves (or quarters) every place.
    let mut place = [0; 8];
    for _ in 0..sequences {
        reader.read_exact(&mut place)?;
        out.write_all(&(i64::from_le_bytes(place) / width).to_le_bytes())?;
    }
    copy(reader, out, marks, 8)
}

fn copy(reader: &mut impl Read, out: &mut impl Write, elements: u64, width: u64) -> io::Result<()> {
    let bytes = elements.saturating_mul(width);
    match io::copy(&mut reader.take(bytes), out)? {
        copied if copied == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes the index of documents that are one sequence each. `lengths` gives the i32 lengths of all, from the start at
/// each call.
///
/// # Errors
///
/// If the lengths can't be read, or the disk refuses.
pub fn write_index<R: Read>(
    index: &mut StagedFile,
    element: ElementType,
    documents: u64,
    lengths: impl Fn() -> io::Result<R>,
) -> Result<(), ShardError> {
    let path = index.path().to_owned();
    write_sections(index, element, documents, lengths).map_err(ShardError::io(&path, "writing"))
}

fn write_sections<R: Read>(
    out: &mut impl Write,
    element: ElementType,
    documents: u64,
    lengths: impl Fn() -> io::Result<R>,
) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&1u64.to_le_bytes())?;
    out.write_all(&[element.code()])?;
    out.write_all(&documents.to_le_bytes())?;
    out.write_all(&(documents + 1).to_le_bytes())?;
    copy(&mut lengths()?, out, documents, 4)?;
    let (mut reader, mut place) = (lengths()?, 0u64);
    let mut length = [0; 4];
    for _ in 0..documents {
        reader.read_exact(&mut length)?;
        out.write_all(&place.to_le_bytes())?;
        place += u64::from(u32::from_le_bytes(length)) * element.width();
    }
    (0..=documents).try_for_each(|mark| out.write_all(&mark.to_le_bytes()))
}
