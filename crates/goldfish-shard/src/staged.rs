//! Files that get their final names together, when all of them are complete.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use goldfish_digest::{FileDigest, HashingWriter};
use goldfish_storage::is_remote;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::file_set::{FILE_SET_NAME, FILE_SET_TABLES, FileSet, HOLDS_A_LIST, SetFile, is_inside};
use crate::flush::FlushedFile;
use crate::folder::{Moves, OLD_NAME, Start};
use crate::journal::{Chain, JOURNAL_NAME, append, open_behind, parse};
use crate::lock::{LOCK_NAME, lock};
use crate::manifest::check_size;
use crate::{ShardError, disk};

/// Hidden folder inside the output where everything is written first.
const STAGING_NAME: &str = ".goldfish-partial";

/// Where files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// A folder of their own, which is empty, new, or holds what goldfish wrote.
    OwnFolder,
    /// Among files of others, none of which is touched.
    Beside,
}

/// Files in the making, on a disk. None appears at its final name before [`StagedFiles::publish`].
#[derive(Debug)]
pub struct StagedFiles {
    root: PathBuf,
    staging: PathBuf,
    /// Whether the folder was not there before.
    created: bool,
    /// Names of files there that an earlier run of goldfish wrote, and that may be replaced.
    ours: BTreeSet<String>,
    journal: Option<(File, Chain)>,
    _lock: File,
}

/// What a run finds in the folder that it takes hold of.
pub enum Left {
    /// Nothing to go on with.
    Nothing,
    /// The files that an interrupted run finished.
    Unfinished(UnfinishedFiles),
    /// The whole of a run.
    Finished(Box<FileSet>),
}

/// What an interrupted run finished, as its journal tells.
pub struct UnfinishedFiles {
    /// What the caller wrote about its job.
    pub job: Value,
    /// What the caller wrote with each record, in order.
    pub states: Vec<Box<RawValue>>,
    /// The finished files, which are staged.
    pub files: Vec<SetFile>,
}

/// A line of the journal behind the first.
#[derive(Serialize, Deserialize)]
struct FinishedFiles {
    files: Vec<SetFile>,
    state: Box<RawValue>,
}

/// One file in the making.
pub struct StagedFile {
    name: String,
    path: PathBuf,
    sink: BufWriter<HashingWriter<FlushedFile>>,
}

impl StagedFiles {
    /// Takes hold of a folder. With [`Start::Overwrite`], files of an earlier run there may be replaced; they stay until
    /// the new ones are complete. With [`Start::Resume`] what an interrupted run recorded is kept.
    ///
    /// # Errors
    ///
    /// If it can't be made, is in use, lies in an object store, or holds something that may not be replaced.
    pub fn open(root: &Path, placement: Placement, start: Start) -> Result<(Self, Left), ShardError> {
        let occupied = |reason: String| ShardError::Occupied { path: root.to_owned(), reason };
        if is_remote(root) {
            let reason =
                "these files are written to a disk only: give an --output on a disk, and copy it from there";
            return Err(occupied(reason.into()));
        }
        let created = !root.exists();
        disk::create_folder_all(root).inspect_err(|_| {
            if created {
                let _ = fs::remove_dir(root);
            }
        })?;
        let staging = root.join(STAGING_NAME);
        let held = if staging.is_dir() { Some(lock(root, &staging)?) } else { None };
        if held.is_some() && start == Start::New {
            let resume = match staging.join(JOURNAL_NAME).exists() {
                true => "--resume to go on behind its last finished mask, ",
                false => "",
            };
            return Err(occupied(format!(
                "holds an unfinished run; give {resume}--overwrite to start again, or choose another --output"
            )));
        }
        let is_set = FileSet::is_in(root);
        if is_set && start == Start::New {
            let reason = "holds files of goldfish already; choose another --output, or give --overwrite to replace them";
            return Err(occupied(reason.into()));
        }
        if placement == Placement::OwnFolder && is_set && FileSet::read(root)?.beside_inputs {
            return Err(occupied("holds memmaps with their masks; choose another --output".into()));
        }
        if placement == Placement::OwnFolder && !is_set && held.is_none() {
            let entries = fs::read_dir(root).map_err(ShardError::io(root, "listing the folder"))?;
            if let Some(entry) = entries.flatten().next() {
                return Err(occupied(format!(
                    "holds {:?} and is no output folder of goldfish; choose an empty or new folder",
                    entry.file_name().to_string_lossy()
                )));
            }
        }
        let held = match held {
            Some(held) => held,
            None => {
                let made = disk::create_folder(&staging).and_then(|()| lock(root, &staging));
                made.inspect_err(|_| {
                    // Best effort: what is not empty stays.
                    let _ = fs::remove_dir(&staging);
                    if created {
                        let _ = fs::remove_dir(root);
                    }
                })?
            }
        };
        if start == Start::Resume && FileSet::is_in(&staging) {
            unplace(root, &staging, placement)?;
        }
        if FileSet::is_in(&staging) {
            take_back(root, &staging, placement)?;
        }
        bring_back(root, &staging)?;
        let mut ours = BTreeSet::new();
        if FileSet::is_in(root) {
            ours.extend(FileSet::read(root)?.files.into_iter().map(|file| file.name));
        }
        if placement == Placement::Beside {
            ours.retain(|name| names_a_mask(name));
        }
        let mut files = Self { root: root.to_owned(), staging, created, ours, journal: None, _lock: held };
        let left = match start {
            Start::Resume => files.go_on()?,
            Start::New | Start::Overwrite => Left::Nothing,
        };
        if let Left::Nothing | Left::Finished(_) = left {
            files.clear()?;
        }
        Ok((files, left))
    }

