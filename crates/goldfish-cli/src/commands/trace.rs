//! `goldfish trace`.

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use goldfish_audit::check::is_run;
use goldfish_audit::probe::{Passage, Set};
use goldfish_audit::run::Run;
use goldfish_audit::sampling::{Sample, is_sampled, read_samples};
use goldfish_audit::stat::{Mean, Rate};
use goldfish_corpus::{Content, Format, Input, ReadOptions, resolve};
use goldfish_pipeline::{ScanJob, TokenizeOptions, resolve_content};
use goldfish_report::{TracePage, trace_page};
use goldfish_tokenize::Tokenizer;
use goldfish_trace::{
    Group, GroupSummary, Least, Texts, TextsKind, Trace, TraceError, TraceJob, TraceProgress, TraceSummary,
    Traced, trace,
};
use serde_json::json;

use crate::args::TraceArgs;
use crate::describe::ALREADY_COMPLETE;
use crate::files::{part_folder, partition, write_page};
use crate::print::{self, BOLD, FAINT, bytes, count, name, plural, points, share, with_interval};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::threads::workers;
use crate::verdict::Verdict;

pub(crate) fn run(args: &TraceArgs) -> anyhow::Result<Verdict> {
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?.map(Arc::new);
    let (texts, job) = (texts(args, tokenizer.as_deref())?, job(args, tokenizer)?);
    let bar = Bar::bytes(0);
    let stop = stop_on_signals()?;
    let (noted, started) = (Once::new(), Instant::now());
    let traced = trace(texts, &job, &stop, &|progress| match progress {
        TraceProgress::Searching(before, progress) => {
            if before > 0 {
                noted.call_once(|| {
                    let searched = plural(before, "document");
                    print::note(&format!(
                        "resuming after {searched}; what was read for them was compared with its hash"
                    ));
                });
            }
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_read);
            bar.set_message(format!("{} documents", count(before + progress.documents)));
        }
        TraceProgress::Writing => bar.set_message("writing the tables"),
    });
    bar.finish_and_clear();
    let Traced { summary, was_complete } = traced.map_err(|error| match error {
        TraceError::Unfinished { error, documents, output } => {
            print::unfinished(*error, &format!("the results of {}", plural(documents, "document")), &output)
        }
        error => error.into(),
    })?;
    if args.json {
        print::json(&json!({ "output": job.output, "already_complete": was_complete, "summary": summary }))?;
    } else {
        let mut lines = lines(&job.output, &summary, (!was_complete).then(|| started.elapsed()));
        if was_complete {
            lines.insert(1, ALREADY_COMPLETE.into());
        }
        print::out(&(lines.join("\n") + "\n"))?;
    }
    if let Some(html) = &args.html {
        write_page(html, &page(&Trace::open(&job.output)?, args.seed)?, "--html")?;
    }
    Ok(verdict(&summary))
}

/// The page of a trace.
pub(crate) fn page(trace: &Trace, seed: u64) -> anyhow::Result<String> {
    let (folder, command) = (trace.folder().display().to_string(), print::command_line());
    Ok(trace_page(&TracePage { trace, folder: &folder, command: &command, seed })?)
}

/// Prints what an earlier command found.
pub(crate) fn show(output: &Path, summary: &TraceSummary) -> anyhow::Result<()> {
    print::out(&(lines(output, summary, None).join("\n") + "\n"))
}

pub(crate) fn verdict(summary: &TraceSummary) -> Verdict {
    if summary.corpus.rejected == 0 { Verdict::Clean } else { Verdict::Findings }
}

/// The inputs that are named.
fn inputs(given: &[String], format: Option<Format>) -> anyhow::Result<Vec<Input>> {
    let resolved = resolve(given, format)?;
    print::note_unread(&resolved);
    Ok(resolved.inputs)
}

/// The texts to trace, and those of the control.
fn texts(args: &TraceArgs, tokenizer: Option<&Tokenizer>) -> anyhow::Result<Texts> {
    let columns = (&*args.traced_column, &*args.traced_id_column);
    let mut texts = Texts::default();
    match &*args.texts {
        [folder] if is_run(Path::new(folder)) => return texts_of_run(Path::new(folder), args, tokenizer),
        [folder] if is_sampled(Path::new(folder)) => {
            for sample in read_samples(Path::new(folder))? {
                let Sample { id, text, .. } = sample?;
                texts.add(&id, &text, Group::Text, &id)?;
            }
        }
        files => texts.read(&inputs(files, None)?, columns, Group::Text)?,
    }
    if !args.control.is_empty() {
        texts.read(&inputs(&args.control, None)?, columns, Group::Control)?;
    }
    Ok(texts)
}

/// The suffixes that a model recited in an audit, and for comparison those that it didn't. They are called by their probes.
fn texts_of_run(folder: &Path, args: &TraceArgs, tokenizer: Option<&Tokenizer>) -> anyhow::Result<Texts> {
    ensure!(
        args.control.is_empty(),
        "the control of an audit's suffixes are those that were not recited; omit --control"
    );
    let Some(tokenizer) = tokenizer else {
        bail!("{}: the texts of an audit are token ids; give their --tokenizer", folder.display());
    };
    let run = Run::open(folder)?;
    let mut texts = Texts::of(TextsKind::Suffixes);
    let mut results = run.results()?;
    for probe in run.probes()? {
        let probe = probe?;
        let Some(result) = results.next().transpose()? else { break };
        if !result.is_of(Set::Audited, Passage::Absent) {
            continue;
        }
        let Some(suffix) = &probe.suffix else {
            bail!("{}: the run is redacted: it has no token ids to look for", folder.display());
        };
        let group = if result.exact_match { Group::Text } else { Group::Control };
        texts.add(&probe.probe_id, &tokenizer.decode(suffix)?, group, &probe.cluster)?;
    }
    Ok(texts)
}

