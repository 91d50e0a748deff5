use std::collections::HashSet;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use goldfish_digest::{FileDigest, HashingWriter};
use goldfish_remedy::{Remedy, Setting};
use goldfish_storage::{File, Folder, canonicalize, is_remote, metadata_of_all};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{other_output, start_again};
use crate::folder::{OutputMode, Prepared, complete, files_of, holds_shards, prepare_folder, publish};
use crate::journal::Journal;
use crate::manifest::{
    InputEntry, MANIFEST_NAME, Manifest, PartEntry, PolicyRule, REJECTS_NAME, RejectsEntry, ShardEntry,
    Totals, check_count,
};
use crate::names::{STAGING_NAME, StagedName, is_ours, is_shard_name, shard_name, staged_name};
use crate::passages::stage_joined;
use crate::protected::ProtectedEntry;
use crate::staging::PreparedFolder;
use crate::writer::stage_manifest;
use crate::{ShardError, disk};

/// One part of a divided run, in its folder.
struct PartFolder {
    path: PathBuf,
    manifest: Manifest,
    part: PartEntry,
}

/// Joins the parts of a divided run to one folder, as a run that was not divided would have written it, but that
/// shards end where parts end.
///
/// The parts may be given in any order. Shards get a second name where the file system allows it, and are copied
/// where not, by the store where they are in one; with `remove_parts` the parts are removed when the joined folder is complete. Shards are not read:
/// that is for [`verify`](crate::verify).
///
/// # Errors
///
/// If a part is missing, there twice, not finished or changed, if the parts were made with different options or from
/// different inputs, if rows are missing between them, or if the output folder is in use or the disk refuses. Then
/// all is as it was.
pub fn merge(
    folders: &[PathBuf],
    output: &Path,
    overwrite: bool,
    remove_parts: bool,
) -> Result<Manifest, ShardError> {
    let is_output = |folder: &PathBuf| canonicalize(folder).ok() == canonicalize(output).ok();
    if (is_remote(output) || output.exists()) && folders.iter().any(is_output) {
        return Err(ShardError::occupied(output, "is one of the parts", [other_output()]));
    }
    if let Some(manifest) = complete_interrupted(folders, output, remove_parts)? {
        return Ok(manifest);
    }
    let parts = read_parts(folders).map_err(|error| match error {
        ShardError::BadPart { path, .. } if !is_remote(&path) && !path.exists() && Manifest::read(output).is_ok() => {
            let reason = format!(
                "holds shards already, and {} is gone: an earlier merge may have joined and removed it; verify the output",
                path.display()
            );
            ShardError::occupied(output, reason, [other_output()])
        }
        error => error,
    })?;
    let (manifest, sources) = join(&parts)?;
    let job = MergeJob {
        merge: parts.iter().map(MergedPart::new).collect::<Result<_, _>>()?,
        remove: remove_parts,
    };
    let mut folder = take(output, overwrite)?;
    write(&mut folder, &parts, manifest, &sources, &job).inspect_err(|_| folder.abandon())
}

/// What the journal of a merge says of its parts, so that one that was interrupted while it removed them can be completed.
#[derive(Serialize, Deserialize)]
struct MergeJob {
    merge: Vec<MergedPart>,
    /// Whether the parts are removed in the end.
    remove: bool,
}

/// A part, and its files, the manifest first.
#[derive(Serialize, Deserialize)]
struct MergedPart {
    /// As it was given, ...
    path: PathBuf,
    /// ... and from the root.
    absolute: PathBuf,
    /// Checksum of its manifest.
    checksum: String,
    files: Vec<String>,
}

impl MergedPart {
    fn new(part: &PartFolder) -> Result<Self, ShardError> {
        let mut files: Vec<String> = files_of(&part.manifest).into_iter().collect();
        files.sort_by_key(|name| name != MANIFEST_NAME);
        let checksum = part.manifest.checksum.clone();
        Ok(Self { path: part.path.clone(), absolute: absolute(&part.path)?, checksum, files })
    }

