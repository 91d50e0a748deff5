//! Llama: rotary positions, RMS norms, gated MLP.

use serde_json::{Value, json};

use crate::architecture::{ArchitectureKind, Vocabulary};
use crate::error::LabError;
use crate::layered;
use crate::options::ModelOptions;

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: "llama",
    summary: "rotary positions",
    sizes: &[],
    config,
    recognizes: |config| ["llama", "mistral"].iter().any(|kind| config["model_type"] == *kind),
    open: layered::decoder,
};

/// The `config.json`.
pub(super) fn config(
    options: &ModelOptions,
    vocabulary: &Vocabulary,
    context_length: usize,
) -> Result<Value, LabError> {
    let ModelOptions { layers, width, heads, .. } = *options;
    if heads == 0 || width % heads != 0 {
        return Err(LabError::option("heads", format!("{heads} heads don't divide a width of {width}")));
    }
    if !options.initial_deviation.is_finite() || options.initial_deviation <= 0.0 {
        return Err(LabError::option("initial_deviation", "must be above 0"));
    }
    Ok(json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary.size,
        "hidden_size": width,
        "intermediate_size": options.mlp_width.unwrap_or_else(|| (8 * width).div_ceil(3).next_multiple_of(32)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": options.kv_heads.unwrap_or(heads),
        "hidden_act": "silu",
        "max_position_embeddings": context_length,
        "initializer_range": options.initial_deviation,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "mlp_bias": false,
        "tie_word_embeddings": options.tied,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": null,
        "torch_dtype": "float32",
    }))
}
