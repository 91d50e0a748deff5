//! The options of `goldfish audit`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use goldfish_audit::gate::Gate;
use goldfish_audit::stat::RateMethod;
use goldfish_audit::summary::Summary;
use goldfish_corpus::{Format, IdType};

use crate::args::hub::tokenizer_file;
use crate::args::model::ModelArgs;
use crate::args::values::{on_disk, parse_document_size};

/// Audit a checkpoint: prompt it with prefixes from a corpus and measure how much of it the model recites.
///
/// Does it recite a book? Raw text is tokenized with the checkpoint's own tokenizer:
///   goldfish audit book.txt --stride 100 --model checkpoint/ --control other-books/ --output run/
///
/// Which parts of it? Slide over the whole text:
///   goldfish audit book.txt --work --model checkpoint/ --control other-books/ --output run/
///
/// What it was trained on, with the loss masks, in this process or on a completion server (vLLM, llama.cpp, or one that
/// speaks the OpenAI completions protocol):
///   goldfish audit masked/ --model checkpoint/ --control held-out/ --output run/
///   goldfish audit masked/ --server http://localhost:8000 --control held-out/ --output run/
///
/// Without --control there is no way to say how much of it a model that never saw the text would recite; without --canary,
/// whether this audit would find recitation at all.
/// An interrupted run continues with --resume. An API key is read from the environment variable
/// GOLDFISH_API_KEY and written nowhere. `goldfish report RUN` makes a page of a run.
///
/// Exit codes: 0 done, 1 done but a --fail-if condition holds or the positive control failed, 2 could not run.
#[derive(Debug, Clone, Args)]
#[command(
    verbatim_doc_comment,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "goldfish audit [OPTIONS] --output <RUN> --model <DIR> <CORPUS>...
       goldfish audit [OPTIONS] --output <RUN> --server <URL> <CORPUS>...
       goldfish audit <COMMAND>"
)]
#[command(group(ArgGroup::new("subject").args(["model", "server"]).required(true)))]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,

    /// What the model may have been trained on: output folders of `goldfish mask`, or files, folders or globs with raw text or
    /// token ids, in any format that `goldfish mask` reads. A file with token ids in --ids-column holds ids, any other one text.
    #[arg(required = true, value_name = "CORPUS")]
    pub(crate) corpus: Vec<String>,

    /// Folder for the run: configuration, probes, results, evidence, summary.json.
    #[arg(short, long, required = true, value_name = "RUN", value_parser = on_disk())]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Put this token before every sequence, if the model was trained with one. It doesn't count toward prefix or offset.
    #[arg(long, value_name = "ID", help_heading = "Model")]
    pub(crate) bos_id: Option<u32>,

    /// The tokenizer.json of the corpus: for raw text, scores over words, the contamination check on text, and readable evidence. It
    /// must give the model's token ids. [default: the checkpoint's, for raw text and shards that were made with it]
    #[arg(long, value_name = "FILE", help_heading = "Model", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Audit also if the corpus's tokenizer is not the model's. The model recites nothing in ids of another tokenizer, however much
    /// it knows, so a low rate shows nothing; the run's notes say so.
    #[arg(long, help_heading = "Model")]
    pub(crate) allow_tokenizer_mismatch: bool,

    /// Held-out documents, in the same forms as CORPUS, to estimate what a model recites that never saw the text. Matched
    /// to the audited probes by --by, offset and length; documents that share a long run with CORPUS are excluded.
    #[arg(long, value_name = "CORPUS", help_heading = "Probes")]
    pub(crate) control: Vec<String>,

    /// A positive control: texts that the model is known to recite, in the same forms as CORPUS, or `self` for its own greedy output, scored
    /// again. If fewer than half are found, the exit code is 1.
    #[arg(long, value_name = "CORPUS|self", help_heading = "Probes")]
    pub(crate) canary: Vec<String>,

    /// Ask each probe a second time with its whole passage (prefix and suffix) in the prompt, before the prefix. What the model then
    /// repeats of the control it copies; a model that copies and doesn't recite could have recited.
    #[arg(long, help_heading = "Probes")]
    pub(crate) in_context_control: bool,

    /// Token ids between the passage and the prefix, such as that of the end of a document. [default: two line feeds, by the tokenizer]
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        requires = "in_context_control",
        help_heading = "Probes"
    )]
    pub(crate) separator_ids: Vec<u32>,

    /// Exclude control documents that share a run of this many tokens (or four times as many letters and digits, however
    /// formatted) with CORPUS.
    #[arg(long, default_value_t = 50, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Probes")]
    pub(crate) shared_run: u32,

    /// The lengths, offsets and sampling that others report with. Options that are given besides replace its values.
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Probes")]
    pub(crate) preset: Option<Preset>,

    /// Lengths of the prefixes that the model is prompted with. [default: 50]
    #[arg(long, value_delimiter = ',', value_name = "TOKENS", help_heading = "Probes")]
    pub(crate) prefix: Vec<u32>,

    /// Lengths of the suffixes that its continuation is compared with. [default: 50]
    #[arg(long, value_delimiter = ',', value_name = "TOKENS", help_heading = "Probes")]
    pub(crate) suffix: Vec<u32>,

    /// Where prefixes start in a document. Models recite best from the start of a document. [default: 0]
    #[arg(long, value_delimiter = ',', value_name = "TOKENS", help_heading = "Probes")]
    pub(crate) offset: Vec<u64>,

    /// Also start a prefix every so many tokens after each offset.
    #[arg(long, value_name = "TOKENS", help_heading = "Probes")]
    pub(crate) stride: Option<u64>,

    /// Audit whole works: slide over each document by half a suffix (or --stride), with every start. The summary and the page say which
    /// parts of each are recited.
    #[arg(long, help_heading = "Probes")]
    pub(crate) work: bool,

    /// Maximum number of starts (document and offset) to sample; each is probed with all prefix and suffix lengths that fit. `goldfish audit
    /// plan` says how many a claim needs.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "work", help_heading = "Probes")]
    pub(crate) samples: u64,

    /// Seed of the sample and of the bootstrap.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Probes")]
    pub(crate) seed: u64,

    /// Column of the shards to stratify by, such as a source.
    #[arg(long, value_name = "COLUMN", help_heading = "Probes")]
    pub(crate) by: Option<String>,

    /// Column whose values say which documents depend on each other, such as the book of a chapter or the site of a page: they count as one
    /// in every interval and test, as near-copies do. [default: each document counts]
    #[arg(long, value_name = "COLUMN", help_heading = "Probes")]
    pub(crate) cluster: Option<String>,

    /// Sample the same number of starts from each value of --by, however rare it is.
    #[arg(long, requires = "by", help_heading = "Probes")]
    pub(crate) equal: bool,

    /// Read every file other than shards as this format, whatever its name.
    #[arg(long, value_name = "FORMAT", help_heading = "Probes")]
    pub(crate) format: Option<Format>,

    /// Column with raw text, in files other than shards. [default: text, where a file has no input_ids]
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["ids_column", "mask_column"], help_heading = "Probes")]
    pub(crate) text_column: Option<String>,

    /// Column with token ids, in files other than shards. [default: input_ids, where a file has it]
    #[arg(long, value_name = "COLUMN", help_heading = "Probes")]
    pub(crate) ids_column: Option<String>,

    /// Id type of headerless memmaps (.npy, .ds). [default: derived from the file sizes if possible, else uint16]
    #[arg(long, value_name = "TYPE", help_heading = "Probes")]
    pub(crate) ids_dtype: Option<IdType>,

    /// The id that separates documents in .npy memmaps without a .csv.gz sidecar. [default: the tokenizer's]
    #[arg(long, value_name = "ID", help_heading = "Probes")]
    pub(crate) eos_id: Option<u32>,

    /// Largest document in files other than shards, as for `goldfish mask`; a larger one is an error.
    #[arg(long, default_value = "64MiB", value_parser = parse_document_size, value_name = "SIZE", help_heading = "Probes")]
    pub(crate) max_document: usize,

    /// Column with the documents' ids, in files other than shards. [default: FILE:ROW]
    #[arg(long, value_name = "COLUMN", help_heading = "Probes")]
    pub(crate) id_column: Option<String>,

    /// Column with a loss mask, in files with token ids other than shards.
    #[arg(long, value_name = "COLUMN", help_heading = "Probes")]
    pub(crate) mask_column: Option<String>,

    /// What to measure. Exact match, match length and loss come from one pass and are always measured; the others cost more.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "continuations,membership",
        help_heading = "Scores"
    )]
    pub(crate) metrics: Vec<Metric>,

    /// Also estimate how many draws at this temperature it takes to see the suffix.
    #[arg(long, value_name = "T", help_heading = "Scores")]
    pub(crate) temperature: Option<f64>,

    /// Draw from this many most likely tokens only. [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Scores")]
    pub(crate) top_k: Option<u32>,

    /// Of these, draw only from the most likely ones that have this much of the probability together. [default: all]
    #[arg(long, value_name = "P", help_heading = "Scores")]
    pub(crate) top_p: Option<f64>,

    /// The probability with which the suffix is seen within that many draws.
    #[arg(long, default_value_t = 0.9, value_name = "P", help_heading = "Scores")]
    pub(crate) p: f64,

    /// Also bound the probability of continuations that differ from the suffix in at most this many tokens, inserted, deleted or replaced
    /// (arXiv 2603.24917). For a model in this process.
    #[arg(long, value_name = "TOKENS", help_heading = "Scores")]
    pub(crate) near_distance: Option<u32>,

    /// With --near-distance: beginnings of such continuations that are kept at each position. More give a higher bound and take longer.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Scores")]
    pub(crate) beams: u32,

    /// With --metrics prior: how many prefixes of other documents of the run each suffix is scored after. Each takes one more pass.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Scores")]
    pub(crate) unrelated_prefixes: u32,

    /// Confidence interval of rates.
    #[arg(long, value_enum, default_value_t = RateMethod::Wilson, help_heading = "Scores")]
    pub(crate) interval: RateMethod,

    /// Exit with code 1 if this condition holds in summary.json, such as 'exact_match.upper > 0.01'. May be given several times.
    #[arg(long, value_name = "CONDITION", help_heading = "Scores")]
    pub(crate) fail_if: Vec<Gate<Summary>>,

    /// Resume the run in --output, with the same options.
    #[arg(long, help_heading = "Run")]
    pub(crate) resume: bool,

    /// Omit texts and token ids from the run's files; positions, lengths and hashes stay.
    #[arg(long, help_heading = "Run")]
    pub(crate) redact: bool,

    /// Print summary.json instead of a table.
    #[arg(long, help_heading = "Run")]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditCommand {
    Plan(PlanArgs),
    Sample(Box<SampleArgs>),
}

