//! Fuzz targets, one function each. A target panics if its oracle disagrees.
//!
//! Parsers may return an error or reject rows, but must account for every row, must not panic, and must agree with an
//! independent reader of the same bytes. Mask rules must agree with their naive definitions. `crates/fuzz/README.md`
//! explains how to run them.

mod columns;
mod harness;
mod kernels;
mod memmaps;
mod rows;
mod shards;
mod tokens;

pub use columns::{arrow, parquet};
pub use harness::prepare;
pub use kernels::{mask_rules, mask_text, sequences};
pub use memmaps::{datatrove, megatron, npy, olmo};
pub use rows::{jsonl, text};
pub use shards::{manifest, shard};
pub use tokens::{encode, text_map, tokenizer};
