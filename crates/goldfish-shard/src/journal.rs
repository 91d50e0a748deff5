use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Mutex;

use goldfish_digest::HashingWriter;
use goldfish_storage::Folder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::manifest::{MANIFEST_NAME, ShardEntry};
use crate::names::{JOURNAL_NAME, StagedName, is_ours, is_staged_name, object_name, plain_name, staged_name};
use crate::placing::Placing;
use crate::staging::PreparedFolder;
use crate::{ShardError, disk};

/// Length of a line's checksum: `xxh3_128:` and 32 hex digits.
const CHECKSUM_BYTES: usize = 41;

/// Version of the journal that this build writes and reads.
pub const JOURNAL_VERSION: u32 = 5;

/// Longest line of a journal that is read, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 28;

/// What a run has finished, record by record, so that it can be resumed after any interruption.
///
/// Each record is a line: the XXH3 of the checksum before it and of its JSON, a space, the JSON. It is on the disk before
/// the run continues, and whatever it names was there before it. A line that was torn when the machine went down has
/// another checksum, and so has one that another run wrote late after other lines; it and all after it is
/// ignored. The first line names the job.
///
/// On a disk that is a file. Objects of a store don't grow, so that there each record is an object of its own, the first
/// one with the head before it; concatenated they are that file. An object is only written where there is none:
/// of two runs that both resume after record 7, one writes record 8, and the other stops.
#[derive(Debug)]
pub(crate) struct Journal {
    job: Box<RawValue>,
    lines: Lines,
    chain: Chain,
}

/// Where the lines of a journal go.
#[derive(Debug)]
enum Lines {
    /// The file, if there is one yet.
    File(Option<File>),
    /// The number of the next object.
    Objects(usize),
}

/// Where the sound part of a journal ends.
#[derive(Debug)]
enum End {
    /// Bytes of the file.
    Byte(u64),
    /// Objects, and those after them that can't be used.
    Object { count: usize, rest: Vec<String> },
}

/// A line of the journal after the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Record {
    /// Shards that were closed while a batch was written.
    Shards(ClosedShards),
    /// All is staged; only the names are left to be given.
    Finished {
        /// Staged name and final name of every file, in the order in which they are to appear.
        names: Vec<StagedName>,
        /// What the caller wants to know then.
        state: Box<RawValue>,
    },
    /// On a disk: the names are being given.
    Placing(Placing),
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
    /// In a store, where nothing grows: the lines of that list since the record before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) rejected: String,
    /// Bytes and lines of the list of protected passages before the batch.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(crate) passages: (u64, u64),
    /// In a store: the lines of that list since the record before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) passage_lines: String,
    /// The caller's state before the batch.
    pub(crate) state: Box<RawValue>,
}

fn is_empty(list: &(u64, u64)) -> bool {
    *list == (0, 0)
}

/// What the journal has of a list that grows while shards are written.
#[derive(Debug, Default)]
pub(crate) struct RecordedList {
    /// Its bytes and lines.
    pub(crate) length: (u64, u64),
    /// In a store, its lines.
    pub(crate) lines: String,
}

/// What is left in the staging folder of a run that stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedFiles {
    /// Finished shards, or masks of memmaps.
    pub files: usize,
    /// Documents in them.
    pub documents: u64,
}

/// What the journal has of a run that did not end.
#[derive(Debug)]
pub struct Unfinished {
    /// What the caller wrote about its job.
    pub job: Value,
    /// What the caller wrote with each record, in order.
    pub states: Vec<Box<RawValue>>,
    /// Rows of the batch after the last state that are in finished shards.
    pub rows: u64,
    /// Whether nothing but the names of the files is missing.
    pub staged: bool,
    pub(crate) shards: Vec<ShardEntry>,
    pub(crate) rejects: RecordedList,
    pub(crate) passages: RecordedList,
    pub(crate) names: Vec<StagedName>,
    pub(crate) placing: Option<Placing>,
    end: End,
    /// The sound lines.
    chain: Chain,
}

