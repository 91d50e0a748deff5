//! The command line, with help texts that fit a terminal of any width.

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};

use crate::args::Cli;

/// Columns of an example, so that it fits a terminal of 80 with its indentation.
const EXAMPLE: usize = 76;

/// The command line of the program.
///
/// Descriptions come with the line breaks of the source, which examples need. Those of sentences are removed, so that clap breaks
/// them where the terminal ends.
pub(crate) fn command() -> Command {
    with_flowing_text(Cli::command())
}

fn with_flowing_text(mut command: Command) -> Command {
    let flow_styled = |text: &StyledStr| flow(&text.to_string());
    if let Some(about) = command.get_about().map(flow_styled) {
        command = command.about(about);
    }
    if let Some(about) = command.get_long_about().map(flow_styled) {
        command = command.long_about(about);
    }
    let names: Vec<String> = command.get_subcommands().map(|nested| nested.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_flowing_text))
}

/// Joins the lines of a paragraph, but for examples, which are indented.
fn flow(text: &str) -> String {
    let mut flowing = String::new();
    let mut in_sentence = false;
    for line in text.lines() {
        let is_sentence = !line.is_empty() && !line.starts_with(' ');
        if !flowing.is_empty() {
            flowing.push(if in_sentence && is_sentence { ' ' } else { '\n' });
        }
        match is_sentence {
            true => flowing.push_str(line),
            false => flowing.push_str(&example(line)),
        }
        in_sentence = is_sentence;
    }
    flowing
}

/// A command over several lines that a shell takes as one, if it is long.
fn example(line: &str) -> String {
    let (mut lines, mut words) = (Vec::new(), line.trim_start().split(' ').peekable());
    let mut current = "  ".to_owned();
    while let Some(word) = words.next() {
        // An option stays with its value.
        let with_value = words.peek().filter(|next| word.starts_with("--") && !next.starts_with('-'));
        let wide = word.len() + with_value.map_or(0, |value| 1 + value.len());
        if current.len() + 1 + wide > EXAMPLE && !current.trim().is_empty() {
            lines.push(current + " \\");
            current = "     ".to_owned();
        }
        if !current.ends_with("  ") || current.len() > 2 {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines.push(current);
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_flow_and_examples_stay() {
        let text = "One\ntwo.\n\nThree:\n  goldfish mask a --k 4\n\nFour\nfive.";
        assert_eq!(flow(text), "One two.\n\nThree:\n  goldfish mask a --k 4\n\nFour five.");
    }

    #[test]
    fn long_examples_are_continued() {
        let long = format!("  goldfish audit {} --output run/ --control held-out/", "x".repeat(50));
        let expected =
            format!("  goldfish audit {} \\\n      --output run/ --control held-out/", "x".repeat(50));
        assert_eq!(example(&long), expected);
        assert_eq!(example("  goldfish mask a"), "  goldfish mask a");
        assert_eq!(example(""), "");
    }

    /// The help of every command, at some width.
    fn helps(width: usize) -> Vec<(String, String)> {
        fn add(command: &Command, width: usize, helps: &mut Vec<(String, String)>) {
            let help = command.clone().term_width(width).render_long_help().to_string();
            helps.push((command.get_bin_name().unwrap_or_default().to_owned(), help));
            command.get_subcommands().for_each(|nested| add(nested, width, helps));
        }
        let mut root = command();
        root.build();
        let mut helps_found = Vec::new();
        add(&root, width, &mut helps_found);
        helps_found
    }

    #[test]
    fn help_fits_and_breaks_no_words() {
        let words = |text: &str| -> String {
            text.split(|c: char| c.is_whitespace() || c == '\\')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let wide = helps(10_000);
        for width in [80, 100, 140] {
            for ((name, help), (_, whole)) in helps(width).iter().zip(&wide) {
                for line in help.lines() {
                    // A word may be wider than a column of the help.
                    let widest = line.split_whitespace().map(str::len).max().unwrap_or(0);
                    assert!(line.chars().count() <= width.max(widest + 40), "{name} at {width}: {line}");
                }
                let (own, whole) = (words(help), words(whole));
                assert_eq!(own, whole, "{name} at {width}");
            }
        }
    }
}
