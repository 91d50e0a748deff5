//! `goldfish export`.

use goldfish_shard::{ExportOptions, FILE_SET_NAME, FileSet, Manifest, ShardError, export};
use serde_json::json;

use crate::args::ExportArgs;
use crate::describe::{dropped_line, file_lines};
use crate::print::{self, BOLD, bytes, plural};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<Verdict> {
    let options = ExportOptions {
        layout: args.to,
        token_type: args.ids_dtype,
        sequence_length: args.sequence_length,
        overwrite: args.overwrite,
    };
    let bar = Bar::bytes(Manifest::read(&args.folder)?.shard_bytes());
    let stop = stop_on_signals()?;
    let exported = export(&args.folder, &args.output, &options, &stop, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let set = exported.map_err(|error| match error {
        ShardError::Interrupted => {
            anyhow::Error::from(error).context("nothing was written; run the same command again")
        }
        error => error.into(),
    })?;
    if args.json {
        print::json(&json!({
            "output": args.output,
            "manifest": FILE_SET_NAME,
            "layout": set.layout,
            "documents": set.totals.documents_out,
            "tokens": set.totals.tokens,
            "dropped": set.totals.dropped,
            "files": set.files,
        }))?;
    } else {
        print::out(&summary(args, &set))?;
    }
    Ok(Verdict::Clean)
}

fn summary(args: &ExportArgs, set: &FileSet) -> String {
    let totals = &set.totals;
    let mut lines = vec![
        format!(
            "{BOLD}{}{BOLD:#}  {}, {}, {} in {}",
            print::path(&args.output),
            plural(totals.documents_out, "document"),
            plural(totals.tokens, "token"),
            bytes(set.files.iter().map(|file| file.size).sum()),
            plural(set.files.len() as u64, "file"),
        ),
        format!("layout     {}", print::name(&set.layout)),
        dropped_line(totals),
    ];
    lines.extend(file_lines(set, |file| {
        format!("{}  ({})", print::text(&file.name), print::text(&file.holds))
    }));
    lines.join("\n") + "\n"
}
