//! Files that get their final names together, when all of them are complete.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use goldfish_digest::FileDigest;
use goldfish_remedy::{Remedy, Setting};
use goldfish_storage::{Folder, Kind, is_remote};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::blocks::BlockWriter;
use crate::error::{other_output, replace_set, start_again};
use crate::file_set::{
    FILE_SET_NAME, FILE_SET_TABLES, FileSet, HOLDS_A_LIST, LAYOUT_ENDINGS, SetFile, is_inside,
};
use crate::flush::FlushedFile;
use crate::folder::{OutputMode, not_an_output};
use crate::journal::{Chain, append, open_to_append, read_file};
use crate::lock::Lock;
use crate::manifest::check_size;
use crate::names::{JOURNAL_NAME, StagedName, is_numbered, is_replaced_name};
use crate::placing::{Placing, parent_of};
use crate::staging::{clear, dissolve, open_staging};
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

impl Placement {
    /// Whether goldfish may give this name to a file, or take it away: only such as its layouts have. Beside tokens nothing but masks is ever replaced or
    /// moved, whatever a manifest or a journal says: that of an export names tokens too.
    fn allows(self, name: &str) -> bool {
        let is_mask = || [".loss", ".loss.bin", ".loss.idx"].iter().any(|end| name.ends_with(end));
        let is_list = || name == FILE_SET_NAME || FILE_SET_TABLES.contains(&name);
        is_inside(name)
            && !name.starts_with(STAGING_NAME)
            && (is_mask() || is_list() || (self == Self::OwnFolder && is_of_layout(name)))
    }
}

/// Files in the making, on a disk. None appears at its final name before [`StagedFiles::publish`].
#[derive(Debug)]
pub struct StagedFiles {
    root: Folder,
    staging: Folder,
    /// Whether the folder was not there before.
    created: bool,
    /// Names of files there that an earlier run of goldfish wrote, and that may be replaced.
    earlier: BTreeSet<String>,
    /// Staged names of the finished files and of those in the making, by their final names.
    staged: RefCell<BTreeMap<String, String>>,
    /// Number of the next staged file.
    next: Cell<usize>,
    journal: Option<(File, Chain)>,
    lock: Lock,
}

/// What an earlier run left in a folder.
pub enum PreviousRun {
    /// Nothing to resume.
    Nothing,
    /// The files that an interrupted run finished.
    Unfinished(UnfinishedFiles),
    /// The whole of a run.
    Finished(Box<FileSet>),
}

/// What an interrupted run finished, as its journal says.
pub struct UnfinishedFiles {
    /// What the caller wrote about its job.
    pub job: Value,
    /// What the caller wrote with each record, in order.
    pub states: Vec<Box<RawValue>>,
    /// The finished files, which are staged.
    pub files: Vec<SetFile>,
}

/// A line of the journal after the first.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    /// Files that are finished.
    Files {
        /// Their staged names, each with what the manifest will say of the file.
        files: Vec<(String, SetFile)>,
        /// What the caller wants to know then.
        state: Box<RawValue>,
    },
    /// All are finished, and get their final names.
    Placing(Placing),
}

/// What the journal of an interrupted run says.
struct Interrupted {
    job: Value,
    states: Vec<Box<RawValue>>,
    files: Vec<(String, SetFile)>,
    placing: Option<Placing>,
    chain: Chain,
}

