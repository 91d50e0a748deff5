//! The structure of a decoder, and how its tensors are named and stored.

use super::alibi::Alibi;
use super::rope::RotarySpeeds;

/// Most ids of a vocabulary.
pub const MAX_VOCABULARY: usize = 1 << 24;
/// Most layers.
pub const MAX_LAYERS: usize = 1024;
/// Largest width of hidden states, MLPs, or all heads together.
pub const MAX_WIDTH: usize = 1 << 20;
/// Longest context in tokens.
pub const MAX_CONTEXT_LENGTH: usize = 1 << 24;

/// The function between the layers of an MLP.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "names of functions")]
pub enum Activation {
    Silu,
    Gelu,
    GeluTanh,
    Relu,
    /// With numbers that are among the weights of each layer.
    Xielu(Xielu),
    /// `x` times the logistic function of `slope * x`, of a gate of at most `limit`. What it gates is 1 more than stored, and cut off at `limit`
    /// and its negative before.
    ClampedSwish {
        slope: f32,
        limit: f32,
    },
}

/// The numbers of xIELU ([Huang and Schlag 2024](https://arxiv.org/abs/2411.13010)), which grows with the square of what is above 0, and below
/// 0 as an integrated exponential.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Xielu {
    /// Factor of the square.
    pub positive: f32,
    /// Factor of the exponential.
    pub negative: f32,
    /// The slope at 0.
    pub beta: f32,
    /// Exponents are at most this, a little below 0.
    pub highest: f32,
}

/// Where the norms of a layer are, and whether attention and MLP follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockLayout {
    /// A norm before attention and one before the MLP.
    PreNorm,
    /// A norm after attention and one after the MLP.
    PostNorm,
    /// A norm of the sum after attention was added, and one after the MLP was.
    SumNorm,
    /// Norms before and after both.
    SandwichNorm,
    /// Attention and MLP in parallel, each after a norm of its own.
    Parallel,
    /// Attention and MLP in parallel after one norm.
    ParallelSharedNorm,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Layer norm with weight and bias.
    Layer,
    /// Layer norm with a weight alone.
    LayerWeight,
    /// Layer norm with neither.
    LayerBare,
    /// RMS norm.
    Rms,
    /// RMS norm whose weight is stored minus 1.
    RmsMinusOne,
}

/// Norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// No norm.
    None,
    /// Of each head, with the same weights.
    PerHead,
    /// Of each head, with weights of its own and no bias, stored as `[heads, head_dim]`.
    OwnWeights,
    /// The same, stored head by head.
    OwnTensors,
    /// Of all heads together.
    AllHeads,
    /// RMS norm of each head without weights, in layers that rotate.
    Bare,
}

/// How positions are encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// Not at all: sequences can be of any length.
    None,
    /// By a table of embeddings.
    Learned,
    /// By rotating queries and keys.
    Rotary(Vec<RotarySpeeds>),
    /// By how far a key is away: sequences can be of any length.
    Alibi(Alibi),
}

/// Attention of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerAttention {
    /// How many positions a token sees, its own included; all of them if absent.
    pub window: Option<usize>,
    /// Heads of which the first sees its own position alone, the second one position more, and so on; the heads after them see
    /// the window.
    pub growing_windows: usize,
    /// Positions are divided into chunks of so many, and a token sees those of its own chunk; all of them if absent.
    pub chunk: Option<usize>,
    /// What scales the products besides, by the position of the query.
    pub temperature: Option<Temperature>,
    /// Index into [`Positions::Rotary`], if the layer rotates queries and keys.
    pub rotary: Option<usize>,
    /// Factor of the products of queries and keys.
    pub scale: f64,
}

/// A factor of the products of queries and keys that grows with the position of the query: `1 + weight * ln(1 + steps)`, after `steps` times
/// `step` positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// Positions of a step.
    pub step: f32,
    /// How much it grows.
    pub weight: f32,
}

impl Temperature {
    pub(super) fn factor(&self, position: usize) -> f32 {
        let steps = ((position as f32 + 1.0) / self.step).floor();
        steps.ln_1p().mul_add(self.weight, 1.0)
    }
}

/// Which linear layers have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of layers")]
pub struct Biases {
    pub query_key_value: bool,
    pub attention_out: bool,
    pub mlp: bool,
    pub head: bool,
}

/// How the tensors of a family are named and stored. Names within a layer follow the layer's own.
#[derive(Debug)]
pub(super) struct TensorNames {
    pub(super) embeddings: &'static str,
    /// A norm of the embeddings.
    pub(super) embedding_norm: Option<&'static str>,
    /// From the embeddings to the hidden states, and from these to the head, where their widths differ.
    pub(super) projections: [&'static str; 2],
    /// The table of learned positions.
    pub(super) positions: Option<&'static str>,
    /// The row of that table for position 0.
    pub(super) first_position: usize,
    /// What the numbers of layers follow.
    pub(super) layers: &'static str,
    pub(super) final_norm: &'static str,
    pub(super) head: &'static str,
    /// Before and after attention, before and after the MLP; empty where the block layout has no norm.
    pub(super) norms: [&'static str; 4],
    pub(super) query_key_norms: [&'static str; 2],
    /// One more score of each head of attention.
    pub(super) sinks: Option<&'static str>,
    /// Queries, keys and values, or one tensor with all of them.
    pub(super) query_key_value: &'static [&'static str],
    /// The rows of that tensor in the order queries of all heads, keys, values, if it is stored in another one.
    pub(super) query_key_value_order: Option<fn(&DecoderConfig) -> Vec<u32>>,
    pub(super) attention_out: &'static str,
    /// Gate and up, one tensor with both, or up alone where the MLP is not gated.
    pub(super) up: &'static [&'static str],
    pub(super) down: &'static str,
    /// Whether linear layers other than the head are stored `[inputs, outputs]`.
    pub(super) transposed: bool,
    /// Ends of names that old checkpoints have and that are not weights: masks and angles.
    pub(super) ignored: &'static [&'static str],
}

