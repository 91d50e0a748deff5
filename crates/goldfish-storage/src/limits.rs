//! How much of an object is read or written at once.

/// Bytes of an object that one request fetches, at most.
pub const BLOCK_BYTES: u64 = 4 << 20;

/// Blocks of an object that are fetched ahead of a reader that reads it in order.
pub const AHEAD_BLOCKS: usize = 3;

/// Offsets of an object that one handle reads at in turn, each with a block and those ahead of it.
pub const READ_WINDOWS: usize = 4;

/// Bytes of the parts in which an object is written. A store takes 10,000 parts, so that an object has 156 GiB at most.
pub const PART_BYTES: usize = 16 << 20;

/// Parts of an object that are sent to the store at the same time, besides the one that is filled.
pub const PARTS_AT_ONCE: usize = 2;