fn job(args: &TraceArgs, tokenizer: Option<Arc<Tokenizer>>) -> anyhow::Result<TraceJob> {
    let corpus = inputs(&args.corpus, args.format)?;
    let content = resolve_content(args.text_column.clone(), args.ids_column.clone(), &corpus, true)?;
    let tokenizer = tokenizer.filter(|_| matches!(content, Content::Ids { .. }));
    let mut read = ReadOptions::new(content);
    read.id_column = args.id_column.clone();
    read.conditions = args.source_column.iter().cloned().collect();
    read.max_document = args.max_document;
    // Masks have nothing to do with where a text appears.
    read.refuse_masks = false;
    read.id_type = args.ids_dtype;
    read.vocab_size = tokenizer.as_ref().map(|tokenizer| tokenizer.vocab_size());
    if corpus.iter().any(|input| input.format.uses_eos_id()) {
        read.eos_id = args.eos_id.or_else(|| tokenizer.as_ref().and_then(|tokenizer| tokenizer.eos_id()));
    }
    let partition = partition(args.rank, args.world);
    Ok(TraceJob {
        corpus: ScanJob {
            inputs: corpus,
            read,
            tokenize: tokenizer.map(|tokenizer| TokenizeOptions {
                tokenizer,
                prepend_bos: None,
                append_eos: args.eos_id,
            }),
            partition,
            on_error: args.on_error,
            threads: workers(args.threads),
        },
        least: args.min_characters.map_or(Least::Words(args.min_words), Least::Characters),
        seed: args.seed,
        output: part_folder(args.output.clone(), partition),
        resume: args.resume,
        save_every: Duration::from_secs(args.save_every),
    })
}

/// Rows of a list that are shown.
const SHOWN: usize = 5;

/// What a trace found, as lines.
fn lines(output: &Path, summary: &TraceSummary, took: Option<Duration>) -> Vec<String> {
    let TraceSummary { corpus, texts, control, excess, .. } = summary;
    let rate = took.map_or_else(String::new, |took| {
        let rate = corpus.text_bytes as f64 / took.as_secs_f64().max(0.001);
        format!(" in {:.1} s, {} a second", took.as_secs_f64(), bytes(rate as u64))
    });
    let mut lines = vec![
        format!("{BOLD}{}{BOLD:#}  {}", print::path(output), of_group(texts, "text")),
        format!(
            "corpus     {}, {} of text{rate}; {} with words of the texts",
            plural(corpus.documents, "document"),
            bytes(corpus.text_bytes),
            count(corpus.documents_found),
        ),
        format!(
            "spans      of at least {}; {} appear at {}",
            summary.least,
            plural(texts.spans, "span"),
            plural(texts.places, "place")
        ),
        format!("texts      {} have one: {}", count(texts.with_span.positives), of_rate(&texts.with_span)),
        format!("           {} of the characters of a text are in one", of_mean(&texts.verbatim_share)),
        format!("           {} of its words, with passages that have edits", of_mean(&texts.covered_share)),
    ];
    if let Some(control) = control {
        lines.push(format!(
            "control    {}: {} have one, {}",
            of_group(control, "text"),
            count(control.with_span.positives),
            of_rate(&control.with_span)
        ));
        lines.push(format!("           {} of the characters", of_mean(&control.verbatim_share)));
    }
    if let Some(excess) = excess {
        lines.push(format!("excess     texts with a span: {}", points(&excess.with_span)));
        lines.push(format!("           characters in spans: {}", points(&excess.verbatim_share)));
    }
    for group in summary.recited_by_copies.iter().flatten() {
        let copies = if group.from == group.to {
            count(group.from)
        } else {
            format!("{} to {}", count(group.from), count(group.to))
        };
        let recited = format!(
            "{} of {} recited, {}",
            count(group.recited.positives),
            count(group.recited.n),
            of_rate(&group.recited)
        );
        lines.push(format!("copies     {copies}: {recited}"));
    }
    if corpus.rejected > 0 {
        lines.push(format!(
            "{BOLD}rejected   {} of the corpus; summary.json lists them{BOLD:#}",
            plural(corpus.rejected, "row")
        ));
    }
    if !summary.documents.is_empty() {
        lines.push(format!("\n{FAINT}{:>10}  most copied documents{FAINT:#}", "words"));
        let documents = summary.documents.iter().take(SHOWN);
        lines.extend(
            documents.map(|document| format!("{:>10}  {}", count(document.words), name(&document.doc_id))),
        );
    }
    lines
}

fn of_group(group: &GroupSummary, word: &str) -> String {
    format!("{}, {}", plural(group.texts, word), plural(group.words, "word"))
}

fn of_rate(rate: &Rate) -> String {
    with_interval(rate.rate, rate.lower, rate.upper)
}

fn of_mean(mean: &Mean) -> String {
    match (mean.mean, mean.lower, mean.upper) {
        (Some(mean), Some(lower), Some(upper)) => with_interval(mean, lower, upper),
        (Some(mean), ..) => share(mean),
        _ => "none".into(),
    }
}
