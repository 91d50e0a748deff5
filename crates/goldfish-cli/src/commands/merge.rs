//! `goldfish merge`.

use goldfish_shard::merge;
use serde_json::json;

use crate::Verdict;
use crate::args::MergeArgs;
use crate::print::{self, plural};

pub(crate) fn run(args: &MergeArgs) -> anyhow::Result<Verdict> {
    let manifest = merge(&args.parts, &args.output, args.overwrite, args.remove_parts)?;
    let (totals, shards) = (&manifest.totals, &manifest.shards);
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
            "bytes": manifest.shard_bytes(),
        }))?;
    } else {
        let parts = plural(args.parts.len() as u64, "part");
        print::out(&format!("{}, from {parts}\n", print::headline(&args.output, &manifest)))?;
    }
    let clean = totals.documents_rejected == 0;
    Ok(if clean { Verdict::Clean } else { Verdict::Findings })
}
