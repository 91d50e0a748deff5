//! The options of `goldfish canary`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use goldfish_audit::canaries::CanaryResult;
use goldfish_audit::gate::Gate;

use crate::args::hub::tokenizer_file;
use crate::args::model::ModelArgs;
use crate::args::values::on_disk;

/// Plant random passages in a corpus before training, and test after it whether the model knows them.
///
/// A coin decides which of two twins is planted, so that an exact p-value follows from the coins alone, with no assumption
/// about the model.
#[derive(Debug, Args)]
pub(crate) struct CanaryArgs {
    #[command(subcommand)]
    pub(crate) command: CanaryCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CanaryCommand {
    Plant(PlantArgs),
    Test(Box<TestArgs>),
}

/// Draw pairs of random passages, and write one of each pair as documents to train on.
///
///   goldfish canary plant corpus/ --output canaries/
///   goldfish mask corpus/ canaries/canaries.jsonl --tokenizer tokenizer.json --append-eos --output masked/
///
/// Train on masked/, and then:
///   goldfish canary test canaries/ --model checkpoint/
///
/// Writes canaries.jsonl (to train on), twins.jsonl (never train on it), words.txt and plan.json, whose SHA-256 is
/// printed. Publish it before training: then everyone can see that the plan was not made afterwards. Keep the folder
/// secret until the test.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PlantArgs {
    /// The corpus: files, folders or globs with raw text, as for `goldfish mask`. Passages are made of its 4,096 most frequent
    /// words, and occur nowhere in it.
    #[arg(required_unless_present = "words_from", value_name = "CORPUS")]
    pub(crate) corpus: Vec<String>,

    /// Folder for the plan and the passages; must be new or empty.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// Pairs of passages for each number of repetitions; all numbers together have at most 1,000.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) canaries: u32,

    /// How often planted passages are repeated, each as a document of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32", value_name = "N")]
    pub(crate) repetitions: Vec<u32>,

    /// Words in a passage, from 16 to 1,000.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) words: u32,

    /// Make passages of the most frequent words of this text. Without CORPUS, no check is made that they don't occur in it.
    #[arg(long, value_name = "FILE")]
    pub(crate) words_from: Option<PathBuf>,

    /// Text that passages and coins follow from, on every machine. Who knows it before training knows the coins.
    /// [default: random]
    #[arg(long, value_name = "TEXT")]
    pub(crate) seed: Option<String>,

    /// Also write mixed.jsonl: the corpus's documents (id and text alone) with the planted ones at random positions.
    #[arg(long, requires = "corpus")]
    pub(crate) mix: bool,

    /// Column with the text.
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    pub(crate) text_column: String,

    /// Column with the documents' ids. [default: FILE:ROW, rows counted from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,

    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Test whether a model knows the planted passages better than their twins.
///
///   goldfish canary test canaries/ --model checkpoint/ --digest 5f0c… --output result.json
///   goldfish canary test canaries/ --server http://localhost:8000 --tokenizer tokenizer.json \
///     --fail-if 'all.p_value < 0.001'
///
/// Passages and coins are drawn again from the plan's seed; a plan that differs is refused. The model only sees passages,
/// never which of them was planted. If it learned nothing from them, a p-value below x has the probability x.
///
/// Exit codes: 0 done, 1 done but a --fail-if condition holds, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group(ArgGroup::new("subject").args(["model", "server"]).required(true)))]
pub(crate) struct TestArgs {
    /// Folder that `goldfish canary plant` wrote.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// SHA-256 of plan.json that was published before training; another plan is refused.
    #[arg(long, value_name = "SHA256")]
    pub(crate) digest: Option<String>,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Put this token before every passage, if the model was trained with one.
    #[arg(long, value_name = "ID", help_heading = "Model")]
    pub(crate) bos_id: Option<u32>,

    /// The model's tokenizer.json. [default: the checkpoint's]
    #[arg(long, value_name = "FILE", help_heading = "Model", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Exit with code 1 if this condition holds in the result, such as 'all.p_value < 0.001'. May be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<Gate<CanaryResult>>,

    /// Write the result, with the losses of every pair, to this JSON file.
    #[arg(short, long, value_name = "FILE", value_parser = on_disk())]
    pub(crate) output: Option<PathBuf>,

    /// Print the result as JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}
