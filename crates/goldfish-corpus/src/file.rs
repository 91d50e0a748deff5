use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use goldfish_digest::{FileDigest, HashingReader};

use crate::{CorpusError, Format};

/// A file that is read once from the start and hashed on the way.
pub(crate) struct HashingFile {
    path: PathBuf,
    file: HashingReader<File>,
    size: u64,
    modified: Option<SystemTime>,
}

impl HashingFile {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, CorpusError> {
        let (file, metadata) = open_regular(path)?;
        let (size, modified) = (metadata.len(), metadata.modified().ok());
        Ok(Self { path: path.to_owned(), file: HashingReader::new(file), size, modified })
    }

    /// Size when it was opened, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        self.file.position()
    }

    /// Size and hash of what was read so far.
    pub(crate) fn read_so_far(&self) -> FileDigest {
        self.file.digest()
    }

    /// Hashes what was not read, and checks that the file is still the one that was opened.
    pub(crate) fn finish(self) -> Result<FileDigest, CorpusError> {
        let Self { path, file, size, modified } = self;
        let (digest, file) = file.finish().map_err(CorpusError::io(&path, "reading"))?;
        let now = file.metadata().map_err(CorpusError::io(&path, "looking at the file"))?;
        if digest.size != size || now.len() != size || now.modified().ok() != modified {
            return Err(CorpusError::Changed { path, before: size, after: now.len() });
        }
        Ok(digest)
    }
}

/// A file that is hashed before it is read, because its reader doesn't take it from start to end.
pub(crate) struct HashedFile {
    path: PathBuf,
    file: File,
    digest: FileDigest,
    modified: Option<SystemTime>,
}

impl HashedFile {
    /// Opens and hashes a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, CorpusError> {
        let (file, metadata) = open_regular(path)?;
        let (digest, mut file) =
            HashingReader::new(file).finish().map_err(CorpusError::io(path, "reading"))?;
        file.rewind().map_err(CorpusError::io(path, "reading"))?;
        if digest.size != metadata.len() {
            let (before, after) = (metadata.len(), digest.size);
            return Err(CorpusError::Changed { path: path.to_owned(), before, after });
        }
        Ok(Self { path: path.to_owned(), file, digest, modified: metadata.modified().ok() })
    }

    /// The file, at its start unless another handle of it was moved.
    pub(crate) fn handle(&self) -> Result<File, CorpusError> {
        self.file.try_clone().map_err(CorpusError::io(&self.path, "opening"))
    }

    pub(crate) fn digest(&self) -> &FileDigest {
        &self.digest
    }

    /// Size when it was opened, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.digest.size
    }

    /// Checks that the file is still the one that was hashed.
    pub(crate) fn finish(self) -> Result<FileDigest, CorpusError> {
        let Self { path, file, digest, modified } = self;
        let now = file.metadata().map_err(CorpusError::io(&path, "looking at the file"))?;
        if now.len() != digest.size || now.modified().ok() != modified {
            return Err(CorpusError::Changed { path, before: digest.size, after: now.len() });
        }
        Ok(digest)
    }
}

impl Read for HashingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Opens a regular file; a folder or a pipe is refused with a clear error.
pub(crate) fn open_regular(path: &Path) -> Result<(File, Metadata), CorpusError> {
    // Ask before opening: opening a FIFO would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(CorpusError::io(path, "opening"))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(CorpusError::Io { path: path.to_owned(), action: "opening", source });
    }
    let file = File::open(path).map_err(CorpusError::io(path, "opening"))?;
    Ok((file, metadata))
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

/// Whether the ending of a name tells that the file is compressed.
pub(crate) fn is_compressed(path: &Path) -> bool {
    matches!(ending(path).as_str(), "gz" | "zst")
}

fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// A file behind its decompressor, by the ending of its name.
pub(crate) enum Decompressed {
    Plain(HashingFile),
    Gzip(Box<flate2::read::MultiGzDecoder<BufReader<HashingFile>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<HashingFile>>>),
}

impl Decompressed {
    pub(crate) fn open(path: &Path, format: Format) -> Result<Self, CorpusError> {
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
