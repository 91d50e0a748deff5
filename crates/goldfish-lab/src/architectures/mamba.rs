//! Mamba ([Gu and Dao 2023](https://arxiv.org/abs/2312.00752)), saved as `transformers`' `MambaForCausalLM`.

use serde_json::{Value, json};

use super::llama;
use crate::architecture::{ArchitectureKind, Size, Vocabulary};
use crate::error::LabError;
use crate::layered;
use crate::mixers::Mamba;
use crate::options::ModelOptions;
use crate::parameter::Initial;
use crate::stack::Names;

const STATE_SIZE: &str = "state-size";
const EXPAND: &str = "expand";
const CONVOLUTION: &str = "convolution";
const RANK: &str = "time-step-rank";

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: "mamba",
    summary: "a selective state space",
    sizes: &[
        Size { name: STATE_SIZE, summary: "numbers in the state of a channel (default: 16)" },
        Size { name: EXPAND, summary: "channels, in widths (default: 2)" },
        Size { name: CONVOLUTION, summary: "tokens that the convolution sees (default: 4)" },
        Size { name: RANK, summary: "rank of the time steps (default: a 16th of the width)" },
    ],
    config,
    recognizes: |config| config["model_type"] == "mamba",
    open: |config, deviation| {
        if config["use_bias"] == true || config["use_conv_bias"] == false {
            let reason =
                "a mamba whose projections have biases, or whose convolution has none, can't be trained";
            return Err(LabError::option("architecture", reason));
        }
        let setting = |name: &str| config[name].as_u64().unwrap_or_default() as usize;
        let (width, taps) = (setting("hidden_size"), setting("conv_kernel").max(1));
        let inner = setting("intermediate_size");
        let rank = config["time_step_rank"].as_u64().map_or(width.div_ceil(16), |rank| rank as usize);
        let states = setting("state_size");
        // The paper's initial values: section 3.6, and the bounds of its code for time steps.
        let special = |name: &str| {
            Some(match name.rsplit_once(".mixer.")?.1 {
                "A_log" => Initial::Logarithms,
                "D" => Initial::Constant(1.0),
                "dt_proj.bias" => Initial::TimeSteps(0.001, 0.1),
                "dt_proj.weight" => Initial::Uniform((rank.max(1) as f64).powf(-0.5)),
                // As torch starts convolutions.
                "conv1d.weight" | "conv1d.bias" => Initial::Uniform((taps as f64).powf(-0.5)),
                _ => return None,
            })
        };
        let mixer = || -> Box<dyn crate::stack::Mixer> { Box::new(Mamba { inner, rank, states }) };
        layered::recurrent(config.clone(), deviation, &MAMBA, &mixer, &special)
    },
};

static MAMBA: Names = Names {
    embeddings: "backbone.embeddings.weight",
    layers: "backbone.layers",
    norm: "norm.weight",
    mlp_norm: None,
    final_norm: "backbone.norm_f.weight",
};

fn config(options: &ModelOptions, vocabulary: &Vocabulary, context_length: usize) -> Result<Value, LabError> {
    let size = |name: &str, default: usize| options.sizes.get(name).copied().unwrap_or(default);
    let sizes =
        [size(STATE_SIZE, 16), size(EXPAND, 2), size(CONVOLUTION, 4), size(RANK, options.width.div_ceil(16))];
    if sizes.contains(&0) {
        return Err(LabError::option("sizes", "must be at least 1"));
    }
    let [state_size, expand, convolution, rank] = sizes;
    // For its checks of what all have in common.
    let common = llama::config(options, vocabulary, context_length)?;
    Ok(json!({
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": vocabulary.size,
        "hidden_size": options.width,
        "state_size": state_size,
        "num_hidden_layers": options.layers,
        "layer_norm_epsilon": common["rms_norm_eps"],
        "expand": expand,
        "intermediate_size": expand * options.width,
        "conv_kernel": convolution,
        "time_step_rank": rank,
        "use_bias": false,
        "use_conv_bias": true,
        "hidden_act": "silu",
        "initializer_range": options.initial_deviation,
        "residual_in_fp32": true,
        "tie_word_embeddings": options.tied,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": null,
        "torch_dtype": "float32",
    }))
}
