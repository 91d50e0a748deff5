//! Folders by what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is at each path below a folder. Two of the same folder are equal if nothing was written, removed or renamed.
pub(crate) type Tree = BTreeMap<PathBuf, Entry>;

/// What is at a path; links are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder,
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    /// A file that is too large to be compared by its bytes.
    Huge(u64),
    Link(PathBuf),
    /// A FIFO, a device or a socket.
    Special,
}

/// Larger files are compared by size: the only ones are sparse, and planted.
const MAX_COMPARED: u64 = 64 << 20;

impl Entry {
    fn of(path: &Path) -> Self {
        let found = fs::symlink_metadata(path).unwrap();
        let kind = found.file_type();
        if kind.is_symlink() {
            Self::Link(fs::read_link(path).unwrap())
        } else if kind.is_dir() {
            Self::Folder
        } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket() {
            Self::Special
        } else if found.len() > MAX_COMPARED {
            Self::Huge(found.len())
        } else {
            Self::File { bytes: fs::read(path).unwrap(), mode: found.permissions().mode() }
        }
    }

    /// Whether it is a link or a special file.
    pub(crate) fn is_odd(&self) -> bool {
        matches!(self, Self::Link(_) | Self::Special)
    }

    /// In a few words, for a message.
    fn describe(&self) -> String {
        match self {
            Self::Folder => "a folder".into(),
            Self::File { bytes, .. } => format!("a file of {} bytes", bytes.len()),
            Self::Huge(size) => format!("a file of {size} bytes"),
            Self::Link(target) => format!("a link to {}", target.display()),
            Self::Special => "a special file".into(),
        }
    }
}

/// Everything below a folder.
pub(crate) fn read(root: &Path) -> Tree {
    fn add(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let entry = Entry::of(&path);
            let is_folder = entry == Entry::Folder;
            tree.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
            if is_folder {
                add(root, &path, tree);
            }
        }
    }
    let mut tree = Tree::new();
    add(root, root, &mut tree);
    tree
}

/// What differs between two trees, a line each, of the paths that `matters` names.
pub(crate) fn differences(before: &Tree, after: &Tree, matters: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in before.iter().filter(|(path, _)| matters(path)) {
        match after.get(path) {
            Some(now) if now == entry => {}
            Some(now) => {
                let (then, now) = (entry.describe(), now.describe());
                lines.push(format!("{} was {then} and is {now}", path.display()));
            }
            None => lines.push(format!("{} ({}) is gone", path.display(), entry.describe())),
        }
    }
    let new = after.iter().filter(|(path, _)| matters(path) && !before.contains_key(*path));
    lines.extend(new.map(|(path, entry)| format!("{} is new: {}", path.display(), entry.describe())));
    lines
}

/// Copies a file or a folder; of links and special files there are none.
pub(crate) fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Removes a file or a folder if it is there.
pub(crate) fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}
