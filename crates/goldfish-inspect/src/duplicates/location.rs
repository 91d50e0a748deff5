/// Normalized characters on each side of a shared fingerprint that are compared.
pub(crate) const RADIUS: usize = 1000;

/// A character of a document's normalized stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    /// Number of the document in the folder.
    pub(crate) document: u64,
    /// Position in its stream.
    pub(crate) position: u64,
}

/// Two locations with the same fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) locations: [Location; 2],
}
