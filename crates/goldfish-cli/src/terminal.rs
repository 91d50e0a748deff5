//! Text that fits the terminal: lines broken between words, and tables without the columns that have no room.

use anstyle::Style;

pub(crate) const FAINT: Style = Style::new().dimmed();

/// Columns of the terminal that standard output is; `None` for a file or a pipe, whose lines may be of any length.
pub(crate) fn width() -> Option<usize> {
    let size = console::Term::stdout().size_checked();
    size.map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
}

/// The same of standard error, where it is a terminal.
pub(crate) fn error_width() -> Option<usize> {
    let size = console::Term::stderr().size_checked();
    size.map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
}

/// Columns that a text takes, without its colors.
fn measure(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Columns up to which a line may have its key, after which the others are indented.
const WIDEST_KEY: usize = 24;

/// Breaks lines between words, and indents what follows a break by what the line begins with: white space, or a key and two spaces
/// or more. A word that is wider than the terminal stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        wrap_line(line, width, hanging(line), &mut wrapped);
        wrapped.push_str(end);
    }
    wrapped
}

/// Breaks one line between words, and indents what follows a break.
pub(crate) fn wrap_indented(line: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::with_capacity(line.len());
    wrap_line(line, width, indent, &mut wrapped);
    wrapped
}

fn wrap_line(line: &str, width: usize, indent: usize, wrapped: &mut String) {
    if measure(line) <= width {
        wrapped.push_str(line);
        return;
    }
    let indent = indent.min(width / 2);
    let mut column = 0;
    for (at, word) in line.split(' ').enumerate() {
        let wide = measure(word);
        if at == 0 {
            column = wide;
        } else if word.is_empty() {
            wrapped.push(' ');
            column += 1;
        } else if column + 1 + wide > width && column > indent {
            wrapped.truncate(wrapped.trim_end_matches(' ').len());
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            column = indent + wide;
        } else {
            wrapped.push(' ');
            column += 1 + wide;
        }
        wrapped.push_str(word);
    }
}

/// Where the text of a line starts after its white space, and its key if it has one.
fn hanging(line: &str) -> usize {
    let spaces = line.len() - line.trim_start_matches(' ').len();
    let after = |at: usize| line[at..].len() - line[at..].trim_start_matches(' ').len();
    let gap = line[spaces..].find("  ").map(|gap| spaces + gap);
    match gap.map(|gap| (measure(&line[..gap]), after(gap))) {
        Some((key, gap)) if key + gap <= WIDEST_KEY => key + gap,
        _ => spaces,
    }
}

/// Rows below their heads, each column as wide as the widest of its cells. Columns without a head are left out; one whose cells
/// are numbers is aligned at the right. Where the terminal is too narrow, the last columns are left out, and a line says so.
pub(crate) fn table<R: AsRef<[String]>>(indent: usize, heads: &[&str], rows: &[R]) -> String {
    table_within(width(), indent, heads, rows)
}

/// A table without the end of its last line.
pub(crate) fn lines<R: AsRef<[String]>>(heads: &[&str], rows: &[R]) -> String {
    table(0, heads, rows).trim_end_matches('\n').to_owned()
}

/// A table after an empty line, as an item of a list of lines.
pub(crate) fn lines_of<R: AsRef<[String]>>(heads: &[&str], rows: &[R]) -> Vec<String> {
    vec!["\n".to_owned() + &lines(heads, rows)]
}

/// Spaces between columns.
const GAP: usize = 2;

fn table_within<R: AsRef<[String]>>(
    width: Option<usize>,
    indent: usize,
    heads: &[&str],
    rows: &[R],
) -> String {
    let cells = |column: usize| rows.iter().map(move |row| row.as_ref()[column].as_str());
    let widest = |column: usize| cells(column).chain([heads[column]]).map(measure).max().unwrap_or(0);
    // A row is not named by a number with words.
    let is_number = |column: usize, cell: &str| {
        cell.is_empty()
            || cell.starts_with(|c: char| c.is_ascii_digit() || "+-–".contains(c))
                && (column > 0 || !cell.contains(char::is_alphabetic))
    };
    let widths: Vec<usize> = (0..heads.len()).map(widest).collect();
    let numbers: Vec<bool> =
        (0..heads.len()).map(|column| cells(column).all(|cell| is_number(column, cell))).collect();
    let mut shown = heads.len();
    let total = |shown: usize| indent + widths[..shown].iter().sum::<usize>() + GAP * (shown.max(1) - 1);
    while shown > 1 && width.is_some_and(|width| total(shown) > width) {
        shown -= 1;
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = " ".repeat(indent);
        for (column, cell) in cells.take(shown).enumerate() {
            let space = " ".repeat(widths[column].saturating_sub(measure(cell)));
            line += &if numbers[column] { space + cell } else { cell.to_owned() + &space };
            line += &" ".repeat(GAP);
        }
        line.trim_end().to_owned()
    };
    let faint = |text: &str| format!("{FAINT}{text}{FAINT:#}\n");
    let mut text = faint(&line(&mut heads.iter().copied()));
    for row in rows {
        text += &(line(&mut row.as_ref().iter().map(String::as_str)) + "\n");
    }
    if shown < heads.len() {
        let left_out: Vec<&str> = heads[shown..].iter().copied().filter(|head| !head.is_empty()).collect();
        let line = format!("{}no room for: {}", " ".repeat(indent), left_out.join(", "));
        text += &faint(&width.map_or(line.clone(), |width| wrap(&line, width)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let wrapped = |text| wrap(text, 20);
        assert_eq!(wrapped("short\n"), "short\n");
        assert_eq!(wrapped("rule       one two three four"), "rule       one two\n          three four");
        assert_eq!(
            wrapped("rule       one two three four\nx"),
            wrapped("rule       one two three four") + "\nx"
        );
        assert_eq!(wrapped("    one two three four five"), "    one two three\n    four five");
        assert_eq!(wrapped("averyveryverylongpath/name next"), "averyveryverylongpath/name\nnext");
        assert_eq!(wrapped("\u{1b}[1mone two\u{1b}[0m three four"), "\u{1b}[1mone two\u{1b}[0m three four");
        assert_eq!(wrapped("two  spaces  between  words"), "two  spaces  between\n     words");
        assert_eq!(wrapped("船船船船 船船船船 船船船船"), "船船船船 船船船船\n船船船船");
    }

    #[test]
    fn columns_without_room_are_left_out() {
        let rows =
            [["a", "1", "2.5%", "long words"], ["bbb", "10", "–", ""]].map(|row| row.map(String::from));
        let heads = ["name", "n", "share", "what"];
        let plain = |width| anstream::adapter::strip_str(&table_within(width, 2, &heads, &rows)).to_string();
        assert_eq!(
            plain(None),
            "  name   n  share  what\n  a      1   2.5%  long words\n  bbb   10      –\n"
        );
        assert_eq!(plain(Some(29)), plain(None));
        assert_eq!(
            plain(Some(20)),
            "  name   n  share\n  a      1   2.5%\n  bbb   10      –\n  no room for: what\n"
        );
        assert_eq!(plain(Some(5)).lines().next(), Some("  name"));
    }
}
