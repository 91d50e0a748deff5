use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int32Type, UInt8Type};
use goldfish_digest::{FileDigest, HashingReader};
use goldfish_storage::{File, Metadata, is_remote};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kept::{KeptCounter, KeptRun, short_id};
use crate::manifest::{MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, PolicyCounts, REJECTS_NAME, ShardEntry};
use crate::names::{INPUTS_NAME, shard_name};
use crate::passages::read_passages;
use crate::protected::PROTECTED_NAME;
use crate::reader::{ShardBatch, ShardReader};
use crate::schema::{ExtraColumn, IGNORED_LABEL, OutputFormat};
use crate::{ShardError, hf};

/// Something in a folder that is not as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// File in the folder.
    pub file: String,
    /// What is wrong.
    #[serde(rename = "fault")]
    pub description: String,
}

/// Looks at each row of a batch; the text says what is wrong with the row, if anything.
pub type RowCheck<'a> = dyn FnMut(&ShardBatch, usize) -> Option<String> + 'a;

/// Compares a folder with its manifest: checksums, columns, counts and the set of files.
///
/// `check_row` sees every row of every shard whose checksum is right, in order; pass `&mut |_, _| None` if
/// there is nothing more to ask.
///
/// # Errors
///
/// If the manifest can't be read, or the system refuses to read a file that is there. What is merely wrong
/// is a [`Problem`].
pub fn verify(folder: &Path, check_row: &mut RowCheck<'_>) -> Result<(Manifest, Vec<Problem>), ShardError> {
    let manifest = Manifest::read(folder)?;
    let mut problems = Problems(Vec::new());
    let mut counted = Counted { kept: KeptCounter::new(None), fractional: 0 };
    check_manifest(folder, &manifest, &mut problems)?;
    std::thread::scope(|scope| {
        let digests = hash_ahead(scope, folder, &manifest.shards)?;
        for (shard, digest) in manifest.shards.iter().zip(digests) {
            check_shard(folder, &manifest, (shard, digest?), check_row, (&mut counted, &mut problems))?;
        }
        Ok(())
    })?;
    check_counted(&manifest, &counted, &mut problems);
    check_small_files(folder, &manifest, &mut problems)?;
    Ok((manifest, problems.0))
}

/// What is counted over all shards.
struct Counted {
    kept: KeptCounter,
    /// Tokens whose loss weight is neither 0 nor 1.
    fractional: u64,
}

/// Compares what was counted with the manifest, if all documents were seen.
fn check_counted(manifest: &Manifest, counted: &Counted, problems: &mut Problems) {
    let kept = &counted.kept;
    if kept.documents() == manifest.totals.documents_out {
        let what = "tokens whose loss weight is neither 0 nor 1";
        problems.check_equal(MANIFEST_NAME, what, manifest.totals.fractional, counted.fractional);
    }
    let Some(stated) = &manifest.longest_kept_run else { return };
    let found = &kept.runs().tokens;
    if kept.documents() == manifest.totals.documents_out && *found != stated.tokens {
        let run = |run: &KeptRun| {
            format!(
                "{} tokens from token {} of document {} ({})",
                run.tokens, run.position, run.document, run.doc_id
            )
        };
        let problem = format!("longest kept run: {}, but {} expected", run(found), run(&stated.tokens));
        problems.add(MANIFEST_NAME, problem);
    }
}

/// Rows with problems that are listed, for each shard.
const LISTED_ROWS: u64 = 20;

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, file: &str, problem: impl Into<String>) {
        self.0.push(Problem { file: file.to_owned(), description: problem.into() });
    }

    /// Adds why a table can't be used; that the system refused to read it remains an error.
    fn add_table(&mut self, file: &str, error: ShardError) -> Result<(), ShardError> {
        match error {
            error @ ShardError::Io { .. } => return Err(error),
            ShardError::BadManifest { reason, .. } => self.add(file, reason),
            error => self.add(file, error.to_string()),
        }
        Ok(())
    }

    fn check_equal(&mut self, file: &str, what: &str, expected: u64, found: u64) {
        if expected != found {
            self.add(file, format!("{what}: {found}, but {expected} expected"));
        }
    }
}

