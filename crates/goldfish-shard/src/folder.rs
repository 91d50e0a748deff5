//! Output folders of shards: opened for a run, and published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use goldfish_digest::FileDigest;
use goldfish_storage::{Folder, Kind, is_remote};

use goldfish_remedy::{Remedy, Setting};

use crate::error::{other_output, replace_set, start_again};
use crate::journal::{Journal, Record, Unfinished};
use crate::lock::{Lock, left_by};
use crate::manifest::{
    FORMAT_VERSION, MANIFEST_NAME, Manifest, REJECTS_NAME, RejectsEntry, ShardEntry, read_known,
};
use crate::names::{INPUTS_NAME, STAGING_NAME, StagedName, is_ours, is_shard_name, is_staged};
use crate::placing::Placing;
use crate::protected::PROTECTED_NAME;
use crate::schema::OutputFormat;
use crate::staging::{OLD_NAME, PreparedFolder, open_staging};
use crate::table::TableEntry;
use crate::{ShardError, disk, hf};

/// Ends the name of the object in the staging folder that says that all files have their final names.
const PLACED_ENDING: &str = ".placed";

/// What to do with what an earlier run left in the output folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// Refuse to touch it.
    New,
    /// Replace it when the new shards are complete.
    Overwrite,
    /// Resume after its last finished shard.
    Resume,
}

/// What an output folder has for a run.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing; the run starts at the beginning.
    Fresh(PreparedFolder),
    /// The beginning of a run.
    Unfinished(PreparedFolder, Box<Unfinished>),
    /// The whole of a run.
    Finished(Box<Manifest>),
}

impl Prepared {
    /// The folder, unless there is nothing to do in it.
    #[must_use]
    pub fn folder(self) -> Option<PreparedFolder> {
        match self {
            Self::Fresh(folder) | Self::Unfinished(folder, _) => Some(folder),
            Self::Finished(_) => None,
        }
    }
}

/// Makes the output folder, or checks that an existing one may be written to, and locks it.
///
/// An empty folder may. A folder of shards may with [`OutputMode::Overwrite`], and its files stay until the new ones
/// are complete. An unfinished run is resumed with [`OutputMode::Resume`] and discarded with [`OutputMode::Overwrite`]; one whose files
/// were on their way to their final names is completed first. A run that finished nothing is discarded.
/// Any other folder is never touched.
///
/// # Errors
///
/// If the folder is in use, or can't be made.
pub fn prepare_folder(path: &Path, mode: OutputMode) -> Result<Prepared, ShardError> {
    if is_remote(path) {
        return prepare_store(path, mode);
    }
    let created = !path.exists();
    let unmake = |_: &ShardError| {
        // Best effort: what is not empty stays.
        if created {
            let _ = fs::remove_dir(path);
        }
    };
    disk::create_folder_all(path).inspect_err(unmake)?;
    let root = disk::open_folder(path).inspect_err(unmake)?;
    let Some(staging) = open_staging(&root, STAGING_NAME, is_staged)? else {
        let old = old_manifest(path)?;
        if let (Some(old), OutputMode::Resume) = (&old, mode) {
            return Ok(Prepared::Finished(Box::new(old.clone())));
        }
        check_occupied(&root, mode, old.as_ref())?;
        let taken = disk::create_folder(&root, STAGING_NAME)
            .and_then(|staging| {
                disk::sync_folder(&root)?;
                Lock::of_folder(path, &staging).map(|lock| (staging, lock))
            })
            .inspect_err(|_| drop(root.remove_subfolder(STAGING_NAME)))
            .inspect_err(unmake);
        let (staging, lock) = taken?;
        let path = path.to_owned();
        return Ok(Prepared::Fresh(PreparedFolder { path, root, staging, created, is_placing: false, lock }));
    };
    // A run in progress holds the lock; one that was interrupted doesn't.
    let lock = Lock::of_folder(path, &staging)?;
    let mut folder =
        PreparedFolder { path: path.to_owned(), root, staging, created, is_placing: false, lock };
    let unfinished = match Journal::read(&folder) {
        // It can't be used, but may be discarded.
        Err(ShardError::BadJournal { .. }) if mode == OutputMode::Overwrite => None,
        unfinished => unfinished?,
    };
    match (unfinished, mode) {
        (Some(unfinished), OutputMode::Resume) => {
            folder.is_placing = unfinished.placing.is_some();
            return Ok(Prepared::Unfinished(folder, Box::new(unfinished)));
        }
        (Some(_), OutputMode::New) => {
            return Err(ShardError::occupied(&folder.path, "holds an unfinished run", resume_or_replace()));
        }
        (Some(Unfinished { placing: Some(placing), .. }), OutputMode::Overwrite) => {
            placing.settle(&folder.root, &folder.staging, &listed)?;
        }
        _ => {}
    }
    let old = old_manifest(path)?;
    // Nothing of a new run was kept.
    if let (Some(old), OutputMode::Resume) = (&old, mode) {
        folder.dissolve()?;
        return Ok(Prepared::Finished(Box::new(old.clone())));
    }
    check_occupied(&folder.root, mode, old.as_ref())?;
    folder.clear(|_| false)?;
    Ok(Prepared::Fresh(folder))
}

