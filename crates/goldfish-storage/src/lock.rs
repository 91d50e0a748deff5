//! Locks between processes of one machine.

use std::fs::{self, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, Write};

use cap_fs_ext::MetadataExt;
use cap_std::fs::OpenOptions;

use crate::folder::Folder;

/// What the file of a lock begins with, before the id of its folder.
const MARK: &str = "goldfish ";

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 16;

/// How often the file is opened again when it was removed in between.
const TRIES: usize = 16;

/// A locked file in a folder. The system unlocks it when the process ends, however it ends.
///
/// The file says that goldfish made the folder's contents, and holds a random id, unique to the folder.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
    id: String,
}

impl Lock {
    pub(crate) fn take(folder: &Folder, name: &str) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            let file = match folder.create(name) {
                Ok(output) => output.into_disk().ok_or(io::ErrorKind::Unsupported)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match folder.open_regular(name, OpenOptions::new().read(true).write(true)) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        opened => opened?,
                    }
                }
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                // Some network file systems have no locks; then the user has to make sure of it.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                locked => locked?,
            }
            // The last process that held it may have removed it after it was opened here.
            if folder.is_entry(name, &file)? {
                let id = read_id(&file)?;
                return Ok(Some(Self { _file: file, id }));
            }
        }
        Ok(None)
    }

    /// The id of the folder's contents, of 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The id in the file. An empty file gets one now, and so does one whose first write was interrupted.
fn read_id(mut file: &fs::File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(256).read_to_end(&mut bytes)?;
    let id = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix(MARK)?.strip_suffix('\n'));
    if let Some(id) = id.filter(|id| is_id(id)) {
        return Ok(id.to_owned());
    }
    let is_start = |bytes: &[u8]| bytes.iter().zip(MARK.bytes()).all(|(&found, byte)| found == byte);
    let whole = MARK.len() + ID_DIGITS + 1;
    if bytes.len() > whole || !(bytes.iter().all(|&byte| byte == 0) || is_start(&bytes)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is not a lock of goldfish"));
    }
    let id = random_id();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{MARK}{id}\n").as_bytes())?;
    Ok(id)
}

/// An id that no other call returns.
#[must_use]
pub fn random_id() -> String {
    // The keys of a fresh hash state come from the system's source of random numbers.
    let mut random = RandomState::new().build_hasher();
    random.write_u32(std::process::id());
    format!("{:016x}", random.finish())
}

/// Whether a text is one that [`random_id`] could return.
#[must_use]
pub fn is_id(id: &str) -> bool {
    id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Folder {
    /// Takes the lock of that name, a file that is made where it is missing; `None` if another process holds it.
    ///
    /// # Errors
    ///
    /// If something else has the name, the folder is in a store, or the system refuses.
    pub fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        Lock::take(self, name)
    }

    /// Whether an entry is the file that is open.
    fn is_entry(&self, name: &str, file: &fs::File) -> io::Result<bool> {
        let opened = cap_std::fs::Metadata::from_file(file)?;
        let identity = |metadata: &cap_std::fs::Metadata| (metadata.dev(), metadata.ino());
        match self.entry_metadata(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => Ok(identity(&found?) == identity(&opened)),
        }
    }
}
