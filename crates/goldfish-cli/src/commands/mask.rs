//! `goldfish mask`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use anyhow::{Context, bail};
use goldfish_corpus::{
    Content, ExistingMask, Input, ReadOptions, Resolved, read_npy, resolve_with_stdin, warnings,
};
use goldfish_mask::{RuleSpec, Scope, rules::NoRule};
use goldfish_pipeline::{
    DocumentKind, MaskJob, MaskOptions, Outcome, PipelineError, RepeatedIds, ResolvedMask, mask_corpus,
    resolve_content, shared_folder,
};
use goldfish_shard::{ExtraColumn, FinishedFiles, Manifest, OutputMode, Totals, WriterOptions};
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use crate::advice;
use crate::args::MaskArgs;
use crate::commands::{dry_run, masks_only};
use crate::describe::{
    ALREADY_COMPLETE, describe_rule, describe_tally, dropped_line, kept_lines, policy_lines, protected_line,
    rule_line, tally,
};
use crate::files::{part_folder, partition, read_policy, read_table};
use crate::leak;
use crate::passage;
use crate::print::{self, BOLD, bytes, count, percent, plural};
use crate::progress::{Bar, show};
use crate::rejects;
use crate::signals::stop_on_signals;
use crate::threads::workers;
use crate::verdict::Verdict;
use crate::works;

pub(crate) fn run(args: &MaskArgs) -> anyhow::Result<Verdict> {
    let resolved = resolve_with_stdin(&args.inputs, args.format)?;
    check_stdin(args, &resolved)?;
    print::note_unread(&resolved);
    let (job, chosen) = job(args, resolved)?;
    let suspicious = warnings(&job.inputs, &job.read);
    let suspicious: Vec<String> =
        suspicious.iter().map(|warning| advice::advised(warning, &warning.remedies)).collect();
    suspicious.iter().for_each(|warning| print::warn(warning));
    if args.dry_run {
        return dry_run::run(&job, args.json, &suspicious);
    }
    if args.masks_only {
        return masks_only::run(args, job, chosen.as_deref());
    }
    let bar = Bar::bytes(0);
    let started = std::time::Instant::now();
    let stop = stop_on_signals()?;
    let noted = Once::new();
    let outcome = mask_corpus(&job, &stop, &|progress| {
        progress.finished.iter().for_each(|kept| noted.call_once(|| print::note(&resuming(kept))));
        show(&bar, progress, started);
    });
    bar.finish_and_clear();
    let outcome = outcome.map_err(|error| explain(error, &stop))?;
    let mut found = leak::warnings(&job, &outcome.tallies, outcome.sample.as_deref());
    found.extend(outcome.repeated_ids.as_ref().map(repeated));
    let totals = &outcome.manifest.totals;
    let reasons = if totals.documents_rejected > 0 { rejects::reasons(&job.output)? } else { Vec::new() };
    if totals.documents_in == 0 && job.partition.is_none() {
        found.push("there are no documents in the inputs".into());
    }
    if args.json {
        let warnings = [&suspicious[..], &found[..]].concat();
        print::json(&summary_json(&job, chosen.as_deref(), (&outcome, &reasons), &warnings))?;
    } else {
        let mut lines = summary(&job, chosen.as_deref(), (&outcome, &reasons));
        if job.protect_only {
            lines.extend(works::table(&works::copies(&job.output, &outcome.manifest)?));
        }
        print::out(&(lines.join("\n") + "\n"))?;
    }
    found.iter().for_each(|warning| print::warn(warning));
    let clean = totals.documents_rejected == totals.documents_null;
    Ok(if clean { Verdict::Clean } else { Verdict::Findings })
}

/// Standard input can be read once, from its start to its end.
fn check_stdin(args: &MaskArgs, resolved: &Resolved) -> anyhow::Result<()> {
    let again = [
        (args.resume, "--resume"),
        (args.dry_run, "--dry-run"),
        (args.masks_only, "--masks-only"),
        (args.rank.is_some(), "--rank"),
    ];
    match again.iter().find(|(given, _)| *given) {
        Some((_, option)) if resolved.inputs.iter().any(Input::is_stdin) => {
            bail!("-: standard input can be read only once; name files, or leave out {option}")
        }
        _ => Ok(()),
    }
}

