//! Options from a file, and options as a file: `--config` and `--print-config`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use crate::help;

/// Bytes of a file with options at most.
const MOST_BYTES: u64 = 1 << 20;

/// Options that a file can't have.
const NOT_IN_FILES: [&str; 4] = ["config", "print-config", "help", "version"];

/// A command line with the options of its `--config` put in, but those that it gives itself.
pub(crate) fn with_file(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let own: Vec<&OsStr> =
        arguments.iter().skip(1).map(OsString::as_os_str).take_while(|argument| *argument != "--").collect();
    let Some(path) = path_of(&own) else { return Ok(arguments) };
    let file = path.display();
    let bytes =
        goldfish_storage::read(&path, MOST_BYTES).with_context(|| format!("{file}: reading failed"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{file}: it is not UTF-8"))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        anyhow::anyhow!("{file}: it is not TOML: {}", error.to_string().trim_end().replace('\n', " "))
    })?;
    let mut root = help::command();
    root.build();
    let (command, names) = command_of(&root, &own);
    let given = given(command, &own);
    let mut options = Vec::new();
    for (key, value) in options_of(&table, &root, &names).with_context(|| file.to_string())? {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(key));
        let Some(arg) = arg.filter(|_| !NOT_IN_FILES.contains(&key)) else {
            let line = command_line(&names);
            bail!("{file}: `{line}` has no option --{key}; `{line} --help` lists those that it has");
        };
        if !given.contains(arg.get_id().as_str()) {
            add(&mut options, arg, key, value).with_context(|| file.to_string())?;
        }
    }
    // After the names of the commands: an option of a command can't be before its name.
    let at = 1 + names.last().map_or(0, |(_, at)| at + 1);
    let (before, after) = arguments.split_at(at);
    Ok(before.iter().cloned().chain(options).chain(after.iter().cloned()).collect())
}

/// The value of `--config`.
fn path_of(own: &[&OsStr]) -> Option<PathBuf> {
    own.iter().enumerate().find_map(|(at, argument)| match argument.to_str()?.strip_prefix("--config")? {
        "" => own.get(at + 1).map(PathBuf::from),
        rest => rest.strip_prefix('=').map(PathBuf::from),
    })
}

/// The command that is called, and the names that lead to it, with where each is.
fn command_of<'c, 'a>(root: &'c Command, own: &[&'a OsStr]) -> (&'c Command, Vec<(&'a str, usize)>) {
    let (mut command, mut names) = (root, Vec::new());
    let mut at = 0;
    while let Some(argument) = own.get(at) {
        let text = argument.to_str().unwrap_or_default();
        if text.starts_with('-') {
            // Its value is no command.
            at += usize::from(named(command, text).iter().any(|(arg, with)| takes_value(arg) && !with));
        } else if let Some(next) = command.find_subcommand(text) {
            command = next;
            names.push((text, at));
        } else {
            break;
        }
        at += 1;
    }
    (command, names)
}

/// The options of an argument such as `--output`, `--output=x`, `-o` or `-qox`, and whether each has its value in it.
fn named<'c>(command: &'c Command, argument: &str) -> Vec<(&'c Arg, bool)> {
    if let Some(long) = argument.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        let is = |arg: &&Arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|names| names.contains(&name))
        };
        return command.get_arguments().find(is).map(|arg| (arg, value)).into_iter().collect();
    }
    let mut found = Vec::new();
    let letters = argument.get(1..).unwrap_or_default();
    for (at, letter) in letters.char_indices() {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_short() == Some(letter)) else { break };
        found.push((arg, at + letter.len_utf8() < letters.len()));
        if takes_value(arg) {
            break;
        }
    }
    found
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The options that a command line gives.
fn given<'c>(command: &'c Command, own: &[&OsStr]) -> HashSet<&'c str> {
    let texts = own.iter().filter_map(|argument| argument.to_str()).filter(|text| text.starts_with('-'));
    texts.flat_map(|text| named(command, text)).map(|(arg, _)| arg.get_id().as_str()).collect()
}

