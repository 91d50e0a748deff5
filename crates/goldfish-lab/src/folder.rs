//! The folder of a run: what is kept of it on the way, and the checkpoint at its end.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::optimizer::Weights;
use crate::{Architecture, LabError, TrainOptions, Trained};

/// What a finished run is told by; written last.
pub(crate) const TRAINED: &str = "training.json";
const METRICS: &str = "metrics.jsonl";
/// The folder of what is kept on the way.
const STATE: &str = "training";
const STATE_FILE: &str = "state.safetensors";
const LOCK: &str = "lock";
/// The key of the state's description in its file.
const DESCRIPTION: &str = "goldfish";

/// What decides the bytes of a run. A run goes on only with the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Without paths, and without how often the state is saved.
    options: TrainOptions,
    config: Value,
    shards: Vec<String>,
    validation: Vec<String>,
    tokenizer: Option<String>,
}

impl Identity {
    pub(crate) fn new(
        options: &TrainOptions,
        config: Value,
        shards: &[String],
        validation: &[String],
        tokenizer: Option<&str>,
    ) -> Self {
        let mut options = options.clone();
        options.shards.clear();
        options.validation.clear();
        options.tokenizer = None;
        options.checkpoint_every = 0;
        Self {
            options,
            config,
            shards: shards.to_vec(),
            validation: validation.to_vec(),
            tokenizer: tokenizer.map(str::to_owned),
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

/// How far a run is.
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

/// The folder of a run that is this process's alone.
pub(crate) struct Folder {
    path: PathBuf,
    metrics: File,
    _lock: File,
}

/// What a folder holds.
pub(crate) enum Opened {
    /// A run that begins, or goes on with these weights.
    Running(Folder, Option<(Weights, Progress)>),
    /// One that is finished.
    Finished(Box<Trained>),
}

/// The finished run in a folder, and what it was made of.
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
        let (trained, state) = (path.join(TRAINED), path.join(STATE));
        if trained.exists() {
            if !resume {
                return Err(LabError::folder(path, "holds a finished run; choose another --output"));
            }
            let text = fs::read(&trained).map_err(LabError::io(&trained, "reading"))?;
            let finished: Finished = serde_json::from_slice(&text)
                .map_err(|error| LabError::folder(&trained, format!("is damaged: {error}; train again")))?;
            same(identity, &finished.identity, path)?;
            remove(&state)?;
            return Ok(Opened::Finished(Box::new(finished.trained)));
        }
        let saved = state.join(STATE_FILE);
        if !state.exists() {
            let mut entries = fs::read_dir(path).map_err(LabError::io(path, "listing the folder"))?;
            if let Some(entry) = entries.next() {
                let name = entry.map_err(LabError::io(path, "listing the folder"))?.file_name();
                let reason = format!("holds {name:?} and no run of goldfish; choose an empty or new folder");
                return Err(LabError::folder(path, reason));
            }
        } else if !resume {
            let reason = "holds an unfinished run; go on with --resume, or choose another --output";
            return Err(LabError::folder(path, reason));
        }
        fs::create_dir_all(&state).map_err(LabError::io(&state, "making the folder"))?;
        let lock = lock(&state, path)?;
        let taken_up =
            if saved.exists() { Some(read_state(&saved, identity, path, parameters)?) } else { None };
        let metrics = open_metrics(&path.join(METRICS), taken_up.as_ref().map_or(0, |(_, p)| p.step))?;
        Ok(Opened::Running(Self { path: path.to_owned(), metrics, _lock: lock }, taken_up))
    }

    /// Adds a line to the metrics.
    pub(crate) fn record(&mut self, line: &impl Serialize) -> Result<(), LabError> {
        let mut text = serde_json::to_vec(line).map_err(std::io::Error::from);
        if let Ok(text) = &mut text {
            text.push(b'\n');
        }
        let path = self.path.join(METRICS);
        text.and_then(|text| self.metrics.write_all(&text)).map_err(LabError::io(&path, "writing"))
    }

    /// Keeps the state, so that a killed run goes on from here.
    pub(crate) fn save(
        &mut self,
        identity: &Identity,
        progress: &Progress,
        weights: &Weights,
    ) -> Result<(), LabError> {
        let path = self.path.join(METRICS);
        self.metrics.sync_all().map_err(LabError::io(&path, "flushing to disk"))?;
        let description = Description { identity: identity.clone(), progress: progress.clone() };
        let description = serde_json::to_string(&description)
            .map_err(|error| LabError::io(&self.path, "describing the run")(error.into()))?;
        let parts = [("values", &weights.values), ("means", &weights.means), ("squares", &weights.squares)];
        let bytes = parts.map(|(name, values)| (name, little_endian(values)));
        let tensors = bytes.iter().map(|(name, bytes)| (*name, vec![bytes.len() / 4], bytes.as_slice()));
        let path = self.path.join(STATE).join(STATE_FILE);
        write_tensors(&path, tensors, (DESCRIPTION, description))
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
        let metrics = self.path.join(METRICS);
        self.metrics.sync_all().map_err(LabError::io(&metrics, "flushing to disk"))?;
        let bytes = little_endian(&weights.values);
        let mut rest = bytes.as_slice();
        let tensors = architecture.parameters().iter().map(|parameter| {
            let (own, behind) = rest.split_at(parameter.shape.iter().product::<usize>() * 4);
            rest = behind;
            (parameter.name.as_str(), parameter.shape.clone(), own)
        });
        let format = ("format", "pt".to_owned());
        write_tensors(&self.path.join("model.safetensors"), tensors, format)?;
        write_json(&self.path.join("config.json"), &architecture.config())?;
        if let Some(tokenizer) = tokenizer {
            write(&self.path.join("tokenizer.json"), tokenizer)?;
        }
        let finished = Finished { trained: trained.clone(), identity };
        write_json(&self.path.join(TRAINED), &finished)?;
        remove(&self.path.join(STATE))
    }

    /// Every line of the metrics so far.
    pub(crate) fn metrics(&self) -> Result<Vec<Value>, LabError> {
        let path = self.path.join(METRICS);
        let text = fs::read(&path).map_err(LabError::io(&path, "reading"))?;
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
            let reason =
                format!("was trained with another {name}; give the same options, or choose another --output");
            Err(LabError::folder(path, reason))
        }
    }
}