fn check_manifest(folder: &Path, manifest: &Manifest, problems: &mut Problems) -> Result<(), ShardError> {
    let path = folder.join(MANIFEST_NAME);
    let bytes =
        goldfish_storage::read(&path, MAX_MANIFEST_BYTES).map_err(ShardError::io(&path, "reading"))?;
    // Beside a right checksum, layout and order of the file must be ours too.
    if !manifest.is_sealed() || bytes != manifest.clone().seal().1 {
        problems.add(MANIFEST_NAME, "edited: its checksum is not that of its contents");
    }
    let (shards, format) = (&manifest.shards, manifest.output.format);
    let misnamed = shards
        .iter()
        .enumerate()
        .find(|(index, shard)| shard.name != shard_name(*index, shards.len(), format.extension()));
    if let Some((index, shard)) = misnamed {
        problems
            .add(MANIFEST_NAME, format!("{:?} is listed as shard {index} of {}", shard.name, shards.len()));
    }
    let totals = &manifest.totals;
    // An edited manifest may hold any numbers.
    let sum = |of: fn(&ShardEntry) -> u64| manifest.shards.iter().map(of).fold(0, u64::saturating_add);
    let name = MANIFEST_NAME;
    problems.check_equal(
        name,
        "documents in",
        totals.documents_out.saturating_add(totals.documents_rejected),
        totals.documents_in,
    );
    problems.check_equal(
        name,
        "documents out, over shards",
        totals.documents_out,
        sum(|shard| shard.documents),
    );
    problems.check_equal(name, "tokens over shards", totals.tokens, sum(|shard| shard.tokens));
    problems.check_equal(name, "dropped tokens over shards", totals.dropped, sum(|shard| shard.dropped));
    if totals.excluded_before > totals.dropped || totals.dropped > totals.tokens {
        problems.add(name, "more tokens are excluded than there are");
    }
    if !manifest.policy.is_empty() {
        let sum = |of: fn(&PolicyCounts) -> u64| {
            manifest.policy.iter().map(|entry| of(&entry.counts)).fold(0, u64::saturating_add)
        };
        let mut check = |what: &str, expected, found| {
            problems.check_equal(name, &format!("{what}, over the entries of the policy"), expected, found);
        };
        check("documents", totals.documents_out, sum(|counts| counts.documents));
        check("tokens", totals.tokens, sum(|counts| counts.tokens));
        check("dropped tokens", totals.dropped, sum(|counts| counts.dropped));
        check("tokens excluded before", totals.excluded_before, sum(|counts| counts.excluded_before));
    }
    check_inputs(folder, manifest, problems)?;
    check_passages(folder, manifest, problems)
}

/// Compares the sums over the inputs with the totals; a table of inputs that is not as it was written is a problem.
fn check_inputs(folder: &Path, manifest: &Manifest, problems: &mut Problems) -> Result<(), ShardError> {
    let sums = || {
        let (mut taken, mut rejected) = (0u64, 0u64);
        for input in manifest.read_inputs(folder)? {
            let input = input?;
            (taken, rejected) =
                (taken.saturating_add(input.documents), rejected.saturating_add(input.rejected));
        }
        Ok((taken, rejected))
    };
    match sums() {
        Ok((taken, rejected)) => {
            let (name, totals) = (MANIFEST_NAME, &manifest.totals);
            problems.check_equal(name, "documents out, over inputs", totals.documents_out, taken);
            problems.check_equal(
                name,
                "documents rejected, over inputs",
                totals.documents_rejected,
                rejected,
            );
        }
        Err(error) => problems.add_table(INPUTS_NAME, error)?,
    }
    if manifest.input_table.is_some() {
        if !manifest.inputs.is_empty() {
            problems.add(MANIFEST_NAME, "lists inputs beside those in its table");
        }
    } else if goldfish_storage::exists(&folder.join(INPUTS_NAME)) {
        problems.add(INPUTS_NAME, NOT_LISTED);
    }
    Ok(())
}

