//! The control of copying: every probe is asked again with its whole passage in the prompt.
//!
//! Recitation from weights and copying from the prompt look alike in an output. Trained text that is continued without the passage in
//! the prompt comes from the weights; held-out text that is continued with it is copied. A model that copies and does not recite could
//! have recited: what it doesn't say, it doesn't know.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probe::{Probe, ProbeCounts, ProbeId, ProbeTable, Start};
use crate::rows::ProbeRow;
use crate::set::{Passage, Set};
use crate::stat::Joined;

/// How the probes with the passage in the prompt are asked, in the run's configuration. There is one for each audited and each control
/// probe, with the same document, prefix and suffix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InContextConfig {
    /// Token ids between the passage and the prefix.
    pub separator: Vec<u32>,
}

impl ProbeId {
    /// The name of the same probe with the passage in the prompt: 128 bits over its own name and the separator.
    pub(crate) fn in_prompt(self, separator: &[u32]) -> Self {
        Self::of(&self.to_string(), 0, 0, separator)
    }
}

impl ProbeTable {
    /// The same probes with the whole passage in the prompt: prefix and suffix, then the separator. Each has a start of its own, in the
    /// cluster that it is in here.
    #[must_use]
    pub fn in_prompt(&self, separator: &[u32]) -> Self {
        let mut starts = Vec::with_capacity(self.probes.len());
        let mut probes = Vec::with_capacity(self.probes.len());
        let mut clusters = Joined::new(self.probes.len());
        // Cluster -> the first probe in it.
        let mut first = HashMap::new();
        for (number, probe) in self.probes.iter().enumerate() {
            let (prefix, suffix) = self.tokens(probe);
            let start = &self.starts[probe.start];
            starts.push(Start {
                ids: [prefix, suffix].concat(),
                mask: self.mask(probe).map(<[u8]>::to_vec),
                before: Passage::InPrompt.before(prefix, suffix, separator),
                ..start.clone()
            });
            probes.push(Probe { id: probe.id.in_prompt(separator), start: number, ..*probe });
            clusters.join(*first.entry(self.group(probe.start)).or_insert(number), number);
        }
        let counts = ProbeCounts { starts: starts.len() as u64, ..self.counts };
        Self { set: self.set, starts, probes, counts, clusters }
    }
}

/// The rows that the probes with the passage in the prompt must have, by those without it.
pub(crate) fn rows_in_prompt(rows: &[ProbeRow], separator: &[u32]) -> Vec<ProbeRow> {
    let is_asked = |row: &&ProbeRow| row.set != Set::Canary.name();
    let in_prompt = |row: &ProbeRow| ProbeRow {
        probe_id: u128::from_str_radix(&row.probe_id, 16)
            .map_or_else(|_| row.probe_id.clone(), |id| ProbeId(id).in_prompt(separator).to_string()),
        passage: Passage::InPrompt.name().into(),
        ..row.clone()
    };
    rows.iter().filter(is_asked).map(in_prompt).collect()
}
