use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use goldfish_storage::Output;

/// Bytes after which what was written so far is sent on its way to the disk.
const STRIDE: u64 = 32 << 20;

/// A file that is brought to disk from a thread of its own while more is written, so that little is left to wait for
/// at its end. An object is uploaded in parts anyway.
pub(crate) struct FlushedFile {
    file: Output,
    /// Bytes since the last order to flush.
    waiting: u64,
    flusher: Option<Flusher>,
}

struct Flusher {
    orders: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl FlushedFile {
    pub(crate) fn new(file: Output) -> Self {
        Self { file, waiting: 0, flusher: None }
    }

    /// Orders a flush of all that was written. One that is still busy will do it at its next turn.
    fn flush_soon(&mut self) -> io::Result<()> {
        let flusher = match (&self.flusher, self.file.disk()) {
            (Some(flusher), _) => flusher,
            (None, Some(file)) => self.flusher.insert(Flusher::start(file.try_clone()?)?),
            (None, None) => return Ok(()),
        };
        // A thread that has ended returns its error in the end.
        let _ = flusher.orders.try_send(());
        Ok(())
    }

    /// The file, for the flush of what is left.
    ///
    /// # Errors
    ///
    /// If a flush on the way failed: the system reports that only once.
    pub(crate) fn finish(self) -> io::Result<Output> {
        if let Some(Flusher { orders, thread }) = self.flusher {
            drop(orders);
            thread.join().map_err(|_| io::Error::other("the thread that flushes stopped"))??;
        }
        Ok(self.file)
    }
}

impl Flusher {
    fn start(file: File) -> io::Result<Self> {
        let (orders, receiver) = sync_channel(1);
        let flush = move || receiver.into_iter().try_for_each(|()| file.sync_data());
        let thread = std::thread::Builder::new().name("goldfish-flush".into()).spawn(flush)?;
        Ok(Self { orders, thread })
    }
}

impl Write for FlushedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.waiting += written as u64;
        if self.waiting >= STRIDE {
            self.waiting = 0;
            self.flush_soon()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_written_is_there_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = FlushedFile::new(Output::create(&path).unwrap());
        let block: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
        for _ in 0..24 {
            file.write_all(&block).unwrap();
        }
        assert!(file.flusher.is_some(), "72 MiB are more than one stride");
        file.finish().unwrap().sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), block.repeat(24));
    }

    #[test]
    fn a_flush_that_failed_is_told_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = FlushedFile::new(Output::create(&folder.path().join("file")).unwrap());
        let (orders, receiver) = sync_channel(1);
        let fail = move || receiver.into_iter().try_for_each(|()| Err(io::Error::other("full")));
        file.flusher = Some(Flusher { orders, thread: std::thread::spawn(fail) });
        file.flush_soon().unwrap();
        assert_eq!(file.finish().unwrap_err().to_string(), "full");
    }
}
