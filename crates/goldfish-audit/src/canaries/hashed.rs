//! SHA-256 of what is written.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::draw::hex;

/// A writer that hashes what it passes on.
pub(super) struct Hashed<W> {
    pub(super) inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Hashed<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Bytes and SHA-256 of what was written so far.
    pub(super) fn digest(&self) -> (u64, String) {
        (self.size, hex(&self.hasher.clone().finalize()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
