//! Globs in object stores, and URLs as names.

use std::io::{self, ErrorKind};
use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::{Entry, entries, metadata};

/// What a glob of URLs matches, sorted: `*`, `?`, `[...]` in names, and `**` for any number of folders, as on a disk.
///
/// # Errors
///
/// If it is no glob ([`ErrorKind::InvalidInput`]), or a folder can't be listed.
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
    let Some((step, behind)) = steps.split_first() else { return Ok(()) };
    if let Step::Name(name) = step {
        let path = folder.join(name);
        if !behind.is_empty() {
            return follow(&path, behind, found);
        }
        match metadata(&path) {
            Ok(metadata) => found.push(Entry { path, metadata: Some(metadata) }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        return Ok(());
    }
    if matches!(step, Step::AnyFolders) {
        follow(folder, behind, found)?;
    }
    for entry in entries(folder)? {
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        match step {
            Step::AnyFolders if entry.is_folder() => follow(&entry.path, steps, found)?,
            Step::Like(pattern) if pattern.matches_with(&name, MatchOptions::new()) => {
                if behind.is_empty() {
                    found.push(entry);
                } else if entry.is_folder() {
                    follow(&entry.path, behind, found)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The parts of a URL: what stands before the key (`s3://bucket`), then the names in the key. One at least.
#[must_use]
pub fn components(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let mut names = rest.split('/').filter(|name| !name.is_empty());
    let root = format!("{scheme}://{}", names.next().unwrap_or_default());
    std::iter::once(root).chain(names.map(str::to_owned)).collect()
}

/// A URL for messages, without what may be a password before its host or a signature behind its path.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = match scheme {
        "http" | "https" => path.split(['?', '#']).next().unwrap_or_default(),
        _ => path,
    };
    format!("{scheme}://{host}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(components("s3://bucket/a/b.jsonl"), ["s3://bucket", "a", "b.jsonl"]);
        assert_eq!(components("https://host:8080/x//y/"), ["https://host:8080", "x", "y"]);
        assert_eq!(without_secrets("https://me:pw@host/a.parquet?sig=x"), "https://host/a.parquet");
        assert_eq!(without_secrets("s3://bucket/a?.jsonl"), "s3://bucket/a?.jsonl");
    }
}
