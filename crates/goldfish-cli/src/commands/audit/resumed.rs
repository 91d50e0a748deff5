//! Whether a run is resumed with the model that it was started with.

use std::path::Path;

use anyhow::bail;
use goldfish_audit::check::is_complete;
use goldfish_audit::engine::Engine;
use goldfish_audit::probe::ProbeTable;
use goldfish_audit::replay::{self, Changed};
use goldfish_audit::run::Run;
use goldfish_audit::selftest::SelfTest;
use goldfish_audit::store::RunStore;
use goldfish_audit::{ProbeRow, ResultRow};

/// Probes that are asked again.
const AGAIN: usize = 4;

/// Refuses a complete run whose files don't fit together: resuming it would write its checksums again, and hide that.
pub(super) fn check_complete(output: &Path) -> anyhow::Result<()> {
    if is_complete(output) {
        Run::open(output)?;
    }
    Ok(())
}

/// Asks for a few of the results again: a server may have another model under the same name by now.
pub(super) fn check_model(
    engine: &Engine<'_>,
    tested: &SelfTest,
    tables: &[&ProbeTable],
    store: &RunStore,
    separator: &[u32],
) -> anyhow::Result<()> {
    let rows = store.rows()?;
    let probes = tables.iter().flat_map(|table| table.probes.iter().map(move |probe| (table, probe)));
    let done = probes.filter_map(|(table, probe)| Some((table, probe, rows.get(&probe.id.to_string())?)));
    let step = rows.len().div_ceil(AGAIN).max(1);
    let (probes, results): (Vec<ProbeRow>, Vec<&ResultRow>) =
        done.step_by(step).map(|(table, probe, result)| (table.row(probe, false), result)).unzip();
    let probes: Vec<&ProbeRow> = probes.iter().collect();
    let replay = replay::replay(engine, tested, &probes, &results, separator)?;
    if let Some(Changed { probe_id, match_length_then, match_length_now, .. }) = replay.changed.first() {
        bail!(
            "the model now answers otherwise than the one that the run was started with: {} of {} probes, such as {probe_id} ({match_length_then} tokens matched then, {match_length_now} now); start another run with another --output",
            replay.changed.len(),
            replay.asked
        );
    }
    Ok(())
}
