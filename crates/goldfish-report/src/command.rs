use std::fmt::Write;

use crate::text::is_hidden;

/// A command line with these arguments, as a POSIX shell reads them. What can't be seen in an argument is escaped in `$'...'`.
#[must_use]
pub fn shell_line(arguments: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    let quoted = |argument: String| {
        if !argument.is_empty() && argument.chars().all(plain) {
            return argument;
        }
        if argument.chars().any(is_hidden) {
            return escape(&argument);
        }
        format!("'{}'", argument.replace('\'', r"'\''"))
    };
    arguments.map(quoted).collect::<Vec<_>>().join(" ")
}

fn escape(argument: &str) -> String {
    let mut line = String::from("$'");
    for c in argument.chars() {
        let code = u32::from(c);
        // Writing into a string can't fail.
        let _ = match c {
            '\'' | '\\' => write!(line, "\\{c}"),
            c if !is_hidden(c) => write!(line, "{c}"),
            // As many digits as the shell takes at most, so that no next character is one of them.
            c if c.is_ascii() => write!(line, "\\{code:03o}"),
            _ if code <= 0xFFFF => write!(line, "\\u{code:04x}"),
            _ => write!(line, "\\U{code:08x}"),
        };
    }
    line + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_they_must_be() {
        let line = |argument: &str| shell_line(std::iter::once(argument.to_owned()));
        assert_eq!(["a-b/c.d", "", "a b", "it's"].map(line), ["a-b/c.d", "''", "'a b'", r"'it'\''s'"]);
        assert_eq!(line("a\nb'\\\u{1b}0\u{202e}é\u{e0041}"), r"$'a\012b\'\\\0330\u202eé\U000e0041'");
    }
}
