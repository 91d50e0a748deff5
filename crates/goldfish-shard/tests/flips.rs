//! `verify` finds flipped bits of every file of a folder, and files that are missing, too many or swapped.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use goldfish_shard::{
    ExportOptions, Layout, ListLengths, MAX_SEQUENCE_LENGTH, Manifest, OutputFormat, OutputMode, ShardWriter,
    WriterOptions, export, prepare_folder, verify, verify_file_set,
};
use serde_json::value::RawValue;

use common::{manifest, schema};

const DOCUMENTS: u64 = 9;

/// Writes three shards of three documents.
fn write(path: &Path, format: OutputFormat) {
    write_named(path, format, |row| format!("a:{row}"));
}

fn write_named(path: &Path, format: OutputFormat, name: impl Fn(u64) -> String) {
    let schema = schema();
    let options = WriterOptions { format, shard_size: 400 };
    let folder = prepare_folder(path, OutputMode::New).unwrap().folder().unwrap();
    let manifest = manifest(&options, DOCUMENTS, 1);
    let job = || RawValue::from_string("{}".into()).unwrap();
    let mut writer = ShardWriter::new(folder, schema.clone(), options, job());
    let names: StringArray = (0..DOCUMENTS).map(|row| Some(name(row))).collect();
    let ids: Vec<i32> = (0..DOCUMENTS as i32 * 8).collect();
    let mask: Vec<u8> = ids.iter().map(|id| u8::from(id % 8 % 4 != 0)).collect();
    let offsets = OffsetBuffer::from_lengths(vec![8; DOCUMENTS as usize]);
    let batch = schema.batch(names, offsets, ids.into(), mask.into(), Vec::new()).unwrap();
    writer.write_reject("{\"file\":\"a.jsonl\",\"row\":9,\"reason\":\"bad\"}").unwrap();
    writer.write(&batch, 0, ListLengths::default(), job).unwrap();
    writer.finish(manifest, job()).map_err(|(error, _)| error).unwrap();
}

fn is_sound(folder: &Path) -> bool {
    verify(folder, &mut |_, _| None).is_ok_and(|(_, problems)| problems.is_empty())
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

/// An export of three shards.
fn export_to(layout: Layout, sequence_length: Option<u32>, folder: &Path) -> Result<(), String> {
    let shards = folder.join("shards");
    if !shards.exists() {
        write(&shards, OutputFormat::ArrowStream);
    }
    let options = ExportOptions { layout, token_type: None, sequence_length, overwrite: false };
    let output = folder.join(layout.name());
    let done = export(&shards, &output, &options, &AtomicBool::new(false), &mut |_| ());
    done.map(drop).map_err(|error| error.to_string())
}

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
}

#[test]
fn files_that_a_glob_would_take_for_shards_are_faults() {
    for format in [OutputFormat::ArrowStream, OutputFormat::ArrowFile, OutputFormat::Parquet] {
        let output = tempfile::tempdir().unwrap();
        let folder = output.path().join("out");
        write(&folder, format);
        for passed in ["notes.txt", ".hidden.arrow", "deeper/other.arrow"] {
            touch(&folder.join(passed));
        }
        assert!(is_sound(&folder));
        let extra = ["cache-1.arrow", "data-00000-of-00001.arrow", "more.parquet"];
        extra.iter().for_each(|name| touch(&folder.join(name)));
        let (_, problems) = verify(&folder, &mut |_, _| None).unwrap();
        let found: Vec<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
        assert_eq!(found, extra);
        assert!(problems.iter().all(|problem| problem.description == "not in the manifest"));
    }
}

#[test]
fn files_that_a_layout_would_read_are_faults() {
    let folder = tempfile::tempdir().unwrap();
    // As the globs and readers of docs/export.md find them.
    let cases: [(Layout, Option<u32>, &[&str]); 9] = [
        (Layout::Hf, None, &["data-00003-of-00004.arrow"]),
        (Layout::Olmo, None, &["label_mask/more.npy", "tokens/more.csv.gz", "tokens/more.npy"]),
        (Layout::Megatron, None, &["more.bin", "more.idx"]),
        (Layout::MegatronLabels, None, &["more.bin"]),
        (Layout::Neox, None, &["more.idx"]),
        (Layout::Datatrove, None, &["deep/er.ds", "more.ds", "more.ds.index", "more.ds.loss"]),
        (Layout::Torchtune, None, &["more.parquet"]),
        (Layout::Bridge, Some(6), &["more.idx.parquet"]),
        (Layout::Levanter, Some(6), &["more.parquet"]),
    ];
    for (layout, length, extra) in cases {
        export_to(layout, length, folder.path()).unwrap();
        let output = folder.path().join(layout.name());
        for passed in ["README.md", ".hidden.parquet", ".cache/more.npy"] {
            touch(&output.join(passed));
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(".", output.join("loop")).unwrap();
        assert_eq!(verify_file_set(&output).unwrap().1, []);
        extra.iter().for_each(|name| touch(&output.join(name)));
        let (_, problems) = verify_file_set(&output).unwrap();
        let found: Vec<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
        assert_eq!(found, extra, "{}", layout.name());
        assert!(problems.iter().all(|problem| problem.description == "not in the manifest"));
    }
}

#[test]
fn a_packed_sequence_has_a_longest_length() {
    let folder = tempfile::tempdir().unwrap();
    for layout in [Layout::Bridge, Layout::Levanter] {
        for length in [MAX_SEQUENCE_LENGTH + 1, u32::MAX] {
            let error = export_to(layout, Some(length), folder.path()).unwrap_err();
            let says = format!("{length} is more than the 16777216 tokens");
            assert!(error.contains(&says), "{error}");
            assert!(!folder.path().join(layout.name()).exists());
        }
    }
}

#[test]
fn a_long_id_is_cut_in_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    write_named(&shards, OutputFormat::ArrowStream, |row| format!("{row}{}", "é".repeat(1_000_000)));
    let (_, problems) = verify(&shards, &mut |_, _| Some("bad".into())).unwrap();
    assert_eq!(problems.len(), DOCUMENTS as usize);
    let expected = format!("row 0 (0{}… (1000001 characters)): bad", "é".repeat(99));
    assert_eq!(problems[0].description, expected);
}
