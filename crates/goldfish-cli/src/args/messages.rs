//! Options of every command, about messages.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Args, ColorChoice, ValueEnum};

/// Options from a file.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Read options from a TOML file: long names without dashes, such as `output = "masked/"` or `append-eos = true`, in a table of
    /// the command's name ([mask], [lab.train]) or above all tables. Options of the command line win.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options in files")]
    config: Option<PathBuf>,

    /// Print the options in force as such a file, and end.
    #[arg(long, global = true, help_heading = "Options in files")]
    pub(crate) print_config: bool,
}

/// What is written to standard error, and how.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct MessageArgs {
    /// Show how far a long command is: a bar on a terminal, elsewhere a line every 30 seconds (auto), a line every so many
    /// seconds, or nothing (never).
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_parser = parse_progress,
        value_name = "auto|never|SECONDS",
        help_heading = "Messages"
    )]
    pub(crate) progress: ProgressOption,

    /// Print only the result and errors: no progress, notes or warnings.
    #[arg(short, long, global = true, help_heading = "Messages")]
    pub(crate) quiet: bool,

    /// How messages are written to standard error: as text, or as one JSON object a line, with `level` (note, progress,
    /// warning, gate_failed, error), `message`, and `details` where it has more lines. [default: text; json with --json]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "text|json",
        hide_possible_values = true,
        help_heading = "Messages"
    )]
    log_format: Option<LogFormat>,

    /// Whether the command prints JSON.
    #[arg(skip)]
    prints_json: bool,

    /// Use colors: on a terminal, unless NO_COLOR is set (auto), always or never.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "auto|always|never",
        hide_possible_values = true,
        help_heading = "Messages"
    )]
    color: ColorChoice,
}

impl MessageArgs {
    /// The options in a command line that is wrong elsewhere, as far as they can be read.
    pub(crate) fn guess(arguments: &[String]) -> Self {
        fn value<V: ValueEnum>(arguments: &[String], option: &str) -> Option<V> {
            let mut values = arguments.iter().zip(arguments.iter().skip(1).map(Some).chain([None]));
            let value = values.find_map(|(argument, next)| match argument.strip_prefix(option)? {
                "" => next.map(String::as_str),
                rest => rest.strip_prefix('='),
            });
            value.and_then(|value| V::from_str(value, false).ok())
        }
        Self {
            log_format: value(arguments, "--log-format"),
            prints_json: arguments.iter().any(|argument| argument == "--json"),
            color: value(arguments, "--color").unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The same for a command with these options.
    pub(crate) fn of_command(self, matches: &ArgMatches) -> Self {
        let (mut prints_json, mut matches) = (false, Some(matches));
        while let Some(command) = matches {
            prints_json |= matches!(command.try_get_one::<bool>("json"), Ok(Some(true)));
            matches = command.subcommand().map(|(_, below)| below);
        }
        Self { prints_json, ..self }
    }

    /// How messages are written.
    pub(crate) fn log_format(self) -> LogFormat {
        let unsaid = if self.prints_json { LogFormat::Json } else { LogFormat::Text };
        self.log_format.unwrap_or(unsaid)
    }

    pub(crate) fn color(self) -> anstream::ColorChoice {
        match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
    }
}

/// How a command shows how far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ProgressOption {
    #[default]
    Auto,
    Never,
    Every(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

fn parse_progress(text: &str) -> Result<ProgressOption, String> {
    match text {
        "auto" => Ok(ProgressOption::Auto),
        "never" => Ok(ProgressOption::Never),
        number => match number.parse() {
            Ok(0) | Err(_) => Err("auto, never or a whole number of seconds is needed".into()),
            Ok(seconds) => Ok(ProgressOption::Every(Duration::from_secs(seconds))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress() {
        assert_eq!(parse_progress("600"), Ok(ProgressOption::Every(Duration::from_secs(600))));
        for wrong in ["", "0", "-1", "1.5", "always", "99999999999999999999"] {
            assert!(parse_progress(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_are_found_beside_mistakes() {
        let guess = |line: &str| {
            let arguments: Vec<String> = line.split(' ').map(Into::into).collect();
            let args = MessageArgs::guess(&arguments);
            (args.log_format(), args.color)
        };
        assert_eq!(guess("goldfish mask --typo"), (LogFormat::Text, ColorChoice::Auto));
        assert_eq!(guess("goldfish mask --json --typo"), (LogFormat::Json, ColorChoice::Auto));
        assert_eq!(guess("mask --json --log-format text"), (LogFormat::Text, ColorChoice::Auto));
        assert_eq!(guess("goldfish --color never mask --typo"), (LogFormat::Text, ColorChoice::Never));
        assert_eq!(guess("--typo --log-format=json --color=always"), (LogFormat::Json, ColorChoice::Always));
        assert_eq!(guess("--log-format xml --colors always --color"), (LogFormat::Text, ColorChoice::Auto));
    }
}
