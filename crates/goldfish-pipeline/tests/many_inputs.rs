//! More inputs than a manifest lists: they are in a table beside it, and the journal has their digest.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::{inputs, job, visible};
use goldfish_corpus::{Input, resolve};
use goldfish_pipeline::{MaskJob, Outcome, Partition, PipelineError, mask_corpus};
use goldfish_shard::{
    INPUTS_NAME, InputEntry, MANIFEST_NAME, MAX_LISTED_INPUTS, Manifest, OutputFormat, OutputMode,
    ShardError, WriterOptions, merge, verify,
};

const MANY: usize = MAX_LISTED_INPUTS + 4;

/// Files with a document each, one with as many bytes as all of them, and an empty one.
fn make_corpus(folder: &Path) -> Vec<Input> {
    let line = |i: usize| format!("{{\"input_ids\": [{i}, 7, {}]}}\n", "8, ".repeat(i % 50) + "9");
    for i in 0..MANY {
        let path = folder.join(format!("{}/{i:05}.jsonl", i % 3));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, line(i)).unwrap();
    }
    fs::write(folder.join("y.jsonl"), (0..MANY + 50).map(line).collect::<String>()).unwrap();
    fs::write(folder.join("z.jsonl"), "").unwrap();
    inputs(folder)
}

fn run(
    inputs: &[Input],
    output: &Path,
    mode: OutputMode,
    partition: Option<Partition>,
) -> Result<Outcome, PipelineError> {
    let writer = WriterOptions { format: OutputFormat::Parquet, shard_size: 300 << 10 };
    let job = MaskJob { writer, partition, ..job(inputs.to_vec(), output, mode, 4) };
    mask_corpus(&job, &AtomicBool::new(false), &|_| ())
}

fn entries(folder: &Path) -> Vec<InputEntry> {
    Manifest::read(folder).unwrap().read_inputs(folder).unwrap().collect::<Result<_, _>>().unwrap()
}

fn problems(folder: &Path) -> Vec<String> {
    let problems = verify(folder, &mut |_, _| None).unwrap().1;
    problems.into_iter().map(|problem| format!("{}: {}", problem.file, problem.description)).collect()
}

/// What a job says to an output of another.
fn refusal(inputs: &[Input], output: &Path) -> String {
    match run(inputs, output, OutputMode::Resume, None) {
        Err(PipelineError::OtherJob { differences, .. }) => differences,
        other => panic!("{other:?}"),
    }
}

// One test, since a run over so many files takes its time.
#[test]
fn many_inputs_are_in_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let corpus = make_corpus(&at("corpus"));
    let whole = at("whole");
    let outcome = run(&corpus, &whole, OutputMode::New, None).unwrap();

    // The manifest is small and right, and the table has all inputs in order.
    let manifest = Manifest::read(&whole).unwrap();
    assert_eq!(manifest, outcome.manifest);
    assert_eq!((manifest.inputs.len(), manifest.input_count()), (0, MANY as u64 + 2));
    assert!(fs::read(whole.join(MANIFEST_NAME)).unwrap().len() < 8192);
    let found = entries(&whole);
    assert!(found.iter().map(|entry| &*entry.name).eq(corpus.iter().map(|input| &*input.name)));
    assert_eq!(found.iter().map(|entry| entry.documents).sum::<u64>(), 2 * MANY as u64 + 50);
    assert_eq!(problems(&whole), [""; 0]);

    // It is no corpus, where the shards are one.
    let resolved = resolve(&[whole.to_str().unwrap().to_owned()], None).unwrap();
    assert_eq!(resolved.written, [whole.join(INPUTS_NAME)]);
    assert_eq!(resolved.inputs.len(), manifest.shards.len());

    finished_runs_are_compared(&corpus, &whole, &found);
    interrupted_runs_resume(&corpus, folder.path());
    parts_are_merged(&corpus, folder.path());
    changed_tables_are_found(&corpus, &whole);
}

fn finished_runs_are_compared(corpus: &[Input], whole: &Path, found: &[InputEntry]) {
    let before = visible(whole);
    run(corpus, whole, OutputMode::Resume, None).unwrap();
    assert_eq!(
        refusal(&corpus[1..], whole),
        format!(
            "inputs: {} entries then, {} now; inputs.0: \"0/00000.jsonl\" (jsonl, {} bytes) then, \
             \"0/00003.jsonl\" (jsonl, {} bytes) now",
            MANY + 2,
            MANY + 1,
            found[0].size,
            found[1].size
        )
    );
    let few = refusal(&corpus[..MAX_LISTED_INPUTS], whole);
    assert_eq!(few, format!("inputs: {} entries then, {MAX_LISTED_INPUTS} now", MANY + 2));
    assert!(visible(whole) == before);
}

