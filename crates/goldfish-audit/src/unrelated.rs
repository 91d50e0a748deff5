//! Prefixes that have nothing to do with a probe: those of other documents of the run.

use xxhash_rust::xxh3::xxh3_64;

use crate::probe::{Probe, ProbeTable, Start};
use crate::set::Passage;

/// A prime number above the number of starts of any run: steps of so many visit all.
const STEP: u64 = 4_294_967_291;

/// The starts of a run that prefixes can be taken from, with the set and the cluster of each.
pub(crate) struct Unrelated<'a>(Vec<((&'static str, &'a str), &'a Start)>);

impl<'a> Unrelated<'a> {
    pub(crate) fn new(tables: &[&'a ProbeTable]) -> Self {
        let of_table = |table: &&'a ProbeTable| {
            let table = *table;
            let starts = table.starts.iter().enumerate();
            starts.map(move |(number, start)| ((table.set.name(), table.cluster(number)), start))
        };
        let all = tables.iter().flat_map(of_table);
        Self(all.filter(|(_, start)| start.passage() == Passage::Absent).collect())
    }

    /// Prefixes of the probe's length in documents of other clusters: `count` of them, or as many as there are. They depend on the probe and
    /// the run's starts alone.
    pub(crate) fn prefixes(&self, table: &ProbeTable, probe: &Probe, count: usize) -> Vec<&'a [u32]> {
        let own = (table.set.name(), table.cluster(probe.start));
        let length = probe.prefix as usize;
        let all = self.0.len() as u64;
        let first = xxh3_64(probe.id.to_string().as_bytes());
        let order = (0..all).map(|number| (first % all + number * (STEP % all)) % all);
        order
            .map(|at| self.0[at as usize])
            .filter(|(cluster, start)| *cluster != own && start.ids.len() >= length)
            .map(|(_, start)| &start.ids[..length])
            .take(count)
            .collect()
    }
}