/// [`prepare_folder`] in a store.
fn prepare_store(path: &Path, mode: OutputMode) -> Result<Prepared, ShardError> {
    let root = disk::open_folder(path)?;
    let staging = disk::create_folder(&root, STAGING_NAME)?;
    let is_left = goldfish_storage::metadata(staging.path());
    let is_left = match is_left {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        found => found.map(|_| true).map_err(ShardError::io(staging.path(), "looking at the file"))?,
    };
    let old = old_manifest(path)?;
    if let (Some(old), OutputMode::Resume, false) = (&old, mode, is_left) {
        return Ok(Prepared::Finished(Box::new(old.clone())));
    }
    check_store_occupied(&root, mode, old.as_ref())?;
    let lock = Lock::of_store(path, staging.path(), !is_left)?;
    let path = path.to_owned();
    let mut folder = PreparedFolder { path, root, staging, created: false, is_placing: false, lock };
    if mode == OutputMode::Resume
        && let Some(unfinished) = Journal::read(&folder)?
    {
        // It is taken over when it is resumed: until then it may turn out to be another job's.
        return Ok(Prepared::Unfinished(folder, Box::new(unfinished)));
    }
    folder.lock.claim()?;
    let old = match old {
        None => {
            restore(&folder)?;
            old_manifest(&folder.path)?
        }
        old => old,
    };
    // Nothing of a new run was kept.
    if let (Some(old), OutputMode::Resume) = (old, mode) {
        folder.dissolve()?;
        return Ok(Prepared::Finished(Box::new(old)));
    }
    folder.clear(|_| false)?;
    Ok(Prepared::Fresh(folder))
}

/// The manifest of an earlier run of ours.
fn old_manifest(path: &Path) -> Result<Option<Manifest>, ShardError> {
    match Manifest::read(path) {
        // A store that gave no answer is no empty folder.
        Err(error @ ShardError::Io { .. }) if is_remote(path) => Err(error),
        read => Ok(read.ok().filter(|manifest| manifest.tool.name == "goldfish")),
    }
}

/// Whether what is in a folder on a disk allows a run to start there.
fn check_occupied(root: &Folder, mode: OutputMode, old: Option<&Manifest>) -> Result<(), ShardError> {
    let occupied = |reason: String, remedies| Err(ShardError::occupied(root.path(), reason, remedies));
    let mut entries = disk::names(root)?;
    entries.retain(|name| name != STAGING_NAME);
    let Some(first) = entries.first() else { return Ok(()) };
    let Some(old) = old else {
        return occupied(not_an_output(first), Vec::new());
    };
    if mode != OutputMode::Overwrite {
        return Err(holds_shards(root.path()));
    }
    let listed = files_of(old);
    for name in entries.iter().filter(|name| is_ours(name)) {
        let kind = root.kind(name).map_err(ShardError::io(&root.join(name), "looking at the file"))?;
        if kind != Some(Kind::File) || !listed.contains(name) {
            let reason =
                format!("holds {name:?}, which is not a file of the set in its manifest.json; move it away");
            return occupied(reason, vec![other_output()]);
        }
    }
    Ok(())
}

/// Whether what is in a folder of a store allows a run to start there.
fn check_store_occupied(root: &Folder, mode: OutputMode, old: Option<&Manifest>) -> Result<(), ShardError> {
    let entries = disk::names(root)?;
    let Some(first) = entries.first() else { return Ok(()) };
    let interrupted = entries.iter().any(|name| name == STAGING_NAME);
    let ours = interrupted && entries.iter().all(|name| name == STAGING_NAME || is_ours(name));
    let (reason, remedies) = match (old.is_some(), mode) {
        (_, OutputMode::Resume) if ours || (old.is_some() && interrupted) => return Ok(()),
        (true, OutputMode::Overwrite) => return Ok(()),
        (false, OutputMode::Overwrite) if ours => return Ok(()),
        (false, _) if !ours => (not_an_output(first), Vec::new()),
        _ if interrupted => {
            let reason = format!("holds an unfinished run{}", left_by(&root.join(STAGING_NAME)));
            (reason, resume_or_replace())
        }
        _ => return Err(holds_shards(root.path())),
    };
    Err(ShardError::occupied(root.path(), reason, remedies))
}

