/// Largest context width, in tokens (normalized characters for the rule `text-v1`).
pub const MAX_CONTEXT: u32 = 1 << 16;

/// Numbers in a [`UniformTable`](crate::UniformTable): the prime `table_size` of the reference implementation.
pub const TABLE_LEN: usize = 1_000_003;

/// Largest context of the rules that choose an anchor in it, in words (`text-v2`) or tokens (`anchor`).
pub const MAX_ANCHOR_CONTEXT: u32 = 64;

/// Longest run of kept words or tokens that a bound can be set to.
pub const MAX_LONGEST_RUN: u32 = 1 << 24;
