//! Everything that reaches the terminal.

use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
pub(crate) use goldfish_report::shell_line;
use goldfish_shard::Manifest;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Writes to standard output; colours only where it is a terminal. A reader that closed the pipe is no error.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one JSON object to standard output.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    out(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Writes to standard error.
pub(crate) fn note(text: &str) {
    // Nothing is left to do if standard error is closed.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes a warning to standard error.
pub(crate) fn warn(text: &str) {
    note(&format!("{WARNING}warning:{WARNING:#} {text}"));
}

/// Writes that a gate failed, and why.
pub(crate) fn gate_failed(why: &str) {
    note(&format!("{ERROR}gate failed:{ERROR:#} {}", harmless(why)));
}

/// Writes an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    // Library errors carry their cause in their own words: it is printed once.
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    note(&format!("{ERROR}error:{ERROR:#} {}", harmless(&text)));
}

/// The text without what could steer a terminal: names and ids of documents are anybody's.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '·' } else { c }).collect()
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// `n` with the word in the singular or plural.
pub(crate) fn plural(n: u64, word: &str) -> String {
    format!("{} {word}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Bytes with a binary unit.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A share as a percentage.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.2}%", 100.0 * part as f64 / whole as f64) }
}

/// A share of one as a percentage.
pub(crate) fn share(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// A small share of one as a percentage, with as many digits as it has.
pub(crate) fn fraction(share: f64) -> String {
    // Rounded where binary fractions are off.
    let percent = (share * 1e14).round() / 1e12;
    format!("{percent}%")
}

/// The command line that the program was called with, for a shell; without `--resume`, since a result is the same however
/// often its run was interrupted.
pub(crate) fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let arguments = arguments.filter(|argument| argument != "--resume");
    shell_line(std::iter::once("goldfish".to_owned()).chain(arguments))
}

/// The first line about a folder of shards.
pub(crate) fn headline(folder: &Path, manifest: &Manifest) -> String {
    let Manifest { totals, shards, .. } = manifest;
    format!(
        "{BOLD}{}{BOLD:#}  {}, {}, {} in {}",
        folder.display(),
        plural(totals.documents_out, "document"),
        plural(totals.tokens, "token"),
        bytes(manifest.shard_bytes()),
        plural(shards.len() as u64, "shard"),
    )
}

/// A progress bar on standard error; hidden where that is no terminal.
pub(crate) fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A sign that something goes on, on standard error; hidden where that is no terminal.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}
