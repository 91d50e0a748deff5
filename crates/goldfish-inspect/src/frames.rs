//! Counts by the values of a column, in frames of bounded size that are grouped and summed as they fill, and by token id.

use std::cmp::Reverse;
use std::collections::HashMap;

use polars::prelude::{Column, DataFrame, PolarsError, PolarsResult, SortMultipleOptions};

use crate::error::InspectError;
use crate::gaps::Stretches;
use crate::report::{GroupRow, Groups, IdCount, IdList, IdRates, Rates};

/// One token in so many is dropped in the paper.
const PAPERS_K: u32 = 4;

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

/// What one document adds to its group.
pub(crate) struct DocumentCounts {
    pub(crate) value: Option<String>,
    pub(crate) tokens: u64,
    pub(crate) stretches: Stretches,
    /// Decided tokens and those of them that were dropped, of sampled documents.
    pub(crate) decided: (u64, u64),
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
    pub(crate) fn new(column: String) -> Self {
        Self {
            column,
            documents: Vec::new(),
            all: Accumulated { key: "value", sums: SUMS, maxima: MAXIMA, frame: None },
        }
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

/// Counts by token id.
#[derive(Default)]
pub(crate) struct IdCounts {
    /// For each id below [`DENSE`] two numbers: how often it is kept and dropped.
    dense: Vec<u64>,
    /// The same of larger ids, which only a corpus without a vocabulary has.
    sparse: HashMap<u32, [u64; 2]>,
}

/// Ids that are counted in a list: more than any vocabulary has.
const DENSE: usize = 1 << 22;

/// Steps of the histogram of rates.
const STEPS: usize = 20;

/// Ids that are named in a list.
const NAMED: usize = 20;

impl IdCounts {
    pub(crate) fn add(&mut self, ids: &[u32], mask: &[u8]) {
        for (&id, &keep) in ids.iter().zip(mask) {
            let dropped = usize::from(keep == 0);
            match self.dense.get_mut(2 * id as usize + dropped) {
                Some(count) => *count += 1,
                None => self.add_new(id, dropped),
            }
        }
    }

    /// Counts an id that the list does not have.
    #[cold]
    fn add_new(&mut self, id: u32, dropped: usize) {
        if id as usize >= DENSE {
            self.sparse.entry(id).or_default()[dropped] += 1;
            return;
        }
        self.dense.resize(2 * (id as usize + 1).next_power_of_two(), 0);
        self.dense[2 * id as usize + dropped] += 1;
    }

    /// Each id with how often it occurs and how often it is dropped; the most frequent first.
    fn rows(&self) -> Vec<(u32, u64, u64)> {
        let dense = (0..).zip(self.dense.chunks_exact(2)).map(|(id, counts)| (id, counts[0], counts[1]));
        let sparse = self.sparse.iter().map(|(&id, &[kept, dropped])| (id, kept, dropped));
        let all = dense.chain(sparse).map(|(id, kept, dropped)| (id, kept + dropped, dropped));
        let mut rows: Vec<_> = all.filter(|row| row.1 > 0).collect();
        rows.sort_unstable_by_key(|&(id, tokens, _)| (Reverse(tokens), id));
        rows
    }

    /// `k`, or else the paper's, sets how often an id must occur: often enough for one that is never dropped to be no accident.
    pub(crate) fn report(self, k: Option<u32>) -> IdRates {
        // (1 - 1/k)^n falls below 1e-9 at 21 k occurrences.
        let least_tokens = 21 * u64::from(k.unwrap_or(PAPERS_K));
        let rows = self.rows();
        let mut found = IdRates {
            distinct: rows.len() as u64,
            least_tokens,
            always: IdList::default(),
            never: IdList::default(),
            histogram: vec![0; STEPS],
        };
        for (id, tokens, dropped) in rows.into_iter().take_while(|row| row.1 >= least_tokens) {
            let step = (share(dropped, tokens) * STEPS as f64) as usize;
            found.histogram[step.min(STEPS - 1)] += 1;
            let list = match dropped {
                0 => &mut found.never,
                all if all == tokens => &mut found.always,
                _ => continue,
            };
            list.count += 1;
            list.tokens += tokens;
            if list.most_frequent.len() < NAMED {
                list.most_frequent.push(IdCount { id, tokens });
            }
        }
        found
    }
}

fn frame_error(what: &str) -> impl FnOnce(PolarsError) -> InspectError {
    move |source| InspectError::Frame { what: what.to_owned(), source }
}

pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(crate) fn rates(documents: u64, tokens: u64, dropped: u64) -> Rates {
    Rates { documents, tokens, dropped, drop_rate: share(dropped, tokens) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn counts_by_column_are_those_of_a_plain_loop() {
        let mut counts = ColumnCounts::new("source".into());
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

    #[test]
    fn counts_by_id_are_those_of_a_plain_loop() {
        let mut counts = IdCounts::default();
        // Some in the list, and some too large for it.
        let number = |i: u64| (i * i % 101 % 60) as u32;
        let id = |i: u64| number(i) * if number(i).is_multiple_of(2) { 1000 } else { 50_000_000 };
        let keep = |i: u64| match number(i) {
            0 => 0,
            1 => 1,
            _ => u8::from(!i.is_multiple_of(3)),
        };
        let mut expected: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for start in (0..20_000).step_by(1000) {
            let ids: Vec<u32> = (start..start + 1000).map(id).collect();
            let mask: Vec<u8> = (start..start + 1000).map(keep).collect();
            for (&id, &keep) in ids.iter().zip(&mask) {
                let entry = expected.entry(id).or_default();
                entry.0 += 1;
                entry.1 += u64::from(keep == 0);
            }
            counts.add(&ids, &mask);
        }
        let found = counts.report(Some(4));
        assert_eq!(found.distinct, expected.len() as u64);
        let often = expected.values().filter(|(tokens, _)| *tokens >= found.least_tokens).count() as u64;
        assert_eq!(found.histogram.iter().sum::<u64>(), often);
        assert_eq!(found.always.most_frequent, [IdCount { id: 0, tokens: expected[&0].0 }]);
        assert_eq!(found.never.most_frequent, [IdCount { id: 50_000_000, tokens: expected[&50_000_000].0 }]);
        assert_eq!((found.always.count, found.never.count), (1, 1));
    }
}
