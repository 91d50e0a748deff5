use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that determines the result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// Folders that `goldfish mask` wrote; their documents are trained on in an order that the seed decides.
    pub shards: Vec<PathBuf>,
    /// Which of the documents are trained on.
    #[serde(default, skip_serializing_if = "Documents::are_all")]
    pub documents: Documents,
    /// Folders with documents that are not trained on, for the loss on them.
    pub validation: Vec<PathBuf>,
    /// Folders with documents that the model may recite: how many it does is counted with the loss on the validation documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recite: Vec<PathBuf>,
    /// What is asked of these documents.
    #[serde(default, skip_serializing_if = "RecitationOptions::are_usual")]
    pub recitation: RecitationOptions,
    /// A `tokenizer.json` that is copied to the weights and gives the size of the vocabulary.
    pub tokenizer: Option<PathBuf>,
    /// Size of the vocabulary, if there is no tokenizer or spare ids are wanted.
    pub vocab_size: Option<usize>,
    /// The model; a run that continues from a checkpoint has that one's.
    pub model: ModelOptions,
    /// A checkpoint folder to continue from: its architecture and weights, and its `tokenizer.json` if the options name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Adapters that are trained in place of the checkpoint's weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraOptions>,
    /// Whether masks apply: a token with mask 0 is excluded from the loss. Otherwise every token but a document's first is
    /// supervised: the standard loss on the same documents in the same order.
    pub use_mask: bool,
    /// Longest sequence in tokens. A document is cut into sequences of so many inputs, so that every token but its first is a target
    /// once; sequences don't see each other, and there is no padding.
    pub sequence_length: usize,
    /// Sequences in one step.
    pub batch_size: usize,
    /// The length of the run.
    pub length: Length,
    /// Train on preferences between the model's own continuations of the prefixes of `recite`, in place of `shards`. A step then has
    /// `batch_size` of these documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<PreferenceOptions>,
    /// The optimizer, and its schedule.
    pub optimizer: OptimizerOptions,
    /// Determines the initial weights, which documents are drawn, and the order of the sequences.
    pub seed: u64,
    /// Steps from one saved state to the next; a killed run resumes from the last one.
    pub checkpoint_every: u64,
    /// Steps from one loss on the validation documents, and one count of recited documents, to the next; they are also computed after the
    /// last step.
    pub validate_every: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            documents: Documents::All,
            validation: Vec::new(),
            recite: Vec::new(),
            recitation: RecitationOptions::default(),
            tokenizer: None,
            vocab_size: None,
            model: ModelOptions::default(),
            from: None,
            lora: None,
            use_mask: true,
            sequence_length: 256,
            batch_size: 16,
            length: Length::Epochs(1),
            preference: None,
            optimizer: OptimizerOptions::default(),
            seed: 0,
            checkpoint_every: 200,
            validate_every: 200,
        }
    }
}

/// What is asked of each document: to continue its first tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecitationOptions {
    /// Tokens of a prefix, from the beginning of the document.
    pub prefix: usize,
    /// Tokens after it.
    pub suffix: usize,
}

impl Default for RecitationOptions {
    fn default() -> Self {
        Self { prefix: 50, suffix: 50 }
    }
}

impl RecitationOptions {
    fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Direct preference optimization of continuations that the model writes while it is trained: of two, the one with the lower Rouge-L to the
/// true suffix is preferred ([Guo et al. 2024](https://arxiv.org/abs/2402.04792), with this score in place of a language model that
/// judges). The reference is the checkpoint that the run starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceOptions {
    /// Factor of log-probabilities in the loss: the smaller, the further the model may go from the reference.
    pub beta: f64,
    /// Divides the logits that continuations are drawn from.
    pub temperature: f64,
    /// Factor of the cross entropy of other text, which is added to the loss.
    pub keep: f64,
    /// Folders with that text; as many sequences of it as passages are in every step.
    pub other: Vec<PathBuf>,
}

impl Default for PreferenceOptions {
    fn default() -> Self {
        Self { beta: 0.1, temperature: 1.0, keep: 0.0, other: Vec::new() }
    }
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// So many steps of the optimizer.
    Steps(u64),
    /// Every sequence so many times; the last step may be smaller than the others.
    Epochs(u64),
}

/// Which documents are trained on. Those without supervised tokens never are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Documents {
    /// All of them.
    #[default]
    All,
    /// So many with the most supervised tokens; of two with as many, the one that stands first
    /// ([Zhao et al. 2024](https://arxiv.org/abs/2402.04833)).
    Longest(u64),
    /// So many, drawn with the seed.
    Random(u64),
    /// Documents in the order of the same draw, until they have as many supervised tokens as so many of the longest.
    RandomAsLongest(u64),
}

impl Documents {
    fn are_all(&self) -> bool {
        *self == Self::All
    }
}

/// The model and its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelOptions {
    /// The name of its [architecture](crate::ARCHITECTURES).
    pub architecture: String,
    /// Layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Heads of attention; they divide the width.
    pub heads: usize,
    /// Heads of keys and values; they divide the heads. As many as heads if absent.
    pub kv_heads: Option<usize>,
    /// Width of the MLP; 8/3 of the width, rounded up to a multiple of 32, if absent.
    pub mlp_width: Option<usize>,
    /// Longest context of the checkpoint; the sequence length if absent.
    pub context_length: Option<usize>,
    /// Whether the head is the table of embeddings.
    pub tied: bool,
    /// Standard deviation of the initial weights.
    pub initial_deviation: f64,
    /// Sizes that only this architecture has ([`ArchitectureKind::sizes`](crate::ArchitectureKind)), by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, usize>,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            architecture: "llama".to_owned(),
            layers: 4,
            width: 256,
            heads: 4,
            kv_heads: None,
            mlp_width: None,
            context_length: None,
            tied: false,
            initial_deviation: 0.02,
            sizes: BTreeMap::new(),
        }
    }
}

/// Adapters of low rank ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)) of linear layers without biases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoraOptions {
    /// Rank of the product that is added to a weight; at most its smaller side.
    pub rank: usize,
    /// The product is multiplied by `alpha / rank`; twice the rank if absent.
    pub alpha: Option<usize>,
    /// Names of the layers, or the ends of them, such as `q_proj`; all linear layers if empty, but not the head.
    pub targets: Vec<String>,
}

/// `AdamW` ([Loshchilov and Hutter 2019](https://arxiv.org/abs/1711.05101)): linear warmup to the learning rate, then a cosine down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimizerOptions {
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Fraction of the learning rate at the last step.
    pub final_share: f64,
    /// Steps of the warmup.
    pub warmup: u64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// What is added to the root of the latter.
    pub epsilon: f64,
    /// Decay of the matrices; norms and biases have none.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; larger ones are scaled down to it. 0 for no limit.
    pub clip: f64,
}

impl Default for OptimizerOptions {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            final_share: 0.1,
            warmup: 20,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
        }
    }
}
