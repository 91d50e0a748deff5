use crate::{MAX_ANCHOR_CONTEXT, MAX_CONTEXT, TABLE_LEN};

/// Why a rule could not be built, or a text not be cut into words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// `k` is below 2: with `k = 1` every token would be dropped.
    #[error("k is {k}, but one token in k is dropped and k must be at least 2 (the paper uses 4)")]
    K {
        /// The value given.
        k: u32,
    },
    /// The context width is zero or unreasonably large.
    #[error("context is {context}, but must be in 1..={MAX_CONTEXT} (the paper uses 13 tokens)")]
    Context {
        /// The value given, in tokens or characters.
        context: u32,
    },
    /// The context among which an anchor is looked for is zero or too large.
    #[error(
        "context is {context}, but must be in 1..={MAX_ANCHOR_CONTEXT} for a rule that chooses an anchor in it"
    )]
    AnchorContext {
        /// The value given, in words or tokens.
        context: u32,
    },
    /// The longest run is too short for the drop rate, or unreasonably long.
    #[error(
        "the longest run is {run}, but must be in {least}..={most} for k = {k}: a shorter one takes more drops than one in k"
    )]
    LongestRun {
        /// The value given.
        run: u32,
        /// The rule's `k`.
        k: u32,
        /// The shortest run that can be promised.
        least: u32,
        /// The longest run that can be given.
        most: u32,
    },
    /// The sequence length of scope `sequence` is zero.
    #[error(
        "the sequence length is 0; give the number of targets in one packed training sequence, for example 2048"
    )]
    SequenceLength,
    /// A rule that decides by the text was asked to mask packed sequences, which have none.
    #[error(
        "the rule text decides by a document's text, which packed sequences do not have; use scope document, or another rule"
    )]
    TextInSequences,
    /// A rule that looks at the tokens after a position was asked to mask packed sequences, whose next document is not known.
    #[error(
        "the rule looks at the tokens after a position, which packed sequences do not have yet; use scope document, or another rule"
    )]
    LookaheadInSequences,
    /// A table of uniform numbers has the wrong length.
    #[error(
        "the hash table holds {found} numbers, but the rule indexes {TABLE_LEN}; save torch's table with numpy.save"
    )]
    TableLength {
        /// How many numbers were found.
        found: usize,
    },
    /// A table of uniform numbers holds something else.
    #[error(
        "the hash table holds {value} at index {index}, but its numbers must be in 0..=1; save torch's table with numpy.save"
    )]
    TableValue {
        /// Its index in the table.
        index: usize,
        /// The number, as text.
        value: String,
    },
    /// The rule was described with a table from a file, and that table is not available.
    #[error("the rule uses the hash table {expected}, which was not given")]
    TableMissing {
        /// The fingerprint in the description.
        expected: String,
    },
    /// The table given is not the one the rule was described with.
    #[error("the hash table given has the fingerprint {found}, but the rule was made with {expected}")]
    TableDiffers {
        /// The fingerprint in the description.
        expected: String,
        /// The fingerprint of the table given.
        found: String,
    },
    /// The number of coefficients is not the context width.
    #[error(
        "{found} coefficients were given for a context of {context} tokens; there must be one for each token of the window"
    )]
    Coefficients {
        /// The context width, in tokens.
        context: u32,
        /// How many coefficients were given.
        found: usize,
    },
    /// The rule `coefficient-sum` was asked for without coefficients.
    #[error(
        "the rule coefficient-sum needs the training run's coefficients, one int64 for each token of the context"
    )]
    NoCoefficients,
    /// The description was written by a later version of the rule.
    #[error(
        "the rule has version {version}, but this build implements version {known} only; use the goldfish that wrote it, or mask again"
    )]
    Version {
        /// The version in the description.
        version: u32,
        /// The version this build implements.
        known: u32,
    },
    /// A text is too long to be cut into words.
    #[error("the text has {bytes} bytes, but must have fewer than 4 GiB; divide it into several documents")]
    TextLength {
        /// How long it is.
        bytes: usize,
    },
}
