//! Everything that reaches the terminal.
//!
//! Names of files, ids of documents, and messages of servers and libraries are not trusted. [`note`], [`warn`], [`gate_failed`],
//! [`error`], [`usage`] and [`json`] escape them; a text for [`out`] is made with [`path`], [`name`] and [`text`].

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use goldfish_audit::stat::Difference;
use goldfish_corpus::Resolved;
use goldfish_pipeline::PipelineError;
pub(crate) use goldfish_report::shell_line;
use goldfish_report::{escaped, is_hidden};
use goldfish_shard::Manifest;
use serde::Serialize;

use crate::advice;
use crate::args::{LogFormat, MessageArgs};
use crate::terminal;
pub(crate) use crate::terminal::FAINT;

pub(crate) const BOLD: Style = Style::new().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// What the command line says about messages.
static MESSAGES: OnceLock<MessageArgs> = OnceLock::new();

/// Sets colors, and which messages are written and how. Only the first call does.
pub(crate) fn set_messages(args: MessageArgs) {
    args.color().write_global();
    MESSAGES.get_or_init(|| args);
}

/// What the command line says about messages.
pub(crate) fn messages() -> MessageArgs {
    *MESSAGES.get_or_init(MessageArgs::default)
}

/// Characters that are shown of a name or an id.
const LONGEST_NAME: usize = 200;

/// Characters that are shown of a path or a sentence.
const LONGEST_TEXT: usize = 4096;

/// A name or an id on one line, without what could steer a terminal; a long one is cut.
pub(crate) fn name(name: &str) -> String {
    escaped(name, LONGEST_NAME)
}

/// The same for a message of a library, a server or a manifest.
pub(crate) fn text(text: &str) -> String {
    escaped(text, LONGEST_TEXT)
}

/// The same for a path.
pub(crate) fn path(path: &Path) -> String {
    text(&path.to_string_lossy())
}

/// Writes to standard output, in lines that fit the terminal; colors only there. A reader that closed the pipe is no error.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    match terminal::width() {
        Some(width) => verbatim(&terminal::wrap(text, width)),
        None => verbatim(text),
    }
}

/// As [`out`], whatever the width.
pub(crate) fn verbatim(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one JSON object to standard output.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = String::new();
    for c in serde_json::to_string_pretty(value)?.chars() {
        // Inside a string, since outside of one there are new lines alone.
        if c != '\n' && is_hidden(c) {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    verbatim(&(text + "\n"))
}

/// Writes one JSON object as it is, and several as a list.
pub(crate) fn json_of_each(objects: &[serde_json::Value]) -> anyhow::Result<()> {
    match objects {
        [one] => json(one),
        all => json(&all),
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Note,
    Progress,
    Warning,
    GateFailed,
    Error,
}

impl Level {
    /// What a line of text starts with.
    fn label(self) -> String {
        match self {
            Self::Note => String::new(),
            Self::Progress => format!("{FAINT}progress:{FAINT:#} "),
            Self::Warning => format!("{WARNING}warning:{WARNING:#} "),
            Self::GateFailed => format!("{ERROR}gate failed:{ERROR:#} "),
            Self::Error => format!("{ERROR}error:{ERROR:#} "),
        }
    }
}

/// A message as JSON.
#[derive(Serialize)]
struct Message<'a> {
    level: Level,
    message: &'a str,
    /// The lines below the message.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    details: &'a [String],
    #[serde(flatten)]
    progress: Option<&'a Reached>,
}

/// How far a command is.
#[derive(Debug, Serialize)]
pub(crate) struct Reached {
    /// Between 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fraction: Option<f64>,
    #[serde(rename = "elapsed_seconds", serialize_with = "whole_seconds")]
    pub(crate) elapsed: Duration,
    #[serde(
        rename = "left_seconds",
        serialize_with = "whole_seconds",
        skip_serializing_if = "Duration::is_zero"
    )]
    pub(crate) left: Duration,
}

fn whole_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// Writes a message to standard error, whose words and details are escaped already.
fn write(level: Level, message: &str, details: &[String], progress: Option<&Reached>) {
    let messages = messages();
    if messages.quiet && matches!(level, Level::Note | Level::Progress | Level::Warning) {
        return;
    }
    let lines = match messages.log_format() {
        LogFormat::Text => {
            let message = level.label() + message;
            // Details may have commands to copy, which stay whole.
            let message =
                terminal::error_width().map_or(message.clone(), |width| terminal::wrap(&message, width));
            [&[message], details].concat().join("\n")
        }
        LogFormat::Json => match serde_json::to_string(&Message { level, message, details, progress }) {
            Ok(line) => line,
            Err(error) => error.to_string(),
        },
    };
    // Nothing is left to do if standard error is closed.
    let _ = writeln!(anstream::stderr(), "{lines}");
}

/// Writes to standard error.
pub(crate) fn note(said: &str) {
    write(Level::Note, &text(said), &[], None);
}

/// Writes how far a command is to standard error.
pub(crate) fn progress(said: &str, reached: &Reached) {
    write(Level::Progress, &text(said), &[], Some(reached));
}

/// Writes a warning to standard error.
pub(crate) fn warn(said: &str) {
    write(Level::Warning, &text(said), &[], None);
}