impl RecordedList {
    fn add(&mut self, length: (u64, u64), lines: &str) {
        self.length = length;
        self.lines += lines;
    }
}

impl Unfinished {
    /// Whether every name is one that a run gives, so that no path made of it leads out of its folder.
    fn names_are_ours(&self) -> bool {
        let staged = |name: &String| is_ours(plain_name(name)) || is_staged_name(plain_name(name));
        let mut shards = self.shards.iter().enumerate();
        shards.all(|(index, shard)| plain_name(&shard.name) == staged_name(index))
            && self.names.iter().all(|(from, to)| staged(from) && is_ours(to))
            && self.placing.iter().all(|placing| {
                placing.names_are_ours(MANIFEST_NAME, |name| staged(&name.to_owned()), is_ours)
            })
    }

    /// Takes the output over, unless the run that seemed interrupted ended or continued since the journal was
    /// read. On a disk it can't.
    pub(crate) fn take_over(&self, folder: &mut PreparedFolder) -> Result<(), ShardError> {
        self.check_ended(folder)?;
        folder.lock.claim()?;
        // It may have looked at the lock right before.
        self.check_ended(folder)
    }

    fn check_ended(&self, folder: &PreparedFolder) -> Result<(), ShardError> {
        let End::Object { count, rest } = &self.end else { return Ok(()) };
        let next = object_name(*count);
        let continues = !rest.contains(&next) && disk::exists(&folder.staging, &next)?;
        let is_over = !disk::exists(&folder.staging, &object_name(0))?;
        if continues || is_over { Err(folder.lock.busy()) } else { Ok(()) }
    }

    /// Its finished shards.
    #[must_use]
    pub fn finished(&self) -> FinishedFiles {
        let documents = self.shards.iter().map(|shard| shard.documents).sum();
        FinishedFiles { files: self.shards.len(), documents }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    journal_version: u32,
    /// The id of the staging folder that it is in; of one in a store, that of its first run.
    folder: String,
    job: Box<RawValue>,
}

impl Journal {
    /// A journal that comes into being with its first record.
    pub(crate) fn new(folder: &PreparedFolder, job: Box<RawValue>) -> Self {
        let lines = if folder.is_remote() { Lines::Objects(0) } else { Lines::File(None) };
        Self { job, lines, chain: Chain::default() }
    }

    /// Resumes a journal after its sound part. In a store, `folder` holds the output by now.
    pub(crate) fn resume(folder: &PreparedFolder, unfinished: &Unfinished) -> Result<Self, ShardError> {
        let lines = match &unfinished.end {
            End::Byte(length) => Lines::File(Some(open_to_append(&folder.staging, *length)?)),
            End::Object { count, rest } => {
                disk::for_each(folder.is_remote(), rest, |name| disk::remove(&folder.staging, name))?;
                Lines::Objects(*count)
            }
        };
        // A head is there.
        Ok(Self { job: RawValue::NULL.to_owned(), lines, chain: unfinished.chain.clone() })
    }

    /// Whether there is a record.
    pub(crate) fn is_started(&self) -> bool {
        !matches!(self.lines, Lines::File(None) | Lines::Objects(0))
    }

    /// Adds a record, down to the disk.
    ///
    /// # Errors
    ///
    /// If the disk refuses; in a store also if another run took over.
    pub(crate) fn append(&mut self, folder: &PreparedFolder, record: &Record) -> Result<(), ShardError> {
        let is_new = !self.is_started();
        let head = if is_new { self.chain.head(folder.lock.id(), &self.job) } else { String::new() };
        let lines = self.chain.line(head, record);
        let path = folder.staging.join(JOURNAL_NAME);
        let file = match &mut self.lines {
            Lines::Objects(next) => {
                folder.lock.check()?;
                if !disk::write_new(&folder.staging.join(&object_name(*next)), lines.as_bytes())? {
                    return Err(folder.lock.busy());
                }
                *next += 1;
                return Ok(());
            }
            Lines::File(Some(file)) => file,
            Lines::File(file) => file.insert(disk::create_file(&folder.staging, JOURNAL_NAME)?),
        };
        append(file, &path, &lines)?;
        // Its own name has to last too.
        if is_new { disk::sync_folder(&folder.staging) } else { Ok(()) }
    }

