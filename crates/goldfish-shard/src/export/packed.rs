//! Packed sequences of one length, in Parquet.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::layout::{Exporter, Layout, documents};
use super::lists::{Column, Lists};
use super::parquet_file::{ParquetFile, ROW_GROUP_TOKENS};
use crate::file_set::SetFile;
use crate::manifest::ShardEntry;
use crate::schema::list_field;
use crate::staged::StagedFiles;
use crate::{ShardBatch, ShardError};

/// Fills rows with documents in order; a document that doesn't fit continues in the next row as a sequence of its own.
///
/// Rows for Megatron-Bridge have at most the length, and say where sequences start. Those for Levanter have exactly the
/// length: the last one is filled up with ids of 0 that don't count.
pub(super) struct Packed<'f> {
    files: &'f StagedFiles,
    layout: Layout,
    /// Whether there are weights other than 0 and 1, for Levanter.
    fractions: bool,
    length: usize,
    schema: SchemaRef,
    open: Option<ParquetFile>,
    rows: Rows,
    done: Vec<SetFile>,
    written: u64,
}

/// Packed sequences, the last of which has room.
#[derive(Default, Debug, PartialEq)]
struct Rows {
    ids: Lists<i32>,
    /// Shifted: value `i` is about the prediction of token `i + 1` of the same sequence.
    mask: Lists<u8>,
    /// Instead of the mask where there are fractions, shifted in the same way.
    weights: Lists<f32>,
    /// For Megatron-Bridge: where each sequence starts.
    starts: Lists<i32>,
}

