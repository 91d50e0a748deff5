//! Column chunks of lists of ids and masks, encoded for Parquet.
//!
//! The writer of the `parquet` crate looks up every value in a hash table and makes two levels for each. Ids are small enough
//! for a plain table, masks need no look-up, and levels of lists without nulls are a few runs a row, so that pages are made
//! here. What is in a chunk depends on the lists alone.

use std::collections::VecDeque;
use std::ops::Range;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use rayon::prelude::*;

/// Pages end with the row that brings them to so many values.
const PAGE_VALUES: usize = 1 << 18;

/// Values below this are numbered by a table.
const TABLE: usize = 1 << 18;

/// Entries of a dictionary: their numbers are bytes or pairs of bytes, which compress better than numbers that end in the
/// middle of a byte.
const MAX_ENTRIES: usize = 1 << 16;

/// Bytes of 1.0.
const ONE: u32 = 1.0f32.to_bits();

/// Lists, the last of which can be open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lists<T> {
    lengths: Vec<u32>,
    values: Vec<T>,
    /// Values in lists that have ended.
    ended: usize,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { lengths: Vec::new(), values: Vec::new(), ended: 0 }
    }
}

impl<T: Copy> Lists<T> {
    /// The values of the open list, for more of them.
    pub(super) fn values(&mut self) -> &mut Vec<T> {
        &mut self.values
    }

    /// Adds a value so many times to the open list.
    pub(super) fn fill(&mut self, value: T, count: usize) {
        self.values.extend(std::iter::repeat_n(value, count));
    }

    /// Values in the open list.
    pub(super) fn open(&self) -> usize {
        self.values.len() - self.ended
    }

    /// Values in lists that have ended.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// Whether no list has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Ends the open list.
    pub(super) fn end(&mut self) {
        self.lengths.push(self.open() as u32);
        self.ended = self.values.len();
    }

    /// Takes out the lists that have ended.
    pub(super) fn take(&mut self) -> Self {
        // The next lists will need about as much room.
        let mut rest = Vec::with_capacity(self.values.len() + self.values.len() / 16);
        rest.extend_from_slice(&self.values[self.ended..]);
        let mut taken = std::mem::replace(self, Self { lengths: Vec::new(), values: rest, ended: 0 });
        taken.values.truncate(taken.ended);
        taken
    }
}

/// A column of lists, none of them open.
pub(super) enum Column {
    /// Numbers that are not negative.
    Ids(Lists<i32>),
    /// Numbers that are 0 or 1.
    Mask(Lists<u8>),
    /// Booleans: 0 or 1.
    Flags(Lists<u8>),
    Weights(Lists<f32>),
    /// Weights that are 0.0 or 1.0: 0 or 1.
    WholeWeights(Lists<u8>),
}

/// A column of a row group, as it is in a file but for its offset.
pub(super) struct Chunk {
    pub(super) bytes: bytes::Bytes,
    pub(super) close: ColumnCloseResult,
}

/// Appends some of the values of a column to a page.
type Put<'a> = Box<dyn Fn(Range<usize>, &mut Vec<u8>) + Sync + 'a>;

/// How the values of a column are in its pages.
struct Plan<'a> {
    /// The bytes of the entries of a dictionary.
    dictionary: Option<Vec<u8>>,
    put: Put<'a>,
}

impl Column {
    /// Encodes and compresses it, on the threads of the current pool.
    pub(super) fn encode(&self, column: &ColumnDescPtr) -> Result<Chunk, ParquetError> {
        let (lengths, plan) = match self {
            Self::Ids(Lists { lengths, values, .. }) => (lengths, numbered(values, |id| id as u32)),
            Self::Mask(Lists { lengths, values, .. }) => (lengths, two(0, 1, values, |&keep| keep)),
            Self::WholeWeights(Lists { lengths, values, .. }) => (lengths, two(0, ONE, values, |&keep| keep)),
            Self::Weights(Lists { lengths, values, .. }) => {
                let whole = |weight: &f32| [0, ONE].contains(&weight.to_bits());
                let plan = match values.iter().all(whole) {
                    true => two(0, ONE, values, |weight| u8::from(weight.to_bits() == ONE)),
                    false => numbered(values, f32::to_bits),
                };
                (lengths, plan)
            }
            Self::Flags(Lists { lengths, values, .. }) => {
                let put = |range: Range<usize>, page: &mut Vec<u8>| {
                    put_bits(&values[range], |&flag| flag, page);
                };
                (lengths, Plan { dictionary: None, put: Box::new(put) })
            }
        };
        plan.encode(lengths, column)
    }
}

/// A plan with a dictionary of two entries.
fn two<'a, T: Sync>(zero: u32, one: u32, values: &'a [T], bit: impl Fn(&T) -> u8 + Sync + 'a) -> Plan<'a> {
    let put = move |range: Range<usize>, page: &mut Vec<u8>| {
        put_run_of_bits(1, range.len(), page);
        put_bits(&values[range], &bit, page);
    };
    Plan { dictionary: Some([zero.to_le_bytes(), one.to_le_bytes()].concat()), put: Box::new(put) }
}