    /// Takes the last record of a journal on a disk back, which spoke of `length` bytes less.
    pub(crate) fn take_back(&mut self, folder: &PreparedFolder, before: Chain) -> Result<(), ShardError> {
        self.lines = Lines::File(Some(open_to_append(&folder.staging, before.length)?));
        self.chain = before;
        Ok(())
    }

    /// The lines so far.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Reads the journal of a staging folder; `None` if there is none with a sound record.
    pub(crate) fn read(folder: &PreparedFolder) -> Result<Option<Unfinished>, ShardError> {
        let staging = &folder.staging;
        let path = staging.join(JOURNAL_NAME);
        let (parsed, objects) = if folder.is_remote() {
            let objects = Objects::read(staging)?;
            (parse::<Record>(&path, &mut objects.parts.concat().as_slice(), None)?, Some(objects))
        } else {
            (read_file::<Record>(staging, folder.lock.id())?, None)
        };
        let Some((job, records, chain)) = parsed else { return Ok(None) };
        let mut unfinished = Unfinished {
            job,
            states: Vec::new(),
            rows: 0,
            staged: false,
            shards: Vec::new(),
            rejects: RecordedList::default(),
            passages: RecordedList::default(),
            names: Vec::new(),
            placing: None,
            end: objects.map_or(End::Byte(chain.length), |objects| objects.end(chain.length)),
            chain,
        };
        for record in records {
            match record {
                Record::Shards(closed) => {
                    unfinished.shards.extend(closed.shards);
                    unfinished.states.push(closed.state);
                    unfinished.rejects.add(closed.rejects, &closed.rejected);
                    unfinished.passages.add(closed.passages, &closed.passage_lines);
                    unfinished.rows = closed.rows;
                }
                Record::Finished { names, state } => {
                    unfinished.states.push(state);
                    (unfinished.names, unfinished.staged) = (names, true);
                }
                Record::Placing(placing) => {
                    (unfinished.placing, unfinished.staged) = (Some(placing), true);
                }
            }
        }
        if !unfinished.names_are_ours() {
            let reason = "names files that goldfish would not".into();
            return Err(ShardError::BadJournal { path, reason });
        }
        let is_empty = unfinished.states.is_empty() && unfinished.placing.is_none();
        Ok((!is_empty).then_some(unfinished))
    }
}

/// The journal of a store.
struct Objects {
    names: Vec<String>,
    /// What is in those that follow each other without a gap.
    parts: Vec<Vec<u8>>,
}

impl Objects {
    fn read(staging: &Folder) -> Result<Self, ShardError> {
        let mut names = disk::names(staging)?;
        names.retain(|name| name.strip_prefix(JOURNAL_NAME).is_some_and(|number| number.starts_with('-')));
        // Beyond 99,999 the numbers get longer.
        names.sort_by_key(|name| (name.len(), name.clone()));
        let whole = names.iter().enumerate().take_while(|(n, name)| **name == object_name(*n)).count();
        let parts = Mutex::new(vec![Vec::new(); whole]);
        let numbers: Vec<usize> = (0..whole).collect();
        disk::for_each(true, &numbers, |&number| {
            let name = &names[number];
            let bytes =
                staging.read(name, MAX_LINE_BYTES).map_err(ShardError::io(&staging.join(name), "reading"))?;
            parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[number] = bytes;
            Ok(())
        })?;
        let parts = parts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Self { names, parts })
    }

