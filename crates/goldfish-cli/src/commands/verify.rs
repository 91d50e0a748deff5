//! `goldfish verify`.

use anyhow::ensure;
use goldfish_pipeline::recompute;
use goldfish_shard::{FileSet, MANIFEST_NAME, verify, verify_file_set};
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use crate::Verdict;
use crate::args::VerifyArgs;
use crate::commands::read_table;
use crate::print::{self, BOLD, bytes, plural};

pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    if FileSet::is_in(&args.folder) && !goldfish_storage::exists(&args.folder.join(MANIFEST_NAME)) {
        return run_file_set(args);
    }
    let table = read_table(args.table.as_deref())?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    let (manifest, faults) = if args.recompute {
        recompute(&args.folder, table.as_ref(), tokenizer.as_ref())?
    } else {
        verify(&args.folder, &mut |_, _| None)?
    };
    let verdict = if faults.is_empty() { Verdict::Clean } else { Verdict::Findings };
    if args.json {
        print::json(&json!({
            "folder": args.folder,
            "sound": faults.is_empty(),
            "recomputed": args.recompute,
            "shards": manifest.shards.len(),
            "documents": manifest.totals.documents_out,
            "tokens": manifest.totals.tokens,
            "faults": faults,
        }))?;
        return Ok(verdict);
    }
    let mut text = String::new();
    for fault in &faults {
        text += &format!("{BOLD}{}{BOLD:#}: {}\n", args.folder.join(&fault.file).display(), fault.fault);
    }
    text += &match faults.len() as u64 {
        0 => format!(
            "{}: sound: {}, {}, {}, {}{}\n",
            args.folder.display(),
            plural(manifest.shards.len() as u64, "shard"),
            bytes(manifest.shards.iter().map(|shard| shard.size).fold(0, u64::saturating_add)),
            plural(manifest.totals.documents_out, "document"),
            plural(manifest.totals.tokens, "token"),
            if args.recompute { ", every mask as its rule decides" } else { "" },
        ),
        n => format!(
            "{}: {}; mask the corpus again, or restore the folder from a copy\n",
            args.folder.display(),
            plural(n, "fault")
        ),
    };
    print::out(&text)?;
    Ok(verdict)
}

/// A folder with files in a training loop's layout.
fn run_file_set(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    ensure!(
        !args.recompute,
        "--recompute is for folders of shards; to decide these masks again, mask the inputs into another folder and compare"
    );
    let (set, faults) = verify_file_set(&args.folder)?;
    let verdict = if faults.is_empty() { Verdict::Clean } else { Verdict::Findings };
    if args.json {
        print::json(&json!({
            "folder": args.folder,
            "sound": faults.is_empty(),
            "recomputed": false,
            "layout": set.layout,
            "files": set.files.len(),
            "documents": set.totals.documents_out,
            "tokens": set.totals.tokens,
            "faults": faults,
        }))?;
        return Ok(verdict);
    }
    let mut text = String::new();
    for fault in &faults {
        text += &format!("{BOLD}{}{BOLD:#}: {}\n", args.folder.join(&fault.file).display(), fault.fault);
    }
    text += &match faults.len() as u64 {
        0 => format!(
            "{}: sound: {} ({}), {}, {}, {}\n",
            args.folder.display(),
            plural(set.files.len() as u64, "file"),
            set.layout,
            bytes(set.files.iter().map(|file| file.size).fold(0, u64::saturating_add)),
            plural(set.totals.documents_out, "document"),
            plural(set.totals.tokens, "token"),
        ),
        n => format!("{}: {}\n", args.folder.display(), plural(n, "fault")),
    };
    print::out(&text)?;
    Ok(verdict)
}
