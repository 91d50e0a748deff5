//! Objects that are written: whole if they are small, else in parts.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;

use super::errors::told;
use super::place::Place;
use super::{ask, runtime, tag, wait};
use crate::{PART_BYTES, PARTS_AT_ONCE};

/// An object that is being written.
pub(crate) struct Upload {
    place: Place,
    /// Bytes so far.
    written: u64,
    /// What is not on its way yet.
    part: Vec<u8>,
    parts: Option<Parts>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Complete,
    /// What was written so far is lost.
    Failed,
}

/// Parts that the store has or gets.
struct Parts {
    /// The tag of the object that had the name before, if one had.
    replaced: Option<String>,
    upload: Box<dyn MultipartUpload>,
    sent: VecDeque<JoinHandle<object_store::Result<()>>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("key", &self.place.key).field("state", &self.state).finish()
    }
}

impl Upload {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let place = Place::to_write(path)?;
        if !place.names_an_object() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not the name of an object but of a folder"));
        }
        Ok(Self { place, written: 0, part: Vec::new(), parts: None, state: State::Open })
    }

    /// Sends what is left, and lets the object come into being.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        if self.state == State::Complete {
            return Ok(());
        }
        self.check()?;
        self.guarded(Self::finish)?;
        self.state = State::Complete;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.parts.is_some() {
            self.send_part()?;
            while self.settle_one()? {}
        }
        let place = &self.place;
        match &mut self.parts {
            None => {
                let whole: PutPayload = std::mem::take(&mut self.part).into();
                wait(ask(place, || place.store.put(&place.key, whole.clone())))?;
            }
            Some(parts) => {
                let completed =
                    wait(async { parts.upload.complete().await.map_err(|error| told(place, error)) });
                // Where the answer was lost, the object is there; asked again, the store knows no such upload.
                let is_there = || {
                    let found = wait(ask(place, || place.store.head(&place.key)));
                    found.is_ok_and(|meta| meta.size == self.written && Some(tag(&meta)) != parts.replaced)
                };
                completed.map(drop).or_else(|error| if is_there() { Ok(()) } else { Err(error) })?;
            }
        }
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        let message = match self.state {
            State::Open => return Ok(()),
            State::Complete => "the object is complete; what comes behind it needs another one",
            State::Failed => "the upload failed before",
        };
        Err(io::Error::new(ErrorKind::Unsupported, message))
    }

    /// Nothing goes on behind an error: a part would be missing.
    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        act(self).inspect_err(|_| self.state = State::Failed)
    }

    /// Sends a part on its way, when there is room.
    fn send_part(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let place = &self.place;
        if self.parts.is_none() {
            let replaced = match wait(ask(place, || place.store.head(&place.key))) {
                Ok(meta) => Some(tag(&meta)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let upload = wait(ask(place, || place.store.put_multipart(&place.key)))?;
            self.parts = Some(Parts { replaced, upload, sent: VecDeque::new() });
        }
        while self.parts.as_ref().is_some_and(|parts| parts.sent.len() >= PARTS_AT_ONCE) {
            self.settle_one()?;
        }
        if let Some(parts) = &mut self.parts {
            let sending = parts.upload.put_part(std::mem::take(&mut self.part).into());
            parts.sent.push_back(runtime()?.spawn(sending));
        }
        Ok(())
    }

    /// Waits for the first part that is on its way; whether there was one.
    fn settle_one(&mut self) -> io::Result<bool> {
        let Some(sent) = self.parts.as_mut().and_then(|parts| parts.sent.pop_front()) else {
            return Ok(false);
        };
        let sent = runtime()?.block_on(sent).map_err(|_| io::Error::other("the upload of a part stopped"))?;
        sent.map_err(|error| told(&self.place, error))?;
        Ok(true)
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let written = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..written]);
        self.written += written as u64;
        if self.part.len() == PART_BYTES {
            self.guarded(Self::send_part)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    /// Parts of an object that never came into being would be paid for until somebody removed them.
    fn drop(&mut self) {
        if self.state == State::Complete {
            return;
        }
        if let (Some(mut parts), Ok(runtime)) = (self.parts.take(), runtime()) {
            parts.sent.iter().for_each(JoinHandle::abort);
            // Best effort: the error that led here is the one to report.
            let _ = runtime.block_on(parts.upload.abort());
        }
    }
}
