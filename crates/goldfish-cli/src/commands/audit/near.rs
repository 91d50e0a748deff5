//! Near-copies among the passages of an audit.

use goldfish_audit::control::Decode;
use goldfish_audit::probe::ProbeTable;
use goldfish_inspect::{Passage, near_copies};

/// Makes one cluster of passages that are near-copies of each other.
pub(super) fn join(table: &mut ProbeTable, decode: Option<&Decode<'_>>) {
    let starts = table.starts.iter().enumerate();
    let passages: Vec<Passage<'_>> =
        starts.map(|(number, start)| Passage { ids: &start.ids, group: table.group(number) }).collect();
    let groups = near_copies(&passages, decode);
    table.join(&groups);
}
