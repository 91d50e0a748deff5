use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
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

/// A file behind its decompressor, by the ending of its name.
pub(crate) enum Decompressed {
    Plain(HashingFile),
    Gzip(Box<flate2::read::MultiGzDecoder<BufReader<HashingFile>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<HashingFile>>>),
}

impl Decompressed {
    pub(crate) fn open(path: &Path, format: Format) -> Result<Self, CorpusError> {
        let file = HashingFile::open(path)?;
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        Ok(match ending.as_str() {
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

    /// Bytes of the file read so far, before decompression.
    pub(crate) fn position(&self) -> u64 {
        match self {
            Self::Plain(file) => file.position(),
            Self::Gzip(decoder) => decoder.get_ref().get_ref().position(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref().position(),
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
