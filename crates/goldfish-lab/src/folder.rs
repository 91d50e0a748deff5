//! The folder of a run: its saved state, and in the end the checkpoint.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use goldfish_remedy::{Remedy, Setting};
use goldfish_storage::{Kind, Lock};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::architecture::Architecture;
use crate::error::LabError;
use crate::events::Trained;
use crate::optimizer::Weights;
use crate::options::TrainOptions;

/// The file of a finished run; written last.
pub(crate) const TRAINED: &str = "training.json";
/// The file with a line a step.
const METRICS: &str = "metrics.jsonl";
/// The folder of the saved state.
const STATE: &str = "training";
const STATE_FILE: &str = "state.safetensors";
const LOCK: &str = "lock";
/// The key of the state's description in its file.
const DESCRIPTION: &str = "goldfish";

/// What determines the bytes of a run. A run resumes only with the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Without paths, and without how often the state is saved.
    options: TrainOptions,
    config: Value,
    shards: Vec<String>,
    validation: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recite: Vec<String>,
    tokenizer: Option<String>,
    /// Of the other text in the loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other: Vec<String>,
    /// A hash of the checkpoint that the run starts from, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl Identity {
    pub(crate) fn new(
        options: &TrainOptions,
        config: Value,
        [shards, validation, recite, other]: [&[String]; 4],
        tokenizer: Option<&str>,
        from: Option<&str>,
    ) -> Self {
        let mut options = options.clone();
        options.from = None;
        options.shards.clear();
        options.validation.clear();
        options.recite.clear();
        options.tokenizer = None;
        if let Some(preference) = &mut options.preference {
            preference.other.clear();
        }
        options.checkpoint_every = 0;
        Self {
            options,
            config,
            shards: shards.to_vec(),
            validation: validation.to_vec(),
            recite: recite.to_vec(),
            tokenizer: tokenizer.map(str::to_owned),
            other: other.to_vec(),
            from: from.map(str::to_owned),
        }
    }

    /// The first thing in which it differs from another.
    fn difference(&self, other: &Self) -> Option<String> {
        let flat = |identity: &Self| {
            let mut found = Vec::new();
            flatten("", &serde_json::to_value(identity).unwrap_or_default(), &mut found);
            found
        };
        let (own, other) = (flat(self), flat(other));
        let differs = own.iter().find(|(name, value)| !other.contains(&(name.clone(), value.clone())));
        let differs = differs.or_else(|| other.iter().find(|entry| !own.contains(entry)));
        differs.map(|(name, _)| name.trim_start_matches("options.").to_owned())
    }
}

/// The leaves of a value by their names.
fn flatten(name: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                flatten(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, found);
            }
        }
        value => found.push((name.to_owned(), value.clone())),
    }
}

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: u64,
    pub(crate) tokens: u64,
    pub(crate) supervised: u64,
}

#[derive(Serialize, Deserialize)]
struct Description {
    identity: Identity,
    progress: Progress,
}

/// The folder of a run, locked by this process.
pub(crate) struct Folder {
    root: goldfish_storage::Folder,
    /// The saved state.
    state: goldfish_storage::Folder,
    metrics: File,
    _lock: Lock,
}

/// The metrics of a run.
pub(crate) struct Metrics(Vec<u8>);

impl Metrics {
    /// Of the run in a folder.
    pub(crate) fn read(model: &Path) -> Result<Self, LabError> {
        let path = model.join(METRICS);
        let text = goldfish_storage::read(&path, MAX_METRICS_BYTES);
        Ok(Self(text.map_err(LabError::io(&path, "reading"))?))
    }

    /// The lines of one kind.
    pub(crate) fn events<T: DeserializeOwned>(&self) -> impl Iterator<Item = T> {
        self.0.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    }
}

/// The contents of a folder.
pub(crate) enum Opened {
    /// A run that starts, or resumes with these weights.
    Running(Folder, Option<(Weights, Progress)>),
    /// One that is finished.
    Finished(Box<Trained>),
}

/// A finished run, and what it was made from.
#[derive(Serialize, Deserialize)]
struct Finished {
    #[serde(flatten)]
    trained: Trained,
    identity: Identity,
}