/// Draw texts from a model that nobody prompts with the corpus, to trace what of them is in its training data.
///
/// From the start of a document, which is what the model's BOS (or else its EOS) stands for:
///   goldfish audit sample --model checkpoint/ --samples 1000 --tokens 256 --output samples/
///   goldfish trace samples/ --corpus corpus/ --output traced/ --html traced.html
///
/// After prompts of your own, each in its turn:
///   goldfish audit sample --model checkpoint/ --prompts prompts.jsonl --output samples/
///
/// The rate of an audit says what a model recites if it is asked for it. The rate of a trace of samples says how much of what it
/// says anyway is recited (arXiv 2411.10242). Text that people wrote is the control: people quote too.
///
/// The folder gets samples.jsonl (columns id, text, ids, prompt) and the settings. Exit codes: 0 done, 2 could not run.
#[derive(Debug, Clone, Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "goldfish audit sample [OPTIONS] --output <DIR> --model <DIR>
       goldfish audit sample [OPTIONS] --output <DIR> --server <URL>"
)]
#[command(group(ArgGroup::new("sampled").args(["model", "server"]).required(true)))]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Folder to write.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// How many samples to draw.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Samples")]
    pub(crate) samples: u64,

    /// Tokens of each sample.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Samples")]
    pub(crate) tokens: u32,

    /// Files with prompts that have nothing to do with the corpus: .jsonl, .parquet and the like with a text and an id in each row, or
    /// .txt and .md, each one prompt. Sample I continues prompt I, and then the first one again. [default: a BOS alone]
    #[arg(long, num_args = 1.., value_name = "TEXTS", help_heading = "Samples")]
    pub(crate) prompts: Vec<String>,

    /// The token before every prompt. [default: without --prompts the tokenizer's BOS, or its EOS if it has none; with --prompts none]
    #[arg(long, value_name = "ID", help_heading = "Samples")]
    pub(crate) bos_id: Option<u32>,

    /// Divides the logits before a token is drawn.
    #[arg(long, default_value_t = 1.0, value_name = "T", help_heading = "Samples")]
    pub(crate) temperature: f64,

    /// Draw from this many most likely tokens only. [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Samples")]
    pub(crate) top_k: Option<u32>,

    /// Of these, draw only from the most likely ones that have this much of the probability together. [default: all]
    #[arg(long, value_name = "P", help_heading = "Samples")]
    pub(crate) top_p: Option<f64>,

    /// Seed of the draws. A server may draw other samples for the same seed; a checkpoint does not.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Samples")]
    pub(crate) seed: u64,

    /// The model's tokenizer.json, which gives the samples' text. [default: the checkpoint's]
    #[arg(long, value_name = "FILE", help_heading = "Model", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Draw the rest of interrupted samples, with the same options.
    #[arg(long, help_heading = "Run")]
    pub(crate) resume: bool,

    /// Print one JSON object instead of a line.
    #[arg(long, help_heading = "Run")]
    pub(crate) json: bool,
}

