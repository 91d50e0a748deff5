//! `goldfish trace`.

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use goldfish_audit::check::is_run;
use goldfish_audit::probe::{Passage, Set};
use goldfish_audit::run::Run;
use goldfish_audit::stat::{Difference, Mean, Rate};
use goldfish_corpus::{Content, Format, Input, ReadOptions, resolve};
use goldfish_pipeline::{Partition, ScanJob, TokenizeOptions, resolve_content};
use goldfish_report::{TracePage, trace_page};
use goldfish_tokenize::Tokenizer;
use goldfish_trace::{
    Group, GroupSummary, Least, Texts, Trace, TraceError, TraceJob, TraceProgress, TraceSummary, Traced,
    trace,
};
use serde_json::json;

use crate::args::TraceArgs;
use crate::files::write_page;
use crate::print::{self, BOLD, FAINT, bytes, count, name, plural, share};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

pub(crate) fn run(args: &TraceArgs) -> anyhow::Result<Verdict> {
    let (texts, job) = (texts(args)?, job(args)?);
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
        TraceError::Unfinished { error, documents, output } => print::unfinished(
            *error,
            &format!("what was found in {}", plural(documents, "document")),
            &output,
        ),
        error => error.into(),
    })?;
    if args.json {
        print::json(&json!({ "output": job.output, "already_complete": was_complete, "summary": summary }))?;
    } else {
        let took = (!was_complete).then(|| started.elapsed());
        let mut lines = lines(&job.output, &summary, took);
        if was_complete {
            lines.insert(
                1,
                "already complete: an earlier run with the same texts, corpus and options wrote all of it"
                    .into(),
            );
        }
        print::out(&(lines.join("\n") + "\n"))?;
    }
    if let Some(html) = &args.html {
        let page = trace_page(&TracePage {
            trace: &Trace::open(&job.output)?,
            folder: &job.output.display().to_string(),
            command: &print::command_line(),
            seed: args.seed,
        })?;
        write_page(html, &page, "--html")?;
    }
    Ok(if summary.corpus.rejected == 0 { Verdict::Clean } else { Verdict::Findings })
}

/// The inputs that are named.
fn inputs(given: &[String], format: Option<Format>) -> anyhow::Result<Vec<Input>> {
    let resolved = resolve(given, format)?;
    print::note_unread(&resolved);
    Ok(resolved.inputs)
}

/// The texts to trace, and those of the control.
fn texts(args: &TraceArgs) -> anyhow::Result<Texts> {
    let columns = (&*args.traced_column, &*args.traced_id_column);
    if let [folder] = &*args.texts
        && is_run(Path::new(folder))
    {
        return texts_of_run(Path::new(folder), args);
    }
    let mut texts = Texts::default();
    texts.read(&inputs(&args.texts, None)?, columns, Group::Text)?;
    if !args.control.is_empty() {
        texts.read(&inputs(&args.control, None)?, columns, Group::Control)?;
    }
    Ok(texts)
}

/// The suffixes that a model recited in an audit, and for comparison those that it didn't. They are called by their probes.
fn texts_of_run(folder: &Path, args: &TraceArgs) -> anyhow::Result<Texts> {
    ensure!(
        args.control.is_empty(),
        "the control of an audit's suffixes are those that were not recited; omit --control"
    );
    let Some(tokenizer) = &args.tokenizer else {
        bail!("{}: the texts of an audit are token ids; give their --tokenizer", folder.display());
    };
    let tokenizer = Tokenizer::from_file(tokenizer)?;
    let run = Run::open(folder)?;
    let mut texts = Texts::default();
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
        texts.add(&probe.probe_id, &tokenizer.decode(suffix)?, group)?;
    }
    Ok(texts)
}

fn job(args: &TraceArgs) -> anyhow::Result<TraceJob> {
    let corpus = inputs(&args.corpus, args.format)?;
    let content = resolve_content(args.text_column.clone(), args.ids_column.clone(), &corpus, true)?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?.map(Arc::new);
    let tokenizer = match content {
        Content::Ids { .. } => tokenizer,
        Content::Text { .. } => None,
    };
    let mut read = ReadOptions::new(content);
    read.id_column = args.id_column.clone();
    read.conditions = args.source_column.iter().cloned().collect();
    read.max_document = args.max_document;
    // Masks have nothing to do with where a text stands.
    read.refuse_masks = false;
    read.id_type = args.ids_dtype;
    read.vocab_size = tokenizer.as_ref().map(|tokenizer| tokenizer.vocab_size());
    if corpus.iter().any(|input| input.format.uses_eos_id()) {
        read.eos_id = args.eos_id.or_else(|| tokenizer.as_ref().and_then(|tokenizer| tokenizer.eos_id()));
    }
    let partition = args.rank.zip(args.world).map(|(rank, world)| Partition { rank, world });
    let output = match partition {
        None => args.output.clone(),
        Some(Partition { rank, world }) => args.output.join(goldfish_shard::part_folder(rank, world)),
    };
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
            threads: match args.threads {
                Some(threads) => threads.into(),
                None => std::thread::available_parallelism().map_or(1, Into::into),
            },
        },
        least: args.min_characters.map_or(Least::Words(args.min_words), Least::Characters),
        seed: args.seed,
        output,
        resume: args.resume,
        save_every: Duration::from_secs(args.save_every),
    })
}

/// Rows of a list that are shown.
const SHOWN: usize = 5;

/// What a trace found, as lines.
pub(crate) fn lines(output: &Path, summary: &TraceSummary, took: Option<Duration>) -> Vec<String> {
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
            "spans      of at least {}; {} stand at {}",
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
    let Rate { rate, lower, upper, .. } = *rate;
    format!("{} (95% interval {} to {})", share(rate), share(lower), share(upper))
}

fn of_mean(mean: &Mean) -> String {
    match (mean.mean, mean.lower, mean.upper) {
        (Some(mean), Some(lower), Some(upper)) => {
            format!("{} (95% interval {} to {})", share(mean), share(lower), share(upper))
        }
        (Some(mean), ..) => share(mean),
        _ => "none".into(),
    }
}

fn points(difference: &Difference) -> String {
    match (difference.difference, difference.lower, difference.upper) {
        (Some(difference), Some(lower), Some(upper)) => {
            let [difference, lower, upper] = [difference, lower, upper].map(|value| 100.0 * value);
            format!("{difference:+.2} points (95% interval {lower:+.2} to {upper:+.2})")
        }
        (Some(difference), ..) => format!("{:+.2} points", 100.0 * difference),
        _ => "none".into(),
    }
}
