//! What speaks against how a file is read, where nothing in it tells.

use std::io::Read;

use crate::file::open_regular;
use crate::{Format, Input, ReadOptions};

/// Bytes at the start of a file that are looked at.
const LOOKED_AT: u64 = 64 << 10;

/// Files that are looked at, at most: those of a corpus are of one kind, and a store takes its time for each.
const FILES: usize = 64;

/// Fewest ids that say anything.
const FEWEST: usize = 16;

/// Why the first 64 headerless memmaps among the inputs may hold ids of another type than they are read in, one sentence for each
/// that may. Files that can't be read are left to the run.
///
/// Without [`ReadOptions::id_type`] an `olmo` memmap that has no sidecar is read as `uint16`. Ids of four bytes then become two, of which
/// the second is 0 wherever the id is below 65536.
#[must_use]
pub fn doubts(inputs: &[Input], options: &ReadOptions) -> Vec<String> {
    let untold = |input: &&Input| input.format == Format::Olmo && input.companions().is_empty();
    if options.id_type.is_some() {
        return Vec::new();
    }
    inputs.iter().filter(untold).take(FILES).filter_map(doubt).collect()
}

fn doubt(input: &Input) -> Option<String> {
    let mut bytes = Vec::new();
    open_regular(&input.path).ok()?.0.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    let ids: Vec<bool> = bytes.chunks_exact(2).map(|id| id == [0, 0]).collect();
    let zeros = |ids: &[bool]| ids.iter().filter(|&&zero| zero).count();
    let second: Vec<bool> = ids.chunks_exact(2).map(|two| two[1]).collect();
    let suspect = 2 * zeros(&ids) >= ids.len() || 2 * zeros(&second) >= second.len();
    (ids.len() >= FEWEST && suspect).then(|| {
        format!(
            "{}: nothing tells the type of its ids, and read as uint16 {} of the first {} are 0, {} of them at every second \
             place: ids of four bytes look like this; give --ids-dtype (uint32 or uint16)",
            input.path.display(),
            zeros(&ids),
            ids.len(),
            zeros(&second),
        )
    })
}
