//! What an inspection looks for.

/// What to look for.
#[derive(Debug, Clone)]
pub struct InspectOptions {
    /// Count by the values of this column, or by `input`.
    pub by: Option<String>,
    /// Tokens of the documents that are looked at closely, about.
    pub sample_tokens: u64,
    /// Seed of all sampling.
    pub seed: u64,
    /// Whether to search for passages that recur.
    pub duplicates: Option<DuplicateOptions>,
}

/// Which passages to compare.
#[derive(Debug, Clone, Copy)]
pub struct DuplicateOptions {
    /// Least length of a passage, in normalized characters.
    pub least_characters: usize,
    /// Most pairs of passages that are compared.
    pub pairs: usize,
    /// Pairs that are shown.
    pub shown: usize,
}
