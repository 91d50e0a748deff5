//! The options of `goldfish verify`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::args::hub::tokenizer_file;
use crate::args::model::ModelArgs;

/// Check a folder that goldfish wrote: shards, files for a training loop, the run of an audit, or a trace.
///
/// Shards against their manifest: checksums, columns, counts, missing and extra files. With --recompute also every mask:
///   goldfish verify masked/ --recompute --tokenizer tokenizer.json
///
/// A folder that `goldfish export` or `goldfish mask --masks-only` wrote against its goldfish.json: sizes and checksums,
/// including those of the memmaps next to the masks:
///   goldfish verify exported/
///
/// The run of an audit against its SHA256SUMS, and its files against each other: every score that follows from tokens and
/// log-probabilities, the evidence of every positive, and the summary. With --digest also against the line that was signed:
///   goldfish verify run/ --digest sha256:9f86d0…
///
/// A trace against its SHA256SUMS:
///   goldfish verify traced/
///
/// The model itself, asked again for 100 probes and for everything that it recited:
///   goldfish verify run/ --replay 100 --model checkpoint/
///
/// Exit codes: 0 no problems, 1 problems were found, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group(ArgGroup::new("subject").args(["model", "server"]).requires("replay")))]
pub(crate) struct VerifyArgs {
    /// Output folder of `goldfish mask`, `goldfish export`, `goldfish audit` or `goldfish trace`.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// Also recompute every mask from the ids and the rule in the manifest.
    #[arg(long)]
    pub(crate) recompute: bool,

    /// The hash table that the masks were made with, if it came from a file.
    #[arg(long, value_name = "FILE.npy", requires = "recompute")]
    pub(crate) table: Option<PathBuf>,

    /// The tokenizer.json that the masks were made with, which --recompute needs for the rule text; that of an audit, to
    /// compute the scores again that need text.
    #[arg(long, value_name = "FILE", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// The policy file whose [protect] names the protected works: they are read again, and --recompute finds and decides their
    /// copies too. The rules are those of the manifest.
    #[arg(long, value_name = "FILE.toml", requires = "recompute")]
    pub(crate) policy: Option<PathBuf>,

    /// The digest that `goldfish audit` printed at the end of the run.
    #[arg(long, value_name = "SHA-256", conflicts_with = "recompute")]
    pub(crate) digest: Option<String>,

    /// Ask the model again for this many probes, chosen by --seed, and for every exact match of the run.
    #[arg(long, value_name = "N", requires = "subject", help_heading = "Model")]
    pub(crate) replay: Option<usize>,

    /// Seed of the choice of probes.
    #[arg(long, default_value_t = 0, value_name = "N", requires = "replay", help_heading = "Model")]
    pub(crate) seed: u64,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}
