//! Paths that name objects.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the paths of objects start with.
pub const SCHEMES: [&str; 5] = ["s3://", "gs://", "az://", "http://", "https://"];

/// A store in this process, for tests.
const MEMORY: &str = "memory://";

/// Whether a path names an object rather than a file on a disk.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut schemes = SCHEMES.iter().chain([&MEMORY]);
    schemes.any(|scheme| bytes.starts_with(scheme.as_bytes()))
}

/// The parts of a URL: what comes before the key (`s3://bucket`), then the names in the key; at least one.
#[must_use]
pub fn components(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let mut names = rest.split('/').filter(|name| !name.is_empty());
    let root = format!("{scheme}://{}", names.next().unwrap_or_default());
    std::iter::once(root).chain(names.map(str::to_owned)).collect()
}

/// A URL for messages, without what may be a password before its host or a signature after its path.
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

/// The path from the root, by name alone; a URL is one already.
///
/// # Errors
///
/// If the path is empty, or the current folder is gone.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    if is_remote(path) { Ok(path.to_owned()) } else { std::path::absolute(path) }
}

/// The path without links; a URL is one already.
///
/// # Errors
///
/// If a file isn't there. An object is not asked for.
pub fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    if is_remote(path) { Ok(path.to_owned()) } else { fs::canonicalize(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        assert_eq!(components("s3://bucket/a/b.jsonl"), ["s3://bucket", "a", "b.jsonl"]);
        assert_eq!(components("https://host:8080/x//y/"), ["https://host:8080", "x", "y"]);
        assert_eq!(without_secrets("https://me:pw@host/a.parquet?sig=x"), "https://host/a.parquet");
        assert_eq!(without_secrets("s3://bucket/a?.jsonl"), "s3://bucket/a?.jsonl");
    }
}
