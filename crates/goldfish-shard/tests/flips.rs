//! `verify` finds flipped bits of every file of a folder, and files that are missing, too many or swapped.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use goldfish_shard::{Manifest, OutputFormat, ShardWriter, Start, WriterOptions, prepare_folder, verify};
use serde_json::value::RawValue;

use common::{manifest, schema};

const DOCUMENTS: u64 = 9;

/// Writes three shards of three documents.
fn write(path: &Path, format: OutputFormat) {
    let schema = schema();
    let options = WriterOptions { format, shard_size: 400 };
    let folder = prepare_folder(path, Start::New).unwrap().folder().unwrap();
    let manifest = manifest(&options, DOCUMENTS, 1);
    let job = || RawValue::from_string("{}".into()).unwrap();
    let mut writer = ShardWriter::new(folder, schema.clone(), options, job());
    let names: StringArray = (0..DOCUMENTS).map(|row| Some(format!("a:{row}"))).collect();
    let ids: Vec<i32> = (0..DOCUMENTS as i32 * 8).collect();
    let mask: Vec<u8> = ids.iter().map(|id| u8::from(id % 8 % 4 != 0)).collect();
    let offsets = OffsetBuffer::from_lengths(vec![8; DOCUMENTS as usize]);
    let batch = schema.batch(names, offsets, ids.into(), mask.into(), Vec::new()).unwrap();
    writer.write_reject("{\"file\":\"a.jsonl\",\"row\":9,\"reason\":\"bad\"}").unwrap();
    writer.write(&batch, 0, (0, 0), job).unwrap();
    writer.finish(manifest, job()).map_err(|(error, _)| error).unwrap();
}

fn is_sound(folder: &Path) -> bool {
    verify(folder, &mut |_, _| None).is_ok_and(|(_, faults)| faults.is_empty())
}

#[test]
fn every_file_counts() {
    for (format, step) in
        [(OutputFormat::ArrowStream, 7), (OutputFormat::ArrowFile, 29), (OutputFormat::Parquet, 29)]
    {
        let output = tempfile::tempdir().unwrap();
        let folder = output.path().join("out");
        write(&folder, format);
        assert!(is_sound(&folder));
        let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let shards: Vec<_> =
            paths.iter().filter(|path| path.to_str().unwrap().contains("data-")).cloned().collect();
        assert!(shards.len() >= 3, "{paths:?}");
        for path in &paths {
            let good = fs::read(path).unwrap();
            // Many bytes, each with one of its bits.
            for at in (0..good.len()).step_by(step) {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                fs::write(path, bad).unwrap();
                assert!(!is_sound(&folder), "bit {} of byte {at} of {}", at % 8, path.display());
            }
            for bad in [&good[..good.len() - 1], &[&good[..], b"\0"].concat(), b""] {
                fs::write(path, bad).unwrap();
                assert!(!is_sound(&folder), "{} with {} bytes", path.display(), bad.len());
            }
            fs::remove_file(path).unwrap();
            assert!(!is_sound(&folder), "without {}", path.display());
            fs::write(path, good).unwrap();
        }
        for pair in shards.windows(2) {
            let aside = folder.join("aside");
            let swap = || {
                fs::rename(&pair[0], &aside).unwrap();
                fs::rename(&pair[1], &pair[0]).unwrap();
                fs::rename(&aside, &pair[1]).unwrap();
            };
            swap();
            assert!(!is_sound(&folder), "{pair:?} swapped");
            swap();
        }
        let extra = folder.join(format!("data-00003-of-00004.{}", format.extension()));
        fs::copy(&shards[0], &extra).unwrap();
        assert!(!is_sound(&folder), "an extra shard");
        fs::remove_file(extra).unwrap();
        assert!(is_sound(&folder));
    }
}

/// An edit that is sealed anew, checksum and fingerprint alike.
#[test]
fn shards_in_another_order_are_found_under_a_right_checksum() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("out");
    write(&folder, OutputFormat::Parquet);
    let sealed = |change: fn(&mut Manifest)| {
        let mut manifest = Manifest::read(&folder).unwrap();
        change(&mut manifest);
        fs::write(folder.join("manifest.json"), manifest.seal().1).unwrap();
        is_sound(&folder)
    };
    assert!(sealed(|manifest| manifest.tool.version = "1".into()));
    assert!(!sealed(|manifest| manifest.shards.swap(0, 1)));
    assert!(sealed(|manifest| manifest.shards.swap(0, 1)));
    assert!(!sealed(|manifest| manifest.totals.documents_in += 1));
}