/// That a folder holds what goldfish did not write.
pub(crate) fn not_an_output(entry: &str) -> String {
    format!("holds {entry:?} and is not an output folder of goldfish; choose an empty or new folder")
}

/// That a folder holds a complete set.
pub(crate) fn holds_shards(path: &Path) -> ShardError {
    ShardError::occupied(path, "holds shards already", [other_output(), replace_set()])
}

/// What to do about an unfinished run.
fn resume_or_replace() -> Vec<Remedy> {
    let resume = Remedy::give(Setting::Resume).to("resume it after its last finished shard");
    vec![resume, start_again(), other_output()]
}

/// The names of the files of a complete set, as far as goldfish gives such names.
pub(crate) fn files_of(manifest: &Manifest) -> BTreeSet<String> {
    let shards = manifest.shards.iter().map(|shard| shard.name.as_str()).filter(|name| is_shard_name(name));
    let rejects = manifest.rejects.iter().map(|_| REJECTS_NAME);
    let maps = ["state.json", "dataset_info.json"].into_iter();
    let maps = maps.filter(|_| manifest.output.format == OutputFormat::ArrowStream);
    let inputs = manifest.input_table.iter().map(|_| INPUTS_NAME);
    let passages = manifest.protected.iter().filter_map(|protected| protected.table.as_ref());
    let passages = passages.map(|_| PROTECTED_NAME);
    shards
        .chain(rejects)
        .chain(passages)
        .chain(inputs)
        .chain(maps)
        .chain([MANIFEST_NAME])
        .map(str::to_owned)
        .collect()
}

/// The files that a manifest of shards lists, wherever it is now.
fn listed(find: &dyn Fn(&str) -> PathBuf) -> Result<BTreeMap<String, FileDigest>, ShardError> {
    let manifest: Manifest = read_known(&find(MANIFEST_NAME), FORMAT_VERSION)?;
    let mut files = BTreeMap::new();
    if manifest.output.format == OutputFormat::ArrowStream {
        files.insert("state.json".to_owned(), FileDigest::of(&hf::shard_state(&manifest)));
        files.insert("dataset_info.json".to_owned(), FileDigest::of(&hf::dataset_info()));
    }
    if let Some(RejectsEntry { size, hash, .. }) = manifest.rejects {
        files.insert(REJECTS_NAME.to_owned(), FileDigest { size, hash });
    }
    let passages = manifest.protected.and_then(|protected| protected.table);
    for TableEntry { name, size, hash, .. } in passages.into_iter().chain(manifest.input_table) {
        files.insert(name, FileDigest { size, hash });
    }
    let shards = manifest.shards.into_iter();
    files.extend(shards.map(|ShardEntry { name, size, hash, .. }| (name, FileDigest { size, hash })));
    Ok(files)
}

impl PreparedFolder {
    /// Gives the staged files their final names, in the order given, in place of those of an earlier run, all or none: an
    /// error leaves everything as it was, an interruption is completed by the next run.
    pub(crate) fn place(&mut self, journal: &mut Journal, files: &[StagedName]) -> Result<(), ShardError> {
        let old = old_manifest(&self.path)?;
        let mut replaced: Vec<String> = old.iter().flat_map(files_of).collect();
        replaced.sort_by_key(|name| name != MANIFEST_NAME);
        let placing = Placing::new(files.to_vec(), replaced);
        let before = journal.chain().clone();
        journal.append(self, &Record::Placing(placing.clone()))?;
        self.is_placing = true;
        let Err(error) = placing.carry_out(&self.root, &self.staging) else { return Ok(()) };
        let undone = placing.undo(&self.root, &self.staging).and_then(|()| journal.take_back(self, before));
        self.is_placing = undone.is_err();
        Err(error)
    }
}

/// Gives the staged files their final names, in the order given, in place of those of an earlier run, and removes the staging
/// folder. If that fails on the way, everything is as it was before. After an interruption it can be done again: what has its final
/// name already keeps it.
pub(crate) fn publish(
    folder: &mut PreparedFolder,
    journal: &mut Journal,
    files: &[StagedName],
) -> Result<(), ShardError> {
    if folder.is_remote() {
        return publish_copies(folder, files);
    }
    folder.place(journal, files)?;
    folder.dissolve()
}

