//! `goldfish mask`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use anyhow::{Context, bail, ensure};
use goldfish_corpus::{Content, ReadOptions, Resolved, doubts, read_npy, resolve};
use goldfish_mask::{Granularity, RuleParameters, RuleSpec, Scope, TableSource, Tally, UniformTable, Window};
use goldfish_pipeline::{
    MaskJob, Outcome, Partition, PipelineError, Progress, TEXT_CONTEXT, TOKEN_CONTEXT, TokenizeOptions,
    exempt_ids, mask_corpus, shared_folder,
};
use goldfish_shard::{FinishedFiles, Manifest, OutputMode, WriterOptions};
use goldfish_tokenize::{TokenizeError, Tokenizer};
use indicatif::ProgressBar;
use serde_json::json;

use crate::Verdict;
use crate::args::{MaskArgs, RuleArg, ScopeArg};
use crate::commands::{masks_only, read_table, resume_command, stop_on_signals};
use crate::passage;
use crate::print::{self, BOLD, FAINT, bytes, count, percent, plural};

/// Column of raw text unless another is named.
const TEXT_COLUMN: &str = "text";

/// Column of token ids unless another is named.
const IDS_COLUMN: &str = "input_ids";

pub(crate) fn run(args: &MaskArgs) -> anyhow::Result<Verdict> {
    let resolved = resolve(&args.inputs, args.format.map(Into::into))?;
    for path in &resolved.ignored {
        print::note(&format!("note: {} is not read: its name tells no corpus format", path.display()));
    }
    for path in &resolved.written {
        print::note(&format!(
            "note: {} is not read: goldfish wrote it; to read tokens in it, name their folder",
            path.display()
        ));
    }
    let (job, chosen) = job(args, resolved)?;
    let doubts = doubts(&job.inputs, &job.read);
    doubts.iter().for_each(|doubt| print::warn(doubt));
    if args.masks_only {
        return masks_only::run(args, job, chosen.as_deref());
    }
    let bar = print::progress_bar(0, PROGRESS);
    let started = std::time::Instant::now();
    let stop = stop_on_signals()?;
    let said = Once::new();
    let outcome = mask_corpus(&job, &stop, &|progress| {
        progress.finished.iter().for_each(|kept| said.call_once(|| print::note(&resuming(kept))));
        show(&bar, progress, started);
    });
    bar.finish_and_clear();
    let outcome = outcome.map_err(|error| explain(error, &stop))?;
    if args.json {
        print::json(&summary_json(&job, chosen.as_deref(), &outcome, &doubts))?;
    } else {
        print::out(&summary(&job, chosen.as_deref(), &outcome))?;
    }
    warnings(&outcome).iter().for_each(|warning| print::warn(warning));
    let clean = outcome.manifest.totals.documents_rejected == 0;
    Ok(if clean { Verdict::Clean } else { Verdict::Findings })
}

