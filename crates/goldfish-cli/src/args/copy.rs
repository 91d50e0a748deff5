//! The options of `goldfish lab copy`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use goldfish_lab::CopyTask;

use crate::args::hub::tokenizer_file;
use crate::args::model::ModelArgs;
use crate::args::values::{architectures, on_disk};

/// See which models copy from their context, and how far: the control for audits of what they recite from their weights.
///
/// Train small models on a task, and evaluate them by length, within and beyond the lengths of training:
///   goldfish lab copy --task copy --architecture llama,nope --length 20 --output copy/
///
/// Ask any model, with a few examples in the prompt:
///   goldfish lab copy --task phone-book --model checkpoint/ --output phone-book/
///   goldfish lab copy --task copy --server http://localhost:8000 --output copy/
///
/// Texts are uniform random strings over 26 letters. Training writes shards whose masks are the answers, checkpoints, and
/// results.json. A stopped run resumes when the command is run again; with other architectures it adds them to the folder.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group(ArgGroup::new("subject").args(["model", "server"])))]
#[command(group(
    ArgGroup::new("trained")
        .args([
            "architecture", "quick", "shortest", "length", "context", "tokens", "layers", "width", "heads", "lr",
        ])
        .multiple(true)
        .conflicts_with("subject")
))]
pub(crate) struct CopyArgs {
    /// The task.
    #[arg(long, value_name = "TASK", value_parser = tasks())]
    pub(crate) task: CopyTask,

    /// Folder for everything.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// Letters of a key, of a name, or of the n-gram that occurs twice.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16), help_heading = "Task")]
    pub(crate) key: u8,

    /// Letters of the answer to a key, or digits of a number.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Task")]
    pub(crate) answer: u8,

    /// Lengths of the evaluation, separated by commas: letters of a text, or entries of a phone book. [default: the shortest and the
    /// longest of training, and 4/3, 2, 5 and 10 times the longest; 10,20,40,80 for a prompted model]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Task")]
    pub(crate) lengths: Option<Vec<u32>>,

    /// Samples at each of these lengths. [default: 200; 50 for a prompted model and with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000), help_heading = "Task")]
    pub(crate) samples: Option<u64>,

    /// Determines the samples, the initial weights and the order of training.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Task")]
    pub(crate) seed: u64,

    /// The architectures to train, separated by commas.
    #[arg(long, value_parser = architectures(), default_value = "llama", value_name = "NAME", value_delimiter = ',', help_heading = "Training")]
    pub(crate) architecture: Vec<String>,

    /// A small model and few samples, to try it out: the model learns little.
    #[arg(long, help_heading = "Training")]
    pub(crate) quick: bool,

    /// Longest length in training: letters of a text, or entries of a phone book.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Training")]
    pub(crate) length: u32,

    /// Shortest length in training; lengths are uniform. [default: half of --length, or what the task needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Training")]
    pub(crate) shortest: Option<u32>,

    /// Most tokens of a training sequence, which is packed with samples. [default: two of the longest samples]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(4..=1_000_000), help_heading = "Training")]
    pub(crate) context: Option<u32>,

    /// Tokens to train on, all of new samples. [default: 1,000,000; with --quick 100,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000_000), help_heading = "Training")]
    pub(crate) tokens: Option<u64>,

    /// Layers.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Training")]
    pub(crate) layers: u16,

    /// Width of the hidden states. [default: 128; with --quick 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Training")]
    pub(crate) width: Option<u16>,

    /// Heads of attention. [default: 8; with --quick 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Training")]
    pub(crate) heads: Option<u16>,

    /// Largest learning rate: linear warmup up to it, then a cosine down to a twentieth.
    #[arg(long, value_name = "X", default_value_t = 2e-3, help_heading = "Training")]
    pub(crate) lr: f64,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Examples before each question of a prompted model. [default: 3]
    #[arg(long, value_name = "N", requires = "subject", value_parser = clap::value_parser!(u16).range(..=1000), help_heading = "Model")]
    pub(crate) examples: Option<u16>,

    /// Put this token before every prompt, if the model was trained with one.
    #[arg(long, value_name = "ID", requires = "subject", help_heading = "Model")]
    pub(crate) bos_id: Option<u32>,

    /// The model's tokenizer.json. [default: the checkpoint's, or the server's own]
    #[arg(long, value_name = "FILE", requires = "subject", help_heading = "Model", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Print results.json instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The tasks by name.
fn tasks() -> impl TypedValueParser<Value = CopyTask> {
    let values = CopyTask::ALL.map(|task| PossibleValue::new(task.name()).help(task.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let task = CopyTask::ALL.into_iter().find(|task| task.name() == name);
        task.ok_or("is not a task")
    })
}