impl Folder {
    pub(crate) fn open(
        path: &Path,
        resume: bool,
        identity: &Identity,
        parameters: usize,
    ) -> Result<Opened, LabError> {
        fs::create_dir_all(path).map_err(LabError::io(path, "making the folder"))?;
        let root = goldfish_storage::Folder::open(path).map_err(LabError::io(path, "opening the folder"))?;
        let state = root.subfolder(STATE).map_err(LabError::io(&root.join(STATE), "opening the folder"))?;
        if has_file(&root, TRAINED)? {
            if !resume {
                return Err(LabError::output(path, "has a finished run"));
            }
            let trained = root.join(TRAINED);
            let finished: Finished = serde_json::from_slice(&read(&root, TRAINED)?)
                .map_err(|error| LabError::folder(&trained, format!("is damaged: {error}; train again")))?;
            same(identity, &finished.identity, path)?;
            if let Some(state) = state {
                let lock = lock(&state, path)?;
                remove_state(&root, &state, lock)?;
            }
            return Ok(Opened::Finished(Box::new(finished.trained)));
        }
        let state = match state {
            None => {
                let names = root.names().map_err(LabError::io(path, "listing the folder"))?;
                if let Some(name) = names.first() {
                    let reason = format!("has {name:?} in it and no run of goldfish");
                    return Err(LabError::output(path, reason));
                }
                let made = root.create_subfolder(STATE);
                made.map_err(LabError::io(&root.join(STATE), "making the folder"))?
            }
            Some(state) => {
                let names = state.names().map_err(LabError::io(state.path(), "listing the folder"))?;
                if !names.is_empty() && !has_file(&state, LOCK)? {
                    return Err(LabError::output(state.path(), "has no run of goldfish in it"));
                }
                if !resume && has_file(&state, STATE_FILE)? {
                    let remedies =
                        [Remedy::give(Setting::Resume).to("resume it"), Remedy::change(Setting::Output)];
                    return Err(LabError::folder(path, "has an unfinished run").with(remedies));
                }
                state
            }
        };
        let lock = lock(&state, path)?;
        let saved = match has_file(&state, STATE_FILE)? {
            true => Some(read_state(&state, identity, path, parameters)?),
            false => None,
        };
        let metrics = open_metrics(&root, saved.as_ref().map(|(_, progress)| progress.step))?;
        Ok(Opened::Running(Self { root, state, metrics, _lock: lock }, saved))
    }

    /// Adds a line to the metrics.
    pub(crate) fn record(&mut self, line: &impl Serialize) -> Result<(), LabError> {
        let mut text = serde_json::to_vec(line).map_err(std::io::Error::from);
        if let Ok(text) = &mut text {
            text.push(b'\n');
        }
        let path = self.root.join(METRICS);
        text.and_then(|text| self.metrics.write_all(&text)).map_err(LabError::io(&path, "writing"))
    }

    /// Saves the state, so that a killed run resumes from here.
    pub(crate) fn save(
        &mut self,
        identity: &Identity,
        progress: &Progress,
        weights: &Weights,
    ) -> Result<(), LabError> {
        let path = self.root.join(METRICS);
        self.metrics.sync_all().map_err(LabError::io(&path, "flushing to disk"))?;
        let description = Description { identity: identity.clone(), progress: progress.clone() };
        let description = serde_json::to_string(&description)
            .map_err(|error| LabError::io(self.root.path(), "describing the run")(error.into()))?;
        let parts = [("values", &weights.values), ("means", &weights.means), ("squares", &weights.squares)];
        let bytes = parts.map(|(name, values)| (name, little_endian(values)));
        let tensors = bytes.iter().map(|(name, bytes)| (*name, vec![bytes.len() / 4], bytes.as_slice()));
        write_tensors(&self.state, STATE_FILE, tensors, (DESCRIPTION, description))
    }

    /// Writes the checkpoint, and ends the run.
    pub(crate) fn finish(
        self,
        architecture: &dyn Architecture,
        weights: &Weights,
        tokenizer: Option<&[u8]>,
        identity: Identity,
        trained: &Trained,
    ) -> Result<(), LabError> {
        let metrics = self.root.join(METRICS);
        self.metrics.sync_all().map_err(LabError::io(&metrics, "flushing to disk"))?;
        let bytes = little_endian(&weights.values);
        let mut rest = bytes.as_slice();
        let tensors = architecture.parameters().iter().map(|parameter| {
            let (own, after) = rest.split_at(parameter.elements() * 4);
            rest = after;
            (parameter.name.as_str(), parameter.shape.clone(), own)
        });
        let format = ("format", "pt".to_owned());
        let [settings, model] = architecture.file_names();
        write_tensors(&self.root, model, tensors, format)?;
        write_json(&self.root, settings, &architecture.config())?;
        for (name, bytes) in architecture.files() {
            write(&self.root, name, bytes)?;
        }
        if let Some(tokenizer) = tokenizer {
            write(&self.root, "tokenizer.json", tokenizer)?;
        }
        let finished = Finished { trained: trained.clone(), identity };
        write_json(&self.root, TRAINED, &finished)?;
        remove_state(&self.root, &self.state, self._lock)
    }

    /// Every line of the metrics so far.
    pub(crate) fn metrics(&self) -> Result<Vec<Value>, LabError> {
        let path = self.root.join(METRICS);
        let text = read(&self.root, METRICS)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|error| LabError::folder(&path, format!("is damaged: {error}; train again")))
    }
}

fn same(own: &Identity, kept: &Identity, path: &Path) -> Result<(), LabError> {
    match own.difference(kept) {
        None => Ok(()),
        Some(name) => {
            Err(LabError::output(path, format!("was trained with another {name}; give the same options")))
        }
    }
}

