use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest document in bytes that [`ReadOptions::max_document`] may allow.
pub const MAX_DOCUMENT_BYTES: usize = (1 << 31) - 1;

/// Largest document in bytes where nothing else is asked for: tokenizing takes many times its size in memory.
pub const DEFAULT_MAX_DOCUMENT: usize = 64 << 20;

/// Largest document in tokens.
pub const MAX_DOCUMENT_TOKENS: usize = 1 << 29;

/// How much of an input goes into one chunk, in bytes of the (decompressed) file.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Which column holds the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Raw text.
    Text {
        /// Name of a string column.
        column: String,
    },
    /// Token ids.
    Ids {
        /// Name of a column of integer lists.
        column: String,
    },
}

impl Content {
    /// Name of the column.
    #[must_use]
    pub fn column(&self) -> &str {
        match self {
            Self::Text { column } | Self::Ids { column } => column,
        }
    }
}

/// Integer type of the ids in a headerless memmap, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[allow(missing_docs, reason = "the names say it")]
pub enum IdType {
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Uint64,
    Int64,
}

impl IdType {
    /// The name in messages, in manifests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Uint32 => "uint32",
            Self::Int32 => "int32",
            Self::Uint64 => "uint64",
            Self::Int64 => "int64",
        }
    }

    /// Bytes of one id.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 => 2,
            Self::Uint32 | Self::Int32 => 4,
            Self::Uint64 | Self::Int64 => 8,
        }
    }
}

/// Which masks that documents of token ids come with are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExistingMask {
    /// None.
    #[default]
    None,
    /// A column of lists with one value a token: booleans, or numbers from 0 on.
    Mask {
        /// Its name.
        column: String,
        /// Whether numbers other than 0 and 1 are weights; else they are errors.
        weights: bool,
    },
    /// A column of lists with one label a token, not shifted: the token's id, or -100 where it is excluded from the loss.
    Labels {
        /// Its name.
        column: String,
    },
}

impl ExistingMask {
    /// Name of the column.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Mask { column, .. } | Self::Labels { column } => Some(column),
        }
    }
}

/// Columns that hold masks, labels or weights where tokens have them: of TRL and `transformers`, Levanter, Megatron and goldfish.
pub const MASK_COLUMNS: [&str; 6] =
    ["labels", "loss_mask", "assistant_masks", "completion_mask", "loss_weights", "label_mask"];

/// What to read from the inputs.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Which column holds the documents. Memmaps hold ids in any case.
    pub content: Content,
    /// Column with the documents' own ids; without it a document is called `name:row`.
    pub id_column: Option<String>,
    /// Columns to carry along. Like conditions they may be paths: `meta.source` is the column of this name or else the field
    /// `source` of the column `meta`.
    pub carry: Vec<String>,
    /// Columns to read besides, as text.
    pub conditions: Vec<String>,
    /// Masks that the documents come with.
    pub existing: ExistingMask,
    /// Whether token ids are refused if another column of theirs seems to be a mask: one with a name in [`MASK_COLUMNS`] that
    /// holds lists.
    pub refuse_masks: bool,
    /// Id type of `olmo` and `datatrove` memmaps; `None` takes the type that the sizes imply, else `uint16`.
    pub id_type: Option<IdType>,
    /// The id that ends a document in an `olmo` memmap without a sidecar.
    pub eos_id: Option<u32>,
    /// Largest document in bytes: of its line, file or text, or four a token. Longer ones are refused before they
    /// fill the memory. At most [`MAX_DOCUMENT_BYTES`].
    pub max_document: usize,
    /// Ids must be below this (the vocabulary's size); `None` allows any id that fits an `i32`.
    pub vocab_size: Option<u32>,
}

impl ReadOptions {
    /// Options with only the content set.
    #[must_use]
    pub fn new(content: Content) -> Self {
        let max_document = DEFAULT_MAX_DOCUMENT;
        let (carry, conditions, existing) = Default::default();
        let (id_column, id_type, eos_id, vocab_size) = (None, None, None, None);
        Self {
            content,
            id_column,
            carry,
            conditions,
            existing,
            refuse_masks: true,
            id_type,
            eos_id,
            max_document,
            vocab_size,
        }
    }

    /// Columns that are carried along, then conditions.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &String> + Clone {
        self.carry.iter().chain(&self.conditions)
    }

    /// Names of all columns besides the content.
    pub(crate) fn other_columns(&self) -> impl Iterator<Item = &str> {
        let columns = self.id_column.iter().chain(self.columns()).map(String::as_str);
        columns.chain(self.existing.column())
    }

    /// Whether a column of this name may hold a mask, though no option names it.
    pub(crate) fn is_unnamed_mask(&self, column: &str) -> bool {
        self.refuse_masks
            && self.existing.column() != Some(column)
            && matches!(self.content, Content::Ids { .. })
            && column != self.content.column()
            && MASK_COLUMNS.contains(&column)
    }

    /// Largest document in bytes, within what the formats of shards allow.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_document.min(MAX_DOCUMENT_BYTES)
    }

    /// Largest id that may occur.
    pub(crate) fn last_id(&self) -> u32 {
        self.vocab_size.map_or(i32::MAX as u32, |size| size.saturating_sub(1).min(i32::MAX as u32))
    }

    /// Why `id` may not occur, for an error message.
    pub(crate) fn id_error(&self, id: impl std::fmt::Display + Into<i128> + Copy) -> String {
        let value: i128 = id.into();
        match self.vocab_size {
            _ if value < 0 => format!("token id {id} is negative"),
            _ if value > u32::MAX.into() => format!("token id {id} doesn't fit 32 bits"),
            Some(size) if value >= size.into() => {
                format!(
                    "token id {id} is not in the tokenizer's vocabulary of {size}; is this the right tokenizer?"
                )
            }
            _ => format!("token id {id} doesn't fit the shards' int32 column"),
        }
    }
}
