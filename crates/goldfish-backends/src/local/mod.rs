//! Hugging Face checkpoint folders, run in this process.
//!
//! Single or sharded safetensors in `f32`, `bf16` or `f16`; pickled files are never opened. One decoder runs these families: Llama
//! (SmolLM too), SmolLM3, Apertus, Mistral, Mixtral, GPT-2, GPT-Neo, GPT-J, GPT-NeoX (Pythia), GPT-OSS, OPT, BLOOM, Falcon, OLMo 1 to 3, OLMoE,
//! Qwen2, Qwen3 and its mixtures of experts, Gemma 1 to 3, Phi 1 to 4, StableLM, StarCoder2, Granite and its mixtures of experts, GLM-4, Command R
//! and A, DeepSeek V3, the text of Llama 4, and the lab's `hard-alibi`. [`Recurrent`] runs networks whose memory of a sequence is a state of
//! constant size: Mamba 1 and 2, and the lab's Aaren, linear attention, Hedgehog and LSTM. Everything is computed in `f32`. Matrices stay in
//! memory as they are stored, 2 bytes a parameter in `bf16` and `f16`, and are widened panel by panel while they are multiplied. Weights in MXFP4
//! become `bf16`. Of a mixture of experts those are computed that a token takes.
//!
//! Sequences with a common prefix share its computation: rows of keys and values, or a state that is cloned where they part. States
//! take 1 GiB at most, or those of one sequence if they are more, and with the hidden states of one pass of 2,048 rows they are all that scoring
//! and generating keep beside the answers, however long the sequences are.
//!
//! [`Checkpoint::with_memory`] reads sequences longer than a decoder's context: a token attends to a window, to retrieved blocks before it,
//! and to the first tokens. The work for a token is bounded, except for one product a block to choose among them; keys and values are kept of all tokens.
//!
//! LoRA adapters in PEFT's format are merged onto the weights when they are read.
//!
//! An answer has the same bits whatever else is in the batch, and whatever the number of threads: sequences are packed without
//! padding, each row is computed on its own, and sums are taken in an order that depends on their terms alone.

mod adapter;
mod alibi;
mod attention;
mod block;
mod block_memory;
mod cached;
mod checkpoint;
mod config;
mod continuing;
mod convolution;
mod decoder;
mod draw;
mod error;
mod expert_weights;
mod experts;
mod experts_config;
mod families;
mod family;
mod features;
mod feed_forward;
mod folder;
mod lanes;
mod latent;
mod layer;
mod long;
pub mod math;
mod mixer;
mod mlp;
mod mxfp4;
mod network;
mod ops;
mod pack;
mod panels;
mod precision;
mod product;
mod read;
mod recurrent;
mod recurrent_family;
mod rope;
mod scores;
mod settings;
mod source;
mod vocabulary;
mod walk;
mod weights;

pub use adapter::MAX_RANK;
pub use alibi::Alibi;
pub use attention::Span;
pub use checkpoint::Checkpoint;
pub use config::{
    Activation, Biases, BlockLayout, DecoderConfig, ExpertsConfig, LatentConfig, LayerAttention,
    LogisticWeights, MAX_CONTEXT_LENGTH, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH, NormKind, Positions, QkNorm,
    Temperature, Weighting, Xielu,
};
pub use decoder::{Cache, Decoder, Pass};
pub use error::CheckpointError;
pub use experts_config::MAX_EXPERTS;
pub use folder::{MAX_HEADER_BYTES, MAX_SHARDS, TensorFiles};
pub use network::NetworkConfig;
pub use product::Linear;
pub use recurrent::{Recurrent, State};
pub use recurrent_family::RecurrentConfig;
pub use rope::{Pairs, RotarySpeeds};
pub use settings::MAX_SETTINGS_BYTES;
pub use weights::GetTensor;
