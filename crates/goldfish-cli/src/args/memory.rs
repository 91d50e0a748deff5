//! The options of `goldfish lab memory`.

use std::path::PathBuf;

use clap::Args;

use crate::args::values::on_disk;

/// See how long a pool of memory keeps what is injected into it, and whether a mask keeps that from being recited.
///
///   goldfish lab memory --output memory/
///
/// A small model has a pool of vectors in each layer (MEMORYLLM, arXiv 2402.04624). Made-up facts are injected one after the
/// other; each replaces some vectors of the pools. Then the model is asked for an earlier fact. One model is trained with the
/// standard loss, one with a mask. Writes results.json and a page (memory.html). A stopped run resumes when the command is run
/// again, with the model that it was at from the start.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct MemoryArgs {
    /// Folder for everything.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// The smallest experiment, to try it out: the models learn nothing.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Vectors in the pool of a layer. [default: 64; with --quick 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Size")]
    pub(crate) slots: Option<u16>,

    /// Vectors that a fact replaces, at most the letters of a fact. [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8), help_heading = "Size")]
    pub(crate) replaced: Option<u16>,

    /// Most facts that are injected after the one that is asked for, in training. [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000), help_heading = "Size")]
    pub(crate) most_later: Option<u16>,

    /// The arm with a mask excludes one token in k from the loss. [default: 4]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..), help_heading = "Size")]
    pub(crate) k: Option<u32>,

    /// Steps of training. [default: 3,000; with --quick 40]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000), help_heading = "Size")]
    pub(crate) steps: Option<u64>,

    /// Width of the hidden states. [default: 64; with --quick 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(4..=4096), help_heading = "Size")]
    pub(crate) width: Option<u16>,

    /// Largest learning rate. [default: 0.003]
    #[arg(long, value_name = "X", help_heading = "Size")]
    pub(crate) lr: Option<f64>,

    /// Determines the facts, the initial weights, and which vectors are replaced.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Threads. The result is the same for every number. [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Print results.json instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}
