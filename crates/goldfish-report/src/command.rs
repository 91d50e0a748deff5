/// A command line with these arguments, as a POSIX shell reads them.
#[must_use]
pub fn shell_line(arguments: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    let quoted = |argument: String| {
        if !argument.is_empty() && argument.chars().all(plain) {
            return argument;
        }
        format!("'{}'", argument.replace('\'', r"'\''"))
    };
    arguments.map(quoted).collect::<Vec<_>>().join(" ")
}