/// Reads the table of protected passages; one that is not as it was written is a problem.
fn check_passages(folder: &Path, manifest: &Manifest, problems: &mut Problems) -> Result<(), ShardError> {
    let Some(protected) = &manifest.protected else { return Ok(()) };
    let Some(table) = &protected.table else {
        problems.add(MANIFEST_NAME, "names no table of protected passages");
        return Ok(());
    };
    problems.check_equal(MANIFEST_NAME, "protected passages", protected.counts.passages, table.rows);
    if protected.only {
        problems.check_equal(
            MANIFEST_NAME,
            "tokens, where works were only looked for",
            manifest.totals.tokens,
            0,
        );
    }
    let read = || match read_passages(folder, manifest)? {
        Some(mut rows) => rows.try_for_each(|row| row.map(drop)),
        None => Ok(()),
    };
    read().or_else(|error| problems.add_table(PROTECTED_NAME, error))
}

/// The digest of a file, if it is there. One that has another size than expected is not read: its hash is empty.
fn digest(folder: &Path, name: &str, expected: u64) -> Result<Option<FileDigest>, ShardError> {
    let path = folder.join(name);
    match goldfish_storage::metadata(&path) {
        // A store that gave no answer doesn't say that nothing is there.
        Err(error) if error.kind() != io::ErrorKind::NotFound && is_remote(&path) => {
            return Err(ShardError::io(&path, "opening")(error));
        }
        Ok(found) if found.is_file() && found.size != expected => {
            return Ok(Some(FileDigest { size: found.size, hash: String::new() }));
        }
        found if !found.as_ref().is_ok_and(Metadata::is_file) => return Ok(None),
        _ => {}
    }
    let file = File::open(&path).map_err(ShardError::io(&path, "opening"))?;
    let (digest, _) = HashingReader::new(file).finish().map_err(ShardError::io(&path, "reading"))?;
    Ok(Some(digest))
}

/// Compares a small file with what was written.
fn check_small_file(
    folder: &Path,
    name: &str,
    expected: &FileDigest,
    problems: &mut Problems,
) -> Result<(), ShardError> {
    match digest(folder, name, expected.size)? {
        None => problems.add(name, "missing"),
        Some(digest) if digest != *expected => problems.add(name, "not as it was written"),
        Some(_) => {}
    }
    Ok(())
}

/// Hashes shards from a thread of its own, one ahead of what the caller takes.
fn hash_ahead<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    folder: &'env Path,
    shards: &'scope [ShardEntry],
) -> Result<Receiver<Result<Option<FileDigest>, ShardError>>, ShardError> {
    let (sender, digests) = sync_channel(0);
    let hash = move || {
        let digests = shards.iter().map(|shard| digest(folder, &shard.name, shard.size));
        // A caller that hung up has an error of its own.
        digests.map(|digest| sender.send(digest)).take_while(Result::is_ok).for_each(drop);
    };
    let thread = std::thread::Builder::new().name("goldfish-hash".into()).spawn_scoped(scope, hash);
    thread.map_err(ShardError::io(folder, "starting a thread to hash shards of"))?;
    Ok(digests)
}

fn check_shard(
    folder: &Path,
    manifest: &Manifest,
    (shard, digest): (&ShardEntry, Option<FileDigest>),
    check_row: &mut RowCheck<'_>,
    (counted, problems): (&mut Counted, &mut Problems),
) -> Result<(), ShardError> {
    let Some(digest) = digest else {
        problems.add(&shard.name, "missing");
        return Ok(());
    };
    if digest.size != shard.size {
        problems.add(&shard.name, format!("{} bytes, but {} expected", digest.size, shard.size));
        return Ok(());
    }
    if digest != (FileDigest { size: shard.size, hash: shard.hash.clone() }) {
        problems.add(&shard.name, format!("hash {}, but {} expected", digest.hash, shard.hash));
        return Ok(());
    }
    // The bytes are those that were written; what is wrong from here on was written wrong.
    if let Err(problem) = check_contents(folder, manifest, shard, check_row, (counted, problems)) {
        problems.add(&shard.name, problem.to_string());
    }
    Ok(())
}

