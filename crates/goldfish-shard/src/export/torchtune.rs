//! Parquet with one row a document.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};

use super::layout::{Exporter, documents};
use super::lists::{Column, Lists};
use super::parquet_file::{ParquetFile, ROW_GROUP_TOKENS};
use crate::file_set::SetFile;
use crate::manifest::ShardEntry;
use crate::names::shard_name;
use crate::schema::{OutputFormat, list_field};
use crate::staged::StagedFiles;
use crate::{ShardBatch, ShardError};

pub(super) struct Torchtune<'f> {
    files: &'f StagedFiles,
    shards: usize,
    open: Option<ParquetFile>,
    tokens: Lists<i32>,
    /// 1 where the loss ignores a token.
    ignored: Lists<u8>,
    done: Vec<SetFile>,
    written: u64,
}

impl<'f> Torchtune<'f> {
    pub(super) fn new(files: &'f StagedFiles, shards: usize) -> Self {
        let (tokens, ignored) = (Lists::default(), Lists::default());
        Self { files, shards, open: None, tokens, ignored, done: Vec::new(), written: 0 }
    }

    fn write_rows(&mut self) -> Result<(), ShardError> {
        match &mut self.open {
            Some(open) if !self.tokens.is_empty() => {
                open.write(vec![Column::Ids(self.tokens.take()), Column::Flags(self.ignored.take())])
            }
            _ => Ok(()),
        }
    }
}

impl Exporter for Torchtune<'_> {
    fn begin(&mut self, index: usize, _shard: &ShardEntry) -> Result<(), ShardError> {
        let name = shard_name(index, self.shards, OutputFormat::Parquet.extension());
        let columns = vec![list_field("tokens", DataType::Int32), list_field("mask", DataType::Boolean)];
        self.open = Some(ParquetFile::new(self.files.create(&name)?, Arc::new(Schema::new(columns)))?);
        Ok(())
    }

    fn write(&mut self, batch: &ShardBatch, shard: &str, row: u64) -> Result<(), ShardError> {
        for document in documents(batch, shard, row) {
            self.tokens.values().extend_from_slice(document.ids);
            self.ignored.values().extend(document.mask.iter().map(|&keep| u8::from(keep == 0)));
            self.written += document.ids.len() as u64;
            self.tokens.end();
            self.ignored.end();
            if self.tokens.ended() >= ROW_GROUP_TOKENS {
                self.write_rows()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ShardError> {
        self.write_rows()?;
        if let Some(open) = self.open.take() {
            self.done.push(open.finish("tokens, mask")?);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError> {
        Ok((self.done, self.written))
    }
}
