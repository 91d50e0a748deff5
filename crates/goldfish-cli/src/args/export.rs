use std::path::PathBuf;

use clap::Args;
use goldfish_shard::{Layout, TokenType};

use crate::args::values::on_disk;

/// Write shards in the layout that a training loop reads: tokens with their masks, aligned as the loop expects.
///
///   goldfish export masked/ --to olmo --output olmo/
///   goldfish export masked/ --to bridge --sequence-length 4096 --output packed/
///
/// docs/export.md has the settings of each training loop. To mask existing memmaps, see `goldfish mask --masks-only`. The
/// shards are checked against their checksums, and either all files are written or none.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExportArgs {
    /// Output folders of `goldfish mask`.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,

    /// The layout.
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub(crate) to: Layout,

    /// Folder to write to. Of several folders, each is exported to the folder of its name in this one.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// Type of token ids in megatron, megatron-labels, neox (int32, uint16), olmo and datatrove (uint32, uint16).
    /// [default: uint16 where all ids fit, as the shards' tokenizer or source says, else the other]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) ids_dtype: Option<TokenType>,

    /// With bridge and levanter: tokens in a packed sequence, the model's sequence length. Longer documents continue in the
    /// next one.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) sequence_length: Option<u32>,

    /// Replace an earlier export, which stays in place until the new one is complete.
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print JSON instead of the summary: an object, or a list of them for several folders.
    #[arg(long)]
    pub(crate) json: bool,
}
