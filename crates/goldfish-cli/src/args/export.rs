use std::path::PathBuf;

use clap::{Args, ValueEnum};
use goldfish_shard::{Layout, TokenType};

use crate::args::values::on_disk;

/// Write shards in the layout that a training loop reads: tokens with their masks, aligned as the loop wants them.
///
///   goldfish export masked/ --to olmo --output olmo/
///   goldfish export masked/ --to bridge --sequence-length 4096 --output packed/
///
/// docs/export.md has each loop's settings. To mask memmaps that exist already, see `goldfish mask --masks-only`. The
/// shards are compared with their checksums, and everything is written whole or not at all.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExportArgs {
    /// Output folder of `goldfish mask`.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// The layout.
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub(crate) to: LayoutArg,

    /// Folder to write to.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// Type of token ids in megatron, megatron-labels, neox (int32, uint16), olmo and datatrove (uint32, uint16).
    /// [default: uint16 where the shards' tokenizer or source tells that all ids fit, else the other]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) ids_dtype: Option<TokenTypeArg>,

    /// With bridge and levanter: tokens in a packed sequence, the model's sequence length. Longer documents go on in the
    /// next one.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) sequence_length: Option<u32>,

    /// Replace an earlier export, which stays in place until the new one is complete.
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The layouts by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutArg {
    /// Megatron-LM: tokens.bin/.idx, and mask.bin/.idx of uint8 with the same documents, for a patched loop.
    Megatron,
    /// Megatron-LM: tokens.bin/.idx, and labels.bin/.idx of int32 with -100 where dropped.
    MegatronLabels,
    /// GPT-NeoX: the same, for train_data_paths and train_label_data_paths.
    Neox,
    /// OLMo and OLMo-core: tokens/*.npy for paths, label_mask/*.npy for label_mask_paths, raw.
    Olmo,
    /// datatrove: *.ds with .ds.index and .ds.loss.
    Datatrove,
    /// Megatron-Bridge and NeMo: packed Parquet, masks shifted; needs --sequence-length.
    Bridge,
    /// Levanter: packed Parquet with float32 loss_weights, shifted; needs --sequence-length.
    Levanter,
    /// torchtune: Parquet with tokens and mask, which is true where the loss ignores a token.
    Torchtune,
    /// Hugging Face Trainer, TRL, axolotl: for datasets.load_from_disk, with labels of -100 where dropped.
    Hf,
}

impl From<LayoutArg> for Layout {
    fn from(layout: LayoutArg) -> Self {
        match layout {
            LayoutArg::Megatron => Self::Megatron,
            LayoutArg::MegatronLabels => Self::MegatronLabels,
            LayoutArg::Neox => Self::Neox,
            LayoutArg::Olmo => Self::Olmo,
            LayoutArg::Datatrove => Self::Datatrove,
            LayoutArg::Bridge => Self::Bridge,
            LayoutArg::Levanter => Self::Levanter,
            LayoutArg::Torchtune => Self::Torchtune,
            LayoutArg::Hf => Self::Hf,
        }
    }
}

/// The id types by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenTypeArg {
    Uint16,
    Uint32,
    Int32,
}

impl From<TokenTypeArg> for TokenType {
    fn from(token_type: TokenTypeArg) -> Self {
        match token_type {
            TokenTypeArg::Uint16 => Self::Uint16,
            TokenTypeArg::Uint32 => Self::Uint32,
            TokenTypeArg::Int32 => Self::Int32,
        }
    }
}