impl Interrupted {
    /// `None` where nothing was finished.
    fn read(staging: &Folder, lock: &Lock, placement: Placement) -> Result<Option<Self>, ShardError> {
        let Some((job, records, chain)) = read_file::<Record>(staging, lock.id())? else { return Ok(None) };
        let mut found = Self { job, states: Vec::new(), files: Vec::new(), placing: None, chain };
        for record in records {
            match record {
                Record::Files { files, state } => {
                    found.states.push(state);
                    found.files.extend(files);
                }
                Record::Placing(placing) => found.placing = Some(placing),
            }
        }
        let ours = found.files.iter().all(|(staged, file)| is_staged(staged) && placement.allows(&file.name))
            && found.placing.iter().all(|placing| {
                placing.names_are_ours(FILE_SET_NAME, is_staged, |name| placement.allows(name))
            });
        if !ours {
            let reason = "names files that goldfish would not".into();
            return Err(ShardError::BadJournal { path: staging.join(JOURNAL_NAME), reason });
        }
        let is_empty = found.states.is_empty() && found.placing.is_none();
        Ok((!is_empty).then_some(found))
    }
}

/// One file in the making.
pub struct StagedFile {
    name: String,
    path: PathBuf,
    sink: BlockWriter<FlushedFile>,
}

impl StagedFiles {
    /// Locks a folder. With [`OutputMode::Overwrite`], files of an earlier run there may be replaced; they stay until
    /// the new ones are complete. With [`OutputMode::Resume`] what an interrupted run recorded is kept. Files that were on their
    /// way to their final names are brought there first.
    ///
    /// # Errors
    ///
    /// If it can't be made, is in use, is in an object store, or holds something that may not be replaced.
    pub fn open(
        root: &Path,
        placement: Placement,
        mode: OutputMode,
    ) -> Result<(Self, PreviousRun), ShardError> {
        if is_remote(root) {
            let reason = "these files are written to a disk only, and can be copied from there";
            return Err(ShardError::occupied(root, reason, [other_output()]));
        }
        let created = !root.exists();
        let unmake = |_: &ShardError| {
            // Best effort: what is not empty stays.
            if created {
                let _ = fs::remove_dir(root);
            }
        };
        disk::create_folder_all(root).inspect_err(unmake)?;
        let folder = disk::open_folder(root).inspect_err(unmake)?;
        let left = match open_staging(&folder, STAGING_NAME, is_staged)? {
            None => None,
            Some(staging) => {
                let lock = Lock::of_folder(root, &staging)?;
                let interrupted = match Interrupted::read(&staging, &lock, placement) {
                    // It can't be used, but may be discarded.
                    Err(ShardError::BadJournal { .. }) if mode == OutputMode::Overwrite => None,
                    interrupted => interrupted?,
                };
                Some((staging, lock, interrupted))
            }
        };
        let interrupted = left.as_ref().and_then(|(_, _, interrupted)| interrupted.as_ref());
        if let (Some(interrupted), OutputMode::New) = (interrupted, mode) {
            let resume = Remedy::give(Setting::Resume).to("resume it after its last finished mask");
            let mut remedies = vec![start_again(), other_output()];
            if !interrupted.states.is_empty() {
                remedies.insert(0, resume);
            }
            return Err(ShardError::occupied(root, "holds an unfinished run", remedies));
        }
        if let (Some((staging, ..)), Some(placing)) =
            (&left, interrupted.and_then(|left| left.placing.as_ref()))
        {
            placing.settle(&folder, staging, &FileSet::listed)?;
        }
        let earlier = earlier_set(&folder, placement, mode)?;
        if let (Some(set), OutputMode::Overwrite) = (&earlier, mode) {
            check_as_written(&folder, placement, set)?;
        }
        let (staging, lock, interrupted) = match left {
            Some(left) => left,
            None => {
                let made = disk::create_folder(&folder, STAGING_NAME)
                    .and_then(|staging| Lock::of_folder(root, &staging).map(|lock| (staging, lock)))
                    .inspect_err(|_| drop(folder.remove_subfolder(STAGING_NAME)))
                    .inspect_err(unmake);
                let (staging, lock) = made?;
                (staging, lock, None)
            }
        };
        let names = earlier.iter().flat_map(|set| set.files.iter().map(|file| file.name.clone()));
        let mut files = Self {
            root: folder,
            staging,
            created,
            earlier: names.filter(|name| placement.allows(name)).collect(),
            staged: RefCell::default(),
            next: Cell::new(0),
            journal: None,
            lock,
        };
        let found = match (mode, interrupted.filter(|left| left.placing.is_none())) {
            (OutputMode::Resume, Some(interrupted)) => PreviousRun::Unfinished(files.resume(interrupted)?),
            (OutputMode::Resume, None) => {
                earlier.map_or(PreviousRun::Nothing, |set| PreviousRun::Finished(Box::new(set)))
            }
            _ => PreviousRun::Nothing,
        };
        if let PreviousRun::Nothing | PreviousRun::Finished(_) = found {
            clear(&files.staging, |_| false)?;
        }
        Ok((files, found))
    }

