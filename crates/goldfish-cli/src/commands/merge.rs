//! `goldfish merge`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use goldfish_shard::merge;
use goldfish_storage::{glob, is_remote};
use goldfish_trace::{is_trace, merge_traces};
use serde_json::json;

use crate::args::MergeArgs;
use crate::commands::trace;
use crate::print::{self, plural};
use crate::progress::Bar;
use crate::verdict::Verdict;

pub(crate) fn run(args: &MergeArgs) -> anyhow::Result<Verdict> {
    let parts = parts(args)?;
    if parts.first().is_some_and(|part| is_trace(part)) {
        return merge_of_traces(args, &parts);
    }
    let waiting = Bar::waiting("joining the parts");
    let manifest = merge(&parts, &args.output, args.overwrite, args.remove_parts)?;
    waiting.finish_and_clear();
    let (totals, shards) = (&manifest.totals, &manifest.shards);
    if args.json {
        print::json(&json!({
            "output": args.output,
            "parts": parts.len(),
            "inputs": manifest.input_count(),
            "documents": totals.documents_out,
            "rejected": totals.documents_rejected,
            "tokens": totals.tokens,
            "dropped": totals.dropped,
            "longest_kept_run": manifest.longest_kept_run,
            "shards": shards.len(),
            "bytes": manifest.shard_bytes(),
        }))?;
    } else {
        let parts = plural(parts.len() as u64, "part");
        print::out(&format!("{}, from {parts}\n", print::headline(&args.output, &manifest)))?;
    }
    let clean = totals.documents_rejected == 0;
    Ok(if clean { Verdict::Clean } else { Verdict::Findings })
}

/// Joins the parts of a trace.
fn merge_of_traces(args: &MergeArgs, parts: &[PathBuf]) -> anyhow::Result<Verdict> {
    ensure!(!args.remove_parts, "--move is for shards; remove the parts of a trace by hand");
    ensure!(!args.overwrite, "--overwrite is for shards; choose another --output");
    let summary = merge_traces(parts, &args.output)?;
    if args.json {
        print::json(&json!({ "output": args.output, "summary": summary }))?;
    } else {
        trace::show(&args.output, &summary)?;
    }
    Ok(trace::verdict(&summary))
}

/// The folders that were named. A shell expands globs on a disk, but not in a store.
fn parts(args: &MergeArgs) -> anyhow::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for part in &args.parts {
        let text = part.to_string_lossy();
        if !is_remote(part) || !text.contains(['*', '?', '[']) {
            parts.push(part.clone());
            continue;
        }
        let found = glob(&text).with_context(|| format!("{text}: looking for parts"))?;
        let folders = found.into_iter().filter(goldfish_storage::Entry::is_folder).map(|entry| entry.path);
        let before = parts.len();
        parts.extend(folders);
        ensure!(parts.len() > before, "{text}: no folder matches; check it with the tools of the store");
    }
    Ok(parts)
}