/// The job, and why its rule was chosen if the command line names none.
fn job(args: &MaskArgs, resolved: Resolved) -> anyhow::Result<(MaskJob, Option<String>)> {
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?.map(Arc::new);
    let content = content(args, &resolved)?;
    let is_text = matches!(content, Content::Text { .. });
    ensure!(
        !is_text || tokenizer.is_some(),
        "raw text needs a tokenizer: give --tokenizer tokenizer.json (or --ids-column if the corpus holds token ids)"
    );
    ensure!(
        is_text || !(args.append_eos || args.prepend_bos),
        "token ids are taken as they are: --append-eos and --prepend-bos work on raw text only"
    );
    let bos = args.bos_id.or_else(|| tokenizer.as_ref().and_then(|t| t.bos_id()));
    let eos = args.eos_id.or_else(|| tokenizer.as_ref().and_then(|t| t.eos_id()));
    ensure!(!args.append_eos || eos.is_some(), "the tokenizer names no end-of-sequence token: give --eos-id");
    ensure!(
        !args.prepend_bos || bos.is_some(),
        "the tokenizer names no beginning-of-sequence token: give --bos-id"
    );
    let vocab_size = tokenizer.as_ref().map(|t| t.vocab_size());
    for (option, id) in [("--bos-id", args.bos_id), ("--eos-id", args.eos_id)] {
        if let (Some(id), Some(size)) = (id, vocab_size) {
            ensure!(id < size, "{option} {id} is not in the tokenizer's vocabulary of {size}");
        }
    }

    let (name, chosen) = match args.rule {
        Some(name) => (name, None),
        None => {
            let (name, reason) = default_rule(args, is_text, tokenizer.as_deref());
            (name, Some(reason))
        }
    };
    let (rule, table) = rule(args, name)?;
    let exempt_ids = exempt_ids(&rule, tokenizer.as_deref(), args.exempt_special, [args.bos_id, args.eos_id]);
    ensure!(
        args.exempt_special != Some(true) || !exempt_ids.is_empty(),
        "--exempt-special: nothing says which tokens are special; give --tokenizer, or --eos-id and --bos-id"
    );
    let partition = args.rank.zip(args.world).map(|(rank, world)| Partition { rank, world });
    ensure!(
        partition.is_none() || args.scope == ScopeArg::Document,
        "--scope sequence can't be divided: where sequences start depends on all documents before them; mask on one \
         machine, or mask each file by itself"
    );
    let headerless = resolved.inputs.iter().any(|input| input.format == goldfish_corpus::Format::Olmo);
    let mut read = ReadOptions::new(content);
    read.id_column = args.id_column.clone();
    read.carry = args.carry.clone();
    read.max_document = args.max_document;
    read.id_type = args.ids_dtype.map(Into::into);
    read.eos_id = eos.filter(|_| headerless);
    read.vocab_size = vocab_size;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => shared_folder(&resolved.inputs).context("there is no input to mask")?,
    };
    let job = MaskJob {
        inputs: resolved.inputs,
        read,
        tokenize: tokenizer.map(|tokenizer| TokenizeOptions {
            tokenizer,
            prepend_bos: bos.filter(|_| args.prepend_bos),
            append_eos: eos.filter(|_| args.append_eos),
        }),
        rule,
        table,
        scope: scope(args)?,
        exempt_ids,
        output: match partition {
            None => output,
            Some(Partition { rank, world }) => output.join(goldfish_shard::part_folder(rank, world)),
        },
        writer: WriterOptions { format: args.output_format.into(), shard_size: args.shard_size },
        columns: args.columns.iter().map(|&column| column.into()).collect(),
        output_mode: match (args.overwrite, args.resume) {
            (true, _) => OutputMode::Overwrite,
            (_, true) => OutputMode::Resume,
            _ => OutputMode::New,
        },
        partition,
        on_error: args.on_error.into(),
        threads: match args.threads {
            Some(threads) => threads.into(),
            None => std::thread::available_parallelism().map_or(1, Into::into),
        },
    };
    Ok((job, chosen))
}

/// Which column holds what: as named, else text if there is a tokenizer and ids if not.
fn content(args: &MaskArgs, resolved: &Resolved) -> anyhow::Result<Content> {
    let memmaps = resolved.inputs.iter().filter(|input| input.format.is_memmap()).count();
    let content = match (&args.text_column, &args.ids_column) {
        (Some(column), _) => Content::Text { column: column.clone() },
        (None, Some(column)) => Content::Ids { column: column.clone() },
        (None, None) if memmaps == resolved.inputs.len() || args.tokenizer.is_none() => {
            Content::Ids { column: IDS_COLUMN.into() }
        }
        (None, None) => Content::Text { column: TEXT_COLUMN.into() },
    };
    if memmaps > 0 && matches!(content, Content::Text { .. }) {
        bail!("memmaps hold token ids, the other inputs raw text: mask them apart, or give --ids-column");
    }
    Ok(content)
}