/// Writes that a gate failed, and why.
pub(crate) fn gate_failed(why: &str) {
    write(Level::GateFailed, &text(why), &[], None);
}

/// Writes what is wrong with the arguments, as clap says it.
pub(crate) fn usage(error: &clap::Error) {
    let said = error.to_string();
    let mut lines = said.lines().filter(|line| !line.trim().is_empty()).map(text);
    let message = lines.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    write(Level::Error, message, &lines.collect::<Vec<_>>(), None);
}

/// An error with lines below its message, which itself has one line: a new line in a name must not look like one of ours.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    lines: Vec<String>,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Advised {}

/// An error with what is kept and what to do, in lines below its message.
pub(crate) fn advised(error: impl Into<anyhow::Error>, lines: Vec<String>) -> anyhow::Error {
    Advised { error: error.into(), lines }.into()
}

/// An error of a run that can be resumed: what is kept of it, where, and the command.
pub(crate) fn unfinished(error: impl Into<anyhow::Error>, kept: &str, output: &Path) -> anyhow::Error {
    let kept = format!("{kept} are kept in {}; resume after them with", output.display());
    advised(error, vec![kept, format!("  {}", resume_command(std::env::args_os()))])
}

/// A message, and what a library puts into a line of its own below it.
fn split(cause: &(dyn std::error::Error + 'static)) -> (String, Option<String>) {
    let text = cause.to_string();
    let has_advice = matches!(
        cause.downcast_ref(),
        Some(PipelineError::Rejected(_) | PipelineError::Unmasked(_) | PipelineError::OtherJob { .. })
    );
    match text.rsplit_once('\n').filter(|_| has_advice) {
        Some((message, advice)) => (message.to_owned(), Some(advice.to_owned())),
        None => (text, None),
    }
}

/// Writes an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    let (error, below) = match error.downcast_ref() {
        Some(Advised { error, lines }) => (error, lines.as_slice()),
        None => (error, [].as_slice()),
    };
    // Library errors carry their cause in their own words: it is printed once.
    let (mut message, mut advised) = (String::new(), Vec::new());
    for (cause, advice) in error.chain().map(split) {
        if !message.contains(&cause) {
            message += if message.is_empty() { "" } else { ": " };
            message += &cause;
        }
        advised.extend(advice);
    }
    let mut message = text(&message);
    if let Some(remedy) = advice::advice(error) {
        match advised.last_mut() {
            Some(line) => *line += &format!(", or {remedy}"),
            None => message += &format!("; {}", text(&remedy)),
        }
    }
    // The command for a shell is whole, or it is of no use.
    let details: Vec<String> = advised.iter().chain(below).map(|line| escaped(line, usize::MAX)).collect();
    write(Level::Error, &message, &details, None);
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

/// A share with its interval.
pub(crate) fn with_interval(value: f64, lower: f64, upper: f64) -> String {
    format!("{} (95% interval {} to {})", share(value), share(lower), share(upper))
}

/// A difference of shares, in percentage points.
pub(crate) fn points(difference: &Difference) -> String {
    match (difference.difference, difference.lower, difference.upper) {
        (Some(difference), Some(lower), Some(upper)) => {
            let [difference, lower, upper] = [difference, lower, upper].map(|value| 100.0 * value);
            format!("{difference:+.2} points (95% interval {lower:+.2} to {upper:+.2})")
        }
        (Some(difference), ..) => format!("{:+.2} points", 100.0 * difference),
        _ => "–".into(),
    }
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

/// The command line with --resume.
pub(crate) fn resume_command(arguments: impl Iterator<Item = OsString>) -> String {
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let arguments = arguments.filter(|argument| !["--overwrite", "--resume"].contains(&argument.as_str()));
    shell_line(arguments.chain(["--resume".to_owned()]))
}

/// The first line about a folder of shards.
pub(crate) fn headline(folder: &Path, manifest: &Manifest) -> String {
    let Manifest { totals, shards, .. } = manifest;
    format!(
        "{BOLD}{}{BOLD:#}  {}, {}, {} in {}",
        path(folder),
        plural(totals.documents_out, "document"),
        plural(totals.tokens, "token"),
        bytes(manifest.shard_bytes()),
        plural(shards.len() as u64, "shard"),
    )
}

/// Says which files are not read.
pub(crate) fn note_unread(resolved: &Resolved) {
    for path in &resolved.ignored {
        note(&format!("note: {} is not read: its name is not that of a corpus format", path.display()));
    }
    for path in &resolved.written {
        note(&format!(
            "note: {} is not read: goldfish wrote it; to read tokens in it, name the folder that holds them",
            path.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_the_program_are_lines() {
        let reject = goldfish_corpus::Reject::new("a\nb", 3, "bad\nworse".into(), Vec::new());
        let (message, advice) = split(&PipelineError::Rejected(reject.into()));
        assert_eq!(message, "a\nb: row 3: bad\nworse");
        assert!(advice.unwrap().starts_with("Fix the row"));
        let (message, advice) = split(&PipelineError::Panicked { file: "a\nb".into(), message: "c".into() });
        assert!(message.starts_with("a\nb: c; ") && advice.is_none(), "{message}");
    }
}
