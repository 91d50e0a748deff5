//! Layouts, and what writes documents in them.

use crate::error::ExportError;
use crate::file_set::SetFile;
use crate::kept::short_id;
use crate::manifest::ShardEntry;
use crate::{ShardBatch, ShardError};

/// Where shards can go.
///
/// Masks and labels are aligned with the tokens, but for those of `Bridge` and `Levanter`, which are shifted: their value `i`
/// is about the prediction of token `i + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Layout {
    /// Megatron-LM: tokens.bin/.idx, and mask.bin/.idx of uint8 with the same documents, for a patched loop.
    Megatron,
    /// Megatron-LM: tokens.bin/.idx, and labels.bin/.idx of int32 with -100 where dropped.
    MegatronLabels,
    /// GPT-NeoX: the same, for `train_data_paths` and `train_label_data_paths`.
    Neox,
    /// OLMo and OLMo-core: tokens/*.npy for `paths`, `label_mask/*.npy` for `label_mask_paths`, headerless.
    Olmo,
    /// datatrove: *.ds with .ds.index and .ds.loss.
    Datatrove,
    /// Megatron-Bridge and `NeMo`: packed Parquet, masks shifted; needs a sequence length.
    Bridge,
    /// Levanter: packed Parquet with float32 `loss_weights`, shifted; needs a sequence length.
    Levanter,
    /// torchtune: Parquet with tokens and mask, which is true where the loss ignores a token.
    Torchtune,
    /// Hugging Face Trainer, TRL, axolotl: for `datasets.load_from_disk`, with labels of -100 where dropped.
    Hf,
}

impl Layout {
    /// The name in manifests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Megatron => "megatron",
            Self::MegatronLabels => "megatron-labels",
            Self::Neox => "neox",
            Self::Olmo => "olmo",
            Self::Datatrove => "datatrove",
            Self::Bridge => "bridge",
            Self::Levanter => "levanter",
            Self::Torchtune => "torchtune",
            Self::Hf => "hf",
        }
    }

    /// Whether its masks can be fractions.
    #[must_use]
    pub fn takes_weights(self) -> bool {
        self == Self::Levanter
    }

    /// The types that token ids may have in its files; the first one holds any id, the last one is the smallest. Empty
    /// where there is no choice.
    #[must_use]
    pub fn token_types(self) -> &'static [TokenType] {
        match self {
            Self::Megatron | Self::MegatronLabels | Self::Neox => &[TokenType::Int32, TokenType::Uint16],
            Self::Olmo | Self::Datatrove => &[TokenType::Uint32, TokenType::Uint16],
            Self::Bridge | Self::Levanter | Self::Torchtune | Self::Hf => &[],
        }
    }
}

/// The type of token ids in a memmap, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum TokenType {
    Uint16,
    Uint32,
    Int32,
}

impl TokenType {
    /// The name in manifests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Int32 => "int32",
        }
    }

    /// Appends ids as they are in a file. Stored ids are never below 0.
    ///
    /// # Errors
    ///
    /// The position of the first one that doesn't fit.
    pub(super) fn encode(self, ids: &[i32], bytes: &mut Vec<u8>) -> Result<(), usize> {
        if self != Self::Uint16 {
            bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
            return Ok(());
        }
        match ids.iter().position(|&id| u16::try_from(id).is_err()) {
            Some(position) => Err(position),
            None => {
                bytes.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes()));
                Ok(())
            }
        }
    }
}

/// A document of a shard.
pub(super) struct Document<'a> {
    pub(super) id: &'a str,
    /// The shard's name.
    pub(super) shard: &'a str,
    pub(super) row: u64,
    pub(super) ids: &'a [i32],
    pub(super) mask: &'a [u8],
}

/// Writes documents in a layout.
pub(super) trait Exporter {
    /// A shard begins: number `index`, from 0.
    fn begin(&mut self, index: usize, shard: &ShardEntry) -> Result<(), ShardError>;

    /// Its next rows, `row` being the first one's.
    fn write(&mut self, batch: &ShardBatch, shard: &str, row: u64) -> Result<(), ShardError>;

    /// It ends.
    fn end(&mut self) -> Result<(), ShardError>;

    /// All shards ended. Returns the files, and the tokens in them.
    fn finish(self: Box<Self>) -> Result<(Vec<SetFile>, u64), ShardError>;
}

/// The documents of a batch.
pub(super) fn documents<'a>(
    batch: &'a ShardBatch,
    shard: &'a str,
    row: u64,
) -> impl Iterator<Item = Document<'a>> {
    (0..batch.len()).map(move |i| Document {
        id: batch.doc_ids().value(i),
        shard,
        row: row + i as u64,
        ids: batch.ids(i),
        mask: batch.mask(i),
    })
}

/// Why an id can't be written.
pub(super) fn does_not_fit(document: &Document<'_>, position: usize, token_type: TokenType) -> ShardError {
    ShardError::Export {
        path: document.shard.into(),
        error: ExportError::IdTooLarge {
            row: document.row,
            document: short_id(document.id).into_owned(),
            id: document.ids[position],
            position,
            token_type: token_type.name(),
        },
    }
}