    /// Takes over what an interrupted run finished.
    fn resume(&mut self, interrupted: Interrupted) -> Result<UnfinishedFiles, ShardError> {
        let Interrupted { job, states, files, chain, .. } = interrupted;
        for (staged, SetFile { name, size, .. }) in &files {
            let found = self
                .staging
                .size(staged)
                .map_err(ShardError::io(&self.staging.join(staged), "looking at the file"))?;
            if found != Some(*size) {
                let path = self.staging.join(JOURNAL_NAME);
                let reason =
                    format!("the finished file {name:?} of the unfinished run is gone or has another size");
                return Err(ShardError::BadJournal { path, reason });
            }
        }
        self.staged.get_mut().extend(files.iter().map(|(staged, file)| (file.name.clone(), staged.clone())));
        self.next.set(files.len());
        let kept: BTreeSet<&str> = files.iter().map(|(staged, _)| staged.as_str()).collect();
        clear(&self.staging, |name| name == JOURNAL_NAME || kept.contains(name))?;
        self.journal = Some((open_to_append(&self.staging, chain.length)?, chain));
        Ok(UnfinishedFiles { job, states, files: files.into_iter().map(|(_, file)| file).collect() })
    }

    /// Notes in the journal, down to the disk, that files are finished: a run with [`OutputMode::Resume`] gets them and the states
    /// that belong to them. `job` is for the first record.
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
        disk::sync_folder(&self.staging)?;
        let staged = self.staged.borrow();
        let files =
            files.iter().map(|file| (staged.get(&file.name).cloned().unwrap_or_default(), file.clone()));
        let record = Record::Files { files: files.collect(), state };
        drop(staged);
        self.append(job, &record)
    }

    /// Adds a record to the journal, which comes into being with the first one.
    fn append(&mut self, job: &RawValue, record: &Record) -> Result<(), ShardError> {
        let path = self.staging.join(JOURNAL_NAME);
        if let Some((file, chain)) = &mut self.journal {
            return append(file, &path, &chain.line(String::new(), record));
        }
        let (mut file, mut chain) = (disk::create_file(&self.staging, JOURNAL_NAME)?, Chain::default());
        let head = chain.head(self.lock.id(), job);
        append(&mut file, &path, &chain.line(head, record))?;
        // Its own name has to last too.
        disk::sync_folder(&self.staging)?;
        self.journal = Some((file, chain));
        Ok(())
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Names of files of an earlier run, which the new ones replace: those that don't come again are removed.
    #[must_use]
    pub fn earlier(&self) -> &BTreeSet<String> {
        &self.earlier
    }

    /// Checks that a file may get this name.
    ///
    /// # Errors
    ///
    /// If another program's file has it, or it is reached through a link.
    pub fn check(&self, name: &str) -> Result<(), ShardError> {
        let path = self.root.join(name);
        let Some((folder, last)) = parent_of(&self.root, name, false)? else { return Ok(()) };
        let reason = match folder.kind(last).map_err(ShardError::io(&path, "looking at the file"))? {
            None => return Ok(()),
            Some(Kind::File) if self.earlier.contains(name) => return Ok(()),
            Some(_) if self.earlier.contains(name) => {
                "is a link or a folder where a file of goldfish was; move it away"
            }
            Some(_) => "is there already and is not listed in this folder's goldfish.json; move it away",
        };
        Err(ShardError::occupied(&path, reason, [other_output()]))
    }

    /// Starts a file; `name` is its path below the folder, with `/`.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the disk refuses.
    pub fn create(&self, name: &str) -> Result<StagedFile, ShardError> {
        self.check(name)?;
        self.stage(name)
    }

    fn stage(&self, name: &str) -> Result<StagedFile, ShardError> {
        debug_assert!(is_inside(name), "{name}");
        let number = self.next.replace(self.next.get() + 1);
        let staged = format!("file-{number:05}");
        let file = disk::create(&self.staging, &staged)?;
        let path = self.staging.join(&staged);
        self.staged.borrow_mut().insert(name.to_owned(), staged);
        Ok(StagedFile { name: name.to_owned(), path, sink: BlockWriter::new(FlushedFile::new(file)) })
    }

    /// A file for intermediate results, which goes with the staging folder, and its name there.
    pub(crate) fn scratch(&self) -> Result<(String, File), ShardError> {
        let number = self.next.replace(self.next.get() + 1);
        let name = format!("scratch-{number:05}");
        let file = disk::create_file(&self.staging, &name)?;
        Ok((name, file))
    }

    /// The folder of [`StagedFiles::scratch`].
    pub(crate) fn staging(&self) -> &Folder {
        &self.staging
    }

    /// Gives all files of the set their final names, the manifest last, and takes away those of an earlier run. If
    /// that fails on the way, everything is as it was before; an interruption is completed by the next run.
    ///
    /// # Errors
    ///
    /// If the disk refuses; with it comes whether files stay for another run.
    pub fn publish(mut self, set: FileSet) -> Result<FileSet, (ShardError, bool)> {
        let staged = self.seal(set).and_then(|(set, bytes)| {
            self.stage_manifest(&bytes)?;
            let placing = self.placing(&set)?;
            Ok((set, placing))
        });
        let (set, placing) = match staged {
            Ok(staged) => staged,
            Err(error) => return Err((error, self.abandon())),
        };
        let before = self.journal.as_ref().map(|(_, chain)| chain.clone());
        let placed = self
            .append(RawValue::NULL, &Record::Placing(placing.clone()))
            .and_then(|()| placing.carry_out(&self.root, &self.staging));
        if let Err(error) = placed {
            let undone = placing.undo(&self.root, &self.staging).and_then(|()| self.forget_placing(before));
            // What could not be undone is completed by the next run.
            return Err((error, undone.is_err() || self.abandon()));
        }
        match dissolve(&self.root, &self.staging, STAGING_NAME, true) {
            Ok(()) => Ok(set),
            Err(error) => Err((error, true)),
        }
    }

    /// Removes the last record of the journal, which `before` does not include.
    fn forget_placing(&mut self, before: Option<Chain>) -> Result<(), ShardError> {
        self.journal = match before {
            None => {
                disk::remove(&self.staging, JOURNAL_NAME)?;
                None
            }
            Some(chain) => Some((open_to_append(&self.staging, chain.length)?, chain)),
        };
        Ok(())
    }

    /// What gets which name: the manifest of an earlier run goes first, and the new one comes last.
    fn placing(&self, set: &FileSet) -> Result<Placing, ShardError> {
        let staged = self.staged.borrow();
        let names = set.files.iter().map(|file| file.name.as_str()).chain([FILE_SET_NAME]);
        let files = names.map(|name| Some((staged.get(name)?.clone(), name.to_owned())));
        let files: Option<Vec<StagedName>> = files.collect();
        let reason = "a file of the manifest was not written; this is a bug in goldfish, please report it";
        let files = files.ok_or_else(|| ShardError::BadManifest {
            path: self.root.join(FILE_SET_NAME),
            reason: reason.into(),
        })?;
        let mut replaced = Vec::new();
        if disk::has_file(&self.root, FILE_SET_NAME)? {
            replaced.push(FILE_SET_NAME.to_owned());
        }
        replaced.extend(self.earlier.iter().cloned());
        Ok(Placing::new(files, replaced))
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
        let mut manifest = self.stage(FILE_SET_NAME)?;
        manifest.put(bytes)?;
        manifest.finish("the manifest")?;
        disk::sync_folder(&self.staging)
    }

    /// Gives up: removes what was staged, and the folder itself if it was made for this run. Where files were recorded,
    /// they stay for another run to resume after them; returns whether they do.
    pub fn abandon(self) -> bool {
        if self.journal.is_some() {
            return true;
        }
        // Best effort: the error that led here is the one to report.
        let _ = dissolve(&self.root, &self.staging, STAGING_NAME, false);
        if self.created {
            let _ = fs::remove_dir(self.root.path());
        }
        false
    }
}

