//! Runs that write rejected rows and passages of protected works beside their shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use arrow::record_batch::RecordBatch;
use goldfish_mask::RuleSpec;
use goldfish_mask::rules::Static;
use goldfish_shard::{
    FinishedFiles, Manifest, OutputFormat, OutputMode, PassageRow, Prepared, ProtectedCounts, ProtectedEntry,
    ShardError, ShardWriter, WriterOptions, prepare_folder,
};
use serde_json::value::RawValue;

use crate::common::{self, schema};

/// Batches of a whole run, each with documents for more than one shard.
pub(crate) const BATCHES: u64 = 4;
pub(crate) const DOCUMENTS: u64 = 9;

pub(crate) fn options(format: OutputFormat) -> WriterOptions {
    WriterOptions { format, shard_size: 800 }
}

pub(crate) fn json(value: impl std::fmt::Display) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

pub(crate) fn works() -> ProtectedEntry {
    ProtectedEntry {
        works: 2,
        words: 900,
        digest: "xxh3_128:1".into(),
        rule: RuleSpec::new(Static::new(3)),
        guaranteed_run: 25,
        least_words: 50,
        most_edits: 12,
        only: false,
        counts: ProtectedCounts::default(),
        table: None,
    }
}

/// Documents 0, 3 and 6 of the odd batches copy one, two and three passages.
pub(crate) fn passages(batch: u64) -> Vec<PassageRow> {
    let rows = [0, 3, 3, 6, 6, 6].into_iter().zip(0u32..);
    let row = |(document, place): (u64, u32)| PassageRow {
        work_id: format!("the \"{}\" work\n", place % 2),
        doc_id: format!("é:{batch}:{document}"),
        work_start: place * 7,
        work_end: place * 7 + 60,
        doc_start: batch as u32,
        doc_end: batch as u32 + 61,
        words: 59,
        edits: place,
    };
    if batch % 2 == 1 { rows.map(row).collect() } else { Vec::new() }
}

/// What a run of those batches knows before it ends.
pub(crate) fn manifest(format: OutputFormat, batches: std::ops::Range<u64>) -> Manifest {
    let (count, copied) =
        (batches.end - batches.start, batches.filter(|batch| batch % 2 == 1).count() as u64);
    let counts = ProtectedCounts { documents: 3 * copied, passages: 0, words: 360 * copied };
    let protected = Some(ProtectedEntry { counts, ..works() });
    Manifest { protected, ..common::manifest(&options(format), count * DOCUMENTS, count) }
}

fn batch(number: u64) -> RecordBatch {
    let names: StringArray = (0..DOCUMENTS).map(|row| Some(format!("é:{number}:{row}"))).collect();
    let ids: Vec<i32> = (0..DOCUMENTS as i32 * 8).collect();
    let mask: Vec<u8> = (0..ids.len()).map(|place| u8::from(place % 8 % 4 != 0)).collect();
    let offsets = OffsetBuffer::from_lengths(vec![8; DOCUMENTS as usize]);
    schema().batch(names, offsets, ids.into(), mask.into(), Vec::new()).unwrap()
}

/// Writes a batch after its rejected row and its passages, as the pipeline does.
pub(crate) fn feed(writer: &mut ShardWriter, number: u64, skip: u64) -> Result<(), ShardError> {
    let before = writer.lists();
    writer.write_reject(&format!("{{\"row\":{number},\"reason\":\"bad\"}}"))?;
    writer.write_passages(&passages(number))?;
    writer.write(&batch(number), skip, before, || json(number))
}

/// Starts a run, or resumes one after what is there; returns the first batch to write, and its rows to skip.
pub(crate) fn start(
    path: &Path,
    mode: OutputMode,
    format: OutputFormat,
) -> Result<Option<(ShardWriter, u64, u64)>, ShardError> {
    Ok(match prepare_folder(path, mode)? {
        Prepared::Fresh(folder) => {
            Some((ShardWriter::new(folder, schema(), options(format), json("{}")), 0, 0))
        }
        Prepared::Unfinished(mut folder, unfinished) if unfinished.staged => {
            unfinished.publish(&mut folder)?;
            None
        }
        Prepared::Unfinished(folder, unfinished) => {
            let number = unfinished.states.last().unwrap().get().parse().unwrap();
            let rows = unfinished.rows;
            Some((ShardWriter::resume(folder, schema(), options(format), *unfinished)?, number, rows))
        }
        Prepared::Finished(_) => None,
    })
}

/// Runs to the end from wherever it stands.
pub(crate) fn run(path: &Path, mode: OutputMode, format: OutputFormat) -> Result<(), ShardError> {
    let Some((mut writer, first, skip)) = start(path, mode, format)? else { return Ok(()) };
    for number in first..BATCHES {
        if let Err(error) = feed(&mut writer, number, if number == first { skip } else { 0 }) {
            let _: Option<FinishedFiles> = writer.stop();
            return Err(error);
        }
    }
    writer.finish(manifest(format, 0..BATCHES), json(9)).map(drop).map_err(|(error, _)| error)
}

pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let entries = goldfish_storage::entries(folder).unwrap_or_default();
    let paths = entries.into_iter().filter(|entry| !entry.is_folder()).map(|entry| entry.path);
    paths.map(|path| (name(&path), goldfish_storage::read(&path, u64::MAX).unwrap())).collect()
}