/// The options of a file for a command: those outside of tables, and those of the command's table.
fn options_of<'t>(
    table: &'t Table,
    root: &Command,
    names: &[(&str, usize)],
) -> anyhow::Result<Vec<(&'t str, &'t Value)>> {
    let plain = |table: &'t Table| -> Vec<(&'t str, &'t Value)> {
        let options = table.iter().filter(|(_, value)| !value.is_table());
        options.map(|(key, value)| (key.as_str(), value)).collect()
    };
    let mut options = plain(table);
    let (mut table, mut command) = (table, root);
    for (name, _) in names {
        check_tables(table, command)?;
        let Some(Value::Table(next)) = table.get(*name) else { return Ok(options) };
        let own = plain(next);
        // The nearer table wins.
        options.retain(|(key, _)| !own.iter().any(|(other, _)| key == other));
        options.extend(own);
        table = next;
        command = command.find_subcommand(name).unwrap_or(command);
    }
    check_tables(table, command)?;
    Ok(options)
}

/// Tables have the names of commands.
fn check_tables(table: &Table, command: &Command) -> anyhow::Result<()> {
    for (name, _) in table.iter().filter(|(_, value)| value.is_table()) {
        ensure!(
            command.find_subcommand(name).is_some(),
            "the table [{name}] is not named after a command of `{}`",
            command.get_bin_name().unwrap_or("goldfish")
        );
    }
    Ok(())
}

fn command_line(names: &[(&str, usize)]) -> String {
    let names = names.iter().map(|(name, _)| *name);
    std::iter::once("goldfish").chain(names).collect::<Vec<_>>().join(" ")
}

/// Adds an option as arguments.
fn add(options: &mut Vec<OsString>, arg: &Arg, key: &str, value: &Value) -> anyhow::Result<()> {
    if !takes_value(arg) {
        match value {
            Value::Boolean(true) => options.push(format!("--{key}").into()),
            Value::Boolean(false) => {}
            _ => bail!("{key} is true or false"),
        }
        return Ok(());
    }
    let values = match value {
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    for value in values {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => bail!("{key} is a text, a number or a list of these"),
        };
        options.push(format!("--{key}={text}").into());
    }
    Ok(())
}

/// The options in force as a file that `--config` reads. Those that have their default are comments.
pub(crate) fn in_force(matches: &ArgMatches) -> String {
    let mut root = help::command();
    root.build();
    let (mut command, mut matches, mut names) = (&root, matches, Vec::new());
    while let Some((name, below)) = matches.subcommand() {
        let Some(next) = command.find_subcommand(name) else { break };
        names.push(name);
        (command, matches) = (next, below);
    }
    let mut text = format!("# Options of `goldfish {}`. Lines after # are defaults.\n", names.join(" "));
    for arg in command.get_positionals() {
        let values = raw(matches, arg).join(" ");
        if !values.is_empty() {
            text += &format!("# {}: {values}\n", arg.get_id().as_str());
        }
    }
    text += &format!("\n[{}]\n", names.join("."));
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !NOT_IN_FILES.contains(long)) else { continue };
        let id = arg.get_id().as_str();
        let default = matches.value_source(id) != Some(ValueSource::CommandLine);
        let value = if takes_value(arg) {
            let values: Vec<String> = raw(matches, arg).iter().map(|text| in_toml(text)).collect();
            match &*values {
                [] => continue,
                [one] if !matches!(arg.get_action(), ArgAction::Append) => one.clone(),
                values => format!("[{}]", values.join(", ")),
            }
        } else {
            matches.get_flag(id).to_string()
        };
        text += &format!("{}{long} = {value}\n", if default { "# " } else { "" });
    }
    text
}

/// The values of an argument as they were given.
fn raw(matches: &ArgMatches, arg: &Arg) -> Vec<String> {
    let values = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
    values.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect()
}

