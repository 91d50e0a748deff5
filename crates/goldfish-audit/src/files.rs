//! Files of a run that are not tables.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use goldfish_storage::Folder;
use serde::Serialize;

use crate::error::AuditError;

/// Opens a file of a run, if it is a regular one.
pub(crate) fn open_file(path: &Path) -> Result<File, AuditError> {
    let file = goldfish_storage::File::open(path)
        .and_then(|file| file.into_disk().ok_or(io::ErrorKind::Unsupported.into()));
    file.map_err(AuditError::io(path, "opening"))
}

/// Longest line of evidence that is read, in bytes.
const MAX_EVIDENCE_LINE: u64 = 1 << 28;

/// The lines of a file of evidence.
pub(crate) fn evidence_lines(
    path: &Path,
) -> Result<impl Iterator<Item = Result<String, AuditError>> + use<>, AuditError> {
    let mut file = BufReader::new(open_file(path)?);
    let path = path.to_owned();
    Ok(std::iter::from_fn(move || {
        let mut line = String::new();
        match file.by_ref().take(MAX_EVIDENCE_LINE).read_line(&mut line) {
            Ok(0) => None,
            Ok(_) if line.ends_with('\n') => {
                line.pop();
                Some(Ok(line))
            }
            Ok(_) => Some(Err(AuditError::bad_run(&path, "its last line is truncated, or is not evidence"))),
            Err(error) => Some(Err(AuditError::io(&path, "reading")(error))),
        }
    }))
}

pub(crate) fn to_json(path: &Path, value: &impl Serialize, pretty: bool) -> Result<Vec<u8>, AuditError> {
    let json = if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    let mut json = json.map_err(|e| AuditError::bad_run(path, format!("can't be written as JSON: {e}")))?;
    json.push(b'\n');
    Ok(json)
}

/// Writes a file of JSON, crash-safe.
///
/// # Errors
///
/// If the disk refuses.
pub fn write_json(folder: &Folder, name: &str, value: &impl Serialize) -> Result<(), AuditError> {
    write_file(folder, name, &to_json(&folder.join(name), value, true)?)
}

/// Largest JSON file that is read, in bytes.
const MAX_JSON_BYTES: u64 = 1 << 28;

/// Reads a file of JSON, if it is a regular one and not too large.
///
/// # Errors
///
/// If it isn't, can't be read, or holds something else.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, AuditError> {
    let bytes = goldfish_storage::read(path, MAX_JSON_BYTES).map_err(AuditError::io(path, "reading"))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        AuditError::bad_run(path, format!("not what this version of goldfish writes: {e}; start a new run"))
    })
}

pub(crate) fn write_file(folder: &Folder, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
    let written = folder.replace(name, |file| file.write_all(bytes));
    written.map_err(AuditError::io(&folder.join(name), "writing"))
}

/// Names of the values in which two objects of JSON differ.
#[must_use]
pub fn differences<T: Serialize>(a: &T, b: &T) -> Vec<String> {
    let value = |object: &T| serde_json::to_value(object).unwrap_or_default();
    let (a, b) = (value(a), value(b));
    let differing = a.as_object().into_iter().flatten().filter(|(name, value)| b.get(name) != Some(value));
    differing.map(|(name, _)| name.clone()).collect()
}