    /// Empties the staging folder but for the lock.
    fn clear(&self) -> Result<(), ShardError> {
        let entries =
            fs::read_dir(&self.staging).map_err(ShardError::io(&self.staging, "listing the folder"))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| !path.ends_with(LOCK_NAME));
        // Without the journal the other files are of no run.
        paths.sort_by_key(|path| !path.ends_with(JOURNAL_NAME));
        paths.iter().try_for_each(|path| disk::remove(path))
    }

    /// Looks what the journal of an interrupted run tells, and goes on with it.
    fn go_on(&mut self) -> Result<Left, ShardError> {
        let path = self.staging.join(JOURNAL_NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(ShardError::io(&path, "reading"))?,
        };
        let journal = parse::<FinishedFiles>(&path, &bytes)?.filter(|(_, records, _)| !records.is_empty());
        let mut finished = FileSet::is_in(&self.root).then(|| FileSet::read(&self.root));
        let Some((job, records, chain)) = journal else {
            return Ok(finished.transpose()?.map_or(Left::Nothing, |set| Left::Finished(Box::new(set))));
        };
        let (mut states, mut files) = (Vec::new(), Vec::new());
        for record in records {
            states.push(record.state);
            files.extend(record.files);
        }
        for SetFile { name, size, .. } in &files {
            let is_there = |path: PathBuf| fs::metadata(path).is_ok_and(|found| found.len() == *size);
            if is_inside(name) && is_there(self.staging.join(name)) {
                continue;
            }
            // A run that ended right behind its last step left nothing to do.
            if let Some(set) = finished.take() {
                return Ok(Left::Finished(Box::new(set?)));
            }
            let reason = format!(
                "the finished file {name:?} of the unfinished run is gone or has another size; start again with --overwrite"
            );
            return Err(ShardError::BadJournal { path, reason });
        }
        self.journal = Some((open_behind(&path, chain.length)?, chain));
        Ok(Left::Unfinished(UnfinishedFiles { job, states, files }))
    }

    /// Notes in the journal, down to the disk, that files are finished: a run with [`Start::Resume`] gets them and the states
    /// that stand with them. `job` is for the first record.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn record(
        &mut self,
        job: &RawValue,
        files: &[SetFile],
        state: Box<RawValue>,
    ) -> Result<(), ShardError> {
        let path = self.staging.join(JOURNAL_NAME);
        let folders: BTreeSet<PathBuf> = files
            .iter()
            .filter_map(|file| Some(self.staging.join(&file.name).parent()?.to_owned()))
            .collect();
        folders.iter().try_for_each(|folder| disk::sync_folder(folder))?;
        let record = FinishedFiles { files: files.to_vec(), state };
        if let Some((file, chain)) = &mut self.journal {
            return append(file, &path, &chain.line(String::new(), &record));
        }
        let (mut file, mut chain) = (disk::create_file(&path)?, Chain::default());
        let head = chain.head(job);
        append(&mut file, &path, &chain.line(head, &record))?;
        // Its own name has to last too.
        disk::sync_folder(&self.staging)?;
        self.journal = Some((file, chain));
        Ok(())
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names of files of an earlier run, which the new ones replace: those that don't come again are removed.
    #[must_use]
    pub fn earlier(&self) -> &BTreeSet<String> {
        &self.ours
    }

    /// Checks that a file may get this name.
    ///
    /// # Errors
    ///
    /// If another program's file has it.
    pub fn check(&self, name: &str) -> Result<(), ShardError> {
        let path = self.root.join(name);
        if self.ours.contains(name) || fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        let reason = "is there already and is not listed in this folder's goldfish.json; move it away, or choose \
                      another --output";
        Err(ShardError::Occupied { path, reason: reason.into() })
    }

    /// Starts a file; `name` is its path below the folder, with `/`.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the disk refuses.
    pub fn create(&self, name: &str) -> Result<StagedFile, ShardError> {
        self.check(name)?;
        debug_assert!(is_inside(name), "{name}");
        let path = self.staging.join(name);
        make_parent(&path)?;
        let sink =
            BufWriter::with_capacity(1 << 18, HashingWriter::new(FlushedFile::new(disk::create(&path)?)));
        Ok(StagedFile { name: name.to_owned(), path, sink })
    }

    /// A file for intermediate results, which goes with the staging folder.
    pub(crate) fn scratch(&self, name: &str) -> Result<(PathBuf, File), ShardError> {
        let path = self.staging.join(format!(".{name}"));
        let file = disk::create_file(&path)?;
        Ok((path, file))
    }

    /// Gives all files of the set their final names, the manifest last, and takes away those of an earlier run. If
    /// that fails on the way, all is as it was before.
    ///
    /// # Errors
    ///
    /// If the disk refuses; with it comes whether recorded files stay for another run.
    pub fn publish(self, set: FileSet) -> Result<FileSet, (ShardError, bool)> {
        let (set, bytes) = match self.seal(set) {
            Ok(sealed) => sealed,
            Err(error) => return Err((error, self.abandon())),
        };
        let aside = self.staging.join(OLD_NAME);
        let mut moves = Moves::default();
        let published = self
            .stage_manifest(&bytes)
            .and_then(|()| disk::create_folder(&aside))
            .and_then(|()| self.move_all(&set, &aside, &mut moves));
        if let Err(error) = published {
            // What could not be put back is left for the next run to bring back.
            let kept = if moves.undo() {
                let _ = disk::remove(&self.staging.join(FILE_SET_NAME));
                self.abandon()
            } else {
                self.journal.is_some()
            };
            return Err((error, kept));
        }
        // All is in place, so nothing can fail any more. Where the locked file keeps the folder from going, it goes
        // without the lock.
        let Self { staging, _lock: lock, .. } = self;
        if disk::remove(&staging).is_err() {
            drop(lock);
            let _ = fs::remove_dir(&staging);
        }
        Ok(set)
    }

    /// The set with its tables, which are staged as files of it, and the manifest's bytes.
    fn seal(&self, mut set: FileSet) -> Result<(FileSet, Vec<u8>), ShardError> {
        for (name, bytes) in set.divide()? {
            let mut table = self.create(name)?;
            table.put(&bytes)?;
            set.files.push(table.finish(HOLDS_A_LIST)?);
        }
        let (set, bytes) = set.seal();
        check_size(&self.root.join(FILE_SET_NAME), bytes.len() as u64)?;
        Ok((set, bytes))
    }

    /// Past [`StagedFiles::check`]: the manifest of an earlier run is not among the files that it names.
    fn stage_manifest(&self, bytes: &[u8]) -> Result<(), ShardError> {
        let path = self.staging.join(FILE_SET_NAME);
        let sink = BufWriter::new(HashingWriter::new(FlushedFile::new(disk::create(&path)?)));
        let mut manifest = StagedFile { name: FILE_SET_NAME.to_owned(), path, sink };
        manifest.put(bytes)?;
        manifest.finish("the manifest")?;
        disk::sync_folder(&self.staging)
    }

    fn move_all(&self, set: &FileSet, aside: &Path, moves: &mut Moves) -> Result<(), ShardError> {
        // The manifest goes first and comes back last: files with a manifest are complete. It must not outlive a power cut
        // that they don't, so that all names last before it gets its own.
        for name in std::iter::once(FILE_SET_NAME).chain(self.ours.iter().map(String::as_str)) {
            let old = self.root.join(name);
            if old.is_file() {
                make_parent(&aside.join(name))?;
                moves.rename(old, aside.join(name))?;
            }
        }
        disk::sync_folder(&self.root)?;
        let mut folders = BTreeSet::from([self.root.clone()]);
        for name in set.files.iter().map(|file| file.name.as_str()) {
            let to = self.root.join(name);
            make_parent(&to)?;
            folders.extend(to.parent().map(Path::to_owned));
            moves.rename(self.staging.join(name), to)?;
        }
        folders.iter().try_for_each(|folder| disk::sync_folder(folder))?;
        moves.rename(self.staging.join(FILE_SET_NAME), self.root.join(FILE_SET_NAME))?;
        disk::sync_folder(&self.root)
    }

    /// Gives up: removes what was staged, and the folder itself if it was made for this run. Where files were recorded,
    /// they stay for another run to go on behind them; returns whether they do.
    pub fn abandon(self) -> bool {
        if self.journal.is_some() {
            return true;
        }
        // Best effort: the error that led here is the one to report.
        let _ = disk::remove(&self.staging);
        if self.created {
            let _ = fs::remove_dir(&self.root);
        }
        false
    }
}