/// A plan with a dictionary, or without one if it would be large.
fn numbered<T: Copy + Send + Sync>(values: &[T], bits: fn(T) -> u32) -> Plan<'_> {
    let entries = seen(values, bits).unwrap_or_else(|| distinct(values, bits));
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        let put = move |range: Range<usize>, page: &mut Vec<u8>| {
            page.extend(values[range].iter().flat_map(|&value| bits(value).to_le_bytes()));
        };
        return Plan { dictionary: None, put: Box::new(put) };
    }
    let largest = entries[entries.len() - 1] as usize;
    if largest >= TABLE {
        let sorted = entries.clone();
        let number = move |value| sorted.binary_search(&bits(value)).unwrap_or_default() as u16;
        return by_number(values, &entries, number);
    }
    let mut numbers = vec![0; largest + 1];
    for (number, &entry) in (0..=u16::MAX).zip(&entries) {
        numbers[entry as usize] = number;
    }
    by_number(values, &entries, move |value| numbers[bits(value) as usize])
}

/// A plan with a dictionary of these entries, whose numbers are looked up.
fn by_number<'a, T: Copy + Sync>(
    values: &'a [T],
    entries: &[u32],
    number: impl Fn(T) -> u16 + Sync + 'a,
) -> Plan<'a> {
    let width = if entries.len() <= 1 << 8 { 8 } else { 16 };
    let put = move |range: Range<usize>, page: &mut Vec<u8>| {
        put_run_of_bits(width, range.len(), page);
        let padding = range.len().next_multiple_of(8) - range.len();
        match width {
            8 => page.extend(values[range].iter().map(|&value| number(value) as u8)),
            _ => {
                let start = page.len();
                page.resize(start + 2 * range.len(), 0);
                let pairs = page[start..].as_chunks_mut().0.iter_mut();
                pairs.zip(&values[range]).for_each(|(pair, &value)| *pair = number(value).to_le_bytes());
            }
        }
        page.resize(page.len() + padding * width / 8, 0);
    };
    let dictionary = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    Plan { dictionary: Some(dictionary), put: Box::new(put) }
}

/// The values there are, in order, if all are below [`TABLE`].
fn seen<T: Copy + Sync>(values: &[T], bits: fn(T) -> u32) -> Option<Vec<u32>> {
    let of_part = |part: &[T]| {
        let mut seen = vec![false; TABLE];
        for &value in part {
            *seen.get_mut(bits(value) as usize)? = true;
        }
        Some(seen)
    };
    let both = |mut all: Vec<bool>, part: Vec<bool>| {
        all.iter_mut().zip(part).for_each(|(all, part)| *all |= part);
        Some(all)
    };
    let parts = values.par_chunks(PAGE_VALUES * 4).map(of_part);
    let seen = parts.try_reduce_with(both).unwrap_or(Some(Vec::new()))?;
    Some((0..).zip(seen).filter(|(_, seen)| *seen).map(|(value, _)| value).collect())
}

/// The same for values of any size.
fn distinct<T: Copy + Send + Sync>(values: &[T], bits: fn(T) -> u32) -> Vec<u32> {
    let mut sorted: Vec<u32> = values.iter().map(|&value| bits(value)).collect();
    sorted.par_sort_unstable();
    sorted.dedup();
    sorted
}

impl Plan<'_> {
    fn encode(&self, lengths: &[u32], column: &ColumnDescPtr) -> Result<Chunk, ParquetError> {
        let encoding = if self.dictionary.is_some() { Encoding::RLE_DICTIONARY } else { Encoding::PLAIN };
        let pages: Result<VecDeque<CompressedPage>, ParquetError> = pages(lengths)
            .into_par_iter()
            .map(|(rows, values)| {
                let mut page = Vec::with_capacity(values.len() * 4 + 64);
                let levels = put_levels(&lengths[rows], &mut page);
                (self.put)(values, &mut page);
                let (buf, size) = compress(&page)?;
                let page = Page::DataPage {
                    buf,
                    num_values: u32::try_from(levels)?,
                    encoding,
                    def_level_encoding: Encoding::RLE,
                    rep_level_encoding: Encoding::RLE,
                    statistics: None,
                };
                Ok(CompressedPage::new(page, size))
            })
            .collect();
        let mut pages = pages?;
        if let Some(entries) = &self.dictionary {
            let (buf, size) = compress(entries)?;
            let num_values = (entries.len() / 4) as u32;
            let page = Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: true };
            pages.push_front(CompressedPage::new(page, size));
        }
        chunk(pages, self.dictionary.is_some(), lengths.len(), column)
    }
}

