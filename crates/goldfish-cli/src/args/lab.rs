//! The options of `goldfish lab`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use goldfish_lab::ARCHITECTURES;
use goldfish_lab::edits::EditKind;

use crate::args::copy::CopyArgs;
use crate::args::demo::SweepArgs;
use crate::args::hub::tokenizer_file;
use crate::args::memory::MemoryArgs;
use crate::args::repair::RepairArgs;
use crate::args::values::{architectures, on_disk};

/// Train small models on this machine, and make edited copies of a corpus, to see what a mask does, which models copy, and how a
/// model that recites is taught not to.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    Train(Box<TrainArgs>),
    Sweep(SweepArgs),
    Copy(Box<CopyArgs>),
    Memory(MemoryArgs),
    Repair(Box<RepairArgs>),
    Corrupt(CorruptArgs),
}

/// Train a small language model on shards with their masks, on the CPUs of this machine.
///
///   goldfish mask corpus/ --tokenizer tokenizer.json --append-eos --output masked/
///   goldfish lab train masked/ --tokenizer tokenizer.json --epochs 20 --output model/
///   goldfish audit masked/ --model model/ --control held-out/ --output run/
///
/// Adapters of a checkpoint (LoRA):
///   goldfish lab train masked/ --from model/ --lora-rank 8 --epochs 20 --output adapter/
///   goldfish audit masked/ --model model/ --adapter adapter/ --output run/
///
/// Writes a Hugging Face checkpoint (config.json, model.safetensors, tokenizer.json) that transformers and goldfish audit
/// read, metrics.jsonl with a line a step, and training.json with the options and the result. The same shards and options
/// give the same bytes, for every number of threads, and however often the run was killed and resumed with --resume.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TrainArgs {
    /// Output folders of `goldfish mask`.
    #[arg(required = true, value_name = "SHARDS")]
    pub(crate) shards: Vec<PathBuf>,

    /// Folder for the checkpoint.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// The tokenizer.json that the shards were made with: it is copied to the weights and gives the size of the vocabulary.
    #[arg(long, value_name = "FILE", help_heading = "Data", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Number of ids, for shards without a tokenizer, or for spare ids. [default: the tokenizer's]
    #[arg(long, value_name = "IDS", required_unless_present_any = ["tokenizer", "from"], help_heading = "Data")]
    pub(crate) vocab_size: Option<usize>,

    /// Shards for validation: the loss on all their tokens every --validate-every steps and at the end.
    #[arg(long, value_name = "SHARDS", help_heading = "Data")]
    pub(crate) validation: Vec<PathBuf>,

    /// Shards whose documents the model may recite: every --validate-every steps and at the end, metrics.jsonl gets the number of
    /// documents whose tokens 51 to 100 are the greedy continuation of the first 50.
    #[arg(long, value_name = "SHARDS", help_heading = "Data")]
    pub(crate) recite: Vec<PathBuf>,

    /// Ignore the masks and train on every token: the standard loss, to compare with.
    #[arg(long, help_heading = "Data")]
    pub(crate) ignore_mask: bool,

    /// Train only on so many documents with the most supervised tokens.
    #[arg(long, value_name = "N", conflicts_with_all = ["random", "random_as_longest"], help_heading = "Data")]
    pub(crate) longest: Option<u64>,

    /// Train only on so many documents, drawn with --seed.
    #[arg(long, value_name = "N", conflicts_with = "random_as_longest", help_heading = "Data")]
    pub(crate) random: Option<u64>,

    /// Train only on documents drawn with --seed that have as many supervised tokens as --longest N would.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) random_as_longest: Option<u64>,

    /// Longest sequence. A document is cut into sequences of so many tokens, which don't see each other; there is no padding.
    #[arg(long, default_value_t = 256, value_name = "TOKENS", help_heading = "Data")]
    pub(crate) sequence_length: usize,

    /// Continue from this checkpoint: its weights, with a new optimizer. Its config.json replaces the options of the model, and
    /// its tokenizer.json is used unless --tokenizer names one.
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["arch", "vocab_size"], help_heading = "Model")]
    pub(crate) from: Option<PathBuf>,

    /// Train adapters of this rank (LoRA) in place of the weights of --from, and write them as PEFT does: for goldfish audit
    /// --adapter, or PeftModel.from_pretrained.
    #[arg(long, value_name = "RANK", requires = "from", help_heading = "Adapters")]
    pub(crate) lora_rank: Option<usize>,

    /// The adapters' product is multiplied by N / RANK. [default: twice the rank]
    #[arg(long, value_name = "N", requires = "lora_rank", help_heading = "Adapters")]
    pub(crate) lora_alpha: Option<usize>,

    /// Layers with adapters, such as q_proj,v_proj: the ends of their names. [default: all linear layers, without the head]
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "lora_rank",
        help_heading = "Adapters"
    )]
    pub(crate) lora_targets: Vec<String>,

    /// The architecture.
    #[arg(long, value_parser = architectures(), default_value = "llama", help_heading = "Model")]
    pub(crate) arch: String,

    /// Layers.
    #[arg(long, default_value_t = 4, value_name = "N", help_heading = "Model")]
    pub(crate) layers: usize,

    /// Width of the hidden states.
    #[arg(long, default_value_t = 256, value_name = "N", help_heading = "Model")]
    pub(crate) width: usize,

    /// Heads of attention.
    #[arg(long, default_value_t = 4, value_name = "N", help_heading = "Model")]
    pub(crate) heads: usize,

    /// Heads of keys and values. [default: as many as heads]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub(crate) kv_heads: Option<usize>,

    /// Width of the MLP. [default: 8/3 of the width, up to the next multiple of 32]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub(crate) mlp_width: Option<usize>,

    /// Longest context of the checkpoint. [default: the sequence length]
    #[arg(long, value_name = "TOKENS", help_heading = "Model")]
    pub(crate) context_length: Option<usize>,

    /// Use the table of embeddings as the head.
    #[arg(long, help_heading = "Model")]
    pub(crate) tied: bool,

    /// A size that only this architecture has; can be given several times.
    #[arg(long, value_name = "NAME=N", value_parser = parse_size, long_help = sizes_help(), help_heading = "Model")]
    pub(crate) size: Vec<(String, usize)>,

    /// Standard deviation of the initial weights.
    #[arg(long, default_value_t = 0.02, value_name = "X", help_heading = "Model")]
    pub(crate) initial_deviation: f64,

    /// Steps of the optimizer.
    #[arg(long, value_name = "N", conflicts_with = "epochs", help_heading = "Training")]
    pub(crate) steps: Option<u64>,

    /// Times that every sequence is seen. [default without --steps: 1]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) epochs: Option<u64>,

    /// Sequences in a step.
    #[arg(long, default_value_t = 16, value_name = "N", help_heading = "Training")]
    pub(crate) batch: usize,

    /// Largest learning rate: linear warmup up to it, then a cosine down to a tenth.
    #[arg(long, default_value_t = 1e-3, value_name = "X", help_heading = "Training")]
    pub(crate) lr: f64,

    /// Steps of the warmup.
    #[arg(long, default_value_t = 20, value_name = "N", help_heading = "Training")]
    pub(crate) warmup: u64,

    /// Decay of the matrices.
    #[arg(long, default_value_t = 0.1, value_name = "X", help_heading = "Training")]
    pub(crate) weight_decay: f64,

    /// Largest norm of the gradients; 0 for none.
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Training")]
    pub(crate) clip: f64,

    /// Seed of the initial weights, of the documents that are drawn, and of the order of the sequences.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Training")]
    pub(crate) seed: u64,

    /// Steps between losses on the validation shards, and between counts of recited documents.
    #[arg(long, default_value_t = 200, value_name = "N", help_heading = "Training")]
    pub(crate) validate_every: u64,

    /// Steps between saved states.
    #[arg(long, default_value_t = 200, value_name = "N", help_heading = "Output")]
    pub(crate) checkpoint_every: u64,

    /// Resume from the last saved state of an unfinished run, with the same shards and options; start from the beginning if
    /// there is none.
    #[arg(long, help_heading = "Output")]
    pub(crate) resume: bool,

    /// Worker threads. The result is the same for every number. [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Output")]
    pub(crate) threads: Option<u16>,

    /// Print training.json instead of the summary.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Make edited copies of a corpus, to measure how well a mask rule survives edits.