fn has_file(folder: &goldfish_storage::Folder, name: &str) -> Result<bool, LabError> {
    let path = folder.join(name);
    match folder.kind(name).map_err(LabError::io(&path, "looking at the file"))? {
        None => Ok(false),
        Some(Kind::File) => Ok(true),
        Some(_) => Err(LabError::output(&path, "is not a regular file; move it away")),
    }
}

/// Largest file of metrics that is read when a run is finished, in bytes.
const MAX_METRICS_BYTES: u64 = 1 << 30;

/// Largest file of a run that is read, in bytes.
const MAX_STATE_BYTES: u64 = 1 << 36;

fn read(folder: &goldfish_storage::Folder, name: &str) -> Result<Vec<u8>, LabError> {
    folder.read(name, MAX_STATE_BYTES).map_err(LabError::io(&folder.join(name), "reading"))
}

fn lock(state: &goldfish_storage::Folder, path: &Path) -> Result<Lock, LabError> {
    let taken = state.lock(LOCK).map_err(LabError::io(&state.join(LOCK), "locking"))?;
    taken.ok_or_else(|| LabError::output(path, "another process is training there; wait for its end"))
}

/// Removes the saved state, the lock last. Other files stay, and the folder with them.
fn remove_state(
    root: &goldfish_storage::Folder,
    state: &goldfish_storage::Folder,
    lock: Lock,
) -> Result<(), LabError> {
    for name in [STATE_FILE, &goldfish_storage::partial_name(STATE_FILE), LOCK] {
        match state.remove_file(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(LabError::io(&state.join(name), "removing"))?,
        }
    }
    drop(lock);
    match root.remove_subfolder(STATE) {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
            Ok(())
        }
        removed => removed.map_err(LabError::io(state.path(), "removing")),
    }
}

fn read_state(
    state: &goldfish_storage::Folder,
    identity: &Identity,
    path: &Path,
    parameters: usize,
) -> Result<(Weights, Progress), LabError> {
    let damaged =
        || LabError::folder(&state.join(STATE_FILE), "is damaged; remove the folder, and train again");
    let bytes = read(state, STATE_FILE)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|_| damaged())?;
    let description = header.metadata().as_ref().and_then(|metadata| metadata.get(DESCRIPTION));
    let description: Description =
        description.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(damaged)?;
    same(identity, &description.identity, path)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
    let read = |name: &str| {
        let tensor = tensors
            .tensor(name)
            .ok()
            .filter(|tensor| tensor.dtype() == Dtype::F32 && tensor.shape() == [parameters]);
        let four = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        tensor.map(|tensor| tensor.data().chunks_exact(4).map(four).collect::<Vec<_>>()).ok_or_else(damaged)
    };
    let weights = Weights { values: read("values")?, means: read("means")?, squares: read("squares")? };
    Ok((weights, description.progress))
}

/// Longest line of metrics that is read, in bytes.
const MAX_METRICS_LINE: u64 = 1 << 20;

/// The metrics up to the last saved step, to be appended to; nothing if no step was saved.
fn open_metrics(root: &goldfish_storage::Folder, step: Option<u64>) -> Result<File, LabError> {
    let path = &root.join(METRICS);
    if !has_file(root, METRICS)? {
        let made = root.create(METRICS).map_err(LabError::io(path, "creating"))?;
        return made
            .into_disk()
            .ok_or_else(|| LabError::output(path, "is in an object store, not on a disk"));
    }
    let file = goldfish_storage::File::open(path).map_err(LabError::io(path, "opening"))?;
    let mut kept = 0u64;
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let piece = lines.by_ref().take(MAX_METRICS_LINE).read_until(b'\n', &mut line);
        let read = piece.map_err(LabError::io(path, "reading"))?;
        let found: Option<u64> = serde_json::from_slice::<Value>(&line).ok().and_then(|l| l["step"].as_u64());
        match found {
            Some(found) if Some(found) <= step && line.ends_with(b"\n") => kept += read as u64,
            _ => break,
        }
    }
    root.open_to_append(METRICS, kept).map_err(LabError::io(path, "opening"))
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn write_tensors<'a>(
    folder: &goldfish_storage::Folder,
    name: &str,
    tensors: impl Iterator<Item = (&'a str, Vec<usize>, &'a [u8])>,
    (key, value): (&str, String),
) -> Result<(), LabError> {
    let views = tensors.map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape, bytes)?)));
    let metadata = HashMap::from([(key.to_owned(), value)]);
    let bytes = views
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .and_then(|views| safetensors::serialize(views, Some(metadata)))
        .map_err(|error| LabError::io(&folder.join(name), "writing")(io::Error::other(error)))?;
    write(folder, name, &bytes)
}

fn write_json(folder: &goldfish_storage::Folder, name: &str, value: &impl Serialize) -> Result<(), LabError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| LabError::io(&folder.join(name), "writing")(error.into()))?;
    write(folder, name, (text + "\n").as_bytes())
}

fn write(folder: &goldfish_storage::Folder, name: &str, bytes: &[u8]) -> Result<(), LabError> {
    folder.replace(name, |file| file.write_all(bytes)).map_err(LabError::io(&folder.join(name), "writing"))
}