fn make_parent(path: &Path) -> Result<(), ShardError> {
    path.parent().map_or(Ok(()), disk::create_folder_all)
}

/// Undoes a replacement that was interrupted while the old files were moved aside.
fn bring_back(root: &Path, staging: &Path) -> Result<(), ShardError> {
    let aside = staging.join(OLD_NAME);
    if !FileSet::is_in(&aside) || FileSet::is_in(root) {
        return Ok(());
    }
    let old = FileSet::read_moved(&aside, root)?;
    for name in old.files.iter().map(|file| file.name.as_str()).chain([FILE_SET_NAME]) {
        if aside.join(name).is_file() {
            disk::rename(&aside.join(name), &root.join(name))?;
        }
    }
    Ok(())
}

/// Whether a file beside memmaps has the name of a mask, or of a list of masks. Where tokens stand, nothing else is ever replaced or moved, whatever
/// a manifest says: that of an export names tokens too.
fn names_a_mask(name: &str) -> bool {
    [".loss", ".loss.bin", ".loss.idx"].iter().any(|end| name.ends_with(end))
        || FILE_SET_TABLES.contains(&name)
}

/// Brings the files of a run that ended while they got their names back to where they were staged, so that a run can go on
/// with them. What is still staged never got its name.
fn unplace(root: &Path, staging: &Path, placement: Placement) -> Result<(), ShardError> {
    let is_complete = FileSet::is_in(root);
    for name in FileSet::read_moved(staging, root)?.files.into_iter().map(|file| file.name) {
        let (staged, placed) = (staging.join(&name), root.join(&name));
        let may_move = placement == Placement::OwnFolder || names_a_mask(&name);
        if may_move && !is_complete && !staged.is_file() && placed.is_file() {
            disk::rename(&placed, &staged)?;
        }
    }
    disk::remove(&staging.join(FILE_SET_NAME))
}