///
///   goldfish lab corrupt corpus/ --edit words-replaced --rate 0.05 --output copies.jsonl
///   goldfish mask corpus/ copies.jsonl --tokenizer tokenizer.json --output masked/
///   goldfish inspect masked/ --tokenizer tokenizer.json --duplicates
///
/// As pages are scanned:
///   goldfish lab corrupt corpus/ --edit characters,words-split,lines,pages --rate 0.01,0.002 \
///     --output scans.jsonl
///
/// Writes JSON lines with id, original (the document's id), text and alignment: for every stretch of
/// the copy, which bytes of the original it equals, or which edit was made there (docs/lab.md). The
/// same inputs, options and seed give the same copies on every machine.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CorruptArgs {
    /// Files, folders or globs with raw text, as for `goldfish mask`.
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// File for the copies.
    #[arg(short, long, value_name = "FILE", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// What to do to each copy; several at once are separated by commas. Where two would change the same bytes, the first
    /// one does.
    #[arg(long, required = true, value_name = "EDIT", value_delimiter = ',', value_parser = edits())]
    pub(crate) edit: Vec<EditKind>,

    /// Shares of the words (or letters, spaces, numbers, names) that edits with a rate change, from 0 to 1: one for all of
    /// them, or one each.
    #[arg(long, default_value = "0.05", value_name = "SHARE", value_delimiter = ',', value_parser = parse_rate)]
    pub(crate) rate: Vec<f64>,

    /// Characters in a line, for the edit lines.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u16).range(4..))]
    pub(crate) line_width: u16,

    /// Words on a page, for the edit pages.
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page_words: u32,

    /// Words in the passage that the edit quotation puts into the text of the next document.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) quoted_words: u32,

    /// A text whose words are inserted or put in place of others. [default: the words of each document itself]
    #[arg(long, value_name = "FILE")]
    pub(crate) words: Option<PathBuf>,

    /// Copies of each document, which differ.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) copies: u32,

    /// Column with the text.
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    pub(crate) text_column: String,

    /// Column with the documents' ids. [default: FILE:ROW, rows counted from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,

    /// Determines what is drawn.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,

    /// Print one JSON object instead of a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The edits by name.
fn edits() -> impl TypedValueParser<Value = EditKind> {
    let values = EditKind::ALL.iter().map(|kind| PossibleValue::new(kind.name()).help(kind.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let kind = EditKind::ALL.iter().find(|kind| kind.name() == name);
        kind.copied().ok_or("is not an edit")
    })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.ok_or_else(|| "a number from 0 to 1 is needed, for example 0.05".into())
}

fn parse_size(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    parsed.ok_or_else(|| "NAME=N is needed, for example state-size=16".into())
}

/// The sizes of all architectures.
fn sizes_help() -> String {
    let mut help = "A size that only this architecture has; can be given several times.\n".to_owned();
    for kind in ARCHITECTURES {
        for size in kind.sizes {
            help += &format!("\n{}: {}, {}", kind.name, size.name, size.summary);
        }
    }
    help
}
