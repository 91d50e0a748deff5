//! `goldfish lab corrupt`.

use anyhow::Context;
use goldfish_corpus::{ReadOptions, resolve};
use goldfish_lab::edits::{Edit, EditKind, words};
use goldfish_lab::{CorruptOptions, Corrupted, corrupt};
use goldfish_pipeline::resolve_content;

use crate::args::CorruptArgs;
use crate::files::write_file;
use crate::print::{self, BOLD, count, percent, plural};
use crate::verdict::Verdict;

/// Largest file with words that is read, in bytes.
const MAX_WORDS_BYTES: u64 = 1 << 30;

pub(crate) fn run(args: &CorruptArgs) -> anyhow::Result<Verdict> {
    let edits = edits(args)?;
    let inputs = resolve(&args.inputs, None)?.inputs;
    let mut read = ReadOptions::new(resolve_content(Some(args.text_column.clone()), None, &inputs, false)?);
    read.id_column.clone_from(&args.id_column);
    let made = corrupt(&CorruptOptions {
        inputs,
        read,
        edits,
        words: vocabulary(args)?,
        copies: args.copies,
        seed: args.seed,
    })?;
    write_file(&args.output, &made.lines, "--output")?;
    if args.json {
        print::json(&made)?;
    } else {
        print::out(&summary(args, &made))?;
    }
    Ok(Verdict::Clean)
}

/// The edits, each with its rate or size.
fn edits(args: &CorruptArgs) -> anyhow::Result<Vec<Edit>> {
    let rated = |kind: &EditKind| !matches!(kind, EditKind::Lines | EditKind::Pages | EditKind::Quotation);
    let (given, needed) = (args.rate.len(), args.edit.iter().filter(|kind| rated(kind)).count());
    anyhow::ensure!(
        given == 1 || given == needed,
        "--rate has {given} values, and {needed} of the edits have a rate; give one for all of them, or one each"
    );
    let mut rates = args.rate.iter().cycle().copied();
    let mut rate = || rates.next().unwrap_or_default();
    let edit = |kind: &EditKind| {
        Ok(match kind {
            EditKind::WordsReplaced => Edit::WordsReplaced(rate()),
            EditKind::WordsInserted => Edit::WordsInserted(rate()),
            EditKind::WordsDeleted => Edit::WordsDeleted(rate()),
            EditKind::Characters => Edit::Characters(rate()),
            EditKind::WordsSplit => Edit::WordsSplit(rate()),
            EditKind::WordsJoined => Edit::WordsJoined(rate()),
            EditKind::Lines => Edit::Lines(args.line_width.into()),
            EditKind::Pages => Edit::Pages(args.page_words as usize),
            EditKind::Numbers => Edit::Numbers(rate()),
            EditKind::Names => Edit::Names(rate()),
            EditKind::Quotation => Edit::Quotation(args.quoted_words as usize),
            other => anyhow::bail!("{} is not known here", other.name()),
        })
    };
    args.edit.iter().map(edit).collect()
}

/// The words of `--words`.
fn vocabulary(args: &CorruptArgs) -> anyhow::Result<Vec<String>> {
    let Some(path) = &args.words else { return Ok(Vec::new()) };
    let shown = || path.display().to_string();
    let text = goldfish_storage::read(path, MAX_WORDS_BYTES).with_context(shown)?;
    let text = String::from_utf8(text).with_context(shown)?;
    let found: Vec<String> = words(&text).into_iter().map(|word| text[word].to_owned()).collect();
    anyhow::ensure!(!found.is_empty(), "{} has no word in it; choose another --words", path.display());
    Ok(found)
}

fn summary(args: &CorruptArgs, made: &Corrupted) -> String {
    let edits = made.edits.iter().map(|(name, places)| format!("{name} in {}", plural(*places, "place")));
    let edits: Vec<String> = edits.collect();
    format!(
        "{BOLD}{}{BOLD:#}  {} of {}, {} words before the edits\n{}; {} of the copies' bytes equal the originals'\n",
        print::path(&args.output),
        if made.copies == 1 { "1 copy".to_owned() } else { format!("{} copies", count(made.copies)) },
        plural(made.documents, "document"),
        count(made.words),
        if edits.is_empty() { "nothing to edit".to_owned() } else { edits.join(", ") },
        percent(made.equal_bytes, made.bytes),
    )
}