fn check_contents(
    folder: &Path,
    manifest: &Manifest,
    shard: &ShardEntry,
    check_row: &mut RowCheck<'_>,
    (counted, problems): (&mut Counted, &mut Problems),
) -> Result<(), ShardError> {
    let reader = ShardReader::open(&folder.join(&shard.name), manifest.output.format)?;
    let expected = manifest.columns();
    let found: Vec<&str> = reader.schema().fields().iter().map(|field| field.name().as_str()).collect();
    if found != expected {
        problems.add(&shard.name, format!("columns {found:?}, but {expected:?} expected"));
        return Ok(());
    }
    let (mut documents, mut tokens, mut dropped, mut bad_rows) = (0u64, 0u64, 0u64, 0u64);
    for batch in reader {
        let batch = batch?;
        if let Some(problem) = check_columns(batch.record_batch(), &manifest.output.columns) {
            problems
                .add(&shard.name, format!("{problem}, in the {} rows after row {documents}", batch.len()));
            return Ok(());
        }
        for row in 0..batch.len() {
            let mask = batch.mask(row);
            let unnamed = batch.rule(manifest, row).err();
            tokens += mask.len() as u64;
            dropped += mask.iter().map(|&keep| u64::from(keep == 0)).sum::<u64>();
            counted.kept.add(batch.doc_ids().value(row), mask);
            let weights = batch.weights(row).into_iter().flatten();
            counted.fractional += weights.filter(|&&weight| weight != 0.0 && weight != 1.0).count() as u64;
            let negative = batch.negative_id(row).map(|position| {
                format!("the id {} at position {position} is negative", batch.ids(row)[position])
            });
            if let Some(problem) = check_row(&batch, row).or(negative).or(unnamed) {
                bad_rows += 1;
                if bad_rows > LISTED_ROWS {
                    continue;
                }
                let id = short_id(batch.doc_ids().value(row));
                problems.add(&shard.name, format!("row {} ({id}): {problem}", documents + row as u64));
            }
        }
        documents += batch.len() as u64;
    }
    if bad_rows > LISTED_ROWS {
        problems.add(&shard.name, format!("{} more rows with problems", bad_rows - LISTED_ROWS));
    }
    problems.check_equal(&shard.name, "documents", shard.documents, documents);
    problems.check_equal(&shard.name, "tokens", shard.tokens, tokens);
    problems.check_equal(&shard.name, "dropped tokens", shard.dropped, dropped);
    Ok(())
}

