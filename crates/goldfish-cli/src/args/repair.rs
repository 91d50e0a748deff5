//! The options of `goldfish lab repair`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use goldfish_lab::RepairMethod;

use crate::args::values::on_disk;

/// Teach a checkpoint that recites not to, and see by steps what it still recites and what that costs on other text.
///
///   goldfish lab repair masked/ --model model/ --validation held-out/ --output repaired/
///
/// In each step the model writes two continuations of some prefixes, and the one with the lower
/// Rouge-L to the true suffix is preferred: online preference optimization (arXiv 2402.04792), with
/// this score in place of a language model as the judge. Training on with the masks of the same
/// shards is there to compare with.
///
/// Writes a checkpoint for each method, results.json and a page (repair.html). A stopped repair
/// resumes when the command is run again; with other methods it adds them to the folder.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "goldfish lab repair [OPTIONS] --model <CHECKPOINT>
                           --validation <SHARDS> --output <DIR> <SHARDS>..."
)]
pub(crate) struct RepairArgs {
    /// Shards with the documents that the model recites, as `goldfish mask` wrote them.
    #[arg(required = true, value_name = "SHARDS")]
    pub(crate) shards: Vec<PathBuf>,

    /// The checkpoint that recites; one that `goldfish lab train` could have written.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) model: PathBuf,

    /// Shards with other documents, for the loss on other text.
    #[arg(long, required = true, value_name = "SHARDS")]
    pub(crate) validation: Vec<PathBuf>,

    /// Folder for everything.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// How to repair it; several are separated by commas.
    #[arg(long, value_name = "METHOD", value_delimiter = ',', default_value = "preference,mask", value_parser = methods())]
    pub(crate) method: Vec<RepairMethod>,

    /// Tokens of a prefix, from the beginning of a document.
    #[arg(long, value_name = "TOKENS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Passages")]
    pub(crate) prefix: u32,

    /// Tokens after it, which the model shall not recite. Shorter documents are left out.
    #[arg(long, value_name = "TOKENS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Passages")]
    pub(crate) suffix: u32,

    /// Longest sequence in tokens, of the documents that are trained on with their masks and of those of --validation and --other.
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Passages")]
    pub(crate) sequence_length: u32,

    /// Steps with preferences.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) steps: u64,

    /// Passages in a step; also the documents in a step with their masks.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Training")]
    pub(crate) batch: u32,

    /// Steps between measurements, and between saved states.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) every: u64,

    /// Factor of log-probabilities in the loss: the smaller, the further the model may go from what it was.
    #[arg(long, value_name = "X", default_value_t = 0.1, help_heading = "Training")]
    pub(crate) beta: f64,

    /// Divides the logits that continuations are drawn from.
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Training")]
    pub(crate) temperature: f64,

    /// Largest learning rate with preferences.
    #[arg(long, value_name = "X", default_value_t = 1e-4, help_heading = "Training")]
    pub(crate) lr: f64,

    /// Largest learning rate with the masks.
    #[arg(long, value_name = "X", default_value_t = 1e-3, help_heading = "Training")]
    pub(crate) mask_lr: f64,

    /// Factor of the cross entropy of --other in the loss of the method keep.
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Training")]
    pub(crate) keep: f64,

    /// Shards with further documents, for the method keep: neither those that are recited nor those of --validation.
    #[arg(long, value_name = "SHARDS", help_heading = "Training")]
    pub(crate) other: Vec<PathBuf>,

    /// Seed of the order and of the samples.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    pub(crate) seed: u64,

    /// Threads. The result is the same for every number. [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Print results.json instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The methods by name.
fn methods() -> impl TypedValueParser<Value = RepairMethod> {
    let values = RepairMethod::ALL.map(|method| PossibleValue::new(method.name()).help(method.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let method = RepairMethod::ALL.into_iter().find(|method| method.name() == name);
        method.ok_or("is not a method")
    })
}