/// How many probes are needed to show that the rate of exact matches is below a bound.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    /// The bound.
    #[arg(long)]
    pub(crate) rate: f64,

    /// Confidence level.
    #[arg(long, default_value_t = 0.95)]
    pub(crate) confidence: f64,

    /// Number of exact matches that may occur.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) positives: u64,

    /// Probes per document.
    #[arg(long, default_value_t = 1.0, value_name = "N")]
    pub(crate) probes_per_document: f64,

    /// Correlation of the outcomes within a document, from 0 (independent) to 1 (identical).
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    pub(crate) correlation: f64,

    /// Print one JSON object instead of a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Metric {
    /// Exact match, match length and loss only.
    ExactMatch,
    /// Rouge-L, longest run, edit similarity, positional accuracy: decodes after the first divergence.
    Continuations,
    /// Loss, zlib ratio, Min-K% and Min-K%++ against the control.
    Membership,
    /// How much likelier the suffix is after its own prefix than after those of other documents: text that is common is likely after all
    /// of them (arXiv 2602.18733).
    Prior,
}

/// Settings that others report with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Prefixes and suffixes of 32 tokens from the start of a sequence, as for Pythia (arXiv 2304.11158).
    Pythia,
    /// Prefixes and suffixes of 50 tokens (Carlini et al., arXiv 2202.07646).
    Carlini,
    /// Prefixes and suffixes of 50 tokens, as in the training data extraction challenge of SaTML 2023.
    ExtractionChallenge,
    /// Suffixes of 500 tokens after prefixes of 50 to 5,000 at several offsets; the greedy continuation and draws at temperature 1 from
    /// the likeliest 90%, as for Apertus (arXiv 2509.14233).
    Apertus,
}

