/// Largest context width, in tokens (normalized characters for the rule `text-v1`).
pub const MAX_CONTEXT: u32 = 1 << 16;

/// Numbers in a [`UniformTable`](crate::UniformTable): the prime `table_size` of the reference implementation.
pub const TABLE_LEN: usize = 1_000_003;