fn lock(state: &Path, path: &Path) -> Result<File, LabError> {
    let lock_path = state.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
    let file = file.map_err(LabError::io(&lock_path, "opening"))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let reason = "another goldfish trains there; wait for its end, or choose another --output";
            Err(LabError::folder(path, reason))
        }
        // Some network file systems have no locks; then the user has to take care.
        Err(TryLockError::Error(error)) if error.kind() != std::io::ErrorKind::Unsupported => {
            Err(LabError::io(&lock_path, "locking")(error))
        }
        _ => Ok(file),
    }
}

fn read_state(
    saved: &Path,
    identity: &Identity,
    path: &Path,
    parameters: usize,
) -> Result<(Weights, Progress), LabError> {
    let damaged = || LabError::folder(saved, "is damaged; remove the folder, and train again");
    let bytes = fs::read(saved).map_err(LabError::io(saved, "reading"))?;
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

/// The metrics up to a step, to be gone on with.
fn open_metrics(path: &Path, step: u64) -> Result<File, LabError> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let file = file.map_err(LabError::io(path, "opening"))?;
    let mut kept = 0u64;
    let mut lines = BufReader::new(&file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line).map_err(LabError::io(path, "reading"))?;
        let found: Option<u64> = serde_json::from_slice::<Value>(&line).ok().and_then(|l| l["step"].as_u64());
        match found {
            Some(found) if found <= step && line.ends_with(b"\n") => kept += read as u64,
            _ => break,
        }
    }
    file.set_len(kept).map_err(LabError::io(path, "shortening"))?;
    OpenOptions::new().append(true).open(path).map_err(LabError::io(path, "opening"))
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, Vec<usize>, &'a [u8])>,
    (key, value): (&str, String),
) -> Result<(), LabError> {
    let failed =
        |error: safetensors::SafeTensorError| LabError::io(path, "writing")(std::io::Error::other(error));
    let views = tensors.map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape, bytes)?)));
    let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let metadata = HashMap::from([(key.to_owned(), value)]);
    // Not written by safetensors, which leaves a file of a random name when it is killed.
    write(path, &serialize(views, Some(metadata)).map_err(failed)?)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LabError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| LabError::io(path, "writing")(error.into()))?;
    write(path, (text + "\n").as_bytes())
}

/// Writes a file whole or not at all, down to the disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, bytes).map_err(LabError::io(path, "writing"))?;
    let flushed = File::open(&partial).and_then(|file| file.sync_all());
    let renamed = flushed.and_then(|()| fs::rename(&partial, path));
    #[cfg(unix)]
    let renamed = renamed.and_then(|()| match path.parent() {
        Some(folder) => File::open(folder).and_then(|folder| folder.sync_all()),
        None => Ok(()),
    });
    renamed.map_err(LabError::io(path, "writing"))
}

fn remove(folder: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(LabError::io(folder, "removing")),
    }
}
