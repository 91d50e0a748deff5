//! Folders whose files are reached without following links.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::file::File;
use crate::metadata::{Entry, Kind};
use crate::output::Output;
use crate::remote;
use crate::url::is_remote;

/// A folder that is written to, on a disk or in an object store.
///
/// On a disk every call works on the folder that was opened, even if its name is reused later, and takes names of entries
/// rather than paths. A link is never followed, only regular files are opened, and no existing file is written
/// to: a file is created under a new name, or the call fails. So files that someone left in the folder can't make a
/// call touch anything outside of it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// `None` in a store.
    dir: Option<Dir>,
}

impl Folder {
    /// Opens a folder. Links in this path are followed: it is the user's own.
    ///
    /// # Errors
    ///
    /// If there is none, it is something else, or the system refuses.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = if is_remote(path) {
            remote::check(path)?;
            None
        } else {
            Some(Dir::open_ambient_dir(path, ambient_authority())?)
        };
        Ok(Self { path: path.to_owned(), dir })
    }

    /// Opens a folder in this one; `None` if nothing has the name. In a store every folder exists.
    ///
    /// # Errors
    ///
    /// If it is a link or anything else that is not a folder ([`io::ErrorKind::InvalidInput`]), or the system refuses.
    pub fn subfolder(&self, name: &str) -> io::Result<Option<Self>> {
        let Some(dir) = &self.dir else { return Ok(Some(self.below(name, None))) };
        match self.kind(name)? {
            None => Ok(None),
            Some(Kind::Folder) => Ok(Some(self.below(name, Some(dir.open_dir_nofollow(name)?)))),
            Some(_) => Err(not_a(name, "folder")),
        }
    }

    /// Creates a folder in this one, unless it exists, and opens it.
    ///
    /// # Errors
    ///
    /// As [`Folder::subfolder`].
    pub fn create_subfolder(&self, name: &str) -> io::Result<Self> {
        if let Some(dir) = &self.dir {
            match dir.create_dir(name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        self.subfolder(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn below(&self, name: &str, dir: Option<Dir>) -> Self {
        Self { path: self.path.join(name), dir }
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether it is in an object store.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.dir.is_none()
    }

    /// The names of its entries, sorted.
    ///
    /// # Errors
    ///
    /// If it can't be listed. A folder of a store that doesn't exist is empty.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        match &self.dir {
            None => {
                let found = remote::entries(&self.path)?;
                let name = |entry: &Entry| entry.path.file_name().map(std::ffi::OsStr::to_owned);
                names.extend(found.iter().filter_map(name));
            }
            Some(dir) => {
                for entry in dir.entries()? {
                    names.push(entry?.file_name());
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// What an entry is, links not followed: a link is [`Kind::Other`]. `None` if it doesn't exist.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses.
    pub fn kind(&self, name: &str) -> io::Result<Option<Kind>> {
        Ok(self.entry(name)?.map(|(kind, _)| kind))
    }

    /// The size of an entry that is a regular file, in bytes; `None` if it isn't one.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses.
    pub fn size(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.entry(name)?.filter(|(kind, _)| *kind == Kind::File).map(|(_, size)| size))
    }

    /// Whether an entry is a regular file, or an object.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses.
    pub fn has_file(&self, name: &str) -> io::Result<bool> {
        Ok(self.kind(name)? == Some(Kind::File))
    }

    /// The system's metadata of an entry on a disk, links not followed.
    pub(crate) fn entry_metadata(&self, name: &str) -> io::Result<cap_std::fs::Metadata> {
        self.dir.as_ref().map_or(Err(io::ErrorKind::Unsupported.into()), |dir| dir.symlink_metadata(name))
    }

    /// What an entry is, and its size in bytes.
    fn entry(&self, name: &str) -> io::Result<Option<(Kind, u64)>> {
        let found = match &self.dir {
            None => remote::metadata(&self.path.join(name)).map(|found| (found.kind, found.size)),
            Some(_) => self.entry_metadata(name).map(|found| {
                let kind = match &found {
                    file if file.is_file() => Kind::File,
                    folder if folder.is_dir() => Kind::Folder,
                    _ => Kind::Other,
                };
                (kind, found.len())
            }),
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    ///
    /// If there is none, it is something else, or the system or the store refuses.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        match &self.dir {
            None => File::open(&self.path.join(name)),
            Some(_) => Ok(self.open_regular(name, OpenOptions::new().read(true))?.into()),
        }
    }

    /// Reads a whole file of at most so many bytes.
    ///
    /// # Errors
    ///
    /// As [`Folder::open_file`], and if it is larger ([`io::ErrorKind::FileTooLarge`]).
    pub fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        match &self.dir {
            None => File::open(&self.path.join(name))?.read_whole(most),
            Some(_) => self.open_file(name)?.read_whole(most),
        }
    }

    /// Opens a regular file on a disk for reading and writing, cut to its first `length` bytes and positioned there.
    /// The caller knows from these bytes that the file is its own.
    ///
    /// # Errors
    ///
    /// If there is none, it is something else or has other names, it is in a store, or the system refuses.
    pub fn open_to_append(&self, name: &str, length: u64) -> io::Result<fs::File> {
        let mut file = self.open_regular(name, OpenOptions::new().read(true).write(true))?;
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file with several names"));
        }
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(file)
    }

    /// Opens without waiting for the other end of a pipe, and checks afterwards what was opened.
    pub(crate) fn open_regular(&self, name: &str, options: &mut OpenOptions) -> io::Result<fs::File> {
        let Some(dir) = &self.dir else { return Err(io::ErrorKind::Unsupported.into()) };
        let opened = dir.open_with(name, options.follow(FollowSymlinks::No).nonblock(true));
        match opened {
            Ok(file) if file.metadata()?.is_file() => Ok(file.into_std()),
            Err(error) if matches!(self.kind(name), Ok(None | Some(Kind::File))) => Err(error),
            _ => Err(not_a(name, "regular file")),
        }
    }

    /// Creates a file under a name that is free. In a store it replaces what has the name.
    ///
    /// # Errors
    ///
    /// If the name is taken ([`io::ErrorKind::AlreadyExists`]), or the system or the store refuses.
    pub fn create(&self, name: &str) -> io::Result<Output> {
        match &self.dir {
            None => Output::create(&self.path.join(name)),
            Some(dir) => {
                let mut options = OpenOptions::new();
                let file = dir.open_with(name, options.read(true).write(true).create_new(true))?;
                Ok(file.into_std().into())
            }
        }
    }

    /// Writes a file whole or not at all, and replaces what has the name. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// If the system or the store refuses, or `write` fails; on a disk what had the name is unchanged then.
    pub fn replace(&self, name: &str, write: impl FnOnce(&mut Output) -> io::Result<()>) -> io::Result<()> {
        if self.is_remote() {
            let mut output = self.create(name)?;
            write(&mut output)?;
            return output.sync();
        }
        let partial = partial_name(name);
        self.remove_if_there(&partial)?;
        let mut output = self.create(&partial)?;
        let written = write(&mut output).and_then(|()| output.sync());
        written.and_then(|()| self.rename(&partial, self, name)).inspect_err(|_| {
            // Best effort: the error that led here is the one to report.
            let _ = self.remove_if_there(&partial);
        })?;
        self.sync()
    }

    /// Renames a file, here or into another folder of the same disk, and replaces what has the new name.
    ///
    /// # Errors
    ///
    /// If the system refuses, or it is in a store, where nothing can be renamed.
    pub fn rename(&self, name: &str, folder: &Self, to: &str) -> io::Result<()> {
        match (&self.dir, &folder.dir) {
            (Some(from), Some(into)) => from.rename(name, into, to),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Gives a file of this folder a second name in another folder of the same disk.
    ///
    /// # Errors
    ///
    /// If the name is taken, it is not a regular file, the file system has no second names, or it is in a store.
    pub fn link(&self, name: &str, folder: &Self, to: &str) -> io::Result<()> {
        let (Some(from), Some(into)) = (&self.dir, &folder.dir) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if !self.has_file(name)? {
            return Err(not_a(name, "regular file"));
        }
        from.hard_link(name, into, to)
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    ///
    /// If there is none (which some stores don't say), it is a folder, or the system or the store refuses.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        match &self.dir {
            None => remote::remove(&self.path.join(name)),
            Some(dir) => dir.remove_file(name),
        }
    }

    fn remove_if_there(&self, name: &str) -> io::Result<()> {
        match self.remove_file(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Removes an empty folder in this one. A store has none to remove.
    ///
    /// # Errors
    ///
    /// If it isn't empty, or the system refuses.
    pub fn remove_subfolder(&self, name: &str) -> io::Result<()> {
        self.dir.as_ref().map_or(Ok(()), |dir| dir.remove_dir(name))
    }

    /// Waits until the names in it are durable. In a store they are at once.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn sync(&self) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(dir) = &self.dir {
            dir.open(".")?.sync_all()?;
        }
        Ok(())
    }

    /// The folder that holds an entry, and the entry's name in it, for a path below this folder with `/`. Folders on the
    /// way are created if `create` is set; without it `None` says that one is missing.
    ///
    /// # Errors
    ///
    /// If a link or a file is on the way ([`io::ErrorKind::InvalidInput`]), the path leads out of the folder, or the system
    /// refuses.
    pub fn parent_of<'n>(&self, path: &'n str, create: bool) -> io::Result<Option<(Self, &'n str)>> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut folder =
            Self { path: self.path.clone(), dir: self.dir.as_ref().map(Dir::try_clone).transpose()? };
        for parent in parents.split('/').filter(|_| !parents.is_empty()) {
            if ["", ".", ".."].contains(&parent) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of the folder"));
            }
            let next =
                if create { Some(folder.create_subfolder(parent)?) } else { folder.subfolder(parent)? };
            let Some(next) = next else { return Ok(None) };
            folder = next;
        }
        Ok(Some((folder, name)))
    }
}

/// What a file is called while [`Folder::replace`] writes it. An interruption leaves it, and the next call removes it.
#[must_use]
pub fn partial_name(name: &str) -> String {
    format!(".{name}.partial")
}

fn not_a(name: &str, kind: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a {kind}"))
}

/// Writes a file on a disk whole or not at all, and replaces what has the name. It is durable when this returns. Links in the
/// path of its folder are followed; one that has the file's own name is replaced.
///
/// # Errors
///
/// If the folder isn't there, the path ends in no name, or the system refuses; what had the name is unchanged then.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no file name");
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).ok_or_else(no_name)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Folder::open(parent)?.replace(name, |output| output.write_all(bytes))
}
