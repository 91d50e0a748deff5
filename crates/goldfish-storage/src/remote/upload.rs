//! Objects that are written: whole if they are small, else in parts.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;

use super::location::Location;
use super::request::{ask, tag};
use super::runtime::{runtime, wait};
use crate::limits::{PART_BYTES, PARTS_AT_ONCE};

/// An object that is being written.
pub(crate) struct Upload {
    location: Location,
    /// Bytes so far.
    written: u64,
    /// What was not sent yet.
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

/// Parts that were sent.
struct Parts {
    /// The tag of the object that is replaced, if there is one.
    replaced: Option<String>,
    upload: Box<dyn MultipartUpload>,
    sent: VecDeque<JoinHandle<object_store::Result<()>>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("key", &self.location.key).field("state", &self.state).finish()
    }
}

impl Upload {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let location = Location::writable(path)?;
        if !location.names_an_object() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not the name of an object but of a folder"));
        }
        Ok(Self { location, written: 0, part: Vec::new(), parts: None, state: State::Open })
    }

    /// Sends the rest, and makes the object appear.
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
        let location = &self.location;
        match &mut self.parts {
            None => {
                let whole: PutPayload = std::mem::take(&mut self.part).into();
                wait(ask(location, || location.store.put(&location.key, whole.clone())))?;
            }
            Some(parts) => {
                let completed =
                    wait(async { parts.upload.complete().await.map_err(|error| location.error(error)) });
                // If the answer was lost, the object exists, and the store doesn't know the upload any more.
                let exists = || {
                    let found = wait(ask(location, || location.store.head(&location.key)));
                    found.is_ok_and(|meta| meta.size == self.written && Some(tag(&meta)) != parts.replaced)
                };
                completed.map(drop).or_else(|error| if exists() { Ok(()) } else { Err(error) })?;
            }
        }
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        let message = match self.state {
            State::Open => return Ok(()),
            State::Complete => "the object is complete; nothing can be written after it",
            State::Failed => "the upload failed before",
        };
        Err(io::Error::new(ErrorKind::Unsupported, message))
    }

    /// Nothing continues after an error: a part would be missing.
    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        act(self).inspect_err(|_| self.state = State::Failed)
    }

    /// Sends a part, once few enough others are being sent.
    fn send_part(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let location = &self.location;
        if self.parts.is_none() {
            let replaced = match wait(ask(location, || location.store.head(&location.key))) {
                Ok(meta) => Some(tag(&meta)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let upload = wait(ask(location, || location.store.put_multipart(&location.key)))?;
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

    /// Waits for the first part that is being sent; whether there was one.
    fn settle_one(&mut self) -> io::Result<bool> {
        let Some(sent) = self.parts.as_mut().and_then(|parts| parts.sent.pop_front()) else {
            return Ok(false);
        };
        let sent = runtime()?.block_on(sent).map_err(|_| io::Error::other("the upload of a part stopped"))?;
        sent.map_err(|error| self.location.error(error))?;
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
    /// Parts of an object that never appeared would be paid for until someone removed them.
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
