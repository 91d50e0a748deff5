use std::path::PathBuf;

use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_shard::{MAX_INPUTS, MAX_STORE_SHARD_BYTES};

/// How the options of a run contradict each other or its inputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There are no inputs.
    #[error("there is no input to mask")]
    NoInput,
    /// There are too many inputs.
    #[error(
        "{count} inputs, and {MAX_INPUTS} are the most that one run takes; join small files, or mask them in several runs"
    )]
    TooManyInputs {
        /// How many.
        count: usize,
    },
    /// The rank is none of the parts.
    #[error("there is no rank {rank} among {world}: ranks go from 0 to {}", world.saturating_sub(1))]
    NoSuchRank {
        /// The rank.
        rank: u32,
        /// The number of parts.
        world: u32,
    },
    /// The documents and their ids are to come from one column.
    #[error("the column {column:?} can't hold both the documents and their ids")]
    IdColumnIsContent {
        /// The column.
        column: String,
    },
    /// The documents' tokens are to be carried, too.
    #[error("the column {column:?} is in the shards as input_ids")]
    CarriesContent {
        /// The column.
        column: String,
    },
    /// Masks of tokens are to be read with raw text.
    #[error(
        "a column of masks has one value a token, and raw text has no tokens yet; mask token ids, or do without the column"
    )]
    MaskOfText,
    /// Token ids are to be read as text.
    #[error("token ids give their text only with their tokenizer")]
    ScanNeedsTokenizer,
    /// Protected works are found by the text.
    #[error("protected works are found by the text, which token ids give only with their tokenizer")]
    ProtectionNeedsTokenizer,
    /// Protected works can't be indexed.
    #[error("the protected works: {0}")]
    Works(#[from] goldfish_match::MatchError),
    /// A protected work can't be read.
    #[error("the protected works: {file}, row {row}: {reason}; each row needs a text and an id")]
    BadWork {
        /// The file.
        file: String,
        /// The row.
        row: u64,
        /// What is wrong.
        reason: String,
    },
    /// Two protected works have one id.
    #[error("two protected works have the id {id:?}; give each its own")]
    WorkTwice {
        /// The id.
        id: String,
    },
    /// There are no protected works.
    #[error("there are no works to protect in the inputs that the policy names")]
    NoWorks,
    /// Protected works changed while they were read.
    #[error("the protected works changed while they were read; run again on files that stay")]
    WorksChanged,
    /// Works are given for a folder without any.
    #[error("works are given, but the masks of this folder were made without protected works")]
    NothingProtected,
    /// Other works are given than masks were made with.
    #[error(
        "the works or their rule are not those that the masks were made with: their digest is {found}, and the manifest's {expected}"
    )]
    OtherWorks {
        /// The manifest's.
        expected: String,
        /// That of the works given.
        found: String,
    },
    /// A folder has no tokens.
    #[error("protected works were only looked for in this folder, which has no masks to recompute")]
    NothingToRecompute,
    /// Masks alone are to be written under a policy.
    #[error(
        "a policy writes into the shards which entry decided a document, so that masks alone can't be written under one"
    )]
    PolicyOfMasks,
    /// Two columns of the shards would have one name.
    #[error("the shards would have two columns {column:?}; name each column once")]
    ColumnTwice {
        /// The column.
        column: String,
    },
    /// Shards are too large for an object store.
    #[error(
        "{}: shards in an object store may have {} GiB at most, because a store copies no more at once",
        output.display(),
        MAX_STORE_SHARD_BYTES >> 30
    )]
    ShardsTooLargeForStore {
        /// The output.
        output: PathBuf,
    },
    /// An input would be read again or replaced.
    #[error("the input {} is in the output folder {}", input.display(), output.display())]
    InputInOutput {
        /// The input.
        input: PathBuf,
        /// The output folder.
        output: PathBuf,
    },
    /// Text can't become tokens.
    #[error("text needs a tokenizer")]
    TextNeedsTokenizer,
    /// A rule that decides by the text can't read it from ids.
    #[error("the rule {rule} decides by the text, which token ids give only with their tokenizer")]
    RuleNeedsTokenizer {
        /// The rule.
        rule: &'static str,
    },
    /// Masks can't be decided again without the tokenizer that they were made with.
    #[error(
        "the masks were made by the rule {rule}, which decides by the text, with a tokenizer.json{}",
        sha256.as_ref().map(|sha256| format!(" (SHA-256 {sha256})")).unwrap_or_default()
    )]
    MasksNeedTokenizer {
        /// The rule.
        rule: String,
        /// The hash of the tokenizer, if the manifest has it.
        sha256: Option<String>,
    },
    /// Shards were made with another tokenizer.
    #[error("the shards were made with another tokenizer.json (SHA-256 {expected}, this one has {found})")]
    OtherTokenizer {
        /// The hash in the manifest.
        expected: String,
        /// The hash of the tokenizer given.
        found: String,
    },
    /// It is unknown which tokenizer the ids are of.
    #[error("the manifest names no tokenizer, so that it is unknown whether this one fits its ids")]
    UnknownTokenizer,
    /// Documents of packed sequences can't be decided one by one.
    #[error(
        "the masks of this folder are those of packed sequences, which cross documents; mask with the program instead"
    )]
    PackedSequences,
    /// Under a policy a document has the rule of its entry.
    #[error(
        "the masks of this folder are those of a policy, whose entries are chosen by columns; mask with the program instead"
    )]
    SeveralRules,
    /// A mask would have another name than its input.
    #[error("{}: its name is not UTF-8, and its mask would have another one; rename it", input.display())]
    NameNotUtf8 {
        /// The input.
        input: PathBuf,
    },
    /// An input has no format with masks in files of their own.
    #[error(
        "{} is {format}, and masks alone are written for memmaps only (.bin/.idx, .npy, .ds)",
        input.display()
    )]
    NotAMemmap {
        /// The input.
        input: PathBuf,
        /// Its format.
        format: String,
    },
    /// A mask would have the name of another file.
    #[error("the mask of {} would be {}, but {owner} has this name; give fewer inputs", input.display(), mask.display())]
    MaskNameTaken {
        /// The input.
        input: PathBuf,
        /// The file of its mask.
        mask: PathBuf,
        /// Who has the name.
        owner: &'static str,
    },
    /// A mask of an earlier run would be removed.
    #[error(
        "{} is the mask of a memmap that is not among the inputs and would be removed; give all memmaps of the folder at once",
        mask.display()
    )]
    LosesMask {
        /// The mask.
        mask: PathBuf,
    },
    /// The masked tokens are not those of the file.
    #[error(
        "{input}: {tokens} tokens were masked, which don't make its {bytes} bytes; this is a bug in goldfish, please report it"
    )]
    TokensMissing {
        /// The input.
        input: String,
        /// How many tokens were masked.
        tokens: u64,
        /// Bytes of the input.
        bytes: u64,
    },
}

