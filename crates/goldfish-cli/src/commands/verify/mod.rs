//! `goldfish verify`.

mod findings;
mod run;

use std::path::Path;
use std::sync::Arc;

use anyhow::{bail, ensure};
use goldfish_audit::check::is_run;
use goldfish_audit::sampling::{check_samples, is_sampled};
use goldfish_pipeline::{MadeWith, MaskOptions, Protection, recompute};
use goldfish_shard::{FileSet, MANIFEST_NAME, Manifest, NOT_LISTED, ShardBatch, verify, verify_file_set};
use goldfish_tokenize::Tokenizer;
use goldfish_trace::{Trace, is_trace};
use serde_json::json;

use self::findings::Findings;
use crate::args::VerifyArgs;
use crate::files::{read_policy, read_table};
use crate::print::{self, BOLD, bytes, count, plural};
use crate::progress::Bar;
use crate::verdict::Verdict;
use crate::works;

pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    let has_manifest = goldfish_storage::exists(&args.folder.join(MANIFEST_NAME));
    let Findings { problems, mut json, sound, advice } = if has_manifest {
        shards(args)?
    } else if FileSet::is_in(&args.folder) {
        files(args)?
    } else if is_trace(&args.folder) {
        trace(args)?
    } else if is_run(&args.folder) {
        run::check_run(args)?
    } else if is_sampled(&args.folder) {
        samples(args)?
    } else {
        shards(args)?
    };
    let verdict = if problems.is_empty() { Verdict::Clean } else { Verdict::Findings };
    if args.json {
        json["folder"] = json!(args.folder);
        json["sound"] = json!(problems.is_empty());
        json["faults"] = json!(problems);
        print::json(&json)?;
        return Ok(verdict);
    }
    let folder = print::path(&args.folder);
    let mut text = String::new();
    for problem in &problems {
        let file = print::path(&args.folder.join(&problem.file));
        text += &format!("{BOLD}{file}{BOLD:#}: {}\n", print::text(&problem.description));
    }
    text += &match problems.len() as u64 {
        0 => format!("{folder}: sound{sound}\n"),
        n => format!("{folder}: {}{advice}\n", plural(n, "problem")),
    };
    print::out(&text)?;
    Ok(verdict)
}

/// Refuses what only the runs of audits have.
fn only_runs(args: &VerifyArgs) -> anyhow::Result<()> {
    ensure!(
        args.digest.is_none() && args.replay.is_none(),
        "--digest and --replay are for the runs of audits"
    );
    Ok(())
}

/// Refuses what folders have not of which only the checksums are compared.
fn only_checksums(args: &VerifyArgs) -> anyhow::Result<()> {
    only_runs(args)?;
    ensure!(!args.recompute, "--recompute is for folders of shards");
    Ok(())
}

