//! Every operation on the disk, or in a store, fails once while a run writes passages of protected works.
//!
//! Run with `cargo test -p goldfish-shard --features failpoints`; with the feature `object-stores` as well, the same
//! happens in a store.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;
#[allow(dead_code, reason = "other tests need more of it")]
mod runs;

use std::path::{Path, PathBuf};

use goldfish_shard::failpoints::{Then, arm, disarm};
use goldfish_shard::{MANIFEST_NAME, OutputFormat, OutputMode, PROTECTED_NAME, verify};

use runs::{files, run};

const FORMAT: OutputFormat = OutputFormat::Parquet;

/// That of an earlier set in the same folder.
const OLD_FORMAT: OutputFormat = OutputFormat::ArrowStream;

fn make_folder(path: &Path) {
    if !goldfish_storage::is_remote(path) {
        std::fs::create_dir(path).unwrap();
    }
}

/// Runs with operation 0, 1, 2 ... failing until none fails any more, and resumes each run.
fn fail_everywhere(then: Then, over_old: bool, root: &Path) {
    let mode = if over_old { OutputMode::Overwrite } else { OutputMode::New };
    let whole = root.join(format!("whole-{then:?}-{over_old}"));
    run(&whole, OutputMode::New, FORMAT).unwrap();
    let expected = files(&whole);
    assert!(expected.contains_key(PROTECTED_NAME));
    let old = root.join(format!("old-{then:?}-{over_old}"));
    run(&old, OutputMode::New, OLD_FORMAT).unwrap();
    let old = files(&old);
    for number in 0.. {
        let output = root.join(format!("out-{then:?}-{over_old}-{number}"));
        if over_old {
            make_folder(&output);
            old.iter().for_each(|(name, bytes)| goldfish_storage::write(&output.join(name), bytes).unwrap());
        }
        arm(number, then);
        let outcome = run(&output, mode, FORMAT);
        let Some(failed) = disarm() else {
            outcome.unwrap();
            assert_eq!(files(&output), expected);
            assert_eq!(verify(&output, &mut |_, _| None).unwrap().1, []);
            assert!(number > 30, "only {number} operations");
            println!("{then:?}, over an old set: {over_old}, {}: {number} operations", root.display());
            return;
        };
        let now = files(&output);
        let complete = now == expected || (over_old && now == old);
        assert!(complete || !now.contains_key(MANIFEST_NAME), "{failed} {number}: a mixture is visible");
        run(&output, OutputMode::Resume, FORMAT).unwrap();
        if over_old && files(&output) == old {
            // Nothing of the new run was kept.
            run(&output, OutputMode::Overwrite, FORMAT).unwrap();
        }
        assert_eq!(files(&output), expected, "{failed} {number}");
        assert!(!goldfish_storage::exists(&output.join(".partial")), "{failed} {number}");
    }
}

// One test, because the failing operation is chosen for the whole process.
#[test]
fn no_failing_operation_loses_or_repeats_a_passage() {
    let folder = tempfile::tempdir().unwrap();
    let store = PathBuf::from(format!("memory://passages{}", folder.path().display()));
    // What an error leaves of an old set, and an end of a new one, other tests of folders see.
    for (then, over_old) in [(Then::Recovers, false), (Then::Ends, true)] {
        fail_everywhere(then, over_old, folder.path());
        if cfg!(feature = "object-stores") {
            fail_everywhere(then, over_old, &store);
        }
    }
}