/// What a sequence predicts.
#[derive(Clone, Copy)]
enum Loss<'a> {
    Mask(&'a [u8]),
    Weights(&'a [f32]),
}

impl<'a> Loss<'a> {
    fn split_at(self, tokens: usize) -> (Self, Self) {
        fn both<'a, T>(values: &'a [T], tokens: usize, of: fn(&'a [T]) -> Loss<'a>) -> (Loss<'a>, Loss<'a>) {
            let (taken, rest) = values.split_at(tokens);
            (of(taken), of(rest))
        }
        match self {
            Self::Mask(mask) => both(mask, tokens, Self::Mask),
            Self::Weights(weights) => both(weights, tokens, Self::Weights),
        }
    }
}

impl Rows {
    /// Adds a sequence, of a token at least, to the open row.
    fn push(&mut self, layout: Layout, ids: &[i32], loss: Loss<'_>) {
        if layout == Layout::Bridge {
            self.starts.values().push(self.ids.open() as i32);
        }
        match loss {
            Loss::Mask(mask) => {
                self.mask.values().extend_from_slice(&mask[1..]);
                self.mask.values().push(0);
            }
            Loss::Weights(weights) => {
                self.weights.values().extend_from_slice(&weights[1..]);
                self.weights.values().push(0.0);
            }
        }
        self.ids.values().extend_from_slice(ids);
    }

    /// Ends the open row.
    fn end(&mut self, layout: Layout, length: usize) {
        let missing = if layout == Layout::Levanter { length - self.ids.open() } else { 0 };
        let has_weights = self.weights.open() > 0;
        self.ids.fill(0, missing);
        self.ids.end();
        if has_weights {
            self.weights.fill(0.0, missing);
            self.weights.end();
        } else {
            self.mask.fill(0, missing);
            self.mask.end();
        }
        if layout == Layout::Bridge {
            self.starts.end();
        }
    }
}

/// How many of a document's tokens go into a row with room for some: all that fit, but no sequence of a single token,
/// which predicts nothing, where it can be helped.
fn share(tokens: usize, room: usize, length: usize) -> usize {
    match tokens.min(room) {
        1 if tokens > 1 && room < length => 0,
        taken if tokens - taken == 1 && taken > 2 => taken - 1,
        taken => taken,
    }
}

impl<'f> Packed<'f> {
    pub(super) fn new(files: &'f StagedFiles, layout: Layout, length: u32, fractions: bool) -> Self {
        let ids = list_field("input_ids", DataType::Int32);
        let columns = match layout {
            Layout::Levanter => vec![ids, list_field("loss_weights", DataType::Float32)],
            _ => vec![
                ids,
                list_field("loss_mask", DataType::Int8),
                list_field("seq_start_id", DataType::Int32),
            ],
        };
        let schema = Arc::new(Schema::new(columns));
        let (rows, done) = (Rows::default(), Vec::new());
        Self { files, layout, fractions, length: length as usize, schema, open: None, rows, done, written: 0 }
    }

    fn push(&mut self, mut ids: &[i32], mut loss: Loss<'_>) -> Result<(), ShardError> {
        while !ids.is_empty() {
            let room = self.length - self.rows.ids.open();
            let taken = match self.layout {
                Layout::Levanter => ids.len().min(room),
                _ => share(ids.len(), room, self.length),
            };
            let ((sequence, more), (of_sequence, of_more)) = (ids.split_at(taken), loss.split_at(taken));
            if taken > 0 {
                self.rows.push(self.layout, sequence, of_sequence);
            }
            (ids, loss) = (more, of_more);
            if !ids.is_empty() || self.rows.ids.open() == self.length {
                self.end_row()?;
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), ShardError> {
        self.written += self.rows.ids.open() as u64;
        self.rows.end(self.layout, self.length);
        if self.rows.ids.ended() >= ROW_GROUP_TOKENS { self.write_rows() } else { Ok(()) }
    }

    fn write_rows(&mut self) -> Result<(), ShardError> {
        let rows = &mut self.rows;
        if rows.ids.is_empty() {
            return Ok(());
        }
        let ids = Column::Ids(rows.ids.take());
        let columns = match self.layout {
            Layout::Levanter if self.fractions => vec![ids, Column::Weights(rows.weights.take())],
            Layout::Levanter => vec![ids, Column::WholeWeights(rows.mask.take())],
            _ => vec![ids, Column::Mask(rows.mask.take()), Column::Ids(rows.starts.take())],
        };
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let extension = if self.layout == Layout::Levanter { "parquet" } else { "idx.parquet" };
                let file = self.files.create(&format!("packed-{:05}.{extension}", self.done.len()))?;
                none.insert(ParquetFile::new(file, self.schema.clone())?)
            }
        };
        open.write(columns)
    }

    fn end_file(&mut self) -> Result<(), ShardError> {
        self.write_rows()?;
        if let Some(open) = self.open.take() {
            self.done.push(open.finish(match self.layout {
                Layout::Levanter => "packed input_ids, loss_weights (shifted)",
                _ => "packed input_ids, loss_mask (shifted), seq_start_id",
            })?);
        }
        Ok(())
    }
}

impl Exporter for Packed<'_> {
    fn begin(&mut self, _index: usize, _shard: &ShardEntry) -> Result<(), ShardError> {
        // Not where a shard ends, so that what is left of the last one's documents needs no file of its own.
        self.end_file()
    }

    fn write(&mut self, batch: &ShardBatch, shard: &str, row: u64) -> Result<(), ShardError> {
        let mut of_mask = Vec::new();
        for (index, document) in documents(batch, shard, row).enumerate() {
            let loss = match (self.fractions, batch.weights(index)) {
                (true, Some(weights)) => Loss::Weights(weights),
                (true, None) => {
                    of_mask.clear();
                    of_mask.extend(document.mask.iter().map(|&keep| f32::from(keep)));
                    Loss::Weights(&of_mask)
                }
                // Without fractions a weight is what the mask says.
                (false, _) => Loss::Mask(document.mask),
            };
            self.push(document.ids, loss)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ShardError> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        if self.rows.ids.open() > 0 {
            self.end_row()?;
        }
        self.end_file()?;
        Ok((self.done, self.written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fill_up_and_no_sequence_of_one_token_is_made_of_a_longer_one() {
        // All that fits; the rest continues in the next row.
        assert_eq!((share(5, 8, 8), share(8, 8, 8), share(20, 8, 8)), (5, 8, 8));
        // One token too many: two are left for the next row.
        assert_eq!(share(9, 8, 8), 7);
        // Room for one: the document starts in the next row, unless it has no more.
        assert_eq!((share(4, 1, 8), share(1, 1, 8)), (0, 1));
        // Rows of two tokens have no choice.
        assert_eq!(share(3, 2, 2), 2);
    }

    #[test]
    fn masks_are_about_the_next_token_of_the_same_sequence() {
        let mut rows = Rows::default();
        rows.push(Layout::Bridge, &[5, 6, 7], Loss::Mask(&[0, 1, 0]));
        rows.push(Layout::Bridge, &[8], Loss::Mask(&[1]));
        rows.push(Layout::Bridge, &[9, 10], Loss::Mask(&[1, 1]));
        rows.end(Layout::Bridge, 8);
        assert_eq!(rows.ids.values(), &[5, 6, 7, 8, 9, 10]);
        assert_eq!(rows.mask.values(), &[1, 0, 0, 0, 1, 0]);
        assert_eq!(rows.starts.values(), &[0, 3, 4]);

        let mut rows = Rows::default();
        rows.push(Layout::Levanter, &[5, 6, 7], Loss::Weights(&[0.0, 0.5, 1.0]));
        rows.push(Layout::Levanter, &[8], Loss::Weights(&[1.0]));
        rows.end(Layout::Levanter, 6);
        assert_eq!(rows.ids.values(), &[5, 6, 7, 8, 0, 0]);
        assert_eq!(rows.weights.values(), &[0.5, 1.0, 0.0, 0.0, 0.0, 0.0]);

        let mut rows = Rows::default();
        rows.push(Layout::Levanter, &[5, 6, 7], Loss::Mask(&[0, 0, 1]));
        rows.end(Layout::Levanter, 5);
        assert_eq!(rows.ids.values(), &[5, 6, 7, 0, 0]);
        assert_eq!(rows.mask.values(), &[0, 1, 0, 0, 0]);
    }
}
