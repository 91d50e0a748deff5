//! Counts by the values of a column, in frames of bounded size that are grouped and summed as they fill.

use polars::prelude::{Column, DataFrame, PolarsError, PolarsResult, SortMultipleOptions};

use crate::error::InspectError;
use crate::groups::DocumentCounts;
use crate::rates::{rates, share};
use crate::report::{GroupRow, Groups};

/// Rows of a frame that is grouped.
const ROWS: usize = 1 << 20;

/// Values that a column may have.
const MOST_GROUPS: usize = 100_000;

/// Groups of rows with an equal key: sums, and maxima.
///
/// The eager operations do all that is needed; the lazy engine would multiply the time that the project builds in.
#[expect(deprecated, reason = "the eager sum and max, see above")]
fn grouped(frame: &DataFrame, key: &str, sums: &[&str], maxima: &[&str]) -> PolarsResult<DataFrame> {
    let rename = |mut frame: DataFrame, names: &[&str], suffix: &str| -> PolarsResult<DataFrame> {
        for name in names {
            frame.rename(&format!("{name}{suffix}"), (*name).into())?;
        }
        Ok(frame)
    };
    let groups =
        |names: &[&str]| Ok::<_, PolarsError>(frame.group_by_stable([key])?.select(names.iter().copied()));
    let summed = rename(groups(sums)?.sum()?, sums, "_sum")?;
    if maxima.is_empty() {
        return Ok(summed);
    }
    // Stable groups come in the same order both times.
    let highest = rename(groups(maxima)?.max()?, maxima, "_max")?;
    summed.hstack(&highest.columns()[1..])
}

/// A frame that grows batch by batch and shrinks to its groups.
struct Accumulated {
    key: &'static str,
    sums: &'static [&'static str],
    maxima: &'static [&'static str],
    frame: Option<DataFrame>,
}

impl Accumulated {
    fn add(&mut self, columns: Vec<Column>) -> PolarsResult<()> {
        let batch = grouped(&DataFrame::new_infer_height(columns)?, self.key, self.sums, self.maxima)?;
        self.frame = Some(match self.frame.take() {
            None => batch,
            Some(all) => grouped(&all.vstack(&batch)?, self.key, self.sums, self.maxima)?,
        });
        Ok(())
    }

    fn len(&self) -> usize {
        self.frame.as_ref().map_or(0, DataFrame::height)
    }
}

/// Counts by the values of a column.
pub(crate) struct ColumnCounts {
    column: String,
    documents: Vec<DocumentCounts>,
    all: Accumulated,
}

const SUMS: &[&str] = &["documents", "tokens", "dropped", "decided", "decided_dropped"];
const MAXIMA: &[&str] = &["longest_kept", "longest_dropped"];

impl ColumnCounts {
    pub(crate) fn new(column: String) -> Result<Self, InspectError> {
        let all = Accumulated { key: "value", sums: SUMS, maxima: MAXIMA, frame: None };
        Ok(Self { column, documents: Vec::new(), all })
    }

    pub(crate) fn column(&self) -> &str {
        &self.column
    }

    pub(crate) fn add(&mut self, document: DocumentCounts) -> Result<(), InspectError> {
        self.documents.push(document);
        if self.documents.len() >= ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), InspectError> {
        let rows = std::mem::take(&mut self.documents);
        let number = |name: &str, of: &dyn Fn(&DocumentCounts) -> u64| {
            Column::new(name.into(), rows.iter().map(of).collect::<Vec<u64>>())
        };
        let values: Vec<Option<&str>> = rows.iter().map(|row| row.value.as_deref()).collect();
        let columns = vec![
            Column::new("value".into(), values),
            number("documents", &|_| 1),
            number("tokens", &|row| row.tokens),
            number("dropped", &|row| row.stretches.dropped),
            number("decided", &|row| row.decided.0),
            number("decided_dropped", &|row| row.decided.1),
            number("longest_kept", &|row| row.stretches.longest_kept),
            number("longest_dropped", &|row| row.stretches.longest_dropped),
        ];
        self.all.add(columns).map_err(frame_error(&self.column))?;
        if self.all.len() > MOST_GROUPS {
            return Err(InspectError::Groups { column: self.column.clone(), most: MOST_GROUPS });
        }
        Ok(())
    }

    pub(crate) fn report(mut self) -> Result<Groups, InspectError> {
        self.flush()?;
        let rows = self.rows().map_err(frame_error(&self.column))?;
        Ok(Groups { column: self.column, rows })
    }

    fn rows(&self) -> PolarsResult<Vec<GroupRow>> {
        let Some(frame) = &self.all.frame else { return Ok(Vec::new()) };
        let order = SortMultipleOptions::default().with_order_descending_multi([true, false]);
        let frame = frame.sort(["tokens", "value"], order)?;
        let number = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.u64()?.clone());
        let values = frame.column("value")?.str()?.clone();
        let [documents, tokens, dropped] = [number("documents")?, number("tokens")?, number("dropped")?];
        let [decided, decided_dropped] = [number("decided")?, number("decided_dropped")?];
        let [kept, run] = [number("longest_kept")?, number("longest_dropped")?];
        let at = |column: &polars::prelude::UInt64Chunked, row| column.get(row).unwrap_or(0);
        let row = |row| GroupRow {
            value: values.get(row).map(str::to_owned),
            rates: rates(at(&documents, row), at(&tokens, row), at(&dropped, row)),
            decided: at(&decided, row),
            decided_drop_rate: share(at(&decided_dropped, row), at(&decided, row)),
            longest_kept: at(&kept, row),
            longest_dropped: at(&run, row),
        };
        Ok((0..frame.height()).map(row).collect())
    }
}

fn frame_error(what: &str) -> impl FnOnce(PolarsError) -> InspectError {
    move |source| InspectError::Frame { what: what.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gaps::Stretches;
    use crate::report::Rates;

    #[test]
    fn counts_by_column_are_those_of_a_plain_loop() {
        let mut counts = ColumnCounts::new("source".into()).unwrap();
        let mut expected: BTreeMap<Option<String>, [u64; 5]> = BTreeMap::new();
        for i in 0..1000u64 {
            let value = (i % 7 != 0).then(|| format!("s{}", i % 5));
            let stretches = Stretches { dropped: i % 11, longest_kept: i, longest_dropped: 1000 - i };
            let entry = expected.entry(value.clone()).or_default();
            entry[0] += 1;
            entry[1] += 10 + i;
            entry[2] += i % 11;
            entry[3] = entry[3].max(i);
            entry[4] = entry[4].max(1000 - i);
            counts.add(DocumentCounts { value, tokens: 10 + i, stretches, decided: (4, 1) }).unwrap();
            if i % 300 == 0 {
                counts.flush().unwrap();
            }
        }
        let found = counts.report().unwrap();
        assert!(found.rows.is_sorted_by_key(|row| std::cmp::Reverse(row.rates.tokens)));
        let found: BTreeMap<_, _> = found
            .rows
            .into_iter()
            .map(|row| {
                assert_eq!((row.decided, row.decided_drop_rate), (4 * row.rates.documents, 0.25));
                let Rates { documents, tokens, dropped, .. } = row.rates;
                (row.value, [documents, tokens, dropped, row.longest_kept, row.longest_dropped])
            })
            .collect();
        assert_eq!(found, expected);
    }
}
