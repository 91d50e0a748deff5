//! Files that are generated from the code: the JSON schemas and the command line reference.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use goldfish_audit::canaries::{CanaryResult, Plan};
use goldfish_audit::config::{Origin, RunConfig};
use goldfish_audit::evidence::Evidence;
use goldfish_audit::summary::Summary;
use goldfish_audit::tables_reference;
use goldfish_corpus::Reject;
use goldfish_inspect::Inspection;
use goldfish_report::Comparisons;
use goldfish_shard::{FileSet, Manifest};
use goldfish_trace::{TraceSummary, trace_tables_reference};
use schemars::Schema;

use crate::tools::{describe, root};

/// The help of every command on a terminal of 80 columns.
const NARROW_HELP: &str = "crates/goldfish-cli/tests/snapshots/help-80.txt";

/// Columns of the command line reference.
const REFERENCE_COLUMNS: usize = 100;

/// Writes or checks the files; `program` prints the help.
pub(crate) fn run(program: &Path, check: bool) -> anyhow::Result<()> {
    let files = [
        ("schemas/manifest.schema.json", schema("manifest.json", schemars::schema_for!(Manifest))?),
        ("schemas/file-set.schema.json", schema("goldfish.json", schemars::schema_for!(FileSet))?),
        (
            "schemas/inspection.schema.json",
            schema("inspection, in goldfish inspect --json", schemars::schema_for!(Inspection))?,
        ),
        ("schemas/reject.schema.json", schema("a line of rejects.jsonl", schemars::schema_for!(Reject))?),
        (
            "schemas/audit-config.schema.json",
            schema("config.json of an audit", schemars::schema_for!(RunConfig))?,
        ),
        ("schemas/audit-summary.schema.json", schema("summary.json", schemars::schema_for!(Summary))?),
        (
            "schemas/audit-evidence.schema.json",
            schema("a line of evidence.jsonl", schemars::schema_for!(Evidence))?,
        ),
        (
            "schemas/audit-origin.schema.json",
            schema("origin.json of an audit", schemars::schema_for!(Origin))?,
        ),
        (
            "schemas/comparison.schema.json",
            schema("comparisons, in goldfish compare --json", schemars::schema_for!(Comparisons))?,
        ),
        (
            "schemas/canary-plan.schema.json",
            schema("plan.json of goldfish canary plant", schemars::schema_for!(Plan))?,
        ),
        (
            "schemas/canary-result.schema.json",
            schema("result of goldfish canary test", schemars::schema_for!(CanaryResult))?,
        ),
        (
            "schemas/trace-summary.schema.json",
            schema("summary.json of a trace", schemars::schema_for!(TraceSummary))?,
        ),
        ("schemas/audit-tables.md", tables_reference()),
        ("schemas/trace-tables.md", trace_tables_reference()),
        ("docs/cli.md", cli_reference(program)?),
        (NARROW_HELP, help_of_all(program, 80)?),
    ];
    let mut stale = Vec::new();
    for (name, contents) in files {
        let path: PathBuf = root().join(name);
        if check {
            if fs::read_to_string(&path).ok().as_deref() != Some(&contents) {
                stale.push(name);
            }
        } else {
            fs::write(&path, contents).with_context(|| name.to_owned())?;
        }
    }
    if !stale.is_empty() {
        bail!("{} is out of date: run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    Ok(())
}

fn schema(title: &str, mut schema: Schema) -> anyhow::Result<String> {
    schema.insert("title".into(), title.into());
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// The long help of every command.
fn cli_reference(program: &Path) -> anyhow::Result<String> {
    let mut text = String::from(
        "# Command line\n\nWritten by `cargo xtask generate` from the program's own help; a test keeps it so.\nThe options below \
         `Messages`, which every command has, are listed once.\n",
    );
    text += &help_of_all(program, REFERENCE_COLUMNS)?;
    Ok(text)
}

/// The long help of every command on a terminal of some width.
fn help_of_all(program: &Path, columns: usize) -> anyhow::Result<String> {
    let mut text = String::new();
    push_help((program, columns), &mut Vec::new(), &mut text)?;
    Ok(text)
}

/// Appends the help of a command, then those of the subcommands that it lists.
fn push_help(
    (program, columns): (&Path, usize),
    command: &mut Vec<String>,
    text: &mut String,
) -> anyhow::Result<()> {
    let mut help = long_help(program, columns, command)?;
    if !command.is_empty()
        && let Some(end) = help.find("\n\nMessages:\n")
    {
        help.truncate(end);
    }
    let title = [&["goldfish".to_owned()], command.as_slice()].concat().join(" ");
    *text += &format!("\n## `{title}`\n\n```text\n{help}\n```\n");
    for name in subcommands(&help) {
        command.push(name.to_owned());
        push_help((program, columns), command, text)?;
        command.pop();
    }
    Ok(())
}

fn long_help(program: &Path, columns: usize, command: &[String]) -> anyhow::Result<String> {
    let mut help = Command::new(program);
    help.args(command).arg("--help").current_dir(root()).env("COLUMNS", columns.to_string());
    let output = help.output().with_context(|| describe(&help))?;
    if !output.status.success() {
        bail!("{} failed:\n{}", describe(&help), String::from_utf8_lossy(&output.stderr));
    }
    let help = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    Ok(lines.join("\n").trim_end().to_owned())
}

/// The commands that a help lists: those two spaces deep, below its heading.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help")
}
