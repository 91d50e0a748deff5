//! Tables of many rows: compact data in the page, which the page's own script shows a screen at a time.

use std::collections::HashMap;

use minijinja::Value;
use serde::Serialize;

use crate::text;

/// Rows of a page at most; of more, a sample is shown.
pub(crate) const MOST_ROWS: u64 = 100_000;

/// Characters shown of a text in a cell.
const CELL: usize = 120;

/// The script of tables, which builds elements and texts only.
pub(crate) const SCRIPT: &str = include_str!("../templates/table.js");

/// A table by columns.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) title: &'static str,
    /// Rows.
    pub(crate) rows: usize,
    /// The columns by which it is sorted at first, the largest values first; the last one counts most.
    pub(crate) order: Vec<usize>,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Column {
    /// Texts, each once.
    Text {
        /// What they are.
        name: String,
        /// Whether they are so few that one is chosen from a list.
        choice: bool,
        /// The texts, made safe to look at.
        values: Vec<String>,
        /// The text of each row.
        at: Vec<u32>,
        /// The number of each text that was seen.
        #[serde(skip)]
        known: HashMap<String, u32>,
    },
    /// Numbers.
    Number {
        /// What they are.
        name: String,
        /// Digits after the point.
        digits: u32,
        /// As whole numbers of the last digit.
        values: Vec<Option<i64>>,
    },
}

impl Column {
    /// An empty column of texts.
    pub(crate) fn text(name: impl Into<String>, choice: bool) -> Self {
        Self::Text { name: name.into(), choice, values: Vec::new(), at: Vec::new(), known: HashMap::new() }
    }

    /// An empty column of numbers.
    pub(crate) fn number(name: impl Into<String>, digits: u32) -> Self {
        Self::Number { name: name.into(), digits, values: Vec::new() }
    }
}

/// A cell.
pub(crate) enum Cell<'a> {
    /// In a column of texts.
    Text(&'a str),
    /// In a column of numbers.
    Number(Option<f64>),
}

impl Table {
    /// Adds a row.
    pub(crate) fn push<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) {
        self.rows += 1;
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            match (column, cell) {
                (Column::Text { values, at, known, .. }, Cell::Text(text)) => {
                    let text = text::plain(text, CELL);
                    let next = values.len() as u32;
                    let number = *known.entry(text.clone()).or_insert(next);
                    if number == next {
                        values.push(text);
                    }
                    at.push(number);
                }
                (Column::Number { digits, values, .. }, Cell::Number(value)) => {
                    let value = value.filter(|value| value.is_finite());
                    values.push(value.map(|value| (value * 10f64.powi(*digits as i32)).round() as i64));
                }
                // A cell of the other kind is a bug that the tests would find.
                (Column::Text { at, .. }, _) => at.push(0),
                (Column::Number { values, .. }, _) => values.push(None),
            }
        }
    }

    /// The data as a script element holds it: without a character that could end the element.
    pub(crate) fn data(&self) -> Value {
        let json = serde_json::to_string(self).unwrap_or_else(|_| "null".into());
        Value::from_safe_string(json.replace('<', "\\u003c"))
    }
}

/// Which rows of many are taken: `take` of `all`, in order, by the seed (Knuth's selection sampling).
pub(crate) struct Chooser {
    random: rand_mt::Mt64,
    take: u64,
    left: u64,
}

impl Chooser {
    /// Takes `take` of `all` rows, or all of them.
    pub(crate) fn new(take: u64, all: u64, seed: u64) -> Self {
        Self { random: rand_mt::Mt64::new(seed), take, left: all }
    }

    /// Whether the next row is taken.
    pub(crate) fn takes(&mut self) -> bool {
        let left = self.left.max(1);
        self.left = left - 1;
        let taken = self.take >= left || self.random.next_u64() % left < self.take;
        self.take -= u64::from(taken && self.take > 0);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_element() {
        let columns = vec![Column::text("a", false), Column::number("b", 2)];
        let mut table = Table { title: "t", rows: 0, order: vec![1], columns };
        table.push([Cell::Text("</script><script>alert(1)</script>\u{202E}"), Cell::Number(Some(0.125))]);
        table.push([Cell::Text("<!--"), Cell::Number(Some(f64::NAN))]);
        table.push([Cell::Text("<!--"), Cell::Number(None)]);
        let data = table.data().to_string();
        assert!(!data.contains('<') && !data.contains('\u{202E}'), "{data}");
        let back: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(back["columns"][0]["values"][0], "</script><script>alert(1)</script>\\u{202e}");
        assert_eq!(back["columns"][0]["at"], serde_json::json!([0, 1, 1]));
        assert_eq!(back["columns"][1]["values"], serde_json::json!([13, null, null]));
    }

    #[test]
    fn a_sample_has_its_size() {
        let taken = |take, all| {
            let mut chooser = Chooser::new(take, all, 7);
            (0..all).filter(|_| chooser.takes()).count() as u64
        };
        assert_eq!([taken(10, 5), taken(10, 10), taken(10, 1000), taken(0, 5)], [5, 10, 10, 0]);
    }
}
