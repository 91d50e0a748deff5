//! Documents of a folder's shards.

use std::path::{Path, PathBuf};

use goldfish_shard::{Manifest, ShardBatch, ShardReader};

use crate::error::InspectError;

/// The batches of all shards in order, each with its shard and the number of its first row there.
pub(crate) fn batches<'a>(
    folder: &'a Path,
    manifest: &'a Manifest,
) -> impl Iterator<Item = Result<(PathBuf, u64, ShardBatch), InspectError>> + 'a {
    manifest.shards.iter().flat_map(move |shard| {
        let path = folder.join(&shard.name);
        let (reader, error) = match ShardReader::open(&path, manifest.output.format) {
            Ok(reader) => (Some(reader), None),
            Err(error) => (None, Some(Err(error.into()))),
        };
        let mut row = 0;
        let batches = reader.into_iter().flatten().map(move |batch| {
            let batch = batch?;
            let first = row;
            row += batch.len() as u64;
            Ok((path.clone(), first, batch))
        });
        batches.chain(error)
    })
}

/// The ids and the mask of a row.
pub(crate) fn row<'a>(
    path: &Path,
    first_row: u64,
    batch: &'a ShardBatch,
    row: usize,
) -> Result<(&'a [u32], &'a [u8]), InspectError> {
    let (ids, mask) = (batch.ids(row), batch.mask(row));
    let problem = if ids.len() != mask.len() {
        format!("{} input_ids and {} loss_mask values", ids.len(), mask.len())
    } else if let Some(position) = ids.iter().position(|&id| id < 0) {
        format!("the id {} at position {position} is negative", ids[position])
    } else {
        return Ok((bytemuck::cast_slice(ids), mask));
    };
    Err(InspectError::Row { path: path.to_owned(), row: first_row + row as u64, problem })
}
