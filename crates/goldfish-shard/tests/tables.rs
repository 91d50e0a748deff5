//! Masks of more memmaps than a manifest lists: the lists are in tables beside it.
//!
//! With the feature `failpoints`, each operation on the disk fails once while such a set takes the place of another.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "other tests need more of it")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use goldfish_shard::{
    FILE_SET_NAME, FILE_SET_TABLES, FILE_SET_VERSION, FileSet, InputEntry, MAX_LISTED_INPUTS, Manifest,
    OutputFormat, OutputMode, Placement, ShardError, StagedFiles, WriterOptions, verify_file_set,
};

/// A set of one mask, which is said to be of so many memmaps.
fn write(root: &Path, inputs: usize, mode: OutputMode) -> Result<FileSet, ShardError> {
    let options = WriterOptions { format: OutputFormat::ArrowStream, shard_size: 1 };
    let manifest: Manifest = common::manifest(&options, 7, 0);
    let entry = |n: usize| InputEntry { name: format!("deep/{n}.ds"), ..manifest.inputs[0].clone() };
    let (files, _) = StagedFiles::open(root, Placement::Beside, mode)?;
    let written = (|| {
        let mut file = files.create("deep/0.ds.loss")?;
        file.put(format!("the mask of {inputs} memmaps").as_bytes())?;
        file.finish("masks")
    })();
    let file = match written {
        Ok(file) => file,
        Err(error) => {
            files.abandon();
            return Err(error);
        }
    };
    let set = FileSet {
        file_set_version: FILE_SET_VERSION,
        tool: manifest.tool.clone(),
        layout: "masks".into(),
        rule: manifest.rule.clone(),
        scope: manifest.scope,
        exempt_ids: Vec::new(),
        policy: Vec::new(),
        existing_mask: None,
        tokenizer: None,
        source: manifest.source.clone(),
        sequence_length: None,
        shards: None,
        beside_inputs: false,
        inputs: (0..inputs).map(entry).collect(),
        input_table: None,
        files: vec![file],
        file_table: None,
        totals: manifest.totals.clone(),
        longest_kept_run: None,
        checksum: String::new(),
    };
    files.publish(set).map_err(|(error, _)| error)
}

/// Every file of a folder and the one below it.
fn visible(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = [root.to_owned(), root.join("deep")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files
        .map(|path| (path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

const MANY: usize = MAX_LISTED_INPUTS + 1;

// One test, because the failing operation is chosen for the whole process.
#[test]
fn long_lists_of_masks_are_in_tables() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("masks");
    let set = write(&root, MANY, OutputMode::New).unwrap();
    let [inputs, files] = FILE_SET_TABLES;
    let names: Vec<String> = visible(&root).into_keys().collect();
    assert_eq!(names, ["deep/0.ds.loss", files, inputs, FILE_SET_NAME].map(str::to_owned));
    assert!(fs::read(root.join(FILE_SET_NAME)).unwrap().len() < 4096);
    let (found, problems) = verify_file_set(&root).unwrap();
    assert_eq!(problems, []);
    assert_eq!((found, set.inputs.len()), (set.clone(), MANY));
    assert_eq!(FileSet::read(&root).unwrap(), set);
    assert!(matches!(write(&root, MANY, OutputMode::New), Err(ShardError::Occupied { .. })));

    for table in FILE_SET_TABLES {
        let whole = fs::read(root.join(table)).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for bytes in [Some(flipped), None] {
            match bytes {
                Some(bytes) => fs::write(root.join(table), bytes).unwrap(),
                None => fs::remove_file(root.join(table)).unwrap(),
            }
            assert!(matches!(FileSet::read(&root), Err(ShardError::BadManifest { .. })));
            let problems = verify_file_set(&root).unwrap().1;
            assert!(problems.iter().any(|problem| problem.file == table), "{problems:?}");
        }
        fs::write(root.join(table), whole).unwrap();
    }

    // A shorter list needs no tables, and none of the earlier set stays.
    write(&root, MAX_LISTED_INPUTS, OutputMode::Overwrite).unwrap();
    let names: Vec<String> = visible(&root).into_keys().collect();
    assert_eq!(names, ["deep/0.ds.loss", FILE_SET_NAME].map(str::to_owned));
    assert_eq!(verify_file_set(&root).unwrap().1, []);
    assert!(!root.join(".goldfish-partial").exists());

    // A file of somebody else that has the name of a table is not replaced.
    fs::write(root.join(inputs), "mine").unwrap();
    assert!(matches!(write(&root, MANY, OutputMode::Overwrite), Err(ShardError::Occupied { .. })));
    assert_eq!(fs::read(root.join(inputs)).unwrap(), b"mine");

    #[cfg(feature = "failpoints")]
    fail_everywhere(folder.path());
}

/// Replaces a set with tables by another one, with operation 0, 1, 2 ... failing until none fails any more.
#[cfg(feature = "failpoints")]
fn fail_everywhere(folder: &Path) {
    use goldfish_shard::failpoints::{Then, arm, disarm};
    write(&folder.join("old"), MANY, OutputMode::New).unwrap();
    write(&folder.join("new"), MANY + 1, OutputMode::New).unwrap();
    let (old, new) = (visible(&folder.join("old")), visible(&folder.join("new")));
    for then in [Then::Recovers, Then::Ends] {
        for number in 0.. {
            let root = folder.join(format!("{then:?}-{number}"));
            fs::create_dir_all(root.join("deep")).unwrap();
            old.iter().for_each(|(name, bytes)| fs::write(root.join(name), bytes).unwrap());
            arm(number, then);
            let written = write(&root, MANY + 1, OutputMode::Overwrite);
            let Some(failed) = disarm() else {
                written.unwrap();
                assert_eq!(visible(&root), new);
                assert!(number > 15, "only {number} operations");
                break;
            };
            let now = visible(&root);
            let complete = now == old || now == new;
            assert!(complete || !now.contains_key(FILE_SET_NAME), "{failed} {number}: a mixture is visible");
            assert!(then == Then::Ends || complete, "{failed} {number}: not as it was");
            // What an interrupted run left is cleared away, and the old set is back.
            let (files, _) = StagedFiles::open(&root, Placement::Beside, OutputMode::Overwrite).unwrap();
            files.abandon();
            assert!(
                visible(&root) == old || visible(&root) == new,
                "{failed} {number}: {:?}",
                visible(&root).keys()
            );
            write(&root, MANY + 1, OutputMode::Overwrite).unwrap();
            assert_eq!(visible(&root), new, "{failed} {number}");
            assert_eq!(verify_file_set(&root).unwrap().1, []);
            assert!(!root.join(".goldfish-partial").exists());
        }
    }
}