/// A folder of shards.
fn shards(args: &VerifyArgs) -> anyhow::Result<Findings> {
    only_runs(args)?;
    ensure!(
        args.recompute || args.tokenizer.is_none(),
        "--tokenizer needs --recompute: without it no mask is computed"
    );
    let table = read_table(args.table.as_deref())?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?.map(Arc::new);
    let works = args.policy.as_deref().map(|policy| protected(policy, tokenizer.clone())).transpose()?;
    let bar = Bar::of(Manifest::read(&args.folder)?.totals.documents_out, "documents");
    let (manifest, problems) = if args.recompute {
        let (table, tokenizer, works) = (table.as_ref(), tokenizer.as_deref(), works.as_deref());
        let made_with = MadeWith { table, tokenizer, works };
        recompute(&args.folder, made_with, &mut |documents| bar.set_position(documents))?
    } else {
        let count_row = &mut |_: &ShardBatch, _| {
            bar.inc(1);
            None
        };
        verify(&args.folder, count_row)?
    };
    bar.finish_and_clear();
    let json = json!({
        "shards": manifest.shards.len(),
        "documents": manifest.totals.documents_out,
        "tokens": manifest.totals.tokens,
        "longest_kept_run": manifest.longest_kept_run,
        "recomputed": args.recompute,
    });
    let longest = manifest.longest_kept_run.as_ref().and_then(|runs| runs.decided.as_ref());
    let recomputed = match longest {
        _ if !args.recompute => String::new(),
        _ if manifest.existing_mask.is_some() => ", no mask keeps what its rule drops".to_owned(),
        None => ", every mask as its rule decides".to_owned(),
        Some(run) => {
            format!(
                ", every mask as its rule decides, which keeps at most {} {} in a row",
                count(run.length),
                run.unit
            )
        }
    };
    let passed_over = manifest.protected.as_ref().filter(|_| args.recompute && works.is_none());
    let by_works = passed_over.map(|protected| {
        let documents = plural(protected.counts.documents, "document");
        format!("; passages of protected works in {documents} only with --policy")
    });
    let sound = format!(
        ": {}, {}, {}, {}{recomputed}{}",
        plural(manifest.shards.len() as u64, "shard"),
        bytes(manifest.shards.iter().map(|shard| shard.size).fold(0, u64::saturating_add)),
        plural(manifest.totals.documents_out, "document"),
        plural(manifest.totals.tokens, "token"),
        by_works.unwrap_or_default(),
    );
    let unlisted = problems.iter().filter(|problem| problem.description == NOT_LISTED).count();
    let advice = match unlisted {
        0 => "; mask the corpus again, or restore the folder from a copy",
        _ if unlisted == problems.len() => "; move away what the manifest does not list",
        _ => {
            "; mask the corpus again, or restore the folder from a copy, without what the manifest does not list"
        }
    };
    Ok(Findings { problems, json, sound, advice })
}

/// The protected works of a policy.
fn protected(policy: &Path, tokenizer: Option<Arc<Tokenizer>>) -> anyhow::Result<Arc<Protection>> {
    let (read, _) = read_policy(policy, &MaskOptions { tokenizer, ..MaskOptions::default() })?;
    let Some(protect) = read.protect() else {
        bail!("{}: the policy protects no works; omit --policy", policy.display());
    };
    works::read(policy, protect)
}

/// A trace.
fn trace(args: &VerifyArgs) -> anyhow::Result<Findings> {
    only_checksums(args)?;
    let trace = Trace::open(&args.folder)?;
    let (texts, spans) = (trace.summary.texts.texts, trace.summary.texts.spans);
    Ok(Findings {
        problems: trace.check()?,
        json: json!({ "texts": texts, "spans": spans }),
        sound: format!(": {}, {}", plural(texts, "text"), plural(spans, "span")),
        advice: "; the files are not as the trace wrote them: restore the folder from a copy, or trace the texts again",
    })
}

/// A folder with the samples of a model.
fn samples(args: &VerifyArgs) -> anyhow::Result<Findings> {
    only_checksums(args)?;
    let (counts, problems) = check_samples(&args.folder)?;
    Ok(Findings {
        problems,
        json: json!({ "samples": counts.samples, "tokens": counts.tokens }),
        sound: format!(": {}, {}", plural(counts.samples, "sample"), plural(counts.tokens, "token")),
        advice: "; the files are not as they were written: restore the folder from a copy, or draw the samples again",
    })
}

/// A folder with files in a training loop's layout.
fn files(args: &VerifyArgs) -> anyhow::Result<Findings> {
    only_runs(args)?;
    ensure!(
        !args.recompute,
        "--recompute is for folders of shards; to recompute these masks, mask the inputs into another folder and compare"
    );
    let waiting = Bar::waiting("checking the files");
    let (set, problems) = verify_file_set(&args.folder)?;
    waiting.finish_and_clear();
    let json = json!({
        "layout": set.layout,
        "files": set.files.len(),
        "documents": set.totals.documents_out,
        "tokens": set.totals.tokens,
        "recomputed": false,
    });
    let sound = format!(
        ": {} ({}), {}, {}, {}",
        plural(set.files.len() as u64, "file"),
        print::name(&set.layout),
        bytes(set.files.iter().map(|file| file.size).fold(0, u64::saturating_add)),
        plural(set.totals.documents_out, "document"),
        plural(set.totals.tokens, "token"),
    );
    Ok(Findings { problems, json, sound, advice: "" })
}
