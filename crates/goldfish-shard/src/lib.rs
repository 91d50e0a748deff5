//! Shards: token ids with their loss masks in Arrow files, a manifest next to them.
//!
//! A shard folder holds `data-00000-of-000NN.arrow` (or `.parquet`), `manifest.json`, and for the default
//! format the two small files with which Hugging Face `datasets.load_from_disk` maps the folder into memory.
//! [`ShardWriter`] writes one, [`ShardReader`] reads it back, [`verify`] checks it against its manifest. [`export()`]
//! writes it in the layouts that training loops read, as a [`FileSet`]. Where works are protected, `protected.parquet` lists the
//! passages that copy them ([`read_passages`]).
//!
//! Everything is written under a hidden staging folder first and moved to its final name when the whole set
//! is complete; the manifest comes last, so that a folder with a manifest is a complete one. A journal there says
//! which shards are finished, so that a run can be resumed after any interruption. A folder may be in an object store,
//! where copies take the place of new names and a marker that of the lock (feature `object-stores`).

mod blocks;
mod disk;
mod encoder;
mod error;
mod export;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod file_set;
mod flush;
mod folder;
mod hf;
mod inputs;
mod journal;
mod kept;
mod lists;
mod lock;
mod manifest;
pub mod megatron;
mod merge;
mod names;
mod passages;
mod placing;
mod protected;
mod reader;
mod schema;
mod staged;
mod staging;
mod table;
mod verify;
mod writer;

pub use encoder::UnwrittenShard;
pub use error::{ExportError, MAX_FOLDER_SHARDS, MAX_SEQUENCE_LENGTH, MAX_STORE_REJECTS_BYTES, ShardError};
pub use export::{ExportOptions, Layout, TokenType, export};
pub use file_set::{FILE_SET_NAME, FILE_SET_TABLES, FILE_SET_VERSION, FileSet, SetFile, verify_file_set};
pub use folder::{OutputMode, Prepared, prepare_folder};
pub use journal::{FinishedFiles, JOURNAL_VERSION, Unfinished};
pub use kept::{DecidedRun, KeptCounter, KeptRun, KeptRuns};
pub use manifest::{
    CompanionEntry, ExistingMaskEntry, ExistingMaskKind, FORMAT_VERSION, InputEntry, MANIFEST_NAME,
    MAX_MANIFEST_BYTES, Manifest, OutputEntry, POLICY_COLUMN, PartEntry, PolicyCounts, PolicyRule,
    REJECTS_NAME, RejectsEntry, ShardEntry, SourceEntry, TokenizerEntry, ToolEntry, Totals,
};
pub use merge::merge;
pub use names::{INPUTS_NAME, part_folder};
pub use passages::{PassageRow, read_passages};
pub use protected::{PROTECTED_NAME, ProtectedCounts, ProtectedEntry};
pub use reader::{ShardBatch, ShardReader};
pub use schema::{ExtraColumn, OutputFormat, ShardSchema};
pub use staged::{Placement, PreviousRun, StagedFile, StagedFiles, UnfinishedFiles};
pub use staging::PreparedFolder;
pub use table::{MAX_INPUTS, MAX_LISTED_INPUTS, TableEntry};
pub use verify::{NOT_LISTED, Problem, RowCheck, verify};
pub use writer::{ListLengths, MAX_STORE_SHARD_BYTES, ShardWriter, WriterOptions};
