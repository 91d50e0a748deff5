//! Fuzz targets, one function each: bytes in, a panic if an oracle is wronged.
//!
//! Parsers may answer with an error or with rejected rows, but must account for every row, must not panic, and must
//! give what an independent reading of the same bytes gives. Mask rules must equal their naive definitions.
//! `crates/fuzz/README.md` says how to run them.

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
