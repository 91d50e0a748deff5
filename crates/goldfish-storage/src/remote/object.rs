//! Objects that are read: in order, ahead of the reader, or at any offset.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::task::JoinHandle;

use super::errors::changed;
use super::location::Location;
use super::request::{metadata_of, tag};
use super::runtime::{ATTEMPTS, pause, runtime, wait};
use crate::limits::{AHEAD_BLOCKS, BLOCK_BYTES, READ_WINDOWS};
use crate::metadata::Metadata;

/// Bytes of the first request at a new offset; each one that continues it fetches twice as much, up to
/// [`BLOCK_BYTES`].
const FIRST_BYTES: u64 = 64 << 10;

/// An object that is open for reading.
#[derive(Debug)]
pub(crate) struct Object {
    shared: Arc<Shared>,
    reading: Mutex<Reading>,
}

/// What all handles know of an object.
#[derive(Debug)]
struct Shared {
    location: Location,
    meta: ObjectMeta,
    /// Why it can't be read any more. A reader that takes it for an error of the contents gets it again.
    failed: OnceLock<(ErrorKind, String)>,
}

/// A handle's position, and what it has in memory.
#[derive(Debug, Default)]
struct Reading {
    position: u64,
    /// The last one used is the last.
    windows: Vec<Window>,
}

/// A block of an object, and those after it that were requested.
#[derive(Debug)]
struct Window {
    start: u64,
    block: Bytes,
    ahead: VecDeque<(u64, Fetch)>,
    /// Where the next request starts.
    next: u64,
    /// Bytes that it asks for.
    step: u64,
}

/// A request that is aborted when no one waits for its answer.
#[derive(Debug)]
struct Fetch(JoinHandle<io::Result<Bytes>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Object {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let location = Location::of(path)?;
        if !location.names_an_object() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not an object but a folder of a store"));
        }
        let head = || location.store.head(&location.key);
        let meta = wait(async { head().await.map_err(|error| location.error(error)) })?;
        let shared = Shared { location, meta, failed: OnceLock::new() };
        Ok(Self { shared: Arc::new(shared), reading: Mutex::default() })
    }

    pub(crate) fn metadata_at_open(&self) -> Metadata {
        metadata_of(&self.shared.meta)
    }

    /// Asks the store about what has this name now.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.shared.check()?;
        let location = &self.shared.location;
        wait(async { location.store.head(&location.key).await.map_err(|error| location.error(error)) })
            .map(|meta| metadata_of(&meta))
    }

    /// The error that ended reading, if one did.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.shared.check()
    }

    pub(crate) fn try_clone(&self) -> Self {
        let position = self.reading().position;
        let reading = Mutex::new(Reading { position, windows: Vec::new() });
        Self { shared: self.shared.clone(), reading }
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64, end: u64) -> io::Result<usize> {
        self.reading().read_at(&self.shared, buffer, (offset, end))
    }

    /// Reads at the position, and moves it.
    pub(crate) fn read_next(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reading = self.reading();
        let position = reading.position;
        let read = reading.read_at(&self.shared, buffer, (position, u64::MAX))?;
        reading.position += read as u64;
        Ok(read)
    }

    pub(crate) fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let mut reading = self.reading();
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.shared.meta.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => reading.position.checked_add_signed(offset),
        };
        let message = "a position before the start";
        reading.position = position.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, message))?;
        Ok(reading.position)
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_next(buffer)
    }
}

impl Reading {
    /// Reads at an offset, and fetches ahead up to an end.
    fn read_at(
        &mut self,
        shared: &Arc<Shared>,
        buffer: &mut [u8],
        (offset, end): (u64, u64),
    ) -> io::Result<usize> {
        if buffer.is_empty() || offset >= shared.meta.size {
            return Ok(0);
        }
        shared.check()?;
        let mut window = match self.windows.iter().position(|window| window.reaches(offset)) {
            Some(index) => self.windows.remove(index),
            None => {
                if self.windows.len() >= READ_WINDOWS {
                    self.windows.remove(0);
                }
                Window::new(offset, (buffer.len() as u64).clamp(FIRST_BYTES, BLOCK_BYTES))
            }
        };
        let asked = offset.saturating_add(buffer.len() as u64);
        let moved = window.move_to(shared, offset, end.max(asked).min(shared.meta.size));
        let block = &window.block;
        let from = (offset.saturating_sub(window.start) as usize).min(block.len());
        let read = buffer.len().min(block.len() - from);
        buffer[..read].copy_from_slice(&block[from..from + read]);
        self.windows.push(window);
        moved.map_err(|error| shared.fail(error))?;
        Ok(read)
    }
}

