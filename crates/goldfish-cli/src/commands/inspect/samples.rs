//! The first documents of a folder.

use std::path::Path;

use goldfish_shard::{Manifest, ShardReader};
use serde::Serialize;

use crate::args::InspectArgs;

/// Tokens shown of each document.
const SHOWN_TOKENS: usize = 160;

/// The start of a document.
#[derive(Serialize)]
pub(super) struct Sample {
    pub(super) doc_id: String,
    pub(super) tokens: usize,
    pub(super) dropped: usize,
    pub(super) input_ids: Vec<u32>,
    pub(super) loss_mask: Vec<u8>,
}

/// The first documents.
pub(super) fn samples(args: &InspectArgs, folder: &Path, manifest: &Manifest) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for shard in &manifest.shards {
        if samples.len() >= args.documents {
            break;
        }
        for batch in ShardReader::open(&folder.join(&shard.name), manifest.output.format)? {
            let batch = batch?;
            for row in 0..batch.len().min(args.documents - samples.len()) {
                let (ids, mask) = (batch.ids(row), batch.mask(row));
                let shown = ids.len().min(SHOWN_TOKENS);
                samples.push(Sample {
                    doc_id: batch.doc_ids().value(row).to_owned(),
                    tokens: ids.len(),
                    dropped: mask.iter().filter(|&&keep| keep == 0).count(),
                    input_ids: ids[..shown].iter().map(|id| id.cast_unsigned()).collect(),
                    loss_mask: mask[..shown].to_vec(),
                });
            }
            if samples.len() >= args.documents {
                break;
            }
        }
    }
    Ok(samples)
}