    /// The end after so many bytes.
    fn end(mut self, length: u64) -> End {
        let mut bytes = 0;
        let sound = self.parts.iter().take_while(|part| {
            bytes += part.len() as u64;
            bytes <= length
        });
        let count = sound.count();
        End::Object { count, rest: self.names.split_off(count) }
    }
}

/// Opens a journal on a disk after its sound part; the rest goes.
pub(crate) fn open_to_append(staging: &Folder, length: u64) -> Result<File, ShardError> {
    let opened = staging.open_to_append(JOURNAL_NAME, length);
    opened.map_err(ShardError::io(&staging.join(JOURNAL_NAME), "opening"))
}

/// What [`parse`] finds in the journal of a folder on a disk, with the id of that folder.
pub(crate) fn read_file<R: DeserializeOwned>(
    staging: &Folder,
    id: &str,
) -> Result<Option<(Value, Vec<R>, Chain)>, ShardError> {
    let path = staging.join(JOURNAL_NAME);
    match staging.open_file(JOURNAL_NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => parse(&path, &mut BufReader::new(file.map_err(ShardError::io(&path, "opening"))?), Some(id)),
    }
}

/// Adds lines to a journal on a disk, so that they last.
pub(crate) fn append(file: &mut File, path: &Path, lines: &str) -> Result<(), ShardError> {
    file.write_all(lines.as_bytes()).map_err(ShardError::io(path, "writing"))?;
    disk::sync_file(file, path)
}

/// What a journal holds: the job in its head, the sound records, and their chain. `None` where there is no head.
pub(crate) fn parse<R: DeserializeOwned>(
    path: &Path,
    lines: &mut impl BufRead,
    id: Option<&str>,
) -> Result<Option<(Value, Vec<R>, Chain)>, ShardError> {
    let bad = |reason: String| ShardError::BadJournal { path: path.to_owned(), reason };
    let mut chain = Chain::default();
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line).map_err(ShardError::io(path, "reading"))
    };
    next(&mut line)?;
    let Some(head) = chain.sound::<Head>(&line) else { return Ok(None) };
    if head.journal_version != JOURNAL_VERSION {
        return Err(bad(format!(
            "written by another version of goldfish (journal {}, this one has {JOURNAL_VERSION}): resume with that one",
            head.journal_version
        )));
    }
    if id.is_some_and(|id| id != head.folder) {
        return Err(bad("belongs to another unfinished run".into()));
    }
    let job = serde_json::from_str(head.job.get()).unwrap_or_default();
    let mut records = Vec::new();
    while next(&mut line)? > 0 {
        let Some(record) = chain.sound::<R>(&line) else { break };
        records.push(record);
    }
    Ok(Some((job, records, chain)))
}

/// Lines, each of which has a checksum over itself and the checksum of the line before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    /// Checksum of the last line; empty where there is none.
    last: String,
    /// Bytes of all lines.
    pub(crate) length: u64,
}

impl Chain {
    /// The first line.
    pub(crate) fn head(&mut self, folder: &str, job: &RawValue) -> String {
        let head = Head { journal_version: JOURNAL_VERSION, folder: folder.to_owned(), job: job.to_owned() };
        self.line(String::new(), &head)
    }

    /// The lines so far with that of a further record, which may be long: it is put together in place.
    pub(crate) fn line(&mut self, before: String, record: &impl Serialize) -> String {
        let mut lines = before.into_bytes();
        let start = lines.len();
        let json = start + CHECKSUM_BYTES + 1;
        lines.resize(json, b' ');
        // Strings, numbers and lists only: serialization can't fail.
        let _ = serde_json::to_writer(&mut lines, record);
        self.last = self.checksum(&lines[json..]);
        lines[start..json - 1].copy_from_slice(self.last.as_bytes());
        lines.push(b'\n');
        self.length += (lines.len() - start) as u64;
        String::from_utf8(lines).unwrap_or_default()
    }