/// The job, and why its rule was chosen if the command line names none.
fn job(args: &MaskArgs, resolved: Resolved) -> anyhow::Result<(MaskJob, Option<String>)> {
    let tokenizer =
        args.tokenizer.as_deref().map(|path| Tokenizer::from_file_with(path, args.special_in_text));
    let tokenizer = tokenizer.transpose()?.map(Arc::new);
    let (text_column, ids_column) = (args.text_column.clone(), args.ids_column.clone());
    let reads_text = tokenizer.is_some() || args.protect_only;
    let content = resolve_content(text_column, ids_column, &resolved.inputs, reads_text)?;
    let partition = partition(args.rank, args.world);
    // Documents that are only searched need no tokenizer.
    let documents = if args.protect_only { DocumentKind::Either } else { (&content).into() };
    let options = mask_options(args, documents, tokenizer, partition.is_some())?;
    let (policy, protect, decided) = match &args.policy {
        None => (None, None, options.resolve()?),
        Some(path) => {
            let (policy, default) = read_policy(path, &options)?;
            let protect = policy.protect().map(|protect| works::read(path, protect)).transpose()?;
            (Some(policy), protect, ResolvedMask { reason: None, ..default })
        }
    };
    let (policy, decided) = match (args.protect_only, &protect) {
        (false, _) => (policy, decided),
        (true, Some(_)) => (None, without_rule(decided, &content)),
        (true, None) => {
            bail!("the policy protects no works: add [protect] with works, or omit --protect-only")
        }
    };
    let ResolvedMask { rule, reason, table, scope, exempt_ids, tokenize, eos_id } = decided;
    let headerless = resolved.inputs.iter().any(|input| input.format.uses_eos_id());
    let mut read = ReadOptions::new(content);
    read.id_column = args.id_column.clone();
    read.carry = args.carry.clone();
    read.conditions = policy.as_ref().map_or_else(Vec::new, |policy| policy.columns().to_vec());
    read.existing = existing_mask(args);
    read.refuse_masks = !args.ignore_masks && !args.protect_only;
    read.max_document = args.max_document;
    read.id_type = args.ids_dtype;
    read.eos_id = eos_id.filter(|_| headerless);
    read.vocab_size = tokenize.as_ref().map(|options| options.tokenizer.vocab_size());
    let output = match &args.output {
        Some(output) => output.clone(),
        None if args.dry_run => PathBuf::new(),
        None => shared_folder(&resolved.inputs)
            .context("the inputs have no folder in common to write the masks into; give --output")?,
    };
    let job = MaskJob {
        protect,
        protect_only: args.protect_only,
        policy,
        inputs: resolved.inputs,
        read,
        tokenize,
        rule,
        table,
        scope,
        exempt_ids,
        output: part_folder(output, partition),
        writer: WriterOptions {
            format: args.output_format,
            shard_size: if args.protect_only && args.carry.is_empty() {
                args.shard_size.min(SHARD_OF_IDS)
            } else {
                args.shard_size
            },
        },
        columns: args.columns.clone(),
        output_mode: match (args.overwrite, args.resume) {
            (true, _) => OutputMode::Overwrite,
            (_, true) => OutputMode::Resume,
            _ => OutputMode::New,
        },
        partition,
        on_error: args.on_error,
        on_null: args.on_null,
        limit: args.limit,
        threads: workers(args.threads),
    };
    Ok((job, reason.map(|reason| reason.to_string())))
}

/// Size of shards without tokens: about half a million documents. A run resumes after one.
const SHARD_OF_IDS: u64 = 16 << 20;

/// What decides documents that are only searched. Their text is read as it is; that of ids needs their tokenizer.
fn without_rule(decided: ResolvedMask, content: &Content) -> ResolvedMask {
    let rule = RuleSpec::new(NoRule::new());
    let decided = ResolvedMask { rule, table: None, scope: Scope::Document, ..decided };
    if matches!(content, Content::Ids { .. }) {
        return decided;
    }
    if decided.tokenize.is_some() {
        print::note("note: --tokenizer is not used: raw text is searched as it is");
    }
    ResolvedMask { exempt_ids: Vec::new(), tokenize: None, ..decided }
}

/// Which masks that token ids come with are read.
fn existing_mask(args: &MaskArgs) -> ExistingMask {
    match (&args.mask_column, &args.labels_column) {
        (Some(column), _) => {
            let weights = args.columns.contains(&ExtraColumn::LossWeights);
            ExistingMask::Mask { column: column.clone(), weights }
        }
        (None, Some(column)) => ExistingMask::Labels { column: column.clone() },
        (None, None) => ExistingMask::None,
    }
}

/// The options of the command line that decide the masks.
fn mask_options(
    args: &MaskArgs,
    documents: DocumentKind,
    tokenizer: Option<Arc<Tokenizer>>,
    divided: bool,
) -> anyhow::Result<MaskOptions> {
    Ok(MaskOptions {
        documents,
        tokenizer,
        prepend_bos: args.prepend_bos,
        append_eos: args.append_eos,
        bos_id: args.bos_id,
        eos_id: args.eos_id,
        rule: args.rule,
        k: args.k,
        context: args.context,
        granularity: args.unit,
        window: args.window,
        short_context: args.head,
        longest_run: args.longest_run,
        seed: args.seed,
        start: args.start,
        table: read_table(args.table.as_deref())?,
        coefficients: args.coefficients.as_deref().map(read_npy).transpose()?,
        scope: args.scope,
        sequence_length: args.sequence_length,
        exempt_special: args.exempt_special,
        divided,
    })
}

