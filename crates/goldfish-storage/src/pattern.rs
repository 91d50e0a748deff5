//! Globs in object stores.

use std::io::{self, ErrorKind};
use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::calls::{entries, metadata};
use crate::metadata::Entry;
use crate::url::components;

/// What a glob of URLs matches, sorted: `*`, `?`, `[...]` in names, and `**` for any number of folders, as on a disk.
///
/// # Errors
///
/// If it is not a glob ([`ErrorKind::InvalidInput`]), or a folder can't be listed.
pub fn glob(pattern: &str) -> io::Result<Vec<Entry>> {
    let names = components(pattern);
    let mut steps = Vec::with_capacity(names.len());
    for name in &names[1..] {
        steps.push(match name.as_str() {
            "**" => Step::AnyFolders,
            name if name.contains(['*', '?', '[']) => Step::Like(
                Pattern::new(name).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?,
            ),
            name => Step::Name(name.to_owned()),
        });
    }
    let mut found = Vec::new();
    follow(Path::new(&names[0]), &steps, &mut found)?;
    found.sort_by(|one: &Entry, other| one.path.cmp(&other.path));
    found.dedup();
    Ok(found)
}

/// A component of a glob.
enum Step {
    Name(String),
    Like(Pattern),
    AnyFolders,
}

/// Adds what the steps, one at least, lead to from a folder.
fn follow(folder: &Path, steps: &[Step], found: &mut Vec<Entry>) -> io::Result<()> {
    let Some((step, rest)) = steps.split_first() else { return Ok(()) };
    if let Step::Name(name) = step {
        let path = folder.join(name);
        if !rest.is_empty() {
            return follow(&path, rest, found);
        }
        match metadata(&path) {
            Ok(metadata) => found.push(Entry { path, metadata: Some(metadata) }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        return Ok(());
    }
    if matches!(step, Step::AnyFolders) {
        follow(folder, rest, found)?;
    }
    for entry in entries(folder)? {
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        match step {
            Step::AnyFolders if entry.is_folder() => follow(&entry.path, steps, found)?,
            Step::Like(pattern) if pattern.matches_with(&name, MatchOptions::new()) => {
                if rest.is_empty() {
                    found.push(entry);
                } else if entry.is_folder() {
                    follow(&entry.path, rest, found)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
