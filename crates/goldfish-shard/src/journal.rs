use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use goldfish_digest::FileDigest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::folder::{PreparedFolder, is_ours, is_staged_name, staged_name};
use crate::manifest::ShardEntry;
use crate::{Kept, ShardError, disk};

/// Name of the journal in the staging folder.
pub(crate) const JOURNAL_NAME: &str = "journal";

/// Version of the journal that this build writes and reads.
pub const JOURNAL_VERSION: u32 = 1;

/// What a run has finished, record by record, so that it can be taken up after any interruption.
///
/// Each record is a line: the XXH3 of its JSON in hex, a space, the JSON. It is on the disk before the run goes
/// on, and whatever it speaks of was there before it. A line that was torn when the machine went down has another
/// checksum; it and what stands behind it is passed over. The first line tells which job it is.
#[derive(Debug)]
pub(crate) struct Journal {
    staging: PathBuf,
    path: PathBuf,
    job: Box<RawValue>,
    file: Option<File>,
}

/// A line of the journal behind the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Record {
    /// Shards that were closed while a batch was written.
    Shards(ClosedShards),
    /// All is staged; only the names are left to be given.
    Finished {
        /// Staged name and final name of every file, in the order in which they are to appear.
        names: Vec<(String, String)>,
        /// What the caller wants to know then.
        state: Box<RawValue>,
    },
}

/// Shards that were closed while a batch was written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClosedShards {
    /// The shards by their staged names.
    pub(crate) shards: Vec<ShardEntry>,
    /// How many of the batch's rows are in them and in shards before them.
    pub(crate) rows: u64,
    /// Bytes and lines of the list of rejected rows before the batch.
    pub(crate) rejects: (u64, u64),
    /// Where the caller stood before the batch.
    pub(crate) state: Box<RawValue>,
}

/// What a journal tells of a run that did not come to its end.
#[derive(Debug)]
pub struct Unfinished {
    /// What the caller wrote about its job.
    pub job: serde_json::Value,
    /// What the caller wrote with each record, in order.
    pub states: Vec<Box<RawValue>>,
    /// Rows of the batch behind the last state that are in finished shards.
    pub rows: u64,
    /// Whether nothing but the names of the files is missing.
    pub staged: bool,
    pub(crate) shards: Vec<ShardEntry>,
    pub(crate) rejects: (u64, u64),
    pub(crate) names: Vec<(String, String)>,
    /// Length of the sound part of the journal, in bytes.
    length: u64,
}

impl Unfinished {
    /// Whether every name is one that a run gives, so that no path made of it leads out of its folder.
    fn names_are_ours(&self) -> bool {
        let staged = |name: &String| is_ours(name) || is_staged_name(name);
        self.shards.iter().enumerate().all(|(index, shard)| shard.name == staged_name(index))
            && self.names.iter().all(|(from, to)| staged(from) && is_ours(to))
    }

    /// Its finished shards.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let documents = self.shards.iter().map(|shard| shard.documents).sum();
        Kept { shards: self.shards.len(), documents }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    journal_version: u32,
    job: Box<RawValue>,
}

impl Journal {
    /// A journal that comes into being with its first record.
    pub(crate) fn new(folder: &PreparedFolder, job: Box<RawValue>) -> Self {
        let staging = folder.staging.clone();
        Self { path: staging.join(JOURNAL_NAME), staging, job, file: None }
    }

    /// Goes on behind the sound part of a journal.
    pub(crate) fn go_on(
        folder: &PreparedFolder,
        job: Box<RawValue>,
        unfinished: &Unfinished,
    ) -> Result<Self, ShardError> {
        let mut journal = Self::new(folder, job);
        let open = || {
            let mut file = OpenOptions::new().write(true).open(&journal.path)?;
            file.set_len(unfinished.length)?;
            file.seek(std::io::SeekFrom::End(0))?;
            Ok(file)
        };
        journal.file = Some(open().map_err(ShardError::io(&journal.path, "opening"))?);
        Ok(journal)
    }

    /// Whether there is a record.
    pub(crate) fn is_started(&self) -> bool {
        self.file.is_some()
    }

