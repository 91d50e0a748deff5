//! A JSON file of settings, read with errors that name the file and the key.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::CheckpointError;

/// Largest `config.json`, `adapter_config.json` or index of shards that is read, in bytes.
pub const MAX_SETTINGS_BYTES: u64 = 64 << 20;

/// Opens a regular file, never one that waits for a writer.
pub(super) fn open_file(path: &Path) -> Result<File, CheckpointError> {
    match goldfish_storage::File::open(path) {
        Ok(file) => file.into_disk().ok_or_else(|| CheckpointError::file(path, "is in an object store")),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            Err(CheckpointError::file(path, "is not a file"))
        }
        Err(error) => Err(CheckpointError::io(path)(error)),
    }
}

/// An object of a JSON file.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    /// Keys that lead to this object, each with a dot after it.
    within: String,
    values: Map<String, Value>,
}

impl Settings {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = open_file(path)?;
        let metadata = file.metadata().map_err(CheckpointError::io(path))?;
        let mut text = Vec::new();
        file.take(MAX_SETTINGS_BYTES + 1).read_to_end(&mut text).map_err(CheckpointError::io(path))?;
        if text.len() as u64 > MAX_SETTINGS_BYTES {
            return Err(CheckpointError::TooLarge {
                path: path.into(),
                what: "its size in bytes".into(),
                found: metadata.len(),
                cap: MAX_SETTINGS_BYTES,
            });
        }
        match serde_json::from_slice(&text) {
            Ok(value) => Self::of(path, value),
            Err(error) => Err(CheckpointError::file(path, format!("is not JSON: {error}"))),
        }
    }

    /// Settings in memory; errors name them `path`.
    pub(crate) fn of(path: &Path, value: Value) -> Result<Self, CheckpointError> {
        match value {
            Value::Object(values) => Ok(Self { path: path.into(), within: String::new(), values }),
            _ => Err(CheckpointError::file(path, "is not a JSON object")),
        }
    }

    /// The value, unless it is absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn wrong(&self, key: &str, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Setting {
            path: self.path.clone(),
            key: format!("{}{key}", self.within),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(&self, key: &str, advice: &str) -> CheckpointError {
        let found = self.get(key).map_or("absent".into(), Value::to_string);
        let found = if found.len() > 200 {
            format!("{}...", found.chars().take(200).collect::<String>())
        } else {
            found
        };
        CheckpointError::Unsupported {
            path: self.path.clone(),
            key: format!("{}{key}", self.within),
            found,
            advice: advice.into(),
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, format!("must be {what}"))),
        }
    }

    /// A count from 1 to `cap`, or `None` if it is absent.
    pub(crate) fn count(&self, key: &str, cap: usize) -> Result<Option<usize>, CheckpointError> {
        let found =
            self.typed(key, "a whole number, 1 or more", |value| value.as_u64().filter(|n| *n > 0))?;
        match found {
            Some(found) if found > cap as u64 => Err(CheckpointError::TooLarge {
                path: self.path.clone(),
                what: format!("{}{key}", self.within),
                found,
                cap: cap as u64,
            }),
            found => Ok(found.map(|found| found as usize)),
        }
    }

    /// A count that must be present.
    pub(crate) fn needed_count(&self, key: &str, cap: usize) -> Result<usize, CheckpointError> {
        self.count(key, cap)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// A whole number, 0 or more, clamped to `cap`.
    pub(crate) fn whole(&self, key: &str, cap: usize) -> Result<Option<usize>, CheckpointError> {
        let found = self.typed(key, "a whole number", Value::as_u64)?;
        Ok(found.map(|found| found.min(cap as u64) as usize))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(key, "a finite number", |value| value.as_f64().filter(|x| x.is_finite()))
    }

    /// A number above 0.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        match self.number(key)? {
            Some(found) if found <= 0.0 => Err(self.wrong(key, "must be above 0")),
            found => Ok(found),
        }
    }

    /// A truth value, false if it is absent.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, CheckpointError> {
        self.flag_or(key, false)
    }

    pub(crate) fn flag_or(&self, key: &str, absent: bool) -> Result<bool, CheckpointError> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(absent))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, CheckpointError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(key, "must be a string")),
        }
    }

    /// Strings of an array.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, CheckpointError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.wrong(key, "must be an array of strings"))
    }

    /// Truth values of an array, each true, false, 1 or 0.
    pub(crate) fn flags(&self, key: &str) -> Result<Option<Vec<bool>>, CheckpointError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let flag = |value: &Value| match value.as_u64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => value.as_bool(),
        };
        let flags = value.as_array().and_then(|list| list.iter().map(flag).collect());
        flags.map(Some).ok_or_else(|| self.wrong(key, "must be an array of 0 and 1"))
    }

    /// Finite numbers of an array.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, CheckpointError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        let numbers = value.as_array().and_then(|list| list.iter().map(number).collect());
        numbers.map(Some).ok_or_else(|| self.wrong(key, "must be an array of numbers"))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>, CheckpointError> {
        let within = format!("{}{key}.", self.within);
        let object = self.typed(key, "an object", |value| value.as_object().cloned())?;
        Ok(object.map(|values| Self { path: self.path.clone(), within, values }))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.values.iter()
    }

    /// Refuses a key unless it is absent, null, false, 0 or empty.
    pub(crate) fn refuse(&self, key: &str, advice: &str) -> Result<(), CheckpointError> {
        let counts = match self.get(key) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(object)) => !object.is_empty(),
            Some(value) => value.as_f64() != Some(0.0),
        };
        if counts { Err(self.unsupported(key, advice)) } else { Ok(()) }
    }
}
