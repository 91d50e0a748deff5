//! What a folder of masked shards holds.
mod report;
pub use report::*;