    /// Removes the part's files from its folder, the manifest first, and the folder if that is all there was in it.
    fn remove(&self, path: &Path) -> Result<(), ShardError> {
        let folder = match Folder::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folder => folder.map_err(ShardError::io(path, "opening the folder"))?,
        };
        let (manifest, files) = self.files.split_at(1.min(self.files.len()));
        for files in [manifest, files] {
            disk::for_each(folder.is_remote(), files, |name| match disk::has_file(&folder, name)? {
                true if is_ours(name) => disk::remove(&folder, name),
                _ => Ok(()),
            })?;
        }
        match goldfish_storage::remove_folder(path) {
            // What else is in it is not ours to remove.
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) =>
            {
                Ok(())
            }
            removed => removed.map_err(ShardError::io(path, "removing the folder")),
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ShardError> {
    goldfish_storage::absolute(path).map_err(ShardError::io(path, "resolving the path"))
}

/// Completes a merge of the same parts that was interrupted while files got their final names or parts were removed.
///
/// The journal may be a stranger's, and other parts may have taken the names of those that were merged. So a part that has a
/// manifest must be the one that was merged, and with `remove` nothing is removed that the joined folder does not hold.
fn complete_interrupted(
    folders: &[PathBuf],
    output: &Path,
    remove: bool,
) -> Result<Option<Manifest>, ShardError> {
    if is_remote(output) || !output.join(STAGING_NAME).exists() {
        return Ok(None);
    }
    let Prepared::Unfinished(mut folder, unfinished) = prepare_folder(output, OutputMode::Resume)? else {
        return Ok(None);
    };
    let Ok(mut job) = serde_json::from_value::<MergeJob>(unfinished.job.clone()) else { return Ok(None) };
    let mut given = Vec::new();
    for path in folders {
        let absolute = absolute(path)?;
        let part = job.merge.iter().position(|part| part.path == *path || part.absolute == absolute);
        let Some(part) = part else { return Ok(None) };
        // Nothing is removed but from the folders that were given now.
        given.push(MergedPart { path: path.clone(), ..job.merge.swap_remove(part) });
    }
    // Parts that were removed before the interruption can't be given again.
    if !job.merge.iter().all(|part| job.remove && !part.path.exists() && !part.absolute.exists()) {
        return Ok(None);
    }
    for part in &given {
        match Manifest::read(&part.path) {
            Ok(manifest) if manifest.checksum != part.checksum || !manifest.is_sealed() => return Ok(None),
            Ok(_) => {}
            // Its manifest is what goes first.
            Err(ShardError::NoManifest { .. }) if job.remove => {}
            Err(_) => return Ok(None),
        }
    }
    complete(&mut folder, &unfinished)?;
    let manifest = Manifest::read(output)?;
    let job = MergeJob { merge: given, remove: job.remove && remove };
    if job.remove {
        check_joined(&folder, &manifest, &job)?;
    }
    finish(&folder, &job)?;
    Ok(Some(manifest))
}

/// Whether the joined folder holds every shard that is about to be removed with the parts.
fn check_joined(folder: &PreparedFolder, manifest: &Manifest, job: &MergeJob) -> Result<(), ShardError> {
    let mut joined = HashSet::new();
    for shard in &manifest.shards {
        joined.insert(disk::digest(&folder.root, &shard.name)?.hash);
    }
    for part in job.merge.iter().filter(|part| part.path.exists()) {
        let parts = disk::open_folder(&part.path)?;
        for name in part.files.iter().filter(|name| is_shard_name(name)) {
            if disk::has_file(&parts, name)? && !joined.contains(&disk::digest(&parts, name)?.hash) {
                let reason = format!(
                    "{name} is not in {}, which an interrupted merge of this part was to complete",
                    folder.path().display()
                );
                let remedies = [other_output(), Remedy::omit(Setting::Move)];
                return Err(ShardError::part(&part.path, reason, remedies));
            }
        }
    }
    Ok(())
}

/// The last steps of a merge on a disk, whose files have their final names.
fn finish(folder: &PreparedFolder, job: &MergeJob) -> Result<(), ShardError> {
    if job.remove {
        job.merge.iter().try_for_each(|part| part.remove(&part.path))?;
    }
    folder.dissolve()
}

/// The output folder; what an interrupted merge left there is cleared away.
fn take(output: &Path, overwrite: bool) -> Result<PreparedFolder, ShardError> {
    match prepare_folder(output, if overwrite { OutputMode::Overwrite } else { OutputMode::Resume })? {
        Prepared::Fresh(folder) => Ok(folder),
        Prepared::Unfinished(..) => {
            let remedies = [other_output(), start_again()];
            Err(ShardError::occupied(output, "holds an unfinished run", remedies))
        }
        Prepared::Finished(_) => Err(holds_shards(output)),
    }
}

/// Reads the manifests, and checks that every part is there once, in the order of their ranks.
fn read_parts(folders: &[PathBuf]) -> Result<Vec<PartFolder>, ShardError> {
    let mut parts = Vec::with_capacity(folders.len());
    for path in folders {
        let bad = |reason: &str, remedies| ShardError::part(path, reason, remedies);
        let manifest = Manifest::read(path).map_err(|error| match error {
            ShardError::NoManifest { .. } => {
                bad("this part is not finished", vec![Remedy::give(Setting::Resume).to("finish its run")])
            }
            error => error,
        })?;
        if !manifest.is_sealed() {
            let reason = "its manifest.json was edited: its checksum is not that of its contents";
            return Err(bad(reason, Vec::new()));
        }
        let part = manifest.part.clone();
        let divide = || vec![Remedy::give(Setting::Rank).and(Setting::World).to("make parts")];
        let part = part.ok_or_else(|| bad("not a part of a divided run", divide()))?;
        parts.push(PartFolder { path: path.clone(), manifest, part });
    }
    parts.sort_by_key(|part| part.part.rank);
    let Some(first) = parts.first() else {
        return Err(ShardError::part(Path::new(""), "no folder was given", []));
    };
    for pair in parts.windows(2) {
        if pair[0].part.rank == pair[1].part.rank {
            let reason =
                format!("rank {} is there already, in {}", pair[1].part.rank, pair[0].path.display());
            return Err(ShardError::part(&pair[1].path, reason, []));
        }
    }
    let world = first.part.world;
    for part in &parts {
        let bad = |reason: String| Err(ShardError::part(&part.path, reason, []));
        if part.part.world != world {
            return bad(format!(
                "one of {} parts, but {} is one of {world}",
                part.part.world,
                first.path.display()
            ));
        }
        if part.part.plan != first.part.plan {
            return bad(format!(
                "made from other inputs than {}: names, order or sizes differ",
                first.path.display()
            ));
        }
        let differences = differing_options(&first.manifest, &part.manifest);
        if !differences.is_empty() {
            return bad(format!("made otherwise than {}: {differences} differ", first.path.display()));
        }
    }
    let missing: Vec<String> = (0..world)
        .filter(|rank| parts.binary_search_by_key(rank, |part| part.part.rank).is_err())
        .map(|rank| rank.to_string())
        .collect();
    if !missing.is_empty() {
        let reason = format!("of {world} parts these ranks are missing: {}", missing.join(", "));
        return Err(ShardError::part(&first.path, reason, []));
    }
    Ok(parts)
}

/// Names what differs between two parts that should have been made alike.
fn differing_options(a: &Manifest, b: &Manifest) -> String {
    let policy = |manifest: &Manifest| manifest.policy.iter().map(PolicyRule::uncounted).collect::<Vec<_>>();
    let protected = |manifest: &Manifest| manifest.protected.as_ref().map(ProtectedEntry::uncounted);
    let differences = [
        ("the versions of goldfish", a.tool != b.tool),
        ("the rules", a.rule != b.rule),
        ("the policies", policy(a) != policy(b)),
        ("the protected works or their rules", protected(a) != protected(b)),
        ("the scopes", a.scope != b.scope),
        ("the exempt ids", a.exempt_ids != b.exempt_ids),
        ("the existing masks", a.existing_mask != b.existing_mask),
        ("the tokenizers", a.tokenizer != b.tokenizer),
        ("the columns that were read", a.source != b.source),
        ("the columns or formats that were written", a.output != b.output),
    ];
    let names: Vec<&str> =
        differences.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The joined manifest, with the place of each of its shards: its part and its name there.
fn join(parts: &[PartFolder]) -> Result<(Manifest, Vec<(usize, String)>), ShardError> {
    let mut inputs = JoinedInputs::default();
    let (mut totals, mut rows) = (Totals::default(), 0);
    let mut longest_kept_run = parts.first().and_then(|part| part.manifest.longest_kept_run.clone());
    let mut policy = parts.first().map(|part| part.manifest.policy.clone()).unwrap_or_default();
    let mut protected =
        parts.first().and_then(|part| part.manifest.protected.as_ref()).map(ProtectedEntry::uncounted);
    let mut shards: Vec<(usize, &ShardEntry)> = Vec::new();
    for (index, PartFolder { path, manifest, .. }) in parts.iter().enumerate() {
        for entry in manifest.read_inputs(path)? {
            inputs.add(entry?).map_err(|reason| ShardError::part(path, reason, []))?;
        }
        // The first part joins itself, which changes nothing.
        longest_kept_run = longest_kept_run.zip(manifest.longest_kept_run.clone()).map(|(mut all, run)| {
            all.join(run, totals.documents_out);
            all
        });
        if index > 0 {
            for (entry, later) in policy.iter_mut().zip(&manifest.policy) {
                entry.counts.join(later.counts.clone(), totals.documents_out);
            }
        }
        if let (Some(all), Some(part)) = (&mut protected, &manifest.protected) {
            all.counts.add(part.counts);
        }
        totals.add(&manifest.totals);
        rows += manifest.rejects.as_ref().map_or(0, |rejects| rejects.rows);
        shards.extend(manifest.shards.iter().map(|shard| (index, shard)));
    }
    // A part without documents has a shard for its columns only.
    let documents: Vec<_> = shards.iter().copied().filter(|(_, shard)| shard.documents > 0).collect();
    let shards = if documents.is_empty() { shards.into_iter().take(1).collect() } else { documents };
    check_count(&parts[0].path, shards.len())?;
    let counted = shards.iter().map(|(_, shard)| shard.documents).sum::<u64>();
    let mut inputs = inputs.entries;
    let read = inputs.iter().map(|input| input.documents).sum::<u64>();
    if [counted, read] != [totals.documents_out; 2] || rows != totals.documents_rejected {
        let reason = format!("{read} documents were read, but {counted} are in the shards of all parts");
        return Err(ShardError::part(&parts[0].path, reason, []));
    }
    let extension = parts[0].manifest.output.format.extension();
    let names = (0..shards.len()).map(|shard| shard_name(shard, shards.len(), extension));
    let renamed = shards.iter().zip(names).map(|((_, shard), name)| ShardEntry { name, ..(*shard).clone() });
    let mut manifest = parts[0].manifest.clone();
    manifest.part = None;
    inputs.iter_mut().for_each(|input| input.rows = None);
    (manifest.inputs, manifest.input_table) = (inputs, None);
    manifest.shards = renamed.collect();
    manifest.totals = totals;
    manifest.policy = policy;
    manifest.protected = protected;
    manifest.longest_kept_run = longest_kept_run;
    Ok((manifest, shards.into_iter().map(|(part, shard)| (part, shard.name.clone())).collect()))
}

/// The inputs of the parts so far.
#[derive(Default)]
struct JoinedInputs {
    entries: Vec<InputEntry>,
    names: HashSet<String>,
}

impl JoinedInputs {
    /// Adds what the next part read of an input.
    fn add(&mut self, entry: InputEntry) -> Result<(), String> {
        let (start, end) = entry.rows.ok_or("its manifest doesn't say which rows it holds")?;
        let name = &entry.name;
        if let Some(last) = self.entries.last_mut().filter(|last| last.name == *name) {
            if (last.size, &last.hash, &last.companions) != (entry.size, &entry.hash, &entry.companions) {
                return Err(format!(
                    "{name} is not the file that the parts before read: size or hash differ"
                ));
            }
            let before = last.rows.map_or(0, |rows| rows.1);
            // After a break the number of rows is unknown.
            if before != start && !last.broken {
                return Err(format!(
                    "it starts at row {start} of {name}, but the parts before end at row {before}"
                ));
            }
            last.rows = Some((0, end));
            last.documents += entry.documents;
            last.rejected += entry.rejected;
            last.broken |= entry.broken;
            return Ok(());
        }
        if start != 0 && !entry.broken {
            return Err(format!("it starts at row {start} of {name}, but no part holds the rows before"));
        }
        if !self.names.insert(name.clone()) {
            return Err(format!("{name} is there twice"));
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// Brings everything to its place.
fn write(
    folder: &mut PreparedFolder,
    parts: &[PartFolder],
    mut manifest: Manifest,
    sources: &[(usize, String)],
    job: &MergeJob,
) -> Result<Manifest, ShardError> {
    let from: Vec<PathBuf> = sources.iter().map(|(part, source)| parts[*part].path.join(source)).collect();
    let found = metadata_of_all(&from.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    for ((path, found), shard) in from.iter().zip(found).zip(&manifest.shards) {
        let size = found.map_err(ShardError::io(path, "looking at the file"))?.size;
        if size != shard.size {
            let reason = format!("has {size} bytes, but {} were written; verify this part", shard.size);
            return Err(ShardError::part(path, reason, []));
        }
    }
    let staged = (0..from.len()).map(|index| folder.staged(&staged_name(index)));
    let mut names: Vec<StagedName> =
        staged.zip(manifest.shards.iter().map(|shard| shard.name.clone())).collect();
    let roots: Vec<Folder> =
        parts.iter().map(|part| disk::open_folder(&part.path)).collect::<Result<_, _>>()?;
    let pairs: Vec<_> = sources.iter().zip(&names).collect();
    disk::for_each(folder.is_remote(), &pairs, |((part, source), (staged, _))| {
        disk::link_or_copy(&roots[*part], source, &folder.staging, staged)
    })?;
    if let Some((rejects, name)) = join_rejects(folder, parts)? {
        manifest.rejects = Some(rejects);
        names.push(name);
    }
    if let Some(protected) = &mut manifest.protected {
        let parts = parts.iter().map(|part| (part.path.as_path(), &part.manifest));
        let (table, name) = stage_joined(folder, parts)?;
        protected.table = Some(table);
        names.push(name);
    }
    let manifest = stage_manifest(folder, manifest, &mut names)?;
    let mut journal = Journal::new(folder, to_raw_value(job).unwrap_or_else(|_| RawValue::NULL.to_owned()));
    if folder.is_remote() {
        publish(folder, &mut journal, &names)?;
        if job.remove {
            job.merge.iter().try_for_each(|part| part.remove(&part.path))?;
        }
    } else {
        folder.place(&mut journal, &names)?;
        finish(folder, job)?;
    }
    Ok(manifest)
}

/// Concatenates the lists of rejected rows.
fn join_rejects(
    folder: &PreparedFolder,
    parts: &[PartFolder],
) -> Result<Option<(RejectsEntry, StagedName)>, ShardError> {
    if parts.iter().all(|part| part.manifest.rejects.is_none()) {
        return Ok(None);
    }
    let name = folder.staged(REJECTS_NAME);
    let staged = folder.staging.join(&name);
    let mut joined = HashingWriter::new(BufWriter::new(disk::create(&folder.staging, &name)?));
    let mut rows = 0;
    for part in parts {
        let Some(rejects) = &part.manifest.rejects else { continue };
        let path = part.path.join(REJECTS_NAME);
        let (mut file, metadata) = File::open_regular(&path).map_err(ShardError::io(&path, "opening"))?;
        let size_differs = |found: u64| {
            let reason = format!("has {found} bytes, but {} were written; verify this part", rejects.size);
            Err(ShardError::part(&path, reason, []))
        };
        if metadata.size != rejects.size {
            return size_differs(metadata.size);
        }
        let copied = io::copy(&mut file, &mut joined).map_err(ShardError::io(&path, "copying"))?;
        if copied != rejects.size {
            return size_differs(copied);
        }
        rows += rejects.rows;
    }
    let (FileDigest { size, hash }, joined) = joined.finish();
    let mut file = joined.into_inner().map_err(|e| ShardError::io(&staged, "writing")(e.into_error()))?;
    disk::sync(&mut file, &staged)?;
    Ok(Some((RejectsEntry { rows, size, hash }, (name, REJECTS_NAME.to_owned()))))
}