/// Removes the files of a run that ended while they got their names, before its manifest did: no manifest in the
/// folder names them. What the set before names stays, or comes back: that is done later, since it takes the names of the
/// run's tables.
fn take_back(root: &Path, staging: &Path, placement: Placement) -> Result<(), ShardError> {
    let mut listed = BTreeSet::new();
    let aside = staging.join(OLD_NAME);
    if let Some(folder) = [root, &aside].into_iter().find(|folder| FileSet::is_in(folder)) {
        listed.extend(FileSet::read_moved(folder, root)?.files.into_iter().map(|file| file.name));
    }
    for name in FileSet::read_moved(staging, root)?.files.into_iter().map(|file| file.name) {
        let path = root.join(&name);
        let may_go = placement == Placement::OwnFolder || names_a_mask(&name);
        // What is still staged never got its name: a file that has it now is another's.
        if !may_go || listed.contains(&name) || staging.join(&name).is_file() || !path.is_file() {
            continue;
        }
        disk::remove(&path)?;
        // Folders that were made for such files go with the last of them; others are not empty.
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    disk::remove(&staging.join(FILE_SET_NAME))
}

impl StagedFile {
    /// Brings the file to disk; `holds` says what is in it.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn finish(self, holds: &str) -> Result<SetFile, ShardError> {
        let Self { name, path, sink } = self;
        let hashing = sink.into_inner().map_err(|e| ShardError::io(&path, "writing")(e.into_error()))?;
        let (FileDigest { size, hash }, file) = hashing.finish();
        let mut file = file.finish().map_err(ShardError::io(&path, "flushing to disk"))?;
        disk::sync(&mut file, &path)?;
        Ok(SetFile { name, holds: holds.to_owned(), size, hash })
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), ShardError> {
        self.sink.write_all(bytes).map_err(ShardError::io(&self.path, "writing"))
    }

    /// Where it is staged, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
