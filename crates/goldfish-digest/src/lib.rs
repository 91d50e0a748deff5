//! Content hashes of files, computed while they are read or written.
//!
//! The hash is XXH3 with 128 bits and seed 0, as `xxhsum -H2` prints it. It detects accidental changes at the speed of
//! memory; it does not protect against deliberate ones.

use std::io::{self, Read, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

/// Size and content hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileDigest {
    /// Bytes in the file.
    pub size: u64,
    /// `xxh3_128:` and 32 hex digits.
    pub hash: String,
}

impl FileDigest {
    /// The digest of a slice.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.digest()
    }
}

struct Hasher {
    state: Box<Xxh3Default>,
    size: u64,
}

impl Hasher {
    fn new() -> Self {
        Self { state: Box::new(Xxh3Default::new()), size: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    fn digest(&self) -> FileDigest {
        FileDigest { size: self.size, hash: format!("xxh3_128:{:032x}", self.state.digest128()) }
    }
}

/// A reader that hashes all bytes read through it.
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Wraps a reader that is at its start.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new() }
    }

    /// The wrapped reader.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.hasher.size
    }

    /// Lets `read` append to a vector what it reads of the wrapped reader, and hashes that.
    ///
    /// # Errors
    ///
    /// That of `read`; what it appended is hashed all the same.
    pub fn append<T>(
        &mut self,
        into: &mut Vec<u8>,
        read: impl FnOnce(&mut R, &mut Vec<u8>) -> io::Result<T>,
    ) -> io::Result<T> {
        let before = into.len();
        let done = read(&mut self.inner, into);
        self.hasher.update(&into[before..]);
        done
    }

    /// The digest of the bytes read so far.
    pub fn digest(&self) -> FileDigest {
        self.hasher.digest()
    }

    /// Reads to the end, and returns the digest of everything.
    ///
    /// # Errors
    ///
    /// If the wrapped reader can't be read to its end.
    pub fn finish(mut self) -> io::Result<(FileDigest, R)> {
        // Small enough to stay in the cache between reading and hashing.
        let mut rest = vec![0; 1 << 18];
        loop {
            match self.read(&mut rest) {
                Ok(0) => return Ok((self.hasher.digest(), self.inner)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// A writer that hashes all bytes written through it.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps a writer with empty output.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new() }
    }

    /// Wraps a writer that appends to existing output, which is read again from `existing`.
    ///
    /// # Errors
    ///
    /// If `existing` can't be read to its end.
    pub fn after(inner: W, existing: impl Read) -> io::Result<Self> {
        let mut reader = HashingReader::new(existing);
        io::copy(&mut reader, &mut io::sink())?;
        Ok(Self { inner, hasher: reader.hasher })
    }

    /// The wrapped writer.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.hasher.size
    }

    /// The digest of all bytes written, and the wrapped writer.
    pub fn finish(self) -> (FileDigest, W) {
        (self.hasher.digest(), self.inner)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_and_writers_agree_with_the_published_value() {
        // `printf 'goldfish' | xxhsum -H2`, and Python's xxhash.xxh3_128_hexdigest(b"goldfish").
        let expected = FileDigest::of(b"goldfish");
        assert_eq!((expected.size, expected.hash.as_str()), (8, GOLDFISH));

        let mut writer = HashingWriter::new(Vec::new());
        assert!(writer.write_all(b"gold").is_ok() && writer.write_all(b"fish").is_ok());
        assert_eq!(writer.finish(), (expected.clone(), b"goldfish".to_vec()));

        let mut reader = HashingReader::new(&b"goldfish"[..]);
        let mut start = [0; 3];
        assert!(reader.read_exact(&mut start).is_ok());
        let mut more = b"gol".to_vec();
        let read = reader.append(&mut more, |inner, more| inner.take(2).read_to_end(more));
        assert_eq!((read.ok(), &more[..]), (Some(2), &b"goldf"[..]));
        assert_eq!(reader.finish().ok().map(|(digest, _)| digest), Some(expected));
    }

    const GOLDFISH: &str = "xxh3_128:25e7b41dd2579307d844aa51959237ac";
}