/// The rule where none is named, and why: text where the text is at hand.
fn default_rule(args: &MaskArgs, is_text: bool, tokenizer: Option<&Tokenizer>) -> (RuleArg, String) {
    let hash = |reason: &str| (RuleArg::Hash, reason.to_owned());
    if args.scope == ScopeArg::Sequence {
        return hash("packed sequences are decided by their tokens");
    }
    if args.window.is_some() {
        return hash("--window is an option of it");
    }
    match (is_text, tokenizer.map(Tokenizer::text_map)) {
        (true, _) => (RuleArg::Text, "the inputs are raw text".into()),
        (false, None) => hash("the inputs are token ids without a --tokenizer that tells their text"),
        (false, Some(Ok(map))) if map.is_lossless() => {
            (RuleArg::Text, "the tokenizer tells the text of the ids".into())
        }
        (false, Some(Ok(_))) => hash("the tokenizer loses the text of words that it does not know"),
        (false, Some(Err(TokenizeError::NoText { problem, .. }))) => {
            (RuleArg::Hash, format!("the tokenizer does not tell the text of ids exactly: {problem}"))
        }
        (false, Some(Err(error))) => (RuleArg::Hash, error.to_string()),
    }
}

fn rule(args: &MaskArgs, name: RuleArg) -> anyhow::Result<(RuleSpec, Option<UniformTable>)> {
    let uses_table = matches!(name, RuleArg::HashTable | RuleArg::CoefficientSum);
    ensure!(args.unit.is_none() || name == RuleArg::Text, "--unit is for the rule text only");
    ensure!(args.window.is_none() || name == RuleArg::Hash, "--window is for the rule hash only");
    ensure!(
        uses_table || args.table.is_none(),
        "--table is for the rules hash-table and coefficient-sum only"
    );
    let is_sum = name == RuleArg::CoefficientSum;
    ensure!(is_sum || args.coefficients.is_none(), "--coefficients is for the rule coefficient-sum only");
    let table = read_table(args.table.as_deref())?;
    let source = table.as_ref().map_or(TableSource::Cpu, |table| TableSource::File(table.fingerprint()));
    let (k, seed, head) = (args.k, args.seed, args.head.into());
    let context = args.context.unwrap_or(if name == RuleArg::Text { TEXT_CONTEXT } else { TOKEN_CONTEXT });
    let parameters = match name {
        RuleArg::Text => RuleParameters::Text {
            k,
            context,
            unit: args.unit.map_or(Granularity::Word, Into::into),
            head,
            seed,
        },
        RuleArg::Static => RuleParameters::Static { k, start: args.start },
        RuleArg::Random => RuleParameters::Random { k, seed },
        RuleArg::Hash => {
            let window = args.window.map_or(Window::Preceding, Into::into);
            RuleParameters::Hash { k, context, window, head, seed }
        }
        RuleArg::HashTable => RuleParameters::HashTable { k, context, table: source },
        RuleArg::HashAvalanche => RuleParameters::HashAvalanche { k, context },
        RuleArg::CoefficientSum => {
            let path = args.coefficients.as_deref().context(
                "the rule coefficient-sum needs --coefficients FILE.npy: save the training run's coefficients (int64) with numpy.save",
            )?;
            RuleParameters::CoefficientSum { k, context, coefficients: read_npy(path)?, table: source }
        }
    };
    Ok((RuleSpec::new(parameters), table))
}

fn scope(args: &MaskArgs) -> anyhow::Result<Scope> {
    match (args.scope, args.sequence_length) {
        (ScopeArg::Document, None) => Ok(Scope::Document),
        (ScopeArg::Document, Some(_)) => bail!("--sequence-length needs --scope sequence"),
        (ScopeArg::Sequence, Some(length)) => Ok(Scope::Sequence { length }),
        (ScopeArg::Sequence, None) => {
            bail!(
                "--scope sequence needs --sequence-length: the targets in one packed training sequence, for example 2048"
            )
        }
    }
}

