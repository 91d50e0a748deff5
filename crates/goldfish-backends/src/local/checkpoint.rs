//! A checkpoint as a backend.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use goldfish_audit::backend::{
    Backend, BackendError, Capabilities, Decoding, GenerateRequest, Generated, ModelDescription,
    ScoreRequest, Scored, Wants,
};

use super::adapter::Adapter;
use super::attention::Span;
use super::config::{DecoderConfig, TensorNames};
use super::decoder::{Cache, Decoder, Pass};
use super::draw::choose;
use super::error::CheckpointError;
use super::folder::{TensorFiles, fingerprint};
use super::pack::pack;
use super::read::score;

/// Rows of one pass at most.
const PASS_ROWS: usize = 2048;
/// Bytes of keys and values of continuations that are generated together.
const CACHE_BYTES: usize = 1 << 30;

/// A Hugging Face checkpoint folder, run on the CPUs of this machine in single precision.
#[derive(Debug)]
pub struct Checkpoint {
    decoder: Decoder,
    description: ModelDescription,
}

impl Checkpoint {
    /// Opens a folder with `config.json` and safetensors, and with an adapter merged onto its weights if one is named.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or the model is not [supported](super).
    pub fn open(folder: &Path, adapter: Option<&Path>) -> Result<Self, CheckpointError> {
        let config_path = folder.join("config.json");
        let config = DecoderConfig::open(&config_path)?;
        let files = TensorFiles::open(folder, "model")?;
        let adapter = adapter.map(Adapter::open).transpose()?;
        let (vocab_size, context_length) = (config.vocab_size, config.context_length);
        let own = std::iter::once(config_path.as_path()).chain(files.paths());
        let paths: Vec<&Path> = own.chain(adapter.iter().flat_map(Adapter::paths)).collect();
        // `Source` stays on this thread; the other finds what it read in the page cache.
        let unwanted = AtomicBool::new(false);
        let (decoder, fingerprint) = std::thread::scope(|scope| {
            let fingerprint = scope.spawn(|| fingerprint(paths.iter().copied(), &unwanted));
            let decoder = Source::new(&files, adapter.as_ref()).decoder(config);
            unwanted.store(decoder.is_err(), Ordering::Relaxed);
            (decoder, fingerprint.join())
        });
        let decoder = decoder?;
        let fingerprint = fingerprint.map_err(|_| CheckpointError::file(folder, "could not be hashed"))??;
        let description = ModelDescription {
            name: name_of(folder),
            fingerprint,
            backend: "local".into(),
            vocab_size: Some(vocab_size as u32),
            context_length: Some(context_length as u64),
        };
        Ok(Self { decoder, description })
    }

