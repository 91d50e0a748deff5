//! The positive control of `--canary`.

use std::path::Path;

use anyhow::{Context, ensure};
use goldfish_audit::backend::Backend;
use goldfish_audit::canary::{CanarySource, own_output};
use goldfish_audit::documents::Documents;
use goldfish_audit::probe::{Grid, ProbeTable, Sample, Set};
use goldfish_audit::{ProbeRow, read_probes};

/// What `--canary` names for the model's own output.
pub(super) const OWN: &str = "self";

/// Probes of documents that the model is known to recite.
pub(super) fn of_documents(
    documents: &Documents,
    grid: &Grid,
    sample: &Sample,
) -> anyhow::Result<ProbeTable> {
    let table = ProbeTable::sample(documents, grid, sample)?.into_canary();
    ensure!(
        !table.probes.is_empty(),
        "no document of --canary has the {} tokens of the shortest probe",
        grid.shortest()
    );
    Ok(table)
}

/// Probes of the model's own output; those of the run in `output`, if it is resumed, since a server may answer otherwise now.
pub(super) fn of_own_output(
    backend: &dyn Backend,
    audited: &ProbeTable,
    grid: &Grid,
    bos: Option<u32>,
    resumed: Option<&Path>,
) -> anyhow::Result<ProbeTable> {
    if let Some(table) = resumed.map(written).transpose()?.flatten() {
        return Ok(table);
    }
    ensure!(
        backend.capabilities().generate,
        "--canary {OWN} needs a model that continues prompts; name a file with text that it recites"
    );
    let table = own_output(backend, audited, grid, bos)?;
    ensure!(!table.probes.is_empty(), "no audited document is long enough for --canary {OWN}");
    Ok(table)
}

/// The canaries of an unfinished run.
fn written(output: &Path) -> anyhow::Result<Option<ProbeTable>> {
    let path = output.join("probes.parquet");
    if !path.is_file() {
        return Ok(None);
    }
    let rows = read_probes(&path).context("reading the probes of the run to resume")?;
    let canaries: Vec<&ProbeRow> = rows.iter().filter(|row| row.set == Set::Canary.name()).collect();
    Ok(if canaries.is_empty() { None } else { ProbeTable::from_rows(Set::Canary, &canaries, &[]) })
}

/// Where the canaries come from.
pub(super) fn source(named: &[String]) -> CanarySource {
    if named == [OWN] { CanarySource::OwnOutput } else { CanarySource::Documents }
}