    /// Adds a record, down to the disk.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), ShardError> {
        let is_new = self.file.is_none();
        let (file, mut lines) = match &self.file {
            Some(file) => (file, Vec::new()),
            None => {
                let head = Head { journal_version: JOURNAL_VERSION, job: self.job.clone() };
                (&*self.file.insert(disk::create(&self.path)?), line(&head))
            }
        };
        lines.extend(line(record));
        let mut writer = file;
        writer.write_all(&lines).map_err(ShardError::io(&self.path, "writing"))?;
        disk::sync(file, &self.path)?;
        // Its own name has to last too.
        if is_new { disk::sync_folder(&self.staging) } else { Ok(()) }
    }

    /// Reads the journal of a staging folder; `None` if there is none with a sound record.
    pub(crate) fn read(staging: &Path) -> Result<Option<Unfinished>, ShardError> {
        let path = staging.join(JOURNAL_NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(ShardError::io(&path, "reading"))?,
        };
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let Some((head, length)) = lines.next().and_then(sound::<Head>) else { return Ok(None) };
        if head.journal_version != JOURNAL_VERSION {
            let reason = format!(
                "written by another version of goldfish (journal {}, this one has {JOURNAL_VERSION}): go on with that \
                 one, or start again with --overwrite",
                head.journal_version
            );
            return Err(ShardError::BadJournal { path, reason });
        }
        let job = serde_json::from_str(head.job.get()).unwrap_or_default();
        let (shards, states, names) = (Vec::new(), Vec::new(), Vec::new());
        let (rows, rejects, staged) = (0, (0, 0), false);
        let mut unfinished = Unfinished { job, states, rows, staged, shards, rejects, names, length };
        for (record, length) in lines.map_while(sound::<Record>) {
            unfinished.length += length;
            match record {
                Record::Shards(closed) => {
                    unfinished.shards.extend(closed.shards);
                    unfinished.states.push(closed.state);
                    (unfinished.rows, unfinished.rejects) = (closed.rows, closed.rejects);
                }
                Record::Finished { names, state } => {
                    unfinished.states.push(state);
                    (unfinished.names, unfinished.staged) = (names, true);
                }
            }
        }
        if !unfinished.names_are_ours() {
            let reason = "names files that goldfish would not; start again with --overwrite".into();
            return Err(ShardError::BadJournal { path, reason });
        }
        Ok((!unfinished.states.is_empty()).then_some(unfinished))
    }
}

fn line(record: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists only: serialisation has nothing to fail at.
    let json = serde_json::to_string(record).unwrap_or_default();
    format!("{} {json}\n", FileDigest::of(json.as_bytes()).hash).into_bytes()
}

/// The record of a line and the line's length, if it is as it was written.
fn sound<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Option<(T, u64)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, json) = text.split_once(' ')?;
    let sound = checksum == FileDigest::of(json.as_bytes()).hash;
    Some((serde_json::from_str(json).ok().filter(|_| sound)?, line.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Start, prepare_folder};

    fn record(name: &str) -> Record {
        let shard = ShardEntry {
            name: name.to_owned(),
            size: 1,
            hash: String::new(),
            documents: 2,
            tokens: 3,
            dropped: 1,
        };
        let state = RawValue::from_string(format!("{{\"at\":{name:?}}}")).unwrap();
        Record::Shards(ClosedShards { shards: vec![shard], rows: 7, rejects: (0, 0), state })
    }

    #[test]
    fn every_torn_or_flipped_journal_is_read_up_to_its_last_sound_record() {
        let output = tempfile::tempdir().unwrap();
        let folder = prepare_folder(&output.path().join("out"), Start::New).unwrap().folder().unwrap();
        let mut journal = Journal::new(&folder, RawValue::from_string("{\"k\":4}".into()).unwrap());
        for name in ["shard-00000", "shard-00001", "shard-00002"] {
            journal.append(&record(name)).unwrap();
        }
        let whole = fs::read(&journal.path).unwrap();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
        assert_eq!(ends.len(), 4);
        let shards = |bytes: &[u8]| {
            fs::write(&journal.path, bytes).unwrap();
            Journal::read(&folder.staging).unwrap().map_or(0, |unfinished| unfinished.kept().shards)
        };
        for length in 0..=whole.len() {
            let expected = ends.iter().filter(|&&end| end <= length).count().saturating_sub(1);
            assert_eq!(shards(&whole[..length]), expected, "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            let line = ends.iter().filter(|&&end| end <= at).count();
            assert_eq!(shards(&flipped), line.saturating_sub(1), "flipped at {at}");
        }
        fs::write(&journal.path, &whole[..ends[2] + 5]).unwrap();
        let unfinished = Journal::read(&folder.staging).unwrap().unwrap();
        assert_eq!((unfinished.kept().documents, unfinished.rows), (4, 7));
        let mut again = Journal::go_on(&folder, journal.job.clone(), &unfinished).unwrap();
        again.append(&record("shard-00002")).unwrap();
        assert_eq!(fs::read(&again.path).unwrap(), whole);
        again.append(&record("../../shard-00003")).unwrap();
        assert!(Journal::read(&folder.staging).is_err());
    }
}
