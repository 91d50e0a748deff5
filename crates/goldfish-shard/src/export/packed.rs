//! Packed sequences of one length, in Parquet.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, PrimitiveBuilder, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float32Type, Int8Type, Int32Type, Schema, SchemaRef,
};

use super::layout::{Exporter, Layout, documents};
use super::parquet_file::ParquetFile;
use crate::file_set::SetFile;
use crate::manifest::ShardEntry;
use crate::staged::StagedFiles;
use crate::{ShardBatch, ShardError};

/// Rows are handed to the writer when they hold about so many tokens.
const BATCH_TOKENS: usize = 1 << 20;

/// Fills rows with documents in order; a document that doesn't fit continues in the next row as a sequence of its own.
///
/// Rows for Megatron-Bridge have at most the length, and say where sequences start. Those for Levanter have exactly the
/// length: the last one is filled up with ids of 0 that don't count.
pub(super) struct Packed<'f> {
    files: &'f StagedFiles,
    layout: Layout,
    length: usize,
    schema: SchemaRef,
    open: Option<ParquetFile>,
    row: Row,
    rows: Vec<Row>,
    done: Vec<SetFile>,
    written: u64,
}

/// One packed sequence.
#[derive(Default, Debug, PartialEq)]
struct Row {
    ids: Vec<i32>,
    /// Shifted: value `i` is about the prediction of token `i + 1` of the same sequence.
    weights: Vec<f32>,
    /// Where each sequence starts.
    starts: Vec<i32>,
}

impl Row {
    fn push(&mut self, ids: &[i32], weights: &[f32]) {
        self.starts.push(self.ids.len() as i32);
        self.ids.extend_from_slice(ids);
        self.weights.extend_from_slice(&weights[1..]);
        self.weights.push(0.0);
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

/// A column of lists.
fn lists<T: ArrowPrimitiveType>(rows: impl Iterator<Item = impl Iterator<Item = T::Native>>) -> ArrayRef {
    let mut lists = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for row in rows {
        row.for_each(|value| lists.values().append_value(value));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

impl<'f> Packed<'f> {
    pub(super) fn new(files: &'f StagedFiles, layout: Layout, length: u32) -> Self {
        let list = |name, item| Field::new_list(name, Field::new_list_field(item, true), true);
        let ids = list("input_ids", DataType::Int32);
        let columns = match layout {
            Layout::Levanter => vec![ids, list("loss_weights", DataType::Float32)],
            _ => vec![ids, list("loss_mask", DataType::Int8), list("seq_start_id", DataType::Int32)],
        };
        let schema = Arc::new(Schema::new(columns));
        let (row, rows, done) = (Row::default(), Vec::new(), Vec::new());
        Self { files, layout, length: length as usize, schema, open: None, row, rows, done, written: 0 }
    }

    fn push(&mut self, mut ids: &[i32], mut weights: &[f32]) -> Result<(), ShardError> {
        while !ids.is_empty() {
            let room = self.length - self.row.ids.len();
            let taken = match self.layout {
                Layout::Levanter => ids.len().min(room),
                _ => share(ids.len(), room, self.length),
            };
            if taken > 0 {
                self.row.push(&ids[..taken], &weights[..taken]);
            }
            (ids, weights) = (&ids[taken..], &weights[taken..]);
            if !ids.is_empty() || self.row.ids.len() == self.length {
                self.end_row()?;
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), ShardError> {
        let mut row = std::mem::take(&mut self.row);
        self.written += row.ids.len() as u64;
        if self.layout == Layout::Levanter {
            row.ids.resize(self.length, 0);
            row.weights.resize(self.length, 0.0);
        }
        self.rows.push(row);
        if self.rows.len() * self.length >= BATCH_TOKENS { self.write_rows() } else { Ok(()) }
    }

    fn write_rows(&mut self) -> Result<(), ShardError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let ids = lists::<Int32Type>(rows.iter().map(|row| row.ids.iter().copied()));
        let weights = rows.iter().map(|row| row.weights.iter());
        let columns = match self.layout {
            Layout::Levanter => {
                vec![ids, lists::<Float32Type>(weights.map(Iterator::copied))]
            }
            _ => {
                let starts = lists::<Int32Type>(rows.iter().map(|row| row.starts.iter().copied()));
                // Fractions are refused.
                let mask = weights.map(|weights| weights.map(|&weight| i8::from(weight > 0.0)));
                vec![ids, lists::<Int8Type>(mask), starts]
            }
        };
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(ShardError::arrow(self.files.root()))?;
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let extension = if self.layout == Layout::Levanter { "parquet" } else { "idx.parquet" };
                let file = self.files.create(&format!("packed-{:05}.{extension}", self.done.len()))?;
                none.insert(ParquetFile::new(file, self.schema.clone())?)
            }
        };
        open.write(&batch)
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
            let weights = batch.weights(index).unwrap_or_else(|| {
                of_mask.clear();
                of_mask.extend(document.mask.iter().map(|&keep| f32::from(keep)));
                &of_mask
            });
            self.push(document.ids, weights)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ShardError> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        if !self.row.ids.is_empty() {
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
        let mut row = Row::default();
        row.push(&[5, 6, 7], &[0.0, 1.0, 0.0]);
        row.push(&[8], &[1.0]);
        row.push(&[9, 10], &[1.0, 0.5]);
        let weights = vec![1.0, 0.0, 0.0, 0.0, 0.5, 0.0];
        let expected = Row { ids: vec![5, 6, 7, 8, 9, 10], weights, starts: vec![0, 3, 4] };
        assert_eq!(row, expected);
    }
}
