//! Files that are read and hashed.

use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use goldfish_digest::{FileDigest, HashingReader};
use goldfish_storage::{File, Metadata, Stamp};

use crate::error::CorpusError;

/// A file that is read once from the start and hashed on the way.
pub(crate) struct HashingFile {
    path: PathBuf,
    file: HashingReader<File>,
    size: u64,
    /// `None` for standard input, whose size is not known.
    stamp: Option<Stamp>,
}

/// Whether an input is standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// The path of standard input.
pub(crate) const STDIN: &str = "-";

#[cfg(unix)]
fn stdin() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?).into())
}

#[cfg(not(unix))]
fn stdin() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

impl HashingFile {
    /// Opens a regular file, or standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, CorpusError> {
        let path = path.to_owned();
        if is_stdin(&path) {
            let file = stdin().map_err(CorpusError::io(&path, "opening standard input"))?;
            return Ok(Self { path, file: HashingReader::new(file), size: 0, stamp: None });
        }
        let (file, Metadata { size, stamp, .. }) = open_regular(&path)?;
        Ok(Self { path, file: HashingReader::new(file), size, stamp: Some(stamp) })
    }

    /// Size when it was opened, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        self.file.position()
    }

    /// An error in the file's contents; the store's error, if that is what kept the contents from being read.
    pub(crate) fn error(&self, format: &'static str, reason: impl ToString) -> CorpusError {
        error(&self.path, self.file.get_ref(), format, reason)
    }

    /// Appends the next bytes of the file to `into`.
    pub(crate) fn append_to(&mut self, into: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
        let read = self.file.append(into, |file, into| file.append_to(into, bytes))?;
        if read < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Size and hash of what was read so far.
    pub(crate) fn read_so_far(&self) -> FileDigest {
        self.file.digest()
    }

    /// Hashes what was not read, and checks that the file is still the one that was opened.
    pub(crate) fn finish(self) -> Result<FileDigest, CorpusError> {
        let Self { path, file, size, stamp } = self;
        let (digest, file) = file.finish().map_err(CorpusError::io(&path, "reading"))?;
        let Some(stamp) = stamp else { return Ok(digest) };
        if digest.size != size {
            return Err(CorpusError::Changed { path, before: size, after: digest.size });
        }
        check_unchanged(path, &file, size, &stamp)?;
        Ok(digest)
    }
}

/// A file that is not read from start to end: checked first, so that a broken one is refused before a
/// terabyte is hashed, then hashed, then read.
pub(crate) struct OpenedFile {
    path: PathBuf,
    file: File,
    size: u64,
    stamp: Stamp,
}

impl OpenedFile {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, CorpusError> {
        let (file, Metadata { size, stamp, .. }) = open_regular(path)?;
        Ok(Self { path: path.to_owned(), file, size, stamp })
    }

    /// The file. On a disk all handles share one position, which hashing resets to the start.
    pub(crate) fn handle(&self) -> Result<File, CorpusError> {
        self.file.try_clone().map_err(CorpusError::io(&self.path, "opening"))
    }

    /// As [`HashingFile::error`].
    pub(crate) fn error(&self, format: &'static str, reason: impl ToString) -> CorpusError {
        error(&self.path, &self.file, format, reason)
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Hashes it while it is read from its start to its end.
    pub(crate) fn hash_while_read(mut self) -> Result<ReadFile, CorpusError> {
        self.file.rewind().map_err(CorpusError::io(&self.path, "reading"))?;
        let Self { path, file, size, stamp } = self;
        let file = HashingFile { path, file: HashingReader::new(file), size, stamp: Some(stamp) };
        Ok(ReadFile(Arc::new(Mutex::new(file))))
    }

    /// Hashes it whole.
    pub(crate) fn hash(self) -> Result<HashedFile, CorpusError> {
        let Self { path, mut file, size, stamp } = self;
        let hash = || {
            file.rewind()?;
            let (digest, mut file) = HashingReader::new(file).finish()?;
            file.rewind()?;
            Ok((digest, file))
        };
        let (digest, file) = hash().map_err(CorpusError::io(&path, "reading"))?;
        if digest.size != size {
            return Err(CorpusError::Changed { path, before: size, after: digest.size });
        }
        Ok(HashedFile { path, file, digest, stamp })
    }
}

/// A file that was hashed before it is read.
pub(crate) struct HashedFile {
    path: PathBuf,
    file: File,
    digest: FileDigest,
    stamp: Stamp,
}

impl HashedFile {
    /// The file, at its start unless another handle of it was moved.
    pub(crate) fn handle(&self) -> Result<File, CorpusError> {
        self.file.try_clone().map_err(CorpusError::io(&self.path, "opening"))
    }

    /// As [`HashingFile::error`].
    pub(crate) fn error(&self, format: &'static str, reason: impl ToString) -> CorpusError {
        error(&self.path, &self.file, format, reason)
    }

    pub(crate) fn digest(&self) -> &FileDigest {
        &self.digest
    }

