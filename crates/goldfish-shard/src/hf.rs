//! The two files with which Hugging Face `datasets.load_from_disk` opens a folder of Arrow streams.

use serde_json::json;

use crate::Manifest;

/// `state.json` of a folder of shards.
pub(crate) fn shard_state(manifest: &Manifest) -> Vec<u8> {
    let checksum = manifest.checksum.trim_start_matches("xxh3_128:");
    let names: Vec<&str> = manifest.shards.iter().map(|shard| shard.name.as_str()).collect();
    state(&names, checksum.get(..16).unwrap_or_default())
}

/// `state.json` names the files; `fingerprint` is 16 hex digits that no other data has.
pub(crate) fn state(names: &[&str], fingerprint: &str) -> Vec<u8> {
    let files: Vec<_> = names.iter().map(|name| json!({ "filename": name })).collect();
    pretty(&json!({
        "_data_files": files,
        "_fingerprint": fingerprint,
        "_format_columns": null,
        "_format_kwargs": {},
        "_format_type": null,
        "_output_all_columns": false,
        "_split": null,
    }))
}

/// `dataset_info.json` leaves the features out: `datasets` takes them from the Arrow schema, which knows them.
pub(crate) fn dataset_info() -> Vec<u8> {
    pretty(&json!({ "citation": "", "description": "", "homepage": "", "license": "" }))
}

fn pretty(value: &serde_json::Value) -> Vec<u8> {
    // A JSON value always serializes.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