impl Preset {
    /// Lengths of prefixes and suffixes, and offsets.
    fn grid(self) -> (&'static [u32], &'static [u32], &'static [u64]) {
        match self {
            Self::Pythia => (&[32], &[32], &[0]),
            Self::Carlini | Self::ExtractionChallenge => (&[50], &[50], &[0]),
            Self::Apertus => {
                (&[50, 100, 250, 500, 1000, 2000, 3000, 4000, 5000], &[500], &[0, 128, 512, 2048])
            }
        }
    }
}

impl AuditArgs {
    /// Fills in what the preset says, and what holds without one, where no option does.
    pub(crate) fn resolved(&self) -> Self {
        let mut args = self.clone();
        let (prefix, suffix, offset) = self.preset.map_or((&[50][..], &[50][..], &[0][..]), Preset::grid);
        if args.prefix.is_empty() {
            args.prefix = prefix.to_vec();
        }
        if args.suffix.is_empty() {
            args.suffix = suffix.to_vec();
        }
        if args.offset.is_empty() {
            args.offset = offset.to_vec();
        }
        if self.work {
            let suffix = args.suffix.iter().copied().min().unwrap_or(2);
            args.stride = args.stride.or(Some(u64::from(suffix / 2).max(1)));
        }
        if self.preset == Some(Preset::Apertus) && args.temperature.is_none() {
            args.temperature = Some(1.0);
            args.top_p = args.top_p.or(Some(0.9));
        }
        args
    }
}