    /// Checks that the file is still the one that was hashed.
    pub(crate) fn finish(self) -> Result<FileDigest, CorpusError> {
        let Self { path, file, digest, stamp } = self;
        check_unchanged(path, &file, digest.size, &stamp)?;
        Ok(digest)
    }
}

/// A file that a library reads from start to end, and which is hashed on the way: the library has one handle, who reports the hash
/// another.
#[derive(Clone)]
pub(crate) struct ReadFile(Arc<Mutex<HashingFile>>);

/// So many bytes are hashed while they are in the processor's cache.
const HASHED_AT_ONCE: usize = 1 << 18;

impl ReadFile {
    fn lock(&self) -> MutexGuard<'_, HashingFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for ReadFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = buffer.len().min(HASHED_AT_ONCE);
        self.lock().read(&mut buffer[..bytes])
    }
}

/// A file whose contents a library reads in its own way.
pub(crate) enum LibraryFile {
    /// It was hashed before.
    Hashed(HashedFile),
    /// It is hashed on the way.
    Read(ReadFile),
}

impl LibraryFile {
    /// As [`HashingFile::error`].
    pub(crate) fn error(&self, format: &'static str, reason: impl ToString) -> CorpusError {
        match self {
            Self::Hashed(file) => file.error(format, reason),
            Self::Read(file) => file.lock().error(format, reason),
        }
    }

    /// Size of the file when it was opened, in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Hashed(file) => file.digest().size,
            Self::Read(file) => file.lock().size(),
        }
    }

    /// Bytes read so far, if that is known.
    pub(crate) fn position(&self) -> Option<u64> {
        match self {
            Self::Hashed(_) => None,
            Self::Read(file) => Some(file.lock().position()),
        }
    }

    /// Size and hash of what was read so far, or more.
    pub(crate) fn read_so_far(&self) -> FileDigest {
        match self {
            Self::Hashed(file) => file.digest().clone(),
            Self::Read(file) => file.lock().read_so_far(),
        }
    }

    /// Hashes what was not read, and checks that the file is still the one that was opened. The library has no handle of it any
    /// more.
    pub(crate) fn finish(self) -> Result<FileDigest, CorpusError> {
        match self {
            Self::Hashed(file) => file.finish(),
            Self::Read(ReadFile(file)) => match Arc::into_inner(file) {
                Some(file) => file.into_inner().unwrap_or_else(PoisonError::into_inner).finish(),
                None => unreachable!("the library's handle is dropped before"),
            },
        }
    }
}

/// Checks that the path still leads to the file that was opened, unchanged.
fn check_unchanged(path: PathBuf, file: &File, size: u64, stamp: &Stamp) -> Result<(), CorpusError> {
    // On a disk the open file stays when another replaces it.
    let now = if file.disk().is_some() { goldfish_storage::metadata(&path) } else { file.metadata() };
    let now = now.map_err(CorpusError::io(&path, "looking at it after reading"))?;
    if now.size != size || now.stamp != *stamp {
        return Err(CorpusError::Changed { path, before: size, after: now.size });
    }
    Ok(())
}

impl Read for HashingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

fn error(path: &Path, file: &File, format: &'static str, reason: impl ToString) -> CorpusError {
    match file.check() {
        Ok(()) => CorpusError::malformed(path, format, reason),
        Err(source) => CorpusError::Io { path: path.to_owned(), action: "reading", source },
    }
}

/// Opens a regular file; a folder or a pipe is refused with a clear error.
pub(crate) fn open_regular(path: &Path) -> Result<(File, Metadata), CorpusError> {
    File::open_regular(path).map_err(CorpusError::io(path, "opening"))
}

/// Reads and hashes a whole file.
///
/// # Errors
///
/// If the file can't be read, or changes meanwhile.
pub fn digest_file(path: &Path) -> Result<FileDigest, CorpusError> {
    HashingFile::open(path)?.finish()
}

/// Reads and hashes the first `size` bytes of a file; fewer where it is shorter.
///
/// # Errors
///
/// If the file can't be read.
pub fn digest_start(path: &Path, size: u64) -> Result<FileDigest, CorpusError> {
    let (file, _) = open_regular(path)?;
    let (digest, _) =
        HashingReader::new(file.take(size)).finish().map_err(CorpusError::io(path, "reading"))?;
    Ok(digest)
}

/// Whether the file's name says that it is compressed.
pub(crate) fn is_compressed(path: &Path) -> bool {
    matches!(ending(path).as_str(), "gz" | "zst")
}

fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// A file with its decompressor, chosen by the ending of its name.
pub(crate) enum Decompressed {
    Plain(HashingFile),
    Gzip(Box<flate2::read::MultiGzDecoder<BufReader<HashingFile>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<HashingFile>>>),
}

impl Decompressed {
    pub(crate) fn open(path: &Path, format: &'static str) -> Result<Self, CorpusError> {
        let file = HashingFile::open(path)?;
        Ok(match ending(path).as_str() {
            "gz" => Self::Gzip(Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(
                1 << 20,
                file,
            )))),
            "zst" => Self::Zstd(Box::new(
                zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(1 << 20, file))
                    .map_err(|e| CorpusError::malformed(path, format, e))?,
            )),
            _ => Self::Plain(file),
        })
    }

    /// The file, before decompression.
    pub(crate) fn file(&self) -> &HashingFile {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    pub(crate) fn finish(self) -> Result<FileDigest, CorpusError> {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
        }
        .finish()
    }
}

impl Read for Decompressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
