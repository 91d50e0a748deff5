//! Snapshots of folders.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Entry {
    Folder,
    File { size: u64, hash: u64 },
    Link(PathBuf),
    Other,
}

/// Everything below a folder, by path with `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Reads a folder without following links.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.add(root, "").with_context(|| root.display().to_string())?;
        Ok(tree)
    }

    fn add(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            let entry = if kind.is_dir() {
                self.add(&path, &format!("{name}/"))?;
                Entry::Folder
            } else if kind.is_file() {
                let bytes = fs::read(&path)?;
                Entry::File { size: bytes.len() as u64, hash: hash(&bytes) }
            } else if kind.is_symlink() {
                Entry::Link(fs::read_link(&path)?)
            } else {
                Entry::Other
            };
            self.0.insert(name, entry);
        }
        Ok(())
    }

    /// A hash of the contents. Only name and size of hidden files count, since staging folders contain random ids.
    pub(crate) fn shape(&self) -> u64 {
        let of_size = |size: &u64| Entry::File { size: *size, hash: 0 };
        let shapes = self.0.iter().map(|(name, entry)| match entry {
            Entry::File { size, .. } if is_hidden(name) => (name, of_size(size)),
            entry => (name, entry.clone()),
        });
        hash(&shapes.collect::<Vec<_>>())
    }

    /// The paths at which two trees differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differ = names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name));
        differ.cloned().collect()
    }

    /// Whether a path exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The files that readers see below a folder: not hidden, and not in folders with these names.
    pub(crate) fn visible(&self, folder: &str, working: &[&str]) -> Self {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.0.iter().filter_map(|(name, entry)| Some((name.strip_prefix(&prefix)?, entry)));
        let is_working = |name: &str| name.split('/').any(|part| working.contains(&part));
        let seen =
            below.filter(|(name, entry)| **entry != Entry::Folder && !is_hidden(name) && !is_working(name));
        Self(seen.map(|(name, entry)| (name.to_owned(), entry.clone())).collect())
    }

    /// Folders that contain a visible file with one of these names, and the name.
    pub(crate) fn folders_with(&self, names: &[&'static str]) -> Vec<(String, &'static str)> {
        let visible = self.0.iter().filter(|(path, entry)| **entry != Entry::Folder && !is_hidden(path));
        let found = visible.filter_map(|(path, _)| {
            let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
            names.iter().find(|name| **name == last).map(|name| (folder.to_owned(), *name))
        });
        found.collect()
    }
}

/// Whether a component of a path starts with a dot.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Copies a folder to a new path; hard links stay hard links.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    copy_below(from, to, &mut HashMap::new()).with_context(|| format!("copying {}", from.display()))
}

fn copy_below(from: &Path, to: &Path, copied: &mut HashMap<(u64, u64), PathBuf>) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let found = entry.metadata()?;
        if found.is_dir() {
            copy_below(&source, &target, copied)?;
        } else if found.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if !found.is_file() {
            bail!("{} is not a file, folder or link", source.display());
        } else if let Some(first) = copied.get(&(found.dev(), found.ino())) {
            fs::hard_link(first, &target)?;
        } else {
            fs::copy(&source, &target)?;
            if found.nlink() > 1 {
                copied.insert((found.dev(), found.ino()), target);
            }
        }
    }
    Ok(())
}

/// Removes a folder if it exists.
pub(crate) fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
