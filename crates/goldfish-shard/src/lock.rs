//! Who writes to an output.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use goldfish_storage::{Folder, is_remote};
use serde::{Deserialize, Serialize};

use crate::error::other_output;
use crate::names::LOCK_NAME;
use crate::{ShardError, disk};

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
    File(goldfish_storage::Lock),
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
    /// Takes the lock of a staging folder on a disk.
    pub(crate) fn of_folder(output: &Path, staging: &Folder) -> Result<Self, ShardError> {
        match staging.lock(LOCK_NAME) {
            Ok(Some(lock)) => Ok(Self { output: output.to_owned(), kind: Kind::File(lock) }),
            Ok(None) => Err(busy(output, None)),
            Err(error)
                if [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData].contains(&error.kind()) =>
            {
                Err(foreign(output, staging, LOCK_NAME))
            }
            Err(error) => Err(ShardError::io(&staging.join(LOCK_NAME), "locking")(error)),
        }
    }

    /// The marker of a prefix of a store; with `new`, it is written if there is none.
    pub(crate) fn of_store(output: &Path, staging: &Path, new: bool) -> Result<Self, ShardError> {
        let (path, run) = (staging.join(LOCK_NAME), Run::this());
        let held = new && disk::write_new(&path, &run.to_json())?;
        let lock = Self { output: output.to_owned(), kind: Kind::Marker { path, run, held } };
        if new { lock.check().map(|()| lock) } else { Ok(lock) }
    }

    /// The id of the staging folder on a disk; that of the run in a store.
    pub(crate) fn id(&self) -> &str {
        match &self.kind {
            Kind::File(lock) => lock.id(),
            Kind::Marker { run, .. } => &run.id,
        }
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
            Kind::File(_) => String::new(),
            Kind::Marker { run, .. } => format!(".{}", run.id),
        }
    }

    /// That another program writes.
    pub(crate) fn busy(&self) -> ShardError {
        let who = match &self.kind {
            Kind::File(_) => None,
            Kind::Marker { path, run, .. } => holder(path).ok().flatten().filter(|holder| holder != run),
        };
        busy(&self.output, who.as_ref())
    }
}

/// That something in a staging folder was not made by goldfish.
pub(crate) fn foreign(output: &Path, staging: &Folder, name: &str) -> ShardError {
    let reason = format!(
        "{} holds {name:?}, which goldfish did not write; look at it, and move it away",
        staging.path().display()
    );
    ShardError::occupied(output, reason, [other_output()])
}

/// Says which run left its marker in a staging folder, if one did, in brackets.
pub(crate) fn left_by(staging: &Path) -> String {
    let holder = if is_remote(staging) { holder(&staging.join(LOCK_NAME)).ok().flatten() } else { None };
    holder.map(|run| format!(" ({})", run.describe())).unwrap_or_default()
}

/// The run that a marker names.
fn holder(marker: &Path) -> Result<Option<Run>, ShardError> {
    let read_once = || goldfish_storage::read(marker, MAX_MARKER_BYTES);
    let mut read = read_once();
    for _ in 0..READS {
        // Another run took hold of the output while it was read.
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            read = read_once();
        }
    }
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => Ok(serde_json::from_slice(&bytes.map_err(ShardError::io(marker, "reading"))?).ok()),
    }
}

/// Largest marker that is read, in bytes.
const MAX_MARKER_BYTES: u64 = 1 << 16;

/// How often a marker is read again that is replaced while it is read.
const READS: usize = 8;

fn busy(output: &Path, who: Option<&Run>) -> ShardError {
    let who = who.map(|run| format!(" ({})", run.describe())).unwrap_or_default();
    let reason = format!("another goldfish is writing to it{who}; wait for its end");
    ShardError::occupied(output, reason, [other_output()])
}

impl Run {
    fn this() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| std::env::var("HOSTNAME").ok());
        Self {
            id: goldfish_storage::random_id(),
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