    /// The record of a further line, if the line is as it was written, and after the same ones.
    pub(crate) fn sound<T: DeserializeOwned>(&mut self, line: &[u8]) -> Option<T> {
        let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (written, json) = text.split_once(' ')?;
        let sound = written == self.checksum(json.as_bytes());
        let record = serde_json::from_str(json).ok().filter(|_| sound)?;
        self.last = written.to_owned();
        self.length += line.len() as u64;
        Some(record)
    }

    fn checksum(&self, json: &[u8]) -> String {
        let mut hashed = HashingWriter::new(std::io::sink());
        // A sink has nothing to fail at.
        let _ = hashed.write_all(self.last.as_bytes()).and_then(|()| hashed.write_all(json));
        hashed.finish().0.hash
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use goldfish_remedy::{Remedies, advice};

    use super::*;
    use crate::{OutputMode, prepare_folder};

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
        let (rejects, rejected, passages, passage_lines) = ((0, 0), String::new(), (0, 0), String::new());
        let shards = vec![shard];
        Record::Shards(ClosedShards { shards, rows: 7, rejects, rejected, passages, passage_lines, state })
    }

    #[test]
    fn every_torn_or_flipped_journal_is_read_up_to_its_last_sound_record() {
        let output = tempfile::tempdir().unwrap();
        let folder = prepare_folder(&output.path().join("out"), OutputMode::New).unwrap().folder().unwrap();
        let mut journal = Journal::new(&folder, RawValue::from_string("{\"k\":4}".into()).unwrap());
        for name in ["shard-00000", "shard-00001", "shard-00002"] {
            journal.append(&folder, &record(name)).unwrap();
        }
        let path = folder.staging.join(JOURNAL_NAME);
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
        assert_eq!(ends.len(), 4);
        let shards = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Journal::read(&folder).unwrap().map_or(0, |unfinished| unfinished.finished().files)
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
        // A line is valid after the one that it was written after, and nowhere else.
        assert_eq!(shards(&[&whole[..ends[0]], &whole[ends[1]..]].concat()), 0);
        assert_eq!(shards(&[&whole[..ends[1]], &whole[ends[2]..]].concat()), 1);
        assert_eq!(shards(&[&whole[..ends[2]], &whole[ends[1]..]].concat()), 2);
        fs::write(&path, &whole[..ends[2] + 5]).unwrap();
        let unfinished = Journal::read(&folder).unwrap().unwrap();
        assert_eq!((unfinished.finished().documents, unfinished.rows), (4, 7));
        let mut again = Journal::resume(&folder, &unfinished).unwrap();
        again.append(&folder, &record("shard-00002")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        again.append(&folder, &record("../../shard-00003")).unwrap();
        assert!(Journal::read(&folder).is_err());
    }

    /// As after an abort, where memory or a limit on it is exhausted.
    #[test]
    fn a_run_that_ended_before_it_finished_anything_is_no_obstacle() {
        let output = tempfile::tempdir().unwrap();
        let path = output.path().join("out");
        for start in [OutputMode::New, OutputMode::Resume, OutputMode::Overwrite, OutputMode::New] {
            let folder = prepare_folder(&path, start).unwrap().folder().unwrap();
            disk::create(&folder.staging, "shard-00000").unwrap();
        }
        let folder = prepare_folder(&path, OutputMode::New).unwrap().folder().unwrap();
        assert_eq!(disk::names(&folder.staging).unwrap(), ["lock"]);
        let mut journal = Journal::new(&folder, RawValue::from_string("{}".into()).unwrap());
        journal.append(&folder, &record("shard-00000")).unwrap();
        drop(folder);
        let remedies = prepare_folder(&path, OutputMode::New).unwrap_err().remedies();
        let advice = advice(&remedies, |setting| setting.name().into()).unwrap();
        assert!(advice.contains("give resume") && advice.contains("give overwrite"), "{advice}");
        assert!(matches!(
            prepare_folder(&path, OutputMode::Resume).unwrap(),
            crate::Prepared::Unfinished(..)
        ));
    }
}
