//! `goldfish merge`.

use goldfish_shard::merge;
use serde_json::json;

use crate::Verdict;
use crate::args::MergeArgs;
use crate::print::{self, BOLD, bytes, plural};

pub(crate) fn run(args: &MergeArgs) -> anyhow::Result<Verdict> {
    let manifest = merge(&args.parts, &args.output, args.overwrite, args.remove_parts)?;
    let (totals, shards) = (&manifest.totals, &manifest.shards);
    let size = shards.iter().map(|shard| shard.size).sum::<u64>();
    if args.json {
        print::json(&json!({
            "output": args.output,
            "parts": args.parts.len(),
            "inputs": manifest.inputs.len(),
            "documents": totals.documents_out,
            "rejected": totals.documents_rejected,
            "tokens": totals.tokens,
            "dropped": totals.dropped,
            "shards": shards.len(),
            "bytes": size,
        }))?;
    } else {
        print::out(&format!(
            "{BOLD}{}{BOLD:#}  {}, {}, {} in {}, from {}\n",
            args.output.display(),
            plural(totals.documents_out, "document"),
            plural(totals.tokens, "token"),
            bytes(size),
            plural(shards.len() as u64, "shard"),
            plural(args.parts.len() as u64, "part"),
        ))?;
    }
    let clean = totals.documents_rejected == 0;
    Ok(if clean { Verdict::Clean } else { Verdict::Findings })
}
