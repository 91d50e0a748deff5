//! Who writes to an output.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use goldfish_storage::is_remote;
use serde::{Deserialize, Serialize};

use crate::{ShardError, disk};

/// Name of the file in the staging folder that says who writes.
pub(crate) const LOCK_NAME: &str = "lock";

/// Who writes to an output.
///
/// A file on a disk is held locked, and the system gives it back when the program ends, however it ends. A store has no
/// locks: there an object names the run, and stays when its machine dies. So a run may take it over, and one that lost
/// it finds out when it looks: before each record of its journal, and before anything gets its final name.
#[derive(Debug)]
pub(crate) struct Lock {
    output: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Locked as long as it is open, where the file system has locks.
    File { _file: File },
    /// An object, and what it says while this run holds the output.
    Marker { path: PathBuf, run: Run, held: bool },
}

/// What the object says. Whoever reads it wants to know whether that run still lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Of no other run.
    id: String,
    host: String,
    process: u32,
    /// When it took hold of the output, in seconds since 1970.
    since: u64,
}

impl Lock {
    /// The lock of a staging folder that is there; one on a disk is taken.
    pub(crate) fn of_left(output: &Path, staging: &Path) -> Result<Option<Self>, ShardError> {
        if is_remote(output) {
            return Ok(disk::exists(staging)?.then(|| Self::marker(output, staging)));
        }
        if staging.is_dir() { Self::file(output, staging).map(Some) } else { Ok(None) }
    }

    /// Makes a staging folder and takes its lock.
    pub(crate) fn of_new(output: &Path, staging: &Path) -> Result<Self, ShardError> {
        disk::create_folder(staging)?;
        disk::sync_folder(output)?;
        if !is_remote(output) {
            return Self::file(output, staging);
        }
        let mut lock = Self::marker(output, staging);
        if let Kind::Marker { path, run, held } = &mut lock.kind {
            *held = disk::write_new(path, &run.to_json())?;
        }
        lock.check().map(|()| lock)
    }

    fn file(output: &Path, staging: &Path) -> Result<Self, ShardError> {
        Ok(Self { output: output.to_owned(), kind: Kind::File { _file: lock(output, staging)? } })
    }

    fn marker(output: &Path, staging: &Path) -> Self {
        let kind = Kind::Marker { path: staging.join(LOCK_NAME), run: Run::this(), held: false };
        Self { output: output.to_owned(), kind }
    }

    /// Takes over what an earlier run left. On a disk that is done already.
    pub(crate) fn claim(&mut self) -> Result<(), ShardError> {
        if let Kind::Marker { path, run, held: held @ false } = &mut self.kind {
            disk::write(path, &run.to_json())?;
            *held = true;
        }
        Ok(())
    }

    /// Checks that no other run took over.
    pub(crate) fn check(&self) -> Result<(), ShardError> {
        match &self.kind {
            Kind::Marker { path, run, held } if !held || holder(path)?.as_ref() != Some(run) => {
                Err(self.busy())
            }
            _ => Ok(()),
        }
    }

    /// What ends the names of staged files, so that two runs never write to the same one; nothing on a disk, where only
    /// one can.
    pub(crate) fn suffix(&self) -> String {
        match &self.kind {
            Kind::File { .. } => String::new(),
            Kind::Marker { run, .. } => format!(".{}", run.id),
        }
    }

    /// That another program writes.
    pub(crate) fn busy(&self) -> ShardError {
        let who = match &self.kind {
            Kind::File { .. } => None,
            Kind::Marker { path, run, .. } => holder(path).ok().flatten().filter(|holder| holder != run),
        };
        busy(&self.output, who.as_ref())
    }
}

/// Whether a text is one that [`Lock::suffix`] puts behind its point.
pub(crate) fn is_run_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Says which run left its marker in a staging folder, if one did, in brackets.
pub(crate) fn left_by(staging: &Path) -> String {
    let holder = if is_remote(staging) { holder(&staging.join(LOCK_NAME)).ok().flatten() } else { None };
    holder.map(|run| format!(" ({})", run.describe())).unwrap_or_default()
}

/// The run that a marker names.
fn holder(marker: &Path) -> Result<Option<Run>, ShardError> {
    let mut read = goldfish_storage::read(marker);
    for _ in 0..READS {
        // Another run took hold of the output while it was read.
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            read = goldfish_storage::read(marker);
        }
    }
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => Ok(serde_json::from_slice(&bytes.map_err(ShardError::io(marker, "reading"))?).ok()),
    }
}

/// How often a marker is read again that is replaced while it is read.
const READS: usize = 8;

fn busy(output: &Path, who: Option<&Run>) -> ShardError {
    let who = who.map(|run| format!(" ({})", run.describe())).unwrap_or_default();
    let reason =
        format!("another goldfish is writing to it{who}; wait for its end, or choose another --output");
    ShardError::Occupied { path: output.to_owned(), reason }
}

impl Run {
    fn this() -> Self {
        // The keys of a fresh hash state come from the system's source of random numbers.
        let mut random = RandomState::new().build_hasher();
        random.write_u32(std::process::id());
        let host =
            fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
        Self {
            id: format!("{:016x}", random.finish()),
            host: host.map_or_else(|| "an unknown machine".into(), |name| name.trim().to_owned()),
            process: std::process::id(),
            since: seconds(),
        }
    }

    fn to_json(&self) -> Vec<u8> {
        // Strings and numbers only: serialisation has nothing to fail at.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Names come from an object that anybody may have written: nothing but letters reaches a terminal.
    fn describe(&self) -> String {
        let host: String = self.host.chars().filter(|c| !c.is_control()).take(100).collect();
        let minutes = seconds().saturating_sub(self.since) / 60;
        format!("process {} on {host}, begun {minutes} minutes ago", self.process)
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Takes the lock of a staging folder on a disk.
pub(crate) fn lock(path: &Path, staging: &Path) -> Result<File, ShardError> {
    let lock_path = staging.join(LOCK_NAME);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
    let file = file.map_err(ShardError::io(&lock_path, "opening"))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(busy(path, None)),
        // Some network file systems have no locks; then the user has to take care.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        locked => locked.map_err(|e| ShardError::io(&lock_path, "locking")(e.into()))?,
    }
    // Another program may have finished and removed the file in between.
    if is_same(&file, &lock_path) { Ok(file) } else { Err(busy(path, None)) }
}

/// Whether a path leads to an open file.
fn is_same(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (opened, found) = (file.metadata().map(identity), fs::metadata(path).map(identity));
        matches!((opened, found), (Ok(opened), Ok(found)) if opened == found)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}
