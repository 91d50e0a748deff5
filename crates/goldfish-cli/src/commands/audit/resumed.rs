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
) -> anyhow::Result<()> {
    let rows = store.rows()?;
    let probes: Vec<ProbeRow> = tables.iter().flat_map(|table| table.rows(false)).collect();
    let known: Vec<(&ProbeRow, &ResultRow)> =
        probes.iter().filter_map(|probe| Some((probe, rows.get(&probe.probe_id)?))).collect();
    let step = known.len().div_ceil(AGAIN).max(1);
    let (probes, results): (Vec<&ProbeRow>, Vec<&ResultRow>) = known.into_iter().step_by(step).unzip();
    let replay = replay::replay(engine, tested, &probes, &results)?;
    if let Some(Changed { probe_id, match_length_then, match_length_now, .. }) = replay.changed.first() {
        bail!(
            "the model now answers otherwise than the one that the run was started with: {} of {} probes, such as {probe_id} ({match_length_then} tokens matched then, {match_length_now} now); start another run with another --output",
            replay.changed.len(),
            replay.asked
        );
    }
    Ok(())
}