fn resuming(kept: &FinishedFiles) -> String {
    format!(
        "going on behind {} with {}; what was read for them is compared with its hash first",
        plural(kept.files as u64, "finished shard"),
        plural(kept.documents, "document"),
    )
}

/// An error with the command that goes on behind what was finished.
fn explain(error: PipelineError, stop: &AtomicBool) -> anyhow::Error {
    let interrupted = matches!(error, PipelineError::Interrupted);
    let PipelineError::Unfinished { error, finished: kept, output } = error else {
        let nothing = interrupted && stop.load(std::sync::atomic::Ordering::Relaxed);
        let error = anyhow::Error::from(error);
        return if nothing {
            error.context("no shard was finished; run the same command again")
        } else {
            error
        };
    };
    let kept = format!(
        "{} with {} are kept in {}; resume after them with",
        plural(kept.files as u64, "finished shard"),
        plural(kept.documents, "document"),
        output.display(),
    );
    print::advised(*error, vec![kept, format!("  {}", resume_command(std::env::args_os()))])
}

/// What the progress bar shows.
pub(crate) const PROGRESS: &str =
    "{bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}  {msg}";

pub(crate) fn show(bar: &ProgressBar, progress: Progress, started: std::time::Instant) {
    bar.set_length(progress.bytes_total);
    bar.set_position(progress.bytes_read);
    let rate = progress.tokens as f64 / started.elapsed().as_secs_f64().max(0.001) / 1e6;
    bar.set_message(format!(
        "{} documents, {} tokens, {rate:.1} Mtok/s",
        count(progress.documents),
        count(progress.tokens)
    ));
}

fn summary_json(
    job: &MaskJob,
    chosen: Option<&str>,
    outcome: &Outcome,
    doubts: &[String],
) -> serde_json::Value {
    let Manifest { rule, totals, shards, .. } = &outcome.manifest;
    let warnings = [doubts, &warnings(outcome)[..]].concat();
    json!({
        "output": job.output,
        "rule": rule,
        "rule_chosen_because": chosen,
        "documents": totals.documents_out,
        "rejected": totals.documents_rejected,
        "tokens": totals.tokens,
        "dropped": totals.dropped,
        "drop_rate": outcome.manifest.drop_rate(),
        "shards": shards.len(),
        "bytes": outcome.manifest.shard_bytes(),
        "tally": tally(&outcome.tally),
        "warnings": warnings,
        "text_bytes": { "fast": outcome.tokenized.fast, "exact": outcome.tokenized.exact },
    })
}

/// What became of the tokens that were counted.
pub(crate) fn tally(tally: &Tally) -> serde_json::Value {
    json!({
        "tokens": tally.tokens,
        "special": tally.special,
        "blank": tally.blank(),
        "head": tally.head(),
        "decided": tally.decided,
        "dropped": tally.dropped,
        "decided_drop_rate": tally.decided_rate(),
    })
}

/// What speaks against the rule on this corpus.
fn warnings(outcome: &Outcome) -> Vec<String> {
    outcome.tally.warnings(&outcome.manifest.rule).iter().map(ToString::to_string).collect()
}