impl TensorNames {
    /// Whether a linear layer is stored `[inputs, outputs]`.
    pub(super) fn is_transposed(&self, name: &str) -> bool {
        self.transposed && !name.starts_with(self.head)
    }
}

/// Latents of low rank, of which queries, keys and values are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatentConfig {
    /// Rank of the queries' latent, if they have one.
    pub query_rank: Option<usize>,
    /// Rank of the latent of keys and values.
    pub rank: usize,
    /// Elements of a head's key that rotate.
    pub rotated: usize,
    /// Whether the products with hidden states have biases.
    pub biases: bool,
}

/// Weights of experts by the logistic function of their scores. Those with the highest sums of this and a correction are chosen, from the groups
/// with the highest sums of two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticWeights {
    /// Groups of equal size.
    pub groups: usize,
    /// Groups that experts are chosen from.
    pub groups_taken: usize,
    /// Whether the weights of the chosen experts are made to sum to 1.
    pub sum_to_one: bool,
    /// Factor of the weights.
    pub factor: f32,
}

/// The weights of the experts that a token takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// The softmax of the scores of all experts, so that those of the chosen ones sum to less than 1.
    AmongAll,
    /// The softmax of the scores of the chosen ones.
    AmongChosen,
    /// One by one.
    Logistic(LogisticWeights),
    /// The logistic function of their scores, by which the inputs of experts are multiplied in place of what they make.
    OfInputs,
}

/// A mixture of experts in place of the MLP.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsConfig {
    pub(super) tensors: &'static ExpertNames,
    /// How many there are.
    pub count: usize,
    /// How many a token takes.
    pub taken: usize,
    /// Width of one.
    pub intermediate_size: usize,
    /// Width of an MLP that every token takes besides, if there is one.
    pub shared_size: Option<usize>,
    /// How those that a token takes are weighted.
    pub weighting: Weighting,
    /// For each layer, whether it has experts; the others have one MLP.
    pub layers: Vec<bool>,
}

/// How the tensors of experts are named within a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExpertNames {
    pub(super) router: &'static str,
    /// The corrections of [`Weighting::Logistic`], within the router.
    pub(super) correction: &'static str,
    /// The MLP that every token takes.
    pub(super) shared: &'static str,
    pub(super) stored: StoredExperts,
    /// As [`TensorNames::up`].
    pub(super) up: &'static [&'static str],
    pub(super) down: &'static str,
}

/// How experts are stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoredExperts {
    /// Each after this name and its number.
    Apart(&'static str),
    /// All together, `[experts, outputs, inputs]`.
    Joined,
    /// All together, `[experts, inputs, outputs]`.
    Transposed,
    /// The same, outputs of gate and up by turns; they and the router have biases.
    Alternating,
}

/// A decoder, without its weights.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "names of sizes")]
pub struct DecoderConfig {
    pub(super) tensors: &'static TensorNames,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Width of a head's values.
    pub value_dim: usize,
    /// If keys and values are made of latents; there are as many heads of keys as of queries then.
    pub latent: Option<LatentConfig>,
    /// Longest sequence in tokens; without positions it is that of the training, and no limit.
    pub context_length: usize,
    pub layout: BlockLayout,
    pub norm: NormKind,
    pub norm_epsilon: f64,
    pub qk_norm: QkNorm,
    pub activation: Activation,
    /// Whether the MLP is gated.
    pub gated: bool,
    pub biases: Biases,
    pub positions: Positions,
    /// One for each layer.
    pub layers: Vec<LayerAttention>,
    /// Of layers with a mixture of experts.
    pub experts: Option<ExpertsConfig>,
    /// Soft cap of the products of queries and keys: `cap * tanh(x / cap)`.
    pub attention_softcap: Option<f64>,
    /// Queries, keys and values are cut off at this and its negative.
    pub clip: Option<f64>,
    /// Soft cap of the logits.
    pub logit_softcap: Option<f64>,
    /// Factor of the logits.
    pub logit_scale: Option<f64>,
    /// Factor of the embeddings.
    pub embedding_scale: Option<f64>,
    /// Factor of what attention and MLP add to the hidden states.
    pub residual_scale: Option<f64>,
    /// Width of the embeddings, if they and the head are stored in another one than the hidden states have.
    pub embedding_size: Option<usize>,
    /// Whether there is a norm before the head.
    pub final_norm: bool,
    /// Whether the head is the table of embeddings.
    pub tied: bool,
}

impl DecoderConfig {
    /// Longest sequence in tokens, if there is a limit.
    pub fn longest(&self) -> Option<usize> {
        matches!(self.positions, Positions::Learned | Positions::Rotary(_)).then_some(self.context_length)
    }

    /// Bytes of the keys and values of one row.
    pub(super) fn cache_row_bytes(&self) -> usize {
        self.layers.len() * self.kv_heads * (self.head_dim + self.value_dim) * size_of::<f32>()
    }
}
