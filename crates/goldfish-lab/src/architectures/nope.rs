//! Llama without positions ([Kazemnejad et al. 2023](https://arxiv.org/abs/2305.19466)): a `SmolLM3` in which no layer rotates.

use serde_json::json;

use super::llama;
use crate::architecture::ArchitectureKind;
use crate::layered;

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: "nope",
    summary: "no positions, saved as smollm3",
    sizes: &[],
    config: |options, vocabulary, context_length| {
        let mut config = llama::config(options, vocabulary, context_length)?;
        config["architectures"] = json!(["SmolLM3ForCausalLM"]);
        config["model_type"] = json!("smollm3");
        // 0 in this list is a layer without positions.
        config["no_rope_layers"] = json!(vec![0; options.layers]);
        config["use_sliding_window"] = json!(false);
        Ok(config)
    },
    recognizes: |config| config["model_type"] == "smollm3",
    open: layered::decoder,
};