/// What is wrong with the fixed and requested columns of a batch, which all readers rely on.
pub(crate) fn check_columns(batch: &RecordBatch, extra: &[ExtraColumn]) -> Option<String> {
    let fixed = 3 + extra.len();
    for column in &batch.columns()[..fixed] {
        let nulls =
            column.null_count() + column.as_list_opt::<i32>().map_or(0, |list| list.values().null_count());
        if nulls > 0 {
            return Some(format!("{nulls} nulls where there may be none"));
        }
    }
    let (ids, masks) = (batch.column(1).as_list::<i32>(), batch.column(2).as_list::<i32>());
    if masks.value_offsets() != ids.value_offsets() {
        return Some("loss_mask and input_ids differ in length".into());
    }
    let mask = masks.values().as_primitive::<UInt8Type>().values();
    if mask.iter().any(|&keep| keep > 1) {
        return Some("a loss_mask that is neither 0 nor 1".into());
    }
    for (column, array) in extra.iter().zip(&batch.columns()[3..fixed]) {
        let Some(list) = array.as_list_opt::<i32>() else {
            return Some(format!("column {:?} is {}, not a list", column.name(), array.data_type()));
        };
        let same_shape = list.value_offsets() == ids.value_offsets();
        let right = same_shape
            && match column {
                ExtraColumn::Labels => list.values().as_primitive_opt::<Int32Type>().is_some_and(|labels| {
                    let ids = ids.values().as_primitive::<Int32Type>().values();
                    let expected =
                        ids.iter().zip(mask).map(|(&id, &keep)| if keep == 1 { id } else { IGNORED_LABEL });
                    labels.values().iter().copied().eq(expected)
                }),
                ExtraColumn::AttentionMask => list
                    .values()
                    .as_primitive_opt::<UInt8Type>()
                    .is_some_and(|values| values.values().iter().all(|&value| value == 1)),
                ExtraColumn::AssistantMasks => list
                    .values()
                    .as_primitive_opt::<UInt8Type>()
                    .is_some_and(|values| values.values() == mask),
                ExtraColumn::LossWeights => {
                    list.values().as_primitive_opt::<Float32Type>().is_some_and(|weights| {
                        let fits = |(weight, keep): (&f32, &u8)| match keep {
                            0 => *weight == 0.0,
                            _ => weight.is_finite() && *weight > 0.0,
                        };
                        weights.values().iter().zip(mask).all(fits)
                    })
                }
            };
        if !right {
            return Some(format!("column {:?} doesn't fit input_ids and loss_mask", column.name()));
        }
    }
    None
}

fn check_small_files(folder: &Path, manifest: &Manifest, problems: &mut Problems) -> Result<(), ShardError> {
    if manifest.output.format == OutputFormat::ArrowStream {
        let expected = [("state.json", hf::shard_state(manifest)), ("dataset_info.json", hf::dataset_info())];
        for (name, bytes) in expected {
            check_small_file(folder, name, &FileDigest::of(&bytes), problems)?;
        }
    }
    match &manifest.rejects {
        Some(rejects) => {
            let expected = FileDigest { size: rejects.size, hash: rejects.hash.clone() };
            check_small_file(folder, REJECTS_NAME, &expected, problems)?;
            problems.check_equal(
                MANIFEST_NAME,
                "rejected rows",
                manifest.totals.documents_rejected,
                rejects.rows,
            );
        }
        None => {
            problems.check_equal(MANIFEST_NAME, "rejected rows", manifest.totals.documents_rejected, 0);
            if goldfish_storage::exists(&folder.join(REJECTS_NAME)) {
                problems.add(REJECTS_NAME, NOT_LISTED);
            }
        }
    }
    let mut known: BTreeSet<&str> = manifest.shards.iter().map(|shard| shard.name.as_str()).collect();
    if known.len() != manifest.shards.len() {
        problems.add(MANIFEST_NAME, "names a shard twice");
    }
    // It ends like a shard.
    known.extend(manifest.protected.iter().map(|_| PROTECTED_NAME));
    for name in unlisted(folder, &SHARD_ENDINGS, false, &known)? {
        problems.add(&name, NOT_LISTED);
    }
    Ok(())
}

/// What is wrong with a file that the manifest does not list.
pub const NOT_LISTED: &str = "not in the manifest";

/// How names of shards end.
const SHARD_ENDINGS: [&str; 2] = [".arrow", ".parquet"];

/// The names of files that a glob over the files of a manifest would take for some of them, by their endings, and which are not among
/// those. `deep` looks into folders of the folder too, but through no links. Globs pass over hidden files.
pub(crate) fn unlisted(
    folder: &Path,
    endings: &[&str],
    deep: bool,
    known: &BTreeSet<&str>,
) -> Result<Vec<String>, ShardError> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, String)> = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in
            goldfish_storage::entries(&folder).map_err(ShardError::io(&folder, "listing the folder"))?
        {
            let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            if name[prefix.len()..].starts_with('.') || known.contains(name.as_str()) {
                continue;
            }
            if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(name);
            } else if deep && entry.is_folder() && !entry.path.is_symlink() {
                folders.push((entry.path, format!("{name}/")));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
