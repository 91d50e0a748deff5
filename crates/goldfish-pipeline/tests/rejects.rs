//! The list of rejected rows depends on the corpus, not on where it is.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use goldfish_corpus::ReadOptions;
use goldfish_pipeline::{MaskJob, OnError, mask_corpus};
use goldfish_shard::{MANIFEST_NAME, OutputMode, REJECTS_NAME};

/// Masks a corpus of broken files that is made in this folder; gives manifest and rejects.
fn masked(corpus: &Path) -> (Vec<u8>, String) {
    fs::create_dir_all(corpus.join("sub")).unwrap();
    fs::write(corpus.join("good.jsonl"), "{\"input_ids\": [1, 2]}\n{\"input_ids\": [-1]}\n").unwrap();
    fs::write(corpus.join("sub/cut.parquet"), "PAR1").unwrap();
    fs::write(corpus.join("sub/odd.npy"), "odd").unwrap();
    for (data, index) in [("a.bin", "a.idx"), ("b.ds", "b.ds.index")] {
        fs::write(corpus.join("sub").join(data), [0; 8]).unwrap();
        fs::write(corpus.join("sub").join(index), [7; 8]).unwrap();
    }
    let output = tempfile::tempdir().unwrap();
    let output = output.path().join("out");
    let job = common::job(common::inputs(corpus), &output, OutputMode::New, 4);
    let read = ReadOptions { eos_id: Some(0), ..job.read };
    let job = MaskJob { read, on_error: OnError::Skip, ..job };
    mask_corpus(&job, &AtomicBool::new(false), &|_| ()).unwrap();
    let rejects = fs::read_to_string(output.join(REJECTS_NAME)).unwrap();
    (fs::read(output.join(MANIFEST_NAME)).unwrap(), rejects)
}

#[test]
fn rejects_name_inputs_as_the_manifest_does() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("deep/er/other"));
    let (here, there) = (masked(&one), masked(&other));
    assert_eq!(here, there);
    assert!(!here.1.contains(folder.path().to_str().unwrap()), "{}", here.1);
    assert_eq!(here.1.lines().count(), 5, "{}", here.1);
    for name in ["sub/cut.parquet: not", "sub/odd.npy: not", "sub/a.idx: not", "sub/b.ds.index: not"] {
        assert!(here.1.contains(name), "{name}: {}", here.1);
    }
}