/// Whether a file has a name like those in the layouts.
fn is_of_layout(name: &str) -> bool {
    LAYOUT_ENDINGS.iter().any(|end| name.ends_with(end))
        || ["state.json", "dataset_info.json"].contains(&name)
}

/// Whether a file in the staging folder has a name that goldfish gives.
fn is_staged(name: &str) -> bool {
    is_numbered(name, "file-") || is_numbered(name, "scratch-") || is_replaced_name(name)
}

/// The set of an earlier run, if it may be replaced or resumed.
fn earlier_set(root: &Folder, placement: Placement, mode: OutputMode) -> Result<Option<FileSet>, ShardError> {
    let occupied = |reason: &str, remedies| Err(ShardError::occupied(root.path(), reason, remedies));
    let kind = root.kind(FILE_SET_NAME);
    match kind.map_err(ShardError::io(&root.join(FILE_SET_NAME), "looking at the file"))? {
        Some(Kind::File) => {
            if mode == OutputMode::New {
                return occupied("holds files of goldfish already", vec![other_output(), replace_set()]);
            }
            let set = FileSet::read(root.path())?;
            if placement == Placement::OwnFolder && set.beside_inputs {
                return occupied("holds memmaps with their masks", vec![other_output()]);
            }
            Ok(Some(set))
        }
        Some(_) => {
            occupied(&format!("holds a {FILE_SET_NAME} that is not a regular file; move it away"), Vec::new())
        }
        None => {
            let mut entries = disk::names(root)?;
            entries.retain(|name| name != STAGING_NAME);
            match entries.first() {
                Some(entry) if placement == Placement::OwnFolder => {
                    occupied(&not_an_output(entry), Vec::new())
                }
                _ => Ok(None),
            }
        }
    }
}

/// Checks that what is about to be replaced is, bit for bit, what the manifest lists: that may be a stranger's, and name files of
/// the user.
fn check_as_written(root: &Folder, placement: Placement, set: &FileSet) -> Result<(), ShardError> {
    for SetFile { name, size, hash, .. } in set.files.iter().filter(|file| placement.allows(&file.name)) {
        let Some((folder, last)) = parent_of(root, name, false)? else { continue };
        let path = folder.join(last);
        let found = folder.size(last).map_err(ShardError::io(&path, "looking at the file"))?;
        let is_same = match found {
            None => continue,
            Some(found) if found != *size => false,
            Some(_) => disk::digest(&folder, last)?.hash == *hash,
        };
        if !is_same {
            let reason = "would be replaced, but is not as goldfish wrote it: size or hash differ from those in goldfish.json; \
                          move it away, and run the same command again";
            return Err(ShardError::occupied(&path, reason, []));
        }
    }
    Ok(())
}

impl StagedFile {
    /// Brings the file to disk; `holds` says what is in it.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn finish(self, holds: &str) -> Result<SetFile, ShardError> {
        let Self { name, path, sink } = self;
        let (FileDigest { size, hash }, file) = sink.finish().map_err(ShardError::io(&path, "writing"))?;
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