/// What is said of ids that occur more than once.
fn repeated(ids: &RepeatedIds) -> String {
    format!(
        "{}{} the id of an earlier one, such as {}; --by, rejects and audits name documents by their ids",
        if ids.exact { "" } else { "about " },
        if ids.documents == 1 {
            "1 document has".into()
        } else {
            format!("{} documents have", count(ids.documents))
        },
        print::name(&ids.example)
    )
}

fn resuming(kept: &FinishedFiles) -> String {
    format!(
        "resuming after {} with {}; what was read for them is compared with its hash first",
        plural(kept.files as u64, "finished shard"),
        plural(kept.documents, "document"),
    )
}

/// An error with the command that resumes after what was finished.
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
        "{} with {}",
        plural(kept.files as u64, "finished shard"),
        plural(kept.documents, "document"),
    );
    print::unfinished(*error, &kept, &output)
}

fn summary_json(
    job: &MaskJob,
    chosen: Option<&str>,
    (outcome, reasons): (&Outcome, &[rejects::Reason]),
    warnings: &[String],
) -> serde_json::Value {
    let Manifest { rule, totals, shards, .. } = &outcome.manifest;
    json!({
        "output": job.output,
        "already_complete": outcome.already_complete,
        "rule": rule,
        "rule_chosen_because": chosen,
        "documents": totals.documents_out,
        "rejected": totals.documents_rejected,
        "null": totals.documents_null,
        "reject_reasons": reasons,
        "special_in_text": totals.special_in_text,
        "tokens": totals.tokens,
        "dropped": totals.dropped,
        "excluded_before": totals.excluded_before,
        "drop_rate": outcome.manifest.drop_rate(),
        "longest_kept_run": outcome.manifest.longest_kept_run,
        "shards": shards.len(),
        "bytes": outcome.manifest.shard_bytes(),
        "tally": outcome.tallies.first().filter(|_| job.policy.is_none()).map(tally),
        "policy": outcome.manifest.policy,
        "protected": outcome.manifest.protected,
        "repeated_ids": outcome.repeated_ids.as_ref().map(|ids| ids.documents),
        "warnings": warnings,
        "text_bytes": { "fast": outcome.tokenized.fast, "exact": outcome.tokenized.exact },
    })
}

fn summary(
    job: &MaskJob,
    chosen: Option<&str>,
    (outcome, reasons): (&Outcome, &[rejects::Reason]),
) -> Vec<String> {
    let totals = &outcome.manifest.totals;
    if job.protect_only {
        let searched = plural(totals.documents_out, "document");
        let mut lines = vec![format!("{BOLD}{}{BOLD:#}  {searched} searched", print::path(&job.output))];
        lines.extend(outcome.already_complete.then(|| ALREADY_COMPLETE.into()));
        lines.extend(outcome.manifest.protected.as_ref().map(protected_line));
        lines.extend(rejected_lines(job, totals, reasons));
        return lines;
    }
    let mut lines = vec![print::headline(&job.output, &outcome.manifest)];
    lines.extend(outcome.already_complete.then(|| ALREADY_COMPLETE.into()));
    lines.push(rule_line(&describe_rule(&outcome.manifest), chosen));
    lines.push(dropped_line(totals));
    match outcome.tallies.first().filter(|_| job.policy.is_none()) {
        Some(tally) => {
            lines.push(format!("           {}", describe_tally(tally, job.rule.k(), totals.targets())));
        }
        None => lines.extend(policy_lines(&outcome.manifest.policy)),
    }
    lines.extend(outcome.manifest.protected.as_ref().map(protected_line));
    lines.extend(outcome.manifest.longest_kept_run.iter().flat_map(|runs| kept_lines(&job.rule, runs)));
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
    if totals.special_in_text > 0 {
        lines.push(format!(
            "special    the texts spell {}; --special-in-text text reads such as text",
            plural(totals.special_in_text, "special token"),
        ));
    }
    lines.extend(rejected_lines(job, totals, reasons));
    if let Some(passage) = &outcome.passage {
        let tokenizer = job.tokenize.as_ref().map(|options| &*options.tokenizer);
        lines.push(passage::example(passage, tokenizer));
    }
    lines
}

/// How many rows were rejected, if any were, and why.
fn rejected_lines(job: &MaskJob, totals: &Totals, reasons: &[rejects::Reason]) -> Vec<String> {
    if totals.documents_rejected == 0 {
        return Vec::new();
    }
    let null = match totals.documents_null {
        0 => String::new(),
        null => format!(
            ", of which {} null and skipped",
            if null == 1 { "1 is".into() } else { format!("{} are", count(null)) }
        ),
    };
    let list = job.output.join(goldfish_shard::REJECTS_NAME);
    let first = format!(
        "{BOLD}rejected   {} of {}{null}; see {}{BOLD:#}",
        plural(totals.documents_rejected, "row"),
        count(totals.documents_in),
        print::path(&list)
    );
    std::iter::once(first).chain(rejects::lines(reasons)).collect()
}
