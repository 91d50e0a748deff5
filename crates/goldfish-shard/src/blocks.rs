//! Files that are written in large blocks, from a thread of their own.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use goldfish_digest::{FileDigest, HashingWriter};

/// Bytes of a block, which go to the thread at once.
const BLOCK_BYTES: usize = 512 << 10;

/// Bytes that the system copies at once, starting at a multiple of that in the file: a fifth faster than what comes in odd sizes, a
/// column at a time. Far more at once may be much slower, since it takes larger stretches of free memory, which the host of a virtual
/// machine may have to bring back.
const WRITE_BYTES: usize = 128 << 10;

/// Blocks that may wait for the thread that writes. With the one that it writes and the one that is being filled these are all there
/// are.
const WAITING: usize = 2;

/// A file that is hashed and gathered in blocks, which a thread of its own writes in order. A file of less than a block is written at
/// its end, without that thread.
pub(crate) struct BlockWriter<W: Write + Send + 'static> {
    block: Vec<u8>,
    hash: HashingWriter<io::Sink>,
    target: Target<W>,
}

enum Target<W> {
    /// No block is full yet.
    File(W),
    Thread(WritingThread<W>),
    /// The thread ended with an error, which was returned.
    Failed,
}

struct WritingThread<W> {
    full: SyncSender<Vec<u8>>,
    /// Blocks that were written, to be filled again.
    written: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> BlockWriter<W> {
    /// An empty file.
    pub(crate) fn new(file: W) -> Self {
        Self { block: Vec::new(), hash: HashingWriter::new(io::sink()), target: Target::File(file) }
    }

    /// Hands the block to the thread, and takes another one.
    fn send(&mut self) -> io::Result<()> {
        // Here and not on the thread: the block is still in the processor's cache.
        self.hash.write_all(&self.block)?;
        let thread = match std::mem::replace(&mut self.target, Target::Failed) {
            Target::File(file) => WritingThread::start(file)?,
            Target::Thread(thread) => thread,
            Target::Failed => return Err(failed_before()),
        };
        let next = thread.written.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK_BYTES));
        match thread.full.send(std::mem::replace(&mut self.block, next)) {
            Ok(()) => self.target = Target::Thread(thread),
            // It hung up, with an error.
            Err(_) => return thread.end().and(Err(failed_before())),
        }
        Ok(())
    }

    /// Writes the rest. Returns the digest of all that was written, and the file.
    ///
    /// # Errors
    ///
    /// If a write failed, be it an earlier one.
    pub(crate) fn finish(mut self) -> io::Result<(FileDigest, W)> {
        self.hash.write_all(&self.block)?;
        let block = std::mem::take(&mut self.block);
        let file = match std::mem::replace(&mut self.target, Target::Failed) {
            Target::File(mut file) => {
                write(&block, &mut file)?;
                file
            }
            Target::Thread(thread) => {
                // If it hung up, its error comes next.
                let _ = thread.full.send(block);
                thread.end()?
            }
            Target::Failed => return Err(failed_before()),
        };
        let hash = std::mem::replace(&mut self.hash, HashingWriter::new(io::sink()));
        Ok((hash.finish().0, file))
    }
}

impl<W: Write + Send + 'static> WritingThread<W> {
    fn start(mut file: W) -> io::Result<Self> {
        let (full, blocks) = sync_channel::<Vec<u8>>(WAITING);
        let (empty, written) = sync_channel(WAITING);
        let work = move || {
            for mut block in blocks {
                write(&block, &mut file)?;
                block.clear();
                // One too many is freed.
                let _ = empty.try_send(block);
            }
            Ok(file)
        };
        let thread = std::thread::Builder::new().name("goldfish-write".into()).spawn(work)?;
        Ok(Self { full, written, thread })
    }

    /// Waits until all is written.
    fn end(self) -> io::Result<W> {
        let Self { full, written: _written, thread } = self;
        drop(full);
        thread.join().map_err(|_| io::Error::other("the thread that writes stopped"))?
    }
}