/// [`publish`], for a run that was interrupted. On a disk the staging folder stays, for [`PreparedFolder::dissolve`].
pub(crate) fn complete(folder: &mut PreparedFolder, unfinished: &Unfinished) -> Result<(), ShardError> {
    if folder.is_remote() {
        return publish_copies(folder, &unfinished.names);
    }
    match &unfinished.placing {
        None => {
            let mut journal = Journal::resume(folder, unfinished)?;
            folder.place(&mut journal, &unfinished.names)?;
        }
        Some(placing) => placing.resume(&folder.root, &folder.staging, &listed)?,
    }
    Ok(())
}

fn files_are_gone(folder: &PreparedFolder) -> ShardError {
    let reason = "files of the unfinished run are gone".into();
    ShardError::BadJournal { path: folder.staging.path().to_owned(), reason }
}

/// [`publish`] in a store, which can't rename: the staged files are copied, several at once, and stay until the manifest
/// is in place. So it can be done again from the start, even while a run that lost the output is still at it.
fn publish_copies(folder: &PreparedFolder, files: &[StagedName]) -> Result<(), ShardError> {
    let staged = disk::names(&folder.staging)?;
    let (manifest, files): (Vec<_>, Vec<_>) = files.iter().partition(|(_, to)| to == MANIFEST_NAME);
    let all_staged = files.iter().chain(&manifest).all(|(from, _)| staged.contains(from));
    let put = |(from, to): &&StagedName| {
        folder.lock.check()?;
        disk::copy(&folder.staging.join(from), &folder.path.join(to))
    };
    // Checked after the listing: what another run put in place is no longer here.
    folder.lock.check()?;
    let (true, [manifest]) = (all_staged, &manifest[..]) else { return Err(files_are_gone(folder)) };
    // An interrupted run had come so far already; its set may be read by now, and stays. The staged name is of that run
    // alone.
    let placed = manifest.0.clone() + PLACED_ENDING;
    if staged.contains(&placed) {
        return folder.dissolve();
    }
    let replaces = disk::exists(&folder.root, MANIFEST_NAME)?;
    if replaces {
        set_aside(folder)?;
        folder.lock.check()?;
    }
    let removed = if replaces { disk::remove(&folder.root, MANIFEST_NAME) } else { Ok(()) };
    let published = removed
        .and_then(|()| disk::for_each(true, &files, put))
        .and_then(|()| remove_ours(folder, |name| files.iter().any(|(_, to)| to == name)))
        .and_then(|()| put(manifest));
    if let Err(error) = published {
        // Best effort, as above. What another run took over is not this one's to undo.
        if folder.lock.check().is_ok() {
            let _ = restore(folder);
        }
        return Err(error);
    }
    // Best effort: without it a run that is interrupted here puts the same set in place once more.
    let _ = disk::write(&folder.staging.join(&placed), b"");
    folder.dissolve()
}

/// Copies a complete set of an earlier run to where [`restore`] finds it; its manifest comes last.
fn set_aside(folder: &PreparedFolder) -> Result<(), ShardError> {
    let aside = folder.staging.join(OLD_NAME);
    disk::remove_all(&aside)?;
    let mut old = disk::names(&folder.root)?;
    old.retain(|name| is_ours(name) && name != MANIFEST_NAME);
    let copy = |name: &str| disk::copy(&folder.path.join(name), &aside.join(name));
    disk::for_each(true, &old, |name| copy(name))?;
    copy(MANIFEST_NAME)
}

/// Brings back what [`set_aside`] copied, and removes what else got a final name, unless a complete set is there.
fn restore(folder: &PreparedFolder) -> Result<(), ShardError> {
    if disk::exists(&folder.root, MANIFEST_NAME)? {
        return Ok(());
    }
    let aside = folder.staging.join(OLD_NAME);
    let mut old = names_below(&aside)?;
    let complete = old.iter().any(|name| name == MANIFEST_NAME);
    old.retain(|name| complete && name != MANIFEST_NAME);
    remove_ours(folder, |name| old.iter().any(|old| old == name))?;
    let copy = |name: &str| disk::copy(&aside.join(name), &folder.path.join(name));
    disk::for_each(true, &old, |name| copy(name))?;
    if complete { copy(MANIFEST_NAME) } else { Ok(()) }
}

/// Removes the files of ours at final names but those to keep.
fn remove_ours(folder: &PreparedFolder, keep: impl Fn(&str) -> bool) -> Result<(), ShardError> {
    let mut ours = disk::names(&folder.root)?;
    ours.retain(|name| is_ours(name) && !keep(name));
    disk::for_each(true, &ours, |name| disk::remove(&folder.root, name))
}

/// The names below a prefix of a store.
fn names_below(prefix: &Path) -> Result<Vec<String>, ShardError> {
    disk::names(&disk::open_folder(prefix)?)
}