fn interrupted_runs_resume(corpus: &[Input], folder: &Path) {
    // A missing input stops the run when it is opened.
    let last = folder.join("corpus/z.jsonl");
    fs::remove_file(&last).unwrap();
    let output = folder.join("stopped");
    let stopped = run(corpus, &output, OutputMode::New, None);
    assert!(matches!(stopped, Err(PipelineError::Unfinished { .. })), "{stopped:?}");
    let journal = fs::read(output.join(".partial/journal")).unwrap();
    assert!(journal.iter().position(|&byte| byte == b'\n').unwrap() < 4096);
    fs::write(&last, "").unwrap();

    let mut other = corpus.to_vec();
    other.swap(0, 1);
    assert!(refusal(&other, &output).starts_with("inputs.0: \"0/00000.jsonl\""));
    // The last ones were not read, so that it is unknown which of them differs.
    let mut other = corpus.to_vec();
    other.swap(MANY, MANY + 1);
    let differences = refusal(&other, &output);
    assert!(
        differences.starts_with("inputs: names, formats or sizes differ after the first "),
        "{differences}"
    );
    let first = fs::read(&*corpus[0].path).unwrap();
    fs::write(&*corpus[0].path, first.to_ascii_uppercase()).unwrap();
    assert!(matches!(
        run(corpus, &output, OutputMode::Resume, None),
        Err(PipelineError::InputChanged { .. })
    ));
    fs::write(&*corpus[0].path, first).unwrap();

    run(corpus, &output, OutputMode::Resume, None).unwrap();
    assert!(visible(&output) == visible(&folder.join("whole")));
}

fn parts_are_merged(corpus: &[Input], folder: &Path) {
    // All small files are in the first part, which has a table, and the second one starts within the large one.
    let parts = [0, 1].map(|rank| folder.join(format!("part-{rank}")));
    for (rank, part) in (0..).zip(&parts) {
        run(corpus, part, OutputMode::New, Some(Partition { rank, world: 2 })).unwrap();
        assert_eq!(problems(part), [""; 0]);
    }
    let counts = parts.each_ref().map(|part| Manifest::read(part).unwrap().input_count());
    assert_eq!(counts, [MANY as u64 + 1, 2]);
    let merged = merge(&parts, &folder.join("merged"), false, false).unwrap();
    assert_eq!(merged.input_count(), MANY as u64 + 2);
    assert_eq!(problems(&folder.join("merged")), [""; 0]);
    let table = |name: &str| fs::read(folder.join(name).join(INPUTS_NAME)).unwrap();
    assert!(table("merged") == table("whole"));
    let mut bytes = table("part-0");
    bytes[9] ^= 1;
    fs::write(parts[0].join(INPUTS_NAME), bytes).unwrap();
    let refused = merge(&parts, &folder.join("broken"), false, false);
    assert!(matches!(refused, Err(ShardError::BadManifest { .. })));
}

fn changed_tables_are_found(corpus: &[Input], whole: &Path) {
    let table = whole.join(INPUTS_NAME);
    let bytes = fs::read(&table).unwrap();
    fs::write(&table, &bytes[..bytes.len() - 1]).unwrap();
    assert!(problems(whole).iter().any(|problem| problem.starts_with("inputs.pq: not as it was written")));
    fs::remove_file(&table).unwrap();
    assert!(problems(whole).iter().any(|problem| problem.starts_with("inputs.pq: missing")));
    let refused = run(corpus, whole, OutputMode::Resume, None);
    assert!(matches!(refused, Err(PipelineError::Shard(ShardError::BadManifest { .. }))));

    // A few inputs in place of the others: the table goes, and another one is too much.
    fs::write(&table, &bytes).unwrap();
    run(&corpus[..9], whole, OutputMode::Overwrite, None).unwrap();
    let manifest = Manifest::read(whole).unwrap();
    assert_eq!((manifest.inputs.len(), manifest.input_table), (9, None));
    assert!(!table.exists());
    assert_eq!(problems(whole), [""; 0]);
    fs::write(&table, &bytes).unwrap();
    assert_eq!(problems(whole), ["inputs.pq: not in the manifest"]);
}
