//! Documents of a folder's shards.

use std::path::{Path, PathBuf};

use goldfish_shard::{Manifest, ShardBatch, ShardReader};

use crate::error::InspectError;

/// Consecutive documents of a shard.
pub(crate) struct Batch {
    pub(crate) path: PathBuf,
    /// The number of the first row in the shard.
    first_row: u64,
    pub(crate) rows: ShardBatch,
}

impl Batch {
    /// The ids and the mask of a row.
    pub(crate) fn row(&self, row: usize) -> Result<(&[u32], &[u8]), InspectError> {
        let (ids, mask) = (self.rows.ids(row), self.rows.mask(row));
        let problem = if ids.len() != mask.len() {
            format!("{} input_ids and {} loss_mask values", ids.len(), mask.len())
        } else if let Some(position) = self.rows.negative_id(row) {
            format!("the id {} at position {position} is negative", ids[position])
        } else {
            return Ok(self.checked_row(row));
        };
        Err(self.error(row, problem))
    }

    /// The same, for a row that was found right before.
    pub(crate) fn checked_row(&self, row: usize) -> (&[u32], &[u8]) {
        (bytemuck::cast_slice(self.rows.ids(row)), self.rows.mask(row))
    }

    /// Why a row is not what the manifest promises.
    pub(crate) fn error(&self, row: usize, problem: String) -> InspectError {
        InspectError::Row { path: self.path.clone(), row: self.first_row + row as u64, problem }
    }
}

/// The batches of all shards in order.
pub(crate) fn batches<'a>(
    folder: &'a Path,
    manifest: &'a Manifest,
) -> impl Iterator<Item = Result<Batch, InspectError>> + Send + 'a {
    manifest.shards.iter().flat_map(move |shard| {
        let path = folder.join(&shard.name);
        let (reader, error) = match ShardReader::open(&path, manifest.output.format) {
            Ok(reader) => (Some(reader), None),
            Err(error) => (None, Some(Err(error.into()))),
        };
        let mut row = 0;
        let batches = reader.into_iter().flatten().map(move |rows| {
            let rows = rows?;
            let first_row = row;
            row += rows.len() as u64;
            Ok(Batch { path: path.clone(), first_row, rows })
        });
        batches.chain(error)
    })
}