fn summary(job: &MaskJob, chosen: Option<&str>, outcome: &Outcome) -> String {
    let totals = &outcome.manifest.totals;
    let mut lines = vec![
        print::headline(&job.output, &outcome.manifest),
        format!(
            "rule       {}{}",
            describe_rule(&outcome.manifest),
            chosen.map(|reason| format!("\n           (chosen because {reason})")).unwrap_or_default(),
        ),
        format!(
            "dropped    {} tokens, {} of all",
            count(totals.dropped),
            percent(totals.dropped, totals.tokens),
        ),
        format!("           {}", describe_tally(&outcome.tally, job.rule.k(), totals.tokens)),
    ];
    let text = outcome.tokenized.fast + outcome.tokenized.exact;
    if let Some(options) = job.tokenize.as_ref().filter(|_| text > 0) {
        lines.push(format!(
            "tokenized  {}; {} on the fast path, {} by the tokenizers crate ({})",
            bytes(text),
            percent(outcome.tokenized.fast, text),
            percent(outcome.tokenized.exact, text),
            options.tokenizer.fast_path(),
        ));
    }
    if totals.documents_rejected > 0 {
        let list = job.output.join(goldfish_shard::REJECTS_NAME);
        lines.push(format!(
            "{BOLD}rejected   {} of {}; see {}{BOLD:#}",
            plural(totals.documents_rejected, "row"),
            count(totals.documents_in),
            print::path(&list)
        ));
    }
    if let Some(passage) = &outcome.passage {
        let tokenizer = job.tokenize.as_ref().map(|options| &*options.tokenizer);
        lines.push(format!(
            "\n{FAINT}{}, first {} tokens, the dropped ones in brackets:{FAINT:#}\n{}",
            print::name(&passage.doc_id),
            passage.ids.len(),
            passage::render(&passage.ids, &passage.mask, tokenizer).trim_end_matches('\n'),
        ));
    }
    lines.join("\n") + "\n"
}

/// The drop rate where the rule had a say, and why it had none elsewhere, of a folder with this many tokens.
pub(crate) fn describe_tally(tally: &Tally, k: u32, tokens: u64) -> String {
    let of_all = |part| percent(part, tally.tokens);
    let mut line = format!(
        "{} of those it decided (1/k is {}), which were {}",
        percent(tally.dropped, tally.decided),
        percent(1, k.into()),
        of_all(tally.decided)
    );
    let kept = [
        (tally.blank(), "without letter or number"),
        (tally.head(), "before the context is full"),
        (tally.special, "special"),
    ];
    let kept: Vec<String> = kept
        .iter()
        .filter(|(tokens, _)| *tokens > 0)
        .map(|(tokens, why)| format!("{} {why}", of_all(*tokens)))
        .collect();
    if !kept.is_empty() {
        line += &format!("; kept: {}", kept.join(", "));
    }
    if tally.tokens < tokens {
        line += &format!(" (measured on {} tokens)", count(tally.tokens));
    }
    line
}

/// The rule of shards with its parameters in a line.
pub(crate) fn describe_rule(manifest: &Manifest) -> String {
    describe(&manifest.rule, manifest.scope, &manifest.exempt_ids)
}

/// A rule with its parameters in a line.
pub(crate) fn describe(rule: &RuleSpec, scope: Scope, exempt_ids: &[u32]) -> String {
    let mut parts = vec![format!("{}, k {}", rule.name(), rule.k())];
    match &rule.parameters {
        RuleParameters::Static { start, .. } => parts.push(format!("from position {start}")),
        RuleParameters::Random { seed, .. } => parts.push(format!("seed {seed}")),
        RuleParameters::Hash { context, window, head, seed, .. } => {
            let window = format!("{window:?}").to_lowercase();
            let head = format!("{head:?}").to_lowercase();
            parts.push(format!("context {context} ({window}), head {head}, seed {seed}"));
        }
        RuleParameters::Text { context, unit, head, seed, .. } => {
            let unit = format!("{unit:?}").to_lowercase();
            let head = format!("{head:?}").to_lowercase();
            parts.push(format!("by {unit}, context {context} characters, head {head}, seed {seed}"));
        }
        RuleParameters::HashTable { context, .. }
        | RuleParameters::HashAvalanche { context, .. }
        | RuleParameters::CoefficientSum { context, .. } => parts.push(format!("context {context}")),
    }
    if let Scope::Sequence { length } = scope {
        parts.push(format!("in packed sequences of {length}"));
    }
    if !exempt_ids.is_empty() {
        parts.push(format!("never dropping {}", plural(exempt_ids.len() as u64, "special token")));
    }
    parts.join(", ")
}
