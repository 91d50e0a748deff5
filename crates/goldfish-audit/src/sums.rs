//! `SHA256SUMS`: the checksum of every file of a complete run, and one digest over all of them.
//!
//! The file has the format of coreutils' `sha256sum`, so that `sha256sum --check SHA256SUMS` reads it too. The run's digest is
//! the SHA-256 of that file: whoever signs the digest signs every file of the run.

use std::io::{self, Read};
use std::path::Path;

use goldfish_shard::Problem;
use goldfish_storage::Folder;

use crate::error::AuditError;
use crate::files::{open_file, write_file};
use crate::sha256::{Hashed, sha256};

/// The file's name.
pub const SUMS: &str = "SHA256SUMS";

/// Largest file of checksums that is read, in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// Writes the checksums of `files`, those that are there, into the folder; returns the digest.
///
/// # Errors
///
/// If a file can't be read, or the disk refuses.
pub fn write(folder: &Folder, files: &[&str]) -> Result<String, AuditError> {
    let mut lines = String::new();
    for name in files {
        let path = folder.join(name);
        if folder.has_file(name).map_err(AuditError::io(&path, "looking at the file"))? {
            lines += &format!("{}  {name}\n", sha256_of(&path)?);
        }
    }
    write_file(folder, SUMS, lines.as_bytes())?;
    Ok(digest(lines.as_bytes()))
}

/// Compares the files of a folder with its checksums: the digest, and what is wrong.
///
/// # Errors
///
/// If the file of checksums can't be read. What is wrong with the others is among the problems.
pub fn check(folder: &Path, files: &[&str]) -> Result<(String, Vec<Problem>), AuditError> {
    let path = folder.join(SUMS);
    let bytes = goldfish_storage::read(&path, MAX_BYTES).map_err(AuditError::io(&path, "reading"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut problems = Vec::new();
    let mut problem = |file: &str, description: String| {
        problems.push(Problem { file: file.to_owned(), description });
    };
    let mut listed: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some((sum, name)) = line.split_once("  ").filter(|(_, name)| files.contains(name)) else {
            problem(SUMS, format!("a line is not the checksum of a file of the run: {line:?}"));
            continue;
        };
        listed.push(name);
        match sha256_of(&folder.join(name)) {
            Ok(found) if found == sum => {}
            Ok(_) => problem(name, "the content is not what the run wrote: its SHA-256 differs".into()),
            Err(AuditError::BadRun { reason, .. }) => problem(name, reason),
            Err(error) => problem(name, error.to_string()),
        }
    }
    for name in files {
        let times = listed.iter().filter(|listed| *listed == name).count();
        if times > 1 {
            problem(SUMS, format!("{name} is listed {times} times"));
        } else if times == 0 && goldfish_storage::is_taken(&folder.join(name)) {
            problem(name, format!("the file is not listed in {SUMS}"));
        }
    }
    Ok((digest(&bytes), problems))
}

/// `sha256:` and 64 hex digits.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// SHA-256 of a file in hex digits. A file that does not start as its name promises is not read to its end, which may be far.
fn sha256_of(path: &Path) -> Result<String, AuditError> {
    let start: &[u8] =
        if path.extension().is_some_and(|extension| extension == "parquet") { b"PAR1" } else { b"{" };
    let mut file = open_file(path)?;
    let mut found = Vec::new();
    let head = file.by_ref().take(start.len() as u64).read_to_end(&mut found);
    head.map_err(AuditError::io(path, "reading"))?;
    // There may be no evidence.
    if found != start && !found.is_empty() {
        return Err(AuditError::bad_run(path, "not what the run wrote: it starts with other bytes"));
    }
    let mut hashed = Hashed::new(io::sink());
    let mut whole = found.as_slice().chain(file);
    io::copy(&mut whole, &mut hashed).map_err(AuditError::io(path, "reading"))?;
    Ok(hashed.digest().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_file_of_checksums() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.json"), "{}").unwrap();
        let opened = Folder::open(folder.path()).unwrap();
        let digest = write(&opened, &["a.json", "b.json"]).unwrap();
        let text = std::fs::read_to_string(folder.path().join(SUMS)).unwrap();
        // printf '{}' | sha256sum
        let sum = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(text, format!("{sum}  b.json\n"));
        assert_eq!(check(folder.path(), &["a.json", "b.json"]).unwrap(), (digest.clone(), Vec::new()));

        let found = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
            let (_, problems) = check(folder.path(), &["a.json", "b.json"]).unwrap();
            problems.into_iter().map(|problem| problem.description).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(found("a.json", "{ }"), "the file is not listed in SHA256SUMS");
        std::fs::remove_file(folder.path().join("a.json")).unwrap();
        assert!(found(SUMS, &format!("{text}{text}")).contains("listed 2 times"));
        assert!(found(SUMS, &format!("{text}{sum}  ../c\n")).contains("is not the checksum of a file"));
        std::fs::write(folder.path().join(SUMS), &text).unwrap();
        assert!(found("b.json", "{1}").contains("SHA-256 differs"));
        assert!(found("b.json", "\0\0").contains("starts with other bytes"));
    }
}