fn write(block: &[u8], file: &mut impl Write) -> io::Result<()> {
    block.chunks(WRITE_BYTES).try_for_each(|bytes| file.write_all(bytes))
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write failed")
}

impl<W: Write + Send + 'static> Write for BlockWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> Drop for BlockWriter<W> {
    /// Nothing is written to a file that was given up once this returns.
    fn drop(&mut self) {
        if let Target::Thread(thread) = std::mem::replace(&mut self.target, Target::Failed) {
            // Whoever gives a file up has an error of its own to report.
            let _ = thread.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Says that a write began, and waits until it may end.
    struct Slow {
        began: Sender<usize>,
        may_end: Receiver<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.began.send(bytes.len()).unwrap();
            self.may_end.recv().unwrap()?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..=250).cycle().take(count).collect()
    }

    #[test]
    fn all_is_written_in_order_whatever_the_pieces() {
        for count in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 7 * BLOCK_BYTES + 12_345] {
            for piece in [777, 65_536, 3 * BLOCK_BYTES] {
                let (all, mut writer) = (bytes(count), BlockWriter::new(Vec::new()));
                all.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
                assert!(writer.finish().unwrap() == (FileDigest::of(&all), all), "{count} by {piece}");
            }
        }
    }

    #[test]
    fn whoever_encodes_does_not_wait_for_a_write_until_the_blocks_are_used_up() {
        let ((began, begins), (end, may_end)) = (channel(), channel());
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut writer = BlockWriter::new(Slow { began, may_end, written: written.clone() });
        let all = bytes((WAITING + 2) * BLOCK_BYTES);
        // A write is under way and can't end: the blocks that may wait are filled meanwhile, and most of another.
        writer.write_all(&all[..BLOCK_BYTES]).unwrap();
        assert_eq!(begins.recv().unwrap(), WRITE_BYTES);
        writer.write_all(&all[BLOCK_BYTES..all.len() - 1]).unwrap();
        assert_eq!((begins.try_recv().ok(), written.lock().unwrap().len()), (None, 0));
        // One more byte has to wait for it.
        (0..all.len() / WRITE_BYTES).for_each(|_| end.send(Ok(())).unwrap());
        writer.write_all(&all[all.len() - 1..]).unwrap();
        drop(end);
        let (digest, _) = writer.finish().unwrap();
        assert!(digest == FileDigest::of(&all) && *written.lock().unwrap() == all);
    }

    #[test]
    fn a_write_that_failed_is_told_and_nothing_is_written_after_it() {
        for at_the_end in [false, true] {
            let ((began, _begins), (end, may_end)) = (channel(), channel());
            let written = Arc::new(Mutex::new(Vec::new()));
            let mut writer = BlockWriter::new(Slow { began, may_end, written: written.clone() });
            end.send(Ok(())).unwrap();
            let fail = || end.send(Err(io::Error::other("full"))).unwrap();
            let error = if at_the_end {
                // Nothing fails before all is handed over.
                writer.write_all(&bytes(2 * BLOCK_BYTES + 9)).unwrap();
                fail();
                writer.finish().err().unwrap()
            } else {
                fail();
                let error = writer.write_all(&bytes((WAITING + 5) * BLOCK_BYTES)).unwrap_err();
                assert!(writer.write_all(&bytes(BLOCK_BYTES)).is_err());
                assert!(writer.finish().is_err());
                error
            };
            assert_eq!((error.to_string().as_str(), written.lock().unwrap().len()), ("full", WRITE_BYTES));
        }
    }

    #[test]
    fn a_file_that_is_given_up_is_not_written_any_more() {
        let ((began, begins), (end, may_end)) = (channel(), channel());
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut writer = BlockWriter::new(Slow { began, may_end, written });
        writer.write_all(&bytes(BLOCK_BYTES)).unwrap();
        (0..BLOCK_BYTES / WRITE_BYTES).for_each(|_| end.send(Ok(())).unwrap());
        drop(writer);
        assert_eq!(begins.iter().take(BLOCK_BYTES / WRITE_BYTES).sum::<usize>(), BLOCK_BYTES);
        assert!(begins.recv().is_err(), "the thread and its file are gone");
    }
}