impl Remedies for JobError {
    fn remedies(&self) -> Vec<Remedy> {
        let tokenizer = || Remedy::give(Setting::Tokenizer).value("tokenizer.json");
        vec![match self {
            Self::ProtectionNeedsTokenizer | Self::ScanNeedsTokenizer => tokenizer(),
            Self::Works(_)
            | Self::BadWork { .. }
            | Self::WorkTwice { .. }
            | Self::NoWorks
            | Self::WorksChanged
            | Self::OtherWorks { .. }
            | Self::NothingToRecompute => return Vec::new(),
            Self::NothingProtected => Remedy::omit(Setting::Policy),
            Self::MaskOfText => Remedy::give(Setting::IdsColumn).to("read token ids"),
            Self::PolicyOfMasks => {
                return vec![
                    Remedy::omit(Setting::MasksOnly).to("write shards"),
                    Remedy::omit(Setting::Policy),
                ];
            }
            Self::NoSuchRank { .. } => Remedy::change(Setting::Rank),
            Self::IdColumnIsContent { .. } => Remedy::change(Setting::IdColumn),
            Self::CarriesContent { column } => Remedy::omit(Setting::Carry).value(column),
            Self::ShardsTooLargeForStore { .. } => Remedy::change(Setting::ShardSize),
            Self::InputInOutput { .. } | Self::MaskNameTaken { .. } => Remedy::change(Setting::Output),
            Self::TextNeedsTokenizer | Self::MasksNeedTokenizer { .. } => tokenizer(),
            Self::RuleNeedsTokenizer { .. } => {
                return vec![tokenizer(), Remedy::give(Setting::Rule).value("anchor")];
            }
            Self::UnknownTokenizer => Remedy::give(Setting::Tokenizer).to("mask the corpus with one"),
            Self::NotAMemmap { .. } => Remedy::omit(Setting::MasksOnly).to("write shards"),
            Self::LosesMask { .. } => {
                Remedy::give(Setting::Output).to("write the masks to a folder of their own")
            }
            Self::NoInput
            | Self::SeveralRules
            | Self::TooManyInputs { .. }
            | Self::ColumnTwice { .. }
            | Self::OtherTokenizer { .. }
            | Self::PackedSequences
            | Self::NameNotUtf8 { .. }
            | Self::TokensMissing { .. } => return Vec::new(),
        }]
    }
}
