//! Why rows were rejected, from the list of them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use goldfish_corpus::Reject;
use goldfish_shard::REJECTS_NAME;
use serde::Serialize;

use crate::print::{self, count};

/// Rows that were rejected for the same reason, but for its numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Reason {
    pub(crate) rows: u64,
    /// The first of them.
    pub(crate) first: Reject,
}

/// Reasons that are told apart; rows with others are not counted.
const MOST_REASONS: usize = 1000;

/// Reasons that a summary shows.
const SHOWN: usize = 5;

/// Groups the rejects of a folder, the most frequent reason first.
pub(crate) fn reasons(folder: &Path) -> anyhow::Result<Vec<Reason>> {
    let path = folder.join(REJECTS_NAME);
    let context = || format!("{}: reading failed", path.display());
    let file = goldfish_storage::File::open(&path).with_context(context)?;
    let mut reasons: Vec<Reason> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for line in BufReader::new(file).lines() {
        let reject: Reject = serde_json::from_str(&line.with_context(context)?).with_context(context)?;
        match known.get(&without_numbers(&reject.reason)) {
            Some(&index) => reasons[index].rows += 1,
            None if reasons.len() < MOST_REASONS => {
                known.insert(without_numbers(&reject.reason), reasons.len());
                reasons.push(Reason { rows: 1, first: reject });
            }
            None => {}
        }
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.rows));
    Ok(reasons)
}

/// A reason with one sign in place of each number.
fn without_numbers(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len());
    for c in reason.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with('#') {
            text.push('#');
        }
    }
    text
}

/// The lines of a summary.
pub(crate) fn lines(reasons: &[Reason]) -> Vec<String> {
    let line = |Reason { rows, first }: &Reason| {
        let Reject { file, row, reason, .. } = first;
        let such_as = if *rows == 1 { "" } else { "such as " };
        let (file, reason) = (print::name(file), print::name(reason));
        format!("           {}: {such_as}{file} row {row}: {reason}", count(*rows))
    };
    let more = reasons.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("           and {more} other reasons"));
    reasons.iter().take(SHOWN).map(line).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_same_whatever_their_numbers() {
        let reject = |row, reason: &str| Reject::new("a.jsonl", row, reason.into(), Vec::new());
        let rejects = [
            reject(0, "line 1: not UTF-8 at byte 7 of the line"),
            reject(4, "line 5: column \"text\" is null"),
            reject(11, "line 12: not UTF-8 at byte 130 of the line"),
        ];
        let folder = tempfile::tempdir().unwrap();
        let list: Vec<String> =
            rejects.iter().map(|reject| serde_json::to_string(reject).unwrap() + "\n").collect();
        std::fs::write(folder.path().join(REJECTS_NAME), list.concat()).unwrap();
        let reasons = reasons(folder.path()).unwrap();
        assert_eq!(
            lines(&reasons),
            [
                "           2: such as a.jsonl row 0: line 1: not UTF-8 at byte 7 of the line",
                "           1: a.jsonl row 4: line 5: column \"text\" is null",
            ]
        );
    }
}