impl Window {
    /// Nothing yet, from an offset on.
    fn new(start: u64, step: u64) -> Self {
        Self { start, block: Bytes::new(), ahead: VecDeque::new(), next: start, step }
    }

    /// Whether an offset is in what was fetched or requested, or right after it.
    fn reaches(&self, offset: u64) -> bool {
        (self.start..=self.next).contains(&offset)
    }

    /// Makes the block that holds an offset the current one, and fetches ahead up to an end after that.
    fn move_to(&mut self, shared: &Arc<Shared>, offset: u64, end: u64) -> io::Result<()> {
        while offset >= self.start + self.block.len() as u64 {
            let is_first = self.next == self.start;
            if self.ahead.is_empty() {
                self.request(shared, end)?;
            }
            let Some((start, mut fetch)) = self.ahead.pop_front() else { return Ok(()) };
            let fetched = runtime()?.block_on(&mut fetch.0);
            let stopped = |_| Err(io::Error::other("the request was aborted"));
            // Whatever comes after a request that failed is requested again.
            match fetched.unwrap_or_else(stopped) {
                Ok(block) => (self.start, self.block) = (start, block),
                Err(error) => {
                    *self = Self::new(start, FIRST_BYTES);
                    return Err(error);
                }
            }
            // A reader that reads in order will continue.
            let ahead = if self.step < BLOCK_BYTES { 1 } else { AHEAD_BLOCKS };
            while !is_first && self.ahead.len() < ahead && self.next < end {
                self.request(shared, end)?;
            }
        }
        Ok(())
    }

    /// Sends the next request.
    fn request(&mut self, shared: &Arc<Shared>, end: u64) -> io::Result<()> {
        let range = self.next..end.min(self.next + self.step);
        self.next = range.end;
        self.step = (self.step * 2).min(BLOCK_BYTES);
        let start = range.start;
        let fetch = Fetch(runtime()?.spawn(fetch(shared.clone(), range)));
        self.ahead.push_back((start, fetch));
        Ok(())
    }
}

impl Shared {
    fn check(&self) -> io::Result<()> {
        match self.failed.get() {
            None => Ok(()),
            Some((kind, message)) => Err(io::Error::new(*kind, message.as_str())),
        }
    }

    fn fail(&self, error: io::Error) -> io::Error {
        let _ = self.failed.set((error.kind(), error.to_string()));
        error
    }
}

/// Fetches a range of an object, whole.
async fn fetch(shared: Arc<Shared>, range: Range<u64>) -> io::Result<Bytes> {
    let mut attempt = 1;
    loop {
        match transfer(&shared, range.clone()).await {
            Transfer::Whole(bytes) => return Ok(bytes),
            Transfer::Refused(error) => return Err(error),
            Transfer::Broken(error) if attempt == ATTEMPTS => return Err(error),
            Transfer::Broken(_) => {}
        }
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}

enum Transfer {
    Whole(Bytes),
    /// The client repeated the request as often as it does.
    Refused(io::Error),
    /// The answer came, but not its end.
    Broken(io::Error),
}

async fn transfer(shared: &Shared, range: Range<u64>) -> Transfer {
    let Location { store, key, .. } = &shared.location;
    // A weak tag never matches; it is compared below.
    let if_match = shared.meta.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
    let length = range.end - range.start;
    let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match, ..GetOptions::default() };
    let answer = match store.get_opts(key, options).await {
        Ok(answer) => answer,
        Err(error) => return Transfer::Refused(shared.location.error(error)),
    };
    if answer.meta.size != shared.meta.size || tag(&answer.meta) != tag(&shared.meta) {
        return Transfer::Refused(changed());
    }
    // No more is kept than was asked for, whatever a server sends.
    let (mut pieces, mut bytes) = (answer.into_stream(), Vec::with_capacity(length as usize));
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) if (bytes.len() + piece.len()) as u64 <= length => bytes.extend_from_slice(&piece),
            Ok(_) => {
                let message = format!("the store sent more than the {length} bytes that were asked for");
                return Transfer::Refused(io::Error::new(ErrorKind::InvalidData, message));
            }
            Err(error) => return Transfer::Broken(shared.location.error(error)),
        }
    }
    if bytes.len() as u64 == length {
        return Transfer::Whole(bytes.into());
    }
    let message = format!("the store sent {} of {length} bytes", bytes.len());
    Transfer::Broken(io::Error::new(ErrorKind::UnexpectedEof, message))
}