    /// The model itself.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    fn failed(&self, reason: impl ToString) -> BackendError {
        BackendError::Failed {
            backend: self.description.name.clone(),
            reason: reason.to_string(),
            retry_after: None,
        }
    }

    /// Whether these tokens are in the vocabulary, and `more` after them fit into the context.
    fn check(&self, ids: &[u32], more: usize) -> Result<(), BackendError> {
        let backend = || self.description.name.clone();
        let vocab_size = self.decoder.config().vocab_size as u32;
        if let Some(id) = ids.iter().find(|id| **id >= vocab_size) {
            return Err(BackendError::UnknownToken { backend: backend(), id: *id, vocab_size });
        }
        let (length, longest) = ((ids.len() + more) as u64, self.decoder.config().context_length as u64);
        if length > longest {
            return Err(BackendError::TooLong { backend: backend(), longest, length });
        }
        Ok(())
    }

    /// Scores sequences that fit one pass together, in their order.
    fn score_pass(&self, requests: &[&ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, BackendError> {
        let sequences: Vec<&[u32]> = requests.iter().map(|request| request.ids).collect();
        let packed = pack(&sequences, usize::MAX);
        let Some(pass) = packed.passes.first() else { return Ok(vec![Scored::default(); requests.len()]) };
        // Row, sequence, token: the row before a token predicts it.
        let mut asked: Vec<(u32, usize, u32)> = Vec::new();
        for (sequence, (request, path)) in requests.iter().zip(&packed.paths).enumerate() {
            asked.extend(
                (request.from..request.ids.len()).map(|at| (path[at - 1], sequence, request.ids[at])),
            );
        }
        asked.sort_by_key(|(row, ..)| *row);
        let by_row: Vec<&[(u32, usize, u32)]> = asked.chunk_by(|a, b| a.0 == b.0).collect();
        let rows: Vec<u32> = by_row.iter().map(|asked| asked[0].0).collect();
        let mut answers: Vec<Scored> = requests
            .iter()
            .map(|request| Scored {
                tokens: Vec::new(),
                evaluated: Some(request.ids.len() as u64),
                exchange: None,
            })
            .collect();
        if rows.is_empty() {
            return Ok(answers);
        }
        let hidden = self.decoder.states(pass, None, &rows).map_err(|error| self.failed(error))?;
        let scored = self.decoder.each_logits(&hidden, |row, logits| {
            by_row[row].iter().map(|(_, _, token)| score(logits, *token, wants)).collect::<Vec<_>>()
        });
        // Rows of one path ascend, so that the scores of each sequence come in its order.
        for ((_, sequence, _), score) in asked.iter().zip(scored.into_iter().flatten()) {
            let score =
                score.ok_or_else(|| self.failed("a logit is not a number; is the checkpoint damaged?"))?;
            answers[*sequence].tokens.push(score);
        }
        Ok(answers)
    }

    /// Continues prompts together; each has its number among all requests.
    fn continue_group(
        &self,
        requests: &[(usize, &GenerateRequest<'_>)],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<u32>>, BackendError> {
        let prompts: Vec<&[u32]> = requests.iter().map(|(_, request)| request.prompt).collect();
        let packed = pack(&prompts, PASS_ROWS);
        let more: usize = requests.iter().map(|(_, request)| request.tokens).sum();
        let compute = || -> candle_core::Result<Vec<Vec<u32>>> {
            let mut cache = Cache::new(self.decoder.config(), packed.rows + more)?;
            let mut paths = packed.paths.clone();
            // The last rows of the prompts; prompts can share one.
            let lasts: BTreeSet<u32> = paths.iter().filter_map(|path| path.last()).copied().collect();
            let mut hidden = Vec::new();
            for pass in &packed.passes {
                let before = cache.rows() as u32;
                let here = lasts.range(before..before + pass.tokens.len() as u32).map(|row| row - before);
                hidden.extend(self.decoder.states(pass, Some(&mut cache), &here.collect::<Vec<_>>())?);
            }
            let mut continued = vec![Vec::new(); requests.len()];
            // The index of each sequence among the hidden states.
            let indices: BTreeMap<u32, usize> = lasts.iter().copied().zip(0..).collect();
            let indices = paths.iter().filter_map(|path| indices.get(path.last()?).copied());
            let mut active: Vec<(usize, usize)> = indices.enumerate().collect();
            loop {
                active.retain(|(sequence, _)| continued[*sequence].len() < requests[*sequence].1.tokens);
                if active.is_empty() {
                    return Ok(continued);
                }
                let width = self.decoder.config().hidden_size;
                let last: Vec<&[f32]> =
                    active.iter().map(|(_, row)| &hidden[row * width..][..width]).collect();
                let chosen = self.decoder.each_logits(&last.concat(), |row, logits| {
                    let (sequence, _) = active[row];
                    choose(logits, decoding, [requests[sequence].0 as u64, paths[sequence].len() as u64])
                });
                let mut pass = Step::default();
                for ((sequence, row), token) in active.iter_mut().zip(chosen) {
                    let Some(token) = token else {
                        candle_core::bail!("a logit is not a number; is the checkpoint damaged?")
                    };
                    continued[*sequence].push(token);
                    if continued[*sequence].len() < requests[*sequence].1.tokens {
                        *row = pass.add(token, &mut paths[*sequence], cache.rows());
                    }
                }
                if !pass.tokens.is_empty() {
                    let rows: Vec<u32> = (0..pass.tokens.len() as u32).collect();
                    hidden = self.decoder.states(&pass.into(), Some(&mut cache), &rows)?;
                }
            }
        };
        compute().map_err(|error| self.failed(error))
    }
}

/// One more token for each of some sequences.
#[derive(Default)]
struct Step {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    spans: Vec<Span>,
}

impl Step {
    /// Returns the row of the token within the step.
    fn add(&mut self, token: u32, path: &mut Vec<u32>, cached: usize) -> usize {
        let (row, first) = (self.tokens.len(), path.len());
        path.push((cached + row) as u32);
        self.tokens.push(token);
        self.positions.push(first as u32);
        self.spans.push(Span { rows: row..row + 1, first, path: path.clone() });
        row
    }
}

impl From<Step> for Pass {
    fn from(step: Step) -> Self {
        Self { tokens: step.tokens, positions: step.positions.into(), spans: step.spans.into() }
    }
}

/// Numbers of sequences, sorted by their tokens and divided into groups of limited weight.
fn groups(sequences: &[&[u32]], weight: impl Fn(usize) -> usize, limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|number| sequences[*number]);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut used = 0usize;
    for number in order {
        match groups.last_mut() {
            Some(group) if used.saturating_add(weight(number)) <= limit => group.push(number),
            _ => {
                groups.push(vec![number]);
                used = 0;
            }
        }
        used = used.saturating_add(weight(number));
    }
    groups
}

impl Backend for Checkpoint {
    fn describe(&self) -> Result<ModelDescription, BackendError> {
        Ok(self.description.clone())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { score: true, moments: true, schemes: true, generate: true }
    }

    fn score(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, BackendError> {
        for request in requests {
            self.check(request.ids, 0)?;
            if request.from == 0 {
                return Err(self.failed("position 0 was asked for, which has no preceding token"));
            }
        }
        let sequences: Vec<&[u32]> = requests.iter().map(|request| request.ids).collect();
        let mut answers = vec![Scored::default(); requests.len()];
        for group in groups(&sequences, |number| sequences[number].len(), PASS_ROWS) {
            let chosen: Vec<_> = group.iter().map(|number| &requests[*number]).collect();
            for (number, answer) in group.iter().zip(self.score_pass(&chosen, wants)?) {
                answers[*number] = answer;
            }
        }
        Ok(answers)
    }

    fn generate(
        &self,
        requests: &[GenerateRequest<'_>],
        decoding: &Decoding,
    ) -> Result<Vec<Generated>, BackendError> {
        for request in requests {
            self.check(request.prompt, request.tokens.saturating_sub(1))?;
            if request.prompt.is_empty() {
                return Err(self.failed("a prompt has no token"));
            }
        }
        let config = self.decoder.config();
        let prompts: Vec<&[u32]> = requests.iter().map(|request| request.prompt).collect();
        let row_bytes = config.layers.len() * config.kv_heads * config.head_dim * 8;
        let weight =
            |number: usize| (prompts[number].len() + requests[number].tokens).saturating_mul(row_bytes);
        let mut answers = vec![Generated::default(); requests.len()];
        for group in groups(&prompts, weight, CACHE_BYTES) {
            let chosen: Vec<_> = group.iter().map(|number| (*number, &requests[*number])).collect();
            for (number, ids) in group.iter().zip(self.continue_group(&chosen, decoding)?) {
                let evaluated = Some(prompts[*number].len() as u64);
                answers[*number] = Generated { ids, evaluated, ..Generated::default() };
            }
        }
        Ok(answers)
    }
}

/// The last component of the folder's path.
fn name_of(folder: &Path) -> String {
    let whole = std::path::absolute(folder).ok();
    let name = whole.as_deref().and_then(Path::file_name);
    name.map_or_else(|| "checkpoint".into(), |name| name.to_string_lossy().into_owned())
}

/// The tensors of a decoder, from files and an adapter.
struct Source<'a> {
    files: &'a TensorFiles,
    adapter: Option<&'a Adapter>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Source<'a> {
    fn new(files: &'a TensorFiles, adapter: Option<&'a Adapter>) -> Self {
        Self { files, adapter, used: RefCell::default() }
    }

    fn decoder(&self, config: DecoderConfig) -> Result<Decoder, CheckpointError> {
        let needed = self.files.elements().saturating_mul(4);
        if let Some(available) = memory().filter(|memory| needed > *memory) {
            let path = self.files.folder().to_owned();
            return Err(CheckpointError::TooLittleMemory { path, needed, available });
        }
        let (tied, names) = (config.tied, config.tensors);
        let decoder = Decoder::new(config, &mut |name, shape| self.get(name, shape, names))?;
        let used = self.used.borrow();
        let ignored = |name: &str| {
            let tied_head = tied && name.strip_suffix(".weight") == Some(names.head);
            tied_head || names.ignored.iter().any(|end| name.ends_with(end))
        };
        if let Some(name) = self.files.names().find(|name| !used.contains(*name) && !ignored(name)) {
            let reason = "is not a tensor of this family; the checkpoint is of another model, quantized or has an adapter inside";
            return Err(CheckpointError::tensor(self.files.path_of(name), name, reason));
        }
        if let Some(adapter) = self.adapter {
            adapter.finish()?;
        }
        Ok(decoder)
    }

    /// A tensor by its full name, or without the model's, as the bare decoder is saved.
    fn get(&self, name: &str, shape: &[usize], names: &TensorNames) -> Result<Tensor, CheckpointError> {
        let bare = name.split_once('.').map_or(name, |(_, rest)| rest);
        let stored =
            if self.files.shape(name).is_none() && self.files.shape(bare).is_some() { bare } else { name };
        self.used.borrow_mut().insert(stored.to_owned());
        let tensor = self.files.read(stored, shape)?;
        match self.adapter {
            Some(adapter) => adapter.merge(name, tensor, names.is_transposed(name)),
            None => Ok(tensor),
        }
    }
}

/// Bytes of memory of this machine, swap included, if known.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |key| {
        text.lines()
            .find_map(|line: &str| line.strip_prefix(key)?.trim().split(' ').next()?.parse::<u64>().ok())
    };
    Some((kib("MemTotal:")? + kib("SwapTotal:").unwrap_or(0)) * 1024)
}
