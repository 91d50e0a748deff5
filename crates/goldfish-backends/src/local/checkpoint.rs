//! A checkpoint as a backend.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish_audit::backend::{
    Backend, BackendError, BlockMemory, Capabilities, Decoding, GenerateRequest, Generated, ModelDescription,
    ScoreRequest, Scored, Wants,
};

use super::adapter::Adapter;
use super::cached::{self, PASS_ROWS};
use super::error::CheckpointError;
use super::folder::{TensorFiles, fingerprint};
use super::long::LongDecoder;
use super::network::{Network, NetworkConfig};
use super::recurrent::Recurrent;
use super::source::Source;
use super::walk;
use super::weights::GetTensor;

/// Bytes of keys, values and states of sequences that are computed together.
const CACHE_BYTES: usize = 1 << 30;

/// A Hugging Face checkpoint folder, run on the CPUs of this machine in single precision.
#[derive(Debug)]
pub struct Checkpoint {
    network: Network,
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
        let config = NetworkConfig::open(&config_path)?;
        let files = TensorFiles::open(folder, "model")?;
        let adapter = adapter.map(Adapter::open).transpose()?;
        let own = std::iter::once(config_path.as_path()).chain(files.paths());
        let paths: Vec<&Path> = own.chain(adapter.iter().flat_map(Adapter::paths)).collect();
        // `Source` stays on this thread; the other finds what it read in the page cache.
        let unwanted = AtomicBool::new(false);
        let (network, fingerprint) = std::thread::scope(|scope| {
            let fingerprint = scope.spawn(|| fingerprint(paths.iter().copied(), &unwanted));
            let network = Source::new(&files, adapter.as_ref()).network(config);
            unwanted.store(network.is_err(), Ordering::Relaxed);
            (network, fingerprint.join())
        });
        let network = network?;
        let fingerprint = fingerprint.map_err(|_| CheckpointError::file(folder, "could not be hashed"))??;
        let description = describe(&network, name_of(folder), fingerprint);
        Ok(Self { network, description })
    }

    /// A model with weights in memory, which `get` returns by name and shape. It has no fingerprint.
    ///
    /// # Errors
    ///
    /// Those of `get`.
    pub fn in_memory(
        name: &str,
        config: NetworkConfig,
        get: &mut GetTensor<'_, CheckpointError>,
    ) -> Result<Self, CheckpointError> {
        let network = Network::new(config, get)?;
        let description = describe(&network, name.to_owned(), String::new());
        Ok(Self { network, description })
    }

    /// The model with a memory of blocks: each token attends to a window of tokens, to retrieved blocks before it and to the first tokens, and
    /// sequences may be of any length. The keys and values of all tokens stay in memory.
    ///
    /// # Errors
    ///
    /// If the model has a recurrent state, learned positions or windows of its own, or the memory's window is longer than
    /// its context.
    pub fn with_memory(self, memory: BlockMemory) -> Result<Self, CheckpointError> {
        let network = self.network.with_memory(memory, &self.description.name)?;
        let description = ModelDescription { context_length: None, memory: Some(memory), ..self.description };
        Ok(Self { network, description })
    }

    /// Bytes of the state after a sequence, however long it is; `None` for a cache of keys and values, which grows with it.
    #[must_use]
    pub fn state_bytes(&self) -> Option<u64> {
        match &self.network {
            Network::Recurrent(network) => Some(network.state_bytes() as u64),
            Network::Decoder(_) | Network::Long(_) => None,
        }
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
        let vocab_size = self.network.vocabulary().size() as u32;
        if let Some(id) = ids.iter().find(|id| **id >= vocab_size) {
            return Err(BackendError::UnknownToken { backend: backend(), id: *id, vocab_size });
        }
        let length = ids.len().saturating_add(more);
        match self.network.longest() {
            Some(longest) if length > longest => {
                let (longest, length) = (longest as u64, length as u64);
                let memory = self.network.can_have_memory();
                Err(BackendError::TooLong { backend: backend(), longest, length, memory })
            }
            _ => Ok(()),
        }
    }
}

fn describe(network: &Network, name: String, fingerprint: String) -> ModelDescription {
    ModelDescription {
        name,
        fingerprint,
        backend: "local".into(),
        vocab_size: Some(network.vocabulary().size() as u32),
        context_length: network.longest().map(|longest| longest as u64),
        memory: None,
        template: None,
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
        Capabilities { score: true, moments: true, schemes: true, generate: true, candidates: true }
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
        let groups = match &self.network {
            Network::Decoder(_) => groups(&sequences, |number| sequences[number].len(), PASS_ROWS),
            Network::Long(decoder) => {
                groups(&sequences, |number| long_bytes(decoder, sequences[number].len()), CACHE_BYTES)
            }
            Network::Recurrent(network) => groups(&sequences, |_| state_bytes(network), CACHE_BYTES),
        };
        for group in groups {
            let chosen: Vec<_> = group.iter().map(|number| &requests[*number]).collect();
            let scored = match &self.network {
                Network::Decoder(decoder) => cached::score(decoder, &chosen, wants),
                Network::Long(decoder) => walk::score(decoder, &chosen, wants),
                Network::Recurrent(network) => walk::score(network, &chosen, wants),
            };
            for (number, answer) in group.iter().zip(scored.map_err(|error| self.failed(error))?) {
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
        let prompts: Vec<&[u32]> = requests.iter().map(|request| request.prompt).collect();
        let length = |number: usize| prompts[number].len().saturating_add(requests[number].tokens);
        let groups = match &self.network {
            Network::Decoder(decoder) => {
                let row_bytes = decoder.config().cache_row_bytes();
                groups(&prompts, |number| length(number).saturating_mul(row_bytes), CACHE_BYTES)
            }
            Network::Long(decoder) => {
                groups(&prompts, |number| long_bytes(decoder, length(number)), CACHE_BYTES)
            }
            Network::Recurrent(network) => groups(&prompts, |_| state_bytes(network), CACHE_BYTES),
        };
        let mut answers = vec![Generated::default(); requests.len()];
        for group in groups {
            let chosen: Vec<_> = group.iter().map(|number| (*number, &requests[*number])).collect();
            let continued = match &self.network {
                Network::Decoder(decoder) => cached::generate(decoder, &chosen, decoding),
                Network::Long(decoder) => walk::generate(decoder, &chosen, decoding),
                Network::Recurrent(network) => walk::generate(network, &chosen, decoding),
            };
            for (number, ids) in group.iter().zip(continued.map_err(|error| self.failed(error))?) {
                let evaluated = Some(prompts[*number].len() as u64);
                answers[*number] = Generated { ids, evaluated, ..Generated::default() };
            }
        }
        Ok(answers)
    }
}

/// What a sequence takes of the memory for states: the state after it and that of its branch, and at least so much that a group is
/// no larger than a pass.
fn state_bytes(network: &Recurrent) -> usize {
    (2 * network.state_bytes()).max(CACHE_BYTES / PASS_ROWS)
}

/// The same for a sequence of this length.
fn long_bytes(decoder: &LongDecoder, length: usize) -> usize {
    decoder.state_bytes(length).max(CACHE_BYTES / PASS_ROWS)
}

/// The last component of the folder's path.
fn name_of(folder: &Path) -> String {
    let whole = std::path::absolute(folder).ok();
    let name = whole.as_deref().and_then(Path::file_name);
    name.map_or_else(|| "checkpoint".into(), |name| name.to_string_lossy().into_owned())
}
