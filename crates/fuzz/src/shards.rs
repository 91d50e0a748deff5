//! Manifests and shards, as `inspect` and `verify` read them.

use std::fs;

use goldfish_digest::FileDigest;
use goldfish_shard::{Manifest, OutputFormat, ShardReader, verify};

use crate::harness::{file, folder};

/// A manifest of one shard; the shard's entry is filled in.
const TEMPLATE: &str = r#"{"format_version":1,"tool":{"name":"goldfish","version":"0"},
"rule":{"version":1,"name":"hash","k":4,"context":13,"window":"preceding","head":"keep","seed":0},
"scope":{"name":"document"},"exempt_ids":[],"tokenizer":null,
"source":{"content":"ids","column":"input_ids","id_column":null,"ids_dtype":null,"eos_id":null,"max_document":67108864},
"output":{"format":"arrow-stream","columns":[],"carry":[],"shard_size":1},"inputs":[],"shards":[],"rejects":null,
"totals":{"documents_in":0,"documents_out":0,"documents_rejected":0,"tokens":0,"dropped":0},"checksum":""}"#;

/// A manifest: it is an error, or survives a round trip.
pub fn manifest(data: &[u8]) {
    file("manifest.json", data);
    let Ok(manifest) = Manifest::read(folder()) else { return };
    for shard in &manifest.shards {
        assert_eq!(
            folder().join(&shard.name).parent(),
            Some(folder().as_path()),
            "a name is outside of the folder"
        );
    }
    let _ = manifest.drop_rate();
    let _ = manifest.rule.build(None);
    let (sealed, bytes) = manifest.clone().seal();
    file("manifest.json", &bytes);
    assert_eq!(Manifest::read(folder()).expect("a sealed manifest can be read"), sealed);
    // Verification must terminate, whatever the manifest says.
    file("manifest.json", data);
    let _ = verify(folder(), &mut |_, _| None);
}

/// A shard with a valid checksum, so that verification reads its contents.
pub fn shard(data: &[u8]) {
    let mut manifest: Manifest = serde_json::from_str(TEMPLATE).expect("the template is a manifest");
    for (format, name) in [
        (OutputFormat::ArrowStream, "data-00000-of-00001.arrow"),
        (OutputFormat::ArrowFile, "data-00000-of-00001.arrow"),
        (OutputFormat::Parquet, "data-00000-of-00001.parquet"),
    ] {
        let path = file(name, data);
        let FileDigest { size, hash } = FileDigest::of(data);
        manifest.output.format = format;
        let entry = serde_json::json!({"name": name, "size": size, "hash": hash, "documents": 0, "tokens": 0, "dropped": 0});
        let entry: goldfish_shard::ShardEntry = serde_json::from_value(entry).expect("an entry");
        manifest.shards = vec![entry];
        let (_, bytes) = manifest.clone().seal();
        file("manifest.json", &bytes);
        let mut rows = 0u64;
        let checked = verify(folder(), &mut |batch, row| {
            assert_eq!(batch.ids(row).len(), batch.mask(row).len());
            rows += 1;
            None
        });
        let (_, defects) = checked.expect("a readable folder");
        // The entry claims no documents, so rows must be reported.
        assert!(rows == 0 || !defects.is_empty());
        if let Ok(reader) = ShardReader::open(&path, format) {
            for batch in reader.map_while(Result::ok) {
                for row in 0..batch.len() {
                    let _ = (batch.doc_ids().value(row), batch.ids(row), batch.mask(row));
                }
            }
        }
        fs::remove_file(path).expect("a file that was written");
    }
}
