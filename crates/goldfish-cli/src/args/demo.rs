//! The options of `goldfish demo` and `goldfish lab sweep`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use goldfish_lab::{SweepCopies, SweepPart};

use crate::args::values::on_disk;

/// See what a mask does: train two small models on the same made-up documents, one with the standard loss and one
/// with the goldfish loss, and audit what they recite.
///
/// Needs only this program and about two minutes on two cores. Everything is written to --output, for the other commands to
/// read:
///   goldfish inspect goldfish-demo/masked --tokenizer goldfish-demo/tokenizer.json --duplicates
///   goldfish report goldfish-demo/runs/standard
///
/// A stopped demo resumes when the command is run again.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DemoArgs {
    /// Folder for the corpus, shards, checkpoints, audits and pages.
    #[arg(short, long, value_name = "DIR", default_value = "goldfish-demo", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// Passages to train on, each in three layouts; one of them is audited. As many more are held out as a control.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub(crate) passages: u64,

    /// How often the models see every copy.
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) epochs: u64,

    /// Determines the passages, the initial weights and the order of training.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Threads. The result is the same for every number. [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Print one JSON object: the summaries of the audits `standard`, `goldfish` and `control`.
    #[arg(long)]
    pub(crate) json: bool,
}

/// See what rules and k do: train and audit a small model for each of some k and rules, for the standard loss, and for a
/// control that never saw the audited passages, with copies that are equal, in other layouts, or edited.
///
/// Takes about two hours on two cores. Writes results.json, a page (sweep.html), and a folder for each model with its shards,
/// checkpoint and audit. A stopped sweep resumes when the command is run again. With --copies or --only it trains some of
/// the models; results and page have all that were trained in the folder so far, so that calls can follow each other, or
/// run at the same time.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Folder for everything.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// The smallest sweep with every kind of arm, to try it out: its results say nothing about masks.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Train only the arms with these copies; separated by commas. [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = copies())]
    pub(crate) copies: Vec<SweepCopies>,

    /// Train the arms that compare these architectures, and no others unless --copies names them; `all` for every one, several
    /// are separated by commas. Three models each: the standard loss, the mask with k = 3, and a control.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) architectures: Vec<String>,

    /// What to find out about the architectures, separated by commas.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = parts(), default_value = "recitation", requires = "architectures")]
    pub(crate) parts: Vec<SweepPart>,

    /// Train only the arms with these names, separated by commas, such as text-4,edited-hash; results.json has the names of
    /// all. [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Values of k. The arms outside the sweep over k use 4. [default: 3,4,8,32,128; with --quick 4,32]
    #[arg(long, value_name = "K", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..), help_heading = "Size")]
    pub(crate) k: Option<Vec<u32>>,

    /// Passages to recite. [default: 160; with --quick 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=100_000), help_heading = "Size")]
    pub(crate) passages: Option<u64>,

    /// Copies of each passage among the documents. [default: 12; with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Size")]
    pub(crate) copies_each: Option<u16>,

    /// Passages that occur once among the documents. [default: 128; with --quick 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000), help_heading = "Size")]
    pub(crate) background: Option<u64>,

    /// How often a model sees every document; twice as often with copies in layouts. [default: 6; with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000), help_heading = "Size")]
    pub(crate) epochs: Option<u64>,

    /// Determines the passages, the edits, the initial weights and the order of training.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Threads. The result is the same for every number. [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Print results.json instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The parts by name.
fn parts() -> impl TypedValueParser<Value = SweepPart> {
    let values = SweepPart::ALL.map(|part| PossibleValue::new(part.name()).help(part.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let part = SweepPart::ALL.into_iter().find(|part| part.name() == name);
        part.ok_or("is not a part")
    })
}

/// The kinds of copies by name.
fn copies() -> impl TypedValueParser<Value = SweepCopies> {
    let values = SweepCopies::ALL.map(|kind| PossibleValue::new(kind.name()).help(kind.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let kind = SweepCopies::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or("is not a kind of copies")
    })
}
