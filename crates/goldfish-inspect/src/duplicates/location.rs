/// A word of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    /// Number of the document in the folder.
    pub(crate) document: u64,
    /// Its position among the document's words.
    pub(crate) position: u64,
}

/// Two locations with the same word, in copies of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) locations: [Location; 2],
}
