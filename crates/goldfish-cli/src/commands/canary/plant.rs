//! `goldfish canary plant`.

use anyhow::Context;
use goldfish_audit::canaries::{
    CANARIES_NAME, MIXED_NAME, PLAN_NAME, PlantOptions, Planted, Settings, plant,
};
use goldfish_corpus::{Content, ReadOptions, resolve};
use goldfish_shard::ToolEntry;
use goldfish_storage::random_id;

use crate::args::PlantArgs;
use crate::print::{self, BOLD, FAINT, bytes, percent, plural, shell_line};
use crate::progress::Bar;
use crate::verdict::Verdict;

/// Largest file with words that is read, in bytes.
const MAX_WORDS_BYTES: u64 = 1 << 30;

pub(crate) fn run(args: &PlantArgs) -> anyhow::Result<Verdict> {
    let mut read = ReadOptions::new(Content::Text { column: args.text_column.clone() });
    read.id_column.clone_from(&args.id_column);
    let settings = Settings {
        // Each id has 64 bits.
        seed: args.seed.clone().unwrap_or_else(|| random_id() + &random_id()),
        pairs: args.canaries,
        repetitions: args.repetitions.clone(),
        words: args.words,
    };
    let options = PlantOptions {
        settings,
        inputs: resolve(&args.corpus, None)?.inputs,
        read,
        words: words(args)?,
        mix: args.mix,
        tool: ToolEntry::goldfish(),
    };
    let waiting = Bar::waiting("reading the corpus");
    let planted = plant(&options, &args.output)?;
    waiting.finish_and_clear();
    if args.json {
        print::json(&planted)?;
    } else {
        print::out(&summary(args, &planted))?;
    }
    Ok(Verdict::Clean)
}

/// The text of `--words-from`.
fn words(args: &PlantArgs) -> anyhow::Result<Option<String>> {
    let Some(path) = &args.words_from else { return Ok(None) };
    let shown = || path.display().to_string();
    let text = goldfish_storage::read(path, MAX_WORDS_BYTES).with_context(shown)?;
    Ok(Some(String::from_utf8(text).with_context(shown)?))
}

fn summary(args: &PlantArgs, planted: &Planted) -> String {
    let file = |name: &str| args.output.join(name).to_string_lossy().into_owned();
    let share = match planted.corpus_bytes {
        0 => String::new(),
        corpus => format!(", {} of the corpus with them", percent(planted.bytes, corpus + planted.bytes)),
    };
    let mask = ["goldfish", "mask"].map(str::to_owned).into_iter();
    let mask: Vec<String> = if args.mix {
        mask.chain([file(MIXED_NAME)]).collect()
    } else {
        mask.chain(args.corpus.iter().cloned()).chain([file(CANARIES_NAME)]).collect()
    };
    let rest = ["--tokenizer", "tokenizer.json", "--append-eos", "--output", "masked"].map(str::to_owned);
    let folder = args.output.to_string_lossy().into_owned();
    let test = ["goldfish".to_owned(), "canary".to_owned(), "test".to_owned(), folder];
    let test = test.into_iter().chain(["--model", "checkpoint", "--digest"].map(str::to_owned));
    format!(
        "{BOLD}{}{BOLD:#}  {}, one of each planted: {} of {} words ({}{share})\n\
         SHA-256 of {PLAN_NAME}: {}\n  {FAINT}publish it before training; keep the folder secret until the test{FAINT:#}\n\
         train on the planted passages, and on no other file of the folder:\n  {}\n\
         then test the model:\n  {}\n",
        print::path(&args.output),
        plural(planted.plan.pairs.len() as u64, "pair"),
        plural(planted.documents, "document"),
        planted.plan.settings.words,
        bytes(planted.bytes),
        planted.digest,
        shell_line(mask.into_iter().chain(rest)),
        shell_line(test.chain([planted.digest.clone()])),
    )
}
