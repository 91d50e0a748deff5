//! `goldfish export`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldfish_shard::{ExportOptions, FILE_SET_NAME, FileSet, Manifest, ShardError, export};
use serde_json::json;

use crate::args::ExportArgs;
use crate::describe::{dropped_line, file_lines};
use crate::print::{self, BOLD, bytes, plural};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<Verdict> {
    let outputs = match &*args.folders {
        [_] => vec![args.output.clone()],
        folders => folders.iter().map(|folder| inside(&args.output, folder)).collect::<Result<_, _>>()?,
    };
    let mut names = HashSet::new();
    if let Some(twice) = outputs.iter().find(|output| !names.insert(*output)) {
        bail!("two folders would be exported to {}; export one of them on its own", twice.display());
    }
    let mut exported = Vec::new();
    for (folder, output) in args.folders.iter().zip(&outputs) {
        exported.push((output, export_folder(args, folder, output)?));
    }
    if args.json {
        let objects: Vec<_> = exported.iter().map(|(output, set)| object(output, set)).collect();
        print::json_of_each(&objects)?;
    } else {
        for (output, set) in exported {
            print::out(&summary(output, &set))?;
        }
    }
    Ok(Verdict::Clean)
}

/// The folder in `output` that is called like another one.
fn inside(output: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let name = std::path::absolute(folder)?;
    let name =
        name.file_name().with_context(|| format!("{}: a folder with a name is needed", folder.display()))?;
    Ok(output.join(name))
}

fn export_folder(args: &ExportArgs, folder: &Path, output: &Path) -> anyhow::Result<FileSet> {
    let options = ExportOptions {
        layout: args.to,
        token_type: args.ids_dtype,
        sequence_length: args.sequence_length,
        overwrite: args.overwrite,
    };
    let bar = Bar::bytes(Manifest::read(folder)?.shard_bytes());
    let stop = stop_on_signals()?;
    let exported = export(folder, output, &options, &stop, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    exported.map_err(|error| match error {
        ShardError::Interrupted => anyhow::Error::from(error)
            .context(format!("nothing was written to {}; run the same command again", output.display())),
        error => error.into(),
    })
}

fn object(output: &Path, set: &FileSet) -> serde_json::Value {
    json!({
        "output": output,
        "manifest": FILE_SET_NAME,
        "layout": set.layout,
        "documents": set.totals.documents_out,
        "tokens": set.totals.tokens,
        "dropped": set.totals.dropped,
        "files": set.files,
    })
}

fn summary(output: &Path, set: &FileSet) -> String {
    let totals = &set.totals;
    let mut lines = vec![
        format!(
            "{BOLD}{}{BOLD:#}  {}, {}, {} in {}",
            print::path(output),
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