fn in_toml(text: &str) -> String {
    // A number reads the same as a text, but better.
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if is_number { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn expanded(file: &str, line: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path: &Path = &folder.path().join("options.toml");
        std::fs::write(path, file).unwrap();
        let path = path.display().to_string();
        let line = line.replace("FILE", &path);
        let arguments = line.split(' ').map(OsString::from).collect();
        let found = with_file(arguments).map_err(|error| format!("{error:#}").replace(&path, "FILE"))?;
        let found: Vec<String> =
            found.iter().map(|argument| argument.to_string_lossy().replace(&path, "FILE")).collect();
        Ok(found.join(" "))
    }

    #[test]
    fn options_come_after_the_command() {
        let file = "k = 4\n[mask]\ntokenizer = 't.json'\ncarry = ['a', 'b']\nappend-eos = true\nresume = false\n[lab.train]\nlr = 0.001\n";
        assert_eq!(
            expanded(file, "goldfish -q mask in --config FILE -o out"),
            Ok("goldfish -q mask --k=4 --append-eos --carry=a --carry=b --tokenizer=t.json in --config FILE -o out".into())
        );
        assert_eq!(
            expanded(file.split_once('\n').unwrap().1, "goldfish lab train x --config=FILE"),
            Ok("goldfish lab train --lr=0.001 x --config=FILE".into())
        );
        assert_eq!(expanded(file, "goldfish mask in"), Ok("goldfish mask in".into()));
    }

    #[test]
    fn the_command_line_wins() {
        let file = "[mask]\nk = 4\noutput = 'a'\nquiet = true\n";
        for (line, added) in [
            ("mask in --config FILE", "--k=4 --output=a --quiet "),
            ("mask in --config FILE --k 8", "--output=a --quiet "),
            ("mask in --config FILE --k=8 -qo b", ""),
            ("mask in --config FILE -ob", "--k=4 --quiet "),
            ("mask --config FILE -- --k -o", "--k=4 --output=a --quiet "),
        ] {
            let rest = line.strip_prefix("mask ").unwrap();
            assert_eq!(
                expanded(file, &format!("goldfish {line}")),
                Ok(format!("goldfish mask {added}{rest}"))
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        let failed = |file: &str, said: &str| {
            let error = expanded(file, "goldfish mask in --config FILE").unwrap_err();
            assert!(error.starts_with("FILE: ") && error.contains(said), "{error}");
        };
        failed("[mask]\nkk = 4\n", "`goldfish mask` has no option --kk");
        failed("config = 'x'\n", "no option --config");
        failed("[masks]\nk = 4\n", "the table [masks] is not named after a command");
        failed("[mask]\nk = { a = 1 }\n", "[k] is not named after a command");
        failed("[mask]\nappend-eos = 'yes'\n", "append-eos is true or false");
        failed("[mask]\nk = [[4]]\n", "k is a text, a number or a list");
        failed("[mask\n", "it is not TOML");
        let missing = with_file(["goldfish", "mask", "--config", "no.toml"].map(OsString::from).into());
        assert!(format!("{:#}", missing.unwrap_err()).starts_with("no.toml: reading failed"));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let line = "goldfish mask in other --k 4 --append-eos --tokenizer a\"b.json --output out --carry x --carry y";
        let matches = help::command().try_get_matches_from(line.split(' ')).unwrap();
        let text = in_force(&matches);
        assert!(text.contains("# inputs: in other\n") && text.contains("\n[mask]\n"), "{text}");
        assert!(text.contains("\n# progress = \"auto\"\n"), "{text}");
        let again = expanded(&text, "goldfish mask --config FILE in other").unwrap();
        let mut options: Vec<&str> = again.split(' ').filter(|option| option.starts_with("--")).collect();
        options.sort_unstable();
        let expected = [
            "--append-eos",
            "--carry=x",
            "--carry=y",
            "--config",
            "--k=4",
            "--output=out",
            "--tokenizer=a\"b.json",
        ];
        assert_eq!(options, expected);
    }
}