/// Writes pages one after the other.
fn chunk(
    pages: VecDeque<CompressedPage>,
    has_dictionary: bool,
    rows: usize,
    column: &ColumnDescPtr,
) -> Result<Chunk, ParquetError> {
    let size: usize = pages.iter().map(|page| page.compressed_size() + 64).sum();
    let mut sink = TrackedWrite::new(Vec::with_capacity(size));
    let mut writer = SerializedPageWriter::new(&mut sink);
    let (mut compressed, mut uncompressed, mut levels, mut data_offset) = (0, 0, 0, 0);
    for (index, page) in pages.into_iter().enumerate() {
        let is_dictionary = has_dictionary && index == 0;
        let written = writer.write_page(page)?;
        compressed += written.compressed_size as i64;
        uncompressed += written.uncompressed_size as i64;
        if is_dictionary {
            data_offset = compressed;
        } else {
            levels += i64::from(written.num_values);
        }
    }
    writer.close()?;
    let encodings = match has_dictionary {
        true => vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY],
        false => vec![Encoding::PLAIN, Encoding::RLE],
    };
    let metadata = ColumnChunkMetaData::builder(column.clone())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_encodings(encodings)
        .set_num_values(levels)
        .set_total_compressed_size(compressed)
        .set_total_uncompressed_size(uncompressed)
        .set_data_page_offset(data_offset)
        .set_dictionary_page_offset(has_dictionary.then_some(0))
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: compressed as u64,
        rows_written: rows as u64,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: None,
    };
    Ok(Chunk { bytes: sink.into_inner()?.into(), close })
}

/// The compressed bytes, and how many they were.
fn compress(bytes: &[u8]) -> Result<(bytes::Bytes, usize), ParquetError> {
    i32::try_from(bytes.len())?;
    let compressed = zstd::bulk::compress(bytes, ZstdLevel::default().compression_level());
    let compressed = compressed.map_err(|error| ParquetError::External(Box::new(error)))?;
    Ok((compressed.into(), bytes.len()))
}

/// Rows and values of each page.
fn pages(lengths: &[u32]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut pages = Vec::new();
    let (mut first, mut start, mut end, mut levels) = (0, 0, 0, 0);
    for (row, &length) in lengths.iter().enumerate() {
        end += length as usize;
        levels += length.max(1) as usize;
        if levels >= PAGE_VALUES || row + 1 == lengths.len() {
            pages.push((first..row + 1, start..end));
            (first, start, levels) = (row + 1, end, 0);
        }
    }
    pages
}

/// Appends the levels of rows, repetition first, and says how many there are. A value has the definition level 3, since neither lists nor
/// values are null; an empty list has the level 1.
fn put_levels(lengths: &[u32], page: &mut Vec<u8>) -> u64 {
    let repetition = lengths.iter().flat_map(|&length| [(1, 0), (length.saturating_sub(1), 1)]);
    put_runs(repetition, page);
    put_runs(lengths.iter().map(|&length| (length.max(1), if length > 0 { 3 } else { 1 })), page);
    lengths.iter().map(|&length| u64::from(length.max(1))).sum()
}

/// Appends runs of levels, with their size in bytes before them.
fn put_runs(runs: impl Iterator<Item = (u32, u8)>, page: &mut Vec<u8>) {
    let start = page.len();
    page.extend([0; 4]);
    let (mut count, mut level) = (0, 0);
    for (more, next) in runs.chain([(1, u8::MAX)]) {
        if more == 0 {
            continue;
        }
        if next == level {
            count += u64::from(more);
            continue;
        }
        if count > 0 {
            put_varint(count << 1, page);
            page.push(level);
        }
        (count, level) = (u64::from(more), next);
    }
    let size = (page.len() - start - 4) as u32;
    page[start..start + 4].copy_from_slice(&size.to_le_bytes());
}

/// Appends what stands before so many numbers of so many bits.
fn put_run_of_bits(width: usize, count: usize, page: &mut Vec<u8>) {
    page.push(width as u8);
    if count > 0 {
        put_varint((count.div_ceil(8) as u64) << 1 | 1, page);
    }
}

/// Appends a bit for each value, the first one lowest, filled up to whole bytes.
fn put_bits<T>(values: &[T], bit: impl Fn(&T) -> u8, page: &mut Vec<u8>) {
    // The product brings the lowest bit of byte i to bit 56 + i.
    let gather = |bytes: [u8; 8]| (u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    let (eights, rest) = values.as_chunks::<8>();
    page.extend(eights.iter().map(|eight| gather(std::array::from_fn(|i| bit(&eight[i])))));
    if !rest.is_empty() {
        page.push(gather(std::array::from_fn(|i| rest.get(i).map_or(0, &bit))));
    }
}

fn put_varint(mut number: u64, page: &mut Vec<u8>) {
    while number >= 1 << 7 {
        page.push(number as u8 | 1 << 7);
        number >>= 7;
    }
    page.push(number as u8);
}
